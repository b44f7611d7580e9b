//! Connections to ports inside a sandbox.
//!
//! A socket belongs to the network namespace in which it was made, for good. So one thread enters the sandboxes'
//! namespaces by turns, only to make sockets; they are connected elsewhere.

use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc;
use std::thread;

use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::thread::LinkNameSpaceType;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::oneshot;

struct Order {
    namespace: File,
    family: AddressFamily,
    answer: oneshot::Sender<io::Result<OwnedFd>>,
}

/// The thread that makes sockets. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct SocketMaker {
    orders: mpsc::Sender<Order>,
}

impl SocketMaker {
    pub(super) fn spawn() -> io::Result<Self> {
        let (orders, inbox) = mpsc::channel::<Order>();
        thread::Builder::new()
            .name("sandbox-sockets".to_owned())
            .spawn(move || {
                while let Ok(order) = inbox.recv() {
                    // Whoever asked may have gone; then the socket is closed again.
                    order.answer.send(make(&order.namespace, order.family)).ok();
                }
            })?;
        Ok(Self { orders })
    }

    async fn socket(&self, namespace: File, family: AddressFamily) -> io::Result<OwnedFd> {
        let gone = || io::Error::other("the thread that makes sockets has ended");
        let (answer, made) = oneshot::channel();
        self.orders
            .send(Order {
                namespace,
                family,
                answer,
            })
            .map_err(|_| gone())?;
        made.await.map_err(|_| gone())?
    }

    /// Connects to a port on the loopback of a network namespace, 127.0.0.1 first, then `::1`.
    pub(super) async fn connect(&self, namespace: &File, port: u16) -> io::Result<TcpStream> {
        let v4 = self.dial(namespace, Ipv4Addr::LOCALHOST.into(), port).await;
        match v4 {
            Err(ref e) if e.kind() == io::ErrorKind::ConnectionRefused => {}
            other => return other,
        }
        match self.dial(namespace, Ipv6Addr::LOCALHOST.into(), port).await {
            Ok(stream) => Ok(stream),
            // A kernel without IPv6 has said all that matters with its first answer.
            Err(_) => v4,
        }
    }

    async fn dial(&self, namespace: &File, address: IpAddr, port: u16) -> io::Result<TcpStream> {
        let family = match address {
            IpAddr::V4(_) => AddressFamily::INET,
            IpAddr::V6(_) => AddressFamily::INET6,
        };
        let socket = self.socket(namespace.try_clone()?, family).await?;
        let stream = TcpSocket::from_std_stream(socket.into())
            .connect(SocketAddr::new(address, port))
            .await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

fn make(namespace: &File, family: AddressFamily) -> io::Result<OwnedFd> {
    rustix::thread::move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
    Ok(rustix::net::socket_with(
        family,
        SocketType::STREAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )?)
}
