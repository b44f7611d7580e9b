//! What keeps a sandbox awake: uses, counted by kind while they last.

use std::ops::Deref;
use std::sync::Arc;

use glass_api::{Code, Problem};
use glass_runtime::GuestClient;
use glass_types::{SandboxId, SandboxState};

use super::Sandboxes;
use super::driver::{Attached, Driver};
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
    /// Begins a use; answers also whether it may go right through.
    pub(super) fn begin(driver: Arc<Driver>, kind: UseKind) -> (Self, Option<Attached>) {
        let attached = {
            let mut inner = driver.inner();
            inner.uses[kind as usize] += 1;
            inner.last_used = clock::steady();
            inner.attached.clone().filter(|_| inner.is_open)
        };
        (Self { driver, kind }, attached)
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
    /// Begins a use of a sandbox and wakes it if it rests. When it is awake this takes one lock and a counter; else it
    /// waits for the wake that all who come now share, with its outcome.
    pub(crate) async fn awake(
        self: &Arc<Self>,
        id: &SandboxId,
        kind: UseKind,
    ) -> Result<Awake, ApiError> {
        let driver = self.driver(id)?;
        let (held, attached) = Use::begin(driver, kind);
        if attached.is_none() {
            self.rouse(&held).await?;
        }
        Ok(Awake(held))
    }

    /// Begins a use of a sandbox without waking it.
    pub(crate) fn hold(&self, id: &SandboxId, kind: UseKind) -> Result<Use, ApiError> {
        let driver = self.driver(id)?;
        Ok(Use::begin(driver, kind).0)
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
