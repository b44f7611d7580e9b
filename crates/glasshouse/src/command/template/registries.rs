//! How the commands of a recipe reach the registries of packages: as this machine does.
//!
//! Programs of the sandbox get it for the commands alone, and the certificates lie in a directory that is thrown away:
//! nothing of it stays in the template.

use std::path::PathBuf;

use glass_image::{BuildOptions, CA_VARIABLES};
use reqwest::Url;

/// Where the sandbox has the certificates that this machine trusts.
const CA_INSIDE: &str = "/tmp/glasshouse-ca.crt";

/// What commands get.
#[derive(Debug, Default)]
pub(super) struct Registries {
    /// Environment of the commands.
    pub(super) env: Vec<(String, String)>,
    /// A file of this machine, and where in the sandbox it is to be.
    pub(super) certificates: Option<(PathBuf, &'static str)>,
}

impl Registries {
    /// Those of this machine.
    pub(super) fn of(settings: BuildOptions) -> Self {
        // Proxies are the sandbox's own affair: it has one that leads out.
        let mut env: Vec<_> = settings
            .env
            .into_iter()
            .filter(|(name, value)| is_registry(name) && !is_secret(name, value))
            .collect();
        if settings.ca_bundle.is_some() {
            env.extend(CA_VARIABLES.map(|name| (name.to_owned(), CA_INSIDE.to_owned())));
        }
        // Else a mirror's address would end up in `package-lock.json`.
        env.push((
            "npm_config_omit_lockfile_registry_resolved".to_owned(),
            "true".to_owned(),
        ));
        Self {
            env,
            certificates: settings.ca_bundle.map(|file| (file, CA_INSIDE)),
        }
    }
}

fn is_registry(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.starts_with("pip_") || name.starts_with("npm_config_")
}

/// What lets whoever has it in: it does not belong into any sandbox.
fn is_secret(name: &str, value: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let has_user = |word: &str| {
        Url::parse(word).is_ok_and(|url| !url.username().is_empty() || url.password().is_some())
    };
    ["auth", "password", "token"]
        .iter()
        .any(|word| name.contains(word))
        || value.split_whitespace().any(has_user)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(variables: &[(&str, &str)]) -> Vec<(String, String)> {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let settings = BuildOptions {
            env: variables.iter().map(own).collect(),
            ..BuildOptions::default()
        };
        let mut env = Registries::of(settings).env;
        env.retain(|(name, _)| !name.ends_with("resolved"));
        env
    }

    #[test]
    fn a_mirror_goes_in_and_a_proxy_does_not() {
        let mirror = ("PIP_INDEX_URL", "https://mirror.example/simple");
        let kept = env(&[mirror, ("https_proxy", "http://proxy.example:3128")]);
        assert_eq!(kept, [(mirror.0.to_owned(), mirror.1.to_owned())]);
    }

    #[test]
    fn no_credential_goes_in() {
        for secret in [
            ("npm_config__auth", "abc"),
            ("npm_config_//mirror.example/:_authToken", "abc"),
            ("PIP_INDEX_URL", "https://me:secret@mirror.example/simple"),
            (
                "PIP_EXTRA_INDEX_URL",
                "https://a.example https://me@b.example",
            ),
        ] {
            assert_eq!(env(&[secret]), [], "{secret:?}");
        }
    }

    #[test]
    fn certificates_are_named_to_all_who_ask() {
        let settings = BuildOptions {
            ca_bundle: Some("/etc/ssl/certs/ca-certificates.crt".into()),
            ..BuildOptions::default()
        };
        let registries = Registries::of(settings);
        for name in ["NODE_EXTRA_CA_CERTS", "PIP_CERT", "CARGO_HTTP_CAINFO"] {
            let value = registries.env.iter().find(|(known, _)| known == name);
            assert_eq!(value.unwrap().1, CA_INSIDE);
        }
        assert!(registries.certificates.is_some());
    }
}
