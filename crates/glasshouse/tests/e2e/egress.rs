//! What a sandbox reaches of a small internet, by its policy.

mod proxied;
mod world;

use std::sync::atomic::Ordering;

use anyhow::ensure;
use glass_testing::{ServerOptions, TestServer};
use serde_json::{Value, json};

use crate::harness::binary;
use world::{METADATA, OWN, OWN_PORT, PRIVATE, PUBLIC, PUBLIC_V6, World, enter};

const PROBE: &str = include_str!("egress/probe.py");

async fn server(world: &World) -> anyhow::Result<TestServer> {
    TestServer::start(ServerOptions {
        binary: binary(),
        runtime: "native",
        images: Some(world.images.clone()),
        env: Vec::new(),
    })
    .await
}

async fn sandbox(server: &TestServer, params: Value) -> anyhow::Result<String> {
    let sandbox = server.sandbox(params).await?;
    let write = format!("cat > probe.py <<'END'\n{PROBE}\nEND\n");
    let (code, printed) = server.exec(&sandbox, &write).await?;
    ensure!(code == 0, "{printed}");
    Ok(sandbox)
}

/// Asks, and compares what came.
async fn expect(
    server: &TestServer,
    sandbox: &str,
    questions: &[(String, &str)],
) -> anyhow::Result<()> {
    let arguments: Vec<&str> = questions.iter().map(|(text, _)| text.as_str()).collect();
    let command = format!("python3 probe.py {}", arguments.join(" "));
    let (code, printed) = server.exec(sandbox, &command).await?;
    ensure!(code == 0, "{printed}");
    let answers: Vec<&str> = printed.lines().collect();
    ensure!(answers.len() >= questions.len(), "{printed}");
    // What an HTTP server says has several lines; the first of each is enough.
    let mut answers = printed.lines().filter(|line| {
        ["got", "clo", "non", "res", "ref", "tim", "err"]
            .iter()
            .any(|word| line.starts_with(word))
    });
    for (question, expected) in questions {
        let answer = answers.next().unwrap_or_default();
        ensure!(
            answer.starts_with(expected),
            "{question}: expected {expected:?}, got {answer:?} of\n{printed}"
        );
    }
    Ok(())
}

fn ask(kind: &str, host: &str, port: u16) -> String {
    format!("{kind},{host},{port}")
}

/// Until the log of refusals has one like this.
async fn logged(
    server: &TestServer,
    sandbox: &str,
    host: &str,
    port: u16,
    rule: &str,
) -> anyhow::Result<Value> {
    let path = format!("/v1/sandboxes/{sandbox}/egress/refusals");
    let over = tokio::time::Instant::now() + std::time::Duration::from_secs(30);
    loop {
        let (_, answer) = server.api("GET", &path, None).await?;
        let found = answer["refusals"].as_array().and_then(|refusals| {
            refusals
                .iter()
                .find(|one| one["host"] == host && one["port"] == port && one["rule"] == rule)
        });
        if let Some(found) = found {
            return Ok(found.clone());
        }
        ensure!(
            tokio::time::Instant::now() < over,
            "no refusal of {host}:{port} by {rule} in {answer}"
        );
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn open_is_the_internet_and_nothing_else() -> anyhow::Result<()> {
    let Some(world) = enter("egress::open_is_the_internet_and_nothing_else").await? else {
        return Ok(());
    };
    let server = server(&world).await?;
    let sandbox = sandbox(&server, json!({})).await?;
    expect(
        &server,
        &sandbox,
        &[
            (ask("raw", "good.example", 22), "got public 22"),
            (ask("echo", "good.example", 5432), "got public 5432"),
            (ask("raw", PUBLIC, 22), "got public 22"),
            (ask("raw", PUBLIC_V6, 22), "got public 22"),
            (ask("raw", "six.example", 22), "got public 22"),
            (
                ask("http", "evil.example", 80) + ",whatever",
                "got HTTP/1.1 200",
            ),
            (
                ask("tls", "evil.example", 443) + ",other.example",
                "got public 443",
            ),
            (ask("raw", "nowhere.example", 22), "noname"),
            // Nobody listens there: an end at once, whoever brings it.
            (ask("raw", PUBLIC, 9), "reset"),
        ],
    )
    .await?;
    let curl = "curl -sS --max-time 60";
    let (code, printed) = server
        .exec(
            &sandbox,
            &format!(
                "{curl} http://good.example/ && env -u http_proxy {curl} http://good.example/"
            ),
        )
        .await?;
    ensure!(
        code == 0 && printed.matches("public 80").count() == 2,
        "{code}: {printed}"
    );
    let path = format!("/v1/sandboxes/{sandbox}/stats");
    let (_, stats) = server.api("GET", &path, None).await?;
    ensure!(
        ["network_sent_bytes", "network_received_bytes"]
            .iter()
            .all(|name| stats[name].as_u64().is_some_and(|bytes| bytes > 100)),
        "{stats}"
    );

    // Not by address in any form, not by name, not by whatever protocol.
    let mut refused = Vec::new();
    for host in [
        PRIVATE,
        METADATA,
        OWN,
        "192.168.77.1",
        "10.0.0.1",
        "fd00::1",
        "::ffff:192.168.77.5",
        "64:ff9b::c0a8:4d05",
        "2002:c0a8:4d05::1",
        "100.64.0.1",
        "198.19.200.1",
    ] {
        refused.push((ask("raw", host, 22), "reset"));
    }
    refused.push((ask("raw", OWN, OWN_PORT), "reset"));
    refused.push((ask("raw", OWN, server.port()), "reset"));
    for name in ["private.example", "mixed.example", "metadata.example"] {
        refused.push((ask("raw", name, 22), "noname"));
    }
    // Datagrams are refused like a port that nobody listens on.
    refused.push((ask("udp", PUBLIC, 443), "refused"));
    refused.push((ask("udp", PUBLIC_V6, 443), "refused"));
    refused.push((ask("raw", "127.0.0.1", 3999), "refused"));
    refused.push((ask("raw", "127.0.0.1", OWN_PORT), "refused"));
    expect(&server, &sandbox, &refused).await?;

    // The name is looked up again when it is connected to, and what it leads to then is what counts.
    expect(
        &server,
        &sandbox,
        &[(ask("raw", "rebind.example", 22), "got public 22")],
    )
    .await?;
    world.rebind();
    expect(
        &server,
        &sandbox,
        &[(ask("raw", "rebind.example", 22), "noname")],
    )
    .await?;
    ensure!(
        world.reached.load(Ordering::Relaxed) == 0,
        "something private was reached"
    );

    let one = logged(&server, &sandbox, METADATA, 22, "link_local").await?;
    let process = one["process"].as_str().unwrap_or_default();
    ensure!(process.starts_with("python3"), "{one}");
    logged(&server, &sandbox, PRIVATE, 22, "private").await?;
    logged(&server, &sandbox, "private.example", 53, "private").await?;
    logged(&server, &sandbox, OWN, OWN_PORT, "own_host").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_held_to_by_name_port_and_what_is_said() -> anyhow::Result<()> {
    let Some(world) = enter("egress::a_list_is_held_to_by_name_port_and_what_is_said").await?
    else {
        return Ok(());
    };
    let server = server(&world).await?;
    let policy = json!({ "mode": "allowlist", "rules": ["good.example", "*.good.example:22", "private.example:22"] });
    let sandbox = sandbox(&server, json!({ "egress": policy })).await?;
    expect(
        &server,
        &sandbox,
        &[
            (
                ask("tls", "good.example", 443) + ",good.example",
                "got public 443",
            ),
            (
                ask("http", "good.example", 80) + ",good.example",
                "got HTTP/1.1 200",
            ),
            (ask("raw", "sub.good.example", 22), "got public 22"),
            // The same address, another name.
            (
                ask("tls", "good.example", 443) + ",evil.example",
                "got \x15\x03\x01",
            ),
            (ask("tls", "good.example", 443) + ",-", "got \x15\x03\x01"),
            (ask("http", "good.example", 80) + ",evil.example", "closed"),
            (ask("raw", "good.example", 22), "reset"),
            (ask("raw", "evil.example", 443), "noname"),
            (ask("raw", PUBLIC, 443), "reset"),
            (ask("raw", PUBLIC_V6, 443), "reset"),
            // A rule opens nothing private.
            (ask("raw", "private.example", 22), "noname"),
        ],
    )
    .await?;
    let (_, printed) = server
        .exec(&sandbox, "curl -sS --max-time 60 http://evil.example/; curl -sS --max-time 60 https://evil.example/")
        .await?;
    ensure!(
        printed.contains("egress_allowlist") && printed.contains("403"),
        "{printed}"
    );
    ensure!(
        world.reached.load(Ordering::Relaxed) == 0,
        "something private was reached"
    );
    logged(&server, &sandbox, "good.example", 443, "tls_name").await?;
    logged(&server, &sandbox, "good.example", 80, "http_host").await?;
    logged(&server, &sandbox, "good.example", 22, "allowlist").await?;
    let one = logged(&server, &sandbox, "evil.example", 443, "allowlist").await?;
    ensure!(
        one["process"]
            .as_str()
            .unwrap_or_default()
            .starts_with("curl"),
        "{one}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_is_changed_while_it_is_used_and_outlives_the_server() -> anyhow::Result<()> {
    let name = "egress::a_policy_is_changed_while_it_is_used_and_outlives_the_server";
    let Some(world) = enter(name).await? else {
        return Ok(());
    };
    let mut server = server(&world).await?;
    let sandbox = sandbox(&server, json!({})).await?;
    let path = format!("/v1/sandboxes/{sandbox}/egress");
    let (_, view) = server.api("GET", &path, None).await?;
    ensure!(
        view == json!({ "mode": "open", "rules": [], "is_default": true, "is_enforced": true }),
        "{view}"
    );
    let (status, problem) = server
        .api(
            "PUT",
            &path,
            Some(json!({ "mode": "allowlist", "rules": ["ok.example", "no rule", "x:0"] })),
        )
        .await?;
    ensure!(
        status == 422 && problem["errors"].as_array().map(Vec::len) == Some(2),
        "{problem}"
    );

    // It says when it is connected, waits for the end of its connection, and says that.
    let hold = "import socket; s = socket.create_connection(('good.example', 22)); s.recv(99); \
                open('held', 'w'); s.recv(99); open('cut', 'w')";
    let command = format!(
        "nohup python3 -c \"{hold}\" >/dev/null 2>&1 & until test -e held; do sleep 0.05; done"
    );
    server.exec(&sandbox, &command).await?;
    let (status, view) = server
        .api("PUT", &path, Some(json!({ "mode": "none" })))
        .await?;
    ensure!(
        status == 200 && view["mode"] == "none" && view["is_default"] == false,
        "{view}"
    );
    let (code, _) = server
        .exec(
            &sandbox,
            "timeout 60 sh -c 'until test -e cut; do sleep 0.05; done'",
        )
        .await?;
    ensure!(code == 0, "the connection was not cut");
    let nothing = [
        (ask("raw", "good.example", 22), "noname"),
        (ask("raw", PUBLIC, 22), "reset"),
    ];
    expect(&server, &sandbox, &nothing).await?;
    logged(&server, &sandbox, PUBLIC, 22, "mode_none").await?;

    server.kill().await?;
    server.launch().await?;
    expect(&server, &sandbox, &nothing).await?;
    // Names that were known before are known still: the guest has outlived the server.
    server
        .api("PUT", &path, Some(json!({ "mode": "default" })))
        .await?;
    expect(
        &server,
        &sandbox,
        &[(ask("raw", "good.example", 22), "got public 22")],
    )
    .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn sandboxes_do_not_reach_each_other_and_are_reached_as_before() -> anyhow::Result<()> {
    let name = "egress::sandboxes_do_not_reach_each_other_and_are_reached_as_before";
    let Some(world) = enter(name).await? else {
        return Ok(());
    };
    let server = server(&world).await?;
    let (one, other) = (
        sandbox(&server, json!({})).await?,
        sandbox(&server, json!({})).await?,
    );
    let serve = "mkdir -p www; echo mine > www/index.html; cd www; \
                 nohup python3 -m http.server 3000 --bind 0.0.0.0 >/dev/null 2>&1 & \
                 nohup python3 -m http.server 443 --bind 127.0.0.1 >/dev/null 2>&1 & \
                 until curl -s --noproxy '*' http://127.0.0.1:3000/ && curl -s --noproxy '*' http://127.0.0.1:443/; \
                 do sleep 0.1; done";
    let (_, printed) = server.exec(&one, serve).await?;
    ensure!(printed.matches("mine").count() >= 2, "{printed}");
    // All sandboxes have the same address of their own, so each finds itself there and nobody else.
    expect(
        &server,
        &other,
        &[
            (ask("http", "198.18.0.1", 3000) + ",x", "refused"),
            (ask("http", "127.0.0.1", 3000) + ",x", "refused"),
        ],
    )
    .await?;
    expect(
        &server,
        &one,
        &[(ask("http", "198.18.0.1", 3000) + ",x", "got HTTP/1.0 200")],
    )
    .await?;
    // What listens everywhere in the sandbox gets nothing that is meant for the outside.
    expect(
        &server,
        &one,
        &[(ask("echo", PUBLIC, 443), "got public 443")],
    )
    .await?;
    let (_, ports) = server
        .api("GET", &format!("/v1/sandboxes/{one}/ports"), None)
        .await?;
    let open: Vec<u64> = ports["ports"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|port| port["port"].as_u64())
        .collect();
    ensure!(open == [443, 3000], "{ports}");
    ensure!(
        world.reached.load(Ordering::Relaxed) == 0,
        "the host was reached"
    );
    Ok(())
}
