//! `process.Process`.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt as _;
use glass_guest_protocol::connect::Code;
use glass_guest_protocol::process::{
    ProcessConfig, ProcessData, ProcessEvent, ProcessInput, Pty, PtySize, Selector, Signal,
    StartRequest,
};
use glass_runtime::{ExecRequest, GuestStream};

use crate::harness::{Guest, LONG};

fn shell(script: &str) -> ExecRequest {
    ExecRequest {
        command: ["/bin/sh", "-c", script].map(str::to_owned).into(),
        ..ExecRequest::default()
    }
}

fn start(script: &str) -> StartRequest {
    StartRequest {
        process: ProcessConfig {
            cmd: "/bin/sh".into(),
            args: ["-c", script].map(str::to_owned).into(),
            ..ProcessConfig::default()
        },
        ..StartRequest::default()
    }
}

/// Reads output until it holds `text`.
async fn until(events: &mut GuestStream<ProcessEvent>, text: &str) -> String {
    let mut seen = String::new();
    let read = async {
        while !seen.contains(text) {
            match events.next().await.unwrap().unwrap() {
                ProcessEvent::Data(
                    ProcessData::Stdout(bytes)
                    | ProcessData::Stderr(bytes)
                    | ProcessData::Pty(bytes),
                ) => seen.push_str(&String::from_utf8_lossy(&bytes)),
                ProcessEvent::Start(_) | ProcessEvent::Keepalive(_) => {}
                ProcessEvent::End(end) => panic!("{end:?} before {text:?}, after {seen:?}"),
            }
        }
    };
    tokio::time::timeout(LONG, read).await.unwrap();
    seen
}

async fn end(events: &mut GuestStream<ProcessEvent>) -> glass_guest_protocol::process::ProcessEnd {
    let read = async {
        loop {
            if let ProcessEvent::End(end) = events.next().await.unwrap().unwrap() {
                return end;
            }
        }
    };
    tokio::time::timeout(LONG, read).await.unwrap()
}

#[tokio::test]
async fn a_command_gives_its_output_and_its_code() {
    let guest = Guest::start().await;
    let mut request = shell("echo out; echo err >&2; pwd; echo $HOME $FROM_CONFIG $MINE; exit 3");
    request.env = BTreeMap::from([("MINE".to_owned(), "too".to_owned())]);
    let output = guest.client.exec(request).await.unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let (home, workspace) = (guest.home(), guest.workspace());
    assert_eq!(
        stdout,
        format!("out\n{}\n{} yes too\n", workspace.display(), home.display())
    );
    assert_eq!(output.stderr, b"err\n");
    assert_eq!(output.exit_code, 3);
    assert!(!output.timed_out && !output.truncated);
}

#[tokio::test]
async fn the_configuration_does_not_reach_a_process() {
    let guest = Guest::start().await;
    let output = guest.client.exec(shell("env")).await.unwrap();
    let env = String::from_utf8(output.stdout).unwrap();
    assert!(!env.contains("GLASSHOUSE_GUEST="), "{env}");
}

#[tokio::test]
async fn input_of_any_size_goes_through() {
    let guest = Guest::start().await;
    let stdin: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let mut request = shell("cat");
    request.stdin = Some(stdin.clone());
    let output = guest.client.exec(request).await.unwrap();
    assert_eq!(output.stdout.len(), stdin.len());
    assert!(output.stdout == stdin);
}

#[tokio::test]
async fn output_beyond_the_limit_is_cut_and_said_to_be() {
    let guest = Guest::start().await;
    let output = guest
        .client
        .exec(shell("head -c 20000000 /dev/zero"))
        .await
        .unwrap();
    assert_eq!(output.stdout.len(), glass_runtime::MAX_OUTPUT);
    assert!(output.truncated);
}

#[tokio::test]
async fn time_ends_a_command_and_its_children() {
    let guest = Guest::start().await;
    let mut request = shell("sleep 1000 & echo $!; wait");
    request.timeout = Some(Duration::from_millis(300));
    let output = guest.client.exec(request).await.unwrap();
    assert!(output.timed_out);
    let child = String::from_utf8(output.stdout).unwrap();
    let gone = guest
        .client
        .exec(shell(&format!(
            "while kill -0 {} 2>/dev/null; do :; done",
            child.trim()
        )))
        .await;
    assert_eq!(gone.unwrap().exit_code, 0);
}

#[tokio::test]
async fn a_child_left_behind_does_not_hold_a_command_up() {
    let guest = Guest::start().await;
    let output = tokio::time::timeout(LONG, guest.client.exec(shell("sleep 1000 & echo started")))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(output.stdout, b"started\n");
}

#[tokio::test]
async fn what_cannot_be_started_is_named() {
    let guest = Guest::start().await;
    let mut request = shell("");
    request.command = vec!["no-such-program".into()];
    let error = guest.client.exec(request).await.unwrap_err();
    assert_eq!(error.code(), Code::NotFound);
    assert!(error.to_string().contains("no-such-program"), "{error}");

    let mut request = shell("true");
    request.cwd = Some("no/such/place".into());
    let error = guest.client.exec(request).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    assert!(error.to_string().contains("no/such/place"), "{error}");

    let error = guest.client.exec(ExecRequest::default()).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_process_goes_on_without_its_client_and_is_found_again() {
    let guest = Guest::start().await;
    let mut request = start("echo first; read line; echo got $line");
    request.tag = Some("job".into());
    let mut started = guest.client.start(&request).await.unwrap();
    until(&mut started.events, "first\n").await;
    let pid = started.pid;
    drop(started);
    let processes = guest.client.processes().await.unwrap();
    assert_eq!(processes.len(), 1);
    assert_eq!(
        (processes[0].pid, processes[0].tag.as_deref()),
        (pid, Some("job"))
    );
    let mut attached = guest
        .client
        .attach(Selector::Tag("job".into()))
        .await
        .unwrap();
    assert_eq!(attached.pid, pid);
    guest
        .client
        .send_input(Selector::Pid(pid), ProcessInput::Stdin(b"line\n".to_vec()))
        .await
        .unwrap();
    let seen = until(&mut attached.events, "got line\n").await;
    assert!(seen.starts_with("first\n"), "{seen:?}");
    assert_eq!(end(&mut attached.events).await.exit_code, 0);
    let error = guest.client.attach(Selector::Pid(pid)).await.unwrap_err();
    assert_eq!(error.code(), Code::NotFound);
}

#[tokio::test]
async fn closing_the_input_ends_who_reads_it() {
    let guest = Guest::start().await;
    let mut started = guest.client.start(&start("cat; echo over")).await.unwrap();
    let selector = Selector::Pid(started.pid);
    guest.client.close_stdin(selector.clone()).await.unwrap();
    until(&mut started.events, "over\n").await;
    assert_eq!(end(&mut started.events).await.status, "exit status 0");
}

#[tokio::test]
async fn a_kill_takes_the_whole_session() {
    let guest = Guest::start().await;
    let mut started = guest
        .client
        .start(&start("sleep 1000 & echo $!; wait"))
        .await
        .unwrap();
    let child = until(&mut started.events, "\n").await;
    let selector = Selector::Pid(started.pid);
    guest
        .client
        .signal(selector.clone(), Signal::Kill)
        .await
        .unwrap();
    let end = end(&mut started.events).await;
    assert_eq!((end.exit_code, end.status.as_str()), (-1, "signal: killed"));
    let script = format!("while kill -0 {} 2>/dev/null; do :; done", child.trim());
    assert_eq!(
        guest.client.exec(shell(&script)).await.unwrap().exit_code,
        0
    );
    let error = guest
        .client
        .signal(selector, Signal::Kill)
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::NotFound);
}

#[tokio::test]
async fn a_terminal_has_a_size_and_echoes() {
    let guest = Guest::start().await;
    let size = PtySize {
        cols: 101,
        rows: 37,
    };
    let mut request = start("stty size; tty; read line; stty size; echo bye");
    request.pty = Some(Pty { size: Some(size) });
    let mut started = guest.client.start(&request).await.unwrap();
    let seen = until(&mut started.events, "/dev/pts/").await;
    assert!(seen.contains("37 101"), "{seen:?}");
    let selector = Selector::Pid(started.pid);
    let size = PtySize { cols: 50, rows: 20 };
    guest.client.resize(selector.clone(), size).await.unwrap();
    let input = ProcessInput::Pty(b"go\n".to_vec());
    guest.client.send_input(selector, input).await.unwrap();
    let seen = until(&mut started.events, "bye").await;
    assert!(
        seen.contains("go\r\n") && seen.contains("20 50"),
        "{seen:?}"
    );
    assert_eq!(end(&mut started.events).await.exit_code, 0);
}

#[tokio::test]
async fn the_end_of_the_guest_is_orderly() {
    let mut guest = Guest::start().await;
    let marker = guest.workspace().join("ended");
    let script = format!(
        "trap 'echo yes > {}; exit 0' TERM; echo ready; while :; do sleep 0.05; done",
        marker.display()
    );
    let mut started = guest.client.start(&start(&script)).await.unwrap();
    until(&mut started.events, "ready").await;
    let mut stubborn = guest
        .client
        .start(&start(
            "trap '' TERM; echo ready; while :; do sleep 1; done",
        ))
        .await
        .unwrap();
    until(&mut stubborn.events, "ready").await;
    let pid = guest.process.id().unwrap();
    let killed = std::process::Command::new("kill")
        .args(["-TERM", &pid.to_string()])
        .status();
    assert!(killed.unwrap().success());
    let status = tokio::time::timeout(LONG, guest.process.wait())
        .await
        .unwrap()
        .unwrap();
    assert!(status.success(), "{status}");
    assert_eq!(std::fs::read_to_string(marker).unwrap(), "yes\n");
    // Killed, it may wait to be reaped by whoever inherits it.
    let alive = std::fs::read_to_string(format!("/proc/{}/stat", stubborn.pid))
        .is_ok_and(|stat| !stat.contains(") Z "));
    assert!(!alive, "a process outlived the guest");
}
