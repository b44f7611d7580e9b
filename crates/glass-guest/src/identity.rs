//! Who the user is.
//!
//! Threads of the blocking pool have the user's file system identity and nothing more, so whatever opens a file of the
//! user does it there, and the kernel checks the user's permissions. The main thread keeps the guest's own identity, for
//! its state directory and to start processes.
#![expect(
    unsafe_code,
    reason = "the identity of one thread is changed by raw system calls"
)]

use std::collections::BTreeMap;

use glass_guest_protocol::connect::{Code, RpcError};
use glass_guest_protocol::{GuestConfig, RunAs};

use crate::fault;

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Whose a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum User {
    /// The sandbox's user.
    Own,
    /// Root of the sandbox.
    Root,
}

/// The user that a caller names; the sandbox's own when he names none.
pub(crate) fn user(config: &GuestConfig, name: Option<&str>) -> Result<User, RpcError> {
    let own = || config.run_as.and_then(|user| user_name(user.uid));
    match name {
        None | Some("" | "dev") => Ok(User::Own),
        Some("root") if config.sudo => Ok(User::Root),
        Some("root") => Err(RpcError::new(
            Code::PermissionDenied,
            "user root: nothing can be root in this sandbox; make one with a writable root",
        )),
        Some(name) if own().as_deref() == Some(name) => Ok(User::Own),
        Some(name) => {
            let shown: String = name.chars().take(64).collect();
            Err(fault::invalid(format!(
                "user {shown:?} is not one that programs can be started as, name dev or root"
            )))
        }
    }
}

/// Gives the calling thread the user's file system identity. The C library would change every thread, so it is not asked.
pub(crate) fn enter_as_thread(run_as: Option<RunAs>) {
    let Some(RunAs { uid, gid }) = run_as else {
        return;
    };
    // SAFETY: the calls take numbers, and an empty list that is not read.
    unsafe {
        libc::syscall(libc::SYS_setgroups, 0, std::ptr::null::<libc::gid_t>());
        libc::syscall(libc::SYS_setfsgid, gid);
        libc::syscall(libc::SYS_setfsuid, uid);
        // It answers who one is on files, and changes nothing when asked for an id that is none. gVisor does not have it;
        // there the thread becomes the user altogether.
        let none = libc::uid_t::MAX;
        if libc::syscall(libc::SYS_setfsuid, none) != libc::c_long::from(uid) {
            libc::syscall(libc::SYS_setresgid, gid, gid, gid);
            libc::syscall(libc::SYS_setresuid, uid, uid, uid);
        }
    }
}

/// Runs `work` as the user, on a thread that may block.
pub(crate) async fn as_user<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RpcError> + Send + 'static,
) -> Result<T, RpcError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(fault::internal(format!("a file operation ended: {error}"))))
}

/// The environment of every process.
pub(crate) fn environment(config: &GuestConfig, gateway_port: u16) -> BTreeMap<String, String> {
    let uid = config
        .run_as
        .map_or_else(|| rustix::process::getuid().as_raw(), |user| user.uid);
    let user = user_name(uid).unwrap_or_else(|| "dev".to_owned());
    let mut env = BTreeMap::from([
        (
            "HOME".to_owned(),
            config.home.to_string_lossy().into_owned(),
        ),
        ("USER".to_owned(), user.clone()),
        ("LOGNAME".to_owned(), user),
        ("LANG".to_owned(), "C.UTF-8".to_owned()),
        ("TERM".to_owned(), "xterm-256color".to_owned()),
        ("PATH".to_owned(), own_path(config)),
        (
            "GLASSHOUSE_GATEWAY_URL".to_owned(),
            format!("http://127.0.0.1:{gateway_port}"),
        ),
    ]);
    env.extend(
        config
            .env
            .iter()
            .filter(|(name, _)| is_variable(name))
            .map(|(name, value)| (name.clone(), value.clone())),
    );
    // An image may say HOME=/root; what persists is the user's home.
    env.insert(
        "HOME".to_owned(),
        config.home.to_string_lossy().into_owned(),
    );
    env
}

/// Without a mount namespace the programs are the host's, so its search path is right.
fn own_path(config: &GuestConfig) -> String {
    if config.run_as.is_none()
        && let Some(path) = std::env::var_os("PATH")
    {
        return path.to_string_lossy().into_owned();
    }
    PATH.to_owned()
}

/// Whether the operating system takes it as the name of a variable.
pub(crate) fn is_variable(name: &str) -> bool {
    !name.is_empty() && !name.contains(['=', '\0'])
}

fn user_name(uid: u32) -> Option<String> {
    name_in("/etc/passwd", uid)
}

/// The name that `/etc/passwd` or `/etc/group` gives to a number. Bounded, as the image's owner writes these files, and
/// never waited for, as there may be a pipe in their place.
pub(crate) fn name_in(file: &str, number: u32) -> Option<String> {
    use std::io::Read as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut text = String::new();
    let file = std::fs::File::options()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(file)
        .ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    file.take(1 << 20).read_to_string(&mut text).ok()?;
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(number)).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_in_place_of_the_users_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("passwd");
        rustix::fs::mkfifoat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::Mode::from_raw_mode(0o600),
        )
        .unwrap();
        assert_eq!(name_in(pipe.to_str().unwrap(), 0), None);
        let file = dir.path().join("group");
        std::fs::write(&file, "x\nroot:x:0:\nusers:x:100:\n").unwrap();
        assert_eq!(name_in(file.to_str().unwrap(), 100).unwrap(), "users");
    }
}
