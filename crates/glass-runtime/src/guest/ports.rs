//! Listening ports.

use glass_guest_protocol::connect::Empty;
use glass_guest_protocol::ports::{Port, PortEvent, PortList};

use super::{GuestClient, GuestError, GuestStream};

impl GuestClient {
    /// The listening TCP sockets in the sandbox.
    ///
    /// # Errors
    /// As every call.
    pub async fn ports(&self) -> Result<Vec<Port>, GuestError> {
        let answer: PortList = self.unary("glasshouse.Ports/List", &Empty {}).await?;
        Ok(answer.ports)
    }

    /// All listening TCP sockets first, then every one that appears or vanishes.
    ///
    /// # Errors
    /// As every call.
    pub async fn watch_ports(&self) -> Result<GuestStream<PortEvent>, GuestError> {
        self.streaming("glasshouse.Ports/Watch", &Empty {}, None)
            .await
    }
}
