//! The provider's key reaches the provider and nothing else.

use anyhow::ensure;
use glass_testing::Recorder;
use serde_json::json;

use crate::harness::server_with;

const KEY: &str = "sk-ant-api03-Rk9vQmFyQmF6UXV4LXRoaXMtaXMtYS10ZXN0LWtleS0wMDAx";

#[tokio::test(flavor = "multi_thread")]
async fn the_real_key_reaches_the_upstream_and_never_the_sandbox() -> anyhow::Result<()> {
    let refusal = json!({ "type": "error", "error": { "type": "authentication_error", "message": "invalid x-api-key" } });
    let upstream = Recorder::start(401, refusal).await?;
    let server = server_with(&[
        ("ANTHROPIC_API_KEY", KEY),
        ("ANTHROPIC_BASE_URL", &upstream.url()),
    ])
    .await?;
    let sandbox = server.sandbox(json!({})).await?;
    let started = std::time::SystemTime::now();
    let output = server
        .cli(&[
            "ask",
            &sandbox,
            "create a todo app",
            "--agent",
            "claude-code",
        ])
        .await?;

    // The person learns the provider's own reason, soon.
    let printed = format!("{}{}", output.stdout, output.stderr);
    ensure!(
        !output.status.success(),
        "a refused key is no success:\n{printed}"
    );
    ensure!(
        printed.contains("anthropic answered 401: invalid x-api-key"),
        "no reason in:\n{printed}"
    );
    ensure!(
        started.elapsed()?.as_secs() < 60,
        "it took {:?}",
        started.elapsed()?
    );
    ensure!(
        !printed.contains("demo model"),
        "a real key was configured:\n{printed}"
    );

    let requests = upstream.requests();
    ensure!(!requests.is_empty(), "nothing reached the upstream");
    for request in &requests {
        let keys: Vec<_> = ["x-api-key", "authorization"]
            .iter()
            .filter_map(|name| request.headers.get(*name))
            .collect();
        ensure!(
            keys.len() == 1 && keys[0].to_str()?.ends_with(KEY),
            "{}: {:?}",
            request.line,
            request.headers
        );
        let all = format!("{:?}", request.headers);
        ensure!(
            !all.contains("gh_sandbox_"),
            "the sandbox's token went upstream: {all}"
        );
    }

    // Everything that a process of the sandbox could look at; the image's own files are older than the key.
    let part = &KEY[10..40];
    let search = format!(
        "env; cat /proc/*/environ /proc/*/cmdline 2>/dev/null | tr '\\0' '\\n'; ps auxwwe; \
         grep -rlF --exclude-dir=proc --exclude-dir=sys --exclude-dir=usr --exclude-dir=opt -- '{part}' / 2>/dev/null; \
         find /usr /opt -newer /run/glasshouse -type f -exec grep -lF -- '{part}' {{}} + 2>/dev/null; true"
    );
    let (_, seen) = server.exec(&sandbox, &search).await?;
    ensure!(
        seen.contains("ANTHROPIC_BASE_URL"),
        "the agent's environment was not looked at:\n{seen}"
    );
    let found: Vec<&str> = seen
        .lines()
        .filter(|line| line.contains(part) && !line.contains("grep -"))
        .collect();
    ensure!(found.is_empty(), "the key is in the sandbox: {found:?}");
    let hit = format!("echo -n '{part}' > /tmp/planted; grep -rlF -- '{part}' /tmp");
    let (_, planted) = server.exec(&sandbox, &hit).await?;
    ensure!(
        planted.contains("/tmp/planted"),
        "the search finds nothing even where it is: {planted}"
    );
    ensure!(
        !server.log().contains(part),
        "the key is in the server's log"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_another_sandbox_is_refused() -> anyhow::Result<()> {
    let upstream = Recorder::start(200, json!({ "data": [] })).await?;
    let server = server_with(&[
        ("ANTHROPIC_API_KEY", KEY),
        ("ANTHROPIC_BASE_URL", &upstream.url()),
    ])
    .await?;
    let (own, other) = (
        server.sandbox(json!({})).await?,
        server.sandbox(json!({})).await?,
    );
    let tokens = gateway_tokens(&server, &[&own, &other]).await?;
    let ask = |token: &str| {
        format!(
            "curl -s -o /dev/null -w '%{{http_code}}' -H 'x-api-key: {token}' -H 'anthropic-version: 2023-06-01' \
             http://127.0.0.1:49982/v1/models"
        )
    };
    let (_, status) = server.exec(&own, &ask(&tokens[0])).await?;
    ensure!(status == "200", "its own token: {status}");
    let before = upstream.requests().len();
    for (token, what) in [
        (tokens[1].as_str(), "another's token"),
        ("gh_sandbox_nobody", "nobody's token"),
        ("", "no token"),
    ] {
        let (_, status) = server.exec(&own, &ask(token)).await?;
        ensure!(status == "401" || status == "403", "{what}: {status}");
    }
    ensure!(
        upstream.requests().len() == before,
        "a refused request reached the upstream"
    );
    Ok(())
}

/// The gateway tokens of sandboxes, as the server's own database has them.
async fn gateway_tokens(
    server: &glass_testing::TestServer,
    ids: &[&str],
) -> anyhow::Result<Vec<String>> {
    let store = glass_store::Store::open(&server.data().join("glasshouse.db")).await?;
    let mut tokens = Vec::new();
    for id in ids {
        let row = store.sandbox(&id.parse()?).await?;
        tokens.push(
            row.ok_or_else(|| anyhow::anyhow!("no row of {id}"))?
                .gateway_token,
        );
    }
    Ok(tokens)
}
