use super::*;
use crate::AgentRegistry;
use glass_types::ToolStatus;
use proptest::prelude::*;
use serde_json::json;

fn spec(agent: &str) -> TurnSpec {
    let registry = AgentRegistry::load(None).unwrap();
    TurnSpec {
        task: "t1".into(),
        agent: registry.get(agent).unwrap().clone(),
        model: "demo".into(),
        prompt: "hello".into(),
        cwd: "/w".into(),
        resume_session: None,
    }
}

/// Feeds a turn line by line and keeps what it says.
struct Feed {
    turn: Turn,
    number: u64,
    events: Vec<Event>,
    done: Option<Ending>,
}

impl Feed {
    fn new(spec: TurnSpec) -> Self {
        Self {
            turn: Turn::new(spec),
            number: 0,
            events: Vec::new(),
            done: None,
        }
    }

    fn line(&mut self, source: LineSource, text: &str) -> &mut Self {
        self.number += 1;
        let step = self.turn.on_line(&AgentLine {
            number: self.number,
            source,
            text: text.to_owned(),
        });
        self.events.extend(step.events);
        self.done = self.done.take().or(step.done);
        self
    }

    fn out(&mut self, message: Value) -> &mut Self {
        self.line(LineSource::Stdout, &message.to_string())
    }

    fn update(&mut self, update: Value) -> &mut Self {
        self.out(
            json!({"method": "session/update", "params": {"sessionId": "s1", "update": update}}),
        )
    }

    /// Puts what the turn wants sent into the log, as the guest does.
    fn flush(&mut self) -> Vec<String> {
        let out = self.turn.pending();
        for message in &out {
            self.line(LineSource::Stdin, &message.line);
        }
        out.into_iter().map(|message| message.once).collect()
    }

    fn opened(spec: TurnSpec) -> Self {
        let mut feed = Self::new(spec);
        assert_eq!(feed.flush(), ["initialize"]);
        feed.out(
            json!({"id": "initialize", "result": {"agentCapabilities": {"loadSession": true}}}),
        );
        feed
    }

    fn working() -> Self {
        let mut feed = Self::opened(spec("claude-code"));
        assert_eq!(feed.flush(), ["session"]);
        feed.out(json!({"id": "session", "result": {"sessionId": "s1"}}));
        assert_eq!(feed.flush(), ["prompt:t1"]);
        feed
    }

    fn ends(&mut self, message: Value) -> (EndReason, String) {
        self.out(message);
        let ending = self.done.clone().unwrap();
        (ending.reason, ending.message.unwrap_or_default())
    }
}

fn stop(reason: &str) -> Value {
    json!({"id": "prompt:t1", "result": {"stopReason": reason}})
}

#[test]
fn the_unattended_mode_is_set_when_offered() {
    let mut feed = Feed::opened(spec("claude-code"));
    feed.flush();
    let modes =
        json!({"currentModeId": "default", "availableModes": [{"id": "bypassPermissions"}]});
    feed.out(json!({"id": "session", "result": {"sessionId": "s1", "modes": modes}}));
    assert_eq!(feed.flush(), ["mode"]);
    feed.out(json!({"id": "mode", "error": {"code": -1, "message": "no"}}));
    assert_eq!(feed.flush(), ["prompt:t1"]);
}

#[test]
fn a_session_that_cannot_be_loaded_is_replaced_and_said_so() {
    let mut spec = spec("opencode");
    spec.resume_session = Some("old".into());
    let mut feed = Feed::opened(spec);
    assert!(feed.turn.pending()[0].line.contains("session/load"));
    feed.flush();
    feed.out(json!({"id": "session", "error": {"code": -32002, "message": "not found"}}));
    assert_eq!(feed.flush(), ["session-fresh"]);
    feed.out(json!({"id": "session-fresh", "result": {"sessionId": "s1"}}));
    assert_eq!(feed.flush(), ["prompt:t1"]);
    let told = format!("{:?}", feed.events);
    assert!(told.contains("starts afresh"), "{told}");
    assert_eq!(feed.turn.session(), Some("s1"));
}

#[test]
fn a_loaded_session_keeps_its_id_and_drops_its_history() {
    let mut spec = spec("opencode");
    spec.resume_session = Some("s1".into());
    let mut feed = Feed::opened(spec);
    feed.flush();
    feed.update(
        json!({"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": "old"}}),
    );
    feed.out(json!({"id": "session", "result": {}}));
    feed.flush();
    assert_eq!(feed.turn.session(), Some("s1"));
    assert_eq!(
        feed.events,
        [Event::Status {
            message: "working".into()
        }]
    );
}

#[test]
fn another_model_is_set_before_the_prompt_of_a_later_turn() {
    let mut feed = Feed::opened(spec("opencode"));
    feed.flush();
    let options = |model: &str| json!([{"id": "model", "currentValue": model}]);
    feed.out(json!({"id": "session", "result": {"sessionId": "s1", "configOptions": options("anthropic/other")}}));
    feed.line(
        LineSource::Stdin,
        r#"{"id":"prompt:t0","method":"session/prompt","params":{}}"#,
    );
    feed.out(json!({"id": "prompt:t0", "result": {"stopReason": "end_turn"}}));
    assert_eq!(feed.flush(), ["model:t1"]);
    feed.out(json!({"id": "model:t1", "result": {"configOptions": options("anthropic/demo")}}));
    assert_eq!(feed.flush(), ["prompt:t1"]);
}

#[test]
fn a_model_that_the_agent_refuses_ends_the_turn_with_its_name() {
    let mut feed = Feed::opened(spec("opencode"));
    feed.flush();
    let options = json!([{"id": "model", "currentValue": "anthropic/other"}]);
    feed.out(json!({"id": "session", "result": {"sessionId": "s1", "configOptions": options}}));
    feed.line(
        LineSource::Stdin,
        r#"{"id":"prompt:t0","method":"session/prompt"}"#,
    );
    feed.flush();
    let error = json!({"code": -32602, "message": "model not found: demo"});
    let (reason, message) = feed.ends(json!({"id": "model:t1", "error": error}));
    assert_eq!(reason, EndReason::Failed);
    assert!(
        message.contains("cannot change to model demo: model not found"),
        "{message}"
    );
}

#[test]
fn permission_is_given_and_unknown_requests_are_refused() {
    let mut feed = Feed::working();
    let options = json!([
        {"optionId": "n", "kind": "reject_once"},
        {"optionId": "o", "kind": "allow_once"},
        {"optionId": "a", "kind": "allow_always"},
    ]);
    let call = json!({"toolCallId": "c1", "title": "Run it", "kind": "execute"});
    feed.out(json!({"id": 7, "method": "session/request_permission",
        "params": {"sessionId": "s1", "toolCall": call, "options": options}}));
    feed.out(json!({"id": "x", "method": "fs/write_text_file", "params": {}}));
    let out = feed.turn.pending();
    assert_eq!(out[0].once, "reply:7");
    assert!(out[0].line.contains(r#""optionId":"a""#), "{}", out[0].line);
    assert_eq!(out[1].once, "reply:\"x\"");
    assert!(out[1].line.contains("-32601"), "{}", out[1].line);
    assert!(matches!(&feed.events[1], Event::Tool { call, .. } if call == "c1"));
    feed.flush();
    assert_eq!(feed.turn.pending(), []);
}

#[test]
fn permission_asked_while_cancelling_is_answered_cancelled() {
    let mut feed = Feed::working();
    feed.out(json!({"id": 1, "method": "session/request_permission",
        "params": {"options": [{"optionId": "a", "kind": "allow_once"}]}}));
    feed.turn.cancel();
    let out = feed.turn.pending();
    assert!(out[0].line.contains("cancelled"), "{}", out[0].line);
    assert_eq!(out[1].once, "cancel:t1");
    feed.flush();
    assert_eq!(feed.turn.pending(), []);
    assert_eq!(feed.ends(stop("end_turn")).0, EndReason::Cancelled);
}

#[test]
fn a_turn_cancelled_before_its_prompt_was_taken_ends_without_it() {
    let mut feed = Feed::opened(spec("opencode"));
    feed.turn.cancel();
    assert_eq!(feed.flush(), ["prompt:t1"]);
    assert_eq!(feed.done.unwrap().reason, EndReason::Cancelled);
}

#[test]
fn a_prompt_that_the_guest_had_already_is_cancelled_by_message() {
    let mut feed = Feed::opened(spec("opencode"));
    feed.flush();
    feed.out(json!({"id": "session", "result": {"sessionId": "s1"}}));
    let prompt = feed.turn.pending().remove(0);
    feed.turn.cancel();
    // The guest ignores what has the prompt's key, and the prompt shows in the log.
    feed.line(LineSource::Stdin, &prompt.line);
    assert_eq!(feed.flush(), ["cancel:t1"]);
    assert_eq!(feed.ends(stop("cancelled")).0, EndReason::Cancelled);
}

#[test]
fn stop_reasons_become_end_reasons() {
    for (stopped, expect) in [
        ("max_tokens", EndReason::Limit),
        ("max_turn_requests", EndReason::Limit),
        ("refusal", EndReason::Refused),
        ("cancelled", EndReason::Cancelled),
        ("end_turn", EndReason::Completed),
        ("moon", EndReason::Failed),
    ] {
        let (reason, message) = Feed::working().ends(stop(stopped));
        assert_eq!(reason, expect, "{stopped}");
        assert!(
            !message.is_empty(),
            "{stopped} without an answer is explained"
        );
    }
}

#[test]
fn a_provider_error_as_text_is_a_failure() {
    let mut feed = Feed::working();
    let text = json!({"type": "text", "text": "API Error: 529 overloaded"});
    feed.update(json!({"sessionUpdate": "agent_message_chunk", "content": text}));
    let (reason, message) = feed.ends(stop("end_turn"));
    assert_eq!(reason, EndReason::Failed);
    assert!(message.contains("overloaded"), "{message}");
}

#[test]
fn an_exit_in_the_middle_shows_what_the_agent_complained_of() {
    let mut feed = Feed::working();
    feed.update(json!({"sessionUpdate": "tool_call", "toolCallId": "c", "title": "x", "status": "in_progress"}));
    feed.line(LineSource::Stderr, "out of memory");
    feed.line(LineSource::Exit, "exit status 137");
    let ending = feed.done.unwrap();
    assert_eq!(ending.reason, EndReason::Failed);
    let message = ending.message.unwrap();
    assert!(
        message.contains("exit status 137") && message.contains("out of memory"),
        "{message}"
    );
    let closed = feed.events.last().unwrap();
    assert!(
        matches!(
            closed,
            Event::Tool {
                status: Some(ToolStatus::Failed),
                ..
            }
        ),
        "{closed:?}"
    );
}

#[test]
fn an_exit_before_the_prompt_is_no_end_of_the_turn() {
    let mut feed = Feed::opened(spec("opencode"));
    feed.line(LineSource::Exit, "exit status 1");
    assert!(feed.turn.is_gone());
    assert_eq!(feed.done, None);
    assert_eq!(feed.turn.pending(), []);
    assert_eq!(feed.turn.complaint().as_deref(), Some("exit status 1"));
}

#[test]
fn usage_counts_this_turn_only() {
    let mut spec = spec("claude-code");
    spec.model = "claude-sonnet-5-5".into();
    let mut feed = Feed::opened(spec);
    feed.flush();
    feed.out(json!({"id": "session", "result": {"sessionId": "s1"}}));
    let usage = |amount: f64| {
        json!({"sessionUpdate": "usage_update", "used": 5, "size": 10,
        "cost": {"amount": amount, "currency": "USD"}})
    };
    feed.update(usage(0.5));
    feed.flush();
    feed.update(usage(0.75));
    feed.out(
        json!({"id": "prompt:t1", "result": {"stopReason": "end_turn",
        "usage": {"inputTokens": 3, "cachedReadTokens": 4, "outputTokens": 2}}}),
    );
    let usage = feed.turn.usage();
    assert_eq!(usage.cost_usd, Some(0.25));
    assert_eq!(
        (usage.input_tokens, usage.output_tokens),
        (Some(7), Some(2))
    );
    assert_eq!(
        (usage.used_tokens, usage.context_tokens),
        (Some(5), Some(10))
    );
}

#[test]
fn a_tool_update_says_only_what_is_new() {
    let mut feed = Feed::working();
    let call = |kind: &str, status: &str| {
        json!({"sessionUpdate": kind, "toolCallId": "c", "title": "Run ls",
        "kind": "execute", "status": status, "content": [{"type": "content",
        "content": {"type": "text", "text": "```console\na\nb\n```"}}]})
    };
    feed.update(call("tool_call", "pending"));
    feed.update(call("tool_call_update", "pending"));
    feed.update(call("tool_call_update", "completed"));
    assert_eq!(feed.events.len(), 3, "{:?}", feed.events);
    let Event::Tool {
        title,
        status,
        output,
        ..
    } = &feed.events[2]
    else {
        panic!("{:?}", feed.events[2]);
    };
    assert_eq!(*title, None);
    assert_eq!(*status, Some(ToolStatus::Completed));
    assert_eq!(output.as_deref(), Some("a\nb"));
}

#[test]
fn large_outputs_and_diffs_are_cut() {
    let mut feed = Feed::working();
    let big = "x".repeat(1 << 20);
    feed.update(
        json!({"sessionUpdate": "tool_call", "toolCallId": "c", "title": big, "status": "completed",
        "content": [{"type": "diff", "path": big, "newText": big},
                    {"type": "content", "content": {"type": "text", "text": big}}]}),
    );
    let Event::Tool {
        title,
        diffs,
        output,
        ..
    } = &feed.events[1]
    else {
        panic!("{:?}", feed.events[1]);
    };
    assert!(title.as_ref().unwrap().len() < 2000);
    assert!(diffs[0].new_text.len() < 300_000 && diffs[0].new_text.contains("more bytes"));
    assert!(output.as_ref().unwrap().len() < 70_000);
}

#[test]
fn updates_of_another_session_are_not_ours() {
    let mut feed = Feed::working();
    feed.out(json!({"method": "session/update", "params": {"sessionId": "s2",
        "update": {"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": "no"}}}}));
    assert_eq!(feed.events.len(), 1);
}

fn any_json() -> impl Strategy<Value = Value> {
    let names = prop::sample::select(vec![
        "id",
        "method",
        "params",
        "result",
        "error",
        "update",
        "sessionUpdate",
        "sessionId",
        "content",
        "type",
        "text",
        "toolCallId",
        "status",
        "title",
        "rawInput",
        "rawOutput",
        "todos",
        "locations",
        "path",
        "options",
        "optionId",
        "kind",
        "entries",
        "usage",
        "cost",
        "amount",
        "currency",
        "data",
        "message",
        "code",
        "stopReason",
        "configOptions",
        "modes",
        "toolCall",
    ]);
    let words = prop::sample::select(vec![
        "s1",
        "prompt:t1",
        "session",
        "initialize",
        "mode",
        "model:t1",
        "session/update",
        "session/request_permission",
        "session/cancel",
        "tool_call",
        "tool_call_update",
        "plan",
        "agent_message_chunk",
        "usage_update",
        "config_option_update",
        "text",
        "diff",
        "content",
        "completed",
        "pending",
        "todowrite",
        "USD",
        "end_turn",
        "```",
        "```\n```",
        "ä",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        words.prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((names.clone(), inner), 0..6).prop_map(|fields| {
                Value::Object(
                    fields
                        .into_iter()
                        .map(|(name, value)| (name.to_owned(), value))
                        .collect(),
                )
            }),
        ]
    })
}

fn any_line() -> impl Strategy<Value = (LineSource, String)> {
    let source = prop::sample::select(vec![
        LineSource::Stdin,
        LineSource::Stdout,
        LineSource::Stdout,
        LineSource::Stdout,
        LineSource::Stderr,
    ]);
    let update = any_json().prop_map(
        |update| json!({"method": "session/update", "params": {"sessionId": "s1", "update": update}}),
    );
    let kinds = prop::sample::select(vec![
        "tool_call",
        "plan",
        "usage_update",
        "agent_message_chunk",
    ]);
    let typed = (kinds, any_json()).prop_map(|(kind, content)| {
        let mut update = json!({"sessionUpdate": kind, "toolCallId": "c"});
        for field in ["content", "rawInput", "rawOutput", "entries", "locations"] {
            update[field] = content.clone();
        }
        json!({"method": "session/update", "params": {"sessionId": "s1", "update": update}})
    });
    let answer = any_json().prop_map(|result| json!({"id": "prompt:t1", "error": result}));
    let text = prop_oneof![
        any_json().prop_map(|value| value.to_string()),
        update.prop_map(|value| value.to_string()),
        typed.prop_map(|value| value.to_string()),
        answer.prop_map(|value| value.to_string()),
        ".{0,40}",
    ];
    (source, text)
}

proptest! {
    #[test]
    fn whatever_an_agent_says_nothing_panics(lines in prop::collection::vec(any_line(), 0..30)) {
        for agent in ["claude-code", "opencode"] {
            let mut fresh = Feed::new(spec(agent));
            let mut busy = Feed::working();
            for (source, text) in &lines {
                fresh.line(*source, text);
                let _ = fresh.turn.pending();
                busy.line(*source, text);
                let _ = busy.turn.pending();
            }
        }
    }

    #[test]
    fn looking_at_what_is_to_be_sent_changes_nothing(
        lines in prop::collection::vec(any_line(), 0..30),
        at in 0_usize..30,
    ) {
        let mut whole = Feed::working();
        let mut stopped = Feed::working();
        for (number, (source, text)) in lines.iter().enumerate() {
            whole.line(*source, text);
            stopped.line(*source, text);
            if number == at {
                // A driver that died here: another one reads the same lines from the first on.
                let _ = stopped.turn.pending();
                let mut again = Feed::working();
                for (source, text) in &lines[..=number] {
                    again.line(*source, text);
                }
                prop_assert_eq!(&again.events, &stopped.events);
                stopped = again;
            }
        }
        prop_assert_eq!(whole.events, stopped.events);
        prop_assert_eq!(whole.done, stopped.done);
        prop_assert_eq!(whole.turn.pending(), stopped.turn.pending());
    }
}
