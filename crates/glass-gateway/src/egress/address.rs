//! Which addresses are public, by the special-purpose address registries of IANA.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Why an address is not public.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    OwnHost,
    Loopback,
    Private,
    SharedSpace,
    LinkLocal,
    UniqueLocal,
    Multicast,
    Unspecified,
    Broadcast,
    Documentation,
    Benchmarking,
    Reserved,
}

impl Kind {
    /// The rule's name in answers and in the log.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::OwnHost => "own_host",
            Self::Loopback => "loopback",
            Self::Private => "private",
            Self::SharedSpace => "shared_space",
            Self::LinkLocal => "link_local",
            Self::UniqueLocal => "unique_local",
            Self::Multicast => "multicast",
            Self::Unspecified => "unspecified",
            Self::Broadcast => "broadcast",
            Self::Documentation => "documentation",
            Self::Benchmarking => "benchmarking",
            Self::Reserved => "reserved",
        }
    }

    /// For people: an address that is …
    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Self::OwnHost => "of the host itself",
            Self::Loopback => "a loopback address",
            Self::Private => "in a private network",
            Self::SharedSpace => "in the shared space of providers (100.64.0.0/10)",
            Self::LinkLocal => "link-local, where clouds keep their metadata",
            Self::UniqueLocal => "a unique local address",
            Self::Multicast => "a multicast address",
            Self::Unspecified => "no particular address",
            Self::Broadcast => "the broadcast address",
            Self::Documentation => "reserved for documentation",
            Self::Benchmarking => "reserved for benchmarks",
            Self::Reserved => "reserved",
        }
    }
}

/// The address that is meant: the IPv4 address in an IPv6 form of it, where packets end up at the former.
pub(crate) fn meant(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else {
        return address;
    };
    embedded(v6).map_or(address, IpAddr::V4)
}

/// `None` when the address is public.
pub(crate) fn kind(address: IpAddr) -> Option<Kind> {
    match meant(address) {
        IpAddr::V4(address) => kind_v4(address),
        IpAddr::V6(address) => kind_v6(address),
    }
}

/// The IPv4 address inside a mapped (`::ffff:0:0/96`), NAT64 (`64:ff9b::/96`) or 6to4 (`2002::/16`) address.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let of = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    match (a, b, c, d, e, f) {
        (0, 0, 0, 0, 0, 0xffff) | (0x64, 0xff9b, 0, 0, 0, 0) => Some(of(g, h)),
        (0x2002, high, low, ..) => Some(of(high, low)),
        _ => None,
    }
}

fn kind_v4(address: Ipv4Addr) -> Option<Kind> {
    let [a, b, c, d] = address.octets();
    match (a, b, c, d) {
        (0, 0, 0, 0) => Some(Kind::Unspecified),
        (0, ..) => Some(Kind::Reserved),
        (10, ..) | (172, 16..=31, ..) | (192, 168, ..) => Some(Kind::Private),
        (100, 64..=127, ..) => Some(Kind::SharedSpace),
        (127, ..) => Some(Kind::Loopback),
        (169, 254, ..) => Some(Kind::LinkLocal),
        // Protocol assignments, and the former anycast address of 6to4 relays.
        (192, 0, 0, _) | (192, 88, 99, _) => Some(Kind::Reserved),
        (192, 0, 2, _) | (198, 51, 100, _) | (203, 0, 113, _) => Some(Kind::Documentation),
        (198, 18..=19, ..) => Some(Kind::Benchmarking),
        (224..=239, ..) => Some(Kind::Multicast),
        (255, 255, 255, 255) => Some(Kind::Broadcast),
        (240..=255, ..) => Some(Kind::Reserved),
        _ => None,
    }
}

/// What is not refused by name is refused unless it is global unicast: new ranges are private until they are known.
fn kind_v6(address: Ipv6Addr) -> Option<Kind> {
    if address.is_unspecified() {
        return Some(Kind::Unspecified);
    }
    if address.is_loopback() {
        return Some(Kind::Loopback);
    }
    match address.segments() {
        [0xfc00..=0xfdff, ..] => Some(Kind::UniqueLocal),
        [0xfe80..=0xfebf, ..] => Some(Kind::LinkLocal),
        // Site-local: what unique local addresses were before.
        [0xfec0..=0xfeff, ..] => Some(Kind::Private),
        [0xff00..=0xffff, ..] => Some(Kind::Multicast),
        [0x2001, 0x0db8, ..] | [0x3fff, 0..=0x0fff, ..] => Some(Kind::Documentation),
        [0x2001, 0x0002, 0, ..] => Some(Kind::Benchmarking),
        // Protocol assignments, Teredo among them.
        [0x2001, 0..=0x01ff, ..] => Some(Kind::Reserved),
        [0x2000..=0x3fff, ..] => None,
        _ => Some(Kind::Reserved),
    }
}

#[cfg(test)]
mod tests;
