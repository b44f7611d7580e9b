//! Where a request wants to go, in one notation.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// The longest name that DNS has.
const NAME_LIMIT: usize = 253;
const LABEL_LIMIT: usize = 63;

/// A host and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    host: Host,
    port: u16,
}

/// A host as it was named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Host {
    Address(IpAddr),
    /// In lower case, without the dot at its end.
    Name(String),
}

/// Why it is not a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TargetError {
    #[error("a user name before the host is not taken")]
    UserInfo,
    #[error("the port is missing or not one of 1 to 65535")]
    Port,
    #[error("an address is written as four decimal numbers or as IPv6 in brackets")]
    Notation,
    #[error("the host is not a name that DNS can have")]
    Name,
}

impl Target {
    /// From `host:port`. Resolvers take `0x7f.1`, `017700000001` and `2130706433` for 127.0.0.1; here they are refused.
    pub(crate) fn parse(authority: &str, default_port: Option<u16>) -> Result<Self, TargetError> {
        if authority.contains('@') {
            return Err(TargetError::UserInfo);
        }
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let (address, port) = rest.split_once(']').ok_or(TargetError::Notation)?;
                let address = Ipv6Addr::from_str(address).map_err(|_| TargetError::Notation)?;
                (Host::Address(address.into()), port)
            }
            None => {
                let end = authority.find(':').unwrap_or(authority.len());
                let (host, port) = authority.split_at(end);
                (Host::parse(host)?, port)
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

impl Host {
    fn parse(text: &str) -> Result<Self, TargetError> {
        let text = text.strip_suffix('.').unwrap_or(text);
        if let Ok(address) = Ipv4Addr::from_str(text) {
            return Ok(Self::Address(address.into()));
        }
        if text.rsplit('.').next().is_some_and(is_number) {
            return Err(TargetError::Notation);
        }
        let valid = text.len() <= NAME_LIMIT && text.split('.').all(is_label);
        if !valid {
            return Err(TargetError::Name);
        }
        Ok(Self::Name(text.to_ascii_lowercase()))
    }
}

fn is_number(label: &str) -> bool {
    let hexadecimal = label
        .strip_prefix("0x")
        .or_else(|| label.strip_prefix("0X"));
    match hexadecimal {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

fn is_label(label: &str) -> bool {
    !label.is_empty()
        && label.len() <= LABEL_LIMIT
        && label
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
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

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
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
                Err(TargetError::Notation),
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
            ("", TargetError::Name),
            (".:80", TargetError::Name),
            ("..:80", TargetError::Name),
            ("a..b:80", TargetError::Name),
            ("exa%6dple.com:80", TargetError::Name),
            ("127.0.0.1%00.example:80", TargetError::Name),
            ("b\u{fc}cher.example:80", TargetError::Name),
            ("①②⑦.0.0.①:80", TargetError::Name),
            ("::1", TargetError::Name),
            (&long, TargetError::Name),
            (&longer, TargetError::Name),
        ] {
            assert_eq!(Target::parse(text, None), Err(error), "{text}");
        }
    }
}
