//! A template out of a directory of one's own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::ensure;
use glass_testing::{CliOutput, TestServer};
use serde_json::{Value, json};

use crate::harness::server;

/// Writes a recipe whose one command is this.
fn recipe(directory: &Path, prepare: &str) -> anyhow::Result<()> {
    fs::create_dir_all(directory.join("files/bin"))?;
    let toml = format!(
        "name = \"mine\"\ntitle = \"Mine\"\ndescription = \"One of my own.\"\nprepare = [{}]\n",
        json!(prepare)
    );
    fs::write(directory.join("template.toml"), toml)?;
    fs::write(directory.join("files/index.html"), "<h1>Mine</h1>\n")?;
    let program = directory.join("files/bin/run");
    fs::write(&program, "#!/bin/sh\necho made by $npm_config_registry\n")?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

async fn build(server: &TestServer, arguments: &[&str]) -> anyhow::Result<CliOutput> {
    let output = server
        .command(&[&["template", "build"], arguments].concat())
        .env("npm_config_registry", "https://mirror.example/npm")
        .env("npm_config__authtoken", "secret")
        .output()
        .await?;
    Ok(CliOutput {
        status: output.status,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

async fn get(server: &TestServer, path: &str) -> anyhow::Result<Value> {
    Ok(server.api("GET", path, None).await?.1)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_becomes_a_template() -> anyhow::Result<()> {
    let server = server().await?;
    let directory = tempfile::tempdir()?;
    let path = directory.path().display().to_string();
    recipe(
        directory.path(),
        r#"bin/run > made && env > environment && test -s "${PIP_CERT:-made}""#,
    )?;
    let built = build(&server, &[&path]).await?;
    ensure!(built.status.success(), "{built:?}");
    ensure!(
        built.stdout == "mine\n" && built.stderr.contains("Mine: bin/run"),
        "{built:?}"
    );

    // The registry and the certificates of this machine were for the command, a credential for nobody.
    let sandbox = server.sandbox(json!({ "template": "mine" })).await?;
    let look =
        "cat made; ls; bin/run; grep -c secret environment; env | grep -c 'mirror\\|PIP_CERT'";
    let (_, printed) = server.exec(&sandbox, look).await?;
    let expected =
        "made by https://mirror.example/npm\nbin\nenvironment\nindex.html\nmade\nmade by\n0\n0\n";
    ensure!(printed == expected, "{printed}");

    let again = build(&server, &[&path]).await?;
    ensure!(again.stderr.contains("up to date"), "{again:?}");
    let list = server.ok(&["template", "ls"]).await?;
    let line = |name: &str| {
        list.lines()
            .find(|line| line.starts_with(name))
            .unwrap_or_default()
    };
    ensure!(line("mine").contains("ready"), "{list}");
    ensure!(line("react-vite").contains("at first use"), "{list}");

    // What fails changes nothing and leaves nothing.
    let before = get(&server, "/v1/templates/mine").await?;
    recipe(directory.path(), "echo what went wrong; exit 3")?;
    let failed = build(&server, &[&path]).await?;
    ensure!(!failed.status.success(), "{failed:?}");
    ensure!(
        failed.stderr.contains("ended with 3") && failed.stderr.contains("what went wrong"),
        "{failed:?}"
    );
    recipe(
        directory.path(),
        "echo 'web: {command: no-such-program}' > glasshouse.yaml; exit 0",
    )?;
    fs::write(
        directory.path().join("files/glasshouse.yaml"),
        "web: {command: no-such-program}\n",
    )?;
    let failed = build(&server, &[&path]).await?;
    ensure!(
        !failed.status.success() && failed.stderr.contains("no-such-program"),
        "{failed:?}"
    );
    ensure!(get(&server, "/v1/templates/mine").await? == before);
    let sandboxes = get(&server, "/v1/sandboxes").await?;
    ensure!(
        sandboxes["sandboxes"].as_array().map(Vec::len) == Some(1),
        "{sandboxes}"
    );

    // A change makes it anew, and the old files go.
    fs::remove_file(directory.path().join("files/glasshouse.yaml"))?;
    recipe(directory.path(), "true")?;
    let built = build(&server, &[&path]).await?;
    ensure!(built.status.success(), "{built:?}");
    let snapshots = get(&server, "/v1/snapshots").await?;
    ensure!(
        snapshots["snapshots"].as_array().map(Vec::len) == Some(1),
        "{snapshots}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_that_was_saved_is_not_built_over() -> anyhow::Result<()> {
    let server = server().await?;
    let sandbox = server.sandbox(json!({})).await?;
    server.exec(&sandbox, "echo precious > file").await?;
    server.ok(&["template", "save", &sandbox, "static"]).await?;
    let refused = server
        .cli(&["template", "build", "static", "blank"])
        .await?;
    ensure!(
        !refused.status.success() && refused.stderr.contains("--force"),
        "{refused:?}"
    );
    // The other one was made all the same.
    ensure!(refused.stdout == "blank\n", "{refused:?}");
    let made = server.ok(&["new", "--template", "static"]).await?;
    let made = made.split(' ').next().unwrap_or_default();
    ensure!(server.exec(made, "cat file").await?.1 == "precious\n");

    server
        .ok(&["template", "build", "static", "--force"])
        .await?;
    let snapshots = get(&server, "/v1/snapshots").await?;
    // Of the one that was saved, of `blank` and of the new one: what was saved is not ours to remove.
    ensure!(
        snapshots["snapshots"].as_array().map(Vec::len) == Some(3),
        "{snapshots}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_is_made_on_the_way() -> anyhow::Result<()> {
    let server = server().await?;
    let made = server.cli(&["new", "--template", "static"]).await?;
    ensure!(
        made.status.success() && made.stderr.contains("once"),
        "{made:?}"
    );
    let sandbox = made.stdout.split(' ').next().unwrap_or_default();
    let (_, printed) = server.exec(sandbox, "ls").await?;
    ensure!(printed == "index.html\nmain.js\nstyle.css\n", "{printed}");
    Ok(())
}
