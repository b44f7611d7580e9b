//! Errors as callers see them.

use std::io;

use glass_guest_protocol::connect::{Code, RpcError};

pub(crate) fn invalid(message: impl Into<String>) -> RpcError {
    RpcError::new(Code::InvalidArgument, message)
}

pub(crate) fn not_found(message: impl Into<String>) -> RpcError {
    RpcError::new(Code::NotFound, message)
}

pub(crate) fn precondition(message: impl Into<String>) -> RpcError {
    RpcError::new(Code::FailedPrecondition, message)
}

pub(crate) fn exhausted(message: impl Into<String>) -> RpcError {
    RpcError::new(Code::ResourceExhausted, message)
}

pub(crate) fn internal(message: impl Into<String>) -> RpcError {
    RpcError::new(Code::Internal, message)
}

/// What an error of the operating system at `subject` means to the caller.
pub(crate) fn io(subject: &str, error: &io::Error) -> RpcError {
    let of = |code, what: &str| RpcError::new(code, format!("{subject}: {what}"));
    match error.raw_os_error() {
        Some(libc::ENOENT) => of(Code::NotFound, "no such file or directory"),
        Some(libc::EEXIST) => of(Code::AlreadyExists, "exists already"),
        Some(libc::EACCES | libc::EPERM) => of(Code::PermissionDenied, "permission denied"),
        Some(libc::ENOSPC | libc::EDQUOT) => of(
            Code::ResourceExhausted,
            "no space left in the sandbox, remove files or raise its disk limit",
        ),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::EAGAIN) => of(
            Code::ResourceExhausted,
            &format!("{error}, end processes or raise the sandbox's limits"),
        ),
        Some(libc::ENOTDIR) => of(Code::InvalidArgument, "a part of the path is no directory"),
        Some(libc::EISDIR) => of(Code::InvalidArgument, "is a directory"),
        Some(libc::ENOTEMPTY) => of(Code::FailedPrecondition, "directory is not empty"),
        Some(libc::ENAMETOOLONG) => of(Code::InvalidArgument, "name is too long"),
        Some(libc::ELOOP) => of(Code::InvalidArgument, "too many symbolic links"),
        Some(libc::EXDEV) => of(Code::PermissionDenied, "leads out of the sandbox's home"),
        Some(libc::EROFS) => of(Code::PermissionDenied, "the file system is read-only"),
        _ => of(Code::Internal, &error.to_string()),
    }
}

/// Whether the disk is full, which HTTP has a status for.
pub(crate) fn is_full(error: &RpcError) -> bool {
    error.code == Code::ResourceExhausted && error.message.contains("no space left")
}
