//! What real agents said, recorded, and the events that it gives.
//!
//! The files were made with the example `drive` against the demo model; long texts in them are cut.
#![expect(
    clippy::unwrap_used,
    reason = "a recording that cannot be read fails its test"
)]

use glass_agent::{AgentLine, AgentRegistry, Ending, LineSource, Turn, TurnSpec};
use glass_types::{EndReason, Event, ToolStatus};

fn lines(name: &str) -> Vec<AgentLine> {
    let path = format!(
        "{}/tests/transcripts/{name}.jsonl",
        env!("CARGO_MANIFEST_DIR")
    );
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| {
            let entry: serde_json::Value = serde_json::from_str(line).unwrap();
            AgentLine {
                number: entry["number"].as_u64().unwrap(),
                source: match entry["source"].as_str().unwrap() {
                    "stdin" => LineSource::Stdin,
                    "stdout" => LineSource::Stdout,
                    "stderr" => LineSource::Stderr,
                    "exit" => LineSource::Exit,
                    other => panic!("{other}"),
                },
                text: entry["text"].as_str().unwrap().to_owned(),
            }
        })
        .collect()
}

fn turn(agent: &str, task: &str) -> Turn {
    let registry = AgentRegistry::load(None).unwrap();
    Turn::new(TurnSpec {
        task: task.into(),
        agent: registry.get(agent).unwrap().clone(),
        model: "demo".into(),
        prompt: "create a todo app".into(),
        cwd: "/home/dev/workspace".into(),
        resume_session: None,
    })
}

struct Played {
    events: Vec<(u64, Event)>,
    ending: Option<Ending>,
    session: Option<String>,
}

impl Played {
    fn text(&self) -> String {
        let deltas = self.events.iter().filter_map(|(_, event)| match event {
            Event::Text { delta } => Some(delta.as_str()),
            _ => None,
        });
        deltas.collect()
    }

    fn titles(&self) -> Vec<&str> {
        let titles = self.events.iter().filter_map(|(_, event)| match event {
            Event::Tool { title, .. } => title.as_deref(),
            _ => None,
        });
        titles.collect()
    }

    fn statuses(&self) -> Vec<ToolStatus> {
        let statuses = self.events.iter().filter_map(|(_, event)| match event {
            Event::Tool { status, .. } => *status,
            _ => None,
        });
        statuses.collect()
    }

    fn plans(&self) -> Vec<Vec<&str>> {
        let plans = self.events.iter().filter_map(|(_, event)| match event {
            Event::Plan { entries } => {
                Some(entries.iter().map(|entry| entry.status.as_str()).collect())
            }
            _ => None,
        });
        plans.collect()
    }

    fn diffs(&self) -> Vec<(&str, bool)> {
        let diffs = self.events.iter().flat_map(|(_, event)| match event {
            Event::Tool { diffs, .. } => diffs.as_slice(),
            _ => &[],
        });
        diffs
            .map(|diff| (diff.path.as_str(), diff.old_text.is_some()))
            .collect()
    }
}

fn play(agent: &str, file: &str, task: &str) -> Played {
    let mut turn = turn(agent, task);
    let mut played = Played {
        events: Vec::new(),
        ending: None,
        session: None,
    };
    for line in lines(&format!("{agent}-{file}")) {
        let step = turn.on_line(&line);
        played
            .events
            .extend(step.events.into_iter().map(|event| (line.number, event)));
        if step.done.is_some() {
            assert_eq!(played.ending, None, "a turn ends once");
            played.ending = step.done;
        }
    }
    played.session = turn.session().map(str::to_owned);
    played
}

const AGENTS: [&str; 2] = ["claude-code", "opencode"];

#[test]
fn a_turn_gives_text_plan_tools_and_diffs() {
    for agent in AGENTS {
        let played = play(agent, "two-turns", "task0");
        let ending = played.ending.as_ref().unwrap();
        assert_eq!(ending.reason, EndReason::Completed, "{agent}: {ending:?}");
        assert!(
            played.text().contains("demo model"),
            "{agent}: {}",
            played.text()
        );
        let titles = played.titles();
        for title in ["Write index.html", "Write style.css", "Write app.js"] {
            assert!(titles.contains(&title), "{agent}: {titles:?}");
        }
        let plans = played.plans();
        assert!(plans[0].contains(&"in_progress"), "{agent}: {plans:?}");
        assert!(
            plans
                .last()
                .unwrap()
                .iter()
                .all(|status| *status == "completed"),
            "{agent}"
        );
        let page = ("/home/dev/workspace/index.html", false);
        assert!(
            played.diffs().contains(&page),
            "{agent}: {:?}",
            played.diffs()
        );
        assert!(!played.statuses().contains(&ToolStatus::Failed), "{agent}");
    }
}

#[test]
fn a_second_turn_of_the_same_process_has_its_own_events_only() {
    for agent in AGENTS {
        let first = play(agent, "two-turns", "task0");
        let second = play(agent, "two-turns", "task1");
        assert_eq!(
            second.ending.as_ref().unwrap().reason,
            EndReason::Completed,
            "{agent}"
        );
        assert_eq!(first.session, second.session);
        let titles = second.titles();
        assert!(titles.contains(&"Edit style.css"), "{agent}: {titles:?}");
        assert!(!titles.contains(&"Write index.html"), "{agent}: {titles:?}");
        assert!(
            second
                .diffs()
                .contains(&("/home/dev/workspace/style.css", true)),
            "{agent}"
        );
        let last_of_first = first.events.last().unwrap().0;
        assert!(second.events[0].0 > last_of_first, "{agent}");
    }
}

#[test]
fn what_a_command_printed_is_shown_without_a_fence() {
    for agent in AGENTS {
        let played = play(agent, "two-turns", "task0");
        let printed = played.events.iter().any(|(_, event)| {
            matches!(event, Event::Tool { output: Some(output), .. }
                if output.starts_with("-rw-") && !output.contains("```"))
        });
        assert!(printed, "{agent}");
    }
}

#[test]
fn a_cancelled_turn_leaves_no_call_open() {
    for agent in AGENTS {
        let played = play(agent, "cancelled", "task0");
        let ending = played.ending.as_ref().unwrap();
        assert_eq!(ending.reason, EndReason::Cancelled, "{agent}");
        let last = *played.statuses().last().unwrap();
        assert!(
            matches!(last, ToolStatus::Failed | ToolStatus::Completed),
            "{agent}: {last:?}"
        );
    }
}

#[test]
fn a_wrong_key_names_the_providers_reason_and_the_remedy() {
    for agent in AGENTS {
        let ending = play(agent, "wrong-key", "task0").ending.unwrap();
        assert_eq!(ending.reason, EndReason::Failed, "{agent}");
        let message = ending.message.unwrap();
        assert!(message.contains("answers 401"), "{agent}: {message}");
        assert!(
            message.contains("Check the Anthropic API key"),
            "{agent}: {message}"
        );
    }
}

#[test]
fn a_killed_agent_is_a_failure_with_its_call_closed() {
    for agent in AGENTS {
        let played = play(agent, "killed", "task0");
        let ending = played.ending.as_ref().unwrap();
        assert_eq!(ending.reason, EndReason::Failed, "{agent}");
        let message = ending.message.as_ref().unwrap();
        assert!(message.contains("SIGKILL"), "{agent}: {message}");
        assert!(!message.contains("Unexpected case"), "{agent}: {message}");
        assert_eq!(
            played.statuses().last(),
            Some(&ToolStatus::Failed),
            "{agent}"
        );
    }
}

#[test]
fn a_loaded_session_does_not_repeat_its_history() {
    for agent in AGENTS {
        let killed = play(agent, "killed", "task0");
        let resumed = play(agent, "resumed", "task1");
        assert_eq!(resumed.session, killed.session, "{agent}");
        assert_eq!(
            resumed.ending.as_ref().unwrap().reason,
            EndReason::Completed,
            "{agent}"
        );
        assert!(
            matches!(resumed.events[0].1, Event::Status { .. }),
            "{agent}"
        );
        assert!(
            !resumed.titles().iter().any(|title| title.contains("sleep")),
            "{agent}"
        );
    }
}

#[test]
fn a_replayed_turn_has_nothing_left_to_say() {
    for agent in AGENTS {
        let mut turn = turn(agent, "task1");
        for line in lines(&format!("{agent}-two-turns")) {
            turn.on_line(&line);
        }
        assert_eq!(turn.pending(), [], "{agent}");
    }
}

#[test]
fn the_recorded_messages_are_the_ones_that_the_turn_wants_sent() {
    for agent in AGENTS {
        let mut turn = turn(agent, "task0");
        for line in lines(&format!("{agent}-two-turns")) {
            if line.source == LineSource::Stdin && !turn.has_begun() {
                let id = |text: &str| -> serde_json::Value {
                    serde_json::from_str::<serde_json::Value>(text).unwrap()["id"].take()
                };
                let wanted: Vec<_> = turn.pending().iter().map(|out| id(&out.line)).collect();
                assert!(
                    wanted.contains(&id(&line.text)),
                    "{agent}: {wanted:?} {}",
                    line.text
                );
            }
            turn.on_line(&line);
        }
    }
}
