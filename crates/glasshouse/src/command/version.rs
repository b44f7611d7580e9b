//! `glasshouse version`

use std::process::ExitCode;

use serde_json::{Value, json};

use crate::context::Context;
use crate::failure::Failure;

pub(crate) async fn run(context: &Context) -> Result<ExitCode, Failure> {
    let client = env!("CARGO_PKG_VERSION");
    // A server that is not there has no version; that is an answer, not a failure.
    let server: Option<Value> = match context.client() {
        Ok(client) => client.get("/v1/version").await.ok(),
        Err(_) => None,
    };
    if context.printed_as_json(&json!({ "client": client, "server": server }))? {
        return Ok(ExitCode::SUCCESS);
    }
    context.out.line(format!("glasshouse {client}"))?;
    let text = match &server {
        Some(server) => server
            .get("version")
            .and_then(Value::as_str)
            .unwrap_or("of another make")
            .to_owned(),
        None => "does not answer".to_owned(),
    };
    context
        .out
        .line(format!("server     {text} ({})", context.server()))?;
    Ok(ExitCode::SUCCESS)
}
