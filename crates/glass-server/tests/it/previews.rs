//! Previews of sandboxes that rest, and of those that are private.

use http::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::{Answer, Client, send};
use crate::idle::{becomes, freezing, others_freeze, state};
use crate::world::{World, eventually};

fn free_port() -> u16 {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    free.local_addr().unwrap().port()
}

/// A sandbox with an app that answers on a port.
async fn with_app(client: &Client, visibility: &str) -> (String, u16) {
    let made = client
        .post("/v1/sandboxes", json!({"visibility": visibility}))
        .await;
    let id = made.json["id"].as_str().unwrap().to_owned();
    let port = free_port();
    let manifest = format!(
        "web:\n  command: sleep 0.5; exec python3 -m http.server --bind 127.0.0.1 {port}\n  port: {port}\n"
    );
    let file = format!("/v1/sandboxes/{id}/files/content?path=glasshouse.yaml");
    assert_eq!(client.put(&file, manifest).await.status, 200);
    eventually("the app runs", async || {
        client.get(&format!("/v1/sandboxes/{id}/app")).await.json["state"] == "running"
    })
    .await;
    (id, port)
}

/// What a visitor gets who has no token of the API.
async fn visit(world: &World, host: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let visitor = Client::new(world.address(), None);
    let mut request = visitor.request(Method::GET, path).header("host", host);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    send(request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_wakes_a_stopped_sandbox_and_waits_for_its_app() {
    World::run(async |world| {
        let client = world.client();
        let (id, port) = with_app(&client, "public").await;
        // The case of the name changes nothing.
        let host = format!("{port}-{id}.preview.localhost").to_uppercase();
        for _ in 0..2 {
            assert_eq!(
                client.act(&format!("/v1/sandboxes/{id}/stop")).await.status,
                200
            );
            assert_eq!(state(&client, &id).await, "stopped");
            let visits = (0..5).map(|_| visit(world, &host, "/", &[("accept", "*/*")]));
            for page in futures::future::join_all(visits).await {
                assert_eq!(page.status, 200, "{page:?}");
                assert!(String::from_utf8_lossy(&page.bytes).contains("glasshouse.yaml"));
            }
            assert_eq!(state(&client, &id).await, "running");
        }
        // Somebody who looks gets a page that follows the start, for the app takes its time.
        assert_eq!(
            client.act(&format!("/v1/sandboxes/{id}/stop")).await.status,
            200
        );
        let told = visit(world, &host, "/.glasshouse/wake", &[]).await;
        let told = String::from_utf8_lossy(&told.bytes).into_owned();
        assert!(told.contains("event: step"), "{told}");
        assert!(told.ends_with("event: ready\ndata: {}\n\n"), "{told}");
        let metrics = client.get("/metrics").await;
        let metrics = String::from_utf8_lossy(&metrics.bytes).into_owned();
        for line in [
            "glasshouse_edge_requests_total{outcome=\"held\"} 10",
            "glasshouse_edge_requests_total{outcome=\"own\"} 1",
            "glasshouse_edge_answer_seconds_bucket{le=\"30.0\",outcome=\"held\"} 10",
            "glasshouse_edge_answer_seconds_bucket{le=\"+Inf\",outcome=\"held\"} 10",
        ] {
            assert!(metrics.contains(line), "{line} is not in\n{metrics}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_pass_wakes_no_private_sandbox() {
    World::run(async |world| {
        let client = world.client();
        let (id, port) = with_app(&client, "private").await;
        let (other, _) = with_app(&client, "private").await;
        let place = format!("/v1/sandboxes/{id}");
        assert_eq!(client.act(&format!("{place}/freeze")).await.status, 200);
        let before = client.get(&place).await.json;
        assert_eq!(before["state"], "frozen");
        let host = format!("{port}-{id}.preview.localhost");
        let link = async |id: &str, params| {
            let made = client
                .post(&format!("/v1/sandboxes/{id}/preview-link"), params)
                .await;
            assert_eq!(made.status, 200, "{made:?}");
            made.json["pass"].as_str().unwrap().to_owned()
        };
        let foreign = link(&other, json!({})).await;
        let elsewhere = link(&id, json!({"port": 1})).await;
        let token = world.token();
        for (name, value, reason) in [
            ("accept", "*/*", "no_pass"),
            // The owner's own credential is none for a preview, where it does not belong.
            ("authorization", &format!("Bearer {token}"), "no_pass"),
            ("x-glasshouse-preview", "nonsense", "bad_signature"),
            ("x-glasshouse-preview", &foreign, "other_sandbox"),
            ("x-glasshouse-preview", &elsewhere, "other_port"),
        ] {
            for host in [host.clone(), host.to_uppercase(), format!("{host}.")] {
                for path in ["/", "/.glasshouse/wake"] {
                    let denied = visit(world, &host, path, &[(name, value)]).await;
                    denied.is_problem(401, "preview_private");
                    assert_eq!(denied.json["reason"], reason, "{host}");
                }
            }
        }
        assert_eq!(
            client.get(&place).await.json,
            before,
            "a visit without a pass was noticed"
        );

        let pass = link(&id, json!({"port": port, "expires_in_ms": 60_000})).await;
        let opened = visit(world, &host, &format!("/?glasshouse_pass={pass}"), &[]).await;
        assert_eq!(opened.status, 302, "{opened:?}");
        let cookie = opened.headers["set-cookie"].to_str().unwrap();
        let (cookie, _) = cookie.split_once(';').unwrap();
        assert_eq!(state(&client, &id).await, "frozen");
        let page = visit(world, &host, "/", &[("cookie", cookie)]).await;
        assert_eq!(page.status, 200, "{page:?}");
        let page = visit(
            world,
            &host.to_uppercase(),
            "/",
            &[("x-glasshouse-preview", &pass)],
        )
        .await;
        assert_eq!(page.status, 200, "{page:?}");
        assert_eq!(state(&client, &id).await, "running");
        // The pass says nothing to the API.
        let stranger = Client::new(world.address(), Some(pass));
        stranger.get(&place).await.is_problem(401, "unauthorized");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_names_what_is_wrong_with_its_request() {
    World::run(async |world| {
        let client = world.client();
        let id = client.sandbox().await;
        let place = format!("/v1/sandboxes/{id}/preview-link");
        for (params, words) in [
            (json!({"port": 0}), "port"),
            (json!({"expires_in_ms": 0}), "expires_in_ms"),
            (json!({"expires_in_ms": u64::MAX}), "30 days"),
        ] {
            client
                .post(&place, params)
                .await
                .is_problem(422, "invalid_input")
                .says(words);
        }
        let made = client.post(&place, json!({})).await;
        let url = made.json["url"].as_str().unwrap();
        let start = format!("http://3000-{id}.preview.localhost:");
        assert!(
            url.starts_with(&start) && url.contains("/?glasshouse_pass=1."),
            "{url}"
        );
        let none = "/v1/sandboxes/abcdefghijklmnop/preview-link";
        client
            .post(none, json!({}))
            .await
            .is_problem(404, "sandbox_not_found");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_cannot_start_is_shown_with_its_reason() {
    World::run(async |world| {
        let client = world.client();
        let id = client.sandbox().await;
        let file = format!("/v1/sandboxes/{id}/files/content?path=glasshouse.yaml");
        assert_eq!(client.put(&file, "web: [nonsense").await.status, 200);
        eventually("the app has failed", async || {
            client.get(&format!("/v1/sandboxes/{id}/app")).await.json["state"] == "failed"
        })
        .await;
        let host = format!("{}-{id}.preview.localhost", free_port());
        let answer = visit(world, &host, "/", &[("accept", "*/*")]).await;
        answer.is_problem(502, "app_failed").says("glasshouse.yaml");
    })
    .await;
}

/// Answers one request with a head, and says nothing more for as long as the client stays.
const QUIET: &str = r#"
import socket, sys, threading
def serve(client):
    head = client.recv(65536)
    if b"pgrade" in head:
        client.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    else:
        client.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
    while client.recv(1): pass
    client.close()
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True: threading.Thread(target=serve, args=(listener.accept()[0],)).start()
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_tunnel_or_stream_keeps_its_sandbox_awake() {
    World::run(async |world| {
        let client = world.client();
        for upgrade in ["Connection: Upgrade\r\nUpgrade: websocket\r\n", ""] {
            let made = client.post("/v1/sandboxes", json!({})).await;
            let id = made.json["id"].as_str().unwrap().to_owned();
            let place = format!("/v1/sandboxes/{id}");
            let port = free_port();
            let manifest =
                format!("web:\n  command: exec python3 quiet.py {port}\n  port: {port}\n");
            for (name, text) in [("quiet.py", QUIET), ("glasshouse.yaml", &manifest)] {
                let file = format!("{place}/files/content?path={name}");
                assert_eq!(client.put(&file, text.to_owned()).await.status, 200);
            }
            eventually("the app runs", async || {
                std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
            })
            .await;
            let mut visitor = TcpStream::connect(world.address()).await.unwrap();
            let host = format!("{port}-{id}.Preview.LOCALHOST");
            let head = format!("GET / HTTP/1.1\r\nHost: {host}\r\n{upgrade}\r\n");
            visitor.write_all(head.as_bytes()).await.unwrap();
            let mut start = [0; 12];
            visitor.read_exact(&mut start).await.unwrap();
            assert!(start.starts_with(b"HTTP/1.1 "), "{start:?}");
            let patch = json!({ "idle": freezing() });
            assert_eq!(client.patch(&place, patch).await.status, 200);
            let stats = client.get(&format!("{place}/stats")).await.json;
            assert_eq!(stats["uses"], json!({ "preview": 1 }), "{upgrade:?}");
            others_freeze(&client).await;
            assert_eq!(state(&client, &id).await, "running", "{upgrade:?}");
            drop(visitor);
            becomes(&client, &id, "frozen").await;
        }
    })
    .await;
}
