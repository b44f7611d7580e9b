//! A command in a sandbox, against one on the host.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::ensure;
use glass_types::SandboxId;
use serde_json::json;
use tokio::time::Instant;

use crate::figures::{Row, Samples};
use crate::place::Place;

const WARM_UP: usize = 10;
const TIMES: usize = 300;

pub(crate) async fn round_trip(place: &Place, sandbox: &SandboxId) -> anyhow::Result<Vec<Row>> {
    let (mut subject, mut floor) = (Samples::default(), Samples::default());
    for turn in 0..WARM_UP + TIMES {
        let host = on_host()?;
        let begin = Instant::now();
        place.exec(sandbox, json!(["true"]), None).await?;
        if turn >= WARM_UP {
            floor.push(host);
            subject.push(begin.elapsed());
        }
    }
    Ok(vec![Row::new("exec of `true`, API", subject).over(floor)])
}

/// Fork, exec and wait.
fn on_host() -> anyhow::Result<Duration> {
    let begin = Instant::now();
    let status = Command::new("/bin/true")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    ensure!(status.success(), "/bin/true: {status}");
    Ok(begin.elapsed())
}
