//! What the platform costs. Every figure stands beside a floor that was measured in the same run, turn by turn, so that
//! whatever else the machine does hits both alike.
//!
//! ```sh
//! make bench                                             # prints the table
//! cargo bench -p glasshouse --bench platform -- create   # measures only this: create, exec, preview, events or storage
//! cargo bench -p glasshouse --bench platform -- --write  # puts the table into docs/benchmarks.md
//! ```

mod create;
mod events;
mod exec;
mod figures;
mod machine;
mod place;
mod preview;
mod report;
mod storage;

use std::io::Write;

use anyhow::{bail, ensure};

use figures::Row;
use place::Place;
use report::Report;

const PARTS: [&str; 5] = ["create", "exec", "preview", "events", "storage"];

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if !arguments.iter().any(|argument| argument == "--bench") {
        // `cargo test --all-targets` runs benchmarks too, without optimisation; that would measure nothing.
        return Ok(());
    }
    let words: Vec<&str> = arguments
        .iter()
        .map(String::as_str)
        .filter(|argument| *argument != "--bench")
        .collect();
    let write = words == ["--write"];
    let only: Vec<&str> = words.into_iter().filter(|_| !write).collect();
    if let Some(unknown) = only.iter().find(|word| !PARTS.contains(word)) {
        bail!(
            "unknown argument {unknown:?}: give names out of {PARTS:?} to measure only these, or --write alone to rewrite \
             docs/benchmarks.md"
        );
    }
    ensure!(
        rustix::process::geteuid().is_root(),
        "the benchmarks make real sandboxes and need root: run `sudo -E make bench`"
    );
    tokio::runtime::Runtime::new()?.block_on(run(&only, write))
}

async fn run(only: &[&str], write: bool) -> anyhow::Result<()> {
    let machine = machine::describe()?;
    let place = Place::open().await?;
    let measured = measure(&place, only).await;
    place.clear().await?;
    let (rows, steps) = measured?;
    let report = Report {
        machine,
        rows,
        steps,
    };
    writeln!(std::io::stdout(), "{}", report.text()?)?;
    if write {
        report.write()?;
    }
    Ok(())
}

/// The rows, and the steps of a create.
async fn measure(place: &Place, only: &[&str]) -> anyhow::Result<(Vec<Row>, Vec<Row>)> {
    let sandbox = place.sandbox().await?;
    let (mut rows, mut steps) = (Vec::new(), Vec::new());
    for part in PARTS {
        if !only.is_empty() && !only.contains(&part) {
            continue;
        }
        writeln!(std::io::stderr(), "measuring {part}")?;
        rows.extend(match part {
            "exec" => exec::round_trip(place, &sandbox).await?,
            "preview" => preview::requests(place, &sandbox).await?,
            "storage" => storage::snapshots(place).await?,
            "events" => events::fan_out(place, &sandbox).await?,
            _ => {
                let mut rows;
                (rows, steps) = create::one_by_one(place).await?;
                rows.extend(create::at_once(place).await?);
                rows
            }
        });
    }
    place.remove(&sandbox).await?;
    Ok((rows, steps))
}
