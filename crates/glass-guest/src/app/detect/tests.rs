mod recipes;

use super::*;

fn listing(files: &[(&str, &str)]) -> Listing {
    files
        .iter()
        .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
        .collect()
}

/// Install and web command of what is detected.
fn commands(files: &[(&str, &str)]) -> (Option<String>, String) {
    match detect(&listing(files)) {
        Plan::Commands(commands) => (commands.install, commands.web.unwrap()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_empty_workspace_runs_nothing() {
    assert_eq!(detect(&listing(&[("README.md", "")])), Plan::None);
}

#[test]
fn a_vite_project_is_installed_and_told_its_port() {
    let package = r#"{"scripts":{"dev":"vite","start":"x"},"devDependencies":{"vite":"7"}}"#;
    let (install, web) = commands(&[("package.json", package)]);
    assert_eq!(install.unwrap(), "npm install --no-audit --no-fund");
    assert_eq!(
        web,
        "npm run dev -- --host 127.0.0.1 --port $PORT --strictPort"
    );
    let (install, web) = commands(&[
        ("package.json", package),
        ("pnpm-lock.yaml", ""),
        ("node_modules", ""),
    ]);
    assert_eq!(install, None);
    assert_eq!(
        web,
        "pnpm run dev --host 127.0.0.1 --port $PORT --strictPort"
    );
}

#[test]
fn the_package_manager_is_the_named_one_or_that_of_the_lock_file() {
    let web = |field: &str, lock: &str| {
        let package = format!(r#"{{"scripts":{{"start":"node ."}}{field}}}"#);
        commands(&[("package.json", &package), (lock, "")]).1
    };
    assert_eq!(web("", "x"), "npm run start");
    assert_eq!(web("", "yarn.lock"), "yarn run start");
    assert_eq!(web("", "bun.lock"), "bun run start");
    assert_eq!(
        web(r#","packageManager":"pnpm@10.0.0""#, "yarn.lock"),
        "pnpm run start"
    );
}

#[test]
fn a_broken_package_is_told_and_not_guessed_around() {
    let plan = detect(&listing(&[
        ("package.json", "{\n  \"scripts\": [\n"),
        ("index.html", ""),
    ]));
    let Plan::Bad(AppKind::Node, problem) = plan else {
        panic!("{plan:?}");
    };
    assert!(
        problem.contains("package.json") && problem.contains("line"),
        "{problem}"
    );
}

#[test]
fn a_package_without_scripts_is_no_app() {
    let plan = detect(&listing(&[("package.json", "{}"), ("index.html", "")]));
    assert_eq!(plan, Plan::Static(""));
}

#[test]
fn python_frameworks_are_known_by_their_imports() {
    let web = |file: &str, text: &str| commands(&[(file, text)]).1;
    assert_eq!(
        web(
            "main.py",
            "from fastapi import FastAPI\napi: FastAPI = FastAPI()\n"
        ),
        "python3 -m uvicorn main:api --host 127.0.0.1 --port $PORT --reload"
    );
    assert_eq!(
        web("app.py", "import flask\n"),
        "python3 -m flask --app app run --host 127.0.0.1 --port $PORT --debug"
    );
    assert_eq!(
        web("manage.py", ""),
        "python3 manage.py runserver 127.0.0.1:$PORT"
    );
    assert!(web("app.py", "import streamlit as st\n").contains("streamlit run app.py"));
    assert_eq!(web("app.py", "import flasky\nprint(1)\n"), "python3 app.py");
}

#[test]
fn requirements_are_installed_into_an_environment_of_the_workspace() {
    let (install, web) = commands(&[("app.py", "import flask"), ("requirements.txt", "flask")]);
    assert!(install.unwrap().contains("pip install"));
    assert!(web.starts_with(".venv/bin/python "), "{web}");
}

#[test]
fn a_page_beside_a_script_is_the_app_and_beside_a_server_is_not() {
    let page = ("index.html", "");
    let plan = detect(&listing(&[page, ("main.py", "print('tool')")]));
    assert_eq!(plan, Plan::Static(""));
    let (_, web) = commands(&[page, ("main.py", "import http.server")]);
    assert_eq!(web, "python3 main.py");
}

#[test]
fn a_changed_script_is_another_plan() {
    let plan = |text| detect(&listing(&[("app.py", text)]));
    assert_eq!(plan("a"), plan("a"));
    assert_ne!(plan("a"), plan("b"));
}

#[test]
fn a_site_may_lie_below() {
    assert_eq!(
        detect(&listing(&[("dist/index.html", "")])),
        Plan::Static("dist")
    );
}

#[test]
fn a_manifest_goes_before_everything_and_a_bad_one_too() {
    let package = ("package.json", r#"{"scripts":{"dev":"x"}}"#);
    let (install, web) = commands(&[package, (manifest::FILE, "web: {command: mine}")]);
    assert_eq!((install, web.as_str()), (None, "mine"));
    let plan = detect(&listing(&[package, (manifest::FILE, "web: 1")]));
    assert!(matches!(plan, Plan::Bad(AppKind::Manifest, _)), "{plan:?}");
}
