use std::collections::BTreeMap;
use std::future::{pending, ready};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use glass_types::Event;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::*;
use crate::AgentRegistry;

/// How the agent behind the fake guest behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    Polite,
    /// Takes the prompt and is never heard of again.
    Deaf,
    /// Says nothing from the start.
    Mute,
    /// Ends at once.
    Broken,
}

#[derive(Debug, Clone)]
struct Process {
    manner: Manner,
    log: Vec<AgentLine>,
    taken: HashSet<String>,
}

impl Process {
    fn log(&mut self, source: LineSource, text: impl ToString) {
        self.log.push(AgentLine {
            number: self.log.len() as u64 + 1,
            source,
            text: text.to_string(),
        });
    }

    fn hear(&mut self, line: &str) {
        self.log(LineSource::Stdin, line);
        let message: Value = serde_json::from_str(line).unwrap();
        let id = &message["id"];
        match (self.manner, message["method"].as_str().unwrap_or_default()) {
            (Manner::Mute, _) => {}
            (Manner::Broken, _) => {
                self.log(LineSource::Stderr, "cannot find module");
                self.log(LineSource::Exit, "exit status 1");
            }
            (_, "initialize") => {
                let can = json!({"agentCapabilities": {"loadSession": true}});
                self.log(LineSource::Stdout, json!({"id": id, "result": can}));
            }
            (_, "session/new") => {
                self.log(
                    LineSource::Stdout,
                    json!({"id": id, "result": {"sessionId": "s1"}}),
                );
            }
            (_, "session/load") => {
                self.say("s1", "history");
                self.log(LineSource::Stdout, json!({"id": id, "result": {}}));
            }
            (Manner::Polite, "session/prompt") => {
                for word in ["one ", "two ", "three ", "four"] {
                    self.say("s1", word);
                }
                self.log(
                    LineSource::Stdout,
                    json!({"id": id, "result": {"stopReason": "end_turn"}}),
                );
            }
            _ => {}
        }
    }

    fn say(&mut self, session: &str, text: &str) {
        let update = json!({"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": text}});
        let params = json!({"sessionId": session, "update": update});
        self.log(
            LineSource::Stdout,
            json!({"method": "session/update", "params": params}),
        );
    }

    fn is_over(&self) -> bool {
        self.log
            .last()
            .is_some_and(|line| line.source == LineSource::Exit)
    }
}

/// A guest in memory, whose link can break.
#[derive(Debug, Clone)]
struct Guest {
    processes: Arc<Mutex<BTreeMap<String, Process>>>,
    grown: Arc<watch::Sender<()>>,
    manner: Manner,
    /// Each stream breaks after so many lines; every second message is taken but its answer is lost.
    frail: Option<usize>,
    sends: Arc<Mutex<usize>>,
}

impl Guest {
    fn new(manner: Manner) -> Self {
        Self {
            processes: Arc::default(),
            grown: Arc::new(watch::Sender::new(())),
            manner,
            frail: None,
            sends: Arc::default(),
        }
    }

    fn with<T>(&self, key: &str, act: impl FnOnce(&mut Process) -> T) -> Result<T, LinkError> {
        let mut processes = self.processes.lock().unwrap();
        let process = processes.get_mut(key);
        let result = process
            .map(act)
            .ok_or_else(|| LinkError::Unknown(key.to_owned()));
        self.grown.send_replace(());
        result
    }

    fn kill(&self, key: &str) {
        self.with(key, |process| process.log(LineSource::Exit, "signal 9"))
            .unwrap();
    }

    /// What was sent to a process, by method.
    fn heard(&self, key: &str) -> Vec<String> {
        let log = self.with(key, |process| process.log.clone()).unwrap();
        log.iter()
            .filter(|line| line.source == LineSource::Stdin)
            .map(|line| serde_json::from_str::<Value>(&line.text).unwrap())
            .map(|message| message["method"].as_str().unwrap_or("reply").to_owned())
            .collect()
    }
}

#[async_trait]
impl AgentLink for Guest {
    async fn start(&self, key: &str, command: &AgentCommand) -> Result<(), LinkError> {
        if command.argv[0] == "missing" {
            return Err(LinkError::Start("no such file".to_owned()));
        }
        self.processes
            .lock()
            .unwrap()
            .entry(key.to_owned())
            .or_insert_with(|| Process {
                manner: self.manner,
                log: Vec::new(),
                taken: HashSet::new(),
            });
        Ok(())
    }

    async fn send(&self, key: &str, once: &str, line: &str) -> Result<(), LinkError> {
        self.with(key, |process| {
            if process.taken.insert(once.to_owned()) && !process.is_over() {
                process.hear(line);
            }
        })?;
        let mut sends = self.sends.lock().unwrap();
        *sends += 1;
        if self.frail.is_some() && sends.is_multiple_of(2) {
            return Err(LinkError::Broken("cut".to_owned()));
        }
        Ok(())
    }

    async fn lines(&self, key: &str, from: u64) -> Result<Lines, LinkError> {
        self.with(key, |_| ())?;
        let first = usize::try_from(from).unwrap() - 1;
        let state = (self.clone(), key.to_owned(), self.grown.subscribe(), first);
        let last = self.frail.map(|lines| first + lines);
        Ok(Box::pin(futures::stream::unfold(
            state,
            move |(guest, key, mut grown, at)| async move {
                if last == Some(at) {
                    return None;
                }
                loop {
                    grown.borrow_and_update();
                    let log = guest.processes.lock().unwrap()[&key].log.clone();
                    match log.get(at) {
                        Some(line) => return Some((Ok(line.clone()), (guest, key, grown, at + 1))),
                        None if log
                            .last()
                            .is_some_and(|line| line.source == LineSource::Exit) =>
                        {
                            return None;
                        }
                        None => grown.changed().await.ok()?,
                    }
                }
            },
        )))
    }

    async fn stop(&self, key: &str) -> Result<(), LinkError> {
        self.with(key, |process| {
            if !process.is_over() {
                process.log(LineSource::Exit, "signal 9");
            }
        })
    }
}

/// Keeps events; refuses the append with number `fails_at`.
#[derive(Debug, Default)]
struct Kept {
    events: Mutex<Vec<(u64, Vec<Event>)>>,
    fails_at: Option<usize>,
}

impl Kept {
    fn text(&self) -> String {
        let events = self.events.lock().unwrap();
        let deltas = events
            .iter()
            .flat_map(|(_, events)| events)
            .filter_map(|event| match event {
                Event::Text { delta } => Some(delta.as_str()),
                _ => None,
            });
        deltas.collect()
    }

    fn last_line(&self) -> u64 {
        self.events
            .lock()
            .unwrap()
            .last()
            .map_or(0, |(line, _)| *line)
    }
}

#[async_trait]
impl EventSink for Kept {
    async fn append(&self, line: u64, events: Vec<Event>) -> anyhow::Result<()> {
        let mut kept = self.events.lock().unwrap();
        if self.fails_at == Some(kept.len()) {
            anyhow::bail!("the disk is full");
        }
        assert!(
            kept.last().is_none_or(|(last, _)| *last < line),
            "lines go up"
        );
        kept.push((line, events));
        Ok(())
    }
}

fn job() -> TurnJob {
    let registry = AgentRegistry::load(None).unwrap();
    TurnJob {
        task: "t1".into(),
        agent: registry.get("opencode").unwrap().clone(),
        process_key: "opencode".into(),
        command: AgentCommand {
            argv: vec!["opencode".into()],
            env: BTreeMap::new(),
            cwd: "/w".into(),
        },
        resume_session: None,
        prompt: "hello".into(),
        model: "demo".into(),
        last_stored_line: 0,
    }
}

const ANSWER: &str = "one two three four";

#[tokio::test]
async fn a_turn_is_driven_to_its_end() {
    let (guest, sink) = (Guest::new(Manner::Polite), Kept::default());
    let outcome = drive(&guest, &sink, &job(), pending()).await.unwrap();
    assert_eq!(outcome.reason, EndReason::Completed);
    assert_eq!(outcome.acp_session.as_deref(), Some("s1"));
    assert_eq!(outcome.process_key, "opencode");
    assert_eq!(sink.text(), ANSWER);
    assert_eq!(
        guest.heard("opencode"),
        ["initialize", "session/new", "session/prompt"]
    );
}

#[tokio::test]
async fn turns_share_a_process() {
    let (guest, first, second) = (Guest::new(Manner::Polite), Kept::default(), Kept::default());
    drive(&guest, &first, &job(), pending()).await.unwrap();
    let next = TurnJob {
        task: "t2".into(),
        ..job()
    };
    drive(&guest, &second, &next, pending()).await.unwrap();
    assert_eq!(second.text(), ANSWER);
    assert!(second.events.lock().unwrap()[0].0 > first.last_line());
    let heard = guest.heard("opencode");
    assert_eq!(
        heard,
        [
            "initialize",
            "session/new",
            "session/prompt",
            "session/prompt"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_frail_link_loses_and_repeats_nothing() {
    for lines in 1..6 {
        let guest = Guest {
            frail: Some(lines),
            ..Guest::new(Manner::Polite)
        };
        let sink = Kept::default();
        let outcome = drive(&guest, &sink, &job(), pending()).await.unwrap();
        assert_eq!(outcome.reason, EndReason::Completed);
        assert_eq!(sink.text(), ANSWER);
        assert_eq!(
            guest.heard("opencode"),
            ["initialize", "session/new", "session/prompt"]
        );
    }
}

#[tokio::test]
async fn a_driver_that_died_is_followed_by_one_that_goes_on() {
    for fails_at in 0..5 {
        let guest = Guest::new(Manner::Polite);
        let first = Kept {
            fails_at: Some(fails_at),
            ..Kept::default()
        };
        let error = drive(&guest, &first, &job(), pending()).await.unwrap_err();
        assert!(matches!(error, DriveError::Store(_)), "{error:?}");
        let again = TurnJob {
            last_stored_line: first.last_line(),
            ..job()
        };
        let second = Kept::default();
        let outcome = drive(&guest, &second, &again, pending()).await.unwrap();
        assert_eq!(outcome.reason, EndReason::Completed);
        assert_eq!(first.text() + &second.text(), ANSWER, "after {fails_at}");
        assert_eq!(guest.heard("opencode").len(), 3);
    }
}

#[tokio::test]
async fn a_dead_process_is_replaced_and_its_session_loaded() {
    let guest = Guest::new(Manner::Polite);
    drive(&guest, &Kept::default(), &job(), pending())
        .await
        .unwrap();
    guest.kill("opencode");
    let (sink, next) = (
        Kept::default(),
        TurnJob {
            task: "t2".into(),
            ..job()
        },
    );
    let outcome = drive(&guest, &sink, &next, pending()).await.unwrap();
    assert_eq!(outcome.reason, EndReason::Completed);
    assert_eq!(outcome.process_key, "opencode-t2");
    assert_eq!(
        guest.heard("opencode-t2"),
        ["initialize", "session/load", "session/prompt"]
    );
    assert_eq!(sink.text(), ANSWER);
    // The same task driven again finds the same process and says nothing twice.
    let again = TurnJob {
        last_stored_line: sink.last_line(),
        ..next
    };
    let replay = Kept::default();
    let outcome = drive(&guest, &replay, &again, pending()).await.unwrap();
    assert_eq!(outcome.process_key, "opencode-t2");
    assert_eq!(replay.text(), "");
}

#[tokio::test]
async fn an_agent_that_does_not_start_says_why() {
    let guest = Guest::new(Manner::Broken);
    let outcome = drive(&guest, &Kept::default(), &job(), pending())
        .await
        .unwrap();
    assert_eq!(outcome.reason, EndReason::Failed);
    let message = outcome.message.unwrap();
    assert!(message.contains("cannot find module"), "{message}");
    assert!(message.contains("opencode-linux-x64"), "{message}");
}

#[tokio::test]
async fn a_missing_program_is_named() {
    let mut job = job();
    job.command.argv = vec!["missing".into()];
    let guest = Guest::new(Manner::Polite);
    let outcome = drive(&guest, &Kept::default(), &job, pending())
        .await
        .unwrap();
    assert_eq!(outcome.reason, EndReason::Failed);
    assert!(outcome.message.unwrap().contains("no such file"));
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_ignores_a_cancellation_is_stopped() {
    let guest = Guest::new(Manner::Deaf);
    let start = Instant::now();
    let cancel = tokio::time::sleep(Duration::from_secs(5));
    let outcome = drive(&guest, &Kept::default(), &job(), cancel)
        .await
        .unwrap();
    assert_eq!(outcome.reason, EndReason::Cancelled);
    let seconds = start.elapsed().as_secs();
    assert_eq!(seconds, 15, "five until the cancellation, ten of grace");
    assert_eq!(guest.heard("opencode").last().unwrap(), "session/cancel");
    assert!(guest.with("opencode", |process| process.is_over()).unwrap());
}

#[tokio::test]
async fn a_turn_cancelled_at_once_never_reaches_the_model() {
    let guest = Guest::new(Manner::Polite);
    let outcome = drive(&guest, &Kept::default(), &job(), ready(()))
        .await
        .unwrap();
    assert_eq!(outcome.reason, EndReason::Cancelled);
    assert!(
        !guest
            .heard("opencode")
            .contains(&"session/prompt".to_owned())
    );
}

#[tokio::test]
async fn a_lost_log_does_not_start_the_work_anew() {
    let guest = Guest::new(Manner::Polite);
    let job = TurnJob {
        last_stored_line: 7,
        ..job()
    };
    let outcome = drive(&guest, &Kept::default(), &job, pending())
        .await
        .unwrap();
    assert_eq!(outcome.reason, EndReason::Failed);
    assert!(outcome.message.unwrap().contains("no longer knows"));
    assert!(guest.processes.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_never_answers_is_given_up() {
    let guest = Guest::new(Manner::Mute);
    let outcome = drive(&guest, &Kept::default(), &job(), pending())
        .await
        .unwrap();
    assert_eq!(outcome.reason, EndReason::Failed);
    assert!(
        outcome
            .message
            .unwrap()
            .contains("did not take the prompt within 300 s")
    );
}

/// A sandbox that cannot be reached.
#[derive(Debug)]
struct Nowhere;

#[async_trait]
impl AgentLink for Nowhere {
    async fn start(&self, _: &str, _: &AgentCommand) -> Result<(), LinkError> {
        Err(LinkError::Broken("refused".to_owned()))
    }

    async fn send(&self, _: &str, _: &str, _: &str) -> Result<(), LinkError> {
        Err(LinkError::Broken("refused".to_owned()))
    }

    async fn lines(&self, _: &str, _: u64) -> Result<Lines, LinkError> {
        Err(LinkError::Broken("refused".to_owned()))
    }

    async fn stop(&self, _: &str) -> Result<(), LinkError> {
        Err(LinkError::Broken("refused".to_owned()))
    }
}

#[tokio::test(start_paused = true)]
async fn an_unreachable_sandbox_is_the_callers_business_after_a_minute() {
    let start = Instant::now();
    let error = drive(&Nowhere, &Kept::default(), &job(), pending())
        .await
        .unwrap_err();
    assert!(matches!(error, DriveError::Link(_)), "{error:?}");
    assert!((60..70).contains(&start.elapsed().as_secs()));
}
