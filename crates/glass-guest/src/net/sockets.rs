//! What the launcher made while it still could.

use std::net::{TcpListener, UdpSocket};
use std::os::fd::{OwnedFd, RawFd};

use crate::startup::{StartError, inherited};

/// The first descriptor; before it are the standard ones and the server's socket.
const FIRST: RawFd = 4;
/// One for each family of addresses.
const MOST: usize = 2;

/// Sockets that the kernel hands everything to that is for the outside.
#[derive(Debug)]
pub(crate) struct Sockets {
    pub(crate) tcp: Vec<TcpListener>,
    pub(crate) udp: Vec<UdpSocket>,
    pub(crate) link: OwnedFd,
}

impl Sockets {
    /// `2,2`: so many listeners, so many for datagrams, and one more.
    pub(crate) fn inherit(text: &str) -> Result<Self, StartError> {
        let nonsense = || {
            StartError::step(
                format!("sockets {text:?}"),
                std::io::Error::from(std::io::ErrorKind::InvalidInput),
            )
        };
        let (tcp, udp) = text.split_once(',').ok_or_else(nonsense)?;
        let count = |text: &str| text.parse().ok().filter(|count| *count <= MOST);
        let (tcp, udp) = count(tcp).zip(count(udp)).ok_or_else(nonsense)?;
        let mut next = FIRST..;
        let mut take = || inherited(next.next().unwrap_or(RawFd::MAX));
        Ok(Self {
            tcp: (0..tcp)
                .map(|_| take().map(TcpListener::from))
                .collect::<Result<_, _>>()?,
            udp: (0..udp)
                .map(|_| take().map(UdpSocket::from))
                .collect::<Result<_, _>>()?,
            link: take()?,
        })
    }
}
