use std::net::IpAddr;

use super::{Denied, judge};
use crate::egress::address::Kind;
use crate::egress::target::Target;

fn judged(target: &str, addresses: &[&str], allow: &[&str]) -> Result<(), Kind> {
    let target = Target::parse(target, None).unwrap();
    let addresses: Vec<IpAddr> = addresses.iter().map(|text| text.parse().unwrap()).collect();
    let allow: Vec<_> = allow.iter().map(|text| text.parse().unwrap()).collect();
    let own = ["5.6.7.8".parse().unwrap(), "2a00::5".parse().unwrap()];
    judge(&target, &addresses, &allow, &own).map_err(|Denied { kind, .. }| kind)
}

#[test]
fn public_addresses_pass() {
    assert_eq!(
        judged("example.com:443", &["1.1.1.1", "2606:4700::1"], &[]),
        Ok(())
    );
}

#[test]
fn one_private_address_refuses_the_name() {
    let addresses = ["1.1.1.1", "192.168.0.1"];
    assert_eq!(
        judged("example.com:443", &addresses, &[]),
        Err(Kind::Private)
    );
}

#[test]
fn the_hosts_own_addresses_are_refused_in_every_form() {
    for address in [
        "5.6.7.8",
        "::ffff:5.6.7.8",
        "64:ff9b::5.6.7.8",
        "2002:506:708::1",
        "2a00::5",
    ] {
        assert_eq!(
            judged("example.com:443", &[address], &[]),
            Err(Kind::OwnHost),
            "{address}"
        );
    }
}

#[test]
fn exceptions_hold_for_their_port_only() {
    let allow = ["db.corp.example:5432", "10.0.0.5:80", "5.6.7.8:1"];
    assert_eq!(
        judged("db.corp.example:5432", &["10.1.1.1"], &allow),
        Ok(())
    );
    assert_eq!(
        judged("db.corp.example:22", &["10.1.1.1"], &allow),
        Err(Kind::Private)
    );
    assert_eq!(
        judged("other.example:5432", &["10.1.1.1"], &allow),
        Err(Kind::Private)
    );
    assert_eq!(judged("other.example:80", &["10.0.0.5"], &allow), Ok(()));
    assert_eq!(
        judged("other.example:80", &["10.0.0.5", "10.0.0.6"], &allow),
        Err(Kind::Private)
    );
    assert_eq!(judged("5.6.7.8:1", &["5.6.7.8"], &allow), Ok(()));
}

#[test]
fn an_exception_is_not_reached_by_way_of_a_translator() {
    let allow = ["10.0.0.5:80"];
    assert_eq!(
        judged("[64:ff9b::a00:5]:80", &["64:ff9b::a00:5"], &allow),
        Err(Kind::Private)
    );
}
