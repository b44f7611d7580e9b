//! What people do with sandboxes, chosen at random. Everything here may be done twice, because a server that is killed
//! before it answers is asked again.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use rand::Rng;
use rand::rngs::StdRng;
use reqwest::{Method, StatusCode};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::client::{Answer, Client, PATIENCE, PAUSE};
use crate::known::{Known, Sandbox, Snapshot, State, digest};
use crate::socket::Opened;

/// The label of all sandboxes of this test.
pub(crate) const LABEL: &str = "soak";
/// Bytes of each disk. Not every host lets one grow, so all have the same.
pub(crate) const DISK: u64 = 1 << 30;
/// Bytes of the largest file.
const LARGEST: usize = 64 << 10;
/// Grows by commands.
const LOG: &str = "log";

/// Makes a sandbox with a page of its own.
pub(crate) async fn create(client: &Client, known: &Known) -> anyhow::Result<()> {
    let params = json!({ "labels": { LABEL: "yes" }, "limits": { "disk_bytes": DISK } });
    let made = client.json(Method::POST, "/v1/sandboxes", &params).await?;
    welcome(client, known, made, State::default()).await
}

/// Gives a new sandbox a page that names it, whatever it began with.
async fn welcome(
    client: &Client,
    known: &Known,
    made: Answer,
    mut state: State,
) -> anyhow::Result<()> {
    let made = may(made, &[201])?.json();
    let id = made["id"].as_str().context("no id")?.to_owned();
    let page = format!("<h1>{id}</h1>");
    write(client, &id, "index.html", page.as_bytes()).await?;
    let page = digest(page.as_bytes());
    state.files.insert("index.html".to_owned(), page);
    known.add(id, state);
    Ok(())
}

/// Does something with some sandbox.
pub(crate) async fn any(
    client: &Client,
    known: &Known,
    random: &mut StdRng,
    most: usize,
) -> anyhow::Result<&'static str> {
    let Some(one) = known.any(random) else {
        bail!("there is no sandbox");
    };
    let Ok(mut state) = one.state.try_lock() else {
        tokio::task::yield_now().await;
        return Ok("nothing");
    };
    if state.is_gone {
        return Ok("nothing");
    }
    let done = one_of_all(client, known, random, most, &one, &mut state);
    let done = done.await;
    one.story.note(format!("done: {done:?}"));
    done.with_context(|| format!("{}\n{}", one.id, one.story))
}

async fn one_of_all(
    client: &Client,
    known: &Known,
    random: &mut StdRng,
    most: usize,
    one: &Sandbox,
    state: &mut State,
) -> anyhow::Result<&'static str> {
    let (id, story) = (&one.id, &one.story);
    let path = format!("/v1/sandboxes/{id}");
    let choice = random.random_range(0..100);
    let done = match choice {
        0..22 => {
            let name = format!("file{}", random.random_range(0..8));
            let mut bytes = vec![0; random.random_range(0..LARGEST)];
            random.fill(&mut bytes[..]);
            story.note(format!("write {name}"));
            write(client, id, &name, &bytes).await?;
            state.files.insert(name, digest(&bytes));
            "write"
        }
        22..32 => {
            story.note("append a line by a command");
            append(client, id, state).await?;
            "exec"
        }
        32..45 => {
            let place = random.random_range(0..state.files.len());
            let (name, expected) = state.files.iter().nth(place).context("no file")?;
            story.note(format!("read {name}"));
            let found = digest_of(client, id, name).await?;
            ensure!(found == *expected, "{name} is not what was acknowledged");
            "read"
        }
        45..58 => {
            story.note("preview");
            let page = may(client.preview(id, "/").await?, &[200])?;
            ensure!(
                page.text().contains(id.as_str()),
                "another's page: {}",
                page.text()
            );
            "preview"
        }
        58..61 => {
            story.note("terminal");
            terminal(client, id).await?;
            "terminal"
        }
        61..68 => {
            story.note("freeze");
            // In use by the exit of an earlier request, say.
            act(client, &format!("{path}/freeze"), &[200, 409]).await?;
            "freeze"
        }
        68..74 => {
            story.note("stop");
            act(client, &format!("{path}/stop"), &[200, 409]).await?;
            "stop"
        }
        74..78 => {
            story.note("start");
            act(client, &format!("{path}/start"), &[200, 409]).await?;
            "start"
        }
        78..80 => {
            story.note("keepalive");
            let until = random.random_bool(0.5).then_some(4_102_444_800_000_i64);
            let params = json!({ "until": until });
            let kept = format!("{path}/keepalive");
            may(client.json(Method::POST, &kept, &params).await?, &[200])?;
            "keepalive"
        }
        80..86 => {
            story.note("snapshot");
            let taken = act(client, &format!("{path}/snapshots"), &[201, 409]).await?;
            if taken.status == StatusCode::CONFLICT {
                return Ok("nothing");
            }
            let snapshot = taken.json()["id"].as_str().context("no id")?.to_owned();
            let snapshot = state.now(snapshot);
            state.snapshots.push(snapshot);
            "snapshot"
        }
        86..90 => {
            if state.snapshots.is_empty() {
                return Ok("nothing");
            }
            let place = random.random_range(0..state.snapshots.len());
            let Snapshot { id, files, lines } = state.snapshots[place].clone();
            story.note(format!("restore {id}"));
            restore(client, &path, &id).await?;
            (state.files, state.lines) = (files, lines);
            "restore"
        }
        90..93 if known.len() < most => {
            story.note("fork");
            let forked = act(client, &format!("{path}/fork"), &[201, 409]).await?;
            if forked.status == StatusCode::CONFLICT {
                return Ok("nothing");
            }
            let like = State {
                files: state.files.clone(),
                lines: state.lines,
                ..State::default()
            };
            welcome(client, known, forked, like).await?;
            "fork"
        }
        93..96 if known.len() < most => {
            let Some(snapshot) = state.snapshots.last() else {
                return Ok("nothing");
            };
            story.note(format!("create another from {}", snapshot.id));
            begin_with(client, known, snapshot, choice == 95).await?;
            "create from a snapshot"
        }
        _ => {
            story.note("destroy");
            may(client.delete(&path).await?, &[204, 404])?;
            state.is_gone = true;
            known.forget(id);
            create(client, known).await?;
            "destroy"
        }
    };
    Ok(done)
}

async fn write(client: &Client, id: &str, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
    let path = format!("/v1/sandboxes/{id}/files/content?path={name}");
    may(client.put(&path, bytes).await?, &[200]).map(drop)
}

/// Appends a line to the log, unless it is there: the command may be run again.
async fn append(client: &Client, id: &str, state: &mut State) -> anyhow::Result<()> {
    let line = format!("line {}", state.lines);
    let command = format!("grep -qsxF '{line}' {LOG} || echo '{line}' >> {LOG}");
    let path = format!("/v1/sandboxes/{id}/exec");
    let params = json!({ "command": command });
    let since = Instant::now();
    loop {
        let run = may(client.json(Method::POST, &path, &params).await?, &[200])?.json();
        if run["exit_code"] == 0 {
            break;
        }
        // The shell was killed.
        ensure!(
            run["exit_code"] == 137 && since.elapsed() < PATIENCE,
            "{command}: {run}"
        );
    }
    state.lines += 1;
    let lines: String = (0..state.lines).map(|n| format!("line {n}\n")).collect();
    state.files.insert(LOG.to_owned(), digest(lines.as_bytes()));
    Ok(())
}

/// Types something and waits for what comes of it.
async fn terminal(client: &Client, id: &str) -> anyhow::Result<()> {
    let since = Instant::now();
    loop {
        let path = format!("/v1/sandboxes/{id}/terminal");
        let last = match client.socket(&path).await? {
            Opened::Later(why) => why,
            Opened::Socket(mut socket) => {
                let shown = async {
                    socket.send(b"echo a-$((40+2))\n".to_vec()).await?;
                    let mut shown = String::new();
                    while !shown.contains("a-42") {
                        let more = socket.next().await?.context("it ended")?;
                        shown.push_str(&String::from_utf8_lossy(&more));
                    }
                    anyhow::Ok(())
                };
                match shown.await {
                    Ok(()) => return Ok(()),
                    // Server, guest or shell were killed.
                    Err(error) => error.to_string(),
                }
            }
        };
        ensure!(since.elapsed() < PATIENCE, "no terminal: {last}");
        sleep(PAUSE).await;
    }
}

/// Until it is done: a conflict may be with an earlier try, whose server was killed when the files had been put back
/// already.
async fn restore(client: &Client, path: &str, snapshot: &str) -> anyhow::Result<()> {
    let since = Instant::now();
    loop {
        let params = json!({ "snapshot": snapshot });
        let path = format!("{path}/restore");
        let restored = client.json(Method::POST, &path, &params).await?;
        let restored = may(restored, &[200, 409])?;
        if restored.status == StatusCode::OK {
            return Ok(());
        }
        ensure!(since.elapsed() < PATIENCE, "{}", restored.text());
        sleep(Duration::from_millis(200)).await;
    }
}

/// Makes a sandbox that begins with a snapshot, or with a template made of it.
async fn begin_with(
    client: &Client,
    known: &Known,
    snapshot: &Snapshot,
    by_template: bool,
) -> anyhow::Result<()> {
    let limits = json!({ "disk_bytes": DISK });
    let mut params =
        json!({ "labels": { LABEL: "yes" }, "limits": limits, "snapshot": snapshot.id });
    if by_template {
        let path = format!("/v1/templates/{}", snapshot.id);
        let template = json!({ "description": "of the soak", "snapshot": snapshot.id });
        let made = client.json(Method::PUT, &path, &template).await?;
        may(made, &[200, 201])?;
        params = json!({ "labels": { LABEL: "yes" }, "limits": limits, "template": snapshot.id });
    }
    let made = client.json(Method::POST, "/v1/sandboxes", &params).await?;
    let like = State {
        files: snapshot.files.clone(),
        lines: snapshot.lines,
        ..State::default()
    };
    welcome(client, known, made, like).await
}

/// The digest of a file of a sandbox.
pub(crate) async fn digest_of(client: &Client, id: &str, name: &str) -> anyhow::Result<String> {
    let path = format!("/v1/sandboxes/{id}/files/content?path={name}");
    let answer = may(client.get(&path).await?, &[200])?;
    Ok(digest(&answer.body))
}

/// Has something done that needs no parameters.
pub(crate) async fn act(client: &Client, path: &str, statuses: &[u16]) -> anyhow::Result<Answer> {
    may(client.json(Method::POST, path, &json!({})).await?, statuses)
}

/// An answer of one of these, or a failure of the test.
pub(crate) fn may(answer: Answer, statuses: &[u16]) -> anyhow::Result<Answer> {
    if statuses.contains(&answer.status.as_u16()) {
        return Ok(answer);
    }
    bail!("{}: {}", answer.status, answer.text())
}
