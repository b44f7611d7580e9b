//! What the operator decides: arguments, environment and `glasshouse.toml` of the data directory, as one checked value.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use glass_archive::Settings as ArchiveSettings;
use glass_gateway::{EgressConfig, GatewayConfig, Upstream};
use glass_guest_protocol::GATEWAY_PORT;
use glass_types::EgressPolicy;
use serde::Deserialize;

use crate::app::Archives;
use crate::app::memory::{HostMemory, ProcMemory};
use crate::runtime::RuntimeKind;

/// What the command line says.
#[derive(Debug, Clone)]
pub struct ServeArgs {
    /// Directory of everything the server keeps.
    pub data: PathBuf,
    /// Where to listen. Port 0 picks a free one. Preview URLs carry the port of the first.
    pub listen: Vec<SocketAddr>,
    /// Which backend makes sandboxes.
    pub runtime: RuntimeKind,
    /// Previews answer at `<port>-<sandbox>.<this>`.
    pub preview_domain: String,
    /// Directory of agent manifests that override the built-in ones.
    pub agents_dir: Option<PathBuf>,
    /// The program that archives, as `<program> internal archive`; a thread of this process unless given.
    pub program: Option<PathBuf>,
}

/// The configuration, whole and valid.
#[derive(Debug, Clone)]
pub struct Config {
    pub(crate) data: PathBuf,
    pub(crate) listen: Vec<SocketAddr>,
    pub(crate) runtime: RuntimeKind,
    /// The value of `DOCKER_HOST`.
    pub(crate) docker_host: Option<String>,
    pub(crate) preview_domain: String,
    pub(crate) agents_dir: Option<PathBuf>,
    pub(crate) gateway: GatewayConfig,
    /// Of sandboxes that have no policy of their own.
    pub(crate) egress: EgressPolicy,
    pub(crate) default_agent: String,
    pub(crate) memory: Arc<dyn HostMemory>,
    pub(crate) archive: ArchiveSettings,
    pub(crate) program: Option<PathBuf>,
}

/// All that is wrong with the configuration, at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<String>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for ConfigErrors {}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    default_agent: Option<String>,
    runtime: Option<String>,
    anthropic: Provider,
    openai: Provider,
    egress: Egress,
    archive: ArchiveSettings,
}

impl File {
    /// What the command line asks for, or leaves to the file.
    fn runtime(&self, asked: RuntimeKind) -> Result<RuntimeKind, String> {
        match (asked, &self.runtime) {
            (RuntimeKind::Auto, Some(word)) => {
                word.parse().map_err(|error| format!("runtime: {error}"))
            }
            _ => Ok(asked),
        }
    }
}

/// The runtime that a server over this data directory would have: [`RuntimeKind::Auto`] when neither the command line
/// nor the configuration file names one.
///
/// # Errors
/// When the configuration file makes no sense.
pub fn chosen_runtime(asked: RuntimeKind, data: &Path) -> Result<RuntimeKind, String> {
    read_file(&data.join("glasshouse.toml"))?.runtime(asked)
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Egress {
    mode: Option<String>,
    rules: Vec<String>,
    allow: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Provider {
    api_key: Option<String>,
    base_url: Option<String>,
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provider")
            .field("base_url", &self.base_url)
            .finish_non_exhaustive()
    }
}

impl Provider {
    /// The environment wins over the file. No key, no upstream.
    fn upstream(
        self,
        key: Option<String>,
        base_url: Option<String>,
        default_url: &str,
    ) -> Option<Upstream> {
        let filled =
            |value: Option<String>| value.map(|v| v.trim().to_owned()).filter(|v| !v.is_empty());
        let key = filled(key).or_else(|| filled(self.api_key))?;
        let base_url = filled(base_url)
            .or_else(|| filled(self.base_url))
            .unwrap_or_else(|| default_url.to_owned());
        Some(Upstream {
            base_url: base_url.trim_end_matches('/').to_owned(),
            key,
        })
    }
}

impl Egress {
    /// Checks every value; what is wrong goes to `errors`.
    fn config(self, errors: &mut Vec<String>) -> (EgressPolicy, EgressConfig) {
        let mut rules = Vec::new();
        for text in &self.rules {
            match text.parse() {
                Ok(rule) => rules.push(rule),
                Err(error) => errors.push(format!("egress.rules {text:?}: {error}")),
            }
        }
        let mode = self.mode.as_deref().unwrap_or("open");
        if mode != "allowlist" && !self.rules.is_empty() {
            errors.push(format!(
                "egress.rules: has no effect with egress.mode {mode:?}; remove one of them, or say mode = \"allowlist\""
            ));
        }
        let policy = match mode {
            "open" => EgressPolicy::Open,
            "allowlist" => EgressPolicy::Allowlist { rules },
            "none" => EgressPolicy::None,
            other => {
                errors.push(format!(
                    "egress.mode {other:?}: not a mode; it is \"open\" (public addresses and those of egress.allow), \
                     \"allowlist\" (what egress.rules name) or \"none\""
                ));
                EgressPolicy::None
            }
        };
        let allow = self.allow.iter().filter_map(|text| {
            let pattern = text.parse();
            pattern
                .map_err(|error| errors.push(format!("egress.allow {text:?}: {error}")))
                .ok()
        });
        let config = EgressConfig {
            allow: allow.collect(),
            gateway_port: GATEWAY_PORT,
        };
        (policy, config)
    }
}

impl Config {
    /// The same with another source of what the host's memory is.
    #[must_use]
    pub fn with_memory(mut self, memory: Arc<dyn HostMemory>) -> Self {
        self.memory = memory;
        self
    }

    /// Reads and checks everything the operator decides. `env` looks up an environment variable.
    ///
    /// # Errors
    /// All problems at once, each naming the place, the value and the remedy.
    pub fn load(
        args: ServeArgs,
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigErrors> {
        let mut errors = Vec::new();
        let path = args.data.join("glasshouse.toml");
        let file = read_file(&path).unwrap_or_else(|error| {
            errors.push(error);
            File::default()
        });
        let runtime = file.runtime(args.runtime).unwrap_or_else(|error| {
            errors.push(error);
            args.runtime
        });
        if args.listen.is_empty() {
            errors.push("--listen: give at least one address, such as 127.0.0.1:8080".to_owned());
        }
        for address in args
            .listen
            .iter()
            .filter(|address| !address.ip().is_loopback())
        {
            if runtime == RuntimeKind::Sim {
                errors.push(format!(
                    "--listen {address}: the sim runtime isolates nothing, so it listens on 127.0.0.1 or ::1 only; use \
                     --runtime native"
                ));
            }
        }
        let domain = args
            .preview_domain
            .trim_end_matches('.')
            .to_ascii_lowercase();
        if domain.is_empty()
            || !domain
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.')
        {
            errors.push(format!(
                "--preview-domain {:?}: not a host name; give one such as preview.localhost",
                args.preview_domain
            ));
        }
        let (egress_policy, egress) = file.egress.config(&mut errors);
        let gateway = GatewayConfig {
            anthropic: file.anthropic.upstream(
                env("ANTHROPIC_API_KEY"),
                env("ANTHROPIC_BASE_URL"),
                "https://api.anthropic.com",
            ),
            openai: file.openai.upstream(
                env("OPENAI_API_KEY"),
                env("OPENAI_BASE_URL"),
                "https://api.openai.com",
            ),
            egress,
        };
        for (name, upstream) in [
            ("ANTHROPIC_BASE_URL", &gateway.anthropic),
            ("OPENAI_BASE_URL", &gateway.openai),
        ] {
            let Some(upstream) = upstream else { continue };
            if !upstream.base_url.starts_with("https://")
                && !upstream.base_url.starts_with("http://")
            {
                errors.push(format!(
                    "{name} {:?}: not a URL; it begins with https:// or http://",
                    upstream.base_url
                ));
            }
        }
        let archive = archive(file.archive, &args.data).or_environment(&env);
        if let Err(error) = archive.check() {
            errors.push(error.to_string());
        }
        if !errors.is_empty() {
            return Err(ConfigErrors(errors));
        }
        Ok(Self {
            data: args.data,
            listen: args.listen,
            runtime,
            docker_host: env("DOCKER_HOST"),
            preview_domain: domain,
            agents_dir: args.agents_dir,
            gateway,
            egress: egress_policy,
            default_agent: file
                .default_agent
                .unwrap_or_else(|| "claude-code".to_owned()),
            memory: Arc::new(ProcMemory),
            archive,
            program: args.program,
        })
    }
}

impl Config {
    /// Tries whether the archive can be written, read and cleaned up. Answers where it is.
    ///
    /// # Errors
    /// Says where it is, what does not work and what to do.
    pub async fn check_archive(&self) -> Result<String, String> {
        let url = self.archive.url.clone();
        let is_made = self
            .archive
            .local()
            .is_none_or(|directory| directory.exists());
        if !is_made {
            return Ok(format!("{url}, made when it is first needed"));
        }
        let archives = Archives::new(self.archive.clone(), &self.data, self.program.clone())
            .map_err(|error| error.to_string())?;
        archives.check().await.map_err(|error| error.to_string())?;
        Ok(url)
    }
}

/// Where nothing is said, beside the disks: deduplicated and compressed they take less there, too.
fn archive(settings: ArchiveSettings, data: &Path) -> ArchiveSettings {
    if !settings.url.is_empty() {
        return settings;
    }
    ArchiveSettings {
        url: ArchiveSettings::directory(&data.join("archive")),
        ..settings
    }
}

fn read_file(path: &Path) -> Result<File, String> {
    match std::fs::read_to_string(path) {
        Ok(text) => toml::from_str(&text).map_err(|error| {
            let place = error.span().map_or_else(String::new, |span| {
                let line = text
                    .bytes()
                    .take(span.start)
                    .filter(|b| *b == b'\n')
                    .count()
                    + 1;
                format!(", line {line}")
            });
            // One line, so that it is whole wherever it is shown.
            let reason = error.message().replace('\n', ", ");
            format!("{}{place}: {reason}", path.display())
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(File::default()),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(data: &Path) -> ServeArgs {
        ServeArgs {
            data: data.to_owned(),
            listen: vec!["127.0.0.1:0".parse().unwrap()],
            runtime: RuntimeKind::Sim,
            preview_domain: "preview.localhost".into(),
            agents_dir: None,
            program: None,
        }
    }

    #[test]
    fn keys_come_from_the_environment_before_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let text = "[anthropic]\napi_key = \"from-file\"\nbase_url = \"http://127.0.0.1:1/\"\n[openai]\napi_key = \" \"\n";
        std::fs::write(directory.path().join("glasshouse.toml"), text).unwrap();
        let config = Config::load(args(directory.path()), |name| {
            (name == "ANTHROPIC_API_KEY").then(|| "from-env".to_owned())
        })
        .unwrap();
        let anthropic = config.gateway.anthropic.as_ref().unwrap();
        assert_eq!(
            (anthropic.key.as_str(), anthropic.base_url.as_str()),
            ("from-env", "http://127.0.0.1:1")
        );
        assert!(config.gateway.openai.is_none());
        assert!(!format!("{config:?}").contains("from-env"));
    }

    fn with_file(text: &str) -> Result<Config, ConfigErrors> {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("glasshouse.toml"), text).unwrap();
        Config::load(args(directory.path()), |_| None)
    }

    #[test]
    fn egress_is_open_unless_the_file_says_otherwise() {
        assert_eq!(with_file("").unwrap().egress, EgressPolicy::Open);
        let config = with_file("[egress]\nmode = \"none\"").unwrap();
        assert_eq!(config.egress, EgressPolicy::None);
        let text = "[egress]\nmode = \"allowlist\"\nrules = [\"github.com\", \"*.npmjs.org:443\"]";
        let EgressPolicy::Allowlist { rules } = with_file(text).unwrap().egress else {
            panic!("it is a list");
        };
        assert_eq!(rules.len(), 2);
        let text = "[egress]\nallow = [\"registry.corp.example:443\", \"10.0.0.5:5432\"]";
        assert_eq!(with_file(text).unwrap().gateway.egress.allow.len(), 2);
    }

    #[test]
    fn the_file_names_a_runtime_where_the_command_line_does_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("glasshouse.toml");
        std::fs::write(&path, "runtime = \"docker\"").unwrap();
        let chosen = |asked| chosen_runtime(asked, directory.path());
        assert_eq!(chosen(RuntimeKind::Auto), Ok(RuntimeKind::Docker));
        assert_eq!(chosen(RuntimeKind::Sim), Ok(RuntimeKind::Sim));
        std::fs::write(&path, "runtime = \"podman\"").unwrap();
        let error = chosen(RuntimeKind::Auto).unwrap_err();
        assert!(error.contains("runtime: \"podman\""), "{error}");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(chosen(RuntimeKind::Auto), Ok(RuntimeKind::Auto));
    }

    #[test]
    fn wrong_egress_is_named() {
        let text = "[egress]\nmode = \"closed\"\nallow = [\"corp.example\"]";
        let errors = with_file(text).unwrap_err().0;
        assert_eq!(errors.len(), 2, "{errors:?}");
        assert!(errors[0].contains("egress.mode \"closed\""), "{errors:?}");
        assert!(
            errors[1].contains("egress.allow \"corp.example\""),
            "{errors:?}"
        );
        let text = "[egress]\nrules = [\"https://corp.example\"]";
        let errors = with_file(text).unwrap_err().0;
        assert!(
            errors[0].contains("egress.rules \"https://corp.example\""),
            "{errors:?}"
        );
        assert!(errors[1].contains("no effect"), "{errors:?}");
    }

    #[test]
    fn what_is_no_toml_is_named_in_one_line() {
        let errors = with_file("default_agent = \"x\"\nthis is not toml")
            .unwrap_err()
            .0;
        assert!(
            errors[0].contains("glasshouse.toml, line 2: "),
            "{errors:?}"
        );
        assert_eq!(errors[0].lines().count(), 1, "{errors:?}");
    }

    #[test]
    fn all_problems_come_at_once() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(
            directory.path().join("glasshouse.toml"),
            "default_agnt = 'x'",
        )
        .unwrap();
        let mut args = args(directory.path());
        args.listen = vec!["0.0.0.0:80".parse().unwrap()];
        args.preview_domain = "a b".into();
        let errors = Config::load(args, |_| None).unwrap_err().0;
        assert_eq!(errors.len(), 3, "{errors:?}");
        assert!(errors[0].contains("default_agnt"), "{errors:?}");
    }
}
