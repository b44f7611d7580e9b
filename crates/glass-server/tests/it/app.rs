//! The app of a sandbox: what runs, where, and what it prints.

use http::Method;
use serde_json::json;

use crate::client::Events;
use crate::world::{World, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn an_app_is_shown_with_its_port_and_its_log() {
    World::run(async |world| {
        let client = world.client();
        let made = client.post("/v1/sandboxes", json!({"ports": [9]})).await;
        let id = made.json["id"].as_str().unwrap();
        let place = format!("/v1/sandboxes/{id}");
        let none = client.get(&format!("{place}/app")).await;
        assert_eq!((none.status, &none.json["kind"]), (200, &json!("none")), "{none:?}");
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let manifest = format!(
            "web:\n  command: echo served-here; exec python3 -m http.server --bind 127.0.0.1 {port}\n  port: {port}\n"
        );
        let file = format!("{place}/files/content?path=glasshouse.yaml");
        assert_eq!(client.put(&file, manifest).await.status, 200);
        eventually("the app runs", async || {
            client.get(&format!("{place}/app")).await.json["state"] == "running"
        })
        .await;
        let app = client.get(&format!("{place}/app")).await.json;
        assert_eq!(app["kind"], "manifest");
        assert_eq!(app["port"], port);
        let url = app["url"].as_str().unwrap();
        assert!(url.starts_with(&format!("http://{port}-{id}.preview.localhost:")), "{url}");
        eventually("the port is listed", async || {
            let ports = client.get(&format!("{place}/ports")).await.json;
            let ports = ports["ports"].as_array().unwrap().clone();
            let open = |port: u16, open: bool| {
                ports.iter().any(|one| one["port"] == port && one["open"] == open)
            };
            open(port, true) && open(9, false)
        })
        .await;
        // Through the edge, as a browser comes.
        let request = client.request(Method::GET, "/").header("host", url.trim_start_matches("http://"));
        let page = crate::client::send(request).await;
        assert_eq!(page.status, 200, "{page:?}");
        assert!(String::from_utf8_lossy(&page.bytes).contains("glasshouse.yaml"));
        let logs = Events::open(client.request(Method::GET, &format!("{place}/logs"))).await;
        let lines = logs.rest().await;
        assert!(lines.iter().any(|line| line.data["text"] == "served-here"), "{lines:?}");
        let mut following =
            Events::open(client.request(Method::GET, &format!("{place}/logs?follow=true&process=web"))).await;
        following.until("served-here").await;
        assert_eq!(client.act(&format!("{place}/app/restart")).await.status, 204);
        following.until("served-here").await;
        // A stream that would never end by itself ends with the sandbox.
        client.act(&format!("{place}/stop")).await;
        following.rest().await;
        // Reading wakes it, and what was written before is there.
        let logs = Events::open(client.request(Method::GET, &format!("{place}/logs"))).await;
        let lines = logs.rest().await;
        assert_eq!(lines[0].data["number"], 1);
        assert!(lines.iter().any(|line| line.data["text"] == "served-here"), "{lines:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_are_controlled_logs_resumed_and_crashes_told() {
    World::run(async |world| {
        let client = world.client();
        let made = client.post("/v1/sandboxes", json!({})).await;
        let place = format!("/v1/sandboxes/{}", made.json["id"].as_str().unwrap());
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let manifest = format!(
            "web:\n  command: exec python3 -m http.server --bind 127.0.0.1 {port}\n  port: {port}\nworkers:\n  mail: {{command: echo to be sent; exec sleep 1000}}\n"
        );
        let file = format!("{place}/files/content?path=glasshouse.yaml");
        assert_eq!(client.put(&file, manifest).await.status, 200);
        eventually("the app is healthy", async || {
            client.get(&format!("{place}/app")).await.json["health"]["status"] == 200
        })
        .await;
        let control = |name: &str, action: &str| format!("{place}/app/processes/{name}/{action}");
        let stopped = client.act(&control("mail", "stop")).await;
        assert_eq!((stopped.status, &stopped.json["state"]), (200, &json!("stopped")), "{stopped:?}");
        let started = client.act(&control("mail", "start")).await;
        assert_eq!(started.json["state"], "running");
        client.act(&control("mail", "explode")).await.is_problem(422, "invalid_input");
        client.act(&control("nobody", "stop")).await.is_problem(422, "invalid_input");
        // A reader that comes back goes on after the line it has seen.
        let logs = format!("{place}/logs?process=mail");
        let read = async || Events::open(client.request(Method::GET, &logs)).await.rest().await;
        eventually("it has written twice", async || {
            let lines = read().await;
            lines.iter().filter(|line| line.data["text"] == "to be sent").count() == 2
        })
        .await;
        let lines = read().await;
        let second = &lines[1];
        let request = client.request(Method::GET, &logs).header("last-event-id", second.id.unwrap());
        let rest = Events::open(request).await.rest().await;
        assert_eq!(rest.len(), lines.len() - 2);
        let from = format!("{logs}&from={}", second.data["number"]);
        let rest = Events::open(client.request(Method::GET, &from)).await.rest().await;
        assert_eq!(rest.len(), lines.len() - 1);
        // A crash is on the sandbox's list, and whoever follows hears of it.
        let events = format!("{place}/events");
        assert_eq!(client.get(&events).await.json["events"], json!([]));
        let request = client.request(Method::GET, &events).header("accept", "text/event-stream");
        let mut following = Events::open(request).await;
        let pid = started.json["pid"].as_i64().unwrap();
        let killed = std::process::Command::new("kill").arg("-9").arg(pid.to_string()).status();
        assert!(killed.unwrap().success());
        following.until("app_crashed").await;
        let list = client.get(&events).await.json["events"].clone();
        assert_eq!(list[0]["kind"], "app_crashed");
        assert_eq!((&list[0]["data"]["process"], &list[0]["data"]["signal"]), (&json!("mail"), &json!(9)));
        assert_eq!(list[0]["data"]["lines"].as_array().unwrap().last().unwrap(), "to be sent");
        let after = client.get(&format!("{events}?after={}", list[0]["number"])).await;
        assert_eq!(after.json["events"], json!([]));
        assert_eq!(client.delete(&place).await.status, 204);
        following.rest().await;
    })
    .await;
}
