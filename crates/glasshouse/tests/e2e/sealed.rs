//! A sandbox reaches nothing but itself.

use anyhow::ensure;
use serde_json::json;

use crate::escape::call;
use crate::harness::server;

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
    host.set_nonblocking(true)?;
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
        // The guest takes a connection to another host before the gateway refuses it, so what counts is that nothing
        // comes back, and that nobody came.
        let command = format!(
            "timeout 3 bash -c 'exec 3<>/dev/tcp/{address}/{port} && printf \"GET / HTTP/1.0\\r\\n\\r\\n\" >&3 && cat <&3' 2>/dev/null"
        );
        let (_, printed) = server.exec(&one, &command).await?;
        ensure!(
            printed.is_empty(),
            "{address}:{port} was reached: {printed}"
        );
        let came = host.accept().map(|(_, from)| from);
        ensure!(
            came.is_err(),
            "{address}:{port}: the host was reached: {came:?}"
        );
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
