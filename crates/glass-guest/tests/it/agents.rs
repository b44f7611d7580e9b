//! `glasshouse.Agent`.

use std::collections::BTreeMap;

use futures::StreamExt as _;
use glass_guest_protocol::agent::{AgentLine, AgentSource, AgentStart};
use glass_guest_protocol::connect::Code;

use crate::harness::{Guest, LONG};

fn agent(key: &str, script: &str) -> AgentStart {
    AgentStart {
        key: key.into(),
        argv: ["/bin/sh", "-c", script].map(str::to_owned).into(),
        env: BTreeMap::new(),
        cwd: None,
    }
}

async fn lines(guest: &Guest, key: &str, from: u64, count: usize) -> Vec<AgentLine> {
    let stream = guest.client.agent_lines(key, from).await.unwrap();
    let read = stream.take(count).map(Result::unwrap).collect();
    tokio::time::timeout(LONG, read).await.unwrap()
}

fn short(lines: &[AgentLine]) -> Vec<(u64, AgentSource, &str)> {
    lines
        .iter()
        .map(|line| (line.number, line.source, line.text.as_str()))
        .collect()
}

#[tokio::test]
async fn every_line_is_numbered_and_read_by_anybody_from_anywhere() {
    let guest = Guest::start().await;
    let start = agent(
        "a",
        "while read line; do echo got $line; done; echo end >&2; exit 4",
    );
    assert!(guest.client.agent_start(&start).await.unwrap());
    assert!(!guest.client.agent_start(&start).await.unwrap());
    assert!(guest.client.agent_send("a", "1", "one").await.unwrap());
    lines(&guest, "a", 1, 2).await;
    assert!(!guest.client.agent_send("a", "1", "one").await.unwrap());
    assert!(guest.client.agent_send("a", "2", "two").await.unwrap());
    let expected = [
        (1, AgentSource::Stdin, "one"),
        (2, AgentSource::Stdout, "got one"),
        (3, AgentSource::Stdin, "two"),
        (4, AgentSource::Stdout, "got two"),
    ];
    assert_eq!(short(&lines(&guest, "a", 0, 4).await), expected);
    assert_eq!(short(&lines(&guest, "a", 3, 2).await), expected[2..]);
}

#[tokio::test]
async fn the_log_ends_with_the_exit() {
    let guest = Guest::start().await;
    let start = agent("a", "echo one; echo two >&2; printf rest; exit 4");
    guest.client.agent_start(&start).await.unwrap();
    let all = lines(&guest, "a", 1, 99).await;
    assert_eq!(all.len(), 4);
    assert_eq!(short(&all)[3], (4, AgentSource::Exit, "exit status 4"));
    let mut texts: Vec<_> = all[..3].iter().map(|line| line.text.as_str()).collect();
    texts.sort_unstable();
    assert_eq!(texts, ["one", "rest", "two"]);
    let error = guest.client.agent_send("a", "x", "y").await.unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition);
    assert!(lines(&guest, "a", 50, 1).await.is_empty());
    assert!(!guest.client.agent_start(&start).await.unwrap());
}

#[tokio::test]
async fn a_crash_of_the_guest_loses_and_repeats_nothing() {
    let mut guest = Guest::start().await;
    let start = agent("a", "while read line; do echo got $line; done");
    guest.client.agent_start(&start).await.unwrap();
    guest.client.agent_send("a", "1", "one").await.unwrap();
    let before = lines(&guest, "a", 1, 2).await;
    guest.crash().await;
    let after = lines(&guest, "a", 1, 99).await;
    assert_eq!(after[..2], before[..]);
    assert_eq!(
        short(&after[2..]),
        [(3, AgentSource::Exit, "sandbox was stopped")]
    );
    assert!(!guest.client.agent_start(&start).await.unwrap());
    assert!(!guest.client.agent_send("a", "1", "one").await.unwrap());
    assert_eq!(guest.client.agents().await.unwrap()[0].lines, 3);
}

#[tokio::test]
async fn stopping_kills_the_children_too() {
    let guest = Guest::start().await;
    let start = agent("a", "setsid sleep 1000 & echo $!; wait");
    guest.client.agent_start(&start).await.unwrap();
    let child = lines(&guest, "a", 1, 1).await.remove(0).text;
    guest.client.agent_stop("a").await.unwrap();
    assert_eq!(lines(&guest, "a", 2, 9).await[0].text, "signal: killed");
    let gone = async {
        // It is a zombie until somebody reaps it, and then nothing.
        while std::fs::read_to_string(format!("/proc/{child}/stat"))
            .is_ok_and(|stat| !stat.contains(") Z "))
        {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, gone).await.unwrap();
    guest.client.agent_stop("a").await.unwrap();
}

#[tokio::test]
async fn a_slow_reader_gets_all_of_a_fast_agent() {
    let guest = Guest::start().await;
    let start = agent(
        "a",
        "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); echo $i; done",
    );
    guest.client.agent_start(&start).await.unwrap();
    let all = lines(&guest, "a", 1, 99_999).await;
    assert_eq!(all.len(), 20_001);
    for (index, line) in all[..20_000].iter().enumerate() {
        assert_eq!(line.number, index as u64 + 1);
        assert_eq!(line.text, line.number.to_string());
    }
}

#[tokio::test]
async fn a_giant_line_arrives() {
    let guest = Guest::start().await;
    let script = "head -c 9000000 /dev/zero | tr '\\0' '\"'; echo; echo next";
    guest.client.agent_start(&agent("a", script)).await.unwrap();
    let all = lines(&guest, "a", 1, 2).await;
    assert_eq!(all[0].text.len(), 9_000_000);
    assert_eq!(all[1].text, "next");
}

#[tokio::test]
async fn bad_requests_are_refused_and_leave_no_key() {
    let guest = Guest::start().await;
    let mut start = agent("a", "true");
    start.argv = vec!["no-such-agent".into()];
    let error = guest.client.agent_start(&start).await.unwrap_err();
    assert_eq!(error.code(), Code::NotFound);
    assert!(error.to_string().contains("no-such-agent"), "{error}");
    assert!(guest.client.agent_start(&agent("a", "cat")).await.unwrap());
    let error = guest
        .client
        .agent_start(&agent("../x", ""))
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    let error = guest.client.agent_send("a", "1", "a\nb").await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    let error = guest.client.agent_stop("b").await.unwrap_err();
    assert_eq!(error.code(), Code::NotFound);
}
