//! `glasshouse doctor`: what this machine has and lacks, and what to do about it.

mod check;
mod place;

use std::process::ExitCode;

use glass_runtime::native;

use self::check::{Check, Standing};
use crate::cli::{RuntimeArgument, ServeArguments};
use crate::context::Context;
use crate::failure::Failure;

pub(crate) fn run(context: &Context, arguments: &ServeArguments) -> Result<ExitCode, Failure> {
    let mut checks = checks(context, arguments);
    checks.push(place::image(context));
    checks.extend(place::keys(context));
    if !context.printed_as_json(&serde_json::json!({ "checks": checks }))? {
        for line in checks
            .iter()
            .flat_map(|check| check.lines(context.out.style))
        {
            context.out.line(line)?;
        }
    }
    Ok(if checks.iter().any(Check::is_bad) {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// What a server needs before it is started.
pub(super) fn checks(context: &Context, arguments: &ServeArguments) -> Vec<Check> {
    let mut checks = match arguments.runtime {
        RuntimeArgument::Native => native::check(&place::existing(context.data()))
            .into_iter()
            .map(Check::from)
            .collect(),
        RuntimeArgument::Sim => vec![
            Check::new("runtime", Standing::Note, "sim").with_remedy(
                "nothing is isolated: run only what you trust, or use `--runtime native` as root",
            ),
            place::disk(context),
        ],
    };
    checks.push(place::data(context));
    let addresses = arguments.listen.iter();
    checks.extend(addresses.map(|&listen| place::address(context, listen)));
    if arguments.runtime == RuntimeArgument::Native {
        checks.extend(place::builder(context));
    }
    checks
}

/// Goes on only when nothing is missing that is needed.
pub(super) fn require(context: &Context, checks: &[Check]) -> Result<(), Failure> {
    let bad: Vec<&Check> = checks.iter().filter(|check| check.is_bad()).collect();
    let Some(first) = bad.first() else {
        return Ok(());
    };
    for line in bad.iter().flat_map(|check| check.lines(context.out.style)) {
        context.out.note(line);
    }
    let more = match bad.len() {
        1 => String::new(),
        count => format!(" and {} more", count - 1),
    };
    Err(
        Failure::new(format!("this machine is not ready: {}{more}", first.name()))
            .with_hint("`glasshouse doctor` shows everything that is checked"),
    )
}
