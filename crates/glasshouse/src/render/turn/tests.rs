use glass_api::{DiffView, PlanEntry, ToolStatus};

use super::*;

fn text(delta: &str) -> Event {
    Event::Text {
        delta: delta.to_owned(),
    }
}

fn tool(call: &str, title: Option<&str>, status: ToolStatus) -> Event {
    Event::Tool {
        call: call.to_owned(),
        title: title.map(str::to_owned),
        kind: None,
        status: Some(status),
        paths: Vec::new(),
        diffs: Vec::new(),
        output: None,
        input: None,
    }
}

fn plan(entries: &[(&str, &str)]) -> Event {
    let entries = entries
        .iter()
        .map(|&(content, status)| PlanEntry {
            content: content.to_owned(),
            status: status.to_owned(),
        })
        .collect();
    Event::Plan { entries }
}

fn preview(url: Option<&str>) -> Event {
    Event::Preview {
        port: 3000,
        url: url.map(str::to_owned),
    }
}

fn end(reason: EndReason) -> Event {
    Event::End {
        reason,
        message: None,
    }
}

fn rendered(events: &[Event]) -> String {
    let mut turn = Turn::new(Style::PLAIN, None);
    let lines: Vec<String> = events.iter().flat_map(|event| turn.on(event)).collect();
    lines.join("\n")
}

#[test]
fn a_turn_reads_from_top_to_bottom() {
    let mut write = tool("1", None, ToolStatus::Completed);
    if let Event::Tool { diffs, .. } = &mut write {
        diffs.push(DiffView {
            path: "index.html".to_owned(),
            old_text: None,
            new_text: "<h1>Todo</h1>\n".to_owned(),
        });
    }
    let events = [
        Event::Status {
            message: "agent starting".to_owned(),
        },
        text("I will write "),
        text("a page.\n\n"),
        plan(&[("Write it", "in_progress"), ("Look at it", "pending")]),
        tool("1", Some("Write index.html"), ToolStatus::Pending),
        tool("1", None, ToolStatus::InProgress),
        write,
        preview(Some("http://3000-a.preview.localhost/")),
        plan(&[("Write it", "completed"), ("Look at it", "pending")]),
        text("Done."),
        Event::Usage {
            used_tokens: None,
            context_tokens: None,
            input_tokens: Some(12_345),
            output_tokens: Some(678),
            cost_usd: Some(0.0213),
        },
        end(EndReason::Completed),
    ];
    assert_eq!(
        rendered(&events),
        "\
· agent starting

I will write a page.


▸ Write it
☐ Look at it
✓ Write index.html  +1
    + <h1>Todo</h1>
● preview http://3000-a.preview.localhost/
☑ Write it

Done.
· 12 345 tokens in, 678 out, $0.02 at list price"
    );
}

#[test]
fn a_failed_call_shows_the_end_of_its_output() {
    let mut failed = tool("1", Some("npm\ninstall"), ToolStatus::Failed);
    if let Event::Tool { output, .. } = &mut failed {
        *output = Some((1..=9).map(|n| format!("line {n}\n")).collect());
    }
    assert_eq!(
        rendered(&[failed]),
        "✗ npm install\n    line 5\n    line 6\n    line 7\n    line 8\n    line 9"
    );
}

#[test]
fn a_call_ends_once() {
    let done = tool("1", Some("Read a"), ToolStatus::Completed);
    assert_eq!(rendered(&[done.clone(), done]), "✓ Read a");
}

#[test]
fn the_same_preview_is_told_once_and_its_end_too() {
    let up = preview(Some("http://a/"));
    assert_eq!(
        rendered(&[up.clone(), up.clone(), preview(None), preview(None), up]),
        "● preview http://a/\n○ port 3000 has closed; the preview waits for it\n● preview http://a/"
    );
}

#[test]
fn a_preview_does_not_cut_a_sentence() {
    let up = preview(Some("http://a/"));
    assert_eq!(
        rendered(&[
            text("Half a "),
            up.clone(),
            text("sentence.\n"),
            text("More.\n")
        ]),
        "Half a sentence.\n\n● preview http://a/\n\nMore."
    );
    assert_eq!(
        rendered(&[text("Half"), up, end(EndReason::Completed)]),
        "Half\n\n● preview http://a/"
    );
}

#[test]
fn agents_cannot_drive_the_terminal() {
    let hostile = "\x1b]0;x\x07\x1b[2J";
    let events = [
        text(hostile),
        tool("1", Some(hostile), ToolStatus::Completed),
        plan(&[(hostile, "pending")]),
        Event::Status {
            message: hostile.to_owned(),
        },
        preview(Some(hostile)),
    ];
    let shown = rendered(&events);
    assert!(!shown.contains(['\x1b', '\x07']), "{shown:?}");
}

#[test]
fn the_bottom_line_says_what_goes_on() {
    let mut turn = Turn::new(Style::PLAIN, Some(80));
    assert_eq!(turn.activity(), "starting…");
    turn.on(&tool("1", Some("Run npm install"), ToolStatus::InProgress));
    assert_eq!(turn.activity(), "Run npm install…");
    turn.on(&text("half a sen"));
    assert_eq!(turn.activity(), "half a sen");
}
