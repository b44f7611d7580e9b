//! Why a provider refused, read from its answer as it passes, so that people learn it whatever their agent makes of it.

use std::sync::Arc;

use glass_types::SandboxId;
use serde_json::Value;

use crate::{Protocol, UsageSink};

/// An error answer beyond this is not looked into.
const LIMIT: usize = 16 * 1024;

/// A provider's refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Who asked.
    pub sandbox: SandboxId,
    /// Whose protocol.
    pub protocol: Protocol,
    /// The HTTP status.
    pub status: u16,
    /// The provider's own words.
    pub message: String,
}

/// Collects one error answer; reports it when dropped, so also when the agent went away in the middle.
pub(crate) struct RefusalReader {
    sink: Arc<dyn UsageSink>,
    sandbox: SandboxId,
    protocol: Protocol,
    status: u16,
    buffer: Vec<u8>,
}

impl RefusalReader {
    pub(crate) fn new(
        sink: Arc<dyn UsageSink>,
        sandbox: SandboxId,
        protocol: Protocol,
        status: u16,
    ) -> Self {
        let buffer = Vec::new();
        Self {
            sink,
            sandbox,
            protocol,
            status,
            buffer,
        }
    }

    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        let room = LIMIT.saturating_sub(self.buffer.len()).min(bytes.len());
        self.buffer.extend_from_slice(&bytes[..room]);
    }
}

impl Drop for RefusalReader {
    fn drop(&mut self) {
        self.sink.refused(Refusal {
            sandbox: self.sandbox.clone(),
            protocol: self.protocol,
            status: self.status,
            message: message(&self.buffer),
        });
    }
}

/// Both protocols say `{"error": {"message": …}}`; what is no JSON is shown as it is, shortened.
fn message(body: &[u8]) -> String {
    let said = serde_json::from_slice::<Value>(body)
        .ok()
        .and_then(|value| {
            let message = value
                .pointer("/error/message")
                .or_else(|| value.get("message"))?;
            message.as_str().map(str::to_owned)
        });
    let text = said.unwrap_or_else(|| String::from_utf8_lossy(body).into_owned());
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().take(500).collect()
}

#[cfg(test)]
mod tests {
    use super::message;

    #[test]
    fn the_provider_s_words_are_found() {
        let anthropic = br#"{"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key"}}"#;
        assert_eq!(message(anthropic), "invalid x-api-key");
        assert_eq!(message(br#"{"error":{"message":"no\nquota"}}"#), "no quota");
    }

    #[test]
    fn what_is_no_json_is_shown_shortened() {
        assert_eq!(
            message(b"<html>bad gateway</html>"),
            "<html>bad gateway</html>"
        );
        assert_eq!(message(b""), "");
        assert_eq!(message(&[b'x'; 9000]).len(), 500);
    }
}
