//! What edge and gateway ask of the server.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use glass_api::{Code, Problem};
use glass_edge::{Admission, Held, Origins, Progress, Stream, Unreachable};
use glass_gateway::{Caller, Tokens};
use glass_guest_protocol::app::{AppKind, AppLogsRequest, AppState, AppStatus};
use glass_runtime::{GuestClient, RuntimeError};
use glass_store::Store;
use glass_types::{SandboxId, Visibility};
use tokio::time::timeout;
use tokio_stream::wrappers::WatchStream;

use crate::app::{Sandboxes, UseKind, WakeStep};
use crate::clock;
use crate::error::ApiError;

/// How long a guest that says that there is no app may take to look.
const FIRST_LOOK: Duration = Duration::from_millis(300);
/// How long reading the log of an app that has failed may take.
const LOGS: Duration = Duration::from_secs(2);
/// How much of it is shown.
const LINES: usize = 12;
const LINE: usize = 300;

/// Previews lead into sandboxes.
pub(crate) struct SandboxOrigins(pub(crate) Arc<Sandboxes>);

#[async_trait]
impl Origins for SandboxOrigins {
    fn admit(
        &self,
        sandbox: &SandboxId,
        port: u16,
        passes: &[&str],
    ) -> Result<Admission, Unreachable> {
        match self.0.visibility(sandbox) {
            None => Err(Unreachable::UnknownSandbox(sandbox.to_string())),
            Some(Visibility::Public) => Ok(Admission::Public),
            Some(Visibility::Private) => {
                let keys = &self.0.previews().keys;
                let checked = keys.check(passes, sandbox, port, clock::now());
                checked.map_err(Unreachable::Denied)
            }
        }
    }

    async fn enter(&self, sandbox: &SandboxId) -> Result<Box<dyn Held>, Unreachable> {
        match self.0.awake(sandbox, UseKind::Preview).await {
            Ok(awake) => Ok(Box::new(awake)),
            Err(ApiError(problem)) if problem.code == Code::SandboxNotFound => {
                Err(Unreachable::UnknownSandbox(sandbox.to_string()))
            }
            Err(ApiError(problem)) => Err(Unreachable::Refused(refused(problem))),
        }
    }

    fn progress(&self, sandbox: &SandboxId) -> BoxStream<'static, Progress> {
        let Some(steps) = self.0.waking(sandbox) else {
            return futures::stream::empty().boxed();
        };
        WatchStream::new(steps)
            .filter_map(async |step| progress(&step))
            .boxed()
    }

    async fn connect(
        &self,
        sandbox: &SandboxId,
        port: u16,
    ) -> Result<Box<dyn Stream>, Unreachable> {
        match self.0.runtime().connect(sandbox, port).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(RuntimeError::PortClosed { .. }) => Err(self.closed(sandbox, port).await),
            // It went down between entering and this.
            Err(RuntimeError::NotRunning(_) | RuntimeError::Unknown(_)) => {
                Err(Unreachable::NotRunning {
                    sandbox: sandbox.clone(),
                    state: "stopping".to_owned(),
                })
            }
            Err(error) => Err(Unreachable::Failed(error.to_string())),
        }
    }
}

impl SandboxOrigins {
    /// Why nothing listens on a port: its app starts, has failed, or listens elsewhere.
    async fn closed(&self, sandbox: &SandboxId, port: u16) -> Unreachable {
        let open = match self.0.guest(sandbox).await {
            Ok(guest) => {
                if let Some(why) = app(&guest, sandbox).await {
                    return why;
                }
                guest.ports().await.unwrap_or_default()
            }
            Err(_) => Vec::new(),
        };
        Unreachable::PortClosed {
            sandbox: sandbox.clone(),
            port,
            open: open.into_iter().map(|port| port.port).collect(),
        }
    }
}

/// What the app of a sandbox has to do with a port that is closed, if anything.
async fn app(guest: &GuestClient, sandbox: &SandboxId) -> Option<Unreachable> {
    let status = settled(guest).await?;
    let message = status.message.as_deref().filter(|text| !text.is_empty());
    let starting = |step: &str| {
        Some(Unreachable::AppStarting {
            sandbox: sandbox.clone(),
            step: message.unwrap_or(step).to_owned(),
        })
    };
    match status.state {
        AppState::Installing => starting("Installing dependencies"),
        AppState::Building => starting("Building the app"),
        AppState::Starting => starting("Starting the app"),
        AppState::Idle if status.kind != AppKind::None => starting("Preparing the app"),
        AppState::Failed => Some(Unreachable::AppFailed {
            sandbox: sandbox.clone(),
            message: message.unwrap_or("The app has failed.").to_owned(),
            lines: last_lines(guest).await,
        }),
        AppState::Idle | AppState::Running | AppState::Stopped => None,
    }
}

/// How the app is. A guest that was started a moment ago has not looked yet, and says that there is none.
async fn settled(guest: &GuestClient) -> Option<AppStatus> {
    let mut changes = guest.watch_app().await.ok()?;
    let looks = async {
        let mut last = None;
        while let Some(Ok(status)) = changes.next().await {
            let is_blank = status == AppStatus::default();
            last = Some(status);
            if !is_blank {
                break;
            }
        }
        last
    };
    match timeout(FIRST_LOOK, looks).await {
        Ok(status) => status,
        Err(_) => Some(AppStatus::default()),
    }
}

/// What the app printed last.
async fn last_lines(guest: &GuestClient) -> Vec<String> {
    let read = async {
        let mut last = VecDeque::with_capacity(LINES);
        if let Ok(mut lines) = guest.app_logs(&AppLogsRequest::default()).await {
            while let Some(Ok(line)) = lines.next().await {
                if last.len() == LINES {
                    last.pop_front();
                }
                last.push_back(line.text.chars().take(LINE).collect());
            }
        }
        last.into()
    };
    timeout(LOGS, read).await.unwrap_or_default()
}

fn refused(problem: Problem) -> glass_edge::Problem {
    glass_edge::Problem {
        status: problem.status,
        code: problem.code.as_str(),
        title: problem.title,
        detail: problem.detail,
        remedy: problem.remedy,
        retry_after: problem.retry_after,
    }
}

/// A step in the words of the page that waits.
fn progress(step: &WakeStep) -> Option<Progress> {
    let text = match step {
        WakeStep::Resting(_) | WakeStep::Waiting => "One moment",
        WakeStep::MakingRoom => "Making room for the sandbox",
        WakeStep::Thawing => "Waking the sandbox",
        WakeStep::Fetching(_) => "Fetching the files from the archive",
        WakeStep::Starting => "Starting the sandbox",
        WakeStep::Ready => "Connecting to the app",
        WakeStep::Failed(_) => return None,
    };
    Some(Progress {
        text: text.to_owned(),
        percent: match step {
            WakeStep::Fetching(percent) => Some(*percent),
            _ => None,
        },
    })
}

/// Sandbox tokens are in the sandboxes' rows.
pub(crate) struct SandboxTokens(pub(crate) Store);

#[async_trait]
impl Tokens for SandboxTokens {
    async fn resolve(&self, token: &str) -> anyhow::Result<Option<Caller>> {
        let row = self.0.sandbox_by_token(token).await?;
        Ok(row.map(|row| Caller { sandbox: row.id }))
    }
}
