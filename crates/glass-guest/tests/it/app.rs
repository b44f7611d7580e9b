//! `glasshouse.App`.

use std::os::unix::fs::symlink;

use futures::{StreamExt as _, TryStreamExt as _};
use glass_guest_protocol::app::{AppKind, AppLogsRequest, AppState, AppStatus};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::{Guest, LONG};

/// Waits until the status is as wanted.
pub(crate) async fn until(guest: &Guest, wanted: impl Fn(&AppStatus) -> bool) -> AppStatus {
    let mut seen = Vec::new();
    let wait = async {
        let mut statuses = guest.client.watch_app().await.unwrap();
        loop {
            let status = statuses.next().await.unwrap().unwrap();
            if wanted(&status) {
                return status;
            }
            seen.push(status);
        }
    };
    let result = tokio::time::timeout(LONG, wait).await;
    result.unwrap_or_else(|_| panic!("{seen:#?}"))
}

pub(crate) async fn running(guest: &Guest) -> AppStatus {
    until(guest, |status| status.state == AppState::Running).await
}

/// A request over a connection of its own; head and body of the answer.
pub(crate) async fn request(port: u16, text: &str) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let (line, headers) = text.split_once('\n').unwrap_or((text, ""));
    let request = format!(
        "{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{}\r\n",
        headers.replace('\n', "\r\n")
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let end = answer
        .windows(4)
        .position(|end| end == b"\r\n\r\n")
        .unwrap();
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    (head.to_lowercase(), answer[end + 4..].to_vec())
}

pub(crate) const SERVER: &str = "import http.server, os
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
        self.wfile.write(b'VERSION')
http.server.HTTPServer(('127.0.0.1', int(os.environ['PORT'])), H).serve_forever()
";

#[tokio::test]
async fn a_page_is_served_with_type_tag_and_ranges() {
    let guest = Guest::start_with(|workspace| {
        std::fs::write(workspace.join("index.html"), "<h1>hi</h1>").unwrap();
        std::fs::create_dir(workspace.join("sub")).unwrap();
        std::fs::write(workspace.join("sub/a b.css"), "0123456789").unwrap();
        std::fs::write(workspace.join("sub/index.html"), "sub").unwrap();
    })
    .await;
    let status = running(&guest).await;
    assert_eq!(status.kind, AppKind::Static);
    let port = status.port.unwrap();
    let (head, body) = request(port, "GET /").await;
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert!(
        head.contains("content-type: text/html; charset=utf-8"),
        "{head}"
    );
    assert!(head.contains("cache-control: no-cache"), "{head}");
    assert_eq!(body, b"<h1>hi</h1>");
    let tag = head.split("etag: ").nth(1).unwrap().lines().next().unwrap();
    let (head, body) = request(port, &format!("GET /\nIf-None-Match: {tag}\n")).await;
    assert!(
        head.starts_with("http/1.1 304") && body.is_empty(),
        "{head}"
    );
    let (head, body) = request(port, "GET /sub/a%20b.css?x=1\nRange: bytes=2-4\n").await;
    assert!(head.starts_with("http/1.1 206"), "{head}");
    assert!(head.contains("content-range: bytes 2-4/10"), "{head}");
    assert!(head.contains("content-type: text/css"), "{head}");
    assert_eq!(body, b"234");
    let (head, _) = request(port, "GET /sub").await;
    assert!(head.contains("location: /sub/"), "{head}");
    assert_eq!(request(port, "GET /sub/").await.1, b"sub");
    let (head, body) = request(port, "HEAD /sub/a%20b.css").await;
    assert!(
        head.contains("content-length: 10") && body.is_empty(),
        "{head}"
    );
    assert!(request(port, "POST /").await.0.starts_with("http/1.1 405"));
}

#[tokio::test]
async fn nothing_but_the_page_is_served() {
    let guest = Guest::start_with(|workspace| {
        std::fs::write(workspace.join("index.html"), "page").unwrap();
        std::fs::write(workspace.join(".env"), "SECRET=1").unwrap();
        std::fs::create_dir(workspace.join(".git")).unwrap();
        std::fs::write(workspace.join(".git/config"), "x").unwrap();
        std::fs::write(workspace.parent().unwrap().join("secret"), "secret").unwrap();
        symlink("../secret", workspace.join("link")).unwrap();
        symlink("/etc", workspace.join("etc")).unwrap();
        let made = std::process::Command::new("mkfifo")
            .arg(workspace.join("pipe"))
            .status();
        assert!(made.unwrap().success());
    })
    .await;
    let port = running(&guest).await.port.unwrap();
    for path in [
        "/.env",
        "/.git/config",
        "/%2eenv",
        "/../secret",
        "/%2e%2e/secret",
        "/..%2fsecret",
        "/link",
        "/etc/passwd",
        "/~/secret",
        "//etc/passwd",
        "/pipe",
        "/nothing",
        "/%00",
    ] {
        let (head, body) = request(port, &format!("GET {path}")).await;
        let refused = head.starts_with("http/1.1 404") || head.starts_with("http/1.1 403");
        assert!(refused, "{path}: {head}");
        assert!(body.len() < 20, "{path}");
    }
}

#[tokio::test]
async fn a_program_is_found_run_and_run_again_when_it_changes() {
    let guest = Guest::start().await;
    until(&guest, |status| status.kind == AppKind::None).await;
    let file = guest.workspace().join("app.py");
    std::fs::write(&file, SERVER.replace("VERSION", "one")).unwrap();
    let status = running(&guest).await;
    assert_eq!(status.kind, AppKind::Python);
    assert_eq!(status.command.as_deref(), Some("python3 app.py"));
    let port = status.port.unwrap();
    assert_eq!(request(port, "GET /").await.1, b"one");
    let first = status.processes[0].pid;
    std::fs::write(&file, SERVER.replace("VERSION", "two")).unwrap();
    let status = until(&guest, |status| {
        status.state == AppState::Running && status.processes[0].pid != first
    })
    .await;
    assert_eq!(request(status.port.unwrap(), "GET /").await.1, b"two");
}

#[tokio::test]
async fn a_manifest_builds_then_runs_web_and_workers() {
    let guest = Guest::start_with(|workspace| {
        std::fs::write(workspace.join("server.py"), SERVER).unwrap();
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        let manifest = format!(
            "build: {{command: echo built > built}}\nweb:\n  command: test -f built && exec python3 server.py\n  port: {port}\n  health_path: /ok\nworkers:\n  mail: {{command: echo mail at $PORT; exec sleep 1000}}\n"
        );
        std::fs::write(workspace.join("glasshouse.yaml"), manifest).unwrap();
    })
    .await;
    let status = until(&guest, |status| {
        status.state == AppState::Running && status.processes.len() == 3
    })
    .await;
    assert_eq!(status.kind, AppKind::Manifest);
    let port = status.port.unwrap();
    assert_eq!(request(port, "GET /").await.1, b"VERSION");
    let wanted = AppLogsRequest {
        process: Some("mail".into()),
        from: None,
        follow: true,
    };
    let logs = guest.client.app_logs(&wanted).await.unwrap();
    let lines: Vec<_> = tokio::time::timeout(LONG, logs.take(2).try_collect())
        .await
        .unwrap()
        .unwrap();
    let lines: Vec<glass_guest_protocol::app::AppLogLine> = lines;
    assert_eq!(lines[1].text, format!("mail at {port}"));
    let web = |status: &AppStatus| {
        status
            .processes
            .iter()
            .find(|process| process.name == "web")
            .and_then(|process| process.pid)
    };
    let before = web(&status);
    guest.client.app_restart().await.unwrap();
    let status = until(&guest, |status| {
        status.state == AppState::Running && web(status).is_some() && web(status) != before
    })
    .await;
    assert_eq!(status.port, Some(port));
}

#[tokio::test]
async fn a_bad_manifest_is_told_and_a_mended_one_is_taken() {
    let guest = Guest::start_with(|workspace| {
        std::fs::write(workspace.join("index.html"), "page").unwrap();
        std::fs::write(workspace.join("glasshouse.yaml"), "web:\n  port: x\n").unwrap();
    })
    .await;
    let status = until(&guest, |status| status.state == AppState::Failed).await;
    let message = status.message.unwrap();
    assert!(
        message.contains("web") && message.contains("line 2"),
        "{message}"
    );
    std::fs::remove_file(guest.workspace().join("glasshouse.yaml")).unwrap();
    assert_eq!(running(&guest).await.kind, AppKind::Static);
}

#[tokio::test]
async fn a_program_that_keeps_failing_is_given_up_with_its_last_words() {
    let guest = Guest::start_with(|workspace| {
        std::fs::write(workspace.join("app.py"), "raise SystemExit('no database')").unwrap();
    })
    .await;
    let status = until(&guest, |status| status.state == AppState::Failed).await;
    let message = status.message.unwrap();
    assert!(
        message.contains("no database") && message.contains("5 times"),
        "{message}"
    );
    assert_eq!(status.processes[0].restarts, 4);
    std::fs::write(guest.workspace().join("app.py"), SERVER).unwrap();
    running(&guest).await;
}

#[tokio::test]
async fn a_port_that_somebody_else_serves_is_left_alone() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let guest = Guest::start_with(|workspace| {
        let manifest = format!("web: {{command: touch started, port: {port}}}\n");
        std::fs::write(workspace.join("glasshouse.yaml"), manifest).unwrap();
    })
    .await;
    let status = running(&guest).await;
    assert!(status.message.unwrap().contains("left alone"));
    assert!(status.processes.is_empty());
    drop(taken);
    until(&guest, |status| !status.processes.is_empty()).await;
}
