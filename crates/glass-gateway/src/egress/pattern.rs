//! The operator's exceptions: a host and a port.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use super::target::{Host, Target};

/// What may be reached although it is not public: `registry.corp.example:443`, `*.corp.example:443`, `10.0.0.5:5432`,
/// `10.0.0.0/8:5432`, `[fd00::/8]:443`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPattern {
    host: Pattern,
    port: u16,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Pattern {
    Name(String),
    /// With its leading dot.
    Below(String),
    /// The network's address, and how many of its bits count.
    Network(IpAddr, u8),
}

/// Not a host pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a host with a port; write registry.corp.example:443, *.corp.example:443, 10.0.0.5:5432, 10.0.0.0/8:5432 or \
     [fd00::/8]:443"
)]
pub struct HostPatternError;

impl HostPattern {
    /// Whether the target may be reached at this address of it.
    pub(crate) fn permits(&self, target: &Target, address: IpAddr) -> bool {
        self.port == target.port()
            && match (&self.host, target.host()) {
                (Pattern::Name(name), Host::Name(asked)) => name == asked,
                (Pattern::Below(suffix), Host::Name(asked)) => asked.ends_with(suffix.as_str()),
                (Pattern::Name(_) | Pattern::Below(_), Host::Address(_)) => false,
                (Pattern::Network(network, bits), _) => contains(*network, *bits, address),
            }
    }
}

impl FromStr for HostPattern {
    type Err = HostPatternError;

    fn from_str(text: &str) -> Result<Self, HostPatternError> {
        let (text, bits) = without_bits(text)?;
        let (text, below) = match text.strip_prefix("*.") {
            Some(rest) => (rest.to_owned(), true),
            None => (text, false),
        };
        let target = Target::parse(&text, None).map_err(|_| HostPatternError)?;
        let host = match (target.host(), bits, below) {
            (Host::Name(name), None, true) => Pattern::Below(format!(".{name}")),
            (Host::Name(name), None, false) => Pattern::Name(name.clone()),
            (Host::Address(address), bits, false) => {
                let most = if address.is_ipv4() { 32 } else { 128 };
                let bits = bits.unwrap_or(most);
                if bits > most {
                    return Err(HostPatternError);
                }
                Pattern::Network(*address, bits)
            }
            _ => return Err(HostPatternError),
        };
        Ok(Self {
            host,
            port: target.port(),
        })
    }
}

/// Takes the `/8` out of `10.0.0.0/8:5432` and `[fd00::/8]:443`.
fn without_bits(text: &str) -> Result<(String, Option<u8>), HostPatternError> {
    let Some((before, after)) = text.split_once('/') else {
        return Ok((text.to_owned(), None));
    };
    let end = after
        .find(|c: char| !c.is_ascii_digit())
        .ok_or(HostPatternError)?;
    let bits = after[..end].parse().map_err(|_| HostPatternError)?;
    Ok((format!("{before}{}", &after[end..]), Some(bits)))
}

fn contains(network: IpAddr, bits: u8, address: IpAddr) -> bool {
    match (network.to_canonical(), address.to_canonical()) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            let differ = Ipv4Addr::to_bits(network) ^ Ipv4Addr::to_bits(address);
            differ.leading_zeros() >= u32::from(bits)
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => {
            let differ = Ipv6Addr::to_bits(network) ^ Ipv6Addr::to_bits(address);
            differ.leading_zeros() >= u32::from(bits)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permits(pattern: &str, target: &str, address: &str) -> bool {
        let pattern: HostPattern = pattern.parse().unwrap();
        let target = Target::parse(target, None).unwrap();
        pattern.permits(&target, address.parse().unwrap())
    }

    #[test]
    fn names_are_compared_whole_and_without_case() {
        let private = "10.0.0.1";
        assert!(permits(
            "Registry.Corp.example:443",
            "registry.corp.example.:443",
            private
        ));
        assert!(!permits(
            "registry.corp.example:443",
            "registry.corp.example:80",
            private
        ));
        assert!(!permits(
            "corp.example:443",
            "registry.corp.example:443",
            private
        ));
        assert!(!permits(
            "corp.example:443",
            "evilcorp.example:443",
            private
        ));
        assert!(permits(
            "*.corp.example:443",
            "a.b.corp.example:443",
            private
        ));
        assert!(!permits("*.corp.example:443", "corp.example:443", private));
        assert!(!permits(
            "*.corp.example:443",
            "evilcorp.example:443",
            private
        ));
    }

    #[test]
    fn addresses_are_compared_in_every_notation() {
        assert!(permits("10.0.0.5:5432", "db.example:5432", "10.0.0.5"));
        assert!(permits(
            "10.0.0.5:5432",
            "[::ffff:10.0.0.5]:5432",
            "::ffff:10.0.0.5"
        ));
        assert!(!permits("10.0.0.5:5432", "10.0.0.6:5432", "10.0.0.6"));
        assert!(permits("10.0.0.0/8:5432", "10.9.8.7:5432", "10.9.8.7"));
        assert!(!permits("10.0.0.0/8:5432", "11.0.0.1:5432", "11.0.0.1"));
        assert!(permits("[fd00::/8]:443", "[fd12::1]:443", "fd12::1"));
        assert!(!permits("[fd00::1]:443", "[fd00::2]:443", "fd00::2"));
        assert!(permits("0.0.0.0/0:1", "1.2.3.4:1", "1.2.3.4"));
        assert!(!permits("0.0.0.0/0:1", "[fd00::2]:1", "fd00::2"));
    }

    #[test]
    fn what_is_not_a_host_with_a_port_is_refused() {
        for text in [
            "",
            "corp.example",
            "10.0.0.5",
            "*:443",
            "*.:443",
            "*.10.0.0.1:443",
            "10.0.0.0/33:1",
            "10.0.0.0/:1",
            "[fd00::/129]:1",
            "fd00::1:443",
            "a/8:443",
            "http://a:443",
            "a b:443",
            "a:0",
            "a:65536",
            "a:+1",
            "0x7f.1:80",
            "10.0.0.0/8",
            "*.*.a:1",
        ] {
            assert_eq!(text.parse::<HostPattern>(), Err(HostPatternError), "{text}");
        }
    }
}
