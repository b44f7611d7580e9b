//! Prompts that test what goes around a model.

use http::StatusCode;

use crate::demo::intent::Probe;
use crate::demo::listing;
use crate::demo::reply::{Outcome, Pace, Reply};
use crate::demo::run::{Run, Step};

const SHOWN: usize = 4000;

pub(crate) fn run(run: &mut Run<'_>, probe: &Probe) -> Step<Outcome> {
    match probe {
        Probe::Sleep(seconds) => sleep(run, *seconds),
        Probe::Run(command) => command_output(run, command),
        Probe::Slow | Probe::Error(_) | Probe::Cut | Probe::Think => Ok(spoken(probe)),
    }
}

/// The probes that need no tool.
pub(crate) fn spoken(probe: &Probe) -> Outcome {
    match probe {
        Probe::Error(status) => Outcome::Refusal(
            StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        ),
        Probe::Slow => Outcome::Reply(Reply {
            text: format!("The demo model speaks slowly. {}", counted(100)),
            pace: Pace::Slow,
            ..Reply::default()
        }),
        Probe::Cut => Outcome::Reply(Reply {
            text: format!("The demo model breaks off in the middle. {}", counted(60)),
            cut: true,
            ..Reply::default()
        }),
        Probe::Think => Outcome::Reply(Reply {
            thought: Some(
                "The person wants to see me think. I am a script, so I think about what they will see: this block first, \
                 then the answer."
                    .into(),
            ),
            text: "The demo model has thought about it.".into(),
            ..Reply::default()
        }),
        Probe::Sleep(_) | Probe::Run(_) => Outcome::Reply(Reply::text(
            "The demo model needs a shell for that, and the agent offers none.",
        )),
    }
}

fn counted(to: u32) -> String {
    let mut text = String::from("It counts:");
    for number in 1..=to {
        text.push(' ');
        text.push_str(&number.to_string());
    }
    text.push('.');
    text
}

fn sleep(run: &mut Run<'_>, seconds: u64) -> Step<Outcome> {
    // Some agents refuse a plain `sleep`.
    let python = format!("python3 -c 'import time; time.sleep({seconds})'");
    let label = format!("Sleep {seconds} s");
    let Some(first) = run.shell(&python, &label)? else {
        return Ok(spoken(&Probe::Sleep(seconds)));
    };
    let failed = first.failed
        && run
            .shell(&format!("sleep {seconds}"), &label)?
            .is_none_or(|second| second.failed);
    let text = if failed {
        format!("The demo model could not sleep: {}", first.text.trim())
    } else {
        format!("The demo model slept {seconds} s.")
    };
    Ok(Outcome::Reply(Reply::text(text)))
}

fn command_output(run: &mut Run<'_>, command: &str) -> Step<Outcome> {
    let Some(result) = run.shell(command, "Run what was asked for")? else {
        return Ok(spoken(&Probe::Run(command.to_owned())));
    };
    let verdict = if result.failed { "failed" } else { "printed" };
    let output: String = listing::output(&result.text).chars().take(SHOWN).collect();
    Ok(Outcome::Reply(Reply::text(format!(
        "The demo model ran it; it {verdict}:\n\n```text\n{}\n```",
        output.trim_end()
    ))))
}
