//! Connections of the sandbox's programs, each carried by its own task.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// Carries each connection that comes, for ever. When `most` are open at once, more wait.
pub(crate) async fn each<F, W>(listener: TcpListener, most: usize, carry: F) -> Infallible
where
    F: Fn(TcpStream) -> W,
    W: Future<Output = ()> + Send + 'static,
{
    let room = Arc::new(Semaphore::new(most));
    loop {
        let permit = Arc::clone(&room).acquire_owned().await;
        let Ok((client, _)) = listener.accept().await else {
            // Out of descriptors: others end meanwhile.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let carried = carry(client);
        tokio::spawn(async move {
            carried.await;
            drop(permit);
        });
    }
}
