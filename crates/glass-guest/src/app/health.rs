//! Whether `web` answers. Asked from inside the sandbox, so nothing is woken or kept awake by it.

use std::convert::Infallible;
use std::time::Duration;

use glass_guest_protocol::app::{AppHealth, AppState};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::{App, now};
use crate::socket::Socket;

/// How often one that is starting is looked at.
const LOOK: Duration = Duration::from_millis(200);
/// After this a silent `web` is explained, and not looked at so often.
const SILENT: Duration = Duration::from_secs(30);
const LOOK_SILENT: Duration = Duration::from_secs(2);
/// How often one that answers well is asked, and one that does not.
const ASK_HEALTHY: Duration = Duration::from_secs(30);
const ASK_UNHEALTHY: Duration = Duration::from_secs(5);
/// A page that is compiled when it is asked for first takes its time.
const PATIENCE: Duration = Duration::from_secs(30);
/// What is read of an answer, so that its writer is not cut off, and for how long.
const MAX_ANSWER: u64 = 1 << 20;
const REST_PATIENCE: Duration = Duration::from_secs(2);

/// Tells when `web` answers, then how. Never returns.
pub(super) async fn watch(app: &App, port: u16, path: Option<&str>, pid: u32) -> Infallible {
    let began = Instant::now();
    while !is_up(app, port, path).await {
        let is_silent = began.elapsed() > SILENT;
        if is_silent {
            let what = path.unwrap_or("the port");
            app.change(|status| {
                status.message = Some(format!(
                    "web runs, but {what} does not answer on 127.0.0.1:{port}; it must listen on the port in $PORT"
                ));
            });
        }
        sleep(if is_silent { LOOK_SILENT } else { LOOK }).await;
    }
    app.process("web", |process| {
        process.state = AppState::Running;
        process.pid = Some(pid);
    });
    app.change(|status| {
        status.state = AppState::Running;
        status.message = None;
    });
    loop {
        let healthy = ask(app, port, path).await;
        sleep(if healthy { ASK_HEALTHY } else { ASK_UNHEALTHY }).await;
    }
}

/// An app that names a path is up when that answers well, another one when its port is open.
async fn is_up(app: &App, port: u16, path: Option<&str>) -> bool {
    is_open(port).await && (path.is_none() || ask(app, port, path).await)
}

/// Whether anybody listens on a port of the sandbox.
pub(super) async fn is_open(port: u16) -> bool {
    connect(port).await.is_some()
}

async fn connect(port: u16) -> Option<TcpStream> {
    for address in ["127.0.0.1", "::1"] {
        let stream = timeout(Duration::from_secs(1), TcpStream::connect((address, port)));
        if let Ok(Ok(stream)) = stream.await {
            return Some(stream);
        }
    }
    None
}

/// Asks once, and notes the answer.
async fn ask(app: &App, port: u16, path: Option<&str>) -> bool {
    let asked = path.unwrap_or("/");
    let answer = timeout(PATIENCE, request(port, asked)).await;
    let (status, problem) = match answer {
        Ok(Ok(status)) => (Some(status), judge(status, path.is_some())),
        Ok(Err(problem)) => (None, Some(problem)),
        Err(_) => {
            let seconds = PATIENCE.as_secs();
            (None, Some(format!("no answer within {seconds} s")))
        }
    };
    let now = now();
    let mut health = AppHealth {
        healthy: problem.is_none(),
        path: asked.to_owned(),
        status,
        problem,
        since_ms: now,
        checked_ms: now,
    };
    app.status.send_if_modified(|app| {
        let is_same = app.health.as_ref().is_some_and(|before| {
            health.since_ms = before.since_ms;
            health.checked_ms = before.checked_ms;
            *before == health
        });
        if !is_same {
            health.since_ms = now;
        }
        health.checked_ms = now;
        app.health = Some(health.clone());
        !is_same
    });
    health.healthy
}

/// What is wrong with a status. An app need not have a page at `/`, but the path that its manifest names has to work.
fn judge(status: u16, is_named: bool) -> Option<String> {
    let fine = if is_named { 100..400 } else { 100..500 };
    (!fine.contains(&status)).then(|| format!("it answers with status {status}"))
}

async fn request(port: u16, path: &str) -> Result<u16, String> {
    let stream = connect(port)
        .await
        .ok_or_else(|| format!("nothing listens on port {port}"))?;
    let mut stream = Socket(stream);
    let ask = async {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\nAccept: */*\r\nUser-Agent: glasshouse-health\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        // `HTTP/1.1 200` is all that matters.
        let mut head = [0; 12];
        stream.read_exact(&mut head).await?;
        Ok::<_, std::io::Error>(head)
    };
    let head = ask.await.map_err(|error| error.to_string())?;
    let mut rest = stream.take(MAX_ANSWER);
    let rest = timeout(
        REST_PATIENCE,
        tokio::io::copy(&mut rest, &mut tokio::io::sink()),
    )
    .await;
    drop(rest);
    status(&head).ok_or_else(|| "what it answers is not HTTP".to_owned())
}

fn status(head: &[u8; 12]) -> Option<u16> {
    let text = std::str::from_utf8(head).ok()?;
    text.strip_prefix("HTTP/1.")?.get(2..)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_http_has_a_status() {
        assert_eq!(status(b"HTTP/1.1 204"), Some(204));
        assert_eq!(status(b"HTTP/1.0 500"), Some(500));
        for head in [b"SSH-2.0-Open", b"HTTP/1.1 abc", b"HTTP/1.1\xff200"] {
            assert_eq!(status(head), None);
        }
    }

    #[test]
    fn a_missing_page_is_an_illness_only_where_the_manifest_names_it() {
        assert_eq!(judge(404, false), None);
        assert!(judge(404, true).is_some());
        assert!(judge(502, false).is_some());
        assert_eq!(judge(302, true), None);
    }
}
