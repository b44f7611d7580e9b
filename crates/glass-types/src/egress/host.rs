//! A host in one notation.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

/// The longest name that DNS has.
const NAME_LIMIT: usize = 253;
const LABEL_LIMIT: usize = 63;

/// A host as it was named.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// By its address.
    Address(IpAddr),
    /// In lower case, without the dot at its end.
    Name(String),
}

/// Not a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// Something that some resolvers take for an address.
    #[error("an address is written as four decimal numbers or as IPv6 in brackets")]
    Notation,
    /// Neither an address nor a name.
    #[error("the host is not a name that DNS can have")]
    Name,
}

impl FromStr for Host {
    type Err = HostError;

    /// A name or an address of IPv4; one of IPv6 needs brackets, which its place has to look for. Resolvers take
    /// `0x7f.1`, `017700000001` and `2130706433` for 127.0.0.1; here they are refused.
    fn from_str(text: &str) -> Result<Self, HostError> {
        let text = text.strip_suffix('.').unwrap_or(text);
        if let Ok(address) = Ipv4Addr::from_str(text) {
            return Ok(Self::Address(address.into()));
        }
        if text.rsplit('.').next().is_some_and(is_number) {
            return Err(HostError::Notation);
        }
        let valid = text.len() <= NAME_LIMIT && text.split('.').all(is_label);
        if !valid {
            return Err(HostError::Name);
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

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}
