//! `glasshouse down`

use std::process::ExitCode;

use crate::context::Context;
use crate::daemon::Daemon;
use crate::failure::Failure;

pub(crate) async fn run(context: &Context) -> Result<ExitCode, Failure> {
    let stopped = Daemon::of(context.data()).stop().await?;
    if context.printed_as_json(&serde_json::json!({ "stopped": stopped }))? {
        return Ok(ExitCode::SUCCESS);
    }
    context.out.note(if stopped {
        "the server has stopped; its sandboxes go on, and `glasshouse up` finds them again"
    } else {
        "no server runs"
    });
    Ok(ExitCode::SUCCESS)
}
