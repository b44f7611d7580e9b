//! A sandbox reaches nothing but itself, and what goes wrong in it stays in it.

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
    (
        "load a kernel module",
        "python3 -c 'import ctypes, os; r = ctypes.CDLL(None, use_errno=True).syscall(175, 0, 0, b\"\"); exit(0 if r == 0 else 1)'",
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
        "trace the supervisor",
        "python3 -c 'import ctypes; r = ctypes.CDLL(None).ptrace(16, 1, 0, 0); exit(0 if r == 0 else 1)'",
    ),
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
    (
        "bpf",
        "python3 -c 'import ctypes; r = ctypes.CDLL(None).syscall(321, 0, 0, 0); import os; exit(0 if r >= 0 else 1)'",
    ),
    (
        "the keyring of the kernel",
        "python3 -c 'import ctypes; r = ctypes.CDLL(None).syscall(250, 0, -3, 1); exit(0 if r >= 0 else 1)'",
    ),
    (
        "a set-user-id program that works",
        "find / -xdev -perm -4000 -type f 2>/dev/null | head -1 | grep -q . && sudo -n true",
    ),
];

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
    let (bomb, neighbour) = (
        server.sandbox(json!({ "limits": { "pids": 128 } })).await?,
        server.sandbox(json!({})).await?,
    );
    let code = "import os, time\nfor _ in range(4000):\n  try:\n    if os.fork() == 0:\n      time.sleep(20); os._exit(0)\n  except OSError as error:\n    print(error); break\nelse:\n  print('no limit')\ntime.sleep(1)\n";
    let (_, printed) = server
        .exec(&bomb, &format!("python3 -c \"{code}\""))
        .await?;
    ensure!(
        printed.contains("Resource temporarily unavailable"),
        "{printed}"
    );
    still_works(&server, &neighbour).await?;
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
