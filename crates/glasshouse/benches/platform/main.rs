//! What the platform costs. Every figure stands beside a floor that was measured in the same run, turn by turn, so that
//! whatever else the machine does hits both alike.
//!
//! ```sh
//! make bench                                             # prints the table
//! cargo bench -p glasshouse --bench platform -- create   # measures only this part
//! cargo bench -p glasshouse --bench platform -- --write  # puts the table into docs/benchmarks.md
//! ```

mod boot;
mod create;
mod density;
mod events;
mod exec;
mod figures;
mod machine;
mod oci;
mod place;
mod preview;
mod report;
mod storage;
mod wake;

use std::io::Write;

use anyhow::{bail, ensure};

use place::Place;
use report::Report;

const PARTS: [&str; 8] = [
    "create", "exec", "preview", "events", "storage", "wake", "density", "boot",
];

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
    let report = Report {
        machine,
        ..measured?
    };
    writeln!(std::io::stdout(), "{}", report.text()?)?;
    if write {
        report.write()?;
    }
    Ok(())
}

/// All but the machine.
async fn measure(place: &Place, only: &[&str]) -> anyhow::Result<Report> {
    let sandbox = place.sandbox().await?;
    let mut report = Report::default();
    for part in PARTS {
        if !only.is_empty() && !only.contains(&part) {
            continue;
        }
        writeln!(std::io::stderr(), "measuring {part}")?;
        match part {
            "exec" => report.rows.extend(exec::round_trip(place, &sandbox).await?),
            "preview" => report
                .rows
                .extend(preview::requests(place, &sandbox).await?),
            "storage" => report.rows.extend(storage::snapshots(place).await?),
            "events" => report.rows.extend(events::fan_out(place, &sandbox).await?),
            "wake" => report.rows.extend(wake::wakes(place).await?),
            "density" => report.amounts.extend(density::memory(place).await?),
            "boot" => {
                let (rows, amounts) = boot::thousand().await?;
                report.rows.extend(rows);
                report.amounts.extend(amounts);
            }
            _ => {
                let (rows, steps) = create::one_by_one(place).await?;
                report.rows.extend(rows);
                report.steps = steps;
                report.rows.extend(create::at_once(place).await?);
            }
        }
    }
    place.remove(&sandbox).await?;
    Ok(report)
}
