//! `glasshouse stats`

use std::process::ExitCode;

use glass_api::StatsView;
use indicatif::HumanBytes;

use super::rest::in_words;
use crate::cli::Sandboxes;
use crate::context::Context;
use crate::failure::Failure;
use crate::reference::resolve;
use crate::render::{Table, span_ms};

pub(crate) async fn run(context: &Context, arguments: Sandboxes) -> Result<ExitCode, Failure> {
    let client = context.client()?;
    for reference in &arguments.sandboxes {
        let sandbox = resolve(&client, reference).await?;
        let path = format!("/v1/sandboxes/{}/stats", sandbox.id);
        let view: StatsView = client.get(&path).await?;
        if context.printed_as_json(&view)? {
            continue;
        }
        let mut table = Table::new(&["SANDBOX", &sandbox.id]);
        for (name, value) in rows(&view) {
            table.row(vec![name.to_owned(), value]);
        }
        for line in table.lines(context.out.style) {
            context.out.line(line)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn rows(view: &StatsView) -> Vec<(&'static str, String)> {
    let of = |used: u64, limit: u64| format!("{} of {}", HumanBytes(used), HumanBytes(limit));
    let uses: Vec<String> = view
        .uses
        .iter()
        .map(|(kind, count)| format!("{count} {kind}"))
        .collect();
    let mut rows = vec![
        ("state", view.state.clone()),
        ("memory", of(view.memory_bytes, view.memory_limit_bytes)),
        ("cpu time", span_ms(view.cpu_usec / 1000)),
        ("processes", format!("{} of {}", view.pids, view.pids_limit)),
    ];
    if let Some(disk) = view.disk_bytes {
        rows.push(("disk", of(disk, view.disk_limit_bytes)));
    }
    let bytes = [view.network_sent_bytes, view.network_received_bytes];
    let [sent, received] = bytes.map(HumanBytes);
    rows.push(("network", format!("{sent} sent, {received} received")));
    rows.push(if uses.is_empty() {
        ("idle for", span_ms(view.idle_ms))
    } else {
        ("in use", uses.join(", "))
    });
    rows.push(("policy", in_words(&view.policy)));
    if let Some(next) = &view.next {
        let left = u64::try_from(next.at - view.last_used_at).unwrap_or(0);
        let left = left.saturating_sub(view.idle_ms);
        rows.push(("next", format!("{} in {}", next.step, span_ms(left))));
    }
    rows
}
