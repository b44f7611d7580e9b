//! `glasshouse.yaml`.

use std::collections::BTreeMap;

use serde::Deserialize;

pub(super) const FILE: &str = "glasshouse.yaml";
const MAX_WORKERS: usize = 16;

/// What the owner of the workspace wants to run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    pub(super) web: Option<Web>,
    #[serde(default)]
    pub(super) workers: BTreeMap<String, Command>,
    pub(super) build: Option<Command>,
}

/// The process that answers requests.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Web {
    pub(super) command: String,
    pub(super) port: Option<u16>,
    pub(super) health_path: Option<String>,
}

/// A shell command.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Command {
    pub(super) command: String,
}

impl Manifest {
    /// Reads the text of a manifest. The error is for people: it names line and field.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let manifest: Self = serde_yaml_ng::from_str::<Option<Self>>(text)
            .map_err(|error| format!("{FILE}: {error}"))?
            .unwrap_or_default();
        manifest.check().map_err(|(field, problem)| {
            let line = line_of(text, &field)
                .map(|line| format!(" at line {line}"))
                .unwrap_or_default();
            format!("{FILE}: {field}: {problem}{line}")
        })?;
        Ok(manifest)
    }

    fn check(&self) -> Result<(), (String, &'static str)> {
        let filled = |field: String, command: &str| {
            if command.trim().is_empty() || command.contains('\0') {
                Err((field, "must be a shell command"))
            } else {
                Ok(())
            }
        };
        if let Some(web) = &self.web {
            filled("web.command".to_owned(), &web.command)?;
            if web.port == Some(0) {
                return Err(("web.port".to_owned(), "must be 1 to 65535"));
            }
            let is_path =
                |path: &String| path.starts_with('/') && !path.contains(char::is_whitespace);
            if !web.health_path.as_ref().is_none_or(is_path) {
                return Err((
                    "web.health_path".to_owned(),
                    "must be a path that begins with /",
                ));
            }
        }
        if let Some(build) = &self.build {
            filled("build.command".to_owned(), &build.command)?;
        }
        if self.workers.len() > MAX_WORKERS {
            return Err(("workers".to_owned(), "must be 16 at most"));
        }
        for (name, worker) in &self.workers {
            if !is_process(name) || matches!(name.as_str(), "web" | "build" | "install") {
                return Err((
                    format!("workers.{name}"),
                    "a worker's name is 1 to 32 of a-z, 0-9 and -, and not web, build or install",
                ));
            }
            filled(format!("workers.{name}.command"), &worker.command)?;
        }
        Ok(())
    }
}

/// Whether a process may be called so. Its log is a file with this name.
pub(super) fn is_process(name: &str) -> bool {
    let is_fine = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=32).contains(&name.len()) && name.bytes().all(is_fine)
}

/// The line on which the last part of a dotted field stands, found beneath the parts before it.
fn line_of(text: &str, field: &str) -> Option<usize> {
    let mut lines = text.lines().enumerate();
    let mut found = None;
    for part in field.split('.') {
        let (at, _) = lines.find(|(_, line)| {
            let line = line.trim_start().trim_start_matches(['"', '\'']);
            line.strip_prefix(part)
                .is_some_and(|rest| rest.trim_start_matches(['"', '\'', ' ']).starts_with(':'))
        })?;
        found = Some(at + 1);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_manifest_is_read() {
        let text = "web:\n  command: npm start\n  port: 4000\n  health_path: /ok\nworkers:\n  mail: {command: ./mail}\nbuild:\n  command: make\n";
        let manifest = Manifest::parse(text).unwrap();
        let web = manifest.web.unwrap();
        assert_eq!((web.command.as_str(), web.port), ("npm start", Some(4000)));
        assert_eq!(manifest.workers["mail"].command, "./mail");
        assert_eq!(manifest.build.unwrap().command, "make");
        assert_eq!(Manifest::parse("").unwrap(), Manifest::default());
    }

    #[test]
    fn what_is_wrong_is_told_with_field_and_line() {
        for (text, field, line) in [
            ("web:\n  command: x\n  port: lots\n", "web.port", "line 3"),
            ("web:\n  command: x\n  prot: 1\n", "prot", "line 3"),
            ("web:\n  command: x\n  port: 0\n", "web.port", "line 3"),
            ("web:\n  port: 1\n", "command", "line 2"),
            (
                "web:\n  command: x\n  health_path: ok\n",
                "web.health_path",
                "line 3",
            ),
            (
                "workers:\n  web:\n    command: x\n",
                "workers.web",
                "line 2",
            ),
            (
                "workers:\n  a:\n    command: ''\n",
                "workers.a.command",
                "line 3",
            ),
            ("web: [\n", FILE, "line"),
        ] {
            let error = Manifest::parse(text).unwrap_err();
            assert!(
                error.contains(field) && error.contains(line),
                "{text:?}: {error}"
            );
        }
    }
}
