//! Under gVisor and Docker the proxy alone leads out, and refuses what it refuses to any sandbox.

use std::sync::atomic::Ordering;

use anyhow::ensure;
use glass_testing::{Dockerd, ServerOptions, TestServer, lacks_runsc};
use serde_json::{Value, json};

use super::world::{METADATA, OWN, OWN_PORT, PRIVATE, PUBLIC, PUBLIC_V6, World, enter};
use super::{ask, logged, sandbox, server};
use crate::harness::binary;

const CURL: &str = "curl -sS --max-time 60 --noproxy '' -x http://127.0.0.1:49982";

#[tokio::test(flavor = "multi_thread")]
async fn only_the_proxy_leads_out_of_gvisor() -> anyhow::Result<()> {
    if lacks_runsc() {
        return Ok(());
    }
    let name = "egress::proxied::only_the_proxy_leads_out_of_gvisor";
    let Some(world) = enter(name).await? else {
        return Ok(());
    };
    let server = server(&world).await?;
    by_policy(&world, &server, json!({ "isolation": "gvisor" })).await
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_proxy_leads_out_of_docker() -> anyhow::Result<()> {
    let Some(world) = enter("egress::proxied::only_the_proxy_leads_out_of_docker").await? else {
        return Ok(());
    };
    let daemon = Dockerd::start(&[])?;
    let socket = format!("unix://{}", daemon.socket().display());
    let server = TestServer::start(ServerOptions {
        binary: binary(),
        runtime: "docker",
        images: Some(world.images.clone()),
        env: vec![("DOCKER_HOST".to_owned(), socket)],
    })
    .await?;
    by_policy(&world, &server, json!({})).await
}

/// Nothing is reached without the proxy, and by it what each policy allows.
async fn by_policy(world: &World, server: &TestServer, params: Value) -> anyhow::Result<()> {
    let sandbox = sandbox(server, params).await?;
    let egress = format!("/v1/sandboxes/{sandbox}/egress");
    let list = json!({ "mode": "allowlist", "rules": ["good.example"] });
    for policy in [json!({ "mode": "open" }), list, json!({ "mode": "none" })] {
        let mode = policy["mode"].as_str().unwrap_or_default().to_owned();
        let (status, view) = server.api("PUT", &egress, Some(policy)).await?;
        ensure!(status == 200 && view["is_enforced"] == true, "{view}");

        // Without the proxy there is no network at all, whatever the policy.
        let mut asked = Vec::new();
        for host in [
            PUBLIC,
            PUBLIC_V6,
            PRIVATE,
            METADATA,
            OWN,
            "good.example",
            "198.18.0.1",
        ] {
            asked.extend([ask("raw", host, 22), ask("raw", host, 80)]);
            asked.push(ask("http", host, 80) + ",x");
        }
        asked.push(ask("raw", OWN, OWN_PORT));
        asked.push(ask("raw", "127.0.0.1", OWN_PORT));
        asked.push(ask("raw", "127.0.0.1", server.port()));
        for host in [PUBLIC, PUBLIC_V6, "93.184.216.53", METADATA] {
            asked.extend([ask("udp", host, 443), ask("udp", host, 53)]);
        }
        let command = format!("python3 probe.py {}", asked.join(" "));
        let (code, printed) = server.exec(&sandbox, &command).await?;
        ensure!(
            code == 0 && printed.lines().count() == asked.len(),
            "{mode}: {printed}"
        );
        for (question, answer) in asked.iter().zip(printed.lines()) {
            let is_shut = ["noname", "refused", "error "]
                .iter()
                .any(|word| answer.starts_with(word));
            ensure!(is_shut, "{mode}: {question}: {answer}");
        }

        // By the proxy, plainly and by a tunnel.
        let open = mode == "open";
        let urls = [
            ("http://good.example/".to_owned(), mode != "none"),
            ("http://evil.example/".to_owned(), open),
            (format!("http://{PUBLIC}/"), open),
            ("http://private.example/".to_owned(), false),
            (format!("http://{PRIVATE}/"), false),
            (format!("http://{METADATA}/latest"), false),
            (format!("http://{OWN}:{OWN_PORT}/"), false),
            (format!("http://127.0.0.1:{}/healthz", server.port()), false),
        ];
        for (url, is_allowed) in urls {
            for tunnel in ["", "-p"] {
                let command = format!("{CURL} {tunnel} {url}");
                let (code, printed) = server.exec(&sandbox, &command).await?;
                let is_there = printed.contains("public 80");
                ensure!(
                    is_there == is_allowed && (code == 0 || !is_allowed),
                    "{mode}: {command}: {code}: {printed}"
                );
                let is_refused = printed.contains("egress_") || printed.contains("403");
                ensure!(
                    is_refused || is_allowed,
                    "{mode}: {command}: not by name: {printed}"
                );
            }
        }
        // The name that is said in a tunnel has to be the name that it was opened for.
        let other = "--connect-to evil.example:443:good.example:443 https://evil.example/";
        let (code, printed) = server.exec(&sandbox, &format!("{CURL} {other}")).await?;
        ensure!(code != 0, "{mode}: {printed}");
        if mode == "allowlist" {
            logged(server, &sandbox, "good.example", 443, "tls_name").await?;
        }
    }
    logged(server, &sandbox, METADATA, 80, "link_local").await?;
    ensure!(
        world.reached.load(Ordering::Relaxed) == 0,
        "something private was reached"
    );
    Ok(())
}
