//! `[registry/]repository[:tag][@digest]`, with Docker's defaults.

use std::fmt;

use crate::digest::Digest;
use crate::registry::PullError;

const DEFAULT_REGISTRY: &str = "docker.io";
/// The machine that serves it.
const DEFAULT_HOST: &str = "registry-1.docker.io";

/// Where an image is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reference {
    pub(crate) registry: String,
    pub(crate) repository: String,
    pub(crate) tag: String,
    pub(crate) digest: Option<Digest>,
}

impl Reference {
    pub(crate) fn parse(text: &str) -> Result<Self, PullError> {
        let invalid = |reason| PullError::Reference {
            reference: text.chars().take(200).collect(),
            reason,
        };
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => {
                let digest = digest
                    .parse()
                    .map_err(|_| invalid("after `@` it needs sha256:<64 hexadecimal digits>"))?;
                (rest, Some(digest))
            }
            None => (text, None),
        };
        let (rest, tag) = match rest.rsplit_once(':') {
            Some((before, tag)) if !tag.contains('/') => (before, tag),
            _ => (rest, "latest"),
        };
        let is_registry = |part: &str| part.contains(['.', ':']) || part == "localhost";
        let (registry, repository) = match rest.split_once('/') {
            Some((first, repository)) if is_registry(first) => (first, repository.to_owned()),
            Some(_) => (DEFAULT_REGISTRY, rest.to_owned()),
            None => (DEFAULT_REGISTRY, format!("library/{rest}")),
        };
        let repository_char =
            |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
        let part = |part: &str| {
            part.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
                && part.chars().all(repository_char)
        };
        if rest.is_empty() || repository.len() > 255 || !repository.split('/').all(part) {
            return Err(invalid(
                "a repository is lower-case letters, digits, `.`, `_`, `-`, in parts separated by `/`",
            ));
        }
        let tag_char = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if tag.is_empty() || tag.len() > 128 || !tag.chars().all(tag_char) {
            return Err(invalid(
                "a tag is at most 128 letters, digits, `.`, `_`, `-`",
            ));
        }
        if registry.len() > 255
            || !registry.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '[')
            || !registry
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || ".-:[]".contains(c))
        {
            return Err(invalid("the registry is no host name"));
        }
        Ok(Self {
            registry: registry.to_owned(),
            repository,
            tag: tag.to_owned(),
            digest,
        })
    }

    /// `https://registry`, or `http` on this machine.
    pub(crate) fn base(&self) -> String {
        let host = if self.registry == DEFAULT_REGISTRY {
            DEFAULT_HOST
        } else {
            &self.registry
        };
        let scheme = if self.is_local() { "http" } else { "https" };
        format!("{scheme}://{host}")
    }

    pub(crate) fn is_local(&self) -> bool {
        is_loopback(&self.registry)
    }

    /// What its manifest is asked for by.
    pub(crate) fn version(&self) -> String {
        self.digest
            .as_ref()
            .map_or_else(|| self.tag.clone(), Digest::to_string)
    }

    /// The name it gets in the store: without Docker's defaults.
    pub(crate) fn short(&self) -> String {
        let repository = if self.registry == DEFAULT_REGISTRY {
            self.repository
                .strip_prefix("library/")
                .unwrap_or(&self.repository)
                .to_owned()
        } else {
            format!("{}/{}", self.registry, self.repository)
        };
        format!("{repository}:{}", self.tag)
    }
}

/// Whether a host, perhaps with a port, is this machine.
pub(crate) fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.chars().all(|c| c.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name == "localhost"
        || name
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.repository, self.version())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_expand_as_docker_does() {
        for (text, registry, repository, tag) in [
            ("alpine", "docker.io", "library/alpine", "latest"),
            ("alpine:3", "docker.io", "library/alpine", "3"),
            ("me/app", "docker.io", "me/app", "latest"),
            ("localhost/app", "localhost", "app", "latest"),
            ("localhost:5000/a/b:v1", "localhost:5000", "a/b", "v1"),
            ("registry.example/a", "registry.example", "a", "latest"),
        ] {
            let reference = Reference::parse(text).unwrap();
            assert_eq!(
                (
                    &*reference.registry,
                    &*reference.repository,
                    &*reference.tag
                ),
                (registry, repository, tag),
                "{text}"
            );
        }
        assert_eq!(Reference::parse("alpine:3").unwrap().short(), "alpine:3");
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in [
            "",
            "UPPER",
            "a//b",
            "a/../b",
            "a:",
            "a@sha256:12",
            "a b",
            "x.y/",
            "h.x:1/a?b",
            "../a",
        ] {
            assert!(Reference::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_this_machine_is_spoken_to_without_tls() {
        for local in [
            "localhost/a",
            "localhost:5000/a",
            "127.0.0.1:5000/a",
            "127.9.9.9:1/a",
            "[::1]:5000/a",
        ] {
            assert!(
                Reference::parse(local)
                    .unwrap()
                    .base()
                    .starts_with("http://"),
                "{local}"
            );
        }
        for remote in [
            "alpine",
            "localhost.example/a",
            "127.0.0.1.example/a",
            "10.0.0.1:5000/a",
        ] {
            assert!(
                Reference::parse(remote)
                    .unwrap()
                    .base()
                    .starts_with("https://"),
                "{remote}"
            );
        }
    }
}
