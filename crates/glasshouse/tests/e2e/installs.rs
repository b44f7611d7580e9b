//! A sandbox with a writable root is a machine on which its user installs what he needs.

use std::path::Path;
use std::process::Stdio;

use anyhow::ensure;
use serde_json::json;

use crate::harness::server;

/// A repository of one package, which says `installed`.
async fn repository(dir: &Path) -> anyhow::Result<()> {
    let script = "set -e; cd \"$1\"; mkdir -p p/DEBIAN p/usr/bin
        printf 'Package: glass-hello\\nVersion: 1\\nArchitecture: all\\nMaintainer: T <t@example.org>\\nDescription: x\\n' > p/DEBIAN/control
        printf '#!/bin/sh\\nset -e\\nid -u > /etc/glass-hello\\nchown dev:dev /etc/glass-hello\\n' > p/DEBIAN/postinst
        printf '#!/bin/sh\\necho installed\\n' > p/usr/bin/glass-hello
        chmod 755 p/DEBIAN/postinst p/usr/bin/glass-hello; dpkg-deb --root-owner-group -b p hello.deb >/dev/null; rm -r p
        { dpkg-deb -f hello.deb; echo Filename: ./hello.deb; echo Size: $(stat -c %s hello.deb); echo SHA256: $(sha256sum < hello.deb | cut -d' ' -f1); } > Packages";
    let made = tokio::process::Command::new("sh")
        .args(["-c", script, "sh"])
        .arg(dir)
        .output()
        .await?;
    ensure!(made.status.success(), "{made:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_is_installed_through_the_proxy_and_stays() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    repository(dir.path()).await?;
    let port = {
        let free = std::net::TcpListener::bind("127.0.0.1:0")?;
        free.local_addr()?.port()
    };
    let _web = tokio::process::Command::new("python3")
        .args(["-m", "http.server", "--bind", "127.0.0.1"])
        .arg(port.to_string())
        .current_dir(dir.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let mut server = server().await?;
    server.kill().await?;
    let config = format!("[egress]\nallow = [\"127.0.0.1:{port}\"]\n");
    std::fs::write(server.data().join("glasshouse.toml"), config)?;
    server.launch().await?;
    let sandbox = server.sandbox(json!({ "root": "writable" })).await?;

    let (_, kept) = server.exec(&sandbox, "sudo env").await?;
    for name in ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"] {
        ensure!(
            kept.contains(&format!("{name}=http://127.0.0.1:")),
            "{name}: {kept}"
        );
    }
    let source = format!(
        "sudo rm -rf /etc/apt/sources.list /etc/apt/sources.list.d && \
         echo 'deb [trusted=yes] http://127.0.0.1:{port}/ ./' | sudo tee /etc/apt/sources.list"
    );
    let (code, printed) = server.exec(&sandbox, &source).await?;
    ensure!(code == 0, "{printed}");
    // The repository stands for one on the internet, so it is not beside the proxy.
    let apt = "export no_proxy= NO_PROXY=; sudo apt-get -q update && sudo apt-get -qy install glass-hello";
    let (code, printed) = server.exec(&sandbox, apt).await?;
    ensure!(code == 0, "{printed}");
    let used = "glass-hello && cat /etc/glass-hello && stat -c %U /etc/glass-hello && dpkg -s glass-hello | grep Status";
    let expected = "installed\n0\ndev\nStatus: install ok installed\n";
    for round in 0..2 {
        let (code, printed) = server.exec(&sandbox, used).await?;
        ensure!(code == 0 && printed == expected, "{round}: {printed}");
        for verb in ["stop", "start"] {
            let path = format!("/v1/sandboxes/{sandbox}/{verb}");
            let (status, answer) = server.api("POST", &path, None).await?;
            ensure!(status == 200, "{verb}: {answer}");
        }
    }
    let other = server.sandbox(json!({ "root": "writable" })).await?;
    let (code, printed) = server.exec(&other, "glass-hello").await?;
    ensure!(code == 127, "another sandbox has it: {printed}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_installed_where_the_root_is_thrown_away() -> anyhow::Result<()> {
    let server = server().await?;
    let sandbox = server.sandbox(json!({})).await?;
    let (code, printed) = server.exec(&sandbox, "sudo -n true").await?;
    ensure!(
        code != 0 && printed.contains("no new privileges"),
        "{printed}"
    );
    let body = json!({ "command": "true", "user": "root" });
    let path = format!("/v1/sandboxes/{sandbox}/exec");
    let (status, problem) = server.api("POST", &path, Some(body)).await?;
    ensure!(
        status == 422
            && problem["detail"]
                .as_str()
                .is_some_and(|d| d.contains("writable root")),
        "{status}: {problem}"
    );
    Ok(())
}
