//! One end of a copy.

use std::path::PathBuf;

use crate::reference::is_reference;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// On this machine.
    Here(PathBuf),
    /// In a sandbox.
    There { sandbox: String, path: String },
}

impl Place {
    /// `<sandbox>:<path>` is in a sandbox, anything else is here. A file here whose name looks like the former is
    /// written with a slash before it: `./a:b`.
    pub(super) fn parse(text: &str) -> Self {
        match text.split_once(':') {
            Some((sandbox, path)) if is_reference(sandbox) => Self::There {
                sandbox: sandbox.to_owned(),
                path: if path.is_empty() { "." } else { path }.to_owned(),
            },
            _ => Self::Here(PathBuf::from(text)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there(sandbox: &str, path: &str) -> Place {
        Place::There {
            sandbox: sandbox.to_owned(),
            path: path.to_owned(),
        }
    }

    #[test]
    fn a_sandbox_stands_before_the_colon() {
        assert_eq!(Place::parse("abc:x/y"), there("abc", "x/y"));
        assert_eq!(Place::parse("@last:"), there("@last", "."));
        assert_eq!(Place::parse("abc:/etc/a:b"), there("abc", "/etc/a:b"));
    }

    #[test]
    fn everything_else_is_here() {
        for text in ["x", "./abc:d", "/a:b", "ABC:d", "..", "C:\\x", ""] {
            assert_eq!(Place::parse(text), Place::Here(PathBuf::from(text)));
        }
    }
}
