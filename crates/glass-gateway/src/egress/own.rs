//! The addresses of this host.

use std::net::IpAddr;

use nix::ifaddrs::getifaddrs;

use super::refusal::Refusal;

/// Those of all interfaces, whether they are up or not.
pub(crate) fn addresses() -> Result<Vec<IpAddr>, Refusal> {
    let interfaces = getifaddrs().map_err(|error| Refusal::OwnAddresses(error.into()))?;
    Ok(interfaces
        .filter_map(|interface| {
            let address = interface.address?;
            let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
        })
        .collect())
}

#[cfg(test)]
mod tests {
    #[test]
    fn loopback_is_one_of_them() {
        let own = super::addresses().unwrap();
        assert!(own.contains(&"127.0.0.1".parse().unwrap()), "{own:?}");
    }
}
