//! `glasshouse doctor`: what this machine has and lacks, and what to do about it.

mod check;
mod place;
mod runtime;

use std::process::ExitCode;

use glass_server::{Config, RuntimeKind};

use self::check::{Check, Standing};
use crate::cli::ServeArguments;
use crate::command::serve;
use crate::context::Context;
use crate::failure::Failure;

pub(crate) async fn run(context: &Context, arguments: ServeArguments) -> Result<ExitCode, Failure> {
    let mut checks = checks(context, &arguments).await;
    if let Ok(config) = configuration(context, &arguments) {
        checks.push(place::archive(&config).await);
    }
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
pub(super) async fn checks(context: &Context, arguments: &ServeArguments) -> Vec<Check> {
    let (kind, mut checks) = match configuration(context, arguments) {
        Ok(_) => runtime::checks(context, arguments.runtime).await,
        Err(check) => (serve::kind(arguments.runtime), vec![check]),
    };
    checks.push(place::data(context));
    let addresses = arguments.listen.iter();
    checks.extend(addresses.map(|&listen| place::address(context, listen)));
    if kind != RuntimeKind::Sim {
        checks.extend(place::builder(context));
    }
    checks
}

/// What the server would be made with, or what is wrong with it.
fn configuration(context: &Context, arguments: &ServeArguments) -> Result<Config, Check> {
    let arguments = serve::arguments(context, arguments.clone());
    Config::load(arguments, serve::variable).map_err(|errors| {
        Check::new("configuration", Standing::Bad, errors.to_string())
            .with_remedy("the server does not start with it: mend glasshouse.toml in the data directory, or the variable")
    })
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
