//! Listening TCP sockets, read from `/proc`.
//!
//! They are looked at only while somebody watches; a port that opens and closes between two looks is not seen.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use glass_guest_protocol::connect::{Empty, RpcError};
use glass_guest_protocol::ports::{Port, PortEvent, PortList};
use http::Request;
use hyper::body::Incoming;
use tokio::sync::watch;

use crate::guest::{Core, Guest};
use crate::identity::as_user;
use crate::net;
use crate::reply::{self, Reply};
use crate::tree;

const PERIOD: Duration = Duration::from_millis(200);
/// More sockets than this are not told of.
const MAX_PORTS: usize = 4096;

type Table = Arc<BTreeMap<u16, Port>>;

/// Knows the listening sockets while somebody watches.
#[derive(Debug)]
pub(crate) struct Ports {
    core: Arc<Core>,
    table: watch::Sender<Table>,
    wanted: tokio::sync::Notify,
}

impl Ports {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self {
            core,
            table: watch::Sender::new(Table::default()),
            wanted: tokio::sync::Notify::new(),
        }
    }

    /// Looks for ever while somebody watches.
    pub(crate) async fn run(&self) -> Infallible {
        loop {
            while self.table.receiver_count() == 0 {
                self.wanted.notified().await;
            }
            // A look that failed is made again; what is known stays.
            if let Ok(now) = self.look().await {
                self.table.send_if_modified(|table| {
                    let changed = **table != now;
                    if changed {
                        *table = Arc::new(now);
                    }
                    changed
                });
            }
            tokio::time::sleep(PERIOD).await;
        }
    }

    /// Whether a process of this sandbox listens on the port.
    pub(crate) async fn has(&self, port: u16) -> bool {
        self.look()
            .await
            .is_ok_and(|ports| ports.contains_key(&port))
    }

    async fn look(&self) -> Result<BTreeMap<u16, Port>, RpcError> {
        let mut own_ports = vec![self.core.gateway_port];
        if self.core.has_way_out {
            own_ports.extend([net::PORT, net::DNS_PORT]);
        }
        // Without a network namespace the host's other sockets are in the table too.
        let only_own = self.core.config.run_as.is_none();
        let known = Arc::clone(&self.table.borrow());
        as_user(move || Ok(read(&own_ports, only_own, &known))).await
    }
}

fn read(own_ports: &[u16], only_own: bool, known: &BTreeMap<u16, Port>) -> BTreeMap<u16, Port> {
    let mut found: Vec<Listening> = Vec::new();
    for file in ["/proc/net/tcp", "/proc/net/tcp6"] {
        if let Ok(text) = std::fs::read_to_string(file) {
            found.extend(
                text.lines()
                    .filter_map(listening)
                    .filter(|row| !own_ports.contains(&row.port)),
            );
        }
    }
    found.truncate(MAX_PORTS);
    let is_known = |row: &Listening| {
        known
            .get(&row.port)
            .is_some_and(|port| port.pid.is_some() && port.address == row.address.to_string())
    };
    let owners = if only_own || !found.iter().all(is_known) {
        owners(found.iter().map(|row| row.inode))
    } else {
        HashMap::new()
    };
    let own = only_own.then(|| {
        let guest = rustix::process::getpid().as_raw_nonzero().get();
        let mut own = tree::descendants(&tree::rows(), guest);
        own.insert(guest);
        own
    });
    let mut ports = BTreeMap::new();
    for row in found {
        let owner = owners.get(&row.inode).copied();
        if let Some(own) = &own
            && !owner.is_some_and(|owner| own.contains(&owner))
        {
            continue;
        }
        let port = if owners.is_empty() && is_known(&row) {
            known[&row.port].clone()
        } else {
            Port {
                port: row.port,
                address: row.address.to_string(),
                pid: owner.map(i32::cast_unsigned),
                process: owner.and_then(name),
            }
        };
        ports.entry(row.port).or_insert(port);
    }
    ports
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Listening {
    address: IpAddr,
    port: u16,
    inode: u64,
}

/// A line of `/proc/net/tcp` that is a listening socket.
fn listening(line: &str) -> Option<Listening> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    if *fields.get(3)? != "0A" {
        return None;
    }
    let (address, port) = fields.get(1)?.split_once(':')?;
    Some(Listening {
        address: self::address(address)?,
        port: u16::from_str_radix(port, 16).ok()?,
        inode: fields.get(9)?.parse().ok()?,
    })
}

/// Words of 32 bits, each in the machine's own order.
pub(crate) fn address(text: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        let word = u32::from_str_radix(text.get(at * 8..at * 8 + 8)?, 16).ok()?;
        Some(word.to_ne_bytes())
    };
    match text.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let mut bytes = [0; 16];
            for at in 0..4 {
                bytes[at * 4..at * 4 + 4].copy_from_slice(&word(at)?);
            }
            Some(Ipv6Addr::from(bytes).into())
        }
        _ => None,
    }
}

/// The processes that hold these sockets, as far as the user may see.
pub(crate) fn owners(inodes: impl IntoIterator<Item = u64>) -> HashMap<u64, i32> {
    let mut wanted: HashSet<u64> = inodes.into_iter().collect();
    let mut owners = HashMap::new();
    for row in tree::rows() {
        if wanted.is_empty() {
            break;
        }
        let Ok(files) = std::fs::read_dir(format!("/proc/{}/fd", row.pid)) else {
            continue;
        };
        for file in files.flatten() {
            let inode = std::fs::read_link(file.path()).ok().and_then(|link| {
                let text = link.to_str()?.strip_prefix("socket:[")?;
                text.strip_suffix(']')?.parse::<u64>().ok()
            });
            if let Some(inode) = inode
                && wanted.remove(&inode)
            {
                owners.insert(inode, row.pid);
            }
        }
    }
    owners
}

pub(crate) fn name(pid: i32) -> Option<String> {
    let bytes = std::fs::read(format!("/proc/{pid}/comm")).ok()?;
    Some(String::from_utf8_lossy(&bytes).trim_end().to_owned())
}

pub(crate) async fn call(
    guest: &Guest,
    method: &str,
    request: Request<Incoming>,
) -> Result<Reply, RpcError> {
    let Empty {} = reply::enveloped(request).await?;
    match method {
        "List" => Ok(reply::json(&PortList {
            ports: guest.ports.look().await?.into_values().collect(),
        })),
        "Watch" => watch(guest).await,
        _ => Err(reply::unknown(method)),
    }
}

async fn watch(guest: &Guest) -> Result<Reply, RpcError> {
    let first = guest.ports.look().await?;
    let receiver = guest.ports.table.subscribe();
    guest.ports.wanted.notify_one();
    let events = futures::stream::unfold(
        (first.clone(), receiver),
        |(known, mut receiver)| async move {
            loop {
                receiver.changed().await.ok()?;
                let now = Arc::clone(&receiver.borrow_and_update());
                let events = differences(&known, &now);
                if !events.is_empty() {
                    return Some((futures::stream::iter(events), ((*now).clone(), receiver)));
                }
            }
        },
    );
    let all = PortEvent::Ports(first.into_values().collect());
    Ok(reply::stream(
        futures::stream::iter([all]).chain(events.flatten()).map(Ok),
    ))
}

fn differences(old: &BTreeMap<u16, Port>, new: &BTreeMap<u16, Port>) -> Vec<PortEvent> {
    let closed = old
        .values()
        .filter(|port| new.get(&port.port) != Some(port))
        .cloned()
        .map(PortEvent::Closed);
    let opened = new
        .values()
        .filter(|port| old.get(&port.port) != Some(port))
        .cloned()
        .map(PortEvent::Opened);
    closed.chain(opened).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listening_sockets_are_read_and_others_are_not() {
        let head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode";
        assert_eq!(listening(head), None);
        let line = "   0: 0100007F:0BB8 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 77 1";
        let socket = listening(line).unwrap();
        assert_eq!((socket.port, socket.inode), (3000, 77));
        assert_eq!(socket.address, IpAddr::from([127, 0, 0, 1]));
        assert_eq!(listening(&line.replace(" 0A ", " 01 ")), None);
    }

    #[test]
    fn a_port_that_changes_hands_closes_and_opens() {
        let port = |pid| Port {
            port: 1,
            address: "::".into(),
            pid: Some(pid),
            process: None,
        };
        let (old, new) = (
            BTreeMap::from([(1, port(5))]),
            BTreeMap::from([(1, port(6))]),
        );
        assert_eq!(
            differences(&old, &new),
            [PortEvent::Closed(port(5)), PortEvent::Opened(port(6))]
        );
    }
}
