//! What answers cost, read from the bytes as they pass.

use std::sync::Arc;
use std::time::Duration;

use glass_types::SandboxId;
use http::StatusCode;
use serde_json::Value;

use crate::{Protocol, Refusal};

/// A line of an event stream, or a whole JSON answer, beyond this is not looked into.
const LIMIT: usize = 4 * 1024 * 1024;

/// The tokens of one answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// Who asked.
    pub sandbox: SandboxId,
    /// Whose protocol.
    pub protocol: Protocol,
    /// The model that answered, as the provider names it.
    pub model: Option<String>,
    /// Tokens sent, without those of the cache for Anthropic.
    pub input_tokens: u64,
    /// Tokens received.
    pub output_tokens: u64,
    /// Tokens read from the provider's cache.
    pub cache_read_tokens: u64,
    /// Tokens written to the provider's cache.
    pub cache_write_tokens: u64,
}

/// Is told what every answer of a provider used, and why a provider refused.
pub trait UsageSink: Send + Sync + 'static {
    /// Called once for each answer that named its usage, when it ended or was given up. Must not block.
    fn record(&self, usage: Usage) {
        drop(usage);
    }

    /// Called once for each model request when the head of its answer is known: whoever answered, and with what. Must not
    /// block.
    fn answered(&self, protocol: Protocol, status: StatusCode, took: Duration) {
        let _ = (protocol, status, took);
    }

    /// Called once for each request that a provider answered with an error. Must not block.
    fn refused(&self, refusal: Refusal) {
        drop(refusal);
    }
}

/// Nobody counts.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoUsage;

impl UsageSink for NoUsage {}

/// Reads the usage of one answer; reports it when dropped, so also when the agent went away in the middle.
pub(crate) struct UsageReader {
    sink: Arc<dyn UsageSink>,
    usage: Usage,
    seen: bool,
    events: bool,
    buffer: Vec<u8>,
    /// The line is too long; its rest is passed over.
    skipping: bool,
}

impl UsageReader {
    /// `events`: the answer is an event stream, else one JSON text.
    pub(crate) fn new(
        sink: Arc<dyn UsageSink>,
        sandbox: SandboxId,
        protocol: Protocol,
        events: bool,
    ) -> Self {
        Self {
            sink,
            usage: Usage {
                sandbox,
                protocol,
                model: None,
                input_tokens: 0,
                output_tokens: 0,
                cache_read_tokens: 0,
                cache_write_tokens: 0,
            },
            seen: false,
            events,
            buffer: Vec::new(),
            skipping: false,
        }
    }

    pub(crate) fn feed(&mut self, mut bytes: &[u8]) {
        if !self.events {
            self.keep(bytes);
            return;
        }
        while let Some(end) = bytes.iter().position(|&byte| byte == b'\n') {
            self.keep(&bytes[..end]);
            self.line();
            bytes = &bytes[end + 1..];
        }
        self.keep(bytes);
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.skipping || self.buffer.len() + bytes.len() > LIMIT {
            self.skipping = true;
            self.buffer = Vec::new();
        } else {
            self.buffer.extend_from_slice(bytes);
        }
    }

    fn line(&mut self) {
        let line = std::mem::take(&mut self.buffer);
        self.skipping = false;
        if let Some(data) = line.strip_prefix(b"data:")
            && contains(data, b"\"usage\"")
        {
            self.value(data);
        }
    }

    fn value(&mut self, json: &[u8]) {
        let Ok(value) = serde_json::from_slice::<Value>(json) else {
            return;
        };
        // Anthropic's first event wraps the message, the last event of Responses the response.
        let holder = ["message", "response"]
            .iter()
            .find_map(|key| value.get(key))
            .unwrap_or(&value);
        if let Some(model) = holder.get("model").and_then(Value::as_str) {
            self.usage.model = Some(model.to_owned());
        }
        let Some(usage) = holder.get("usage").filter(|usage| usage.is_object()) else {
            return;
        };
        self.seen = true;
        let number = |paths: &[&str]| {
            paths
                .iter()
                .find_map(|path| usage.pointer(path).and_then(Value::as_u64))
        };
        // Later events repeat and complete what earlier ones said.
        let mut set = |field: fn(&mut Usage) -> &mut u64, value: Option<u64>| {
            if let Some(value) = value {
                *field(&mut self.usage) = value;
            }
        };
        set(
            |usage| &mut usage.input_tokens,
            number(&["/input_tokens", "/prompt_tokens"]),
        );
        set(
            |usage| &mut usage.output_tokens,
            number(&["/output_tokens", "/completion_tokens"]),
        );
        set(
            |usage| &mut usage.cache_read_tokens,
            number(&[
                "/cache_read_input_tokens",
                "/prompt_tokens_details/cached_tokens",
                "/input_tokens_details/cached_tokens",
            ]),
        );
        set(
            |usage| &mut usage.cache_write_tokens,
            number(&["/cache_creation_input_tokens"]),
        );
    }
}

impl Drop for UsageReader {
    fn drop(&mut self) {
        if !self.events {
            let json = std::mem::take(&mut self.buffer);
            self.value(&json);
        }
        if self.seen {
            self.sink.record(self.usage.clone());
        }
    }
}

fn contains(bytes: &[u8], what: &[u8]) -> bool {
    bytes.windows(what.len()).any(|window| window == what)
}
