//! What the platform costs. Every figure stands beside a floor that was measured in the same run, turn by turn, so that
//! whatever else the machine does hits both alike.
//!
//! ```sh
//! make bench                # prints the table
//! make bench ARGS=--write   # and puts it into docs/benchmarks.md
//! ```

mod create;
mod events;
mod exec;
mod figures;
mod machine;
mod place;
mod preview;
mod report;

use std::io::Write;

use anyhow::{bail, ensure};

use figures::Row;
use place::Place;
use report::Report;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if !arguments.iter().any(|argument| argument == "--bench") {
        // `cargo test --all-targets` runs benchmarks too, without optimisation; that would measure nothing.
        return Ok(());
    }
    if let Some(unknown) = arguments
        .iter()
        .find(|argument| !["--bench", "--write"].contains(&argument.as_str()))
    {
        bail!(
            "unknown argument {unknown:?}: there is only --write, which rewrites docs/benchmarks.md"
        );
    }
    ensure!(
        rustix::process::geteuid().is_root(),
        "the benchmarks make real sandboxes and need root: run `sudo -E make bench`"
    );
    let write = arguments.iter().any(|argument| argument == "--write");
    tokio::runtime::Runtime::new()?.block_on(run(write))
}

async fn run(write: bool) -> anyhow::Result<()> {
    let machine = machine::describe()?;
    let place = Place::open().await?;
    let measured = measure(&place).await;
    place.clear().await?;
    let report = Report {
        machine,
        rows: measured?,
    };
    writeln!(std::io::stdout(), "{}", report.text()?)?;
    if write {
        report.write()?;
    }
    Ok(())
}

async fn measure(place: &Place) -> anyhow::Result<Vec<Row>> {
    let mut rows = create::one_by_one(place).await?;
    say("one by one: done")?;
    rows.extend(create::at_once(place).await?);
    say("twenty at once: done")?;
    let sandbox = place.sandbox().await?;
    rows.extend(exec::round_trip(place, &sandbox).await?);
    say("exec: done")?;
    rows.extend(preview::requests(place, &sandbox).await?);
    say("preview: done")?;
    rows.extend(events::fan_out(place, &sandbox).await?);
    say("events: done")?;
    place.remove(&sandbox).await?;
    Ok(rows)
}

/// How far it is, for whoever waits.
fn say(text: &str) -> std::io::Result<()> {
    writeln!(std::io::stderr(), "{text}")
}
