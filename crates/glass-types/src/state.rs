//! The states of a sandbox and of a task, and who may go where.
//!
//! ```text
//! creating ─► running ⇄ frozen          frozen: memory kept, no CPU
//!    │  ▲        │  ▲      │
//!    ▼  │        ▼  │      ▼            stopped: processes gone, files kept
//!  failed     stopped ◄────┘
//!                │  ▲
//!                ▼  │
//!             archived                  archived: files in the archive, nothing here
//! any ─► destroying ─► gone (no row)
//! ```
//!
//! What is started goes through `creating`, from wherever it rests. Whose processes end by themselves is started anew if
//! it ran, and rests if it was frozen.

use std::fmt;
use std::str::FromStr;

/// Where a sandbox is in its life. The database holds it; the world is made to match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SandboxState {
    /// Its row exists; files and processes are being made.
    Creating,
    /// Its guest answers.
    Running,
    /// Memory kept, no CPU.
    Frozen,
    /// Processes gone, files kept.
    Stopped,
    /// Files moved to object storage.
    Archived,
    /// It could not be made or kept; `start` tries again.
    Failed,
    /// It is being removed.
    Destroying,
}

/// What somebody wants to happen to a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transition {
    /// The guest answered for the first time or after a start.
    Ready,
    /// Bring it up, from wherever it is.
    Start,
    /// Keep its memory, take its CPU.
    Freeze,
    /// End its processes.
    Stop,
    /// Its processes ended by themselves.
    Die,
    /// Its files are in the archive now; what is here goes.
    Archive,
    /// Its files are here again; what is in the archive may go.
    Unarchive,
    /// Something went wrong that only a new start mends.
    Fail,
    /// Remove it with all it has.
    Destroy,
}

/// A transition that the present state does not allow. A refusal, not a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cannot {transition} a sandbox that is {state}")]
pub struct Denied {
    /// The state it is in.
    pub state: SandboxState,
    /// What was asked for.
    pub transition: Transition,
}

impl Transition {
    /// Every one, for tests.
    pub const ALL: [Self; 9] = [
        Self::Ready,
        Self::Start,
        Self::Freeze,
        Self::Stop,
        Self::Die,
        Self::Archive,
        Self::Unarchive,
        Self::Fail,
        Self::Destroy,
    ];
}

impl SandboxState {
    /// Every state, for tables and tests.
    pub const ALL: [Self; 7] = [
        Self::Creating,
        Self::Running,
        Self::Frozen,
        Self::Stopped,
        Self::Archived,
        Self::Failed,
        Self::Destroying,
    ];

    /// The state that follows, or why there is none.
    ///
    /// # Errors
    /// [`Denied`] when the present state does not allow the transition.
    pub fn after(self, transition: Transition) -> Result<Self, Denied> {
        use Transition as T;
        match (transition, self) {
            (T::Destroy, _) => Ok(Self::Destroying),
            (_, Self::Destroying) => Err(Denied {
                state: self,
                transition,
            }),
            (T::Ready, Self::Creating | Self::Running)
            | (T::Start, Self::Running | Self::Frozen) => Ok(Self::Running),
            (T::Start, Self::Creating | Self::Stopped | Self::Archived | Self::Failed) => {
                Ok(Self::Creating)
            }
            (T::Freeze, Self::Running | Self::Frozen) => Ok(Self::Frozen),
            // One that is being created is stopped while it waits for room.
            (
                T::Stop,
                Self::Creating | Self::Running | Self::Frozen | Self::Stopped | Self::Failed,
            ) => Ok(Self::Stopped),
            (T::Fail, Self::Creating | Self::Running | Self::Frozen | Self::Failed) => {
                Ok(Self::Failed)
            }
            (T::Die, Self::Creating | Self::Running) => Ok(Self::Creating),
            (T::Die, Self::Frozen | Self::Stopped) => Ok(Self::Stopped),
            (T::Archive, Self::Stopped | Self::Archived) => Ok(Self::Archived),
            (T::Unarchive, Self::Archived | Self::Stopped) => Ok(Self::Stopped),
            (T::Ready | T::Freeze | T::Stop | T::Fail | T::Die | T::Archive | T::Unarchive, _) => {
                Err(Denied {
                    state: self,
                    transition,
                })
            }
        }
    }

    /// The word for it, the same in API, table and log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Running => "running",
            Self::Frozen => "frozen",
            Self::Stopped => "stopped",
            Self::Archived => "archived",
            Self::Failed => "failed",
            Self::Destroying => "destroying",
        }
    }
}

impl fmt::Display for SandboxState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for SandboxState {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|s| s.as_str() == text)
            .ok_or_else(|| format!("{text:?} is not a sandbox state"))
    }
}

impl fmt::Display for Transition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ready => "make ready",
            Self::Start => "start",
            Self::Freeze => "freeze",
            Self::Stop => "stop",
            Self::Die => "mourn",
            Self::Archive => "archive",
            Self::Unarchive => "fetch",
            Self::Fail => "fail",
            Self::Destroy => "destroy",
        })
    }
}

/// Where a task is. `queued` and `running` are open; the others are final.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TaskState {
    /// On disk, waiting for its sandbox or for the task before it.
    Queued,
    /// The agent works on it.
    Running,
    /// The agent ended its turn.
    Succeeded,
    /// It ended with an error; the task says which.
    Failed,
    /// Somebody cancelled it.
    Cancelled,
}

impl TaskState {
    /// Every state, for tables and tests.
    pub const ALL: [Self; 5] = [
        Self::Queued,
        Self::Running,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
    ];

    /// Whether nothing more will happen.
    #[must_use]
    pub fn is_final(self) -> bool {
        match self {
            Self::Queued | Self::Running => false,
            Self::Succeeded | Self::Failed | Self::Cancelled => true,
        }
    }

    /// The word for it, the same in API, table and log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for TaskState {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|s| s.as_str() == text)
            .ok_or_else(|| format!("{text:?} is not a task state"))
    }
}

#[cfg(test)]
mod tests;
