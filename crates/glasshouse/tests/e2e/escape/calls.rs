//! System calls that must be refused, made as they are.

use super::attempts::{Attempt, Who};

const NOT: &str = "EPERM";
/// As by a kernel that does not have it.
const LACKS: &str = "ENOSYS";

type Call = (&'static str, i32, i32, &'static str, &'static str);

/// What for, the numbers on x86-64 and aarch64, the arguments as Python has them, where `room` is 4096 zero bytes, and the
/// error.
const CALLS: &[Call] = &[
    (
        "a user namespace by clone",
        56,
        220,
        "0x10000000 | 17, 0, 0, 0, 0",
        NOT,
    ),
    (
        "a mount namespace by clone",
        56,
        220,
        "0x20000 | 17, 0, 0, 0, 0",
        NOT,
    ),
    (
        "a process namespace by clone",
        56,
        220,
        "0x20000000 | 17, 0, 0, 0, 0",
        NOT,
    ),
    (
        "a network namespace by clone",
        56,
        220,
        "0x40000000 | 17, 0, 0, 0, 0",
        NOT,
    ),
    (
        "a control group namespace by clone",
        56,
        220,
        "0x2000000 | 17, 0, 0, 0, 0",
        NOT,
    ),
    (
        "clone3, whose flags no filter sees",
        435,
        435,
        "room, 88",
        LACKS,
    ),
    ("a user namespace by unshare", 272, 97, "0x10000000", NOT),
    ("a mount namespace by unshare", 272, 97, "0x20000", NOT),
    ("a time namespace by unshare", 272, 97, "0x80", NOT),
    (
        "enter a namespace",
        308,
        268,
        "os.open(\"/proc/self/ns/net\", 0), 0",
        NOT,
    ),
    (
        "enter all namespaces by a process",
        308,
        268,
        "own, 0x7c020000",
        NOT,
    ),
    (
        "mount",
        165,
        40,
        "b\"none\", b\"/tmp\", b\"tmpfs\", 0, 0",
        NOT,
    ),
    (
        "make all writable again",
        165,
        40,
        "b\"none\", b\"/proc/sys\", 0, 0x1020, 0",
        NOT,
    ),
    (
        "share mounts with the host",
        165,
        40,
        "b\"none\", b\"/\", 0, 0x104000, 0",
        NOT,
    ),
    (
        "a mount of another place",
        165,
        40,
        "b\"/\", b\"/tmp\", 0, 0x1000, 0",
        NOT,
    ),
    ("unmount", 166, 39, "b\"/proc\", 2", NOT),
    ("move the root", 155, 41, "b\"/\", b\"/\"", NOT),
    ("change the root", 161, 51, "b\"/tmp\"", NOT),
    ("clone a mount", 428, 428, "-100, b\"/\", 1", NOT),
    (
        "move a mount",
        429,
        429,
        "-100, b\"/\", -100, b\"/tmp\", 0",
        NOT,
    ),
    ("open a file system", 430, 430, "b\"tmpfs\", 0", NOT),
    ("configure a file system", 431, 431, "0, 6, 0, 0, 0", NOT),
    ("mount a file system that is open", 432, 432, "0, 0, 0", NOT),
    ("pick a file system", 433, 433, "-100, b\"/\", 0", NOT),
    ("change a mount", 442, 442, "-100, b\"/\", 0, room, 32", NOT),
    (
        "list the mounts of the kernel",
        458,
        458,
        "room, room, 8, 0",
        LACKS,
    ),
    (
        "look at a mount of the kernel",
        457,
        457,
        "room, room, 256, 0",
        LACKS,
    ),
    (
        "name a file by its handle",
        303,
        264,
        "-100, b\"/\", room, room, 0",
        NOT,
    ),
    ("open a file by its handle", 304, 265, "-100, room, 0", NOT),
    ("trace the supervisor", 101, 117, "16, 1, 0, 0", NOT),
    ("seize the supervisor", 101, 117, "0x4206, 1, 0, 0", NOT),
    (
        "read the supervisor's memory",
        310,
        270,
        "1, room, 1, room, 1, 0",
        NOT,
    ),
    (
        "write the supervisor's memory",
        311,
        271,
        "1, room, 1, room, 1, 0",
        NOT,
    ),
    (
        "take the supervisor's files",
        438,
        438,
        "SUPERVISOR, 3, 0",
        NOT,
    ),
    (
        "advise the supervisor's memory",
        440,
        440,
        "SUPERVISOR, room, 1, 21, 0",
        LACKS,
    ),
    (
        "compare with the supervisor",
        312,
        272,
        "1, own, 0, 0, 0",
        NOT,
    ),
    (
        "move the supervisor's pages",
        279,
        239,
        "1, 0, 0, 0, 0, 0",
        NOT,
    ),
    (
        "move all pages of the supervisor",
        256,
        238,
        "1, 64, room, room",
        LACKS,
    ),
    ("load a module", 175, 105, "room, 256, b\"\"", NOT),
    ("load a module from a file", 313, 273, "0, b\"\", 0", NOT),
    ("unload a module", 176, 106, "b\"overlay\", 0x800", NOT),
    ("load a kernel", 246, 104, "0, 0, 0, 0", NOT),
    ("load a kernel from a file", 320, 294, "0, 0, 0, 0, 0", NOT),
    (
        "restart the machine",
        169,
        142,
        "0xfee1dead, 672274793, 0, 0",
        NOT,
    ),
    ("bpf", 321, 280, "0, room, 64", NOT),
    ("performance counters", 298, 241, "room, 0, -1, -1, 0", NOT),
    ("io_uring", 425, 425, "1, room", LACKS),
    ("io_uring, to enter", 426, 426, "0, 1, 0, 0, 0, 0", LACKS),
    (
        "asynchronous I/O, which is counted for the whole host",
        206,
        0,
        "1, room",
        LACKS,
    ),
    ("handle page faults", 323, 282, "1", LACKS),
    ("memory that the kernel cannot see", 447, 447, "0", LACKS),
    ("the keyring of the kernel", 250, 219, "0, -3, 1", NOT),
    (
        "a key of one's own",
        248,
        217,
        "b\"user\", b\"a\", b\"b\", 1, -3",
        NOT,
    ),
    (
        "a key of another",
        249,
        218,
        "b\"user\", b\"a\", 0, -3",
        NOT,
    ),
    ("the log of the kernel", 103, 116, "10, 0, 0", NOT),
    ("watch whole file systems", 300, 262, "0, 0", NOT),
    ("quotas", 179, 60, "0, 0, 0, room", NOT),
    ("quotas by a file", 443, 443, "0, 0, 0, room", NOT),
    ("swap", 167, 224, "b\"/tmp/x\", 0", NOT),
    ("no more swap", 168, 225, "b\"/tmp/x\"", NOT),
    ("accounting", 163, 89, "0", NOT),
    ("the clock", 164, 170, "room, 0", NOT),
    ("the clock by its number", 227, 112, "0, room", NOT),
    ("adjust the clock", 159, 171, "room", NOT),
    ("the host's name", 170, 161, "b\"x\", 1", NOT),
    ("the host's domain", 171, 162, "b\"x\", 1", NOT),
    ("hang up the terminal", 153, 58, "0", NOT),
    ("ports of the machine", 172, 0, "3", "EPERM|ENOSYS"),
    (
        "one port of the machine",
        173,
        0,
        "0x70, 1, 1",
        "EPERM|ENOSYS",
    ),
    (
        "segments of the processor",
        154,
        0,
        "1, room, 16",
        "EPERM|ENOSYS",
    ),
    (
        "a personality that makes all memory executable",
        135,
        92,
        "0x400000",
        NOT,
    ),
    (
        "a call of the other 64-bit kind",
        0x4000_00a5,
        0,
        "0, 0, 0, 0, 0",
        "ENOSYS|EPERM",
    ),
    (
        "more rights for oneself",
        126,
        91,
        "ctypes.create_string_buffer(b\"\\x22\\x05\\x08\\x20\" + bytes(4)), ctypes.create_string_buffer(b\"\\xff\" * 24)",
        NOT,
    ),
    ("rights that pass on", 157, 167, "47, 2, 21, 0, 0", NOT),
    (
        "another map of one's memory",
        157,
        167,
        "35, 1, 4096, 0, 0",
        NOT,
    ),
    ("undo what was given up", 157, 167, "28, 0x2f, 0, 0, 0", NOT),
    (
        "real-time scheduling",
        144,
        119,
        "0, 1, ctypes.create_string_buffer(b\"\\x63\" + bytes(3))",
        NOT,
    ),
    ("the disk before all others", 251, 30, "1, 0, 1 << 13", NOT),
    (
        "a block device",
        259,
        33,
        "-100, b\"/tmp/escape-b\", 0o60600, 0xfe00",
        NOT,
    ),
    (
        "the memory device",
        259,
        33,
        "-100, b\"/tmp/escape-c\", 0o20600, 0x101",
        NOT,
    ),
];

/// Root of a sandbox may, and harms nobody but its own supervisor.
const OF_USER: &[Call] = &[
    ("the supervisor's limits", 302, 261, "1, 7, room, 0", NOT),
    (
        "the supervisor's scheduling",
        144,
        119,
        "1, 3, room",
        "EPERM|EINVAL",
    ),
];

pub(crate) fn call(x86_64: i32, aarch64: i32, arguments: &str) -> String {
    // A fork in disguise would go on as two.
    format!(
        "python3 -c '
import ctypes, errno, os, platform
room = ctypes.create_string_buffer(4096)
call = ctypes.CDLL(None, use_errno=True).syscall
SUPERVISOR = call(434, 1, 0)
own = call(434, os.getpid(), 0)
number = {x86_64} if platform.machine() == \"x86_64\" else {aarch64}
ctypes.set_errno(0)
result = call(number, {arguments})
if result < 0: os.write(1, errno.errorcode[ctypes.get_errno()].encode())
os._exit(0 if result >= 0 else 1)'"
    )
}

pub(super) fn attempts() -> Vec<Attempt> {
    let everybody = CALLS.iter().map(|row| (row, Who::Everybody));
    let of_user = OF_USER.iter().map(|row| (row, Who::User));
    everybody
        .chain(of_user)
        .map(
            |((what, x86_64, aarch64, arguments, refusal), who)| Attempt {
                what: format!("a system call: {what}"),
                how: call(*x86_64, *aarch64, arguments),
                refusal: (*refusal).to_owned(),
                who,
            },
        )
        .collect()
}
