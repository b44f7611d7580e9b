//! A host, or many, and ports of it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Host;

/// Of a rule that names none: HTTP and HTTPS.
const DEFAULT_PORTS: [u16; 2] = [80, 443];
const PORTS: usize = 32;

/// What may be reached: `github.com`, `*.npmjs.org:443`, `db.example.com:5432,6432`, `93.184.216.34:5432`,
/// `203.0.0.0/16:22`, `[2606:2800::/32]:443`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EgressRule {
    host: Pattern,
    /// Those that were written; the usual ones when none was.
    ports: Vec<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Pattern {
    Name(String),
    /// With its leading dot.
    Below(String),
    /// The network's address, and how many of its bits count.
    Network(IpAddr, u8),
}

/// Not a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EgressRuleError {
    /// What comes before the ports is no host.
    #[error(
        "it names no host; write example.com, *.example.com, 93.184.216.34, 93.184.216.0/24 or [2606:2800::/32], and names \
         of other scripts as xn--…"
    )]
    Host,
    /// What comes after the host are no ports.
    #[error("after the host come one to {PORTS} ports of 1 to 65535: example.com:22,443")]
    Ports,
}

impl EgressRule {
    /// Whether a connection to this port of the host is permitted.
    #[must_use]
    pub fn permits(&self, host: &Host, port: u16) -> bool {
        self.ports().contains(&port) && self.names(host)
    }

    /// Whether the rule is about this host. A name is compared with names and an address with addresses: what a name
    /// stands for changes.
    #[must_use]
    pub fn names(&self, host: &Host) -> bool {
        match (&self.host, host) {
            (Pattern::Name(name), Host::Name(asked)) => name == asked,
            (Pattern::Below(suffix), Host::Name(asked)) => asked.ends_with(suffix.as_str()),
            (Pattern::Network(..), Host::Address(address)) => self.contains(*address),
            (Pattern::Name(_) | Pattern::Below(_), Host::Address(_))
            | (Pattern::Network(..), Host::Name(_)) => false,
        }
    }

    /// Whether the rule is about a network that has this address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match self.host {
            Pattern::Network(network, bits) => contains(network, bits, address),
            Pattern::Name(_) | Pattern::Below(_) => false,
        }
    }

    /// The ports, whether they were written or not.
    #[must_use]
    pub fn ports(&self) -> &[u16] {
        if self.ports.is_empty() {
            &DEFAULT_PORTS
        } else {
            &self.ports
        }
    }

    /// The ports that were written.
    #[must_use]
    pub fn written_ports(&self) -> &[u16] {
        &self.ports
    }
}

impl FromStr for EgressRule {
    type Err = EgressRuleError;

    fn from_str(text: &str) -> Result<Self, EgressRuleError> {
        let (host, ports) = match text.strip_prefix('[') {
            Some(rest) => {
                let (network, ports) = rest.split_once(']').ok_or(EgressRuleError::Host)?;
                (v6_network(network)?, ports)
            }
            None => {
                let (host, ports) = text.split_at(text.find(':').unwrap_or(text.len()));
                (Pattern::parse(host)?, ports)
            }
        };
        Ok(Self {
            host,
            ports: match ports {
                "" => Vec::new(),
                _ => parse_ports(ports)?,
            },
        })
    }
}

impl Pattern {
    fn parse(text: &str) -> Result<Self, EgressRuleError> {
        let host = |text: &str| text.parse::<Host>().map_err(|_| EgressRuleError::Host);
        if let Some(rest) = text.strip_prefix("*.") {
            return match host(rest)? {
                Host::Name(name) => Ok(Self::Below(format!(".{name}"))),
                Host::Address(_) => Err(EgressRuleError::Host),
            };
        }
        if let Some((network, bits)) = text.split_once('/') {
            return match host(network)? {
                Host::Address(address) => Ok(Self::Network(address, parse_bits(bits, 32)?)),
                Host::Name(_) => Err(EgressRuleError::Host),
            };
        }
        Ok(match host(text)? {
            Host::Name(name) => Self::Name(name),
            Host::Address(address) => Self::Network(address, 32),
        })
    }
}

fn v6_network(text: &str) -> Result<Pattern, EgressRuleError> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, parse_bits(bits, 128)?),
        None => (text, 128),
    };
    let address: Ipv6Addr = address.parse().map_err(|_| EgressRuleError::Host)?;
    Ok(Pattern::Network(address.into(), bits))
}

fn parse_bits(text: &str, most: u8) -> Result<u8, EgressRuleError> {
    let bits = decimal(text).ok_or(EgressRuleError::Host)?;
    if bits > most {
        return Err(EgressRuleError::Host);
    }
    Ok(bits)
}

/// `:22,443`.
fn parse_ports(text: &str) -> Result<Vec<u16>, EgressRuleError> {
    let list = text.strip_prefix(':').ok_or(EgressRuleError::Ports)?;
    let mut ports = Vec::new();
    for text in list.split(',') {
        match decimal(text) {
            Some(0) | None => return Err(EgressRuleError::Ports),
            Some(port) if !ports.contains(&port) => ports.push(port),
            Some(_) => {}
        }
        if ports.len() > PORTS {
            return Err(EgressRuleError::Ports);
        }
    }
    Ok(ports)
}

/// Numbers themselves would take a plus sign.
fn decimal<T: FromStr>(text: &str) -> Option<T> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())?
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

impl fmt::Display for EgressRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Pattern::Name(name) => f.write_str(name)?,
            Pattern::Below(suffix) => write!(f, "*{suffix}")?,
            Pattern::Network(IpAddr::V4(address), 32) => address.fmt(f)?,
            Pattern::Network(IpAddr::V4(address), bits) => write!(f, "{address}/{bits}")?,
            Pattern::Network(IpAddr::V6(address), 128) => write!(f, "[{address}]")?,
            Pattern::Network(IpAddr::V6(address), bits) => write!(f, "[{address}/{bits}]")?,
        }
        for (before, port) in std::iter::once(':')
            .chain(std::iter::repeat(','))
            .zip(&self.ports)
        {
            write!(f, "{before}{port}")?;
        }
        Ok(())
    }
}

impl TryFrom<String> for EgressRule {
    type Error = EgressRuleError;

    fn try_from(text: String) -> Result<Self, EgressRuleError> {
        text.parse()
    }
}

impl From<EgressRule> for String {
    fn from(rule: EgressRule) -> Self {
        rule.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permits(rule: &str, host: &str, port: u16) -> bool {
        let host = match host.parse::<IpAddr>() {
            Ok(address) => Host::Address(address),
            Err(_) => host.parse().unwrap(),
        };
        rule.parse::<EgressRule>().unwrap().permits(&host, port)
    }

    #[test]
    fn names_are_compared_whole_and_without_case() {
        assert!(permits("GitHub.com", "github.com.", 443));
        assert!(permits("github.com", "github.com", 80));
        assert!(!permits("github.com", "github.com", 22));
        assert!(!permits("github.com", "api.github.com", 443));
        assert!(!permits("github.com", "evilgithub.com", 443));
        assert!(!permits("github.com", "github.com.evil.example", 443));
        assert!(permits("*.github.com:22,443", "a.b.github.com", 22));
        assert!(!permits("*.github.com", "github.com", 443));
        assert!(!permits("*.github.com", "evilgithub.com", 443));
    }

    #[test]
    fn addresses_are_permitted_only_by_rules_of_addresses() {
        assert!(permits("93.184.216.34:5432", "93.184.216.34", 5432));
        assert!(permits("93.184.216.34:5432", "::ffff:93.184.216.34", 5432));
        assert!(permits("93.184.0.0/16", "93.184.216.34", 443));
        assert!(!permits("93.184.0.0/16", "93.185.0.1", 443));
        assert!(permits("[2606:2800::/32]:1", "2606:2800::7", 1));
        assert!(!permits("[2606:2800::1]", "2606:2800::2", 443));
        assert!(!permits("example.com", "93.184.216.34", 443));
        assert!(!permits("0.0.0.0/0", "example.com", 443));
        assert!(!permits("0.0.0.0/0", "2606:2800::2", 443));
    }

    #[test]
    fn a_rule_is_written_as_it_was_read() {
        for text in [
            "github.com",
            "*.github.com:22,443",
            "93.184.216.34:5432",
            "93.184.0.0/16",
            "[2606:2800::1]",
            "[2606:2800::/32]:1",
        ] {
            assert_eq!(text.parse::<EgressRule>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        for text in [
            "",
            "*",
            "*.",
            "*.10.0.0.1",
            "*.*.a",
            "a.*.b",
            "10.0.0.0/33",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "a/8",
            "[fd00::/129]",
            "[10.0.0.1]",
            "[fd00::1",
            "fd00::1",
            "http://a",
            "a b",
            "0x7f.1",
            "b\u{fc}cher.example",
            "a@b",
        ] {
            assert!(text.parse::<EgressRule>().is_err(), "{text}");
        }
        for text in [
            "a:", "a:0", "a:65536", "a:+1", "a:1,", "a:1,,2", "[::1]x", "[::1]:",
        ] {
            assert_eq!(
                text.parse::<EgressRule>(),
                Err(EgressRuleError::Ports),
                "{text}"
            );
        }
        let many: Vec<String> = (1..=33).map(|port| port.to_string()).collect();
        let text = format!("a:{}", many.join(","));
        assert_eq!(text.parse::<EgressRule>(), Err(EgressRuleError::Ports));
    }
}
