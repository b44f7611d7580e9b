//! Settings of the kernel and rights over it, by the programs that people have.

use super::attempts::Row;
use super::attempts::Who::{Everybody, User};

pub(super) const ATTEMPTS: &[Row] = &[
    (
        "a user namespace of its own",
        "unshare -U true",
        "Operation not permitted",
        Everybody,
    ),
    (
        "root in a user namespace of its own",
        "unshare -Ur true",
        "Operation not permitted",
        Everybody,
    ),
    (
        "a mount namespace of its own",
        "unshare -m true",
        "Operation not permitted",
        Everybody,
    ),
    (
        "a network namespace of its own",
        "unshare -n true",
        "Operation not permitted",
        Everybody,
    ),
    (
        "a process namespace of its own",
        "unshare -pf true",
        "Operation not permitted",
        Everybody,
    ),
    (
        "the namespaces of the supervisor",
        "nsenter -t 1 -a true",
        "Permission denied|Operation not permitted",
        Everybody,
    ),
    (
        "another root",
        "/usr/sbin/chroot / true",
        "Operation not permitted",
        Everybody,
    ),
    (
        "the kernel's log",
        "dmesg",
        "Operation not permitted",
        Everybody,
    ),
    (
        "change the host name",
        "hostname other",
        "must be root|Operation not permitted|you must be",
        Everybody,
    ),
    (
        "set the clock",
        "date -s 2001-01-01",
        "Operation not permitted",
        Everybody,
    ),
    (
        "become root",
        "su -c true </dev/null",
        "Authentication failure|authentication|Password",
        User,
    ),
    (
        "become root by its number",
        "python3 -c 'import os; os.setresuid(0, 0, 0)'",
        "Operation not permitted",
        User,
    ),
    (
        "join a group",
        "python3 -c 'import os; os.setgroups([0])'",
        "Operation not permitted",
        User,
    ),
    (
        "become root by setpriv",
        "setpriv --reuid 0 true",
        "Operation not permitted",
        User,
    ),
    (
        "a user that is none here",
        "python3 -c 'import os; os.setresuid(70000, 70000, 70000)'",
        "Invalid argument|Operation not permitted",
        Everybody,
    ),
    (
        "a file for a user of the host",
        "touch /tmp/o && python3 -c 'import os; os.chown(\"/tmp/o\", 100000, 100000)'",
        "Invalid argument|Operation not permitted",
        Everybody,
    ),
    (
        "more open files",
        "python3 -c 'import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (1 << 19, 1 << 19))'",
        "not allowed|Operation not permitted|exceeds",
        Everybody,
    ),
    (
        "core dumps",
        "python3 -c 'import resource; resource.setrlimit(resource.RLIMIT_CORE, (1 << 20, 1 << 20))'",
        "not allowed|Operation not permitted|exceeds",
        Everybody,
    ),
    (
        "a core dump that a program of the host takes",
        "python3 -c 'import resource, sys; sys.exit(0 if resource.getrlimit(resource.RLIMIT_CORE) != (1, 1) else 1)'",
        "",
        Everybody,
    ),
    (
        "the CPU before others",
        "python3 -c 'import os; os.nice(-5)'",
        "Operation not permitted|Permission denied",
        Everybody,
    ),
    (
        "to be killed after all others",
        "echo -1000 > /proc/self/oom_score_adj",
        "Permission denied",
        Everybody,
    ),
    (
        "that the supervisor is killed last",
        "echo -1000 > /proc/1/oom_score_adj",
        "Permission denied",
        Everybody,
    ),
    (
        "set the loopback down",
        "python3 -c 'import fcntl, socket, struct; fcntl.ioctl(socket.socket(), 0x8914, struct.pack(\"16sH22x\", b\"lo\", 0))'",
        "Operation not permitted",
        Everybody,
    ),
    (
        "an address of one's own",
        "python3 -c 'import fcntl, socket, struct; fcntl.ioctl(socket.socket(), 0x8916, struct.pack(\"16sHH4s16x\", b\"lo\", 2, 0, bytes([10, 0, 0, 1])))'",
        "Operation not permitted",
        Everybody,
    ),
    (
        "mark packets",
        "python3 -c 'import socket; socket.socket().setsockopt(socket.SOL_SOCKET, 36, 1)'",
        "Operation not permitted",
        Everybody,
    ),
    (
        "rules of the packet filter",
        "python3 -c 'import socket; socket.socket(2, 1).getsockopt(0, 64, 84)'",
        "Operation not permitted|Protocol not available",
        Everybody,
    ),
    (
        "a transport of one's own for connections",
        "python3 -c 'import socket; socket.socket().setsockopt(6, 31, b\"tls\")'",
        "not connected|Operation not permitted|No such file|Transport",
        Everybody,
    ),
    (
        "a setting of the network",
        "echo 1 > /proc/sys/net/ipv4/ip_forward",
        "Read-only file system|Permission denied|No such file|nonexistent",
        Everybody,
    ),
    (
        "which ports are for root",
        "echo 1024 > /proc/sys/net/ipv4/ip_unprivileged_port_start",
        "Read-only file system|Permission denied",
        Everybody,
    ),
    (
        "type into another's terminal",
        "python3 -c 'import os, fcntl; fcntl.ioctl(os.openpty()[1], 0x5412, b\"x\")'",
        "Operation not permitted",
        Everybody,
    ),
    (
        "paste into the console",
        "python3 -c 'import os, fcntl; fcntl.ioctl(os.openpty()[1], 0x541c, b\"\\x03\")'",
        "Operation not permitted",
        Everybody,
    ),
    (
        "a call of the 32-bit kind",
        "test $(uname -m) = x86_64 && python3 -c '
import ctypes, mmap, sys
m = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
m.write(b\"\\x53\\xb8\\x15\\x00\\x00\\x00\\xcd\\x80\\x5b\\xc3\")
ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(m)))()'",
        "",
        Everybody,
    ),
    (
        "the metadata service",
        "curl -sf -m 5 --noproxy '*' http://169.254.169.254/latest/",
        "",
        Everybody,
    ),
    (
        "the metadata service by the proxy",
        "curl -sf -m 5 http://169.254.169.254/latest/",
        "",
        Everybody,
    ),
    (
        "the metadata service by the proxy, its new address",
        "curl -sf -m 5 'http://[fd00:ec2::254]/latest/'",
        "",
        Everybody,
    ),
    (
        "the metadata service by a number",
        "curl -sf -m 5 http://2852039166/latest/",
        "",
        Everybody,
    ),
];
