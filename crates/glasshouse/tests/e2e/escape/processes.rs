//! Processes that are not the sandbox's own.

use super::attempts::Row;
use super::attempts::Who::{Everybody, User};

pub(super) const ATTEMPTS: &[Row] = &[
    (
        "see host processes",
        "test $(ls -d /proc/[0-9]* | wc -l) -gt 40",
        "",
        Everybody,
    ),
    (
        "the first process of the host",
        "tr '\\0' ' ' < /proc/1/cmdline | grep -v glasshouse | grep -q .",
        "",
        Everybody,
    ),
    (
        "threads of the kernel",
        "grep -l kthreadd /proc/[0-9]*/comm 2>/dev/null | grep -q .",
        "",
        Everybody,
    ),
    (
        "signal the supervisor's death",
        "kill -9 1 && sleep 0.2 && ! test -d /proc/1",
        "",
        Everybody,
    ),
    (
        "stop the supervisor",
        "kill -STOP 1 && sleep 0.2 && grep -q 'State:.T' /proc/1/status",
        "",
        Everybody,
    ),
    (
        "the supervisor's environment",
        "cat /proc/1/environ | grep -q .",
        "",
        Everybody,
    ),
    (
        "the supervisor's root",
        "ls /proc/1/root/",
        "Permission denied",
        Everybody,
    ),
    (
        "the supervisor's directory",
        "ls /proc/1/cwd/",
        "Permission denied",
        Everybody,
    ),
    (
        "a file of the supervisor",
        "readlink -v /proc/1/fd/3",
        "Permission denied",
        Everybody,
    ),
    (
        "a file of the supervisor, to use",
        "exec 9<>/proc/1/fd/3",
        "Permission denied|No such device",
        Everybody,
    ),
    (
        "the supervisor's files",
        "ls /proc/1/fd/",
        "Permission denied",
        User,
    ),
    (
        "the supervisor's namespaces",
        "readlink -v /proc/1/ns/user",
        "Permission denied",
        Everybody,
    ),
    (
        "the supervisor's memory",
        "head -c 1 /proc/1/mem",
        "Permission denied",
        Everybody,
    ),
    (
        "the supervisor's map",
        "grep -q . /proc/1/maps",
        "Permission denied",
        Everybody,
    ),
    (
        "the supervisor's mapped files",
        "ls /proc/1/map_files/",
        "Permission denied",
        Everybody,
    ),
    (
        "the supervisor's program",
        "readlink -v /proc/1/exe",
        "Permission denied",
        Everybody,
    ),
    (
        "the supervisor's stack",
        "grep -q . /proc/1/stack",
        "Permission denied",
        Everybody,
    ),
    (
        "the supervisor's calls",
        "grep -q . /proc/1/syscall",
        "Permission denied|Operation not permitted",
        Everybody,
    ),
    (
        "descriptors that were left open",
        "python3 -c '
import os, sys
left = []
for fd in range(3, 4096):
    try: left.append((fd, os.readlink(f\"/proc/self/fd/{fd}\")))
    except OSError: pass
print(left); sys.exit(0 if left else 1)'",
        "",
        Everybody,
    ),
    (
        "a directory above the root",
        "test \"$(stat -c %d:%i /)\" != \"$(stat -c %d:%i /../../..)\"",
        "",
        Everybody,
    ),
    (
        "the directory that was left behind",
        "readlink /proc/self/cwd | grep -q unreachable || readlink /proc/self/root | grep -qv '^/$'",
        "",
        Everybody,
    ),
    (
        "mounts of the host",
        "grep -E ' (/var/tmp|/root|/work|/boot|/usr/lib/modules) ' /proc/self/mountinfo",
        "",
        Everybody,
    ),
    (
        "shared memory of the host",
        "tail -n +2 /proc/sysvipc/shm /proc/sysvipc/sem /proc/sysvipc/msg | grep -qE '^ +[0-9]'",
        "",
        Everybody,
    ),
    (
        "message queues of the host",
        "ls -A /dev/mqueue 2>/dev/null | grep -q .",
        "",
        Everybody,
    ),
    (
        "the name of the host",
        "test \"$(cat /proc/sys/kernel/hostname)\" != \"$(cat /etc/hostname)\"",
        "",
        Everybody,
    ),
    (
        "sockets of the host",
        "tail -n +2 /proc/net/unix | grep -E '@|/run/|/tmp/' | grep -v -E 'glasshouse|@$' | grep -q systemd",
        "",
        Everybody,
    ),
    (
        "interfaces of the host",
        "tail -n +3 /proc/net/dev | grep -v ' lo:' | grep -q .",
        "",
        Everybody,
    ),
    (
        "control groups of the host",
        "grep -vE ':/$' /proc/self/cgroup | grep -q .",
        "",
        Everybody,
    ),
];
