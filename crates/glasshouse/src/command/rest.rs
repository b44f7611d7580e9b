//! `glasshouse set`, `glasshouse keepalive` and `glasshouse settings`: when sandboxes rest.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use glass_api::{
    After, IdlePolicy, IdleWish, KeepaliveParams, KeepaliveView, SandboxPatch, SandboxView,
    SettingsParams, SettingsView,
};
use reqwest::Method;

use crate::cli::{KeepaliveArguments, PolicyArguments, SetArguments, SettingsArguments};
use crate::context::Context;
use crate::failure::Failure;
use crate::reference::resolve;
use crate::render::span_ms;

pub(crate) async fn set(context: &Context, arguments: SetArguments) -> Result<ExitCode, Failure> {
    let client = context.client()?;
    let sandbox = resolve(&client, &arguments.sandbox).await?;
    let wish = over(sandbox.idle, &arguments.policy);
    let idle = if arguments.default_policy {
        Some(IdleWish::default())
    } else {
        (wish != sandbox.idle).then_some(wish)
    };
    let labels = arguments.labels.into_iter();
    let labels: BTreeMap<String, Option<String>> = labels
        .map(|(name, value)| (name, Some(value).filter(|value| !value.is_empty())))
        .collect();
    let patch = SandboxPatch {
        idle,
        labels,
        visibility: arguments.visibility,
        ..SandboxPatch::default()
    };
    let path = format!("/v1/sandboxes/{}", sandbox.id);
    let request = client.request(Method::PATCH, &path, &[]).json(&patch);
    let view: SandboxView = client.json(request).await?;
    if !context.printed_as_json(&view)? {
        let policy = in_words(&view.policy);
        context
            .out
            .line(format!("{}  {}  {policy}", view.id, view.visibility))?;
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn keepalive(
    context: &Context,
    arguments: KeepaliveArguments,
) -> Result<ExitCode, Failure> {
    let client = context.client()?;
    let sandbox = resolve(&client, &arguments.sandbox).await?;
    let now = now();
    let until = arguments
        .duration
        .filter(|_| !arguments.off)
        .map(|duration| now.saturating_add(ms(duration)));
    let path = format!("/v1/sandboxes/{}/keepalive", sandbox.id);
    let view: KeepaliveView = client.post(&path, &KeepaliveParams { until }).await?;
    if context.printed_as_json(&view)? {
        return Ok(ExitCode::SUCCESS);
    }
    let Some(in_force) = view.until else {
        context
            .out
            .line(format!("{}  rests as its policy says", sandbox.id))?;
        return Ok(ExitCode::SUCCESS);
    };
    let left = span_ms(u64::try_from(in_force - now).unwrap_or(0));
    context
        .out
        .line(format!("{}  does not rest for {left}", sandbox.id))?;
    if view.until < view.asked {
        let longest = span_ms(view.longest_ms);
        context
            .out
            .note(format!("the server allows no more than {longest} ahead"));
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn settings(
    context: &Context,
    arguments: SettingsArguments,
) -> Result<ExitCode, Failure> {
    let client = context.client()?;
    let wish = over(IdleWish::default(), &arguments.policy);
    let params = SettingsParams {
        idle: (wish != IdleWish::default()).then_some(wish),
        keepalive_max_ms: arguments
            .keepalive_max
            .map(|longest| u64::try_from(longest.as_millis()).unwrap_or(u64::MAX)),
    };
    let view: SettingsView = if params == SettingsParams::default() {
        client.get("/v1/settings").await?
    } else {
        let request = client.request(Method::PATCH, "/v1/settings", &[]);
        client.json(request.json(&params)).await?
    };
    if !context.printed_as_json(&view)? {
        context
            .out
            .line(format!("idle policy    {}", in_words(&view.idle)))?;
        context
            .out
            .line(format!("keepalive max  {}", span_ms(view.keepalive_max_ms)))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn over(wish: IdleWish, arguments: &PolicyArguments) -> IdleWish {
    IdleWish {
        always_on: arguments.always_on.or(wish.always_on),
        freeze_after_ms: arguments.freeze_after.or(wish.freeze_after_ms),
        stop_after_ms: arguments.stop_after.or(wish.stop_after_ms),
        archive_after_ms: arguments.archive_after.or(wish.archive_after_ms),
    }
}

/// `freeze after 2m, stop after 30m, archive never`
pub(crate) fn in_words(policy: &IdlePolicy) -> String {
    if policy.always_on {
        return "always on".to_owned();
    }
    let steps = [
        ("freeze", policy.freeze_after_ms),
        ("stop", policy.stop_after_ms),
        ("archive", policy.archive_after_ms),
    ];
    let words = steps.map(|(step, after)| match after {
        After::Ms(ms) => format!("{step} after {}", span_ms(ms)),
        After::Never(_) => format!("{step} never"),
    });
    words.join(", ")
}

fn now() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    ms(since)
}

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_said_in_words() {
        let policy = IdlePolicy::default();
        assert_eq!(
            in_words(&policy),
            "freeze after 2m, stop after 30m, archive after 14d"
        );
        let wish = IdleWish {
            archive_after_ms: Some(After::NEVER),
            ..IdleWish::default()
        };
        assert!(in_words(&policy.with(wish)).ends_with("archive never"));
        let always = IdlePolicy {
            always_on: true,
            ..policy
        };
        assert_eq!(in_words(&always), "always on");
    }
}
