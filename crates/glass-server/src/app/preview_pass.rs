//! Passes to private previews: made for whoever the owner trusts, checked without asking anybody.
//!
//! `1.<key>.<sandbox>.<port or any>.<expiry>.<signature>`, signed with HMAC-SHA256 by a key of the data directory. The
//! file `preview-keys` there has one `<name> <key>` a line: the first signs, all of them are believed. To change the key,
//! add a line at the top and start the server again; to end every pass that was given, remove the file.

use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use glass_edge::{Admission, Denied};
use glass_types::SandboxId;
use hmac::{Hmac, KeyInit, Mac};
use rand::RngCore;
use sha2::Sha256;

use crate::secret_file;

const VERSION: &str = "1";
/// What stands in the place of a port that may be any.
const ANY: &str = "any";

/// The keys that passes are signed with.
pub(crate) struct PreviewKeys(Vec<Key>);

struct Key {
    name: String,
    mac: Hmac<Sha256>,
}

impl std::fmt::Debug for PreviewKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PreviewKeys(..)")
    }
}

impl PreviewKeys {
    /// Reads the keys of the data directory, or makes one there.
    pub(crate) fn load_or_make(data: &Path) -> std::io::Result<Self> {
        let path = data.join("preview-keys");
        let text = secret_file::load_or_make(&path, make)?;
        let keys: Option<Vec<Key>> = text
            .lines()
            .filter(|line| !line.trim().is_empty())
            .map(key)
            .collect();
        keys.filter(|keys| !keys.is_empty())
            .map(Self)
            .ok_or_else(|| {
                let message = format!(
                    "{} does not hold keys; remove it and a new one is made, which ends the links that were given",
                    path.display()
                );
                std::io::Error::new(std::io::ErrorKind::InvalidData, message)
            })
    }

    /// A pass to a port of a sandbox, or to all, until a time.
    pub(crate) fn sign(&self, sandbox: &SandboxId, port: Option<u16>, expires_at: i64) -> String {
        let key = self.0.first().expect("loaded with at least one");
        let port = port.map_or_else(|| ANY.to_owned(), |port| port.to_string());
        let claims = format!("{VERSION}.{}.{sandbox}.{port}.{expires_at}", key.name);
        let signature = key.mac.clone().chain_update(&claims).finalize();
        let signature = URL_SAFE_NO_PAD.encode(signature.into_bytes());
        format!("{claims}.{signature}")
    }

    /// Whether one of these passes is good for a port of a sandbox. The reason is that of the first.
    pub(crate) fn check(
        &self,
        passes: &[&str],
        sandbox: &SandboxId,
        port: u16,
        now: i64,
    ) -> Result<Admission, Denied> {
        let mut reason = None;
        for (index, pass) in passes.iter().enumerate() {
            match self.expires_in(pass, sandbox, port, now) {
                Ok(expires_in) => return Ok(Admission::Pass { index, expires_in }),
                Err(denied) => reason = reason.or(Some(denied)),
            }
        }
        Err(reason.unwrap_or(Denied::NoPass))
    }

    /// The signature first: what is not signed says nothing.
    fn expires_in(
        &self,
        pass: &str,
        sandbox: &SandboxId,
        port: u16,
        now: i64,
    ) -> Result<Duration, Denied> {
        let (claims, signature) = pass.rsplit_once('.').ok_or(Denied::BadSignature)?;
        let parts: Vec<&str> = claims.split('.').collect();
        let [VERSION, name, for_sandbox, for_port, expires_at] = parts[..] else {
            return Err(Denied::BadSignature);
        };
        let signature = URL_SAFE_NO_PAD
            .decode(signature)
            .map_err(|_| Denied::BadSignature)?;
        let key = self.0.iter().find(|key| key.name == name);
        let mac = key.ok_or(Denied::BadSignature)?.mac.clone();
        mac.chain_update(claims)
            .verify_slice(&signature)
            .map_err(|_| Denied::BadSignature)?;
        if for_sandbox != sandbox.as_str() {
            return Err(Denied::OtherSandbox);
        }
        if for_port != ANY && for_port.parse() != Ok(port) {
            return Err(Denied::OtherPort);
        }
        let expires_at: i64 = expires_at.parse().map_err(|_| Denied::BadSignature)?;
        match u64::try_from(expires_at.saturating_sub(now)) {
            Ok(left) if left > 0 => Ok(Duration::from_millis(left)),
            _ => Err(Denied::Expired),
        }
    }
}

fn key(line: &str) -> Option<Key> {
    let (name, key) = line.trim().split_once(' ')?;
    let is_name = !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let key = URL_SAFE_NO_PAD.decode(key.trim()).ok()?;
    (is_name && key.len() >= 32).then(|| Key {
        name: name.to_owned(),
        mac: Hmac::new_from_slice(&key).expect("HMAC takes keys of any length"),
    })
}

fn make() -> String {
    let (mut key, mut name) = ([0; 32], [0; 4]);
    rand::rng().fill_bytes(&mut key);
    rand::rng().fill_bytes(&mut name);
    let name = u32::from_be_bytes(name);
    format!("{name:08x} {}\n", URL_SAFE_NO_PAD.encode(key))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const MINE: &str = "abcdefghijklmno1";
    const OTHER: &str = "abcdefghijklmno2";

    fn keys() -> (tempfile::TempDir, PreviewKeys) {
        let data = tempfile::tempdir().unwrap();
        let keys = PreviewKeys::load_or_make(data.path()).unwrap();
        (data, keys)
    }

    #[test]
    fn a_pass_is_good_for_its_sandbox_and_port_until_it_expires() {
        let (_data, keys) = keys();
        let (mine, other) = (MINE.parse().unwrap(), OTHER.parse().unwrap());
        let any = keys.sign(&mine, None, 5_000);
        let one = keys.sign(&mine, Some(3000), 5_000);
        let good = |index, millis| {
            Ok(Admission::Pass {
                index,
                expires_in: Duration::from_millis(millis),
            })
        };
        assert_eq!(keys.check(&[&any], &mine, 80, 1_000), good(0, 4_000));
        assert_eq!(keys.check(&[&one], &mine, 3000, 4_999), good(0, 1));
        assert_eq!(keys.check(&["x", &one], &mine, 3000, 0), good(1, 5_000));
        for (passes, sandbox, port, now, reason) in [
            (vec![], &mine, 80, 0, Denied::NoPass),
            (vec![any.as_str()], &mine, 80, 5_000, Denied::Expired),
            (vec![any.as_str()], &other, 80, 0, Denied::OtherSandbox),
            (vec![one.as_str()], &mine, 80, 0, Denied::OtherPort),
        ] {
            assert_eq!(keys.check(&passes, sandbox, port, now), Err(reason));
        }
    }

    #[test]
    fn no_changed_pass_is_good() {
        let (_data, keys) = keys();
        let mine: SandboxId = MINE.parse().unwrap();
        let pass = keys.sign(&mine, Some(3000), 5_000);
        let check = |pass: &str| keys.check(&[pass], &mine, 3000, 0);
        assert!(check(&pass).is_ok());
        for place in 0..pass.len() {
            let mut changed = pass.clone().into_bytes();
            changed[place] = if changed[place] == b'1' { b'2' } else { b'1' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(check(&changed), Err(Denied::BadSignature), "{changed}");
            assert!(check(&pass[..place]).is_err());
        }
        let longer = pass.replace(".5000.", ".9000.");
        for bad in ["", ".", "......", "1.a.b.c.d.e", "1.a.b.c.d.e.f", &longer] {
            assert_eq!(check(bad), Err(Denied::BadSignature), "{bad}");
        }
        let (_others, others) = self::keys();
        let foreign = others.sign(&mine, Some(3000), 5_000);
        assert_eq!(check(&foreign), Err(Denied::BadSignature));
    }

    #[test]
    fn keys_are_made_once_are_private_and_can_be_changed() {
        let (data, keys) = keys();
        let path = data.path().join("preview-keys");
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let mine: SandboxId = MINE.parse().unwrap();
        let old = keys.sign(&mine, None, 5_000);
        let text = std::fs::read_to_string(&path).unwrap();
        let fresh = format!("new {}\n{text}", URL_SAFE_NO_PAD.encode([7; 32]));
        std::fs::write(&path, fresh).unwrap();
        let keys = PreviewKeys::load_or_make(data.path()).unwrap();
        assert!(keys.check(&[&old], &mine, 80, 0).is_ok());
        assert!(keys.sign(&mine, None, 5_000).starts_with("1.new."));
        for bad in ["", "short c2hvcnQ", "nonsense"] {
            std::fs::write(&path, bad).unwrap();
            let error = PreviewKeys::load_or_make(data.path()).unwrap_err();
            assert!(error.to_string().contains("does not hold keys"), "{error}");
        }
    }
}
