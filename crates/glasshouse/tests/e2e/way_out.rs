//! A sandbox reaches what the operator allows through the gateway, and nothing private besides.

use anyhow::ensure;
use glass_testing::Recorder;
use serde_json::json;

use crate::harness::server;

#[tokio::test(flavor = "multi_thread")]
async fn programs_reach_what_is_allowed_and_nothing_else_of_the_host() -> anyhow::Result<()> {
    let allowed = Recorder::start(200, json!({ "name": "a package" })).await?;
    let secret = Recorder::start(200, json!({ "name": "a secret" })).await?;
    let address = allowed.url().replace("http://", "");
    let mut server = server().await?;
    server.kill().await?;
    let config = format!("[egress]\nallow = [\"{address}\"]\n");
    std::fs::write(server.data().join("glasshouse.toml"), config)?;
    server.launch().await?;
    let sandbox = server.sandbox(json!({})).await?;

    // Addresses of the host are beside the proxy in a sandbox's own settings, so the proxy is named here.
    let curl = "curl -sS --noproxy '' -x http://127.0.0.1:49982";
    let (code, printed) = server
        .exec(&sandbox, &format!("{curl} {}/npm", allowed.url()))
        .await?;
    ensure!(
        code == 0 && printed.contains("a package"),
        "{code}: {printed}"
    );
    ensure!(
        allowed
            .requests()
            .iter()
            .any(|request| request.line.contains("/npm")),
        "it did not arrive"
    );

    for target in [
        secret.url(),
        server.url("/healthz"),
        "http://169.254.169.254/latest".to_owned(),
    ] {
        let (_, printed) = server.exec(&sandbox, &format!("{curl} {target}")).await?;
        ensure!(printed.contains("egress_"), "{target}: {printed}");
        let tunnel = format!("{curl} -p {target}");
        let (code, printed) = server.exec(&sandbox, &tunnel).await?;
        ensure!(
            code != 0 && !printed.contains("a secret"),
            "{target} by a tunnel: {printed}"
        );
    }
    ensure!(secret.requests().is_empty(), "a refused request arrived");
    let (_, settings) = server.exec(&sandbox, "env").await?;
    ensure!(
        settings.contains("https_proxy=http://127.0.0.1:49982"),
        "{settings}"
    );
    Ok(())
}
