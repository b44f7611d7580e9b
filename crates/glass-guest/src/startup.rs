//! What happens before there is a second thread.
#![expect(
    unsafe_code,
    reason = "changes the environment and takes over an inherited descriptor"
)]

use std::io::Write as _;
use std::os::fd::{FromRawFd as _, OwnedFd, RawFd};
use std::process::ExitCode;

use glass_guest_protocol::GuestConfig;

use crate::net::Sockets;

/// Why the guest ends.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error(
        "the environment has no {}: the guest is started by the runtime only",
        GuestConfig::VARIABLE
    )]
    NoConfig,
    #[error("{variable} is not what this guest understands: {error}", variable = GuestConfig::VARIABLE)]
    BadConfig { error: serde_json::Error },
    #[error("{what}: {error}")]
    Step { what: String, error: std::io::Error },
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl StartError {
    pub(crate) fn step(what: impl Into<String>, error: impl Into<std::io::Error>) -> Self {
        Self::Step {
            what: what.into(),
            error: error.into(),
        }
    }
}

/// Reads the configuration and makes the process fit to supervise.
pub(crate) fn configure() -> Result<(GuestConfig, Option<Sockets>), StartError> {
    let text = std::env::var_os(GuestConfig::VARIABLE).ok_or(StartError::NoConfig)?;
    let config = serde_json::from_slice(text.as_encoded_bytes())
        .map_err(|error| StartError::BadConfig { error })?;
    // SAFETY: there is one thread yet, so nobody reads the environment meanwhile.
    unsafe { std::env::remove_var(GuestConfig::VARIABLE) };
    let sockets = std::env::var_os(GuestConfig::SOCKETS);
    // SAFETY: as above.
    unsafe { std::env::remove_var(GuestConfig::SOCKETS) };
    close_on_exec();
    // Orphans come to us in the simulated backend too, so their ports are known and their end is ours to bring.
    // SAFETY: prctl with these arguments touches no memory.
    unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) };
    let sockets = sockets
        .map(|text| Sockets::inherit(&text.to_string_lossy()))
        .transpose()?;
    Ok((config, sockets))
}

/// No inherited descriptor but the standard ones may reach the user's programs.
fn close_on_exec() {
    // SAFETY: the call changes flags of descriptors only.
    unsafe {
        libc::syscall(
            libc::SYS_close_range,
            3,
            libc::c_uint::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
}

/// Takes over a descriptor that the runtime passed on.
pub(crate) fn inherited(fd: RawFd) -> Result<OwnedFd, StartError> {
    // SAFETY: fcntl with F_GETFD touches no memory.
    if fd < 3 || unsafe { libc::fcntl(fd, libc::F_GETFD) } < 0 {
        return Err(StartError::step(
            format!("listening descriptor {fd}"),
            std::io::Error::from_raw_os_error(libc::EBADF),
        ));
    }
    // SAFETY: it is open, as was just checked, and the runtime passes it to us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Tells the runtime's log why the guest ends.
pub(crate) fn complain(error: &StartError) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "glass-guest: {error}");
    ExitCode::FAILURE
}
