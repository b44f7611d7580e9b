//! Idle policies, keepalives and settings as they can be typed.

use std::time::Duration;

use clap::Args;
use glass_api::After;

use super::keep::duration;

#[derive(Debug, Args)]
pub(crate) struct KeepaliveArguments {
    /// The sandbox: its id, the beginning of its id, or @last
    pub(crate) sandbox: String,
    /// How long it does not rest: 90s, 15m, 12h or 7d from now
    #[arg(value_name = "DURATION", value_parser = duration, required_unless_present = "off")]
    pub(crate) duration: Option<Duration>,
    /// Let it rest again
    #[arg(long, conflicts_with = "duration")]
    pub(crate) off: bool,
}

/// When sandboxes go to rest.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct PolicyArguments {
    /// Idle time until the CPU is taken: 90s, 15m, 12h, 7d or never
    #[arg(long, value_name = "DURATION", value_parser = after)]
    pub(crate) freeze_after: Option<After>,
    /// Idle time until the processes end
    #[arg(long, value_name = "DURATION", value_parser = after)]
    pub(crate) stop_after: Option<After>,
    /// Idle time until the files go to the archive
    #[arg(long, value_name = "DURATION", value_parser = after)]
    pub(crate) archive_after: Option<After>,
    /// Never rest
    #[arg(long, value_name = "BOOL")]
    pub(crate) always_on: Option<bool>,
}

#[derive(Debug, Args)]
pub(crate) struct SetArguments {
    /// The sandbox: its id, the beginning of its id, or @last
    pub(crate) sandbox: String,
    #[command(flatten)]
    pub(crate) policy: PolicyArguments,
    /// Leave the idle policy to the server again
    #[arg(long, conflicts_with_all = ["freeze_after", "stop_after", "archive_after", "always_on"])]
    pub(crate) default_policy: bool,
    /// Who may see its previews: public or private
    #[arg(long)]
    pub(crate) visibility: Option<String>,
    /// A label to set; NAME= takes it away
    #[arg(long = "label", short, value_name = "NAME=VALUE", value_parser = label)]
    pub(crate) labels: Vec<(String, String)>,
}

#[derive(Debug, Args)]
pub(crate) struct SettingsArguments {
    #[command(flatten)]
    pub(crate) policy: PolicyArguments,
    /// How far ahead a keepalive may be
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) keepalive_max: Option<Duration>,
}

fn after(text: &str) -> Result<After, String> {
    if text == "never" {
        return Ok(After::NEVER);
    }
    let duration = duration(text).map_err(|wrong| format!("{wrong}, or never"))?;
    Ok(After::Ms(
        u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
    ))
}

fn label(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_times_are_durations_or_never() {
        assert_eq!(after("never"), Ok(After::NEVER));
        assert_eq!(after("2m"), Ok(After::Ms(120_000)));
        assert!(after("soon").unwrap_err().contains("never"));
        assert_eq!(label("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert!(label("a").is_err());
    }
}
