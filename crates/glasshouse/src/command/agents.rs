//! `glasshouse agents`

use std::process::ExitCode;

use glass_api::AgentList;

use crate::context::Context;
use crate::failure::Failure;
use crate::render::Table;

pub(crate) async fn run(context: &Context) -> Result<ExitCode, Failure> {
    let list: AgentList = context.client()?.get("/v1/agents").await?;
    if context.printed_as_json(&list)? {
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new(&["AGENT", "NAME", "MODEL", ""]);
    for agent in &list.agents {
        let model = if agent.model.demo {
            agent.model.name.clone()
        } else {
            agent.model.id.clone()
        };
        let note = if agent.default { "default" } else { "" };
        table.row(vec![
            agent.id.clone(),
            agent.name.clone(),
            model,
            note.to_owned(),
        ]);
    }
    for line in table.lines(context.out.style) {
        context.out.line(line)?;
    }
    Ok(ExitCode::SUCCESS)
}
