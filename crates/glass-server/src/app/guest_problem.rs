//! What a guest refuses, as a problem of the API.

use glass_api::{Code, Problem};
use glass_guest_protocol::connect::Code as GuestCode;
use glass_runtime::GuestError;

use crate::error::ApiError;

/// Maps the guest's code to ours; the message stays.
pub(crate) fn guest_problem(error: GuestError) -> Problem {
    let detail = error.to_string();
    let error = match error {
        // It was not asked at all; what the runtime says is not about files.
        GuestError::Runtime(error) => return ApiError::from(error).0,
        error => error,
    };
    match error.code() {
        GuestCode::NotFound => Problem::new(Code::FileNotFound, detail),
        GuestCode::AlreadyExists => Problem::new(Code::AlreadyExists, detail),
        GuestCode::InvalidArgument
        | GuestCode::FailedPrecondition
        | GuestCode::PermissionDenied
        | GuestCode::OutOfRange => Problem::new(Code::InvalidInput, detail),
        GuestCode::ResourceExhausted if detail.contains("no space left") => {
            Problem::new(Code::DiskFull, detail).with_remedy(
                "remove files in the sandbox, or make one with a larger limits.disk_bytes",
            )
        }
        // Processes, mostly; the message says what to do.
        GuestCode::ResourceExhausted => Problem::new(Code::StateConflict, detail),
        GuestCode::Canceled
        | GuestCode::Unknown
        | GuestCode::DeadlineExceeded
        | GuestCode::Aborted
        | GuestCode::Unimplemented
        | GuestCode::Internal
        | GuestCode::Unavailable
        | GuestCode::DataLoss
        | GuestCode::Unauthenticated => Problem::new(Code::SandboxUnavailable, detail),
    }
}
