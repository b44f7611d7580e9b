//! Parts of the network code of the kernel that programs do not need.

use super::attempts::{Attempt, Who};

/// What for, family, type, protocol.
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
    ("netlink for modules of cryptography", 16, 3, 21),
    ("netlink for sockets of others", 16, 3, 4),
    ("netlink of any kind", 16, 3, 16),
    ("keys of IPsec", 15, 3, 2),
    ("PPP over Ethernet", 24, 1, 0),
    ("RDS", 21, 5, 0),
    ("Bluetooth", 31, 3, 0),
    ("CAN", 29, 3, 1),
    ("TIPC", 30, 1, 0),
    ("KCM", 41, 5, 0),
    ("Qualcomm's", 42, 2, 0),
    ("SMC", 43, 1, 0),
    ("XDP", 44, 3, 0),
    ("management of processors", 45, 2, 0),
    ("SCTP", 2, 1, 132),
    ("DCCP", 2, 6, 33),
    ("L2TP", 2, 2, 115),
];

pub(super) fn socket(family: i32, kind: i32, protocol: i32) -> String {
    format!("python3 -c 'import socket; socket.socket({family}, {kind}, {protocol})'")
}

pub(super) fn attempts() -> Vec<Attempt> {
    SOCKETS
        .iter()
        .map(|(what, family, kind, protocol)| Attempt {
            what: format!("a socket: {what}"),
            how: socket(*family, *kind, *protocol),
            refusal: "Operation not permitted|Protocol not supported".to_owned(),
            who: Who::Everybody,
        })
        .collect()
}
