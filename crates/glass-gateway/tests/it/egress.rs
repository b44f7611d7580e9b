//! What a sandbox reaches through its socket, and what not.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, stream};
use glass_types::EgressPolicy;
use http::Request;
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;

use crate::agent::full;
use crate::outside::{GATEWAY_PORT, connect, listener, nobody_came, sandbox, say};
use crate::provider::{Provider, pieces};

#[tokio::test]
async fn a_tunnel_passes_bytes_and_the_end_of_each_direction() {
    let (listener, address) = listener().await;
    let sandbox = sandbox(EgressPolicy::Open, &[&address]);
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.unwrap();
        // Only now: the other direction has ended, and this one goes on.
        all.reverse();
        stream.write_all(&all).await.unwrap();
    };
    let client = async {
        // Programs may send before the answer is there.
        let head = format!("CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n\r\nfirst ");
        let mut answer = say(&sandbox, &head).await;
        assert_eq!(answer.status, 200, "{}", answer.line);
        answer.stream.write_all(b"last").await.unwrap();
        answer.stream.shutdown().await.unwrap();
        let mut all = String::new();
        answer.stream.read_to_string(&mut all).await.unwrap();
        assert_eq!(all, "tsal tsrif");
    };
    tokio::join!(server, client);
}

#[tokio::test]
async fn nothing_private_is_reached_in_any_notation() {
    let (listener, address) = listener().await;
    let port = address.rsplit(':').next().unwrap();
    let sandbox = sandbox(EgressPolicy::Open, &[]);
    for (host, rule) in [
        ("127.0.0.1", "loopback"),
        ("127.0.0.1.", "loopback"),
        ("127.8.9.1", "loopback"),
        ("localhost", "loopback"),
        ("LocalHost", "loopback"),
        ("[::1]", "loopback"),
        ("[::ffff:127.0.0.1]", "loopback"),
        ("[::ffff:7f00:1]", "loopback"),
        ("[64:ff9b::7f00:1]", "loopback"),
        ("[2002:7f00:1::1]", "loopback"),
        ("0.0.0.0", "unspecified"),
        ("[::]", "unspecified"),
        ("2130706433", "notation"),
        ("0x7f000001", "notation"),
        ("0x7f.0.0.1", "notation"),
        ("0177.0.0.1", "notation"),
        ("017700000001", "notation"),
        ("127.1", "notation"),
        ("169.254.169.254", "link_local"),
        ("[::ffff:169.254.169.254]", "link_local"),
        ("[fe80::1]", "link_local"),
        ("10.0.0.1", "private"),
        ("172.16.0.1", "private"),
        ("192.168.0.1", "private"),
        ("100.100.100.200", "shared_space"),
        ("[fd00:ec2::254]", "unique_local"),
        ("224.0.0.1", "multicast"),
        ("255.255.255.255", "broadcast"),
    ] {
        let target = format!("{host}:{port}");
        let answer = connect(&sandbox, &target).await;
        assert_eq!(answer.status, 403, "{host}");
        assert!(
            answer.line.contains(&format!("Egress refused ({rule})")),
            "{}",
            answer.line
        );
        let problem = answer.problem().await;
        assert_eq!(problem["rule"], rule, "{host}");
        assert_eq!(problem["code"], format!("egress_{rule}"));
        assert!(problem["remedy"].is_string() && problem["host"].is_string());

        let get = format!("GET http://{target}/ HTTP/1.1\r\nHost: example.com\r\n\r\n");
        let problem = say(&sandbox, &get).await.problem().await;
        assert_eq!(problem["rule"], rule, "{host}");
    }
    nobody_came(&listener).await;
}

#[tokio::test]
async fn the_hosts_own_addresses_are_not_reached() {
    let listener = tokio::net::TcpListener::bind("[::]:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let sandbox = sandbox(EgressPolicy::Open, &[]);
    let interfaces = nix::ifaddrs::getifaddrs().unwrap();
    let own: Vec<String> = interfaces
        .filter_map(|interface| {
            let address = interface.address?;
            let v4 = address.as_sockaddr_in().map(|v4| v4.ip().to_string());
            v4.or_else(|| address.as_sockaddr_in6().map(|v6| format!("[{}]", v6.ip())))
        })
        .collect();
    assert!(!own.is_empty());
    for host in own {
        let answer = connect(&sandbox, &format!("{host}:{port}")).await;
        assert_eq!(answer.status, 403, "{host}");
    }
    nobody_came(&listener).await;
}

#[tokio::test]
async fn what_is_no_target_is_refused() {
    let (listener, address) = listener().await;
    // The exception must not be reached by a trick either.
    let sandbox = sandbox(EgressPolicy::Open, &[&address]);
    for target in [
        format!("user@{address}"),
        format!("example.com:80@{address}"),
        format!("{address}@example.com:80"),
        "example.com".to_owned(),
        "example.com:0".to_owned(),
        "example.com:99999".to_owned(),
        "/".to_owned(),
        "*".to_owned(),
    ] {
        let answer = connect(&sandbox, &target).await;
        assert_eq!(answer.status, 400, "{target}");
        let get = format!("GET http://{target}/ HTTP/1.1\r\nHost: {address}\r\n\r\n");
        if target.contains('@') {
            assert_eq!(say(&sandbox, &get).await.status, 400, "{get}");
        }
    }
    for url in [format!("https://{address}/"), format!("ftp://{address}/")] {
        let get = format!("GET {url} HTTP/1.1\r\nHost: {address}\r\n\r\n");
        let answer = say(&sandbox, &get).await;
        assert_eq!(answer.status, 400);
        assert_eq!(answer.problem().await["rule"], "scheme");
    }
    nobody_came(&listener).await;
}

#[tokio::test]
async fn an_exception_by_name_is_reached() {
    let (listener, address) = listener().await;
    let port = address.rsplit(':').next().unwrap();
    let target = format!("localhost:{port}");
    let sandbox = sandbox(EgressPolicy::Open, &[&target]);
    assert_eq!(connect(&sandbox, &target).await.status, 200);
    listener.accept().await.unwrap();
    assert_eq!(connect(&sandbox, &address).await.status, 403);
}

#[tokio::test]
async fn mode_none_refuses_the_exceptions_as_well() {
    let (listener, address) = listener().await;
    let sandbox = sandbox(EgressPolicy::None, &[&address]);
    for target in [&address, "example.com:443"] {
        let answer = connect(&sandbox, target).await;
        assert_eq!(answer.status, 403);
        assert_eq!(answer.problem().await["rule"], "mode_none");
    }
    nobody_came(&listener).await;
    let hello = Request::head("/").body(full("")).unwrap();
    assert_eq!(sandbox.send(hello).await.unwrap().status(), 200);
}

#[tokio::test]
async fn what_does_not_answer_is_named() {
    let (listener, address) = listener().await;
    drop(listener);
    let sandbox = sandbox(EgressPolicy::Open, &[&address]);
    let answer = connect(&sandbox, &address).await;
    assert_eq!(answer.status, 502);
    let problem = answer.problem().await;
    assert_eq!(problem["rule"], "unreachable");
    assert!(problem["detail"].as_str().unwrap().contains("refused"));

    let answer = connect(&sandbox, "there-is-none.invalid:443").await;
    // A resolver without a network takes its time.
    assert!(matches!(answer.status, 502 | 504), "{}", answer.line);
    let problem = answer.problem().await;
    assert_eq!(problem["rule"], "unresolved");
    assert_eq!(problem["host"], "there-is-none.invalid");
}

#[tokio::test]
async fn a_sandbox_has_so_many_tunnels_and_no_more() {
    let (listener, address) = listener().await;
    let sandbox = sandbox(EgressPolicy::Open, &[&address]);
    let mut tunnels = Vec::new();
    for _ in 0..128 {
        let (answer, accepted) = tokio::join!(connect(&sandbox, &address), listener.accept());
        assert_eq!(answer.status, 200);
        tunnels.push((answer, accepted.unwrap()));
    }
    let answer = connect(&sandbox, &address).await;
    assert_eq!(answer.status, 429);
    assert_eq!(answer.problem().await["rule"], "connections");
    // Models are talked to as before.
    let hello = Request::head("/").body(full("")).unwrap();
    assert_eq!(sandbox.send(hello).await.unwrap().status(), 200);

    tunnels.pop();
    let freed = async {
        // The room is free some moments after the ends of the tunnel are.
        while connect(&sandbox, &address).await.status != 200 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), freed)
        .await
        .unwrap();
}

#[tokio::test]
async fn the_outside_is_told_when_the_program_goes() {
    let (listener, address) = listener().await;
    let sandbox = sandbox(EgressPolicy::Open, &[&address]);
    let (answer, accepted) = tokio::join!(connect(&sandbox, &address), listener.accept());
    drop(answer);
    let (mut stream, _) = accepted.unwrap();
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_stop_cuts_the_tunnels() {
    let (listener, address) = listener().await;
    let mut sandbox = sandbox(EgressPolicy::Open, &[&address]);
    let (mut answer, accepted) = tokio::join!(connect(&sandbox, &address), listener.accept());
    sandbox.stop().await.unwrap();
    assert_eq!(answer.stream.read(&mut [0]).await.unwrap(), 0);
    drop(accepted);
}

#[tokio::test]
async fn a_request_with_an_absolute_url_is_passed_on_as_it_streams() {
    let go_on = Arc::new(Notify::new());
    let wait = go_on.clone();
    let server = Provider::start(move || {
        let wait = wait.clone();
        let rest = stream::once(async move {
            wait.notified().await;
            Ok(Bytes::from("last"))
        });
        let first = pieces("text/plain", vec![Ok("first ".into())]);
        let mut response = first.map(|first| first.chain(rest).boxed());
        let headers = response.headers_mut();
        headers.insert("connection", "x-hop".parse().unwrap());
        headers.insert("x-hop", "1".parse().unwrap());
        headers.insert("etag", "1".parse().unwrap());
        response
    })
    .await;
    let address = server.url.strip_prefix("http://").unwrap();
    let sandbox = sandbox(EgressPolicy::Open, &[address]);
    let request = Request::post(format!("{}/a/b?c=d", server.url))
        .header("host", "elsewhere.example")
        .header("proxy-authorization", "Basic eDp5")
        .header("proxy-connection", "keep-alive")
        .header("connection", "x-mine")
        .header("x-mine", "1")
        .header("authorization", "Bearer for-the-server")
        .body(full("asked"))
        .unwrap();
    let mut answer = sandbox.send(request).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["etag"], "1");
    assert!(!answer.headers().contains_key("x-hop"));
    let first = answer.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(first, "first ");
    go_on.notify_one();
    assert_eq!(answer.collect().await.unwrap().to_bytes(), "last");

    let (head, body) = server.seen().remove(0);
    assert_eq!(body, b"asked");
    assert_eq!(head.uri, "/a/b?c=d");
    assert_eq!(head.headers["host"], address);
    assert_eq!(head.headers["authorization"], "Bearer for-the-server");
    for name in ["proxy-authorization", "proxy-connection", "x-mine"] {
        assert!(!head.headers.contains_key(name), "{name}");
    }
}

#[tokio::test]
async fn an_answer_that_is_cut_is_cut() {
    let server = Provider::start(|| {
        pieces(
            "text/plain",
            vec![Ok("x".into()), Err(std::io::Error::other("cut"))],
        )
    })
    .await;
    let address = server.url.strip_prefix("http://").unwrap();
    let sandbox = sandbox(EgressPolicy::Open, &[address]);
    let request = Request::get(&server.url).body(full("")).unwrap();
    match sandbox.send(request).await {
        Ok(answer) if answer.status() == 200 => assert!(answer.collect().await.is_err()),
        Ok(answer) => assert_eq!(answer.status(), 502),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn the_gateways_own_url_in_full_is_the_gateway() {
    let sandbox = sandbox(EgressPolicy::Open, &[]);
    let own = format!("http://127.0.0.1:{GATEWAY_PORT}");
    let hello = Request::head(&own).body(full("")).unwrap();
    assert_eq!(sandbox.send(hello).await.unwrap().status(), 200);
    let ask = Request::post(format!("{own}/v1/messages?beta=true"))
        .body(full("{}"))
        .unwrap();
    let (head, text) = sandbox.ask(ask).await;
    assert_eq!(head.status, 401);
    assert!(text.contains("no sandbox token"), "{text}");
    let other = Request::head(format!("http://127.0.0.1:{}", GATEWAY_PORT + 1))
        .body(full(""))
        .unwrap();
    assert_eq!(sandbox.send(other).await.unwrap().status(), 403);
}
