//! Which hosts a sandbox's own policy lets it reach, and what is written down when it does not.

use std::time::Duration;

use glass_types::EgressPolicy;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::agent::Sandbox;
use crate::outside::{connect, listener, nobody_came, sandbox, say};

/// Whoever waits longer than this waits for nothing.
pub(crate) const LONG: Duration = Duration::from_secs(20);

pub(crate) fn list(rules: &[&str]) -> EgressPolicy {
    EgressPolicy::Allowlist {
        rules: rules.iter().map(|rule| rule.parse().unwrap()).collect(),
    }
}

/// Until the log has so many entries, and then without waiting that there are no more.
pub(crate) async fn refused(
    sandbox: &Sandbox,
    count: usize,
) -> Vec<(Option<String>, String, u16, &'static str)> {
    let wait = async {
        while sandbox.refused().len() < count {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(LONG, wait).await.unwrap();
    sandbox
        .refused()
        .into_iter()
        .map(|one| (one.process, one.host, one.port, one.rule))
        .collect()
}

pub(crate) async fn ends(stream: &mut (impl AsyncReadExt + Unpin)) -> Vec<u8> {
    let mut rest = Vec::new();
    let read = tokio::time::timeout(LONG, stream.read_to_end(&mut rest)).await;
    read.unwrap().ok();
    rest
}

/// `localhost` stands for a host with a name; the operator's exception lets the test reach it.
#[tokio::test]
async fn a_list_permits_its_hosts_and_ports_and_nothing_else() {
    let (listener, address) = listener().await;
    let port = address.rsplit(':').next().unwrap();
    let rule = format!("localhost:{port}");
    let sandbox = sandbox(list(&[&rule]), &[&address, "[::1]:1"]);
    for (target, by) in [
        (address.as_str(), "allowlist"),
        ("example.com:443", "allowlist"),
        ("localhost:1", "allowlist"),
        ("93.184.216.34:443", "allowlist"),
    ] {
        let answer = connect(&sandbox, target).await;
        assert_eq!(answer.status, 403, "{target}");
        assert!(
            answer.headers.contains("glasshouse-refusal: "),
            "{}",
            answer.headers
        );
        let problem = answer.problem().await;
        assert_eq!(problem["rule"], by, "{target}: {problem}");
    }
    nobody_came(&listener).await;
    let log = refused(&sandbox, 4).await;
    assert!(
        log.contains(&(None, "example.com".to_owned(), 443, "allowlist")),
        "{log:?}"
    );
    assert_eq!(sandbox.egress.counts().refusals, 4);
}

#[tokio::test]
async fn an_address_on_the_list_is_reached_whatever_is_said_to_it() {
    let (listener, address) = listener().await;
    let sandbox = sandbox(list(&[&address]), &[&address]);
    let mut answer = connect(&sandbox, &address).await;
    assert_eq!(answer.status, 200);
    answer
        .stream
        .write_all(b"GET / HTTP/1.1\r\nHost: other.example\r\n\r\n")
        .await
        .unwrap();
    let (mut outside, _) = listener.accept().await.unwrap();
    let mut head = [0; 14];
    outside.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"GET / HTTP/1.1");
}

/// A name that leads to the test's own listener.
pub(crate) async fn named(
    policy: impl Fn(&str) -> EgressPolicy,
) -> (tokio::net::TcpListener, String, Sandbox) {
    let (listener, address) = listener().await;
    let port = address.rsplit(':').next().unwrap().to_owned();
    let v6 = format!("[::1]:{port}");
    let sandbox = sandbox(policy(&port), &[&address, &v6]);
    (listener, format!("localhost:{port}"), sandbox)
}

#[tokio::test]
async fn the_other_side_may_speak_first() {
    let (listener, target, sandbox) = named(|port| list(&[&format!("localhost:{port}")])).await;
    let mut answer = connect(&sandbox, &target).await;
    assert_eq!(answer.status, 200, "{}", answer.line);
    let (mut outside, _) = listener.accept().await.unwrap();
    outside.write_all(b"SSH-2.0-server\r\n").await.unwrap();
    let mut greeting = [0; 16];
    answer.stream.read_exact(&mut greeting).await.unwrap();
    answer
        .stream
        .write_all(b"SSH-2.0-client\r\n")
        .await
        .unwrap();
    outside.read_exact(&mut greeting).await.unwrap();
    assert_eq!(&greeting, b"SSH-2.0-client\r\n");
}

#[tokio::test]
async fn http_for_another_host_does_not_get_through() {
    let (listener, target, sandbox) = named(|port| list(&[&format!("localhost:{port}")])).await;
    let mut answer = connect(&sandbox, &target).await;
    let (mut outside, _) = listener.accept().await.unwrap();
    let words = b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n";
    answer.stream.write_all(words).await.unwrap();
    assert_eq!(ends(&mut answer.stream).await, b"");
    assert_eq!(ends(&mut outside).await, b"", "something got through");
    let log = refused(&sandbox, 1).await;
    assert_eq!(log[0].3, "http_host", "{log:?}");
    let mut answer = connect(&sandbox, &target).await;
    let (mut outside, _) = listener.accept().await.unwrap();
    let words = format!("GET / HTTP/1.1\r\nHost: {target}\r\n\r\n");
    answer.stream.write_all(words.as_bytes()).await.unwrap();
    let mut heard = vec![0; words.len()];
    outside.read_exact(&mut heard).await.unwrap();
    assert_eq!(heard, words.as_bytes());
}

#[tokio::test]
async fn tls_without_the_name_is_told_so() {
    let (listener, target, sandbox) = named(|port| list(&[&format!("localhost:{port}")])).await;
    let mut answer = connect(&sandbox, &target).await;
    let (mut outside, _) = listener.accept().await.unwrap();
    let provider = rustls::crypto::ring::default_provider();
    let config = rustls::ClientConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let name = "evil.example".try_into().unwrap();
    let mut client = rustls::ClientConnection::new(config.into(), name).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    answer.stream.write_all(&hello).await.unwrap();
    let alert = ends(&mut answer.stream).await;
    client.read_tls(&mut alert.as_slice()).unwrap();
    let error = client.process_new_packets().unwrap_err();
    assert_eq!(
        error,
        rustls::Error::AlertReceived(rustls::AlertDescription::AccessDenied)
    );
    assert_eq!(ends(&mut outside).await, b"", "something got through");
    assert_eq!(refused(&sandbox, 1).await[0].3, "tls_name");
}

#[tokio::test]
async fn a_new_policy_holds_at_once_and_cuts_what_it_does_not_permit() {
    let (listener, address) = listener().await;
    let sandbox = sandbox(EgressPolicy::Open, &[&address]);
    let mut answer = connect(&sandbox, &address).await;
    let (_outside, _) = listener.accept().await.unwrap();
    sandbox.egress.set_policy(list(&[&address]));
    // An answer means that the policy was seen, and the tunnel is there still.
    assert_eq!(connect(&sandbox, "example.com:443").await.status, 403);
    assert_eq!(refused(&sandbox, 1).await.len(), 1);
    sandbox.egress.set_policy(EgressPolicy::None);
    assert_eq!(ends(&mut answer.stream).await, b"");
    assert_eq!(connect(&sandbox, &address).await.status, 403);
    let log = refused(&sandbox, 3).await;
    assert!(log[1..].iter().all(|one| one.3 == "mode_none"), "{log:?}");
    sandbox.egress.set_policy(EgressPolicy::Open);
    assert_eq!(connect(&sandbox, &address).await.status, 200);
}

#[tokio::test]
async fn a_request_that_a_new_policy_cuts_is_written_down() {
    let (listener, address) = listener().await;
    let sandbox = sandbox(EgressPolicy::Open, &[&address]);
    let get = format!("GET http://{address}/ HTTP/1.1\r\nHost: {address}\r\n\r\n");
    let server = async {
        let (mut outside, _) = listener.accept().await.unwrap();
        let head = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n";
        outside.write_all(head).await.unwrap();
        outside
    };
    let (mut answer, mut outside) = tokio::join!(say(&sandbox, &get), server);
    assert_eq!(answer.status, 200);
    sandbox.egress.set_policy(EgressPolicy::None);
    assert_eq!(ends(&mut answer.stream).await, b"");
    ends(&mut outside).await;
    let log = refused(&sandbox, 1).await;
    assert_eq!((log[0].1.as_str(), log[0].3), ("127.0.0.1", "mode_none"));
    assert_eq!(sandbox.egress.counts().refusals, 1);
}

#[tokio::test]
async fn whoever_asked_is_written_down_when_the_guest_finds_out() {
    let sandbox = sandbox(EgressPolicy::None, &[]);
    let answer = connect(&sandbox, "example.com:443").await;
    let number = answer
        .headers
        .lines()
        .find_map(|line| line.strip_prefix("glasshouse-refusal: "))
        .unwrap();
    let told = format!(
        "POST /glasshouse/egress/refusals/{number} HTTP/1.1\r\nHost: x\r\nglasshouse-process: curl[42]\r\n\r\n"
    );
    assert_eq!(say(&sandbox, &told).await.status, 204);
    let log = refused(&sandbox, 1).await;
    assert_eq!(log[0].0.as_deref(), Some("curl[42]"));
}

#[tokio::test]
async fn names_are_known_as_far_as_the_policy_goes() {
    let (_listener, address) = listener().await;
    let sandbox = sandbox(
        list(&["localhost:1", "nowhere.invalid"]),
        &[&address, "[::1]:1"],
    );
    for (name, status) in [
        ("localhost", 204),
        ("LocalHost", 204),
        ("nowhere.invalid", 404),
        ("example.com", 403),
        ("127.0.0.1", 403),
        ("0x7f.1", 403),
    ] {
        let question = format!("GET /glasshouse/egress/names/{name} HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_eq!(say(&sandbox, &question).await.status, status, "{name}");
    }
    let log = refused(&sandbox, 3).await;
    assert!(
        log.contains(&(None, "example.com".to_owned(), 53, "allowlist")),
        "{log:?}"
    );
}

#[tokio::test]
async fn a_name_for_something_private_is_refused_before_it_is_connected_to() {
    let sandbox = sandbox(EgressPolicy::Open, &[]);
    let question = "GET /glasshouse/egress/names/localhost HTTP/1.1\r\nHost: x\r\n\r\n";
    let answer = say(&sandbox, question).await;
    assert_eq!(answer.status, 403);
    assert_eq!(answer.problem().await["rule"], "loopback");
}
