//! Files that nobody wants for long leave the host, and are back when somebody looks at the page.

use std::time::Duration;

use anyhow::ensure;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::harness::server;

const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn a_page_comes_back_from_the_archive() -> anyhow::Result<()> {
    let server = server().await?;
    let sandbox = server.sandbox(json!({ "ports": [3000] })).await?;
    let path = format!("/v1/sandboxes/{sandbox}");
    let write = "echo '<h1>kept</h1>' > index.html && mkdir -p a/b && head -c 3000000 /dev/urandom > a/b/noise && \
                 ln -s ../index.html a/link && chmod 751 a && sha256sum a/b/noise a/link && stat -c '%a %u %g' a";
    let (code, before) = server.exec(&sandbox, write).await?;
    ensure!(code == 0, "{before}");

    let idle = json!({ "freeze_after_ms": "never", "stop_after_ms": 50, "archive_after_ms": 60 });
    let (status, answer) = server
        .api("PATCH", &path, Some(json!({ "idle": idle })))
        .await?;
    ensure!(status == 200, "{answer}");
    let begin = Instant::now();
    loop {
        let (_, view) = server.api("GET", &path, None).await?;
        let runtime = server.data().join("runtime");
        let left = [
            runtime.join("sandboxes").join(&sandbox),
            runtime.join(format!("pool/sandboxes/{sandbox}.img")),
        ];
        if view["state"] == "archived" && left.iter().all(|path| !path.exists()) {
            break;
        }
        ensure!(begin.elapsed() < PATIENCE, "{view}\n{}", server.log());
        // Its row changes when the sweep and the archive are done, and nothing tells of that.
        sleep(Duration::from_millis(50)).await;
    }

    let idle = json!({ "stop_after_ms": "never", "archive_after_ms": "never" });
    server
        .api("PATCH", &path, Some(json!({ "idle": idle })))
        .await?;
    let page = reqwest::Client::builder().no_proxy().build()?;
    let page = page
        .get(server.url("/"))
        .header("host", format!("3000-{sandbox}.preview.localhost"))
        .send()
        .await?;
    ensure!(page.status() == 200, "{page:?}\n{}", server.log());
    ensure!(page.text().await?.contains("<h1>kept</h1>"));
    let look = "sha256sum a/b/noise a/link && stat -c '%a %u %g' a";
    let (code, after) = server.exec(&sandbox, look).await?;
    ensure!(code == 0 && after == before, "{before}\n{after}");
    Ok(())
}
