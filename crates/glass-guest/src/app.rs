//! Supervision of the app in the workspace.

pub(crate) mod service;

use std::convert::Infallible;
use std::sync::Arc;

use glass_guest_protocol::app::AppStatus;
use tokio::sync::watch;

use crate::guest::Core;

/// The app.
#[derive(Debug)]
pub(crate) struct App {
    status: watch::Sender<AppStatus>,
}

impl App {
    pub(crate) fn new(_core: Arc<Core>) -> Self {
        Self {
            status: watch::Sender::new(AppStatus::default()),
        }
    }

    pub(crate) async fn run(self: Arc<Self>) -> Infallible {
        self.status.closed().await;
        std::future::pending().await
    }
}
