//! By what metrics are told apart.

use prometheus_client::encoding::EncodeLabelSet;

/// What was done with a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Operation {
    Create,
    Thaw,
    Freeze,
    Archive,
    Start,
    Stop,
    Snapshot,
    Restore,
    Destroy,
}

impl Operation {
    fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Thaw => "thaw",
            Self::Freeze => "freeze",
            Self::Archive => "archive",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Snapshot => "snapshot",
            Self::Restore => "restore",
            Self::Destroy => "destroy",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct State {
    pub(super) state: &'static str,
}

fn outcome(is_ok: bool) -> &'static str {
    if is_ok { "ok" } else { "error" }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Done {
    operation: &'static str,
    outcome: &'static str,
}

impl Done {
    pub(super) fn new(operation: Operation, is_ok: bool) -> Self {
        Self {
            operation: operation.as_str(),
            outcome: outcome(is_ok),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Demoted {
    pub(super) step: &'static str,
    pub(super) class: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Kind {
    pub(super) kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Answered {
    pub(super) protocol: &'static str,
    pub(super) status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Tokens {
    pub(super) protocol: &'static str,
    pub(super) kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Stored {
    outcome: &'static str,
}

impl Stored {
    pub(super) fn new(is_ok: bool) -> Self {
        Self {
            outcome: outcome(is_ok),
        }
    }
}
