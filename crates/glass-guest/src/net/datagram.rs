//! Datagrams that were sent to whatever address, and answers that come from that address.
#![expect(
    unsafe_code,
    reason = "the address that a datagram was sent to comes in control messages"
)]

use std::io;
use std::mem::{size_of, zeroed};
use std::net::UdpSocket;
use std::os::fd::AsRawFd;

use tokio::io::Interest;

/// Questions are shorter; what is longer is cut and then no question.
const LENGTH: usize = 4096;
/// Room for one control message of either family.
const CONTROL: usize = 128;

/// A socket that tells where each datagram was meant to go.
#[derive(Debug)]
pub(super) struct Datagrams {
    socket: tokio::net::UdpSocket,
    is_v4: bool,
}

/// Who sent a datagram, and the control message that makes the answer come from where it was sent to.
pub(super) struct Way {
    sender: libc::sockaddr_storage,
    sender_length: libc::socklen_t,
    control: Control,
    control_length: usize,
}

/// Aligned as its headers have to be.
#[repr(C, align(8))]
struct Control([u8; CONTROL]);

impl Datagrams {
    pub(super) fn new(socket: UdpSocket) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let is_v4 = socket.local_addr()?.is_ipv4();
        let (level, option) = if is_v4 {
            (libc::IPPROTO_IP, libc::IP_PKTINFO)
        } else {
            (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO)
        };
        let on: libc::c_int = 1;
        let length =
            libc::socklen_t::try_from(size_of::<libc::c_int>()).map_err(io::Error::other)?;
        // SAFETY: the kernel reads an integer of the given size that lives for the call.
        let set = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                level,
                option,
                (&raw const on).cast(),
                length,
            )
        };
        if set < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self {
            socket: tokio::net::UdpSocket::from_std(socket)?,
            is_v4,
        })
    }

    pub(super) async fn receive(&self) -> io::Result<(Vec<u8>, Way)> {
        self.socket
            .async_io(Interest::READABLE, || receive(&self.socket, self.is_v4))
            .await
    }

    /// Whoever asked may have gone, and a full queue loses the answer as the network would.
    pub(super) fn send(&self, text: &[u8], way: &Way) {
        let mut part = libc::iovec {
            iov_base: text.as_ptr().cast_mut().cast(),
            iov_len: text.len(),
        };
        // SAFETY: all fields are numbers and pointers, for which zero means that nothing is there.
        let mut header: libc::msghdr = unsafe { zeroed() };
        header.msg_name = (&raw const way.sender).cast_mut().cast();
        header.msg_namelen = way.sender_length;
        header.msg_iov = &raw mut part;
        header.msg_iovlen = 1;
        header.msg_control = way.control.0.as_ptr().cast_mut().cast();
        header.msg_controllen = way.control_length;
        let socket = self.socket.as_raw_fd();
        // SAFETY: the header points at an address, a text and a control message that live for the call and are only
        // read, with their true lengths.
        unsafe { libc::sendmsg(socket, &raw const header, libc::MSG_NOSIGNAL) };
    }
}

fn receive(socket: &tokio::net::UdpSocket, is_v4: bool) -> io::Result<(Vec<u8>, Way)> {
    let mut text = vec![0_u8; LENGTH];
    let mut part = libc::iovec {
        iov_base: text.as_mut_ptr().cast(),
        iov_len: text.len(),
    };
    let mut way = Way {
        // SAFETY: an address of zeros is one of no family.
        sender: unsafe { zeroed() },
        sender_length: 0,
        control: Control([0; CONTROL]),
        control_length: 0,
    };
    // SAFETY: as in `send`.
    let mut header: libc::msghdr = unsafe { zeroed() };
    header.msg_name = (&raw mut way.sender).cast();
    header.msg_namelen =
        libc::socklen_t::try_from(size_of::<libc::sockaddr_storage>()).map_err(io::Error::other)?;
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    header.msg_control = way.control.0.as_mut_ptr().cast();
    header.msg_controllen = CONTROL;
    // SAFETY: the header points at buffers of the given lengths that live for the call.
    let length = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, 0) };
    let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
    text.truncate(length);
    if is_v4 {
        answer_from_there(&header);
    }
    way.sender_length = header.msg_namelen;
    way.control_length = header.msg_controllen;
    Ok((text, way))
}

/// For IPv4 the address that a datagram was sent to and the one that an answer is sent from are different fields; for
/// IPv6 they are the same one.
fn answer_from_there(header: &libc::msghdr) {
    // SAFETY: the header was filled by the kernel, so the macros find whole messages within the buffer, which nobody
    // else refers to meanwhile; the data of one of this type is an `in_pktinfo`, read and written without alignment.
    unsafe {
        let mut at = libc::CMSG_FIRSTHDR(header);
        while let Some(message) = at.as_ref() {
            if message.cmsg_level == libc::IPPROTO_IP && message.cmsg_type == libc::IP_PKTINFO {
                let data = libc::CMSG_DATA(at).cast::<libc::in_pktinfo>();
                let mut info = data.read_unaligned();
                info.ipi_spec_dst = info.ipi_addr;
                data.write_unaligned(info);
            }
            at = libc::CMSG_NXTHDR(header, at);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn an_answer_comes_from_where_the_question_was_sent_to() {
        for (everywhere, there) in [("0.0.0.0:0", "127.0.0.7"), ("[::]:0", "::1")] {
            let socket = UdpSocket::bind(everywhere).unwrap();
            let port = socket.local_addr().unwrap().port();
            let datagrams = Datagrams::new(socket).unwrap();
            let client = tokio::net::UdpSocket::bind(everywhere).await.unwrap();
            // A connected socket hears its peer alone.
            client.connect((there, port)).await.unwrap();
            client.send(b"question").await.unwrap();
            let (text, way) = datagrams.receive().await.unwrap();
            assert_eq!(text, b"question");
            datagrams.send(b"answer", &way);
            let mut heard = [0; 16];
            let heard = tokio::time::timeout(Duration::from_secs(20), client.recv(&mut heard));
            assert_eq!(heard.await.unwrap().unwrap(), 6, "{there}");
        }
    }
}
