//! Starting a program as the user.
#![expect(
    unsafe_code,
    reason = "between fork and exec the child changes its identity by system calls"
)]

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use glass_guest_protocol::RunAs;
use glass_guest_protocol::connect::{Code, RpcError};
use tokio::sync::oneshot;

use crate::fault;
use crate::guest::Core;
use crate::identity::{User, as_user, is_variable};

const CAP_SETPCAP: libc::c_int = 8;

/// A program to start.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) command: String,
    pub(crate) args: Vec<String>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) cwd: PathBuf,
    pub(crate) user: User,
}

/// Its three standard streams.
#[derive(Debug)]
pub(crate) struct Streams {
    pub(crate) stdin: Stdio,
    pub(crate) stdout: Stdio,
    pub(crate) stderr: Stdio,
    /// Whether standard input is a terminal, to become the controlling one.
    pub(crate) terminal: bool,
}

/// A program that runs. It leads a session of its own.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) pid: u32,
    /// Its wait status, when it has ended.
    pub(crate) ended: oneshot::Receiver<i32>,
}

/// Starts `program` as the user.
pub(crate) async fn start(
    core: &Core,
    program: Program,
    streams: Streams,
) -> Result<Started, RpcError> {
    let as_root = program.user == User::Root;
    let mut env = core.env.clone();
    if as_root {
        for (name, value) in [("HOME", "/root"), ("USER", "root"), ("LOGNAME", "root")] {
            env.insert(name.to_owned(), value.to_owned());
        }
    }
    if let Some(name) = program.env.keys().find(|name| !is_variable(name)) {
        return Err(fault::invalid(format!(
            "environment variable {name:?} cannot be set: a name is not empty and has no = and no zero byte"
        )));
    }
    env.extend(program.env);
    let text_is_bad = program
        .args
        .iter()
        .chain(env.values())
        .any(|text| text.contains('\0'));
    if text_is_bad {
        return Err(fault::invalid(format!(
            "an argument or variable of {:?} holds a zero byte",
            program.command
        )));
    }
    let path = env.get("PATH").cloned().unwrap_or_default();
    let (command, cwd) = (program.command, program.cwd);
    let directory = cwd.clone();
    let file = as_user(move || {
        // The user may not see what root may; then the child says so.
        if !as_root {
            check_directory(&directory)?;
        }
        find(&command, &path, &directory)
    })
    .await?;
    let mut command = Command::new(&file);
    command
        .args(&program.args)
        .env_clear()
        .envs(env)
        .stdin(streams.stdin)
        .stdout(streams.stdout)
        .stderr(streams.stderr);
    let directory = CString::new(cwd.as_os_str().as_bytes())
        .map_err(|_| fault::invalid("cwd holds a zero byte"))?;
    let run_as = match program.user {
        User::Own => core.config.run_as,
        User::Root => Some(RunAs { uid: 0, gid: 0 }),
    };
    let sudo = core.config.sudo;
    // SAFETY: `prepare` makes system calls only; it allocates nothing and takes no lock.
    unsafe { command.pre_exec(move || prepare(run_as, sudo, &directory, streams.terminal)) };
    let (child, ended) = core.reaper.spawn(&mut command).map_err(|error| {
        let name = file.display();
        match error.raw_os_error() {
            Some(libc::ENOENT) => fault::not_found(format!(
                "{name} cannot be started: its interpreter (the #! line) or loader is missing in this image"
            )),
            Some(libc::ENOEXEC) => fault::invalid(format!("{name} is not a program")),
            Some(libc::E2BIG) => fault::invalid(format!(
                "arguments and environment of {name} are too long"
            )),
            Some(libc::EAGAIN) => fault::exhausted(format!(
                "{name} cannot be started: the sandbox's limit of processes is reached"
            )),
            _ => fault::io(&name.to_string(), &error),
        }
    })?;
    Ok(Started {
        pid: child.id(),
        ended,
    })
}

fn check_directory(cwd: &Path) -> Result<(), RpcError> {
    match std::fs::metadata(cwd) {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => Err(fault::invalid(format!(
            "cwd {} is not a directory",
            cwd.display()
        ))),
        Err(error) => Err(RpcError::new(
            Code::InvalidArgument,
            format!("cwd {}: {error}", cwd.display()),
        )),
    }
}

/// The file to execute. Clients of the E2B protocol ask for bash always; an image without it has `/bin/sh`.
fn find(command: &str, path: &str, cwd: &Path) -> Result<PathBuf, RpcError> {
    if command.is_empty() {
        return Err(fault::invalid("the command is empty, name a program"));
    }
    if command.contains('\0') {
        return Err(fault::invalid("the command holds a zero byte"));
    }
    let candidate = if command.contains('/') {
        Some(cwd.join(command)).filter(|file| file.exists())
    } else {
        std::env::split_paths(OsStr::new(path))
            .map(|directory| cwd.join(directory).join(command))
            .find(|file| is_program(file))
    };
    if let Some(file) = candidate {
        return if is_program(&file) {
            Ok(file)
        } else {
            Err(RpcError::new(
                Code::PermissionDenied,
                format!("{} is not an executable file", file.display()),
            ))
        };
    }
    let is_bash = matches!(command, "bash" | "/bin/bash" | "/usr/bin/bash");
    if is_bash && is_program(Path::new("/bin/sh")) {
        return Ok(PathBuf::from("/bin/sh"));
    }
    Err(fault::not_found(format!(
        "program {command:?} was not found in this image; install it or give its path"
    )))
}

fn is_program(file: &Path) -> bool {
    std::fs::metadata(file)
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// Runs in the child: leaves everything of the guest behind.
fn prepare(run_as: Option<RunAs>, sudo: bool, cwd: &CString, terminal: bool) -> io::Result<()> {
    let check = |result: libc::c_long| {
        if result < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    };
    // SAFETY: all of these are system calls with numbers, or with a string that outlives them.
    unsafe {
        check(libc::setsid().into())?;
        if terminal {
            check(libc::ioctl(0, libc::TIOCSCTTY, 0).into())?;
        }
        if let Some(RunAs { uid, gid }) = run_as {
            // Before the identity changes, which takes the right to do it away. The first unknown one ends it.
            let mut capability = 0;
            while libc::prctl(libc::PR_CAPBSET_READ, capability, 0, 0, 0) >= 0 {
                // What `sudo` may give was bounded by the launcher. The guest alone keeps one capability more: nobody
                // may trace a process that can do what he cannot.
                if !sudo || capability == CAP_SETPCAP {
                    check(libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0).into())?;
                }
                capability += 1;
            }
            check(libc::syscall(
                libc::SYS_setgroups,
                0,
                std::ptr::null::<libc::gid_t>(),
            ))?;
            check(libc::syscall(libc::SYS_setresgid, gid, gid, gid))?;
            check(libc::syscall(libc::SYS_setresuid, uid, uid, uid))?;
            if !sudo {
                check(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0).into())?;
            }
        }
        libc::umask(0o022);
        // After the change of identity, which would clear it. Without a pid namespace it is what ends our children.
        check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0).into())?;
        check(libc::chdir(cwd.as_ptr()).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_named() {
        let error = find("no-such-thing", "/usr/bin:/bin", Path::new("/")).unwrap_err();
        assert_eq!(error.code, Code::NotFound);
        assert!(error.message.contains("\"no-such-thing\""), "{error}");
    }

    #[test]
    fn a_directory_is_not_a_program() {
        let error = find("/usr", "", Path::new("/")).unwrap_err();
        assert_eq!(error.code, Code::PermissionDenied);
    }
}
