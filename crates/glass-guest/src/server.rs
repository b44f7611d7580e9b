//! The guest's HTTP server: one router for all services.

use std::convert::Infallible;
use std::path::Path;
use std::time::Duration;

use glass_guest_protocol::connect::{Empty, RpcError};
use glass_guest_protocol::{GuestConfig, Listen, tunnel::PATH as TUNNEL};
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::UnixListener;

use crate::guest::Guest;
use crate::reply::{self, Reply};
use crate::socket::Socket;
use crate::startup::{self, StartError};
use crate::{agent, app, fault, files, ports, process, tunnel};

pub(crate) fn listen(config: &GuestConfig) -> Result<UnixListener, StartError> {
    let listener = match &config.listen {
        Listen::Fd(fd) => std::os::unix::net::UnixListener::from(startup::inherited(*fd)?),
        Listen::Path(path) => {
            bind(path).map_err(|error| StartError::step(path.display().to_string(), error))?
        }
    };
    listener.set_nonblocking(true)?;
    Ok(UnixListener::from_std(listener)?)
}

/// Binds aside and renames, so that whoever waits for the socket finds it only when it listens. One that a guest before
/// us left behind is replaced.
fn bind(path: &Path) -> std::io::Result<std::os::unix::net::UnixListener> {
    use std::os::unix::fs::PermissionsExt as _;
    let fresh = path.with_extension("new");
    match std::fs::remove_file(&fresh) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = std::os::unix::net::UnixListener::bind(&fresh)?;
    std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o666))?;
    std::fs::rename(&fresh, path)?;
    Ok(listener)
}

pub(crate) async fn serve(listener: UnixListener, guest: Guest) -> Infallible {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors: others end meanwhile.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let guest = guest.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let guest = guest.clone();
                async move { Ok::<_, Infallible>(route(&guest, request).await) }
            });
            // A client that goes away is no event.
            let _ = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(Duration::from_secs(60))
                .serve_connection(TokioIo::new(Socket(stream)), service)
                .with_upgrades()
                .await;
        });
    }
}

async fn route(guest: &Guest, request: Request<Incoming>) -> Reply {
    let path = request.uri().path().to_owned();
    match (request.method(), path.as_str()) {
        (&Method::GET, "/health") => return reply::status(StatusCode::NO_CONTENT),
        (&Method::GET, "/files") => return files::read(guest, request).await,
        (&Method::POST, "/files") => return files::write(guest, request).await,
        (&Method::GET, "/archive") => return files::archive::read(guest, request).await,
        (&Method::PUT, "/archive") => return files::archive::write(guest, request).await,
        (&Method::GET, path) if path.starts_with(TUNNEL) => return tunnel::open(request).await,
        (&Method::POST, _) => {}
        _ => return reply::refuse(&fault::not_found(format!("no resource at {path:?}"))),
    }
    let Some((service, method)) = path.trim_start_matches('/').split_once('/') else {
        return reply::refuse(&reply::unknown(&path));
    };
    let streaming = reply::is_streaming(&request);
    let result = match service {
        "process.Process" => process::service::call(guest, method, request).await,
        "filesystem.Filesystem" => files::service::call(guest, method, request).await,
        "glasshouse.Ports" => ports::call(guest, method, request).await,
        "glasshouse.Agent" => agent::service::call(guest, method, request).await,
        "glasshouse.App" => app::service::call(guest, method, request).await,
        "glasshouse.Guest" if method == "Info" => Ok(reply::json(&guest.info())),
        _ => Err(reply::unknown(&path)),
    };
    match result {
        Ok(reply) => reply,
        Err(error) if streaming => reply::refuse_stream(error),
        Err(error) => reply::refuse(&error),
    }
}

/// The answer that says nothing.
pub(crate) fn done() -> Result<Reply, RpcError> {
    Ok(reply::json(&Empty {}))
}
