//! All addresses of a name, by the host's resolver.

use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::door::Door;
use super::refusal::Refusal;

const PATIENCE: Duration = Duration::from_secs(10);

/// Looks a name up, for as long as people wait.
pub(crate) async fn addresses(
    all: &Arc<Semaphore>,
    door: &Door,
    name: &str,
) -> Result<Vec<IpAddr>, Refusal> {
    let looked_up = tokio::time::timeout(PATIENCE, async {
        // The sandbox's own room first: a sandbox that waits for itself takes nothing from the others.
        let own = door.lookups.clone().acquire_owned().await;
        let shared = all.clone().acquire_owned().await;
        let room = (own, shared);
        let name = name.to_owned();
        // The room is given back by the thread: when the wait ends early, the resolver goes on.
        tokio::task::spawn_blocking(move || {
            let _room = room;
            let mut addresses: Vec<IpAddr> = Vec::new();
            for address in (name.as_str(), 0).to_socket_addrs()? {
                if !addresses.contains(&address.ip()) {
                    addresses.push(address.ip());
                }
            }
            Ok(addresses)
        })
        .await
        .map_err(io::Error::other)?
    });
    match looked_up.await {
        Ok(Ok(addresses)) if addresses.is_empty() => {
            Err(Refusal::Unresolved(io::Error::other("it has no address")))
        }
        Ok(Ok(addresses)) => Ok(addresses),
        Ok(Err(error)) => Err(Refusal::Unresolved(error)),
        Err(_) => Err(Refusal::LookupTimeout),
    }
}
