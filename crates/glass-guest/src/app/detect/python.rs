//! A workspace with a Python program.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use glass_guest_protocol::app::AppKind;

use super::recipes::{PYTHONS, Python};
use super::{Commands, Listing, Plan};

/// Files that may be the app, the likeliest first.
const FILES: [&str; 8] = [
    "app.py",
    "main.py",
    "server.py",
    "streamlit_app.py",
    "run.py",
    "asgi.py",
    "wsgi.py",
    "bot.py",
];

const VENV: &str = "test -x .venv/bin/python || python3 -m venv .venv || exit 1; ";

/// The plan, and whether it is only a script that may not be a server at all.
pub(super) fn detect(listing: &Listing) -> Option<(Plan, bool)> {
    let has = |name: &str| listing.contains_key(name);
    let install = install(listing);
    let python = if install.is_some() || has(".venv") {
        ".venv/bin/python"
    } else {
        "python3"
    };
    let plan = |name, env: &str, arguments: &str| Commands {
        framework: Some(name),
        install: install.clone(),
        ..Commands::new(
            AppKind::Python,
            format!("{env} {python} {arguments}")
                .trim_start()
                .to_owned(),
        )
    };
    if has("manage.py") {
        let commands = plan("django", "", "manage.py runserver 127.0.0.1:$PORT");
        return Some((Plan::Commands(commands), false));
    }
    let files = || {
        FILES
            .into_iter()
            .filter_map(|file| Some((file, listing.get(file)?.as_str())))
    };
    // A file that is known to be an app goes before one with a likelier name.
    let known = files().find_map(|(file, text)| {
        let recipe = PYTHONS
            .iter()
            .find(|recipe| recipe.imports.iter().any(|name| imports(text, name)))?;
        Some((file, text, recipe))
    });
    if let Some((file, text, recipe)) = known {
        let mut commands = plan(recipe.name, recipe.env, &arguments(recipe, file, text));
        commands.port = recipe.usual_port;
        commands.health_path = recipe.health_path.map(str::to_owned);
        if !recipe.reloads {
            commands.version = version(text);
        }
        return Some((Plan::Commands(commands), false));
    }
    if let Some((file, text)) = files().next() {
        let is_asgi = file == "asgi.py";
        let mut commands = if is_asgi {
            let app = variable(text, &["("]).unwrap_or("app");
            let serve = format!("-m uvicorn asgi:{app} --host 127.0.0.1 --port $PORT --reload");
            plan("python-asgi", "", &serve)
        } else {
            plan("python", "", file)
        };
        commands.version = version(text);
        let words = [
            "http.server",
            "socketserver",
            "aiohttp",
            "tornado",
            "bottle",
            "PORT",
        ];
        let is_server = is_asgi || words.into_iter().any(|word| text.contains(word));
        return Some((Plan::Commands(commands), !is_server));
    }
    if let Some(text) = listing.get("worker.py") {
        let mut commands = plan("worker", "", "worker.py");
        commands.version = version(text);
        let command = commands.web.take().unwrap_or_default();
        commands.workers.insert("worker".to_owned(), command);
        return Some((Plan::Commands(commands), true));
    }
    if listing.keys().any(|name| name.ends_with(".ipynb")) {
        // Its own token guards it: who has it runs programs here.
        let serve = "-m jupyter lab --ip 127.0.0.1 --port $PORT --no-browser --ServerApp.allow_remote_access=True";
        return Some((Plan::Commands(plan("jupyter", "", serve)), true));
    }
    None
}

/// What makes an environment in the workspace with all that is asked for.
fn install(listing: &Listing) -> Option<String> {
    let has = |name: &str| listing.contains_key(name);
    if has("uv.lock") {
        return Some(format!(
            "if command -v uv >/dev/null; then uv sync; else {VENV}.venv/bin/pip install --disable-pip-version-check uv && .venv/bin/uv sync --inexact; fi"
        ));
    }
    let (file, what) = match () {
        () if has("requirements.txt") => ("requirements.txt", "-r requirements.txt"),
        () if listing
            .get("pyproject.toml")
            .is_some_and(|text| text.contains("[project]")) =>
        {
            ("pyproject.toml", "-e .")
        }
        () => return None,
    };
    Some(format!(
        "{VENV}cmp -s {file} .venv/.installed || \
         {{ .venv/bin/pip install --disable-pip-version-check {what} && \
         cp {file} .venv/.installed; }}"
    ))
}

fn arguments(recipe: &Python, file: &str, text: &str) -> String {
    let app = variable(text, recipe.calls).unwrap_or("app");
    recipe
        .command
        .replace("{file}", file)
        .replace("{module}", file.trim_end_matches(".py"))
        .replace("{app}", app)
}

fn version(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// Whether a text imports a module, or one below it.
fn imports(text: &str, name: &str) -> bool {
    text.lines().map(str::trim_start).any(|line| {
        ["import", "from"].into_iter().any(|word| {
            line.strip_prefix(word)
                .map(str::trim_start)
                .and_then(|rest| rest.strip_prefix(name))
                .is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
        })
    })
}

/// The name to which the result of one of these calls is given.
fn variable<'a>(text: &'a str, calls: &[&str]) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once('=')?;
        let name = name.split(':').next()?.trim_end();
        let is_name =
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        let is_call = calls.iter().any(|call| {
            let value = value.trim_start();
            value.starts_with(call) || value.contains(&format!(".{call}"))
        });
        (is_name && is_call).then_some(name)
    })
}
