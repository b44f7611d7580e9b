//! Drives one turn: reads the log, says what the turn wants said, stores what it gives, until it ends.
//!
//! Everything here may happen twice. A driver that dies is started again with the same job and the number of the last
//! stored line: it reads the log from the first line, the guest ignores what it was told before, and only lines after the
//! stored one give events.
//!
//! Messages are sent when no line is waiting to be read, or after many. So a driver that catches up with a long log does not
//! repeat all that was ever said.

use std::collections::HashSet;
use std::pin::{Pin, pin};
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use glass_types::{EndReason, Event};
use tokio::time::{Instant, sleep_until};

use crate::turn::{Ending, Turn, TurnSpec, TurnUsage};
use crate::{AgentCommand, AgentLine, AgentLink, AgentManifest, EventSink, LineSource, LinkError};

/// An agent that was told to stop has this long before its process is stopped, and then again to be gone.
const CANCEL_GRACE: Duration = Duration::from_secs(10);
/// An agent that has not taken the prompt after this long never will. Generous: many may start at once on a slow machine.
const HANDSHAKE: Duration = Duration::from_secs(300);
/// A link that stays broken for so long is the caller's business.
const LINK_PATIENCE: Duration = Duration::from_secs(60);
/// Lines that are read in one go before what is to be said is said.
const BURST: usize = 256;
const BACKOFF: [Duration; 5] = [
    Duration::from_millis(50),
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
];

/// One turn to drive.
#[derive(Debug, Clone, PartialEq)]
pub struct TurnJob {
    /// The task's id.
    pub task: String,
    /// Who does it.
    pub agent: AgentManifest,
    /// Key of the agent process to use: [`TurnOutcome::process_key`] of the last turn with this agent in this sandbox, or
    /// the agent's id when there was none. The same for every attempt at this task.
    pub process_key: String,
    /// How to start it, from [`AgentManifest::command`]. Its `cwd` is the session's.
    pub command: AgentCommand,
    /// [`TurnOutcome::acp_session`] of the last turn, to go on with if the process is gone.
    pub resume_session: Option<String>,
    /// What the person said.
    pub prompt: String,
    /// The model, by the provider's name for it.
    pub model: String,
    /// The line that the last call of [`EventSink::append`] for this task stored; 0 when there was none.
    pub last_stored_line: u64,
}

/// How a turn ended. The caller stores it, with [`TurnOutcome::end`] as the task's last event, in one transaction.
#[derive(Debug, Clone, PartialEq)]
pub struct TurnOutcome {
    /// Why.
    pub reason: EndReason,
    /// What people should know.
    pub message: Option<String>,
    /// The conversation in the agent, for the next turn's [`TurnJob::resume_session`].
    pub acp_session: Option<String>,
    /// The process that did it, for the next turn's [`TurnJob::process_key`].
    pub process_key: String,
    /// What it used, as the agent counts.
    pub usage: TurnUsage,
}

impl TurnOutcome {
    /// The last event of the task. [`drive`] does not store it, so that the caller can store it together with the task's
    /// own state.
    #[must_use]
    pub fn end(&self) -> Event {
        Event::End {
            reason: self.reason,
            message: self.message.clone(),
        }
    }
}

/// A turn could not be driven to its end. It may go on in the sandbox: drive it again.
#[derive(Debug, thiserror::Error)]
pub enum DriveError {
    /// The sandbox did not answer for a minute.
    #[error("the agent in the sandbox could not be reached")]
    Link(#[source] LinkError),
    /// The events could not be stored.
    #[error("the events of the turn could not be stored")]
    Store(#[source] anyhow::Error),
}

/// Drives a turn to its end. When `cancel` completes the agent is told to stop, and after ten seconds its process is
/// stopped. Dropping the future leaves the agent at work.
///
/// # Errors
/// When the sandbox cannot be reached or events cannot be stored. Everything else is an outcome.
pub async fn drive(
    link: &dyn AgentLink,
    sink: &dyn EventSink,
    job: &TurnJob,
    cancel: impl Future<Output = ()> + Send,
) -> Result<TurnOutcome, DriveError> {
    let mut cancel = pin!(cancel.fuse());
    let mut spec = TurnSpec {
        task: job.task.clone(),
        agent: job.agent.clone(),
        model: job.model.clone(),
        prompt: job.prompt.clone(),
        cwd: job.command.cwd.clone(),
        resume_session: job.resume_session.clone(),
    };
    let mut cancelled = false;
    // A process that is gone before it took the prompt, from an earlier turn most likely, is replaced once. The key is
    // made from the task, so that every attempt at this task finds the same process.
    let second = format!("{}-{}", job.agent.id, job.task);
    let mut complaint = None;
    for key in [&job.process_key, &second] {
        let mut driver = Driver {
            link,
            sink,
            job,
            key,
            turn: Turn::new(spec.clone()),
            next_line: 1,
            sent: HashSet::new(),
            deadline: Instant::now() + HANDSHAKE,
            stopping: false,
        };
        if cancelled {
            driver.cancel();
        }
        let ending = driver.run(cancel.as_mut(), &mut cancelled).await?;
        let session = driver.turn.session().map(str::to_owned);
        if let Some(ending) = ending {
            return Ok(TurnOutcome {
                reason: ending.reason,
                message: ending.message,
                acp_session: session.or(spec.resume_session),
                process_key: key.clone(),
                usage: *driver.turn.usage(),
            });
        }
        // It may still run: one that refused to open a session, say. Not being able to stop it changes nothing here.
        let _ = link.stop(key).await;
        spec.resume_session = session.or(spec.resume_session);
        complaint = driver.turn.complaint();
        if *key == second {
            break;
        }
    }
    let words = complaint.unwrap_or_else(|| "it said nothing".to_owned());
    Ok(TurnOutcome {
        reason: if cancelled {
            EndReason::Cancelled
        } else {
            EndReason::Failed
        },
        message: Some(format!(
            "{} did not start in the sandbox: {words}. Check that the sandbox's image has it: {}",
            job.agent.name,
            job.agent
                .install
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" "),
        )),
        acp_session: spec.resume_session,
        process_key: second,
        usage: TurnUsage::default(),
    })
}

type Lines = BoxStream<'static, Result<AgentLine, LinkError>>;

/// Drives the turn on one process.
struct Driver<'a> {
    link: &'a dyn AgentLink,
    sink: &'a dyn EventSink,
    job: &'a TurnJob,
    key: &'a str,
    turn: Turn,
    next_line: u64,
    /// Keys of what the guest has taken from this driver.
    sent: HashSet<String>,
    /// When patience ends: with the handshake, or with a cancellation.
    deadline: Instant,
    /// The process was told to stop because the deadline passed.
    stopping: bool,
}

/// What came next.
enum Next {
    Line(Option<Result<AgentLine, LinkError>>),
    Cancel,
    Deadline,
}

/// Why a stretch of reading is over.
enum Stretch {
    Ended(Ending),
    Gone,
    Broken(LinkError),
}

impl Driver<'_> {
    /// Runs until the turn ends, or the process is gone without it (`None`).
    async fn run<C: Future<Output = ()> + futures::future::FusedFuture>(
        &mut self,
        mut cancel: Pin<&mut C>,
        cancelled: &mut bool,
    ) -> Result<Option<Ending>, DriveError> {
        let mut failures = 0;
        let mut broken_since = Instant::now();
        loop {
            let reached = self.next_line;
            let error = match self.stretch(cancel.as_mut(), cancelled).await? {
                Stretch::Ended(ending) => return Ok(Some(ending)),
                Stretch::Gone => return Ok(None),
                Stretch::Broken(error) => error,
            };
            match error {
                LinkError::Start(words) => return Ok(Some(self.not_startable(&words))),
                LinkError::Unknown(_) => return Ok(Some(self.lost())),
                LinkError::Broken(_) => {}
            }
            if self.stopping && Instant::now() >= self.deadline {
                return Ok(Some(self.given_up()));
            }
            if self.next_line > reached {
                failures = 0;
                broken_since = Instant::now();
            }
            if broken_since.elapsed() > LINK_PATIENCE {
                return Err(DriveError::Link(error));
            }
            tracing::debug!(task.id = %self.job.task, %error, "link to the agent broke, trying again");
            tokio::time::sleep(BACKOFF[failures.min(BACKOFF.len() - 1)]).await;
            failures += 1;
            // What was on its way when the link broke may be lost.
            self.sent.clear();
        }
    }

    /// Reads as long as the link holds.
    async fn stretch<C: Future<Output = ()> + futures::future::FusedFuture>(
        &mut self,
        mut cancel: Pin<&mut C>,
        cancelled: &mut bool,
    ) -> Result<Stretch, DriveError> {
        let mut lines = match self.attach().await {
            Ok(lines) => lines,
            Err(error) => return Ok(Stretch::Broken(error)),
        };
        let mut unsaid = 0;
        loop {
            let waiting = match self.urgent(cancel.as_mut()) {
                Some(next) => Some(next),
                None if unsaid >= BURST => None,
                None => lines.next().now_or_never().map(Next::Line),
            };
            unsaid += 1;
            let next = match waiting {
                Some(next) => next,
                None => {
                    unsaid = 0;
                    if let Err(error) = self.send_pending().await {
                        return Ok(Stretch::Broken(error));
                    }
                    self.wait(&mut lines, cancel.as_mut()).await
                }
            };
            match next {
                Next::Line(Some(Ok(line))) => {
                    if let Some(stretch) = self.on_line(&line).await? {
                        return Ok(stretch);
                    }
                }
                Next::Line(Some(Err(error))) => return Ok(Stretch::Broken(error)),
                Next::Line(None) => {
                    let error = LinkError::Broken("the agent's log broke off".to_owned());
                    return Ok(Stretch::Broken(error));
                }
                Next::Cancel => {
                    *cancelled = true;
                    self.cancel();
                }
                Next::Deadline if self.stopping => return Ok(Stretch::Ended(self.given_up())),
                Next::Deadline => {
                    if let Err(error) = self.link.stop(self.key).await {
                        return Ok(Stretch::Broken(error));
                    }
                    self.stopping = true;
                    self.deadline = Instant::now() + CANCEL_GRACE;
                }
            }
        }
    }

    async fn attach(&self) -> Result<Lines, LinkError> {
        // Lines of this task are stored, so the process was started. If the guest does not know it, it must not be started
        // anew: its lines would count from 1 again.
        if self.job.last_stored_line == 0 {
            self.link.start(self.key, &self.job.command).await?;
        }
        self.link.lines(self.key, self.next_line).await
    }

    /// What must not wait until an agent that never stops talking does.
    fn urgent<C: Future<Output = ()> + futures::future::FusedFuture>(
        &self,
        cancel: Pin<&mut C>,
    ) -> Option<Next> {
        if !cancel.is_terminated() && cancel.now_or_never().is_some() {
            return Some(Next::Cancel);
        }
        (self.is_timed() && Instant::now() >= self.deadline).then_some(Next::Deadline)
    }

    fn is_timed(&self) -> bool {
        self.stopping || self.turn.is_cancelling() || !self.turn.has_begun()
    }

    async fn wait<C: Future<Output = ()> + futures::future::FusedFuture>(
        &self,
        lines: &mut Lines,
        mut cancel: Pin<&mut C>,
    ) -> Next {
        let timed = self.is_timed();
        tokio::select! {
            biased;
            line = lines.next() => Next::Line(line),
            () = &mut cancel, if !cancel.is_terminated() => Next::Cancel,
            () = sleep_until(self.deadline), if timed => Next::Deadline,
        }
    }

    async fn send_pending(&mut self) -> Result<(), LinkError> {
        for message in self.turn.pending() {
            if !self.sent.contains(&message.once) {
                self.link
                    .send(self.key, &message.once, &message.line)
                    .await?;
                self.sent.insert(message.once);
            }
        }
        Ok(())
    }

    async fn on_line(&mut self, line: &AgentLine) -> Result<Option<Stretch>, DriveError> {
        if line.number < self.next_line {
            return Ok(None);
        }
        if line.number > self.next_line {
            let error = format!("line {} is missing from the agent's log", self.next_line);
            return Ok(Some(Stretch::Broken(LinkError::Broken(error))));
        }
        let was_cancelling = self.turn.is_cancelling();
        let step = self.turn.on_line(line);
        if line.number > self.job.last_stored_line && !step.events.is_empty() {
            let stored = self.sink.append(line.number, step.events).await;
            stored.map_err(DriveError::Store)?;
        }
        self.next_line = line.number + 1;
        if !was_cancelling && self.turn.is_cancelling() {
            // A driver before this one has told the agent to stop.
            self.deadline = Instant::now() + CANCEL_GRACE;
        }
        Ok(match step.done {
            Some(ending) => Some(Stretch::Ended(ending)),
            None if self.turn.is_gone() && self.turn.is_cancelling() => {
                Some(Stretch::Ended(cancelled()))
            }
            None if self.turn.is_gone() && self.stopping => Some(Stretch::Ended(self.given_up())),
            None if self.turn.is_gone() => Some(Stretch::Gone),
            None if line.source == LineSource::Exit => Some(Stretch::Ended(self.lost())),
            None => None,
        })
    }

    fn cancel(&mut self) {
        if !self.turn.is_cancelling() {
            self.deadline = Instant::now() + CANCEL_GRACE;
        }
        self.turn.cancel();
    }

    /// The deadline passed and stopping the process did not help.
    fn given_up(&self) -> Ending {
        if self.turn.is_cancelling() {
            return Ending {
                reason: EndReason::Cancelled,
                message: Some(
                    "the agent did not confirm; if it still works, stop the sandbox".to_owned(),
                ),
            };
        }
        Ending {
            reason: EndReason::Failed,
            message: Some(format!(
                "{} did not take the prompt within {} s{}; ask again",
                self.job.agent.name,
                HANDSHAKE.as_secs(),
                self.turn
                    .complaint()
                    .map(|words| format!(" ({words})"))
                    .unwrap_or_default(),
            )),
        }
    }

    fn not_startable(&self, words: &str) -> Ending {
        Ending {
            reason: EndReason::Failed,
            message: Some(format!(
                "{} could not be started: {words}. The sandbox's image must have it: {}",
                self.job.agent.name,
                self.job
                    .agent
                    .install
                    .split_whitespace()
                    .collect::<Vec<_>>()
                    .join(" "),
            )),
        }
    }

    fn lost(&self) -> Ending {
        if self.turn.is_cancelling() {
            return cancelled();
        }
        Ending {
            reason: EndReason::Failed,
            message: Some(format!(
                "the sandbox no longer knows the process of {}; ask again to go on",
                self.job.agent.name
            )),
        }
    }
}

const fn cancelled() -> Ending {
    Ending {
        reason: EndReason::Cancelled,
        message: None,
    }
}

#[cfg(test)]
mod tests;
