//! How strongly a sandbox is kept apart from its host, and what becomes of its root.

use std::fmt;
use std::str::FromStr;

/// What stands between a sandbox's programs and the host's kernel. A tier that the host cannot give is refused, never
/// lowered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Isolation {
    /// Namespaces, control groups and a system call filter on the host's own kernel.
    #[default]
    Container,
    /// gVisor: a kernel in user space answers the system calls.
    Gvisor,
    /// A virtual machine with a kernel of its own.
    MicroVm,
}

impl Isolation {
    /// Every tier, for tables and tests.
    pub const ALL: [Self; 3] = [Self::Container, Self::Gvisor, Self::MicroVm];

    /// The word for it, the same in API, table and log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Gvisor => "gvisor",
            Self::MicroVm => "microvm",
        }
    }
}

/// What becomes of files outside of the home when a sandbox stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum RootMode {
    /// Its user cannot write there, and what root writes is gone with the processes.
    #[default]
    ThrowAway,
    /// `sudo` works inside the sandbox, and what it installs stays in the sandbox's own layer.
    Writable,
}

impl RootMode {
    /// Every mode, for tables and tests.
    pub const ALL: [Self; 2] = [Self::ThrowAway, Self::Writable];

    /// The word for it, the same in API, table and log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ThrowAway => "throw-away",
            Self::Writable => "writable",
        }
    }
}

/// Who may see a sandbox's previews.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Visibility {
    /// Whoever knows the address.
    #[default]
    Public,
    /// Who was given a link.
    Private,
}

impl Visibility {
    /// Every one, for tables and tests.
    pub const ALL: [Self; 2] = [Self::Public, Self::Private];

    /// The word for it, the same in API, table and log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Private => "private",
        }
    }
}

macro_rules! word {
    ($name:ident, $what:literal) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                Self::ALL
                    .into_iter()
                    .find(|one| one.as_str() == text)
                    .ok_or_else(|| {
                        let all = Self::ALL.map(Self::as_str).join(", ");
                        format!(
                            concat!("{:?} is not ", $what, ": give one of {}"),
                            text, all
                        )
                    })
            }
        }
    };
}

word!(Isolation, "an isolation tier");
word!(RootMode, "a root mode");
word!(Visibility, "a visibility");
