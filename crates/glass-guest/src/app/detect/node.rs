//! A workspace with a `package.json`.

use std::collections::BTreeMap;

use glass_guest_protocol::app::AppKind;
use serde::Deserialize;

use super::recipes::{NODES, Node};
use super::{Commands, Listing, Plan};

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Package {
    scripts: BTreeMap<String, serde_json::Value>,
    dependencies: BTreeMap<String, serde_json::Value>,
    dev_dependencies: BTreeMap<String, serde_json::Value>,
    package_manager: Option<String>,
    main: Option<String>,
}

impl Package {
    fn has(&self, package: &str) -> bool {
        self.dependencies.contains_key(package) || self.dev_dependencies.contains_key(package)
    }

    fn script<'a>(&'a self, names: &[&'a str]) -> Option<(&'a str, &'a str)> {
        names
            .iter()
            .find_map(|name| Some((*name, self.scripts.get(*name)?.as_str()?)))
    }

    fn recipe(&self) -> Option<&'static Node> {
        NODES.iter().find(|recipe| {
            let has_one = |row: &&[&str]| row.iter().any(|package| self.has(package));
            recipe.packages.iter().all(has_one)
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manager {
    Npm,
    Pnpm,
    Yarn,
    Bun,
}

impl Manager {
    const ALL: [Self; 4] = [Self::Npm, Self::Pnpm, Self::Yarn, Self::Bun];

    /// The one that the package names, else that of the lock file.
    fn of(package: &Package, listing: &Listing) -> Self {
        let named = package.package_manager.as_deref().unwrap_or_default();
        let has = |name: &str| listing.contains_key(name);
        Self::ALL
            .into_iter()
            .find(|manager| named.starts_with(&format!("{}@", manager.name())))
            .unwrap_or_else(|| match () {
                () if has("pnpm-lock.yaml") => Self::Pnpm,
                () if has("yarn.lock") => Self::Yarn,
                () if has("bun.lock") || has("bun.lockb") || has("bunfig.toml") => Self::Bun,
                () => Self::Npm,
            })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Npm => "npm",
            Self::Pnpm => "pnpm",
            Self::Yarn => "yarn",
            Self::Bun => "bun",
        }
    }

    fn install(self) -> &'static str {
        match self {
            Self::Npm => "npm install --no-audit --no-fund",
            Self::Pnpm => "pnpm install",
            Self::Yarn => "yarn install",
            Self::Bun => "bun install",
        }
    }

    /// A script with arguments at its end.
    fn run(self, script: &str, flags: &str) -> String {
        let dashes = if self == Self::Npm { " --" } else { "" };
        match flags {
            "" => format!("{} run {script}", self.name()),
            flags => format!("{} run {script}{dashes} {flags}", self.name()),
        }
    }

    /// A program of a package.
    fn exec(self, command: &str) -> String {
        let prefix = match self {
            Self::Npm => "npx",
            Self::Pnpm => "pnpm exec",
            Self::Yarn => "yarn",
            Self::Bun => "bunx",
        };
        format!("{prefix} {command}")
    }
}

pub(super) fn detect(text: &str, listing: &Listing) -> Option<Plan> {
    let package: Package = match serde_json::from_str(text) {
        Ok(package) => package,
        Err(error) => {
            return Some(Plan::Bad(AppKind::Node, format!("package.json: {error}")));
        }
    };
    let manager = Manager::of(&package, listing);
    let recipe = package.recipe();
    let (framework, command, port) = match recipe {
        Some(recipe) => started(recipe, &package, manager, listing)?,
        None => other(&package, manager, listing)?,
    };
    let needed = !package.dependencies.is_empty() || !package.dev_dependencies.is_empty();
    let install = needed && !listing.contains_key("node_modules");
    let has_schema = ["ts", "js", "mjs", "json"]
        .into_iter()
        .any(|ending| listing.contains_key(&format!("drizzle.config.{ending}")));
    Some(Plan::Commands(Commands {
        framework: Some(framework),
        install: install.then(|| manager.install().to_owned()),
        // The tables have to be there before the program that asks for them.
        build: (framework == "drizzle-sqlite" && has_schema)
            .then(|| manager.exec("drizzle-kit push")),
        port,
        health_path: recipe.and_then(|recipe| recipe.health_path.map(str::to_owned)),
        ..Commands::new(AppKind::Node, command)
    }))
}

/// Name, command, and port if it cannot be told.
type Start = (&'static str, String, Option<u16>);

/// How a framework is started: by the script that its makers gave it, else by its own command.
fn started(recipe: &Node, package: &Package, manager: Manager, listing: &Listing) -> Option<Start> {
    let name = recipe.name;
    let with_env = |command: String| match recipe.env {
        "" => command,
        env => format!("{env} {command}"),
    };
    let Some((script, text)) = package.script(recipe.scripts) else {
        if recipe.command.is_empty() {
            return other(package, manager, listing)
                .map(|(_, command, port)| (name, command, port));
        }
        let command = format!("{} {}", recipe.command, recipe.flags);
        let command = command.trim_end();
        let is_own = command.starts_with("node ");
        let command = if is_own {
            command.to_owned()
        } else {
            manager.exec(command)
        };
        return Some((name, with_env(command), None));
    };
    // A script with several commands takes no arguments at its end.
    let takes_flags = !recipe.flags.is_empty() && is_call(text, recipe.command);
    let flags = if takes_flags { recipe.flags } else { "" };
    let port = if takes_flags { None } else { recipe.usual_port };
    Some((name, with_env(manager.run(script, flags)), port))
}

/// Whether a script is one call of a program, variables before it aside.
fn is_call(script: &str, command: &str) -> bool {
    let program = command.split(' ').next().unwrap_or_default();
    let mut words = script
        .split_whitespace()
        .skip_while(|word| word.contains('=') || matches!(*word, "cross-env" | "npx" | "env"));
    words.next() == Some(program) && !script.contains(['&', '|', ';'])
}

/// What no recipe knows: its script, else the program that the package names.
fn other(package: &Package, manager: Manager, listing: &Listing) -> Option<Start> {
    let name = if manager == Manager::Bun {
        "bun"
    } else {
        "node"
    };
    if let Some((script, _)) = package.script(&["dev", "start"]) {
        return Some((name, manager.run(script, ""), None));
    }
    let candidates = ["index.ts", "server.ts", "index.js", "server.js", "app.js"];
    let named = package.main.as_deref().filter(|file| is_plain(file));
    let file = named
        .into_iter()
        .chain(candidates)
        .find(|file| listing.contains_key(*file))?;
    match manager {
        Manager::Bun => Some((name, format!("bun --hot {file}"), None)),
        // A library has such a file, too; it is an app when it is made to serve.
        Manager::Npm | Manager::Pnpm | Manager::Yarn => {
            let serves = ["express", "hono", "fastify", "koa"].into_iter();
            serves
                .into_iter()
                .any(|server| package.has(server))
                .then(|| (name, format!("node --watch {file}"), None))
        }
    }
}

/// Whether a name may stand in a command as it is.
fn is_plain(file: &str) -> bool {
    !file.is_empty()
        && !file.starts_with('-')
        && file
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}
