//! The way out of a sandbox's network namespace, for programs that know of no proxy.
//!
//! The namespace has a loopback interface and nothing else, and that stays so: no packet leaves it. Every address is
//! made local to it, so whatever a program connects to ends at a socket of this namespace, and a program of the kernel
//! chooses which:
//!
//! ```text
//! to 127.0.0.0/8, ::1 or the sandbox's own address ─► the kernel's own lookup: what listens there, or a refusal
//! TCP to any other address                         ─► the guest's listener, which is told the address by getsockname
//! UDP to port 53 of any other address              ─► the guest's DNS server
//! UDP to anything else                             ─► nobody: "port unreachable", at once
//! ```
//!
//! It needs the host's capabilities, so the launcher does it before init enters its user namespace. All that stays is
//! descriptors, which the guest inherits; what lives in the sandbox cannot change any of it.

mod bpf;
mod netlink;
mod steer;

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType};

/// The sandbox's own address. Programs ask for no IPv4 address of a name where there is none but loopback's.
pub const OWN_ADDRESS: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
/// Where the guest's listener for everything outside is bound; nobody has to know it.
pub const LISTENER_PORT: u16 = 49981;
const DNS_PORT: u16 = 53;
const BACKLOG: i32 = 1024;

/// What the guest takes over. The way out is there as long as `link` is open.
#[derive(Debug)]
pub struct WayOut {
    /// Listeners for connections to the outside, of IPv4 and, where the kernel has it, IPv6.
    pub tcp: Vec<OwnedFd>,
    /// Sockets for DNS questions, in the same order.
    pub udp: Vec<OwnedFd>,
    /// Holds the kernel's program in its place.
    pub link: OwnedFd,
}

impl WayOut {
    /// Makes it in the network namespace of the calling thread, whose loopback interface is up.
    ///
    /// # Errors
    /// When the kernel cannot; the namespace is then as sealed as before.
    pub fn open() -> io::Result<Self> {
        Self::open_in("/proc/self/ns/net")
    }

    fn open_in(namespace: &str) -> io::Result<Self> {
        let (mut tcp, mut udp) = (Vec::new(), Vec::new());
        for address in [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()] {
            let sockets = listener(SocketAddr::new(address, LISTENER_PORT)).and_then(|listener| {
                Ok((
                    listener,
                    bound(SocketAddr::new(address, DNS_PORT), SocketType::DGRAM)?,
                ))
            });
            match sockets {
                Ok((listener, questions)) => {
                    tcp.push(listener);
                    udp.push(questions);
                }
                // A kernel may be without IPv6; then nothing can be sent by it, either.
                Err(_) if address.is_ipv6() => {}
                Err(error) => return Err(error),
            }
        }
        let sockets = bpf::SocketMap::new(steer::SOCKETS)?;
        for (at, socket) in (0..).zip(&tcp) {
            sockets.put(steer::TCP + at, socket.as_fd())?;
        }
        for (at, socket) in (0..).zip(&udp) {
            sockets.put(steer::UDP + at, socket.as_fd())?;
        }
        let program = bpf::load(&steer::program(sockets.as_raw_fd()))?;
        let namespace = std::fs::File::open(namespace)?;
        let link = bpf::attach(program.as_fd(), namespace.as_fd())?;
        // Last: until now there is no address that could be connected to.
        netlink::make_everything_local(OWN_ADDRESS, tcp.len() > 1)?;
        Ok(Self { tcp, udp, link })
    }
}

/// Whether this kernel can do it: loads the program and lets go of it.
///
/// # Errors
/// What the kernel said.
pub fn probe() -> io::Result<()> {
    let sockets = bpf::SocketMap::new(steer::SOCKETS)?;
    bpf::load(&steer::program(sockets.as_raw_fd())).map(drop)
}

fn listener(address: SocketAddr) -> io::Result<OwnedFd> {
    let socket = bound(address, SocketType::STREAM)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket)
}

fn bound(address: SocketAddr, kind: SocketType) -> io::Result<OwnedFd> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, kind, flags, None)?;
    rustix::net::bind(&socket, &address)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read, Write};
    use std::net::{IpAddr, TcpListener, TcpStream, UdpSocket};
    use std::time::Duration;

    use super::*;

    /// Runs in a thread with a network namespace of its own, whose loopback is up.
    fn in_a_namespace(test: impl FnOnce() + Send + 'static) {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: needs root");
            return;
        }
        std::thread::spawn(|| {
            #[expect(unsafe_code, reason = "unshare has no safe wrapper")]
            // SAFETY: the flag changes a namespace of this thread only, neither memory nor file descriptors.
            let unshared = unsafe { libc::unshare(libc::CLONE_NEWNET) };
            assert_eq!(unshared, 0, "{}", io::Error::last_os_error());
            let up = std::process::Command::new("ip")
                .args(["link", "set", "lo", "up"])
                .status();
            assert!(up.unwrap().success());
            test();
        })
        .join()
        .unwrap();
    }

    fn way_out() -> WayOut {
        // The thread's own namespace is not that of `/proc/self`, which is the first thread's.
        WayOut::open_in("/proc/thread-self/ns/net").unwrap()
    }

    fn accept(listener: &OwnedFd) -> (TcpStream, SocketAddr) {
        rustix::io::ioctl_fionbio(listener, false).unwrap();
        let accepted = TcpStream::from(rustix::net::accept(listener).unwrap());
        let local = accepted.local_addr().unwrap();
        (accepted, local)
    }

    #[test]
    fn connections_to_anywhere_come_to_the_listener_and_know_where_they_went() {
        in_a_namespace(|| {
            let way_out = way_out();
            // Whoever listens everywhere gets nothing that is meant for the outside.
            let _everywhere = TcpListener::bind("[::]:443").unwrap();
            let targets: [(&str, usize); 3] = [
                ("93.184.216.34:443", 0),
                ("169.254.169.254:80", 0),
                ("[2606:2800:220:1::1]:443", 1),
            ];
            for (target, family) in targets {
                let target: SocketAddr = target.parse().unwrap();
                let mut client = TcpStream::connect(target).unwrap();
                let (mut accepted, local) = accept(&way_out.tcp[family]);
                assert_eq!(local, target);
                accepted.write_all(b"hello").unwrap();
                drop(accepted);
                let mut heard = String::new();
                client.read_to_string(&mut heard).unwrap();
                assert_eq!(heard, "hello");
                if family == 0 {
                    assert_eq!(client.local_addr().unwrap().ip(), IpAddr::from(OWN_ADDRESS));
                }
            }
        });
    }

    #[test]
    fn what_is_local_stays_local() {
        in_a_namespace(|| {
            let _way_out = way_out();
            for address in ["127.0.0.1:3000", "[::1]:3000", "198.18.0.1:3000"] {
                let refused = TcpStream::connect(address).unwrap_err();
                assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "{address}");
            }
            let everywhere = TcpListener::bind("0.0.0.0:3000").unwrap();
            for address in ["127.0.0.1:3000", "198.18.0.1:3000"] {
                let client = TcpStream::connect(address).unwrap();
                let (accepted, _) = everywhere.accept().unwrap();
                assert_eq!(
                    accepted.peer_addr().unwrap(),
                    client.local_addr().unwrap(),
                    "{address}"
                );
            }
        });
    }

    #[test]
    fn questions_for_any_name_server_are_heard_and_other_datagrams_are_refused() {
        in_a_namespace(|| {
            let way_out = way_out();
            let client = UdpSocket::bind("0.0.0.0:0").unwrap();
            client
                .set_read_timeout(Some(Duration::from_secs(10)))
                .unwrap();
            client.connect("8.8.8.8:53").unwrap();
            client.send(b"question").unwrap();
            rustix::io::ioctl_fionbio(&way_out.udp[0], false).unwrap();
            let mut text = [0; 16];
            let (_, length) =
                rustix::net::recv(&way_out.udp[0], &mut text, rustix::net::RecvFlags::empty())
                    .unwrap();
            assert_eq!(&text[..length], b"question");
            let other = UdpSocket::bind("0.0.0.0:0").unwrap();
            other
                .set_read_timeout(Some(Duration::from_secs(10)))
                .unwrap();
            other.connect("8.8.8.8:443").unwrap();
            other.send(b"quic").unwrap();
            let refused = other.recv(&mut text).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        });
    }

    #[test]
    fn without_the_link_nothing_is_steered() {
        in_a_namespace(|| {
            let way_out = way_out();
            drop(way_out.link);
            let refused = TcpStream::connect("93.184.216.34:443").unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        });
    }
}
