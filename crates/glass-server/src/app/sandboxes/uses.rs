//! What keeps a sandbox awake: uses, counted by kind while they last.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use glass_api::{Code, Problem};
use glass_runtime::GuestClient;
use glass_types::{SandboxId, SandboxState};

use super::Sandboxes;
use super::driver::Driver;
use crate::clock;
use crate::error::ApiError;

/// What somebody does with a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UseKind {
    /// A request to a preview, or a connection that one opened.
    Preview,
    /// An open terminal.
    Terminal,
    /// A command.
    Exec,
    /// Reading or writing files.
    Files,
    /// Following logs.
    Logs,
    /// An agent at work, or a prompt that waits for one.
    Turn,
    /// Anything else that is short.
    Action,
}

impl UseKind {
    /// Every kind, in the order in which they are counted.
    pub(crate) const ALL: [Self; 7] = [
        Self::Preview,
        Self::Terminal,
        Self::Exec,
        Self::Files,
        Self::Logs,
        Self::Turn,
        Self::Action,
    ];

    /// Whether it usually ends by itself in a moment, so that a stop waits for it.
    fn is_short(self) -> bool {
        match self {
            Self::Preview | Self::Files | Self::Action => true,
            Self::Terminal | Self::Exec | Self::Logs | Self::Turn => false,
        }
    }

    /// The word for it in API and log.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Preview => "preview",
            Self::Terminal => "terminal",
            Self::Exec => "exec",
            Self::Files => "files",
            Self::Logs => "logs",
            Self::Turn => "turn",
            Self::Action => "action",
        }
    }
}

/// A use of a sandbox, as long as it is held. By itself it wakes nothing.
pub(crate) struct Use {
    pub(super) driver: Arc<Driver>,
    kind: UseKind,
}

impl Use {
    fn begin(driver: Arc<Driver>, kind: UseKind) -> Self {
        {
            let mut inner = driver.inner();
            inner.uses[kind as usize] += 1;
            inner.last_used = clock::steady();
        }
        Self { driver, kind }
    }

    /// Goes right through, if its sandbox is open. Who has done so is waited for by a stop.
    fn enter(self) -> Result<Awake, Self> {
        {
            let mut inner = self.driver.inner();
            if !inner.is_open || inner.attached.is_none() {
                drop(inner);
                return Err(self);
            }
            if self.kind.is_short() {
                inner.inside += 1;
            }
        }
        Ok(Awake(self))
    }

    /// The guest of its sandbox.
    pub(crate) fn guest(&self) -> &GuestClient {
        &self.driver.guest
    }
}

impl Drop for Use {
    fn drop(&mut self) {
        let mut inner = self.driver.inner();
        inner.uses[self.kind as usize] -= 1;
        inner.last_used = clock::steady();
    }
}

/// A use of a sandbox that is awake, and stays so as long as this is held.
pub(crate) struct Awake(Use);

impl Awake {
    /// Its guest.
    pub(crate) fn guest(&self) -> &GuestClient {
        self.0.guest()
    }
}

impl Drop for Awake {
    fn drop(&mut self) {
        if self.0.kind.is_short() {
            let driver = &self.0.driver;
            let left = {
                let mut inner = driver.inner();
                inner.inside -= 1;
                inner.inside
            };
            if left == 0 {
                driver.is_left.notify_waiters();
            }
        }
    }
}

impl Driver {
    /// Waits until the short uses that have gone through have ended, but no longer than this. Nobody else goes through
    /// meanwhile when the door is closed.
    pub(super) async fn left(&self, most: Duration) {
        let left = async {
            loop {
                let mut notified = std::pin::pin!(self.is_left.notified());
                notified.as_mut().enable();
                if self.inner().inside == 0 {
                    return;
                }
                notified.await;
            }
        };
        // Those that take longer are cut off.
        tokio::time::timeout(most, left).await.ok();
    }
}

/// Asks the guest of a sandbox that is awake anyway, and keeps nobody awake: while this is held the sandbox is not put
/// to rest, but its idle time goes on.
pub(crate) struct Look(Arc<Driver>);

impl Deref for Look {
    type Target = GuestClient;

    fn deref(&self) -> &GuestClient {
        &self.0.guest
    }
}

impl Drop for Look {
    fn drop(&mut self) {
        self.0.inner().looks -= 1;
    }
}

impl Sandboxes {
    /// Begins a use of a sandbox and wakes it if it rests. When it is awake this takes a lock and some counters; else it
    /// waits for the wake that all who come now share, with its outcome.
    pub(crate) async fn awake(
        self: &Arc<Self>,
        id: &SandboxId,
        kind: UseKind,
    ) -> Result<Awake, ApiError> {
        let driver = self.driver(id)?;
        let mut held = Use::begin(driver, kind);
        loop {
            held = match held.enter() {
                Ok(awake) => return Ok(awake),
                Err(held) => held,
            };
            self.rouse(&held).await?;
        }
    }

    /// Begins a use of a sandbox without waking it.
    pub(crate) fn hold(&self, id: &SandboxId, kind: UseKind) -> Result<Use, ApiError> {
        let driver = self.driver(id)?;
        Ok(Use::begin(driver, kind))
    }

    /// The guest of a sandbox that is awake anyway. What rests is not woken.
    pub(crate) async fn guest(&self, id: &SandboxId) -> Result<Look, ApiError> {
        let driver = self.driver(id)?;
        let state = {
            let mut inner = driver.inner();
            if inner.is_open {
                inner.looks += 1;
                None
            } else {
                Some(inner.state)
            }
        };
        let Some(state) = state else {
            return Ok(Look(driver));
        };
        let problem = match state {
            SandboxState::Creating | SandboxState::Running => Problem::new(
                Code::SandboxUnavailable,
                format!("sandbox {id} is being started"),
            )
            .with_retry_after(1),
            SandboxState::Frozen
            | SandboxState::Stopped
            | SandboxState::Archived
            | SandboxState::Failed
            | SandboxState::Destroying => {
                Problem::new(Code::StateConflict, format!("sandbox {id} is {state}"))
                    .with_remedy(format!("start it with `glasshouse start {id}`"))
            }
        };
        Err(problem.into())
    }
}
