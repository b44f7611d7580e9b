//! Whether a target may be reached at the addresses that it has. Pure: nothing is looked up here.

use std::net::IpAddr;

use super::HostPattern;
use super::address::{self, Kind};
use super::target::Target;

/// The address that is refused, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Denied {
    pub(crate) address: IpAddr,
    pub(crate) kind: Kind,
}

/// Every address must be public and not of this host, or an exception.
pub(crate) fn judge(
    target: &Target,
    addresses: &[IpAddr],
    allow: &[HostPattern],
    own: &[IpAddr],
) -> Result<(), Denied> {
    all(addresses, own, |address| {
        allow.iter().any(|pattern| pattern.permits(target, address))
    })
}

/// The same while the port is not known: an exception for some port is enough.
pub(crate) fn judge_any_port(
    target: &Target,
    addresses: &[IpAddr],
    allow: &[HostPattern],
    own: &[IpAddr],
) -> Result<(), Denied> {
    all(addresses, own, |address| {
        allow
            .iter()
            .any(|pattern| pattern.is_about(target, address))
    })
}

fn all(
    addresses: &[IpAddr],
    own: &[IpAddr],
    is_exception: impl Fn(IpAddr) -> bool,
) -> Result<(), Denied> {
    for &address in addresses {
        if is_exception(address) {
            continue;
        }
        let denied = |kind| Err(Denied { address, kind });
        if let Some(kind) = address::kind(address) {
            return denied(kind);
        }
        // After the ranges, whose names say more about an address that is both.
        let meant = address::meant(address);
        if own.iter().any(|&own| address::meant(own) == meant) {
            return denied(Kind::OwnHost);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
