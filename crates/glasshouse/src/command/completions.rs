//! `glasshouse completions <shell>`

use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;

use crate::cli::Cli;
use crate::context::Context;
use crate::failure::Failure;

pub(crate) fn run(context: &Context, shell: Shell) -> Result<ExitCode, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "glasshouse", &mut script);
    context.out.bytes(&script)?;
    Ok(ExitCode::SUCCESS)
}
