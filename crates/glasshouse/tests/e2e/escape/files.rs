//! Files of the host, of the supervisor and of the image.

use super::attempts::Row;
use super::attempts::Who::{Everybody, NoRoot, User};

pub(super) const ATTEMPTS: &[Row] = &[
    (
        "mount a tmpfs",
        "mkdir -p /tmp/m && mount -t tmpfs none /tmp/m",
        "permission denied|must be superuser",
        Everybody,
    ),
    (
        "mount proc",
        "mkdir -p /tmp/p && mount -t proc none /tmp/p",
        "permission denied|must be superuser",
        Everybody,
    ),
    (
        "mount a control group, for its release agent",
        "mkdir -p /tmp/g && mount -t cgroup -o rdma none /tmp/g",
        "permission denied|must be superuser",
        Everybody,
    ),
    (
        "mount the control groups of version 2",
        "mkdir -p /tmp/g && mount -t cgroup2 none /tmp/g",
        "permission denied|must be superuser",
        Everybody,
    ),
    (
        "mount a disk of the host",
        "mkdir -p /tmp/d && mount -t ext4 /dev/vda /tmp/d",
        "permission denied|must be superuser|does not exist",
        Everybody,
    ),
    (
        "mount debugfs",
        "mkdir -p /tmp/b && mount -t debugfs none /tmp/b",
        "permission denied|must be superuser",
        Everybody,
    ),
    (
        "mount tracefs",
        "mkdir -p /tmp/b && mount -t tracefs none /tmp/b",
        "permission denied|must be superuser",
        Everybody,
    ),
    (
        "mount securityfs",
        "mkdir -p /tmp/b && mount -t securityfs none /tmp/b",
        "permission denied|must be superuser",
        Everybody,
    ),
    (
        "mount sysfs",
        "mkdir -p /tmp/b && mount -t sysfs none /tmp/b",
        "permission denied|must be superuser",
        Everybody,
    ),
    (
        "mount an overlay over layers",
        "mkdir -p /tmp/u /tmp/w /tmp/o && mount -t overlay -o lowerdir=/,upperdir=/tmp/u,workdir=/tmp/w none /tmp/o",
        "permission denied|must be superuser",
        Everybody,
    ),
    (
        "bind the root elsewhere",
        "mkdir -p /tmp/r && mount --bind / /tmp/r",
        "permission denied|must be superuser",
        Everybody,
    ),
    (
        "make /proc/sys writable",
        "mount -o remount,rw /proc/sys",
        "permission denied|must be superuser",
        Everybody,
    ),
    (
        "unmount proc",
        "umount /proc",
        "permission denied|must be superuser",
        Everybody,
    ),
    (
        "unmount what hides a door of the kernel",
        "umount /proc/sysrq-trigger",
        "permission denied|must be superuser|No such file",
        Everybody,
    ),
    (
        "the release agent",
        "find / -name release_agent 2>/dev/null | grep -q .",
        "",
        Everybody,
    ),
    (
        "write the control groups",
        "find / -xdev -name cgroup.procs 2>/dev/null | grep -q . || find /sys -name cgroup.procs | grep -q .",
        "",
        Everybody,
    ),
    ("a file of sysfs", "ls -A /sys | grep -q .", "", Everybody),
    (
        "write to sysfs",
        "touch /sys/x",
        "Read-only file system|Permission denied",
        Everybody,
    ),
    (
        "read kernel memory",
        "head -c 64 /proc/kcore | grep -q .",
        "",
        Everybody,
    ),
    (
        "magic sysrq",
        "[ \"$(stat -c %t:%T /proc/sysrq-trigger)\" != 1:3 ] && echo h > /proc/sysrq-trigger",
        "",
        Everybody,
    ),
    (
        "where core dumps go",
        "echo '|/tmp/x' > /proc/sys/kernel/core_pattern",
        "Read-only file system|Permission denied",
        Everybody,
    ),
    (
        "which program loads modules",
        "echo /tmp/x > /proc/sys/kernel/modprobe",
        "Read-only file system|Permission denied|No such file",
        Everybody,
    ),
    (
        "how the host handles memory",
        "echo 3 > /proc/sys/vm/drop_caches",
        "Read-only file system|Permission denied",
        Everybody,
    ),
    (
        "that the host panics",
        "echo 1 > /proc/sys/vm/panic_on_oom",
        "Read-only file system|Permission denied",
        Everybody,
    ),
    (
        "formats of programs",
        "echo ':x:M::x::/tmp/x:' > /proc/sys/fs/binfmt_misc/register",
        "Read-only file system|Permission denied|No such file|nonexistent",
        Everybody,
    ),
    (
        "interrupts to processors",
        "ls /proc/irq/*/smp_affinity | head -1 | xargs -I{} sh -c 'echo 1 > {}' && test -e /proc/irq",
        "Read-only file system|Permission denied|No such file|nonexistent",
        Everybody,
    ),
    (
        "the bus of the machine",
        "f=$(find /proc/bus/pci -type f -size +0 2>/dev/null | head -1); echo x > ${f:-/proc/bus/x}",
        "Read-only file system|Permission denied|No such file|nonexistent|Directory",
        Everybody,
    ),
    (
        "which interrupts come when",
        "grep -q . /proc/interrupts",
        "",
        Everybody,
    ),
    ("the kernel's keys", "grep -q . /proc/keys", "", Everybody),
    (
        "timers of the host",
        "grep -q . /proc/timer_list",
        "",
        Everybody,
    ),
    (
        "where the kernel lies",
        "grep -qv '^0000000000000000 ' /proc/kallsyms",
        "",
        Everybody,
    ),
    (
        "memory of the kernel by pages",
        "head -c 8 /proc/kpageflags | grep -q .",
        "",
        Everybody,
    ),
    (
        "allocations of the kernel",
        "grep -q 0x /proc/vmallocinfo",
        "",
        Everybody,
    ),
    (
        "addresses of memory",
        "python3 -c 'import os, sys; f = os.open(\"/proc/self/pagemap\", 0); page = os.pread(f, 8, 8 * (id(f) // 4096)); sys.exit(0 if int.from_bytes(page, \"little\") & ((1 << 55) - 1) else 1)'",
        "",
        Everybody,
    ),
    (
        "the machine's tables",
        "ls -A /proc/acpi /proc/scsi 2>/dev/null | grep -v : | grep -q .",
        "",
        Everybody,
    ),
    (
        "a device node",
        "mknod /tmp/sda b 8 0",
        "Operation not permitted",
        Everybody,
    ),
    (
        "a character device",
        "mknod /tmp/mem c 1 1",
        "Operation not permitted",
        Everybody,
    ),
    (
        "a block device in the home",
        "mknod /home/dev/loop b 7 0",
        "Operation not permitted",
        Everybody,
    ),
    (
        "a device in shared memory",
        "mknod /dev/shm/kmsg c 1 11",
        "Operation not permitted",
        Everybody,
    ),
    (
        "a device in /dev",
        "mknod /dev/mem c 1 1",
        "Read-only file system|Operation not permitted",
        Everybody,
    ),
    (
        "a host disk",
        "ls /dev/vd* /dev/sd* /dev/nvme* /dev/dm-* /dev/mapper 2>/dev/null | grep -q .",
        "",
        Everybody,
    ),
    (
        "the memory of the machine",
        "exec 3<>/dev/mem",
        "No such file|Permission denied|Read-only|nonexistent",
        Everybody,
    ),
    (
        "the log device",
        "exec 3<>/dev/kmsg",
        "No such file|Permission denied|Read-only|nonexistent",
        Everybody,
    ),
    (
        "virtual machines",
        "exec 3<>/dev/kvm",
        "No such file|Permission denied|Read-only|nonexistent",
        Everybody,
    ),
    (
        "tunnels",
        "exec 3<>/dev/net/tun",
        "No such file|Permission denied|Read-only|nonexistent",
        Everybody,
    ),
    (
        "file systems in user space",
        "exec 3<>/dev/fuse",
        "No such file|Permission denied|Read-only|nonexistent",
        Everybody,
    ),
    (
        "the loop device of the disk",
        "ls /dev/loop* /dev/loop-control 2>/dev/null | grep -q .",
        "",
        Everybody,
    ),
    (
        "a loop device of one's own",
        "truncate -s 1M /tmp/l && /usr/sbin/losetup -f /tmp/l",
        "cannot find|Permission denied|No such file|failed",
        Everybody,
    ),
    (
        "the console of the host",
        "exec 3<>/dev/console",
        "No such file|Permission denied|Read-only|nonexistent",
        Everybody,
    ),
    (
        "a terminal of the host",
        "exec 3<>/dev/tty1",
        "No such file|Permission denied|Read-only|nonexistent",
        Everybody,
    ),
    (
        "have the kernel measure pressure",
        "exec 3>/proc/pressure/cpu",
        "Read-only file system|Permission denied|No such file|nonexistent",
        Everybody,
    ),
    (
        "engines of containers",
        "find / -xdev \\( -name 'docker*.sock' -o -name 'containerd*.sock' -o -name 'podman*.sock' -o -name 'crio*.sock' \\) 2>/dev/null | grep -q .",
        "",
        Everybody,
    ),
    (
        "the guest's program, to write",
        "echo x >> /.glasshouse/guest",
        "Read-only file system|Permission denied|Text file busy",
        Everybody,
    ),
    (
        "the guest's program, to remove",
        "rm -f /.glasshouse/guest",
        "busy|Permission denied|Read-only",
        Everybody,
    ),
    (
        "the guest's program, to move",
        "mv /.glasshouse /glasshouse",
        "busy|Permission denied|Invalid|cross-device",
        // Root may move what is in its own root about; the next start makes the place anew.
        User,
    ),
    (
        "the guest's program by a link",
        "ln /.glasshouse/guest /home/dev/guest",
        "cross-device|Operation not permitted|Permission denied",
        Everybody,
    ),
    (
        "a link into a layer",
        "ln /usr/bin/python3 /home/dev/python",
        "cross-device|Operation not permitted|Permission denied",
        Everybody,
    ),
    (
        "the gateway's directory, to read",
        "ls /run/glasshouse",
        "Permission denied",
        User,
    ),
    (
        "the gateway's directory, to write",
        "touch /run/glasshouse/x",
        "Permission denied|Read-only",
        Everybody,
    ),
    (
        "the gateway's socket, to remove",
        "rm -f /run/glasshouse/gateway.sock",
        "Permission denied|Read-only",
        Everybody,
    ),
    (
        "above the gateway's directory",
        "ls /run/glasshouse/../../sandboxes",
        "No such file|Permission denied",
        Everybody,
    ),
    (
        "the supervisor's logs",
        "ls /var/lib/glasshouse",
        "Permission denied",
        User,
    ),
    (
        "a set-user-id program that works",
        "sudo -n true",
        "no new privileges|effective uid",
        NoRoot,
    ),
    (
        "a set-user-id program of one's own in the home",
        "cp /bin/id own-id && chmod 4755 own-id && sudo -n chown root own-id",
        "no new privileges|effective uid",
        NoRoot,
    ),
    (
        "a file with capabilities",
        "cp /bin/true own && python3 -c 'import os, struct; os.setxattr(\"own\", \"security.capability\", struct.pack(\"<5I\", 0x2000001, 0xffffffff, 0, 255, 0))'",
        "Operation not permitted",
        User,
    ),
    (
        "what overlay notes on files",
        "python3 -c 'import os; open(\"/tmp/t\", \"w\"); os.setxattr(\"/tmp/t\", \"trusted.overlay.redirect\", b\"/\")'",
        "Operation not permitted|not supported",
        Everybody,
    ),
    (
        "an immutable file",
        "touch ~/im && python3 -c 'import fcntl, os, struct; fcntl.ioctl(os.open(os.environ[\"HOME\"] + \"/im\", 0) if 1 else 0, 0x40086602, struct.pack(\"l\", 0x10))'",
        "Operation not permitted|Permission denied|Inappropriate",
        Everybody,
    ),
    (
        "write a file by a pipe that shares its page",
        "python3 -c '
import os, sys
f = os.open(\"/usr/bin/env\", os.O_RDONLY); before = os.pread(f, 16, 0)
r, w = os.pipe()
for _ in range(16): os.write(w, bytes(4096)); os.read(r, 4096)
os.splice(f, w, 1, offset_src=0); os.write(w, b\"XXXX\")
sys.exit(0 if os.pread(f, 16, 0) != before else 1)'",
        "",
        Everybody,
    ),
    (
        "write a file by the memory it is mapped to",
        "python3 -c '
import mmap, os, ctypes, sys
f = os.open(\"/usr/bin/env\", os.O_RDONLY); before = os.pread(f, 16, 0)
m = mmap.mmap(f, 4096, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE)
at = ctypes.addressof(ctypes.c_char.from_buffer(m))
os.pwrite(os.open(\"/proc/self/mem\", os.O_RDWR), b\"XXXX\", at)
sys.exit(0 if os.pread(f, 16, 0) != before else 1)'",
        "",
        Everybody,
    ),
];
