//! The agents that this server knows.

use std::collections::BTreeMap;
use std::path::Path;

use crate::{AgentManifest, ManifestError};

const BUILT_IN: [(&str, &str); 2] = [
    (
        "claude-code",
        include_str!("../../../agents/claude-code/agent.toml"),
    ),
    (
        "opencode",
        include_str!("../../../agents/opencode/agent.toml"),
    ),
];

/// Manifests are a page of text; more is a mistake.
const MAX_BYTES: u64 = 1 << 20;

/// The agents that this server knows, by id.
#[derive(Debug, Clone)]
pub struct AgentRegistry {
    agents: BTreeMap<String, AgentManifest>,
}

/// No agent has this id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no agent {given:?}; there are: {}", .known.join(", "))]
pub struct UnknownAgent {
    /// What was given, shortened.
    pub given: String,
    /// Every id there is.
    pub known: Vec<String>,
}

impl AgentRegistry {
    /// The built-in agents, and those in `extra_dir/<id>/agent.toml`, which replace built-in ones of the same id.
    ///
    /// # Errors
    /// When a manifest cannot be read or is wrong; the error names file, field and remedy.
    pub fn load(extra_dir: Option<&Path>) -> Result<Self, ManifestError> {
        let mut agents = BTreeMap::new();
        for (id, text) in BUILT_IN {
            let manifest = AgentManifest::parse(text, &format!("agents/{id}/agent.toml"), id)?;
            agents.insert(manifest.id.clone(), manifest);
        }
        if let Some(dir) = extra_dir {
            for manifest in read_dir(dir)? {
                agents.insert(manifest.id.clone(), manifest);
            }
        }
        Ok(Self { agents })
    }

    /// The agent with this id.
    ///
    /// # Errors
    /// When there is none; the error names those there are.
    pub fn get(&self, id: &str) -> Result<&AgentManifest, UnknownAgent> {
        self.agents.get(id).ok_or_else(|| UnknownAgent {
            given: id.chars().take(64).collect(),
            known: self.agents.keys().cloned().collect(),
        })
    }

    /// All agents in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = &AgentManifest> {
        self.agents.values()
    }
}

fn read_dir(dir: &Path) -> Result<Vec<AgentManifest>, ManifestError> {
    let unreadable = |path: &Path, error: &std::io::Error| ManifestError::Read {
        file: path.display().to_string(),
        message: error.to_string(),
    };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(|error| unreadable(dir, &error))? {
        let entry = entry.map_err(|error| unreadable(dir, &error))?;
        let file = entry.path().join("agent.toml");
        // Folders may hold other things; only one with a manifest is an agent.
        let Ok(meta) = std::fs::metadata(&file) else {
            continue;
        };
        let name = file.display().to_string();
        if !meta.is_file() || meta.len() > MAX_BYTES {
            return Err(ManifestError::Read {
                file: name,
                message: "it is no file of at most 1 MiB".to_owned(),
            });
        }
        let text = std::fs::read_to_string(&file).map_err(|error| unreadable(&file, &error))?;
        let folder = entry.file_name().to_string_lossy().into_owned();
        found.push(AgentManifest::parse(&text, &name, &folder)?);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::AgentContext;

    fn context() -> AgentContext {
        AgentContext {
            gateway_url: "http://127.0.0.1:49982".into(),
            token: "sandbox-token".into(),
            model: "demo".into(),
            home: "/home/dev".into(),
            cwd: "/home/dev/workspace".into(),
        }
    }

    #[test]
    fn the_built_in_agents_are_there() {
        let registry = AgentRegistry::load(None).unwrap();
        let ids: Vec<_> = registry.iter().map(|agent| agent.id.as_str()).collect();
        assert_eq!(ids, ["claude-code", "opencode"]);
    }

    #[test]
    fn an_unknown_agent_is_told_the_known_ones() {
        let error = AgentRegistry::load(None)
            .unwrap()
            .get("cluade")
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "there is no agent \"cluade\"; there are: claude-code, opencode"
        );
    }

    #[test]
    fn claude_code_calls_the_gateway_and_nobody_else() {
        let registry = AgentRegistry::load(None).unwrap();
        let command = registry.get("claude-code").unwrap().command(&context());
        assert_eq!(command.env["ANTHROPIC_BASE_URL"], "http://127.0.0.1:49982");
        assert_eq!(command.env["ANTHROPIC_API_KEY"], "sandbox-token");
        assert_eq!(command.env["ANTHROPIC_MODEL"], "demo");
        assert_eq!(command.env["CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC"], "1");
    }

    #[test]
    fn opencode_is_told_of_the_model_and_the_gateway() {
        let registry = AgentRegistry::load(None).unwrap();
        let command = registry.get("opencode").unwrap().command(&context());
        let config: serde_json::Value =
            serde_json::from_str(&command.env["OPENCODE_CONFIG_CONTENT"]).unwrap();
        assert_eq!(config["model"], "anthropic/demo");
        let provider = &config["provider"]["anthropic"];
        assert_eq!(provider["options"]["baseURL"], "http://127.0.0.1:49982/v1");
        assert_eq!(provider["options"]["apiKey"], "sandbox-token");
        assert!(provider["models"]["demo"].is_object());
    }

    #[test]
    fn a_directory_replaces_and_adds_agents() {
        let dir = tempfile::tempdir().unwrap();
        let changed = BUILT_IN[0].1.replace("Claude Code\"", "My Claude\"");
        let added = BUILT_IN[1].1.replace("\"opencode\"", "\"mine\"");
        for (id, text) in [("claude-code", changed), ("mine", added)] {
            std::fs::create_dir(dir.path().join(id)).unwrap();
            std::fs::write(dir.path().join(id).join("agent.toml"), text).unwrap();
        }
        let registry = AgentRegistry::load(Some(dir.path())).unwrap();
        assert_eq!(registry.get("claude-code").unwrap().name, "My Claude");
        assert_eq!(registry.iter().count(), 3);
    }

    #[test]
    fn a_missing_directory_is_named() {
        let error = AgentRegistry::load(Some(Path::new("/nowhere/agents"))).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("/nowhere/agents: cannot be read")
        );
    }
}
