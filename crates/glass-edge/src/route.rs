//! Which host goes where. Pure: the text of a host in, a decision out.

use glass_types::SandboxId;

use crate::EdgeConfig;

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// To an app in a sandbox.
    Preview {
        /// The port in the sandbox.
        port: u16,
        /// Which sandbox.
        sandbox: SandboxId,
    },
    /// To Glasshouse itself.
    App,
    /// Nowhere.
    BadHost {
        /// What is wrong with it.
        reason: BadHost,
    },
}

/// What is wrong with a host name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadHost {
    /// Not a host name at all.
    #[error("{0:?} is not a host name")]
    Malformed(String),
    /// Under the preview domain, but not of the form `<port>-<sandbox>`.
    #[error("{0:?} does not name a preview")]
    NotAPreview(String),
    /// The port is no number from 1 to 65535.
    #[error("{0:?} is not a port: a port is a number from 1 to 65535 without leading zeros")]
    Port(String),
    /// The sandbox is not an id.
    #[error("sandbox {0:?} was not found: it is not an id")]
    Sandbox(String),
}

/// The longest host name that DNS allows, with its final dot, and a port.
const LONGEST: usize = 254 + ":65535".len();

/// Decides where a request for `host` goes. `host` is what `Host` or `:authority` says, port included.
#[must_use]
pub fn route(host: &str, config: &EdgeConfig) -> Route {
    let Some(name) = host_name(host) else {
        return bad(BadHost::Malformed(shorten(host)));
    };
    let name = name.to_ascii_lowercase();
    if name == config.preview_domain {
        return bad(BadHost::NotAPreview(name));
    }
    let Some(label) = name
        .strip_suffix(config.preview_domain.as_str())
        .and_then(|rest| rest.strip_suffix('.'))
    else {
        return Route::App;
    };
    let Some((port, sandbox)) = label.split_once('-') else {
        return bad(BadHost::NotAPreview(shorten(label)));
    };
    let Some(port) = port_number(port) else {
        return bad(BadHost::Port(shorten(port)));
    };
    match sandbox.parse() {
        Ok(sandbox) => Route::Preview { port, sandbox },
        Err(_) => bad(BadHost::Sandbox(shorten(sandbox))),
    }
}

fn bad(reason: BadHost) -> Route {
    Route::BadHost { reason }
}

fn shorten(text: &str) -> String {
    text.chars().take(80).collect()
}

/// The name or address in `host` without port and final dot; `None` when it is neither.
fn host_name(host: &str) -> Option<&str> {
    if host.len() > LONGEST {
        return None;
    }
    let (name, port) = if let Some(rest) = host.strip_prefix('[') {
        let (address, rest) = rest.split_once(']')?;
        address.parse::<std::net::Ipv6Addr>().ok()?;
        match rest {
            "" => (address, None),
            _ => (address, Some(rest.strip_prefix(':')?)),
        }
    } else {
        let (name, port) = match host.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (host, None),
        };
        let name = name.strip_suffix('.').unwrap_or(name);
        let label = |label: &str| {
            !label.is_empty()
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        if !name.split('.').all(label) {
            return None;
        }
        (name, port)
    };
    // `Host: name:` with an empty port is allowed by RFC 3986.
    match port {
        None | Some("") => Some(name),
        Some(port) => port_number(port).map(|_| name),
    }
}

/// Stricter than `u16::from_str`: one spelling per port, or one app would have several origins.
fn port_number(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    plain.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use rand::Rng;
    use rand::seq::IndexedRandom;

    use super::*;

    const ID: &str = "abcdefghijklmno1";

    fn config() -> EdgeConfig {
        EdgeConfig::new("preview.localhost", 8080)
    }

    fn check(host: &str) -> Route {
        route(host, &config())
    }

    #[test]
    fn a_preview_host_names_port_and_sandbox() {
        for host in [
            "3000-abcdefghijklmno1.preview.localhost",
            "3000-abcdefghijklmno1.preview.localhost:8080",
            "3000-abcdefghijklmno1.preview.localhost.",
            "3000-abcdefghijklmno1.preview.localhost.:8080",
            "3000-ABCDEFGHIJKLMNO1.Preview.LocalHost",
            "3000-abcdefghijklmno1.preview.localhost:",
        ] {
            let sandbox = ID.parse().unwrap();
            let port = 3000;
            assert_eq!(check(host), Route::Preview { port, sandbox }, "{host}");
        }
    }

    #[test]
    fn other_hosts_are_the_app() {
        for host in [
            "localhost",
            "LOCALHOST:8080",
            "127.0.0.1:8080",
            "[::1]:8080",
            "[::1]",
            "example.com.",
            "notpreview.localhost",
            "3000-abcdefghijklmno1.preview.localhost.evil.test",
            "3000-abcdefghijklmno1.xpreview.localhost",
        ] {
            assert_eq!(check(host), Route::App, "{host}");
        }
    }

    #[test]
    fn a_bad_port_under_the_preview_domain_is_never_the_app() {
        for port in [
            "0",
            "70000",
            "abc",
            "",
            "03000",
            "65536",
            "99999999999999999999",
        ] {
            let host = format!("{port}-{ID}.preview.localhost");
            let reason = BadHost::Port(port.to_owned());
            assert_eq!(check(&host), Route::BadHost { reason }, "{host}");
        }
    }

    #[test]
    fn a_bad_sandbox_under_the_preview_domain_is_never_the_app() {
        for sandbox in ["short", "", "1bcdefghijklmnop", "abcdefghijklmno1.x", "a-b"] {
            let host = format!("3000-{sandbox}.preview.localhost");
            let reason = BadHost::Sandbox(sandbox.to_owned());
            assert_eq!(check(&host), Route::BadHost { reason }, "{host}");
        }
        for host in [
            "preview.localhost",
            "www.preview.localhost",
            "preview.localhost:1",
        ] {
            assert!(
                matches!(
                    check(host),
                    Route::BadHost {
                        reason: BadHost::NotAPreview(_)
                    }
                ),
                "{host}"
            );
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        let long = "a".repeat(300);
        for host in [
            "",
            ".",
            "..",
            "a..b",
            "a b",
            "user@localhost",
            "localhost:0",
            "localhost:99999",
            "localhost:80:80",
            "[::1",
            "[nonsense]",
            "[::1]x",
            "ä.localhost",
            "a/b",
            "%61",
            "preview.localhost..",
            "a,b",
            "::1",
            long.as_str(),
        ] {
            assert!(
                matches!(
                    check(host),
                    Route::BadHost {
                        reason: BadHost::Malformed(_)
                    }
                ),
                "{host}"
            );
        }
    }

    /// Random edits of a preview host. Checked against what must hold, not against a second parser.
    #[test]
    fn no_host_crashes_the_router_or_slips_past_the_preview_domain() {
        let pieces = [
            "",
            "3000",
            "-",
            ID,
            ".",
            "preview",
            "localhost",
            ":",
            "8080",
            "[",
            "]",
            "::1",
            "%",
            "@",
            "ä",
            "\u{0}",
            " ",
            "0",
            "PREVIEW",
            "x",
        ];
        let mut rng = rand::rng();
        let (mut previews, mut apps, mut bad) = (0, 0, 0);
        for _ in 0..100_000 {
            let mut host = vec![
                "3000",
                "-",
                ID,
                ".",
                "preview",
                ".",
                "localhost",
                ":",
                "8080",
            ];
            for _ in 0..rng.random_range(0..4) {
                let place = rng.random_range(0..host.len());
                let piece = *pieces.choose(&mut rng).unwrap();
                if rng.random() {
                    host[place] = piece;
                } else {
                    host.insert(place, piece);
                }
            }
            let host = host.concat();
            match check(&host) {
                Route::Preview { port, sandbox } => {
                    previews += 1;
                    let start = format!("{port}-{sandbox}.preview.localhost");
                    assert!(host.to_lowercase().starts_with(&start), "{host}");
                }
                Route::App => {
                    apps += 1;
                    let name = host.split(':').next().unwrap().trim_end_matches('.');
                    let name = name.to_lowercase();
                    assert!(
                        name != "preview.localhost" && !name.ends_with(".preview.localhost"),
                        "{host}"
                    );
                }
                Route::BadHost { reason } => {
                    bad += 1;
                    assert!(!reason.to_string().is_empty());
                }
            }
        }
        assert!(
            previews > 1000 && apps > 1000 && bad > 1000,
            "{previews} {apps} {bad}"
        );
    }
}
