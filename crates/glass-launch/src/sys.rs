//! The system calls that no safe wrapper offers.
#![expect(
    unsafe_code,
    reason = "clone, unshare, mount_setattr, seccomp, setfsuid, dup2 and the interface ioctl have no safe wrapper"
)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Which side of [`fork`] one is on.
pub(crate) enum Fork {
    Parent(i32),
    Child,
}

fn checked(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// Forks into new namespaces. Only for a process with one thread.
pub(crate) fn fork(namespaces: libc::c_int) -> io::Result<Fork> {
    let flags = libc::c_long::from(namespaces | libc::SIGCHLD);
    // SAFETY: without CLONE_VM and with no stack given this is fork: the child has its own copy of all memory. The
    // launcher has one thread, so no lock is held by a thread that the child lacks.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0_usize, 0_usize, 0_usize, 0_usize) };
    match checked(pid)? {
        0 => Ok(Fork::Child),
        pid => Ok(Fork::Parent(i32::try_from(pid).map_err(io::Error::other)?)),
    }
}

/// Moves this process into a new user namespace. Only for one with one thread.
pub(crate) fn unshare_user() -> io::Result<()> {
    // SAFETY: nothing but the credentials of this one thread changes.
    checked(libc::c_long::from(unsafe {
        libc::unshare(libc::CLONE_NEWUSER)
    }))
    .map(drop)
}

/// Forks into new namespaces, and the child is in a control group of version 2 from its first moment. Moving a process costs milliseconds,
/// because the kernel waits until every processor has passed a quiet state; being born there costs nothing.
pub(crate) fn fork_into(namespaces: libc::c_int, group: BorrowedFd<'_>) -> io::Result<Fork> {
    let number = |value: libc::c_int| u64::try_from(value).map_err(io::Error::other);
    // SAFETY: all fields are numbers, for which zero means that nothing is asked for.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = number(namespaces)? | CLONE_INTO_CGROUP;
    arguments.exit_signal = number(libc::SIGCHLD)?;
    arguments.cgroup = number(group.as_raw_fd())?;
    // SAFETY: as in `fork`; the kernel reads the given size of a structure that lives on this stack.
    let pid = unsafe {
        libc::syscall(
            libc::SYS_clone3,
            &raw const arguments,
            size_of::<libc::clone_args>(),
        )
    };
    match checked(pid)? {
        0 => Ok(Fork::Child),
        pid => Ok(Fork::Parent(i32::try_from(pid).map_err(io::Error::other)?)),
    }
}

/// Maps the owners of a detached mount by a user namespace, and makes set-user-id bits and devices on it void.
pub(crate) fn set_idmap(
    mount: BorrowedFd<'_>,
    users: BorrowedFd<'_>,
    read_only: bool,
) -> io::Result<()> {
    #[repr(C)]
    struct MountAttr {
        attr_set: u64,
        attr_clr: u64,
        propagation: u64,
        userns_fd: u64,
    }
    const MOUNT_ATTR_IDMAP: u64 = 0x0010_0000;
    const NOSUID_NODEV: u64 = 0x2 | 0x4;
    const RDONLY: u64 = 0x1;
    let attributes = MountAttr {
        attr_set: MOUNT_ATTR_IDMAP | NOSUID_NODEV | if read_only { RDONLY } else { 0 },
        attr_clr: 0,
        propagation: 0,
        userns_fd: u64::try_from(users.as_raw_fd()).map_err(io::Error::other)?,
    };
    // SAFETY: the path is a NUL-terminated constant, and the kernel reads the given size of a structure that lives on
    // this stack.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attributes,
            size_of::<MountAttr>(),
        )
    };
    checked(result).map(drop)
}

/// Installs a seccomp program. Needs `CAP_SYS_ADMIN` in the present user namespace.
pub(crate) fn install_filter(program: &[u64]) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: libc::c_ushort::try_from(program.len()).map_err(io::Error::other)?,
        filter: program.as_ptr().cast::<libc::sock_filter>().cast_mut(),
    };
    // SAFETY: `sock_filter` is eight bytes with the alignment of at most four, so `len` of them lie in the slice, which
    // outlives the call; the kernel copies and checks the program.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            0_usize,
            &raw const program,
        )
    };
    checked(result).map(drop)
}

/// Gives file descriptors the numbers from 3 on, which stay open over exec, and closes all above them there.
pub(crate) fn pass_on(fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut next: libc::c_int = 3;
    for fd in fds {
        // SAFETY: the low numbers belong to nobody: every descriptor of the launcher was opened at 10 or above.
        checked(libc::c_long::from(unsafe {
            libc::dup2(fd.as_raw_fd(), next)
        }))?;
        next += 1;
    }
    let flags = libc::c_long::from(libc::CLOSE_RANGE_CLOEXEC);
    // SAFETY: the call only marks descriptors.
    let result = unsafe { libc::syscall(libc::SYS_close_range, next, u32::MAX, flags) };
    checked(result).map(drop)
}

/// Brings up the loopback interface of the present network namespace.
pub(crate) fn loopback_up() -> io::Result<()> {
    let socket = rustix::net::socket(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::DGRAM,
        None,
    )?;
    let mut request = libc::ifreq {
        ifr_name: [0; libc::IFNAMSIZ],
        ifr_ifru: libc::__c_anonymous_ifr_ifru {
            ifru_flags: libc::c_short::try_from(libc::IFF_UP).map_err(io::Error::other)?,
        },
    };
    for (to, from) in request.ifr_name.iter_mut().zip(c"lo".to_bytes()) {
        *to = libc::c_char::from_ne_bytes([*from]);
    }
    // SAFETY: the kernel reads an `ifreq`, which lives on this stack.
    let result = unsafe {
        libc::ioctl(
            socket.as_fd().as_raw_fd(),
            libc::SIOCSIFFLAGS,
            &raw const request,
        )
    };
    checked(libc::c_long::from(result)).map(drop)
}

/// Sets whose the files are that this process makes, and on whose behalf file systems act that it mounts. Capabilities
/// stay, which the kernel would otherwise take together with user 0.
pub(crate) fn act_as(id: u32) -> io::Result<()> {
    let capabilities = rustix::thread::capabilities(None)?;
    // SAFETY: both calls take a number and touch no memory.
    unsafe {
        libc::setfsgid(id);
        libc::setfsuid(id);
    }
    Ok(rustix::thread::set_capabilities(None, capabilities)?)
}

/// Ends a forked child at once, without what the parent's exit would do.
pub(crate) fn leave() -> ! {
    // SAFETY: the call ends the process and touches no memory.
    unsafe { libc::_exit(0) }
}

/// Makes the cgroups that this process is in the root of all it and its children see.
pub(crate) fn unshare_cgroups() -> io::Result<()> {
    unshare(libc::CLONE_NEWCGROUP)
}

/// Gives this process mounts of its own.
pub(crate) fn unshare_mounts() -> io::Result<()> {
    unshare(libc::CLONE_NEWNS)
}

fn unshare(namespace: libc::c_int) -> io::Result<()> {
    // SAFETY: the flag changes a namespace only, neither memory nor file descriptors.
    checked(libc::c_long::from(unsafe { libc::unshare(namespace) })).map(drop)
}

/// Makes the signals void that ask a whole session or service to end.
pub(crate) fn ignore_requests_to_end() -> io::Result<()> {
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
        // SAFETY: no handler is installed, so no code runs in a signal's context.
        if unsafe { libc::signal(signal, libc::SIG_IGN) } == libc::SIG_ERR {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}
