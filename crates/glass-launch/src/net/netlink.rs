//! Addresses and routes of the loopback interface, asked for by netlink.

use std::io;
use std::net::Ipv4Addr;

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

/// The loopback interface is the first of every namespace.
const LOOPBACK: u32 = 1;

const NLMSG_ERROR: u16 = 2;
const RTM_NEWADDR: u16 = 20;
const RTM_NEWROUTE: u16 = 24;
/// A request, to be acknowledged, for something that is not there yet.
const FLAGS: u16 = 0x1 | 0x4 | 0x200 | 0x400;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const RTA_OIF: u16 = 4;
const RTA_PREFSRC: u16 = 7;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const TABLE_LOCAL: u8 = 255;
const PROTOCOL_BOOT: u8 = 3;
const SCOPE_UNIVERSE: u8 = 0;
const SCOPE_HOST: u8 = 254;
const ROUTE_LOCAL: u8 = 2;

/// Gives the interface an address of its own, from which all is sent, and makes every address one of this namespace.
pub(super) fn make_everything_local(own: Ipv4Addr, v6: bool) -> io::Result<()> {
    let socket = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        // The routing family is protocol 0.
        None,
    )?;
    let mut messages = vec![address(own), route(AF_INET, Some(own))];
    if v6 {
        messages.push(route(AF_INET6, None));
    }
    let mut text = Vec::new();
    for (number, message) in (1..).zip(&messages) {
        text.extend(framed(message, number));
    }
    rustix::net::send(&socket, &text, SendFlags::empty())?;
    let mut answer = [0_u8; 4096];
    let mut missing = messages.len();
    while missing > 0 {
        let (_, length) = rustix::net::recv(&socket, &mut answer, RecvFlags::empty())?;
        missing = missing.saturating_sub(acknowledged(&answer[..length])?);
    }
    Ok(())
}

struct Message {
    kind: u16,
    body: Vec<u8>,
}

fn address(own: Ipv4Addr) -> Message {
    let mut body = vec![AF_INET, 32, 0, SCOPE_UNIVERSE];
    body.extend(LOOPBACK.to_ne_bytes());
    attribute(&mut body, IFA_LOCAL, own.octets());
    attribute(&mut body, IFA_ADDRESS, own.octets());
    Message {
        kind: RTM_NEWADDR,
        body,
    }
}

/// Of all addresses, whose prefix has no bit.
fn route(family: u8, source: Option<Ipv4Addr>) -> Message {
    let mut body = vec![
        family,
        0,
        0,
        0,
        TABLE_LOCAL,
        PROTOCOL_BOOT,
        SCOPE_HOST,
        ROUTE_LOCAL,
    ];
    body.extend(0_u32.to_ne_bytes());
    attribute(&mut body, RTA_OIF, LOOPBACK.to_ne_bytes());
    if let Some(source) = source {
        attribute(&mut body, RTA_PREFSRC, source.octets());
    }
    Message {
        kind: RTM_NEWROUTE,
        body,
    }
}

/// All attributes here are of four bytes, so nothing needs to be padded.
fn attribute(body: &mut Vec<u8>, kind: u16, value: [u8; 4]) {
    body.extend(8_u16.to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend(value);
}

fn framed(message: &Message, number: u32) -> Vec<u8> {
    let length = u32::try_from(16 + message.body.len()).expect("messages are short");
    let mut text = Vec::new();
    text.extend(length.to_ne_bytes());
    text.extend(message.kind.to_ne_bytes());
    text.extend(FLAGS.to_ne_bytes());
    text.extend(number.to_ne_bytes());
    text.extend(0_u32.to_ne_bytes());
    text.extend(&message.body);
    text
}

/// How many answers there are, unless one of them is a refusal.
fn acknowledged(mut text: &[u8]) -> io::Result<usize> {
    let cut = || io::Error::new(io::ErrorKind::InvalidData, "netlink answer is cut");
    let mut count = 0;
    while !text.is_empty() {
        let (length, rest) = text.split_first_chunk::<4>().ok_or_else(cut)?;
        let length = usize::try_from(u32::from_ne_bytes(*length)).map_err(io::Error::other)?;
        let (kind, _) = rest.split_first_chunk::<2>().ok_or_else(cut)?;
        if u16::from_ne_bytes(*kind) == NLMSG_ERROR {
            let code = text.get(16..20).ok_or_else(cut)?;
            let code = i32::from_ne_bytes([code[0], code[1], code[2], code[3]]);
            if code != 0 {
                return Err(io::Error::from_raw_os_error(-code));
            }
            count += 1;
        }
        text = text
            .get(length.next_multiple_of(4).max(16)..)
            .unwrap_or_default();
    }
    Ok(count)
}
