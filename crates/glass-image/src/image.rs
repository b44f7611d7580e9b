//! One image of the store.

use std::path::PathBuf;

use crate::digest::Digest;
use crate::spec::{Config, RunConfig};

/// One image of the store, ready to be used.
#[derive(Debug, Clone)]
pub struct Image {
    /// Its name, without `:latest`. An image whose name was given to a newer one is called `name@sha256:…`.
    pub name: String,
    /// The digest of its manifest.
    pub digest: Digest,
    /// Bytes of its unpacked layers.
    pub size_bytes: u64,
    /// When it was made, as its config says, in RFC 3339.
    pub created: Option<String>,
    /// How its programs run.
    pub config: ImageConfig,
    /// Directories with its layers, the lowest first: lower directories for overlayfs. Never write to them.
    pub layers: Vec<PathBuf>,
}

/// How programs of an image run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageConfig {
    /// Environment, in the image's order.
    pub env: Vec<(String, String)>,
    /// Name or number of the user, perhaps with `:group`.
    pub user: Option<String>,
    /// Where programs start.
    pub workdir: Option<String>,
    /// What is put before every command.
    pub entrypoint: Vec<String>,
    /// The command when none is given.
    pub cmd: Vec<String>,
    /// Ports that the image says it listens on.
    pub exposed_ports: Vec<u16>,
}

impl Image {
    pub(crate) fn new(
        name: String,
        digest: Digest,
        size_bytes: u64,
        layers: Vec<PathBuf>,
        config: Config,
    ) -> Self {
        Self {
            name,
            digest,
            size_bytes,
            created: config.created,
            config: config.config.into(),
            layers,
        }
    }
}

impl From<RunConfig> for ImageConfig {
    fn from(config: RunConfig) -> Self {
        let set = |text: Option<String>| text.filter(|t| !t.is_empty());
        Self {
            env: config
                .env
                .unwrap_or_default()
                .iter()
                .filter_map(|pair| pair.split_once('='))
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            user: set(config.user),
            workdir: set(config.working_dir),
            entrypoint: config.entrypoint.unwrap_or_default(),
            cmd: config.cmd.unwrap_or_default(),
            exposed_ports: config
                .exposed_ports
                .unwrap_or_default()
                .keys()
                .filter_map(|port| port.split('/').next()?.parse().ok())
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_without_anything_gives_an_empty_one() {
        assert_eq!(
            ImageConfig::from(RunConfig::default()),
            ImageConfig::default()
        );
    }

    #[test]
    fn env_and_ports_are_parsed_and_nonsense_is_left_out() {
        let config: RunConfig = serde_json::from_str(
            r#"{"Env":["A=1","B=x=y","nonsense"],"User":"","ExposedPorts":{"80/tcp":{},"x/udp":{}}}"#,
        )
        .unwrap();
        let config = ImageConfig::from(config);
        assert_eq!(
            config.env,
            [
                ("A".to_owned(), "1".to_owned()),
                ("B".to_owned(), "x=y".to_owned())
            ]
        );
        assert_eq!(config.exposed_ports, [80]);
        assert_eq!(config.user, None);
    }
}
