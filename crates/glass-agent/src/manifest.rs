//! What an agent's manifest says: `agents/<id>/agent.toml`.

mod template;

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::AgentCommand;

/// A coding agent: how it is started, what it is told, where it differs from others.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentManifest {
    /// `claude-code`; also the folder's name.
    pub id: String,
    /// For people.
    pub name: String,
    /// Where to read about it.
    pub homepage: String,
    /// What it speaks to its model provider.
    pub protocol: Protocol,
    /// The model when nobody names one.
    pub default_model: String,
    /// The model when the server has no key: the gateway's built-in one.
    pub demo_model: String,
    /// The ACP session mode in which it asks nobody, if it has one.
    pub mode: Option<String>,
    /// Where its messages differ from other agents'.
    #[serde(default)]
    pub quirks: Vec<Quirk>,
    /// Lines of standard error that start so tell people nothing.
    #[serde(default)]
    pub stderr_noise: Vec<String>,
    /// How an image gets its programs, for people who make images.
    pub install: String,
    acp: Acp,
    #[serde(default)]
    env: BTreeMap<String, toml::Value>,
    /// Added when the model is the demo model.
    #[serde(default)]
    demo_env: BTreeMap<String, toml::Value>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Acp {
    argv: Vec<String>,
    /// How ACP's `model` option of this agent names a model.
    model: String,
}

/// What an agent speaks to its model provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// Anthropic Messages.
    Anthropic,
    /// `OpenAI` Chat Completions or Responses.
    Openai,
}

impl Protocol {
    /// The provider's name for people.
    #[must_use]
    pub const fn provider(self) -> &'static str {
        match self {
            Self::Anthropic => "Anthropic",
            Self::Openai => "OpenAI",
        }
    }
}

/// Where an agent's messages differ from other agents'.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Quirk {
    /// It sends no plan; the input of its tool `todowrite` is the plan.
    TodowriteIsPlan,
    /// Its tool `write` shows no diff; the input says what was written.
    WriteDiffFromInput,
    /// The usage in its answer to a prompt counts the last request only.
    UsageOfLastStep,
    /// The first title of a call is the tool's name, the later ones what it is applied to.
    TitleIsSubject,
}

/// What differs from sandbox to sandbox and from task to task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentContext {
    /// Where the gateway is, as seen from inside the sandbox, without `/v1`.
    pub gateway_url: String,
    /// The sandbox's token for the gateway. Not a real credential.
    pub token: String,
    /// The model, by the provider's name for it.
    pub model: String,
    /// Home of the sandbox's user.
    pub home: String,
    /// Where the app's files are.
    pub cwd: String,
}

/// A manifest cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Not TOML, a field is missing, unknown or of the wrong type.
    #[error("{file}: {message}; compare with agents/claude-code/agent.toml")]
    Syntax {
        /// Which file.
        file: String,
        /// The parser's words, with line and field.
        message: String,
    },
    /// A field has a value that cannot work.
    #[error("{file}: {field} is {value:?}; {remedy}")]
    Field {
        /// Which file.
        file: String,
        /// Which field.
        field: String,
        /// What it says, shortened.
        value: String,
        /// What it should say.
        remedy: String,
    },
    /// The file cannot be read.
    #[error("{file}: cannot be read: {message}")]
    Read {
        /// Which file.
        file: String,
        /// The system's words.
        message: String,
    },
}

/// A model's name cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "model {given:?} is no model name: 1 to 128 letters, digits and . _ - : / @ [ ]; leave it out to use {default}"
)]
pub struct BadModel {
    /// What was given, shortened.
    pub given: String,
    /// The agent's default.
    pub default: String,
}

impl AgentManifest {
    /// Parses and checks a manifest. `file` names it in errors, `folder` is what its id must be.
    ///
    /// # Errors
    /// When the text is no valid manifest; the error names the field and the remedy.
    pub fn parse(text: &str, file: &str, folder: &str) -> Result<Self, ManifestError> {
        let manifest: Self = toml::from_str(text).map_err(|error| ManifestError::Syntax {
            file: file.to_owned(),
            message: error.to_string().trim_end().to_owned(),
        })?;
        manifest
            .check(folder)
            .map_err(|wrong| ManifestError::Field {
                file: file.to_owned(),
                field: wrong.field,
                value: wrong.value.chars().take(100).collect(),
                remedy: wrong.remedy,
            })?;
        Ok(manifest)
    }

    fn check(&self, folder: &str) -> Result<(), Wrong> {
        let id_ok = (1..=32).contains(&self.id.len())
            && self
                .id
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !id_ok {
            return Err(wrong("id", &self.id, "use 1 to 32 of a-z, 0-9 and -"));
        }
        if self.id != folder {
            let remedy = format!("it must be the folder's name, {folder}");
            return Err(wrong("id", &self.id, &remedy));
        }
        if self.acp.argv.first().is_none_or(String::is_empty) {
            return Err(wrong("acp.argv", "", "name the program and its arguments"));
        }
        for (field, model) in [
            ("default_model", &self.default_model),
            ("demo_model", &self.demo_model),
        ] {
            if !is_model_name(model) {
                return Err(wrong(field, model, "use a provider's name of a model"));
            }
        }
        self.check_texts()
    }

    fn check_texts(&self) -> Result<(), Wrong> {
        let mut found = Ok(());
        let mut look = |field: &str, text: &str| {
            if found.is_err() {
                return;
            }
            if let Some(word) = template::unknown_placeholder(text) {
                let remedy = format!(
                    "{{{word}}} is no placeholder; there are {{{}}}",
                    template::PLACEHOLDERS.join("}, {")
                );
                found = Err(wrong(field, text, &remedy));
            } else if text.contains('\0') {
                found = Err(wrong(field, text, "remove the zero byte"));
            }
        };
        for text in &self.acp.argv {
            look("acp.argv", text);
        }
        look("acp.model", &self.acp.model);
        for (table, env) in [("env", &self.env), ("demo_env", &self.demo_env)] {
            for (name, value) in env {
                let field = format!("{table}.{name}");
                template::texts(value, &mut |text| look(&field, text));
            }
        }
        found?;
        let mut names = self.env.keys().chain(self.demo_env.keys());
        match names.find(|name| !is_variable(name)) {
            Some(name) => Err(wrong("env", name, "use letters, digits and _")),
            None => Ok(()),
        }
    }

    /// The model to use when a person asked for `given`.
    ///
    /// # Errors
    /// When `given` cannot be a model's name. Whether the provider has it, only the provider knows.
    pub fn model(&self, given: Option<&str>) -> Result<String, BadModel> {
        let name = given.unwrap_or(&self.default_model);
        if is_model_name(name) {
            return Ok(name.to_owned());
        }
        Err(BadModel {
            given: name.chars().take(64).collect(),
            default: self.default_model.clone(),
        })
    }

    /// How to start it in a sandbox.
    #[must_use]
    pub fn command(&self, context: &AgentContext) -> AgentCommand {
        let fill = |text: &String| template::fill(text, context);
        let demo = self
            .demo_env
            .iter()
            .filter(|_| self.is_demo(&context.model));
        let env = self.env.iter().chain(demo).map(|(name, value)| {
            let text = match value {
                toml::Value::String(text) => template::fill(text, context),
                other => template::fill_json(other, context).to_string(),
            };
            (name.clone(), text)
        });
        AgentCommand {
            argv: self.acp.argv.iter().map(fill).collect(),
            env: env.collect(),
            cwd: context.cwd.clone(),
        }
    }

    /// How this agent's ACP option `model` names the model.
    pub(crate) fn acp_model(&self, model: &str) -> String {
        self.acp.model.replace("{model}", model)
    }

    /// Whether the model is the gateway's built-in one, which costs nothing.
    pub(crate) fn is_demo(&self, model: &str) -> bool {
        model == self.demo_model
    }

    pub(crate) fn has(&self, quirk: Quirk) -> bool {
        self.quirks.contains(&quirk)
    }
}

struct Wrong {
    field: String,
    value: String,
    remedy: String,
}

fn wrong(field: &str, value: &str, remedy: &str) -> Wrong {
    Wrong {
        field: field.to_owned(),
        value: value.to_owned(),
        remedy: remedy.to_owned(),
    }
}

fn is_model_name(name: &str) -> bool {
    (1..=128).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-:/@[]".contains(&b))
}

fn is_variable(name: &str) -> bool {
    !name.is_empty()
        && !name.as_bytes()[0].is_ascii_digit()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests;
