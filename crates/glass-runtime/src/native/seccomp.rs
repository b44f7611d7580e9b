//! The system calls that a sandbox may make.
//!
//! Three programs: the first allows what is known to be harmless and answers the rest as a kernel that lacks it; the
//! second refuses by name what programs do try, and the third what they take for a part that the kernel may lack, each
//! with the error that they expect. Where several refuse, the last one's error counts.

use std::collections::BTreeMap;

use glass_launch::LaunchSpec;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch,
};

#[cfg(target_arch = "x86_64")]
const ARCH: TargetArch = TargetArch::x86_64;
#[cfg(target_arch = "aarch64")]
const ARCH: TargetArch = TargetArch::aarch64;

pub(crate) const NAMESPACES: [libc::c_int; 8] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWCGROUP,
    // CLONE_NEWTIME, only for unshare and setns: for clone the same bit is part of the exit signal.
    0x80,
];

/// The old way to a packet socket: the kernel takes it in the internet family too.
const SOCK_PACKET: libc::c_int = 10;
const IPPROTO_L2TP: libc::c_int = 115;

/// As Docker: plain Linux, 32 bit, without address randomisation as debuggers and build tools ask, and the query.
pub(crate) const PERSONALITIES: [u64; 6] = [0x0, 0x8, 0x2_0000, 0x2_0008, 0x4_0000, 0xffff_ffff];

macro_rules! calls {
    ($($name:ident)*) => { vec![$((stringify!($name), libc::$name)),*] };
}

/// `SYS_` and the name of a system call, and its number.
type Call = (&'static str, libc::c_long);

/// The programs in the launcher's form, in the order in which they are to be installed.
pub(super) fn filters() -> Result<Vec<u8>, BackendError> {
    let allow = SeccompFilter::new(
        allowed()
            .into_iter()
            .map(|(_, call)| (call, vec![]))
            .collect(),
        SeccompAction::Errno(errno(libc::ENOSYS)),
        SeccompAction::Allow,
        ARCH,
    )?;
    let refuse = SeccompFilter::new(
        refused()?,
        SeccompAction::Allow,
        SeccompAction::Errno(errno(libc::EPERM)),
        ARCH,
    )?;
    let lack = SeccompFilter::new(
        BTreeMap::from([(libc::SYS_socket, lacking()?)]),
        SeccompAction::Allow,
        SeccompAction::Errno(errno(libc::EPROTONOSUPPORT)),
        ARCH,
    )?;
    let programs: Vec<Vec<u64>> = [allow, refuse, lack]
        .into_iter()
        .map(|filter| Ok(words(&BpfProgram::try_from(filter)?)))
        .collect::<Result<_, BackendError>>()?;
    Ok(LaunchSpec::encode_filters(&programs))
}

/// The names of what is allowed whatever its arguments, and of what is refused by [`libc::EPERM`]. What has rules for its
/// arguments is in neither.
pub(crate) fn names() -> (Vec<&'static str>, Vec<&'static str>) {
    const RULED: [&str; 5] = ["clone", "unshare", "socket", "socketpair", "personality"];
    let plain = |calls: Vec<Call>| {
        let names = calls
            .into_iter()
            .map(|(name, _)| name.trim_start_matches("SYS_"));
        names.filter(|name| !RULED.contains(name)).collect()
    };
    (plain(allowed()), plain(refused_always()))
}

fn errno(number: libc::c_int) -> u32 {
    number.unsigned_abs()
}

/// Instructions as the kernel has them in memory; both architectures are little-endian.
fn words(program: &BpfProgram) -> Vec<u64> {
    program
        .iter()
        .map(|i| {
            u64::from(i.code) | u64::from(i.jt) << 16 | u64::from(i.jf) << 24 | u64::from(i.k) << 32
        })
        .collect()
}

/// What no argument makes harmless.
fn refused_always() -> Vec<Call> {
    let mut calls = calls![
        SYS_mount SYS_umount2 SYS_pivot_root SYS_open_tree SYS_move_mount SYS_fsopen SYS_fsconfig
        SYS_fsmount SYS_fspick SYS_mount_setattr SYS_setns SYS_bpf SYS_perf_event_open
        SYS_kexec_load SYS_kexec_file_load SYS_init_module SYS_finit_module SYS_delete_module SYS_keyctl SYS_add_key
        SYS_request_key SYS_quotactl SYS_quotactl_fd SYS_swapon SYS_swapoff SYS_reboot SYS_settimeofday
        SYS_clock_settime SYS_clock_adjtime SYS_adjtimex SYS_name_to_handle_at SYS_open_by_handle_at SYS_acct
        SYS_syslog SYS_sethostname SYS_setdomainname SYS_vhangup SYS_chroot
        SYS_move_pages SYS_fanotify_init SYS_lookup_dcookie SYS_nfsservctl
        SYS_process_vm_writev SYS_process_vm_readv SYS_kcmp
    ];
    #[cfg(target_arch = "x86_64")]
    calls.extend(calls![SYS_iopl SYS_ioperm SYS_modify_ldt SYS_uselib SYS_ustat SYS_sysfs]);
    calls
}

fn refused() -> Result<BTreeMap<i64, Vec<SeccompRule>>, BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = refused_always()
        .into_iter()
        .map(|(_, call)| (call, vec![]))
        .collect();
    let mut unshare = Vec::new();
    let mut clone = Vec::new();
    for flag in NAMESPACES {
        let bit = u64::from(flag.unsigned_abs());
        let set = |argument| has_bit(argument, bit);
        unshare.push(SeccompRule::new(vec![set(0)?])?);
        if flag != 0x80 {
            clone.push(SeccompRule::new(vec![set(0)?])?);
        }
    }
    rules.insert(libc::SYS_unshare, unshare);
    rules.insert(libc::SYS_clone, clone);
    rules.insert(libc::SYS_socket, sockets()?);
    rules.insert(libc::SYS_socketpair, sockets()?);
    rules.insert(libc::SYS_personality, personalities()?);
    // TIOCSTI types into another's terminal, TIOCLINUX into the host's console.
    rules.insert(
        libc::SYS_ioctl,
        vec![
            SeccompRule::new(vec![equals(1, 0x5412)?])?,
            SeccompRule::new(vec![equals(1, 0x541C)?])?,
        ],
    );
    Ok(rules)
}

/// Allowed are unix sockets, the common internet ones, and netlink's routing family, which lists addresses. What is left
/// of the internet family is reached by few programs and through much of the kernel.
fn sockets() -> Result<Vec<SeccompRule>, BackendError> {
    let differs = |argument, value: libc::c_int| {
        SeccompCondition::new(
            argument,
            SeccompCmpArgLen::Dword,
            SeccompCmpOp::Ne,
            u64::from(value.unsigned_abs()),
        )
    };
    let kind = |value: libc::c_int| {
        // The upper bits of the type are flags such as SOCK_CLOEXEC.
        SeccompCondition::new(
            1,
            SeccompCmpArgLen::Dword,
            SeccompCmpOp::MaskedEq(0xf),
            u64::from(value.unsigned_abs()),
        )
    };
    let mut rules = vec![
        SeccompRule::new(vec![
            differs(0, libc::AF_UNIX)?,
            differs(0, libc::AF_INET)?,
            differs(0, libc::AF_INET6)?,
            differs(0, libc::AF_NETLINK)?,
        ])?,
        SeccompRule::new(vec![
            equals(0, u64::from(libc::AF_NETLINK.unsigned_abs()))?,
            differs(2, libc::NETLINK_ROUTE)?,
        ])?,
    ];
    for family in [libc::AF_INET, libc::AF_INET6] {
        let of_family = || equals(0, u64::from(family.unsigned_abs()));
        for refused in [libc::SOCK_RAW, libc::SOCK_DCCP, SOCK_PACKET] {
            rules.push(SeccompRule::new(vec![of_family()?, kind(refused)?])?);
        }
        for refused in [libc::IPPROTO_SCTP, libc::IPPROTO_DCCP, IPPROTO_L2TP] {
            let protocol = equals(2, u64::from(refused.unsigned_abs()))?;
            rules.push(SeccompRule::new(vec![of_family()?, protocol])?);
        }
    }
    Ok(rules)
}

/// The kernel's audit, which `sudo` and all else that logs in people tells of them where there is one.
fn lacking() -> Result<Vec<SeccompRule>, BackendError> {
    Ok(vec![SeccompRule::new(vec![
        equals(0, u64::from(libc::AF_NETLINK.unsigned_abs()))?,
        equals(2, u64::from(libc::NETLINK_AUDIT.unsigned_abs()))?,
    ])?])
}

fn personalities() -> Result<Vec<SeccompRule>, BackendError> {
    let mut conditions = Vec::new();
    for known in PERSONALITIES {
        conditions.push(SeccompCondition::new(
            0,
            SeccompCmpArgLen::Dword,
            SeccompCmpOp::Ne,
            known,
        )?);
    }
    Ok(vec![SeccompRule::new(conditions)?])
}

fn has_bit(argument: u8, bit: u64) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(
        argument,
        SeccompCmpArgLen::Qword,
        SeccompCmpOp::MaskedEq(bit),
        bit,
    )
}

fn equals(argument: u8, value: u64) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value)
}

fn allowed() -> Vec<Call> {
    let mut calls = calls![
        SYS_accept SYS_accept4 SYS_bind SYS_brk SYS_capget SYS_capset SYS_chdir SYS_clock_getres SYS_clock_gettime
        SYS_clock_nanosleep SYS_clone SYS_close SYS_close_range SYS_connect SYS_copy_file_range SYS_dup SYS_dup3
        SYS_epoll_create1 SYS_epoll_ctl SYS_epoll_pwait SYS_epoll_pwait2 SYS_eventfd2 SYS_execve SYS_execveat SYS_exit
        SYS_exit_group SYS_faccessat SYS_faccessat2 SYS_fadvise64 SYS_fallocate SYS_fchdir SYS_fchmod SYS_fchmodat
        SYS_fchown SYS_fchownat SYS_fcntl SYS_fdatasync SYS_fgetxattr SYS_flistxattr SYS_flock
        SYS_fremovexattr SYS_fsetxattr SYS_fstat SYS_fstatfs SYS_fsync SYS_ftruncate SYS_futex SYS_futex_waitv
        SYS_get_mempolicy SYS_set_mempolicy SYS_mbind SYS_get_robust_list SYS_getcpu SYS_getcwd SYS_getdents64
        SYS_getegid SYS_geteuid SYS_getgid SYS_getgroups SYS_getitimer SYS_getpeername SYS_getpgid SYS_getpid
        SYS_getppid SYS_getpriority SYS_getrandom SYS_getresgid SYS_getresuid SYS_getrusage SYS_getsid
        SYS_getsockname SYS_getsockopt SYS_gettid SYS_gettimeofday SYS_getuid SYS_getxattr SYS_inotify_add_watch
        SYS_inotify_init1 SYS_inotify_rm_watch
        SYS_ioctl SYS_ioprio_get SYS_ioprio_set SYS_kill SYS_landlock_add_rule SYS_landlock_create_ruleset
        SYS_landlock_restrict_self SYS_lgetxattr SYS_linkat SYS_listen SYS_listxattr SYS_llistxattr SYS_lremovexattr
        SYS_lseek SYS_lsetxattr SYS_madvise SYS_membarrier SYS_memfd_create SYS_mincore SYS_mkdirat SYS_mknodat
        SYS_mlock SYS_mlock2 SYS_mlockall SYS_mmap SYS_mprotect SYS_mq_getsetattr SYS_mq_notify SYS_mq_open
        SYS_mq_timedreceive SYS_mq_timedsend SYS_mq_unlink SYS_mremap SYS_msgctl SYS_msgget SYS_msgrcv SYS_msgsnd
        SYS_msync SYS_munlock SYS_munlockall SYS_munmap SYS_nanosleep SYS_newfstatat SYS_openat SYS_openat2
        SYS_personality SYS_pidfd_open SYS_pidfd_send_signal SYS_pidfd_getfd SYS_pipe2 SYS_pkey_alloc SYS_pkey_free
        SYS_pkey_mprotect SYS_ppoll SYS_prctl SYS_pread64 SYS_preadv SYS_preadv2 SYS_prlimit64 SYS_process_mrelease
        SYS_pselect6 SYS_ptrace SYS_pwrite64 SYS_pwritev SYS_pwritev2 SYS_read SYS_readahead SYS_readlinkat SYS_readv
        SYS_recvfrom SYS_recvmmsg SYS_recvmsg SYS_remap_file_pages SYS_removexattr SYS_renameat2
        SYS_restart_syscall SYS_rseq SYS_rt_sigaction SYS_rt_sigpending SYS_rt_sigprocmask SYS_rt_sigqueueinfo
        SYS_rt_sigreturn SYS_rt_sigsuspend SYS_rt_sigtimedwait SYS_rt_tgsigqueueinfo SYS_sched_get_priority_max
        SYS_sched_get_priority_min SYS_sched_getaffinity SYS_sched_getattr SYS_sched_getparam SYS_sched_getscheduler
        SYS_sched_rr_get_interval SYS_sched_setaffinity SYS_sched_setattr SYS_sched_setparam SYS_sched_setscheduler
        SYS_sched_yield SYS_seccomp SYS_semctl SYS_semget SYS_semop SYS_semtimedop SYS_sendfile SYS_sendmmsg
        SYS_sendmsg SYS_sendto SYS_set_robust_list SYS_set_tid_address SYS_setfsgid SYS_setfsuid SYS_setgid
        SYS_setgroups SYS_setitimer SYS_setpgid SYS_setpriority SYS_setregid SYS_setresgid SYS_setresuid SYS_setreuid
        SYS_setsid SYS_setsockopt SYS_setuid SYS_setxattr SYS_shmat SYS_shmctl SYS_shmdt SYS_shmget
        SYS_shutdown SYS_sigaltstack SYS_signalfd4 SYS_socket SYS_socketpair SYS_splice SYS_statfs SYS_statx
        SYS_symlinkat SYS_sync SYS_syncfs SYS_sysinfo SYS_tee SYS_tgkill SYS_timer_create
        SYS_timer_delete SYS_timer_getoverrun SYS_timer_gettime SYS_timer_settime SYS_timerfd_create
        SYS_timerfd_gettime SYS_timerfd_settime SYS_times SYS_tkill SYS_truncate SYS_umask SYS_uname SYS_unlinkat
        SYS_unshare SYS_utimensat SYS_vmsplice SYS_wait4 SYS_waitid SYS_write SYS_writev
    ];
    #[cfg(target_arch = "x86_64")]
    calls.extend(calls![
        SYS_access SYS_alarm SYS_arch_prctl SYS_chmod SYS_chown SYS_creat SYS_dup2 SYS_epoll_create SYS_epoll_wait
        SYS_eventfd SYS_fork SYS_futimesat SYS_getdents SYS_getpgrp SYS_inotify_init SYS_lchown SYS_link SYS_lstat
        SYS_mkdir SYS_mknod SYS_open SYS_pause SYS_pipe SYS_poll SYS_readlink SYS_rename SYS_rmdir SYS_select
        SYS_set_thread_area SYS_get_thread_area SYS_signalfd SYS_stat SYS_symlink SYS_time SYS_unlink SYS_utime
        SYS_utimes SYS_vfork SYS_fchmodat2 SYS_getrlimit SYS_renameat SYS_setrlimit SYS_sync_file_range
    ]);
    // The crate does not name these here.
    #[cfg(target_arch = "aarch64")]
    calls.extend([
        ("SYS_fchmodat2", 452),
        ("SYS_getrlimit", 163),
        ("SYS_renameat", 38),
        ("SYS_setrlimit", 164),
        ("SYS_sync_file_range", 84),
    ]);
    calls
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_programs_fit_the_kernel() {
        let programs = LaunchSpec::decode_filters(&filters().unwrap()).unwrap();
        assert_eq!(programs.len(), 3);
        for (program, least) in programs.into_iter().zip([100, 100, 5]) {
            let length = program.len();
            assert!(length > least && length < 4096, "{length}");
        }
    }

    #[test]
    fn new_ways_around_the_checks_do_not_exist() {
        let allowed = allowed();
        for call in [
            libc::SYS_clone3,
            libc::SYS_io_uring_setup,
            libc::SYS_userfaultfd,
            // One count of the kernel bounds it for the whole host, so one sandbox could take it from all others.
            libc::SYS_io_setup,
            libc::SYS_mount,
        ] {
            assert!(allowed.iter().all(|(_, number)| *number != call));
        }
    }
}
