//! What a guest refuses, as a problem of the API.

use glass_api::{Code, Problem};
use glass_guest_protocol::connect::Code as GuestCode;
use glass_runtime::GuestError;

/// Maps the guest's code to ours; the message stays.
pub(crate) fn guest_problem(error: GuestError) -> Problem {
    let detail = error.to_string();
    match error.code() {
        GuestCode::NotFound => Problem::new(Code::FileNotFound, detail),
        GuestCode::AlreadyExists => Problem::new(Code::AlreadyExists, detail),
        GuestCode::InvalidArgument
        | GuestCode::FailedPrecondition
        | GuestCode::PermissionDenied
        | GuestCode::OutOfRange => Problem::new(Code::InvalidInput, detail),
        GuestCode::ResourceExhausted => Problem::new(Code::DiskFull, detail).with_remedy(
            "remove files in the sandbox, or make one with a larger limits.disk_bytes",
        ),
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
