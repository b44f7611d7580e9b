//! What is wrong gets an answer that names the thing and the remedy, and leaves nothing half-made.

use anyhow::ensure;
use serde_json::json;

use crate::harness::{binary, server, server_with};

#[tokio::test(flavor = "multi_thread")]
async fn every_wrong_request_is_named() -> anyhow::Result<()> {
    let server = server().await?;
    let sandbox = server.sandbox(json!({})).await?;
    let here = format!("/v1/sandboxes/{sandbox}");
    let gone = "/v1/sandboxes/aaaaaaaaaaaaaaaa".to_owned();
    let cases = [
        (
            "POST",
            "/v1/sandboxes".to_owned(),
            Some(json!({ "image": "nothing-like-it" })),
            404,
            "image_not_found",
            "nothing-like-it",
        ),
        (
            "POST",
            "/v1/sandboxes".to_owned(),
            Some(json!({ "imgae": "base" })),
            400,
            "invalid_json",
            "imgae",
        ),
        (
            "POST",
            "/v1/sandboxes".to_owned(),
            Some(json!({ "limits": { "pids": 1 } })),
            422,
            "invalid_input",
            "limits.pids",
        ),
        (
            "POST",
            "/v1/sandboxes".to_owned(),
            Some(json!({ "env": { "A=B": "c" } })),
            422,
            "invalid_input",
            "A=B",
        ),
        (
            "GET",
            gone.clone(),
            None,
            404,
            "sandbox_not_found",
            "aaaaaaaaaaaaaaaa",
        ),
        (
            "GET",
            "/v1/sandboxes/..%2f..%2fetc".to_owned(),
            None,
            404,
            "sandbox_not_found",
            "etc",
        ),
        (
            "DELETE",
            gone.clone(),
            None,
            404,
            "sandbox_not_found",
            "aaaaaaaaaaaaaaaa",
        ),
        (
            "POST",
            format!("{gone}/tasks"),
            Some(json!({ "prompt": "x" })),
            404,
            "sandbox_not_found",
            "aaaaaaaaaaaaaaaa",
        ),
        (
            "POST",
            format!("{here}/tasks"),
            Some(json!({ "prompt": "x", "agent": "hal" })),
            404,
            "agent_not_found",
            "hal",
        ),
        (
            "POST",
            format!("{here}/tasks"),
            Some(json!({ "prompt": "x", "model": "gpt-9" })),
            422,
            "model_unavailable",
            "gpt-9",
        ),
        (
            "POST",
            format!("{here}/tasks"),
            Some(json!({ "prompt": "" })),
            422,
            "invalid_input",
            "prompt",
        ),
        (
            "POST",
            format!("{here}/tasks"),
            Some(json!({ "prompt": "x".repeat(2 << 20) })),
            413,
            "too_large",
            "prompt",
        ),
        (
            "GET",
            "/v1/tasks/bbbbbbbbbbbbbbbb".to_owned(),
            None,
            404,
            "task_not_found",
            "bbbbbbbbbbbbbbbb",
        ),
        (
            "GET",
            format!("{here}/files/content?path=../../../etc/passwd"),
            None,
            422,
            "invalid_input",
            "..",
        ),
        (
            "GET",
            format!("{here}/files/content?path=missing.txt"),
            None,
            404,
            "file_not_found",
            "missing.txt",
        ),
        (
            "GET",
            format!("{here}/files/content?path=/proc/1/environ"),
            None,
            422,
            "invalid_input",
            "/proc/1/environ",
        ),
        (
            "PUT",
            format!("{here}/files/content?path=/etc/passwd"),
            Some(json!("x")),
            422,
            "invalid_input",
            "/etc/passwd",
        ),
        (
            "POST",
            format!("{here}/exec"),
            Some(json!({ "command": ["no-such-program"] })),
            422,
            "command_not_started",
            "no-such-program",
        ),
        (
            "POST",
            format!("{here}/exec"),
            Some(json!({ "command": "true", "timeout_ms": 0 })),
            422,
            "invalid_input",
            "timeout_ms",
        ),
        (
            "GET",
            "/v1/nothing".to_owned(),
            None,
            404,
            "route_not_found",
            "/v1/nothing",
        ),
        (
            "PATCH",
            "/v1/sandboxes".to_owned(),
            None,
            405,
            "method_not_allowed",
            "PATCH",
        ),
    ];
    let mut wrong = Vec::new();
    for (method, path, body, status, code, named) in cases {
        let (got, problem) = server.api(method, &path, body).await?;
        let detail = problem["detail"].as_str().unwrap_or_default();
        if got != status || problem["code"] != code || !detail.contains(named) {
            wrong.push(format!(
                "{method} {path}: wanted {status} {code} naming {named:?}, got {got} {problem}"
            ));
        }
    }
    ensure!(wrong.is_empty(), "{wrong:#?}");
    let (_, list) = server.api("GET", "/v1/sandboxes", None).await?;
    ensure!(
        list["sandboxes"]
            .as_array()
            .is_some_and(|all| all.len() == 1),
        "something half-made is left: {list}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_out_of_the_workspace_leads_nowhere_else() -> anyhow::Result<()> {
    let server = server().await?;
    let sandbox = server.sandbox(json!({})).await?;
    let marker = server.data().join("host-secret");
    std::fs::write(&marker, "of the host")?;
    let command = format!(
        "ln -s {0} out && ln -s / root && ln -s /etc/passwd users",
        marker.display()
    );
    server.exec(&sandbox, &command).await?;
    for path in ["out".to_owned(), format!("root{}", marker.display())] {
        let (status, answer) = server
            .api(
                "GET",
                &format!("/v1/sandboxes/{sandbox}/files/content?path={path}"),
                None,
            )
            .await?;
        ensure!(status == 404, "{path}: {status} {answer}");
    }
    // A link to a file of the sandbox itself is the sandbox's own business.
    let (status, users) = server
        .api(
            "GET",
            &format!("/v1/sandboxes/{sandbox}/files/content?path=users"),
            None,
        )
        .await?;
    ensure!(
        status == 200
            && users
                .as_str()
                .is_some_and(|users| users.contains("dev:x:1000")),
        "{status}: {users}"
    );
    // The static server of the app shows neither.
    server
        .exec(&sandbox, "echo '<h1>hi</h1>' > index.html")
        .await?;
    let (_, own) = server
        .exec(
            &sandbox,
            "for i in $(seq 100); do curl -sf 127.0.0.1:3000/ && break; sleep 0.1; done",
        )
        .await?;
    ensure!(own.contains("hi"), "{own}");
    let (_, leaked) = server
        .exec(
            &sandbox,
            "curl -s 127.0.0.1:3000/users; curl -s --path-as-is 127.0.0.1:3000/../../etc/passwd",
        )
        .await?;
    ensure!(!leaked.contains("dev:x:1000"), "{leaked}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_model_s_failures_reach_the_person() -> anyhow::Result<()> {
    let server = server().await?;
    let sandbox = server.sandbox(json!({})).await?;
    for (prompt, words) in [
        ("error 401", "401"),
        ("error 429", "429"),
        ("error 500", "500"),
        ("cut", ""),
    ] {
        for agent in ["claude-code"] {
            let output = server
                .cli(&["ask", &sandbox, prompt, "--agent", agent])
                .await?;
            let printed = format!("{}{}", output.stdout, output.stderr);
            ensure!(
                !output.status.success(),
                "{prompt} with {agent} is no success:\n{printed}"
            );
            let reason = printed.to_lowercase();
            ensure!(
                words.is_empty()
                    || reason.contains(words)
                    || reason.contains("rate")
                    || reason.contains("key")
                    || reason.contains("server"),
                "{prompt} with {agent}:\n{printed}"
            );
        }
    }
    // And it works on afterwards.
    let output = server
        .cli(&[
            "ask",
            &sandbox,
            "create a counter",
            "--agent",
            "claude-code",
        ])
        .await?;
    ensure!(
        output.status.success(),
        "{}{}",
        output.stdout,
        output.stderr
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_is_named_with_what_to_do() -> anyhow::Result<()> {
    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?.to_string();
    let data = tempfile::tempdir_in("/var/tmp")?;
    let output = tokio::process::Command::new(binary())
        .args(["serve", "--runtime", "sim", "--listen", &address, "--data"])
        .arg(data.path())
        .output()
        .await?;
    let words = String::from_utf8_lossy(&output.stderr);
    ensure!(
        !output.status.success() && words.contains(&address) && words.contains("--listen"),
        "{words}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_wants_its_token() -> anyhow::Result<()> {
    let server = server_with(&[]).await?;
    for token in ["", "gh_00000000000000000000000000000000"] {
        let mut command = server.command(&["ps"]);
        let output = command
            .env("GLASSHOUSE_TOKEN", token)
            .env("GLASSHOUSE_DATA", "/nonexistent")
            .output()
            .await?;
        let words = String::from_utf8_lossy(&output.stderr);
        ensure!(
            !output.status.success() && words.contains("token"),
            "{words}"
        );
    }
    Ok(())
}
