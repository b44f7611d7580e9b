//! What a build takes over from the caller's environment: how to reach the network, and nothing else.

use std::path::{Path, PathBuf};

pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Where the chroot has the host's certificates, see `enter.sh`.
const CA_INSIDE: &str = "/run/ca.crt";
/// Where distributions keep the certificates that the host trusts.
const CA_BUNDLES: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
];

/// The variables by which programs learn whom to trust: a file with certificates.
pub const CA_VARIABLES: [&str; 8] = [
    "SSL_CERT_FILE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "PIP_CERT",
    "REQUESTS_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
    "npm_config_cafile",
    "CARGO_HTTP_CAINFO",
];

/// How to build.
#[derive(Debug, Clone, Default)]
pub struct BuildOptions {
    /// Make every layer anew: newer packages of the same names.
    pub refresh: bool,
    /// Variables for the recipe's programs: proxies, registries.
    pub env: Vec<(String, String)>,
    /// Certificates that the recipe's programs shall trust.
    pub ca_bundle: Option<PathBuf>,
}

impl BuildOptions {
    /// Takes from the environment what the recipe's programs need to reach the network: `http_proxy`, `https_proxy`,
    /// `no_proxy`, `PIP_*`, `npm_config_*` and, as the certificates to trust, `SSL_CERT_FILE`.
    pub fn from_environment(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut env = Vec::new();
        let mut ca_bundle = None;
        for (name, value) in variables {
            let lower = name.to_ascii_lowercase();
            let network = matches!(
                &*lower,
                "http_proxy" | "https_proxy" | "no_proxy" | "all_proxy" | "ftp_proxy"
            );
            // A path of the host names nothing inside.
            let setting = (lower.starts_with("pip_") || lower.starts_with("npm_config_"))
                && !value.starts_with('/');
            if network || setting {
                env.push((name, value));
            } else if name == "SSL_CERT_FILE" {
                ca_bundle = Some(PathBuf::from(value));
            }
        }
        let ca_bundle = ca_bundle
            .into_iter()
            .chain(CA_BUNDLES.map(PathBuf::from))
            .find(|path| path.is_file());
        Self {
            refresh: false,
            env,
            ca_bundle,
        }
    }

    /// The environment of a script.
    pub(crate) fn inside(&self) -> Vec<(String, String)> {
        let mut env = self.env.clone();
        let mut set = |name: &str, value: &str| env.push((name.to_owned(), value.to_owned()));
        set("PATH", PATH);
        set("HOME", "/root");
        set("LANG", "C.UTF-8");
        set("TMPDIR", "/tmp");
        set("DEBIAN_FRONTEND", "noninteractive");
        set("PYTHONDONTWRITEBYTECODE", "1");
        if self.ca_bundle.as_deref().is_some_and(Path::is_file) {
            for name in CA_VARIABLES {
                set(name, CA_INSIDE);
            }
        }
        env
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_network_needs_is_taken_over() {
        let vars = [
            ("HTTPS_PROXY", "http://proxy:3128"),
            ("PIP_INDEX_URL", "https://mirror/simple"),
            ("PIP_FIND_LINKS", "/opt/wheels"),
            ("npm_config_registry", "https://mirror/npm"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("PATH", "/evil"),
        ];
        let options =
            BuildOptions::from_environment(vars.map(|(n, v)| (n.to_owned(), v.to_owned())));
        let names: Vec<_> = options.env.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            names,
            ["HTTPS_PROXY", "PIP_INDEX_URL", "npm_config_registry"]
        );
    }
}
