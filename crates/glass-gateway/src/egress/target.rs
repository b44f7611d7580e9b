//! Where a request wants to go, in one notation.

use std::net::Ipv6Addr;
use std::str::FromStr;

use glass_types::{Host, HostError};

/// A host and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    host: Host,
    port: u16,
}

/// Why it is not a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TargetError {
    #[error("a user name before the host is not taken")]
    UserInfo,
    #[error("the port is missing or not one of 1 to 65535")]
    Port,
    #[error(transparent)]
    Host(#[from] HostError),
}

impl Target {
    pub(crate) fn new(host: Host, port: u16) -> Self {
        Self { host, port }
    }

    /// From `host:port`. Resolvers take `0x7f.1`, `017700000001` and `2130706433` for 127.0.0.1; here they are refused.
    pub(crate) fn parse(authority: &str, default_port: Option<u16>) -> Result<Self, TargetError> {
        if authority.contains('@') {
            return Err(TargetError::UserInfo);
        }
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let (address, port) = rest.split_once(']').ok_or(HostError::Notation)?;
                let address = Ipv6Addr::from_str(address).map_err(|_| HostError::Notation)?;
                (Host::Address(address.into()), port)
            }
            None => {
                let end = authority.find(':').unwrap_or(authority.len());
                let (host, port) = authority.split_at(end);
                (host.parse()?, port)
            }
        };
        let port = match (port, default_port) {
            ("", Some(port)) => port,
            _ => parse_port(port)?,
        };
        Ok(Self { host, port })
    }

    pub(crate) fn host(&self) -> &Host {
        &self.host
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

/// `:443`.
fn parse_port(text: &str) -> Result<u16, TargetError> {
    let digits = text.strip_prefix(':').ok_or(TargetError::Port)?;
    // `u16` itself would take a plus sign.
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(TargetError::Port);
    }
    match digits.parse() {
        Ok(0) | Err(_) => Err(TargetError::Port),
        Ok(port) => Ok(port),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_host_has_one_notation() {
        for (text, host, port) in [
            ("Example.COM:443", "example.com", 443),
            ("example.com.:443", "example.com", 443),
            ("example.com", "example.com", 80),
            ("127.0.0.1.:1", "127.0.0.1", 1),
            ("[::FFFF:7f00:1]:8", "::ffff:127.0.0.1", 8),
            ("[0:0::1]", "::1", 80),
            (
                "a_b.xn--bcher-kva.example:65535",
                "a_b.xn--bcher-kva.example",
                65535,
            ),
            ("0xcafe.example:1", "0xcafe.example", 1),
            ("1e100.net:1", "1e100.net", 1),
        ] {
            let target = Target::parse(text, Some(80)).unwrap();
            assert_eq!(
                (target.host.to_string().as_str(), target.port),
                (host, port),
                "{text}"
            );
        }
    }

    #[test]
    fn addresses_in_other_notations_are_refused() {
        for text in [
            "2130706433:80",
            "0x7f000001:80",
            "0x7f.0.0.1:80",
            "0177.0.0.1:80",
            "127.1:80",
            "127.0.1:80",
            "127.0.0.01:80",
            "127.0.0.0x1:80",
            "1.2.3.4.5:80",
            "256.1.1.1:80",
            "0x:80",
            "10.0.0.1.2130706433.:80",
            "[127.0.0.1]:80",
            "[::1%25lo]:80",
            "[fe80::1%eth0]:80",
            "[::1:80",
            "example.0x7f:80",
        ] {
            assert_eq!(
                Target::parse(text, None),
                Err(HostError::Notation.into()),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_target_is_refused() {
        let long = format!("{}.example:80", "a".repeat(64));
        let longer = format!("{}example:80", "a.".repeat(125));
        for (text, error) in [
            ("example.com@127.0.0.1:80", TargetError::UserInfo),
            ("127.0.0.1:80@example.com:80", TargetError::UserInfo),
            ("example.com", TargetError::Port),
            ("example.com:", TargetError::Port),
            ("example.com:0", TargetError::Port),
            ("example.com:65536", TargetError::Port),
            ("example.com:+80", TargetError::Port),
            ("example.com:80:80", TargetError::Port),
            ("[::1]x:80", TargetError::Port),
            ("", HostError::Name.into()),
            (".:80", HostError::Name.into()),
            ("..:80", HostError::Name.into()),
            ("a..b:80", HostError::Name.into()),
            ("exa%6dple.com:80", HostError::Name.into()),
            ("127.0.0.1%00.example:80", HostError::Name.into()),
            ("b\u{fc}cher.example:80", HostError::Name.into()),
            ("①②⑦.0.0.①:80", HostError::Name.into()),
            ("::1", HostError::Name.into()),
            (&long, HostError::Name.into()),
            (&longer, HostError::Name.into()),
        ] {
            assert_eq!(Target::parse(text, None), Err(error), "{text}");
        }
    }
}
