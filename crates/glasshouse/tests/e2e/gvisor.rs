//! Sandboxes of the isolation tier gvisor.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::time::Duration;

use anyhow::ensure;
use glass_testing::{TestServer, lacks_runsc};
use serde_json::{Value, json};

use crate::harness::server;
use crate::leftovers::{World, cgroups_of, processes_of, remove, world};

/// What the app shows, through the edge.
async fn page(server: &TestServer, sandbox: &str) -> anyhow::Result<(u16, String)> {
    let client = reqwest::Client::builder().no_proxy().build()?;
    let host = format!("3000-{sandbox}.preview.localhost");
    let request = client.get(server.url("/")).header("host", host);
    let answer = request.timeout(Duration::from_secs(60)).send().await?;
    Ok((answer.status().as_u16(), answer.text().await?))
}

/// Asks until the app answers with this.
async fn page_is(server: &TestServer, sandbox: &str, expected: &str) -> anyhow::Result<()> {
    let over = tokio::time::Instant::now() + Duration::from_secs(60);
    loop {
        let (status, text) = page(server, sandbox).await?;
        if status == 200 && text.contains(expected) {
            return Ok(());
        }
        ensure!(
            tokio::time::Instant::now() < over,
            "the page stays {status}: {text}"
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn turn(server: &TestServer, sandbox: &str, verb: &str) -> anyhow::Result<Value> {
    let path = format!("/v1/sandboxes/{sandbox}/{verb}");
    let (status, view) = server.api("POST", &path, None).await?;
    ensure!(status == 200, "{verb}: {status}: {view}");
    Ok(view)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_of_the_tier_lives_like_any_other() -> anyhow::Result<()> {
    if lacks_runsc() {
        return Ok(());
    }
    let mut server = server().await?;
    // What the first sandbox makes for all may stay.
    let first = server.sandbox(json!({})).await?;
    remove(&server, &first).await?;
    let before: World = world(&server)?;

    let sandbox = server.sandbox(json!({ "isolation": "gvisor" })).await?;
    let path = format!("/v1/sandboxes/{sandbox}");
    let (_, view) = server.api("GET", &path, None).await?;
    ensure!(view["isolation"] == "gvisor", "{view}");
    ensure!(!processes_of(&sandbox)?.is_empty(), "it has no process");

    // The guest sees the file, and starts what shows it.
    let write = "echo '<h1>hello from inside</h1>' > index.html; id -u; uname -v; exit 3";
    let (code, printed) = server.exec(&sandbox, write).await?;
    ensure!(
        code == 3 && printed.starts_with("1000\n"),
        "{code}: {printed}"
    );
    page_is(&server, &sandbox, "hello from inside").await?;

    let content = format!("{path}/files/content?path=sub/note.txt");
    let (status, answer) = server.api("PUT", &content, Some(json!("noted"))).await?;
    ensure!(status < 300, "{status}: {answer}");
    let (status, answer) = server.api("GET", &content, None).await?;
    ensure!(status == 200 && answer == "noted", "{status}: {answer}");
    let (code, printed) = server
        .exec(&sandbox, "find sub/note.txt -printf %U")
        .await?;
    ensure!(code == 0 && printed == "1000", "{printed}");

    let shell = ["shell", &sandbox, "tty; stty size; echo a-$((40+2))"];
    let shown = server.cli(&shell).await?.stdout;
    ensure!(
        shown.contains("/dev/pts/") && shown.contains("a-42"),
        "the terminal: {shown}"
    );

    let view = turn(&server, &sandbox, "freeze").await?;
    ensure!(view["state"] == "frozen", "{view}");
    page_is(&server, &sandbox, "hello from inside").await?;

    // It outlives the server, and the next one finds it.
    let pids = processes_of(&sandbox)?;
    server.kill().await?;
    server.launch().await?;
    page_is(&server, &sandbox, "hello from inside").await?;
    ensure!(
        pids.iter()
            .any(|pid| processes_of(&sandbox).is_ok_and(|now| now.contains(pid))),
        "it was started anew"
    );

    turn(&server, &sandbox, "stop").await?;
    ensure!(processes_of(&sandbox)?.is_empty(), "it has processes left");
    turn(&server, &sandbox, "start").await?;
    page_is(&server, &sandbox, "hello from inside").await?;

    remove(&server, &sandbox).await?;
    ensure!(processes_of(&sandbox)?.is_empty(), "it has left processes");
    let groups = cgroups_of(&sandbox)?;
    ensure!(groups.is_empty(), "it has left {groups:?}");
    let after = world(&server)?;
    ensure!(after == before, "before: {before:#?}\nafter: {after:#?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_tier_cannot_give_is_refused() -> anyhow::Result<()> {
    if lacks_runsc() {
        return Ok(());
    }
    let server = server().await?;
    let params = json!({ "isolation": "gvisor", "root": "writable" });
    let (status, problem) = server.api("POST", "/v1/sandboxes", Some(params)).await?;
    let told = problem.to_string();
    ensure!(
        problem["code"] == "host_unsupported"
            && told.contains("gvisor")
            && told.contains("throw-away"),
        "{status}: {problem}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn its_kernel_is_gvisors_and_the_host_is_not_reached() -> anyhow::Result<()> {
    if lacks_runsc() {
        return Ok(());
    }
    let server = server().await?;
    let sandbox = server.sandbox(json!({ "isolation": "gvisor" })).await?;
    let other = server.sandbox(json!({ "isolation": "gvisor" })).await?;
    let (_, printed) = server.exec(&sandbox, "dmesg").await?;
    ensure!(printed.contains("Starting gVisor"), "{printed}");
    // Nobody on the host has power over it, whatever it finds: neither its kernel nor what opens files for it.
    for pid in processes_of(&sandbox)? {
        let name = std::fs::read_to_string(format!("/proc/{pid}/cmdline"))?;
        let is_first = !name.starts_with("runsc-");
        let map = std::fs::read_to_string(format!("/proc/{pid}/uid_map"))?;
        let is_mapped = map.split_whitespace().nth(1) != Some("0");
        ensure!(is_first || is_mapped, "{name} has the host's users: {map}");
    }

    let mut host = tokio::process::Command::new("sleep")
        .arg("600")
        .kill_on_drop(true)
        .spawn()?;
    let pid = host.id().unwrap_or_default();
    let name = format!("glasshouse-test-{pid}");
    let _abstract = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
    let listener = std::net::TcpListener::bind("0.0.0.0:0")?;
    listener.set_nonblocking(true)?;
    let port = listener.local_addr()?.port();
    let data = server.data().display().to_string();
    let (_, own) = server
        .exec(&other, "echo secret > ~/mine; cat ~/mine")
        .await?;
    ensure!(own == "secret\n", "{own}");
    let connect = |to: &str| {
        format!("python3 -c 'import socket; socket.socket(socket.AF_UNIX).connect(\"{to}\")'")
    };
    let attempts = [
        (
            "see a process of the host",
            format!("grep -qz sleep /proc/{pid}/cmdline"),
        ),
        ("signal it", format!("kill -9 {pid}")),
        (
            "see many processes",
            "test $(ls -d /proc/[0-9]* | wc -l) -gt 40".to_owned(),
        ),
        (
            "an abstract socket of the host",
            connect(&format!("\\0{name}")),
        ),
        ("the guest's own socket", connect("/run/guest/guest.sock")),
        (
            "the socket of a container daemon",
            connect("/var/run/docker.sock"),
        ),
        ("the server's files", format!("ls {data}")),
        ("the supervisor's root", "ls /proc/1/root/".to_owned()),
        (
            "the supervisor's descriptors",
            "ls /proc/1/fd/ | grep -q .".to_owned(),
        ),
        ("write the guest", "echo x >> /.glasshouse/guest".to_owned()),
        (
            "write the gateway's directory",
            "touch /run/glasshouse/x".to_owned(),
        ),
        ("what the guest keeps", "ls /var/lib/glasshouse".to_owned()),
        ("write the image", "touch /usr/bin/x".to_owned()),
        ("mount", "mount -t tmpfs none /mnt".to_owned()),
        (
            "a device of the host",
            "mknod /tmp/disk b 254 0 && head -c 1 /tmp/disk".to_owned(),
        ),
        (
            "devices of the host",
            "cat /dev/vda /dev/sda /dev/mem /dev/kmsg /dev/loop0 | head -c 1 | grep -q ."
                .to_owned(),
        ),
        (
            "the kernel's memory",
            "head -c 1 /proc/kcore | grep -q .".to_owned(),
        ),
        (
            "a helper program of the kernel",
            "echo '|/tmp/x' > /proc/sys/kernel/core_pattern".to_owned(),
        ),
        (
            "control groups",
            "echo 1 > /sys/fs/cgroup/cgroup.procs".to_owned(),
        ),
        ("be root by a program", "su -c true </dev/null".to_owned()),
        ("be root by sudo", "sudo -n true".to_owned()),
        (
            "a raw socket",
            "python3 -c 'import socket; socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)'"
                .to_owned(),
        ),
        (
            "a packet socket",
            "python3 -c 'import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 3)'"
                .to_owned(),
        ),
        (
            "the host's loopback",
            format!("timeout 5 bash -c 'exec 3<>/dev/tcp/127.0.0.1/{port}'"),
        ),
        (
            "the server",
            format!(
                "timeout 5 bash -c 'exec 3<>/dev/tcp/127.0.0.1/{}'",
                server.port()
            ),
        ),
        (
            "the metadata of a cloud",
            "timeout 5 bash -c 'exec 3<>/dev/tcp/169.254.169.254/80'".to_owned(),
        ),
    ];
    let mut found = Vec::new();
    for (what, how) in attempts {
        let (code, printed) = server.exec(&sandbox, &how).await?;
        if code == 0 || printed.contains("rror: invalid") {
            found.push(format!("{what}: {printed}"));
        }
    }
    ensure!(found.is_empty(), "not refused: {found:#?}");
    let (_, printed) = server
        .exec(&sandbox, "cat /proc/self/status; cat ~/mine")
        .await?;
    let flat = printed.replace('\t', " ");
    for line in ["CapEff: 0000000000000000", "CapPrm: 0000000000000000"] {
        ensure!(flat.contains(line), "{line} is not in {printed}");
    }
    ensure!(!printed.contains("secret"), "{printed}");
    ensure!(listener.accept().is_err(), "the host was reached");
    ensure!(host.try_wait()?.is_none(), "the host's process was ended");
    let (code, _) = server.exec(&other, "grep -q secret ~/mine").await?;
    ensure!(code == 0, "the neighbour was hurt");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_takes_all_it_can_get_ends_only_itself() -> anyhow::Result<()> {
    if lacks_runsc() {
        return Ok(());
    }
    let server = server().await?;
    let neighbour = server.sandbox(json!({})).await?;
    for (limits, code) in [
        (
            json!({ "memory_bytes": 256 << 20 }),
            "x = []\nwhile len(x) < 4096: x.append(b'x' * (1 << 20))",
        ),
        (
            json!({ "pids": 64 }),
            "import os, time\nfor _ in range(4000):\n  try:\n    if os.fork() == 0:\n      time.sleep(3); os._exit(0)\n  except OSError:\n    break\nelse:\n  time.sleep(1)",
        ),
    ] {
        let params = json!({ "isolation": "gvisor", "limits": limits });
        let sandbox = server.sandbox(params).await?;
        // The program is refused more, or all of the sandbox ends: its kernel is one of its processes.
        let hog = format!("python3 -c \"{code}\"");
        drop(server.exec(&sandbox, &hog).await);
        let (code, printed) = server.exec(&neighbour, "echo alive").await?;
        ensure!(code == 0 && printed == "alive\n", "{printed}");
        remove(&server, &sandbox).await?;
    }
    Ok(())
}
