//! Errors as RFC 9457 problem details with stable codes.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What went wrong, as a word that never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// A field of the request is wrong; `errors` names it.
    InvalidInput,
    /// The body is not JSON of the documented form.
    InvalidJson,
    /// No token, or not a valid one.
    Unauthorized,
    /// No such sandbox.
    SandboxNotFound,
    /// No such task.
    TaskNotFound,
    /// No such snapshot.
    SnapshotNotFound,
    /// No such template.
    TemplateNotFound,
    /// No such image.
    ImageNotFound,
    /// No such agent.
    AgentNotFound,
    /// No such file or directory in the sandbox.
    FileNotFound,
    /// No such route.
    RouteNotFound,
    /// The route exists, the method does not.
    MethodNotAllowed,
    /// The sandbox's state does not allow it.
    StateConflict,
    /// Something with this name is there already.
    AlreadyExists,
    /// The body or a field is longer than allowed.
    TooLarge,
    /// The model that was asked for has no credential here.
    ModelUnavailable,
    /// The disk, of the sandbox or of the host, is full.
    DiskFull,
    /// The program could not be started in the sandbox.
    CommandNotStarted,
    /// The host lacks something that sandboxes need; `remedy` says what.
    HostUnsupported,
    /// The sandbox did not answer.
    SandboxUnavailable,
    /// The host has not enough memory free for one more sandbox. Come back after `Retry-After`.
    LowMemory,
    /// The store that archived files lie in does not answer. Come back after `Retry-After`.
    ArchiveUnavailable,
    /// A defect on our side; the log has the details.
    Internal,
}

impl Code {
    /// Every code, for documents and tests.
    pub const ALL: [Self; 23] = [
        Self::InvalidInput,
        Self::InvalidJson,
        Self::Unauthorized,
        Self::SandboxNotFound,
        Self::TaskNotFound,
        Self::SnapshotNotFound,
        Self::TemplateNotFound,
        Self::ImageNotFound,
        Self::AgentNotFound,
        Self::FileNotFound,
        Self::RouteNotFound,
        Self::MethodNotAllowed,
        Self::StateConflict,
        Self::AlreadyExists,
        Self::TooLarge,
        Self::ModelUnavailable,
        Self::DiskFull,
        Self::CommandNotStarted,
        Self::HostUnsupported,
        Self::SandboxUnavailable,
        Self::LowMemory,
        Self::ArchiveUnavailable,
        Self::Internal,
    ];

    /// The HTTP status that goes with it.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::InvalidInput | Self::ModelUnavailable | Self::CommandNotStarted => 422,
            Self::InvalidJson => 400,
            Self::Unauthorized => 401,
            Self::SandboxNotFound
            | Self::TaskNotFound
            | Self::SnapshotNotFound
            | Self::TemplateNotFound
            | Self::ImageNotFound
            | Self::AgentNotFound
            | Self::FileNotFound
            | Self::RouteNotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::StateConflict | Self::AlreadyExists => 409,
            Self::TooLarge => 413,
            Self::DiskFull => 507,
            Self::HostUnsupported | Self::Internal => 500,
            Self::SandboxUnavailable | Self::LowMemory | Self::ArchiveUnavailable => 503,
        }
    }

    /// A few words for people, the same for every error of this code.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::InvalidInput => "A field is not valid",
            Self::InvalidJson => "The body is not the JSON that is expected",
            Self::Unauthorized => "A valid API token is needed",
            Self::SandboxNotFound => "There is no such sandbox",
            Self::TaskNotFound => "There is no such task",
            Self::SnapshotNotFound => "There is no such snapshot",
            Self::TemplateNotFound => "There is no such template",
            Self::ImageNotFound => "There is no such image",
            Self::AgentNotFound => "There is no such agent",
            Self::FileNotFound => "There is no such file",
            Self::RouteNotFound => "There is no such route",
            Self::MethodNotAllowed => "The route does not take this method",
            Self::StateConflict => "The sandbox's state does not allow it",
            Self::AlreadyExists => "It exists already",
            Self::TooLarge => "The request is too large",
            Self::ModelUnavailable => "The model cannot be used here",
            Self::DiskFull => "The disk is full",
            Self::CommandNotStarted => "The command could not be started",
            Self::HostUnsupported => "This host cannot run sandboxes yet",
            Self::SandboxUnavailable => "The sandbox did not answer",
            Self::LowMemory => "The host has not enough free memory",
            Self::ArchiveUnavailable => "The archive does not answer",
            Self::Internal => "Something went wrong on the server",
        }
    }

    /// The code as it is sent.
    #[must_use]
    pub fn as_str(self) -> String {
        serde_json::to_value(self)
            .ok()
            .and_then(|v| v.as_str().map(str::to_owned))
            .unwrap_or_default()
    }
}

/// An error answer: `application/problem+json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, thiserror::Error)]
#[error("{detail}")]
pub struct Problem {
    /// A reference that names the kind of problem: `/errors/<code>`.
    #[serde(rename = "type")]
    pub kind: String,
    /// A few words, the same for every problem of this kind.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong here, naming the thing.
    pub detail: String,
    /// The stable code.
    pub code: Code,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// Seconds after which the same request may succeed; also the header `Retry-After`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
    /// The fields that are wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
}

/// One wrong field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldError {
    /// Path of the field: `limits.memory_bytes`.
    pub field: String,
    /// What was given, shortened.
    pub value: String,
    /// What is allowed.
    pub message: String,
}

impl Problem {
    /// A problem of a kind, with what is wrong here.
    #[must_use]
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("/errors/{}", code.as_str()),
            title: code.title().to_owned(),
            status: code.status(),
            detail: detail.into(),
            code,
            remedy: None,
            retry_after: None,
            errors: Vec::new(),
        }
    }

    /// A problem with one field of the request.
    #[must_use]
    pub fn field(field: &str, value: impl ToString, message: impl Into<String>) -> Self {
        let value: String = value.to_string().chars().take(128).collect();
        let message = message.into();
        let mut problem = Self::new(
            Code::InvalidInput,
            format!("{field}: {value:?} is not valid: {message}"),
        );
        problem.errors.push(FieldError {
            field: field.to_owned(),
            value,
            message,
        });
        problem
    }

    /// The same problem with what to do about it.
    #[must_use]
    pub fn with_remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// The same problem with when to come back, in seconds.
    #[must_use]
    pub fn with_retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_snake_case_and_distinct() {
        let mut words: Vec<String> = Code::ALL.iter().map(|c| c.as_str()).collect();
        assert!(words.contains(&"sandbox_not_found".to_owned()));
        words.sort();
        words.dedup();
        assert_eq!(words.len(), Code::ALL.len());
    }
}
