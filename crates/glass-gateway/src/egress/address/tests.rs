use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::{Kind, kind};

#[test]
fn the_registries_of_iana() {
    for (text, expected) in [
        ("0.0.0.0", Some(Kind::Unspecified)),
        ("0.1.2.3", Some(Kind::Reserved)),
        ("1.1.1.1", None),
        ("9.255.255.255", None),
        ("10.0.0.0", Some(Kind::Private)),
        ("10.255.255.255", Some(Kind::Private)),
        ("11.0.0.0", None),
        ("100.63.255.255", None),
        ("100.64.0.0", Some(Kind::SharedSpace)),
        ("100.127.255.255", Some(Kind::SharedSpace)),
        ("100.128.0.0", None),
        ("127.0.0.1", Some(Kind::Loopback)),
        ("127.255.255.255", Some(Kind::Loopback)),
        ("169.253.255.255", None),
        ("169.254.169.254", Some(Kind::LinkLocal)),
        ("169.255.0.0", None),
        ("172.15.255.255", None),
        ("172.16.0.0", Some(Kind::Private)),
        ("172.31.255.255", Some(Kind::Private)),
        ("172.32.0.0", None),
        ("192.0.0.170", Some(Kind::Reserved)),
        ("192.0.2.2", Some(Kind::Documentation)),
        ("192.88.99.1", Some(Kind::Reserved)),
        ("192.167.255.255", None),
        ("192.168.1.1", Some(Kind::Private)),
        ("192.169.0.0", None),
        ("198.17.255.255", None),
        ("198.18.0.1", Some(Kind::Benchmarking)),
        ("198.19.255.255", Some(Kind::Benchmarking)),
        ("198.20.0.0", None),
        ("198.51.100.7", Some(Kind::Documentation)),
        ("203.0.113.80", Some(Kind::Documentation)),
        ("223.255.255.255", None),
        ("224.0.0.1", Some(Kind::Multicast)),
        ("239.255.255.255", Some(Kind::Multicast)),
        ("240.0.0.1", Some(Kind::Reserved)),
        ("255.255.255.255", Some(Kind::Broadcast)),
        ("::", Some(Kind::Unspecified)),
        ("::1", Some(Kind::Loopback)),
        ("::7f00:1", Some(Kind::Reserved)),
        ("::ffff:127.0.0.1", Some(Kind::Loopback)),
        ("::ffff:8.8.8.8", None),
        ("::ffff:0:8.8.8.8", Some(Kind::Reserved)),
        ("64:ff9b::10.0.0.1", Some(Kind::Private)),
        ("64:ff9b::8.8.8.8", None),
        ("64:ff9b:1::8.8.8.8", Some(Kind::Reserved)),
        ("100::1", Some(Kind::Reserved)),
        ("2001::1", Some(Kind::Reserved)),
        ("2001:2::1", Some(Kind::Benchmarking)),
        ("2001:20::1", Some(Kind::Reserved)),
        ("2001:200::1", None),
        ("2001:db8::1", Some(Kind::Documentation)),
        ("2001:4860:4860::8888", None),
        ("2002:7f00:1::", Some(Kind::Loopback)),
        ("2002:a9fe:a9fe::1", Some(Kind::LinkLocal)),
        ("2002:808:808::1", None),
        ("2606:4700::1111", None),
        ("3fff:fff:ffff::1", Some(Kind::Documentation)),
        ("3fff:1000::1", None),
        ("4000::1", Some(Kind::Reserved)),
        ("5f00::1", Some(Kind::Reserved)),
        ("fc00::1", Some(Kind::UniqueLocal)),
        ("fdff::1", Some(Kind::UniqueLocal)),
        ("fe80::1", Some(Kind::LinkLocal)),
        ("febf::1", Some(Kind::LinkLocal)),
        ("fec0::1", Some(Kind::Private)),
        ("ff02::1", Some(Kind::Multicast)),
    ] {
        assert_eq!(kind(text.parse().unwrap()), expected, "{text}");
    }
}

/// All IPv6 forms of an IPv4 address by which packets may reach it.
fn forms(v4: Ipv4Addr) -> [IpAddr; 4] {
    let [a, b, c, d] = v4.octets();
    let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    [
        v4.into(),
        v4.to_ipv6_mapped().into(),
        Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low).into(),
        Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1).into(),
    ]
}

proptest! {
    #[test]
    fn nothing_private_passes_in_any_form(
        (network, bits) in prop::sample::select(vec![
            ("0.0.0.0", 8), ("10.0.0.0", 8), ("100.64.0.0", 10), ("127.0.0.0", 8), ("169.254.0.0", 16),
            ("172.16.0.0", 12), ("192.0.0.0", 24), ("192.0.2.0", 24), ("192.168.0.0", 16), ("198.18.0.0", 15),
            ("198.51.100.0", 24), ("203.0.113.0", 24), ("224.0.0.0", 4), ("240.0.0.0", 4),
        ]),
        host: u32,
    ) {
        let network: Ipv4Addr = network.parse().unwrap();
        let address = Ipv4Addr::from_bits(network.to_bits() | (host >> bits));
        for form in forms(address) {
            prop_assert!(kind(form).is_some(), "{form}");
        }
    }

    #[test]
    fn an_address_is_judged_alike_in_all_its_forms(bits: u32) {
        let address = Ipv4Addr::from_bits(bits);
        for form in forms(address) {
            prop_assert_eq!(kind(form), kind(address.into()), "{}", form);
        }
    }

    #[test]
    fn only_global_unicast_of_ipv6_passes(bits: u128) {
        let address = Ipv6Addr::from_bits(bits);
        let nat64 = address.segments()[..6] == [0x64, 0xff9b, 0, 0, 0, 0];
        let mapped = address.to_ipv4_mapped().is_some();
        if kind(address.into()).is_none() && !nat64 && !mapped {
            prop_assert_eq!(bits >> 125, 1);
        }
    }
}
