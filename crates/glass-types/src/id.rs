//! Ids: lower-case, DNS-safe, made of `a-z0-9`, first a letter.

use std::fmt;
use std::str::FromStr;

use rand::Rng;

const ALPHABET: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";
/// 36^15 × 26: nobody guesses one, and `65535-<id>` stays far below the 63 octets of a DNS label.
const LENGTH: usize = 16;

/// A text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an id: an id is 16 characters of a-z and 0-9 and starts with a letter")]
pub struct IdError {
    /// What was given, shortened to 64 characters.
    pub text: String,
}

fn fresh() -> String {
    let mut rng = rand::rng();
    (0..LENGTH)
        .map(|place| {
            let letters = if place == 0 { 26 } else { ALPHABET.len() };
            char::from(ALPHABET[rng.random_range(0..letters)])
        })
        .collect()
}

fn check(text: &str) -> Result<(), IdError> {
    let ok = text.len() == LENGTH
        && text.bytes().all(|b| ALPHABET.contains(&b))
        && text.as_bytes()[0].is_ascii_lowercase();
    if ok {
        Ok(())
    } else {
        Err(IdError {
            text: text.chars().take(64).collect(),
        })
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            /// Makes a new random id.
            #[must_use]
            pub fn random() -> Self {
                Self(fresh())
            }

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                check(text)?;
                Ok(Self(text.to_owned()))
            }
        }
    };
}

id!(
    /// Names a sandbox. Part of its preview host names.
    SandboxId
);
id!(
    /// Names a task: one turn of an agent in a sandbox.
    TaskId
);

id!(
    /// Names a snapshot: the files of a sandbox as they were at one instant.
    SnapshotId
);

/// The number of an event within its task: 1, 2, 3, … without a gap.
pub type EventId = u64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fresh_ids_are_valid_and_differ() {
        let (a, b) = (SandboxId::random(), SandboxId::random());
        assert_ne!(a, b);
        assert_eq!(a.as_str().parse::<SandboxId>(), Ok(a.clone()));
    }

    /// It is a part of host names, file names, control groups and labels of containers, and never escaped there.
    #[test]
    fn a_fresh_id_is_valid_wherever_it_enters() {
        for _ in 0..10_000 {
            let id = SandboxId::random().to_string();
            assert_eq!(id.len(), 16, "a label of a host name is 63 at most");
            assert!(id.starts_with(|c: char| c.is_ascii_lowercase()), "{id}");
            assert!(
                id.chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()),
                "{id}"
            );
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "ABCDEFGHIJKLMNOP",
            "1bcdefghijklmnop",
            "abcdefghijklmno",
            "abc-efghijklmnop",
            "abcdefghijklmnopq",
            "äbcdefghijklmno",
        ] {
            assert!(text.parse::<TaskId>().is_err(), "{text}");
        }
    }
}
