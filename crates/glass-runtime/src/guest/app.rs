//! The app.

use glass_guest_protocol::app::{
    AppAction, AppEvent, AppEventsRequest, AppLogLine, AppLogsRequest, AppProcess,
    AppProcessRequest, AppStatus,
};
use glass_guest_protocol::connect::Empty;

use super::{GuestClient, GuestError, GuestStream};

impl GuestClient {
    /// How the app is.
    ///
    /// # Errors
    /// As every call.
    pub async fn app_status(&self) -> Result<AppStatus, GuestError> {
        self.unary("glasshouse.App/Status", &Empty {}).await
    }

    /// How the app is, and again whenever that changes.
    ///
    /// # Errors
    /// As every call.
    pub async fn watch_app(&self) -> Result<GuestStream<AppStatus>, GuestError> {
        self.streaming("glasshouse.App/Watch", &Empty {}, None)
            .await
    }

    /// What the app's processes wrote.
    ///
    /// # Errors
    /// As every call.
    pub async fn app_logs(
        &self,
        request: &AppLogsRequest,
    ) -> Result<GuestStream<AppLogLine>, GuestError> {
        self.streaming("glasshouse.App/Logs", request, None).await
    }

    /// The crashes of the app's processes.
    ///
    /// # Errors
    /// As every call.
    pub async fn app_events(
        &self,
        request: &AppEventsRequest,
    ) -> Result<GuestStream<AppEvent>, GuestError> {
        self.streaming("glasshouse.App/Events", request, None).await
    }

    /// Starts, stops or restarts one process of the app, and tells how it is then.
    ///
    /// # Errors
    /// `NotFound` if the app has no such process, `Unavailable` if the app is being started anew meanwhile.
    pub async fn app_process(
        &self,
        name: &str,
        action: AppAction,
    ) -> Result<AppProcess, GuestError> {
        let request = AppProcessRequest {
            name: name.to_owned(),
            action,
        };
        self.unary("glasshouse.App/Process", &request).await
    }

    /// Stops the app, decides anew what to run, and starts it.
    ///
    /// # Errors
    /// As every call.
    pub async fn app_restart(&self) -> Result<(), GuestError> {
        let Empty {} = self.unary("glasshouse.App/Restart", &Empty {}).await?;
        Ok(())
    }
}
