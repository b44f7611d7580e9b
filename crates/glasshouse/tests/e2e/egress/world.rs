//! A small internet in network namespaces: a public host with a name server, one of a private network, a metadata
//! service, and between them the host on which the server runs.
//!
//! The test runs itself again in namespaces of its own, so nothing of it is on the machine, and all of it goes with it.
#![expect(
    clippy::unwrap_used,
    reason = "a test stops at what it does not expect"
)]

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use anyhow::{Context, ensure};
use rustix::thread::LinkNameSpaceType;

use crate::harness;

/// Says that this is the second run, and where the images are.
const INSIDE: &str = "GLASSHOUSE_TEST_INSIDE";

pub(crate) const PUBLIC: &str = "93.184.216.34";
pub(crate) const PUBLIC_V6: &str = "2606:2800:220:1::34";
pub(crate) const PRIVATE: &str = "192.168.77.5";
pub(crate) const METADATA: &str = "169.254.169.254";
/// The host's own address in the public network.
pub(crate) const OWN: &str = "93.184.216.1";
/// Where something listens on the host itself.
pub(crate) const OWN_PORT: u16 = 7777;

const SET_UP: &str = r#"
set -e
mkdir -p /run/netns
mount -t tmpfs tmpfs /run/netns
ip link set lo up
for name in public private metadata; do
    ip netns add $name
    ip link add $name type veth peer name eth0 netns $name
    ip link set $name up
    ip -n $name link set lo up
    ip -n $name link set eth0 up
done
ip address add 93.184.216.1/24 dev public
ip -n public address add 93.184.216.34/24 dev eth0
ip -n public address add 93.184.216.53/24 dev eth0
ip address add 2606:2800:220:1::1/64 dev public nodad
ip -n public address add 2606:2800:220:1::34/64 dev eth0 nodad
ip address add 192.168.77.1/24 dev private
ip -n private address add 192.168.77.5/24 dev eth0
ip address add 169.254.169.1/24 dev metadata
ip -n metadata address add 169.254.169.254/24 dev eth0
printf 'nameserver 93.184.216.53\n' > /run/netns/resolv.conf
mount --bind /run/netns/resolv.conf /etc/resolv.conf
"#;

/// What came where it should not.
pub(crate) struct World {
    pub(crate) images: PathBuf,
    pub(crate) reached: Arc<AtomicUsize>,
    rebound: Arc<Mutex<bool>>,
}

/// Runs the test of this name inside; `None` outside, when that was well.
pub(crate) async fn enter(test: &str) -> anyhow::Result<Option<World>> {
    if let Some(images) = std::env::var_os(INSIDE) {
        return World::make(images.into()).map(Some);
    }
    let images = harness::images().await?;
    let output = tokio::process::Command::new("unshare")
        .args(["--net", "--mount", "--propagation", "private"])
        .arg(std::env::current_exe()?)
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, images)
        .output()
        .await?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success() && text.contains("1 passed"),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(None)
}

impl World {
    fn make(images: PathBuf) -> anyhow::Result<Self> {
        let made = Command::new("sh").args(["-c", SET_UP]).output()?;
        ensure!(
            made.status.success(),
            "network namespaces (is iproute2 installed?): {}",
            String::from_utf8_lossy(&made.stderr)
        );
        let world = Self {
            images,
            reached: Arc::default(),
            rebound: Arc::default(),
        };
        for port in [80, 443, 22, 5432] {
            listen("public", port, |stream| answer(stream, "public"))?;
            for place in ["private", "metadata"] {
                let reached = world.reached.clone();
                listen(place, port, move |stream| {
                    reached.fetch_add(1, Ordering::Relaxed);
                    answer(stream, place)
                })?;
            }
        }
        let reached = world.reached.clone();
        listen("", OWN_PORT, move |stream| {
            reached.fetch_add(1, Ordering::Relaxed);
            answer(stream, "own host")
        })?;
        name_server(world.rebound.clone())?;
        Ok(world)
    }

    /// From now on the name `rebind.example` leads into the private network.
    pub(crate) fn rebind(&self) {
        *self.rebound.lock().unwrap() = true;
    }
}

/// Runs in the network namespace of a host; the nameless one is this very one.
fn at<T: Send + 'static>(
    host: &'static str,
    make: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    let made = std::thread::spawn(move || {
        if !host.is_empty() {
            let namespace = File::open(format!("/run/netns/{host}"))?;
            rustix::thread::move_into_link_name_space(
                namespace.as_fd(),
                Some(LinkNameSpaceType::Network),
            )?;
        }
        make()
    });
    let made = made.join().ok().context("a host broke")?;
    made.with_context(|| format!("host {host:?}"))
}

fn listen(
    host: &'static str,
    port: u16,
    serve: impl Fn(&mut TcpStream) -> std::io::Result<()> + Send + Sync + 'static,
) -> anyhow::Result<()> {
    // A socket stays in the namespace in which it was made.
    let listener = at(host, move || TcpListener::bind(("::", port)))?;
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (Ok(mut stream), serve) = (stream, Arc::clone(&serve)) else {
                continue;
            };
            // Whoever asks may go at any time.
            std::thread::spawn(move || serve(&mut stream).ok());
        }
    });
    Ok(())
}

/// Says who it is, and on what it was asked: at once on port 22, as SSH does, and when it was spoken to elsewhere.
fn answer(stream: &mut TcpStream, who: &str) -> std::io::Result<()> {
    let port = stream.local_addr()?.port();
    let mut words = [0; 2048];
    let length = if port == 22 {
        0
    } else {
        stream.read(&mut words)?
    };
    if length == 0 && port != 22 {
        return Ok(());
    }
    let text = format!("{who} {port}\n");
    if words.starts_with(b"GET") {
        let body = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}",
            text.len()
        );
        return stream.write_all(body.as_bytes());
    }
    stream.write_all(text.as_bytes())?;
    // Until the other side ends, so that nobody mistakes our end for a cut.
    while stream.read(&mut words)? > 0 {}
    Ok(())
}

fn name_server(rebound: Arc<Mutex<bool>>) -> anyhow::Result<()> {
    let socket = at("public", || UdpSocket::bind("93.184.216.53:53"))?;
    let address = |text: &str| text.parse::<IpAddr>().unwrap();
    let (public, private) = (address(PUBLIC), address(PRIVATE));
    let names = HashMap::from([
        ("good.example", vec![public, address(PUBLIC_V6)]),
        ("evil.example", vec![public]),
        ("sub.good.example", vec![public]),
        ("six.example", vec![address(PUBLIC_V6)]),
        ("private.example", vec![private]),
        ("mixed.example", vec![public, private]),
        ("metadata.example", vec![address(METADATA)]),
    ]);
    std::thread::spawn(move || {
        let mut text = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut text) {
            let Some((name, kind, end)) = question(&text[..length]) else {
                continue;
            };
            let found = match name.as_str() {
                "rebind.example" if *rebound.lock().unwrap() => Some(vec![private]),
                "rebind.example" => Some(vec![public]),
                name => names.get(name).cloned(),
            };
            let code = if found.is_some() { 0 } else { 3 };
            let wanted: Vec<IpAddr> = found
                .into_iter()
                .flatten()
                .filter(|address| address.is_ipv4() == (kind == 1) && matches!(kind, 1 | 28))
                .collect();
            let count = u8::try_from(wanted.len()).unwrap();
            let mut answer = text[..2].to_vec();
            answer.extend([0x81, 0x80 | code, 0, 1, 0, count, 0, 0, 0, 0]);
            answer.extend(&text[12..end]);
            for address in wanted {
                answer.extend([
                    0xc0,
                    12,
                    0,
                    u8::try_from(kind).unwrap(),
                    0,
                    1,
                    0,
                    0,
                    0,
                    0,
                    0,
                ]);
                let octets = match address {
                    IpAddr::V4(address) => address.octets().to_vec(),
                    IpAddr::V6(address) => address.octets().to_vec(),
                };
                answer.push(u8::try_from(octets.len()).unwrap());
                answer.extend(octets);
            }
            socket.send_to(&answer, from).ok();
        }
    });
    Ok(())
}

/// The name, the kind, and where the question ends.
fn question(text: &[u8]) -> Option<(String, u16, usize)> {
    let mut at = 12;
    let mut labels = Vec::new();
    while *text.get(at)? != 0 {
        let length = usize::from(text[at]);
        labels.push(String::from_utf8_lossy(text.get(at + 1..at + 1 + length)?).to_lowercase());
        at += 1 + length;
    }
    let kind = u16::from_be_bytes([*text.get(at + 1)?, *text.get(at + 2)?]);
    Some((labels.join("."), kind, at + 5))
}
