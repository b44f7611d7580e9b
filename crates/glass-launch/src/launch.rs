//! The host's side: locks the sandbox, makes its user namespace, forks its init, records it.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use glass_launch::{INIT_FILE, InitRecord, LOCK_FILE, LOG_FILE, LaunchSpec, SOCKET_FILE, StepTime};
use rustix::fs::{FlockOperation, Mode};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::process::{Pid, Signal, Uid, WaitOptions};
use rustix::thread::{CapabilitiesSecureBits, set_capabilities_secure_bits, set_thread_res_uid};

use crate::container;
use crate::failure::{Failure, Step};
use crate::steps::{self, Steps};
use crate::sys::{self, Fork};

/// What init is given besides the spec.
pub(crate) struct Given {
    pub(crate) listener: OwnedFd,
    pub(crate) log: OwnedFd,
    pub(crate) nothing: OwnedFd,
    pub(crate) users: OwnedFd,
    /// Files of cgroup v1 by which init joins, while the host's paths are gone from its sight.
    pub(crate) groups: Vec<OwnedFd>,
    pub(crate) parent: UnixStream,
    pub(crate) steps: Steps,
}

/// Starts the container; returns when its guest was executed.
pub(crate) fn launch(spec: &LaunchSpec, mut steps: Steps) -> Result<Vec<StepTime>, Failure> {
    // A session of its own: no signal to the server's process group or terminal reaches the sandbox.
    rustix::process::setsid().step("make a session")?;
    rustix::process::umask(Mode::empty());
    let _lock = lock(&spec.dir)?;
    if InitRecord::read(&spec.dir).is_some_and(|running| running.is_alive()) {
        return Ok(steps.finish());
    }
    let users = high(user_namespace(spec.uid_base)?)?;
    steps.done("lock, user namespace");
    let (parent, child) = UnixStream::pair().step("make a socket pair")?;
    let given = Given {
        listener: listen(&spec.dir)?,
        log: high(open_log(&spec.dir)?.into())?,
        nothing: high(open_null()?.into())?,
        users,
        groups: open_groups(&spec.cgroups)?,
        parent: high(child.into())?.into(),
        steps: {
            steps.done("socket, log, open control groups");
            steps.clone()
        },
    };
    let parent: UnixStream = high(parent.into())?.into();
    let namespaces = libc::CLONE_NEWNS
        | libc::CLONE_NEWNET
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWPID;
    let forked = match open_unified(&spec.cgroups)? {
        Some(group) => sys::fork_into(namespaces, group.as_fd()),
        None => sys::fork(namespaces),
    };
    match forked.step("clone into new namespaces and the cgroup")? {
        Fork::Child => {
            drop(parent);
            container::enter(spec, given)
        }
        Fork::Parent(pid) => {
            drop(given);
            let accompanied = accompany(spec, pid, parent, &mut steps);
            if accompanied.is_err() {
                discard(pid);
                drop(std::fs::remove_file(spec.dir.join(INIT_FILE)));
            }
            accompanied.map(|()| steps.finish())
        }
    }
}

/// What init says when the launcher fails; what the launcher says of that is better.
pub(crate) const LEFT_ALONE: &str = "wait for the launcher";

fn accompany(
    spec: &LaunchSpec,
    pid: i32,
    mut init: UnixStream,
    steps: &mut Steps,
) -> Result<(), Failure> {
    let recorded = record(&spec.dir, pid, &mut init);
    if recorded.is_err() {
        // It waits for the word to go on, or has ended, which may be why it could not be recorded.
        init.shutdown(Shutdown::Write).ok();
    }
    let mut words = Vec::new();
    let heard = init.read_to_end(&mut words);
    let words = String::from_utf8_lossy(&words);
    let (times, words) = words.split_once(steps::END).unwrap_or(("", &words));
    if let Some((step, reason)) = words.split_once('\n')
        && step != LEFT_ALONE
    {
        return Err(Failure {
            step: step.to_owned(),
            reason: reason.to_owned(),
        });
    }
    let record = recorded?;
    // An init that ended before it was told to go on did not read that word, so its end looks like a reset.
    if heard.is_ok() && words.is_empty() && record.is_alive() {
        steps.take_text(times);
        steps.done("execute the guest");
        return Ok(());
    }
    Err(Failure::ended())
}

fn record(dir: &Path, pid: i32, init: &mut UnixStream) -> Result<InitRecord, Failure> {
    let record = InitRecord::of(pid).map_err(|_| Failure::ended())?;
    // The record comes before the word to go on: init runs only when whoever comes later can know of it.
    write_record(dir, &record).step("write init.json")?;
    init.write_all(b"g").map_err(|_| Failure::ended())?;
    Ok(record)
}

/// Version 2 has no such file.
fn is_v1(group: &Path) -> bool {
    group.join("tasks").exists()
}

/// Moving another process, or one by its id, makes the kernel wait until every processor has passed a quiet state: some
/// milliseconds in each of the v1 hierarchies. A thread that moves itself need not wait, and init has one thread.
fn open_groups(groups: &[PathBuf]) -> Result<Vec<OwnedFd>, Failure> {
    let v1 = groups.iter().filter(|group| is_v1(group));
    v1.map(|group| {
        let opened = OpenOptions::new().write(true).open(group.join("tasks"));
        high(
            opened
                .step(format!("open cgroup {}", group.display()))?
                .into(),
        )
    })
    .collect()
}

/// The group of version 2, of which there is one hierarchy at the most.
fn open_unified(groups: &[PathBuf]) -> Result<Option<OwnedFd>, Failure> {
    let Some(group) = groups.iter().find(|group| !is_v1(group)) else {
        return Ok(None);
    };
    let opened = File::open(group).step(format!("open cgroup {}", group.display()))?;
    high(opened.into()).map(Some)
}

fn discard(pid: i32) {
    if let Some(pid) = Pid::from_raw(pid) {
        // Nothing can be done about a failure here; a child that is gone already is what is wanted.
        rustix::process::kill_process(pid, Signal::KILL).ok();
        rustix::process::waitpid(Some(pid), WaitOptions::empty()).ok();
    }
}

/// Held until the launcher has ended and init was executed or has ended, because both have the descriptor.
fn lock(dir: &Path) -> Result<OwnedFd, Failure> {
    // Not made here: a sandbox whose lock is gone is being removed.
    let file = OpenOptions::new()
        .write(true)
        .open(dir.join(LOCK_FILE))
        .step("open the lock")?;
    rustix::fs::flock(&file, FlockOperation::LockExclusive).step("lock the sandbox")?;
    high(file.into())
}

fn listen(dir: &Path) -> Result<OwnedFd, Failure> {
    let step = "bind the guest's socket";
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )
    .step(step)?;
    // The path of a socket has at most 107 bytes; a relative one is short wherever the sandbox lies.
    std::env::set_current_dir(dir).step("enter the sandbox's directory")?;
    if let Err(e) = std::fs::remove_file(SOCKET_FILE)
        && e.kind() != std::io::ErrorKind::NotFound
    {
        return Err(e).step(step);
    }
    let address = SocketAddrUnix::new(SOCKET_FILE).step(step)?;
    rustix::net::bind(&socket, &address).step(step)?;
    rustix::fs::chmod(SOCKET_FILE, Mode::from_raw_mode(0o600)).step(step)?;
    rustix::net::listen(&socket, 1024).step(step)?;
    high(socket)
}

fn open_log(dir: &Path) -> Result<File, Failure> {
    OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(dir.join(LOG_FILE))
        .step("open the guest's log")
}

fn open_null() -> Result<File, Failure> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")
        .step("open /dev/null")
}

/// A user namespace in which the ids 0..65536 are the sandbox's own range. It serves twice: for the owners of files on
/// mapped mounts, and as the namespace that init enters at last.
///
/// The first id of the range makes it, not the host's root: what the kernel counts per user, such as watchers of files,
/// it counts for the maker of a namespace, too, so all sandboxes and the host's root would share one allowance.
pub(crate) fn user_namespace(base: u32) -> Result<OwnedFd, Failure> {
    let step = "make a user namespace";
    let (mut here, mut there) = UnixStream::pair().step(step)?;
    match sys::fork(0).step(step)? {
        Fork::Child => {
            drop(here);
            let made = become_user(base).and_then(|()| sys::unshare_user());
            let error = made.map_or_else(|error| error.raw_os_error().unwrap_or(-1), |()| 0);
            let mut word = error.to_ne_bytes();
            drop(there.write_all(&word));
            // It lives only until its parent closes the other end.
            drop(there.read(&mut word));
            sys::leave()
        }
        Fork::Parent(pid) => {
            drop(there);
            let mut word = [0; 4];
            let made = here
                .read_exact(&mut word)
                .and_then(|()| match i32::from_ne_bytes(word) {
                    0 => map_users(pid, base),
                    error => Err(std::io::Error::from_raw_os_error(error)),
                });
            drop(here);
            if let Some(pid) = Pid::from_raw(pid) {
                rustix::process::waitpid(Some(pid), WaitOptions::empty()).ok();
            }
            made.step(step)
        }
    }
}

/// Another user, with root's capabilities: some hosts let nobody else make user namespaces.
fn become_user(id: u32) -> std::io::Result<()> {
    set_capabilities_secure_bits(CapabilitiesSecureBits::NO_SETUID_FIXUP)?;
    let user = Uid::from_raw(id);
    Ok(set_thread_res_uid(user, user, user)?)
}

fn map_users(pid: i32, base: u32) -> std::io::Result<OwnedFd> {
    let map = format!("0 {base} 65536\n");
    std::fs::write(format!("/proc/{pid}/uid_map"), &map)?;
    std::fs::write(format!("/proc/{pid}/gid_map"), &map)?;
    Ok(File::open(format!("/proc/{pid}/ns/user"))?.into())
}

fn write_record(dir: &Path, record: &InitRecord) -> std::io::Result<()> {
    let fresh = dir.join("init.json.new");
    std::fs::write(&fresh, serde_json::to_vec(record)?)?;
    std::fs::rename(fresh, dir.join(INIT_FILE))
}

/// Moves a descriptor out of the way of the low numbers, which init hands on.
pub(crate) fn high(fd: OwnedFd) -> Result<OwnedFd, Failure> {
    rustix::io::fcntl_dupfd_cloexec(fd.as_fd(), 10).step("move a file descriptor")
}
