//! A Vite + React app in a sandbox reloads hot through its preview URL.

use std::path::{Path, PathBuf};

use anyhow::{bail, ensure};
use glass_testing::{Browser, artefact};
use serde_json::json;

use glass_testing::cache;

use crate::harness::{PAGE, images, server};

#[tokio::test(flavor = "multi_thread")]
async fn vite_reloads_hot_through_the_preview() -> anyhow::Result<()> {
    let project = project().await?;
    let server = server().await?;
    let sandbox = server.sandbox(json!({ "ports": [3000] })).await?;
    let archive = project.join("project.tar");
    server
        .ok(&[
            "cp",
            &archive.display().to_string(),
            &format!("{sandbox}:project.tar"),
        ])
        .await?;
    let (code, printed) = server
        .exec(&sandbox, "tar -xf project.tar && rm project.tar && ls")
        .await?;
    ensure!(code == 0 && printed.contains("vite.config.js"), "{printed}");

    let url = format!("http://3000-{sandbox}.preview.localhost:{}/", server.port());
    let browser = Browser::start().await?;
    browser.open(&url).await?;
    // While the dev server starts the page that says so looks again by itself.
    browser.wait_for("#count", PAGE * 3).await?;
    browser.click("#count").await?;
    browser
        .wait_until(
            "document.querySelector('#count').textContent === 'count 1'",
            PAGE,
        )
        .await?;
    browser.eval("(window.notReloaded = true)").await?;
    browser.screenshot(&artefact("vite-1-before.png")?).await?;

    let edit = "sed -i 's/Hello from Vite/Hot as promised/' src/App.jsx && grep -c 'Hot as promised' src/App.jsx";
    let (code, printed) = server.exec(&sandbox, edit).await?;
    ensure!(code == 0, "{printed}");
    browser
        .wait_until(
            "document.querySelector('h1').textContent === 'Hot as promised'",
            PAGE,
        )
        .await?;
    // Neither the page nor the state of the component was lost, so it came over the WebSocket.
    ensure!(
        browser.eval("window.notReloaded === true").await? == json!(true),
        "the page was loaded again"
    );
    ensure!(
        browser.text("#count").await? == "count 1",
        "the component's state was lost"
    );
    browser.screenshot(&artefact("vite-2-after.png")?).await
}

/// A Vite + React project with its packages, as a tar archive, made once with the ordinary npm.
async fn project() -> anyhow::Result<PathBuf> {
    let directory = cache()?.join("vite-react-2");
    if directory.join("project.tar").exists() {
        return Ok(directory);
    }
    let files = [
        (
            "package.json",
            r#"{
  "name": "hot", "private": true, "type": "module",
  "scripts": { "dev": "vite" },
  "dependencies": { "react": "19.2.0", "react-dom": "19.2.0" },
  "devDependencies": { "vite": "7.1.12", "@vitejs/plugin-react": "5.1.0" }
}
"#,
        ),
        (
            "vite.config.js",
            "import { defineConfig } from 'vite';\nimport react from '@vitejs/plugin-react';\nexport default defineConfig({ plugins: [react()] });\n",
        ),
        (
            "index.html",
            "<!doctype html><title>Hot</title><div id=\"root\"></div><script type=\"module\" src=\"/src/main.jsx\"></script>\n",
        ),
        (
            "src/main.jsx",
            "import { createRoot } from 'react-dom/client';\nimport App from './App.jsx';\ncreateRoot(document.getElementById('root')).render(<App />);\n",
        ),
        (
            "src/App.jsx",
            "import { useState } from 'react';\nexport default function App() {\n  const [count, setCount] = useState(0);\n  return <><h1>Hello from Vite</h1><button id=\"count\" onClick={() => setCount(count + 1)}>count {count}</button></>;\n}\n",
        ),
    ];
    let work = tempfile::tempdir()?;
    let root = work.path().join("project");
    std::fs::create_dir_all(root.join("src"))?;
    for (name, text) in files {
        std::fs::write(root.join(name), text)?;
    }
    // The image's own Node, so that the packages fit it and the host needs none.
    let local = node_of(&images().await?)?;
    let (node, npm) = (
        local.join("bin/node"),
        local.join("lib/node_modules/npm/bin/npm-cli.js"),
    );
    let install = [
        &npm.display().to_string(),
        "install",
        "--no-audit",
        "--no-fund",
        "--loglevel",
        "error",
    ];
    run(&root, &node.display().to_string(), &install).await?;
    let archive = work.path().join("project.tar");
    run(&root, "tar", &["-cf", &archive.display().to_string(), "."]).await?;
    std::fs::create_dir_all(&directory)?;
    std::fs::copy(&archive, directory.join("project.tar.partial"))?;
    std::fs::rename(
        directory.join("project.tar.partial"),
        directory.join("project.tar"),
    )?;
    Ok(directory)
}

/// The directory of the layer that has Node.
fn node_of(images: &Path) -> anyhow::Result<PathBuf> {
    for layer in std::fs::read_dir(images.join("layers"))? {
        let local = layer?.path().join("usr/local");
        if local.join("bin/node").exists() {
            return Ok(local);
        }
    }
    bail!("no layer of the base image has Node")
}

async fn run(directory: &Path, program: &str, arguments: &[&str]) -> anyhow::Result<()> {
    let output = tokio::process::Command::new(program)
        .args(arguments)
        .current_dir(directory)
        .output()
        .await?;
    ensure!(
        output.status.success(),
        "{program} {arguments:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
