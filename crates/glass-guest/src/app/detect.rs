//! What to run in a workspace without a manifest: a pure function of what lies in it.

mod node;
mod python;
mod recipes;

use std::collections::BTreeMap;

use glass_guest_protocol::app::AppKind;

use super::manifest::{self, Manifest};

/// Files whose content decides. Of others only the presence does.
pub(super) const READ: [&str; 15] = [
    manifest::FILE,
    "package.json",
    "requirements.txt",
    "pyproject.toml",
    "streamlit_app.py",
    "run.py",
    "bot.py",
    "worker.py",
    "worker.js",
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
    /// Runs before `web`.
    pub(super) build: Option<String>,
    pub(super) web: Option<String>,
    pub(super) port: Option<u16>,
    pub(super) health_path: Option<String>,
    pub(super) workers: BTreeMap<String, String>,
    /// Changes when a program that does not reload itself changes.
    pub(super) version: u64,
}

impl Commands {
    fn new(kind: AppKind, web: String) -> Self {
        Self {
            kind,
            framework: None,
            install: None,
            build: None,
            web: Some(web),
            port: None,
            health_path: None,
            workers: BTreeMap::new(),
            version: 0,
        }
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
    let node = listing
        .get("package.json")
        .map(|text| node::detect(text, listing));
    if let Some(Some(plan)) = node {
        return plan;
    }
    let site = site(listing);
    match python::detect(listing) {
        // A script beside a page is rather a tool than the app.
        Some((plan, true)) if site.is_none() => plan,
        Some((plan, false)) => plan,
        Some(_) | None => site.or_else(|| worker(listing)).unwrap_or(Plan::None),
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

/// A program without pages.
fn worker(listing: &Listing) -> Option<Plan> {
    listing.get("worker.js")?;
    let command = "node --watch worker.js".to_owned();
    Some(Plan::Commands(Commands {
        framework: Some("worker"),
        web: None,
        workers: BTreeMap::from([("worker".to_owned(), command)]),
        ..Commands::new(AppKind::Node, String::new())
    }))
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
