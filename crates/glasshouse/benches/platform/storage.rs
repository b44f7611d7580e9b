//! Snapshots, forks and restores, of much and of little.
//!
//! The floor is the kernel's: one call by which two files share their blocks, on the disk of the same sandbox. What a copy
//! of the same files takes (`cp -a`) stands beside it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use glass_runtime::{DiskFiles, ExecRequest, GuestClient, Runtime, SandboxSpec};
use glass_types::SnapshotId;
use tokio::time::Instant;

use crate::figures::{Row, Samples};
use crate::place::Place;

const WARM_UP: usize = 1;
const TIMES: usize = 15;
/// Copying takes seconds each time.
const COPIES: usize = 3;
const GRACE: Duration = Duration::from_secs(5);
/// 300 MB in 20,000 files, as an app's packages are.
const DIRECTORIES: usize = 200;
const FILES: usize = 100;
const BYTES: usize = 15_000;

pub(crate) async fn snapshots(place: &Place) -> anyhow::Result<Vec<Row>> {
    let mut rows = measure(place, "one file", "echo text > ~/file").await?;
    // No two files are alike.
    let script = format!(
        r#"node -e '
            const fs = require("fs"), crypto = require("crypto");
            for (let d = 0; d < {DIRECTORIES}; d++) {{
                fs.mkdirSync(`workspace/d${{d}}`);
                for (let f = 0; f < {FILES}; f++)
                    fs.writeFileSync(`workspace/d${{d}}/${{f}}`, crypto.randomBytes({BYTES}));
            }}'"#
    );
    rows.extend(measure(place, "300 MB in 20,000 files", &format!("cd && {script}")).await?);
    Ok(rows)
}

async fn measure(place: &Place, what: &str, fill: &str) -> anyhow::Result<Vec<Row>> {
    let runtime = &place.runtime;
    let snapshots = runtime.snapshots().context("no snapshots on this host")?;
    let spec = place.spec();
    runtime.create(&spec).await?;
    runtime.start(&spec).await?;
    // What was written a moment ago is not part of what is measured.
    shell(place, &spec, &format!("{fill} && sync")).await?;
    let (mut take, mut fork, mut restore) = <(Samples, Samples, Samples)>::default();
    let (mut floors, mut copies) = <([Samples; 3], Samples)>::default();
    for turn in 0..WARM_UP + TIMES {
        if turn == WARM_UP {
            (take, fork, restore) = Default::default();
            floors = Default::default();
        }
        // Something was written since the last one, or there would be nothing to wait for.
        shell(place, &spec, &format!("echo {turn} > ~/turn")).await?;
        let id = SnapshotId::random();
        let begin = Instant::now();
        snapshots.take(&spec.id, &id).await?;
        take.push(begin.elapsed());

        let forked = SandboxSpec {
            from: Some(id.clone()),
            ..place.spec()
        };
        let begin = Instant::now();
        runtime.create(&forked).await?;
        runtime.start(&forked).await?;
        fork.push(begin.elapsed());
        runtime.stop(&forked.id, GRACE).await?;
        let begin = Instant::now();
        snapshots.restore(&forked.id, &id).await?;
        restore.push(begin.elapsed());
        let Some(DiskFiles::Image(image)) = runtime.disk(&forked.id).await? else {
            anyhow::bail!("it has no disk");
        };
        for floor in &mut floors {
            floor.push(clone(&image)?);
        }
        runtime.destroy(&forked.id).await?;
        snapshots.delete(&id).await?;
    }
    let home = home_of(place, &spec)?;
    for _ in 0..COPIES {
        copies.push(copy(&home, place.directory())?);
    }
    runtime.destroy(&spec.id).await?;
    let [first, second, third] = floors;
    Ok(vec![
        Row::new(format!("snapshot of a running sandbox, {what}"), take).over(first),
        Row::new(format!("fork → guest answers, {what}"), fork).over(second),
        Row::new(format!("restore, {what}"), restore).over(third),
        Row::new(format!("`cp -a` of the same files, {what}"), copies),
    ])
}

/// The sandbox's home as the host sees it.
fn home_of(place: &Place, spec: &SandboxSpec) -> anyhow::Result<PathBuf> {
    let record = place
        .directory()
        .join("runtime/sandboxes")
        .join(spec.id.as_str())
        .join("init.json");
    let record: serde_json::Value = serde_json::from_str(&fs::read_to_string(record)?)?;
    Ok(PathBuf::from(format!(
        "/proc/{}/root/home/dev",
        record["pid"]
    )))
}

async fn shell(place: &Place, spec: &SandboxSpec, script: &str) -> anyhow::Result<()> {
    let runtime: Arc<dyn Runtime> = place.runtime.clone();
    let request = ExecRequest {
        command: ["sh", "-c", script].map(str::to_owned).to_vec(),
        timeout: Some(Duration::from_secs(120)),
        ..ExecRequest::default()
    };
    let output = GuestClient::new(runtime, spec.id.clone())
        .exec(request)
        .await?;
    ensure!(output.exit_code == 0, "{script}: {output:?}");
    Ok(())
}

fn clone(image: &Path) -> anyhow::Result<Duration> {
    let target = image.with_extension("floor");
    let (from, to) = (File::open(image)?, File::create_new(&target)?);
    let begin = Instant::now();
    rustix::fs::ioctl_ficlone(&to, &from)?;
    let time = begin.elapsed();
    fs::remove_file(target)?;
    Ok(time)
}

fn copy(home: &Path, directory: &Path) -> anyhow::Result<Duration> {
    let target = directory.join("copy");
    let begin = Instant::now();
    let status = Command::new("cp")
        .arg("-a")
        .args([home, &target])
        .status()?;
    let time = begin.elapsed();
    ensure!(status.success(), "cp: {status}");
    fs::remove_dir_all(target)?;
    Ok(time)
}
