//! `glasshouse.App`: single processes, their logs, their health and their crashes.

use futures::{StreamExt as _, TryStreamExt as _};
use glass_guest_protocol::app::{
    AppAction, AppEvent, AppEventsRequest, AppLogLine, AppLogsRequest, AppProcess, AppState,
    AppStatus,
};
use glass_guest_protocol::connect::Code;

use crate::app::{SERVER, request, running, until};
use crate::harness::{Guest, LONG};

fn free_port() -> u16 {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    free.local_addr().unwrap().port()
}

/// A guest whose workspace has a manifest with the port put in for `PORT`, and a server.
async fn with_manifest(manifest: &str) -> (Guest, u16) {
    let port = free_port();
    let guest = Guest::start_with(|workspace| {
        std::fs::write(workspace.join("server.py"), SERVER).unwrap();
        let text = manifest.replace("PORT", &port.to_string());
        std::fs::write(workspace.join("glasshouse.yaml"), text).unwrap();
    })
    .await;
    (guest, port)
}

fn process<'a>(status: &'a AppStatus, name: &str) -> &'a AppProcess {
    let mut processes = status.processes.iter();
    processes.find(|process| process.name == name).unwrap()
}

async fn lines(guest: &Guest, process: &str, from: u64) -> Vec<AppLogLine> {
    let wanted = AppLogsRequest {
        process: Some(process.to_owned()),
        from: Some(from),
        follow: false,
    };
    guest
        .client
        .app_logs(&wanted)
        .await
        .unwrap()
        .try_collect()
        .await
        .unwrap()
}

async fn first_event(guest: &Guest, from: u64) -> AppEvent {
    let wanted = AppEventsRequest {
        from: Some(from),
        follow: true,
    };
    let mut events = guest.client.app_events(&wanted).await.unwrap();
    let event = tokio::time::timeout(LONG, events.next()).await.unwrap();
    event.unwrap().unwrap()
}

const TWO: &str = "web: {command: exec python3 server.py, port: PORT}\nworkers:\n  mail: {command: echo mail; exec sleep 1000}\n";

#[tokio::test]
async fn a_process_is_stopped_started_and_restarted_alone() {
    let (guest, port) = with_manifest(TWO).await;
    let both = |status: &AppStatus| {
        status.state == AppState::Running
            && status
                .processes
                .iter()
                .filter(|one| one.pid.is_some())
                .count()
                == 2
    };
    let before = until(&guest, both).await;
    let stopped = guest
        .client
        .app_process("mail", AppAction::Stop)
        .await
        .unwrap();
    assert_eq!((stopped.state, stopped.pid), (AppState::Stopped, None));
    let status = guest.client.app_status().await.unwrap();
    assert_eq!(process(&status, "web"), process(&before, "web"));
    let started = guest
        .client
        .app_process("mail", AppAction::Start)
        .await
        .unwrap();
    assert_eq!(started.state, AppState::Running);
    let again = guest
        .client
        .app_process("mail", AppAction::Start)
        .await
        .unwrap();
    assert_eq!(again, started, "one that runs is left alone");
    let restarted = guest
        .client
        .app_process("mail", AppAction::Restart)
        .await
        .unwrap();
    assert!(restarted.pid.is_some() && restarted.pid != started.pid);
    guest
        .client
        .app_process("web", AppAction::Stop)
        .await
        .unwrap();
    let status = guest.client.app_status().await.unwrap();
    assert_eq!((status.state, status.health), (AppState::Stopped, None));
    assert!(
        tokio::net::TcpStream::connect(("127.0.0.1", port))
            .await
            .is_err()
    );
    guest
        .client
        .app_process("web", AppAction::Restart)
        .await
        .unwrap();
    running(&guest).await;
    assert_eq!(request(port, "GET /").await.1, b"VERSION");
    // Nobody has crashed.
    let events = guest
        .client
        .app_events(&AppEventsRequest::default())
        .await
        .unwrap();
    assert_eq!(events.count().await, 0);
}

#[tokio::test]
async fn a_stopped_process_stays_so_when_the_plan_changes_but_not_when_all_is_restarted() {
    let (guest, _) = with_manifest(TWO).await;
    until(&guest, |status| status.processes.len() == 2).await;
    guest
        .client
        .app_process("mail", AppAction::Stop)
        .await
        .unwrap();
    let file = guest.workspace().join("glasshouse.yaml");
    let manifest = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, manifest.replace("sleep 1000", "sleep 2000")).unwrap();
    let changed = |status: &AppStatus| {
        status
            .processes
            .iter()
            .any(|one| one.name == "web" && one.pid.is_some())
    };
    let web = process(&guest.client.app_status().await.unwrap(), "web").pid;
    let status = until(&guest, |status| {
        changed(status) && process(status, "web").pid != web && status.processes.len() == 2
    })
    .await;
    assert_eq!(process(&status, "mail").state, AppState::Stopped);
    guest.client.app_restart().await.unwrap();
    until(&guest, |status| {
        status
            .processes
            .iter()
            .any(|one| one.name == "mail" && one.state == AppState::Running)
    })
    .await;
}

#[tokio::test]
async fn a_process_that_there_is_not_is_named_with_those_that_there_are() {
    let (guest, _) = with_manifest(TWO).await;
    running(&guest).await;
    let error = guest
        .client
        .app_process("mial", AppAction::Stop)
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::NotFound);
    let text = error.to_string();
    assert!(
        text.contains("\"mial\"") && text.contains("mail, web"),
        "{text}"
    );
}

#[tokio::test]
async fn a_crash_is_an_event_with_its_last_words_and_outlives_the_guest() {
    let (mut guest, _) = with_manifest(
        "web: {command: exec python3 server.py, port: PORT}\nworkers:\n  mail: {command: echo no mail today; exit 3}\n",
    )
    .await;
    let event = first_event(&guest, 1).await;
    assert_eq!(event.number, 1);
    assert!(event.at_ms > 1_600_000_000_000);
    assert_eq!(event.crash.process, "mail");
    assert_eq!((event.crash.exit_code, event.crash.signal), (Some(3), None));
    assert_eq!(event.crash.lines.last().unwrap(), "no mail today");
    assert!(!event.crash.given_up);
    // The next one comes after a second's pause, and is numbered on.
    assert_eq!(first_event(&guest, 2).await.number, 2);
    guest.crash().await;
    assert_eq!(first_event(&guest, 1).await, event);
    let next = first_event(&guest, 3).await;
    assert!(next.number >= 3);
}

#[tokio::test]
async fn a_killed_web_is_told_by_its_signal_and_comes_back() {
    let (guest, port) = with_manifest("web: {command: exec python3 server.py, port: PORT}\n").await;
    let pid = process(&running(&guest).await, "web").pid;
    let kill = rustix::process::Pid::from_raw(pid.unwrap().cast_signed()).unwrap();
    rustix::process::kill_process(kill, rustix::process::Signal::KILL).unwrap();
    let event = first_event(&guest, 1).await;
    assert_eq!((event.crash.exit_code, event.crash.signal), (None, Some(9)));
    let back =
        |status: &AppStatus| status.state == AppState::Running && process(status, "web").pid != pid;
    let status = until(&guest, back).await;
    assert_eq!(process(&status, "web").restarts, 1);
    assert_eq!(request(port, "GET /").await.1, b"VERSION");
}

#[tokio::test]
async fn logs_are_read_by_process_and_number_and_outlive_the_guest() {
    let (mut guest, _) = with_manifest(TWO).await;
    running(&guest).await;
    let mail = lines(&guest, "mail", 0).await;
    assert_eq!(mail[1].text, "mail");
    assert!(mail[1].at_ms > 1_600_000_000_000);
    guest.crash().await;
    running(&guest).await;
    let again = lines(&guest, "mail", 0).await;
    assert_eq!(
        again[..2],
        mail[..2],
        "what was there is there with its numbers"
    );
    assert!(
        again.len() >= 4,
        "and the new guest's lines follow: {again:?}"
    );
    assert_eq!(lines(&guest, "mail", mail[1].number + 1).await, again[2..]);
    assert!(
        lines(&guest, "web", 0)
            .await
            .iter()
            .all(|line| line.process == "web")
    );
    assert!(lines(&guest, "../agents", 0).await.is_empty());
}

#[tokio::test]
async fn health_is_told_with_status_and_time() {
    let server = SERVER.replace(
        "send_response(200)",
        "send_response(int(open('status').read()))",
    );
    let port = free_port();
    let guest = Guest::start_with(|workspace| {
        std::fs::write(workspace.join("status"), "503").unwrap();
        std::fs::write(workspace.join("server.py"), server).unwrap();
        let manifest =
            format!("web: {{command: exec python3 server.py, port: {port}, health_path: /ok}}\n");
        std::fs::write(workspace.join("glasshouse.yaml"), manifest).unwrap();
    })
    .await;
    let asked = |healthy: bool| {
        move |status: &AppStatus| {
            status
                .health
                .as_ref()
                .is_some_and(|health| health.healthy == healthy)
        }
    };
    let status = until(&guest, asked(false)).await;
    assert_eq!(status.state, AppState::Starting);
    let ill = status.health.unwrap();
    assert_eq!((ill.status, ill.path.as_str()), (Some(503), "/ok"));
    assert!(ill.problem.unwrap().contains("503"));
    std::fs::write(guest.workspace().join("status"), "204").unwrap();
    let status = until(&guest, asked(true)).await;
    let well = status.health.unwrap();
    assert_eq!((well.status, well.problem), (Some(204), None));
    assert!(well.since_ms >= ill.since_ms && well.checked_ms >= well.since_ms);
    running(&guest).await;
}

#[tokio::test]
async fn an_app_without_a_page_at_its_root_is_healthy_and_a_failing_one_is_not() {
    for (code, healthy) in [(404, true), (500, false)] {
        let server = SERVER.replace("200", &code.to_string());
        let guest = Guest::start_with(|workspace| {
            std::fs::write(workspace.join("app.py"), server).unwrap();
        })
        .await;
        let status = until(&guest, |status| status.health.is_some()).await;
        let health = status.health.unwrap();
        assert_eq!((health.status, health.healthy), (Some(code), healthy));
        assert_eq!(status.state, AppState::Running);
    }
}
