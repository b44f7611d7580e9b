//! Snapshots and templates as they can be typed.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum SnapshotCommand {
    /// Keep the files of a sandbox as they are now
    Take(TakeArguments),
    /// List snapshots
    Ls {
        /// Only those of this sandbox: its id, the beginning of its id, or @last
        sandbox: Option<String>,
    },
    /// Put the files of a snapshot in the place of a sandbox's own
    Restore {
        /// The sandbox: its id, the beginning of its id, or @last
        sandbox: String,
        /// The snapshot: its id or the beginning of its id
        snapshot: String,
    },
    /// Remove snapshots; sandboxes that began with them keep their files
    Rm {
        /// Snapshots: ids or beginnings of ids
        #[arg(required = true, value_name = "SNAPSHOT")]
        snapshots: Vec<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct TakeArguments {
    /// The sandbox: its id, the beginning of its id, or @last
    pub(crate) sandbox: String,
    /// What to call it
    #[arg(long, short)]
    pub(crate) name: Option<String>,
    /// What it is for
    #[arg(long, short)]
    pub(crate) description: Option<String>,
    /// When it may be removed: 90s, 15m, 12h or 7d from now
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) expires: Option<Duration>,
}

#[derive(Debug, Args)]
pub(crate) struct ForkArguments {
    /// The sandbox: its id, the beginning of its id, or @last
    pub(crate) sandbox: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TemplateCommand {
    /// List templates, those that come with glasshouse and your own
    Ls,
    /// Make templates that come with glasshouse, or one from a directory
    Build {
        /// Names, or directories with a template.toml; all that come with glasshouse unless given
        #[arg(value_name = "TEMPLATE")]
        templates: Vec<String>,
        /// Also those that are up to date
        #[arg(long, short)]
        force: bool,
    },
    /// Make a template from a sandbox as it is now
    Save(SaveArguments),
    /// Show a template
    Show {
        /// Its name
        name: String,
    },
    /// Remove templates; sandboxes that were made from them stay
    Rm {
        /// Names
        #[arg(required = true)]
        names: Vec<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct SaveArguments {
    /// The sandbox: its id, the beginning of its id, or @last
    pub(crate) sandbox: String,
    /// Name of the template: a-z, 0-9 and -
    pub(crate) name: String,
    /// What it is
    #[arg(long, short, default_value = "")]
    pub(crate) description: String,
    /// A file with the manifest of its app
    #[arg(long, value_name = "FILE")]
    pub(crate) manifest: Option<PathBuf>,
}

/// A number and a unit.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "expected a number and a unit, such as 90s, 15m, 12h or 7d".to_owned();
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 60 * 60,
        'd' => 24 * 60 * 60,
        _ => return Err(wrong()),
    };
    let count: u64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    count
        .checked_mul(seconds)
        .map(Duration::from_secs)
        .ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_a_unit() {
        assert_eq!(duration("15m"), Ok(Duration::from_secs(900)));
        assert_eq!(duration("7d"), Ok(Duration::from_secs(604_800)));
        for text in [
            "",
            "m",
            "15",
            "1.5h",
            "-1s",
            "15 m",
            "99999999999999999999d",
            "5ä",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
