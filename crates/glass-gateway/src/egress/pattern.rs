//! The operator's exceptions: a host and a port.

use std::net::IpAddr;
use std::str::FromStr;

use glass_types::EgressRule;

use super::target::Target;

/// What may be reached although it is not public: `registry.corp.example:443`, `*.corp.example:443`, `10.0.0.5:5432`,
/// `10.0.0.0/8:5432`, `[fd00::/8]:443`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPattern(EgressRule);

/// Not a host pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a host with a port; write registry.corp.example:443, *.corp.example:443, 10.0.0.5:5432, 10.0.0.0/8:5432 or \
     [fd00::/8]:443"
)]
pub struct HostPatternError;

impl HostPattern {
    /// Whether the target may be reached at this address of it. An exception for an address is one for whatever name
    /// leads there.
    pub(crate) fn permits(&self, target: &Target, address: IpAddr) -> bool {
        self.0.ports().contains(&target.port()) && self.is_about(target, address)
    }

    /// Whether it may at some port.
    pub(crate) fn is_about(&self, target: &Target, address: IpAddr) -> bool {
        self.0.names(target.host()) || self.0.contains(address)
    }
}

impl FromStr for HostPattern {
    type Err = HostPatternError;

    /// An exception that says no port would open more than its author thought of.
    fn from_str(text: &str) -> Result<Self, HostPatternError> {
        let rule: EgressRule = text.parse().map_err(|_| HostPatternError)?;
        if rule.written_ports().is_empty() {
            return Err(HostPatternError);
        }
        Ok(Self(rule))
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
