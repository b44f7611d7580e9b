//! What to run in a workspace without a manifest: a pure function of what lies in it.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use glass_guest_protocol::app::AppKind;
use serde::Deserialize;

use super::manifest::{self, Manifest};

/// Files whose content decides. Of others only the presence does.
pub(super) const READ: [&str; 9] = [
    manifest::FILE,
    "package.json",
    "requirements.txt",
    "app.py",
    "main.py",
    "server.py",
    "manage.py",
    "asgi.py",
    "wsgi.py",
];
/// Files below the workspace whose presence decides.
pub(super) const BELOW: [&str; 3] = ["public/index.html", "dist/index.html", "build/index.html"];

/// What lies in a workspace: names, and the contents of the files that [`READ`] lists.
pub(super) type Listing = BTreeMap<String, String>;

/// What to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Plan {
    None,
    /// Shell commands.
    Commands(Commands),
    /// Files that the guest serves, in this directory of the workspace.
    Static(&'static str),
    /// Nothing, as what lies there is wrong. For people.
    Bad(AppKind, String),
}

/// Shell commands; `$PORT` in them is the port of `web`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Commands {
    pub(super) kind: AppKind,
    /// The recipe's name.
    pub(super) framework: Option<&'static str>,
    pub(super) install: Option<String>,
    pub(super) build: Option<String>,
    pub(super) web: Option<String>,
    pub(super) port: Option<u16>,
    pub(super) health_path: Option<String>,
    pub(super) workers: BTreeMap<String, String>,
    /// Changes when a program that does not reload itself changes.
    pub(super) version: u64,
}

impl Commands {
    fn web(kind: AppKind, install: Option<String>, command: String) -> Plan {
        Plan::Commands(Self {
            kind,
            framework: None,
            install,
            build: None,
            web: Some(command),
            port: None,
            health_path: None,
            workers: BTreeMap::new(),
            version: 0,
        })
    }
}

/// Decides what to run.
pub(super) fn detect(listing: &Listing) -> Plan {
    if let Some(text) = listing.get(manifest::FILE) {
        return match Manifest::parse(text) {
            Ok(manifest) => of_manifest(manifest),
            Err(problem) => Plan::Bad(AppKind::Manifest, problem),
        };
    }
    let node = listing.get("package.json").map(|text| node(text, listing));
    if let Some(Some(plan)) = node {
        return plan;
    }
    let site = site(listing);
    match python(listing) {
        // A script beside a page is rather a tool than the app.
        Some((plan, true)) if site.is_none() => plan,
        Some((plan, false)) => plan,
        Some(_) | None => site.unwrap_or(Plan::None),
    }
}

fn of_manifest(manifest: Manifest) -> Plan {
    let (web, port, health_path) = match manifest.web {
        Some(web) => (Some(web.command), web.port, web.health_path),
        None => (None, None, None),
    };
    let workers = manifest.workers.into_iter();
    Plan::Commands(Commands {
        kind: AppKind::Manifest,
        framework: None,
        install: None,
        build: manifest.build.map(|build| build.command),
        web,
        port,
        health_path,
        workers: workers
            .map(|(name, worker)| (name, worker.command))
            .collect(),
        version: 0,
    })
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Package {
    scripts: BTreeMap<String, serde_json::Value>,
    dependencies: BTreeMap<String, serde_json::Value>,
    dev_dependencies: BTreeMap<String, serde_json::Value>,
    package_manager: Option<String>,
}

fn node(text: &str, listing: &Listing) -> Option<Plan> {
    let package: Package = match serde_json::from_str(text) {
        Ok(package) => package,
        Err(error) => {
            return Some(Plan::Bad(AppKind::Node, format!("package.json: {error}")));
        }
    };
    let script = ["dev", "start"].into_iter().find_map(|name| {
        let text = package.scripts.get(name)?.as_str()?;
        Some((name, text))
    });
    let (name, script) = script?;
    let has = |name: &str| listing.contains_key(name);
    let named = package.package_manager.as_deref().unwrap_or_default();
    let manager = ["pnpm", "yarn", "bun", "npm"]
        .into_iter()
        .find(|manager| named.starts_with(&format!("{manager}@")))
        .unwrap_or_else(|| match () {
            () if has("pnpm-lock.yaml") => "pnpm",
            () if has("yarn.lock") => "yarn",
            () if has("bun.lock") || has("bun.lockb") => "bun",
            () => "npm",
        });
    let needed = !package.dependencies.is_empty() || !package.dev_dependencies.is_empty();
    let install = (needed && !has("node_modules")).then(|| match manager {
        "npm" => "npm install --no-audit --no-fund".to_owned(),
        other => format!("{other} install"),
    });
    let mut command = format!("{manager} run {name}");
    // A script with several commands takes no arguments at its end.
    let is_vite = script.trim_start().starts_with("vite") && !script.contains(['&', '|', ';']);
    if is_vite {
        if manager == "npm" {
            command.push_str(" --");
        }
        command.push_str(" --host 127.0.0.1 --port $PORT --strictPort");
    }
    Some(Commands::web(AppKind::Node, install, command))
}

/// The plan, and whether it is only a script that may not be a server at all.
fn python(listing: &Listing) -> Option<(Plan, bool)> {
    let requirements = listing.get("requirements.txt");
    let install = requirements.map(|_| {
        "test -x .venv/bin/python || python3 -m venv .venv || exit 1; \
         cmp -s requirements.txt .venv/.installed || \
         { .venv/bin/pip install --disable-pip-version-check -r requirements.txt && \
         cp requirements.txt .venv/.installed; }"
            .to_owned()
    });
    let python = if requirements.is_some() || listing.contains_key(".venv") {
        ".venv/bin/python"
    } else {
        "python3"
    };
    let plan = |command: String| {
        Commands::web(
            AppKind::Python,
            install.clone(),
            format!("{python} {command}"),
        )
    };
    if listing.contains_key("manage.py") {
        return Some((
            plan("manage.py runserver 127.0.0.1:$PORT".to_owned()),
            false,
        ));
    }
    let (file, text) = ["app.py", "main.py", "server.py", "asgi.py", "wsgi.py"]
        .into_iter()
        .find_map(|file| Some((file, listing.get(file)?)))?;
    let module = file.trim_end_matches(".py");
    let imports = |name: &str| {
        text.lines().map(str::trim_start).any(|line| {
            ["import", "from"].into_iter().any(|word| {
                line.strip_prefix(word)
                    .map(str::trim_start)
                    .and_then(|rest| rest.strip_prefix(name))
                    .is_some_and(|rest| {
                        !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_')
                    })
            })
        })
    };
    if imports("streamlit") {
        let command = format!(
            "-m streamlit run {file} --server.address 127.0.0.1 --server.port $PORT --server.headless true"
        );
        return Some((plan(command), false));
    }
    if imports("fastapi") || imports("starlette") {
        let name = variable(text, &["FastAPI(", "Starlette("]).unwrap_or("app");
        let command = format!("-m uvicorn {module}:{name} --host 127.0.0.1 --port $PORT --reload");
        return Some((plan(command), false));
    }
    if imports("flask") {
        let command = format!("-m flask --app {module} run --host 127.0.0.1 --port $PORT --debug");
        return Some((plan(command), false));
    }
    let Plan::Commands(mut commands) = plan(file.to_owned()) else {
        return None;
    };
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    commands.version = hasher.finish();
    let is_server = [
        "http.server",
        "socketserver",
        "aiohttp",
        "tornado",
        "bottle",
        "PORT",
    ]
    .into_iter()
    .any(|word| text.contains(word));
    Some((Plan::Commands(commands), !is_server))
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

fn site(listing: &Listing) -> Option<Plan> {
    if listing.contains_key("index.html") {
        return Some(Plan::Static(""));
    }
    ["public", "dist", "build"]
        .into_iter()
        .find(|directory| listing.contains_key(&format!("{directory}/index.html")))
        .map(Plan::Static)
}

#[cfg(test)]
mod tests;
