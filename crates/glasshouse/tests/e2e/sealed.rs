//! A sandbox reaches nothing but itself, and what goes wrong in it stays in it.

use std::time::Duration;

use anyhow::ensure;
use glass_testing::TestServer;
use serde_json::json;

use crate::harness::server;

/// Each is a shell command that must fail inside a sandbox.
const REFUSED: &[(&str, &str)] = &[
    (
        "mount a tmpfs",
        "mkdir -p /tmp/m && mount -t tmpfs none /tmp/m",
    ),
    ("mount proc", "mkdir -p /tmp/p && mount -t proc none /tmp/p"),
    ("unmount proc", "umount /proc"),
    ("a user namespace of its own", "unshare -U true"),
    ("a mount namespace of its own", "unshare -m true"),
    (
        "a raw socket",
        "python3 -c 'import socket; socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)'",
    ),
    (
        "a packet socket",
        "python3 -c 'import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW)'",
    ),
    ("read kernel memory", "head -c 64 /proc/kcore | grep -q ."),
    ("the kernel's log", "dmesg"),
    ("a device node", "mknod /tmp/sda b 8 0"),
    ("a character device", "mknod /tmp/mem c 1 1"),
    (
        "a host disk",
        "ls /dev/vda /dev/sda /dev/nvme0n1 2>/dev/null | grep -q .",
    ),
    ("magic sysrq", "echo h > /proc/sysrq-trigger"),
    (
        "change a kernel setting",
        "echo 1 > /proc/sys/kernel/core_pattern",
    ),
    ("change the host name", "hostname other"),
    ("set the clock", "date -s 2001-01-01"),
    ("become root", "su -c true"),
    (
        "read the supervisor's environment",
        "cat /proc/1/environ | grep -q .",
    ),
    ("kill the supervisor", "kill -9 1"),
    (
        "see host processes",
        "test $(ls -d /proc/[0-9]* | wc -l) -gt 40",
    ),
    (
        "write the control groups",
        "find /sys/fs/cgroup -name 'cgroup.procs' -writable 2>/dev/null | grep -q .",
    ),
    (
        "write the guest's program",
        "find / -xdev -path '*glasshouse*' -type f -writable 2>/dev/null | grep -v ^/home | grep -q .",
    ),
    ("a block device in the home", "mknod /home/dev/loop b 7 0"),
    (
        "a file with capabilities",
        "cp /bin/true own && python3 -c 'import os, struct; os.setxattr(\"own\", \"security.capability\", struct.pack(\"<5I\", 0x2000001, 0xffffffff, 0, 255, 0))'",
    ),
    (
        "type into another's terminal",
        "python3 -c 'import os, fcntl; fcntl.ioctl(os.openpty()[1], 0x5412, b\"x\")'",
    ),
    ("the supervisor's root", "ls /proc/1/root/"),
    ("the supervisor's directory", "ls /proc/1/cwd/"),
    ("the supervisor's files", "ls /proc/1/fd/"),
    ("the supervisor's namespaces", "readlink /proc/1/ns/user"),
    ("the supervisor's memory", "head -c 1 /proc/1/mem"),
    ("the supervisor's mapped files", "ls /proc/1/map_files"),
    ("the supervisor's program", "readlink /proc/1/exe"),
    ("the supervisor's logs", "ls /var/lib/glasshouse"),
    ("the gateway's directory, to read", "ls /run/glasshouse"),
    (
        "the gateway's directory, to write",
        "touch /run/glasshouse/x",
    ),
    (
        "the loop device of the disk",
        "ls /dev/loop* /dev/loop-control 2>/dev/null | grep -q .",
    ),
    ("file systems in user space", "exec 3<>/dev/fuse"),
    (
        "have the kernel measure pressure",
        "exec 3>/proc/pressure/cpu",
    ),
    (
        "a set-user-id program that works",
        "find / -xdev -perm -4000 -type f 2>/dev/null | head -1 | grep -q . && sudo -n true",
    ),
];

/// System calls that must be refused: what for, the numbers on x86-64 and aarch64, and the arguments as Python has them,
/// where `room` is 256 zero bytes.
const CALLS: &[(&str, i32, i32, &str)] = &[
    (
        "a user namespace by clone",
        56,
        220,
        "0x10000000 | 17, 0, 0, 0, 0",
    ),
    (
        "a mount namespace by clone",
        56,
        220,
        "0x20000 | 17, 0, 0, 0, 0",
    ),
    ("clone3, whose flags no filter sees", 435, 435, "room, 88"),
    ("a user namespace by unshare", 272, 97, "0x10000000"),
    ("a time namespace by unshare", 272, 97, "0x80"),
    (
        "enter a namespace",
        308,
        268,
        "os.open(\"/proc/self/ns/net\", 0), 0",
    ),
    ("move the root", 155, 41, "b\"/\", b\"/\""),
    ("change the root", 161, 51, "b\"/tmp\""),
    ("clone a mount", 428, 428, "-100, b\"/\", 1"),
    ("open a file system", 430, 430, "b\"tmpfs\", 0"),
    ("change a mount", 442, 442, "-100, b\"/\", 0, room, 32"),
    (
        "name a file by its handle",
        303,
        264,
        "-100, b\"/\", room, room, 0",
    ),
    ("open a file by its handle", 304, 265, "-100, room, 0"),
    ("trace the supervisor", 101, 117, "16, 1, 0, 0"),
    ("seize the supervisor", 101, 117, "0x4206, 1, 0, 0"),
    (
        "read the supervisor's memory",
        310,
        270,
        "1, room, 1, room, 1, 0",
    ),
    (
        "write the supervisor's memory",
        311,
        271,
        "1, room, 1, room, 1, 0",
    ),
    ("take the supervisor's files", 438, 438, "SUPERVISOR, 3, 0"),
    ("load a module", 175, 105, "room, 256, b\"\""),
    ("load a module from a file", 313, 273, "0, b\"\", 0"),
    ("load a kernel", 246, 104, "0, 0, 0, 0"),
    (
        "restart the machine",
        169,
        142,
        "0xfee1dead, 672274793, 0, 0",
    ),
    ("bpf", 321, 280, "0, room, 64"),
    ("performance counters", 298, 241, "room, 0, -1, -1, 0"),
    ("io_uring", 425, 425, "1, room"),
    (
        "asynchronous I/O, which is counted for the whole host",
        206,
        0,
        "1, room",
    ),
    ("handle page faults", 323, 282, "1"),
    ("memory that the kernel cannot see", 447, 447, "0"),
    ("the keyring of the kernel", 250, 219, "0, -3, 1"),
    (
        "a key of one's own",
        248,
        217,
        "b\"user\", b\"a\", b\"b\", 1, -3",
    ),
    ("the log of the kernel", 103, 116, "10, 0, 0"),
    ("watch whole file systems", 300, 262, "0, 0"),
    ("quotas", 179, 60, "0, 0, 0, room"),
    ("swap", 167, 224, "b\"/tmp/x\", 0"),
    ("accounting", 163, 89, "0"),
    ("the clock", 164, 170, "room, 0"),
];

/// Sockets that must be refused: what for, family, type, protocol.
const SOCKETS: &[(&str, i32, i32, i32)] = &[
    ("raw", 2, 3, 1),
    ("raw, version 6", 10, 3, 58),
    ("packet", 17, 3, 0),
    ("packet, the old way", 2, 10, 0x300),
    ("virtual machine", 40, 1, 0),
    ("cryptography", 38, 5, 0),
    ("netlink for audit", 16, 3, 9),
    ("netlink for devices", 16, 3, 15),
    ("netlink for the packet filter", 16, 3, 12),
    ("Bluetooth", 31, 3, 0),
    ("CAN", 29, 3, 1),
    ("TIPC", 30, 1, 0),
    ("XDP", 44, 3, 0),
    ("SCTP", 2, 1, 132),
    ("DCCP", 2, 6, 33),
    ("L2TP", 2, 2, 115),
];

fn call(x86_64: i32, aarch64: i32, arguments: &str) -> String {
    // A fork in disguise would go on as two.
    format!(
        "python3 -c '
import ctypes, os, platform
room = ctypes.create_string_buffer(256)
call = ctypes.CDLL(None, use_errno=True).syscall
SUPERVISOR = call(434, 1, 0)
number = {x86_64} if platform.machine() == \"x86_64\" else {aarch64}
result = call(number, {arguments})
os._exit(0 if result >= 0 else 1)'"
    )
}

fn socket(family: i32, kind: i32, protocol: i32) -> String {
    format!("python3 -c 'import socket; socket.socket({family}, {kind}, {protocol})'")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_is_refused_the_kernels_doors() -> anyhow::Result<()> {
    let server = server().await?;
    let sandbox = server.sandbox(json!({})).await?;
    // The same means do work where nothing is refused.
    for control in [call(39, 172, ""), socket(2, 1, 6), socket(16, 3, 0)] {
        let (code, printed) = server.exec(&sandbox, &control).await?;
        ensure!(code == 0, "the control failed: {printed}");
    }
    let mut attempts: Vec<(&str, String)> = Vec::new();
    for (what, x86_64, aarch64, arguments) in CALLS {
        attempts.push((what, call(*x86_64, *aarch64, arguments)));
    }
    for (what, family, kind, protocol) in SOCKETS {
        attempts.push((what, socket(*family, *kind, *protocol)));
    }
    let mut wrong = Vec::new();
    for (what, command) in attempts {
        let (code, printed) = server.exec(&sandbox, &command).await?;
        // 1 is a refusal; any other end is a mistake of the attempt.
        if code != 1 || printed.contains("SyntaxError") || printed.contains("NameError") {
            wrong.push(format!("{what}: {code} {printed}"));
        }
    }
    ensure!(wrong.is_empty(), "not refused: {wrong:#?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_and_a_socket_of_the_host_are_not_reached() -> anyhow::Result<()> {
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

    let server = server().await?;
    let sandbox = server.sandbox(json!({})).await?;
    let mut host = tokio::process::Command::new("sleep")
        .arg("600")
        .kill_on_drop(true)
        .spawn()?;
    let pid = host.id().expect("it was not waited for");
    let name = format!("glasshouse-test-{pid}");
    let address = SocketAddr::from_abstract_name(&name)?;
    let _listener = UnixListener::bind_addr(&address)?;
    UnixStream::connect_addr(&address)?;
    for (what, command) in [
        ("trace it", call(101, 117, &format!("16, {pid}, 0, 0"))),
        (
            "read its memory",
            call(310, 270, &format!("{pid}, room, 1, room, 1, 0")),
        ),
        ("hold it", call(434, 434, &format!("{pid}, 0"))),
        ("signal it", format!("kill -9 {pid}")),
        ("see it", format!("grep -qz sleep /proc/{pid}/cmdline")),
        (
            "connect to its socket",
            format!(
                "python3 -c 'import socket; socket.socket(socket.AF_UNIX).connect(\"\\0{name}\")'"
            ),
        ),
    ] {
        let (code, printed) = server.exec(&sandbox, &command).await?;
        ensure!(code != 0, "{what}: {printed}");
    }
    ensure!(host.try_wait()?.is_none(), "the host's process was ended");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    ensure!(status.contains("TracerPid:\t0\n"), "it is traced: {status}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_is_refused_what_is_the_hosts() -> anyhow::Result<()> {
    let server = server().await?;
    let sandbox = server.sandbox(json!({})).await?;
    // The commands themselves are there: a missing program would look like a refusal.
    let (code, printed) = server
        .exec(
            &sandbox,
            "command -v mount umount unshare python3 dmesg mknod su hostname",
        )
        .await?;
    ensure!(code == 0, "programs are missing: {printed}");
    let mut allowed = Vec::new();
    for (what, command) in REFUSED {
        let (code, printed) = server.exec(&sandbox, command).await?;
        if code == 0 {
            allowed.push(format!("{what}: {printed}"));
        }
    }
    ensure!(allowed.is_empty(), "not refused: {allowed:#?}");
    let (code, printed) = server
        .exec(
            &sandbox,
            "grep -E 'CapEff|CapBnd|NoNewPrivs|Seccomp:' /proc/self/status",
        )
        .await?;
    ensure!(code == 0, "{printed}");
    let flat = printed.replace('\t', " ");
    for line in [
        "CapEff: 0000000000000000",
        "CapBnd: 0000000000000000",
        "NoNewPrivs: 1",
        "Seccomp: 2",
    ] {
        ensure!(flat.contains(line), "{line} is not in:\n{flat}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_reaches_no_neighbour_and_no_host() -> anyhow::Result<()> {
    let server = server().await?;
    let (one, other) = (
        server.sandbox(json!({})).await?,
        server.sandbox(json!({})).await?,
    );
    // A neighbour and the host listen on every address they have.
    let serve = "nohup python3 -m http.server 8123 --bind 0.0.0.0 >/dev/null 2>&1 & \
                 for i in $(seq 100); do curl -s -o /dev/null 127.0.0.1:8123 && exit 0; sleep 0.05; done; exit 1";
    let (code, printed) = server.exec(&other, serve).await?;
    ensure!(code == 0, "{printed}");
    let host = std::net::TcpListener::bind("0.0.0.0:0")?;
    let host_port = host.local_addr()?.port();
    let own = addresses()?;
    let mut targets = vec![
        ("127.0.0.1".to_owned(), 8123),
        ("127.0.0.1".to_owned(), server.port()),
    ];
    for address in own {
        targets.push((address.clone(), host_port));
        targets.push((address, server.port()));
    }
    for (address, port) in targets {
        let command = format!("timeout 3 bash -c 'exec 3<>/dev/tcp/{address}/{port}' 2>&1");
        let (code, printed) = server.exec(&one, &command).await?;
        ensure!(code != 0, "{address}:{port} was reached: {printed}");
    }
    let (_, links) = server
        .exec(
            &one,
            "ls /sys/class/net 2>/dev/null || cut -d: -f1 /proc/net/dev | tail -n +3",
        )
        .await?;
    let links: Vec<&str> = links.split_whitespace().collect();
    ensure!(
        links.iter().all(|link| *link == "lo"),
        "the sandbox has more than its loopback: {links:?}"
    );
    let (_, sockets) = server
        .exec(
            &one,
            "find / -xdev -type s 2>/dev/null; find /run -type s 2>/dev/null",
        )
        .await?;
    let foreign: Vec<&str> = sockets
        .lines()
        .filter(|path| !path.ends_with("gateway.sock") && !path.starts_with("/tmp/"))
        .collect();
    ensure!(foreign.is_empty(), "sockets of the host: {foreign:?}");
    Ok(())
}

/// Addresses of this host that are not loopback.
fn addresses() -> anyhow::Result<Vec<String>> {
    let output = std::process::Command::new("hostname").arg("-I").output()?;
    Ok(String::from_utf8(output.stdout)?
        .split_whitespace()
        .filter(|a| !a.contains(':'))
        .map(str::to_owned)
        .collect())
}

async fn still_works(server: &TestServer, neighbour: &str) -> anyhow::Result<()> {
    let (code, printed) = server
        .exec(neighbour, "echo alive > state && cat state")
        .await?;
    ensure!(
        code == 0 && printed == "alive\n",
        "the neighbour: {printed}"
    );
    let (status, answer) = server.api("GET", "/v1/sandboxes", None).await?;
    ensure!(status == 200, "the server: {answer}");
    let made = server.sandbox(json!({})).await?;
    let (status, _) = server
        .api("DELETE", &format!("/v1/sandboxes/{made}"), None)
        .await?;
    ensure!(status == 204, "a new sandbox could not be removed");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_bomb_stays_in_its_sandbox() -> anyhow::Result<()> {
    let server = server().await?;
    let limits = json!({ "limits": { "pids": 64, "cpu_millis": 500 } });
    let (bomb, neighbour) = (
        server.sandbox(limits).await?,
        server.sandbox(json!({})).await?,
    );
    let code = "import os, time\nfor _ in range(4000):\n  try:\n    if os.fork() == 0:\n      time.sleep(3); os._exit(0)\n  except OSError as error:\n    print(error); break\nelse:\n  print('no limit')\ntime.sleep(1)\n";
    let (_, printed) = server
        .exec(&bomb, &format!("python3 -c \"{code}\""))
        .await?;
    ensure!(
        printed.contains("Resource temporarily unavailable"),
        "{printed}"
    );
    // One that takes every process as soon as it is free, and longer than an idle thread of the supervisor would live.
    let code = "import os, time\nend = time.time() + 25\nwhile time.time() < end:\n  try:\n    os.fork()\n  except OSError:\n    pass\n";
    let command = format!("setsid python3 -c \"{code}\" >/dev/null 2>&1 & sleep 0.5");
    server.exec(&bomb, &command).await?;
    still_works(&server, &neighbour).await?;
    let full = server.exec(&bomb, "echo room").await;
    ensure!(
        !matches!(&full, Ok((0, printed)) if printed == "room\n"),
        "the bomb left room"
    );
    let over = tokio::time::Instant::now() + Duration::from_secs(90);
    loop {
        let (_, answer) = server
            .api("GET", &format!("/v1/sandboxes/{bomb}"), None)
            .await?;
        ensure!(answer["state"] == "running", "the bomb ended it: {answer}");
        if let Ok((0, printed)) = server.exec(&bomb, "echo room").await
            && printed == "room\n"
        {
            break;
        }
        ensure!(
            tokio::time::Instant::now() < over,
            "it does not recover from the bomb"
        );
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let (status, _) = server
        .api("DELETE", &format!("/v1/sandboxes/{bomb}"), None)
        .await?;
    ensure!(status == 204, "the bombed sandbox cannot be removed");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_memory_hog_stays_in_its_sandbox() -> anyhow::Result<()> {
    let server = server().await?;
    let limits = json!({ "limits": { "memory_bytes": 256 << 20 } });
    let (hog, neighbour) = (
        server.sandbox(limits).await?,
        server.sandbox(json!({})).await?,
    );
    let (code, printed) = server
        .exec(
            &hog,
            "python3 -c \"x = []\nwhile len(x) < 4096: x.append(b'x' * (1 << 20))\"",
        )
        .await?;
    ensure!(
        code == 137 || printed.contains("MemoryError"),
        "{code}: {printed}"
    );
    still_works(&server, &neighbour).await?;
    let (code, printed) = server.exec(&hog, "echo still here").await?;
    ensure!(code == 0, "the hog's sandbox did not survive it: {printed}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stays_in_its_sandbox() -> anyhow::Result<()> {
    let server = server().await?;
    let limits = json!({ "limits": { "disk_bytes": 256 << 20 } });
    let (full, neighbour) = (
        server.sandbox(limits).await?,
        server.sandbox(json!({})).await?,
    );
    let (code, printed) = server
        .exec(&full, "dd if=/dev/zero of=big bs=1M count=1024")
        .await?;
    ensure!(
        code != 0 && printed.contains("No space left on device"),
        "{code}: {printed}"
    );
    still_works(&server, &neighbour).await?;
    let path = format!("/v1/sandboxes/{full}/files/content?path=more.txt");
    let (status, problem) = server
        .api("PUT", &path, Some(json!("x".repeat(1 << 20))))
        .await?;
    ensure!(
        status == 507 && problem["code"] == "disk_full" && problem["remedy"].is_string(),
        "{status}: {problem}"
    );
    let (code, printed) = server
        .exec(&full, "test ! -e more.txt && ls -A | grep -vx big")
        .await?;
    ensure!(code == 1, "half a file was left: {printed}");
    let (code, _) = server.exec(&full, "rm big && echo fine > more.txt").await?;
    ensure!(code == 0, "the sandbox does not recover");
    Ok(())
}
