//! Crashes of a sandbox's app: numbered by its guest, copied from there into the list of what happened to the sandbox.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use glass_guest_protocol::app::{AppEvent, AppEventsRequest};
use glass_store::{NewSandboxEvent, SandboxEventRow, StoreError};

use super::Sandboxes;
use super::driver::Driver;

const KIND: &str = "app_crashed";
/// The guest broke the connection; it may do so again.
const PAUSE: Duration = Duration::from_secs(5);

impl Sandboxes {
    /// Copies what the guest has and what comes, until the sandbox is detached.
    pub(super) fn follow_crashes(self: &Arc<Self>, driver: &Arc<Driver>) {
        let Some(attached) = driver.attached() else {
            return;
        };
        let (this, driver) = (Arc::clone(self), Arc::clone(driver));
        self.tracker.spawn(async move {
            let copying = async {
                loop {
                    if let Err(error) = this.copy_crashes(&driver).await {
                        tracing::warn!(sandbox.id = %driver.id, %error, "cannot note a crash of an app");
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            };
            tokio::select! {
                () = copying => {}
                () = attached.token.cancelled() => {}
            }
        });
    }

    async fn copy_crashes(&self, driver: &Driver) -> Result<(), StoreError> {
        let id = &driver.id;
        let Some(row) = self.store.sandbox(id).await? else {
            return Ok(());
        };
        let last = self.store.last_sandbox_event(id, KIND).await?;
        let request = AppEventsRequest {
            from: None,
            follow: true,
        };
        let Ok(mut events) = driver.guest.app_events(&request).await else {
            return Ok(());
        };
        while let Some(Ok(event)) = events.next().await {
            // A fork brings along what happened to the sandbox that it came from.
            let is_own = event.at_ms >= row.created_at;
            if !is_own || last.as_ref().is_some_and(|last| is_noted(&event, last)) {
                continue;
            }
            let mut data = serde_json::json!(event.crash);
            data["number"] = event.number.into();
            let told = NewSandboxEvent {
                kind: KIND,
                data,
                at: event.at_ms,
            };
            self.store
                .append_sandbox_event_unless(id, &told, |last| is_noted(&event, last))
                .await?;
        }
        Ok(())
    }
}

/// Whether an event is not newer than the last one that was noted. The guest's numbers begin anew where its files were
/// lost, so the time counts, too.
fn is_noted(event: &AppEvent, last: &SandboxEventRow) -> bool {
    let number = last.data["number"].as_u64().unwrap_or(0);
    event.at_ms < last.at || (event.at_ms == last.at && event.number <= number)
}
