//! What makes programs use the gateway as their way out.

use std::collections::BTreeMap;

/// Where programs read it. Some know only the one case, some only the other.
const PROXIES: [&str; 4] = ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"];
const EXCEPTIONS: [&str; 2] = ["NO_PROXY", "no_proxy"];
/// What is in the sandbox itself, as programs call it.
const LOCAL: &str = "localhost,127.0.0.1,::1,0.0.0.0";

/// The variables for a sandbox that sees the gateway at this port. Those that its owner sets, in whatever case, are the
/// owner's alone: a program that prefers the other case must not find ours there.
pub(super) fn variables(
    gateway_port: u16,
    owner: &BTreeMap<String, String>,
) -> impl Iterator<Item = (String, String)> {
    let proxy = format!("http://127.0.0.1:{gateway_port}");
    let proxies = PROXIES.map(|name| (name, proxy.clone()));
    let exceptions = EXCEPTIONS.map(|name| (name, LOCAL.to_owned()));
    proxies
        .into_iter()
        .chain(exceptions)
        // Node's own fetch looks at them only when this is set.
        .chain([("NODE_USE_ENV_PROXY", "1".to_owned())])
        .filter(|(name, _)| !owner.keys().any(|set| set.eq_ignore_ascii_case(name)))
        .map(|(name, value)| (name.to_owned(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_of_either_case_find_the_gateway() {
        let found: BTreeMap<_, _> = variables(7, &BTreeMap::new()).collect();
        for name in PROXIES {
            assert_eq!(found[name], "http://127.0.0.1:7", "{name}");
        }
        for name in EXCEPTIONS {
            assert!(found[name].contains("127.0.0.1"), "{name}");
        }
    }

    #[test]
    fn what_the_owner_sets_is_the_owners_in_both_cases() {
        let owner = BTreeMap::from([("Https_Proxy".to_owned(), "http://mine".to_owned())]);
        let names: Vec<_> = variables(7, &owner).map(|(name, _)| name).collect();
        assert!(
            !names
                .iter()
                .any(|name| name == "HTTPS_PROXY" || name == "https_proxy")
        );
        assert!(names.iter().any(|name| name == "http_proxy"), "{names:?}");
    }
}
