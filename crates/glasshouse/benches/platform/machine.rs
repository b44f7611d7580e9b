//! On what it was measured.

use std::fs;
use std::process::Command;

use anyhow::Context;

/// A line for each thing that makes figures differ.
pub(crate) fn describe() -> anyhow::Result<Vec<(&'static str, String)>> {
    let read = |path: &str| fs::read_to_string(path).with_context(|| path.to_owned());
    let cpuinfo = read("/proc/cpuinfo")?;
    let model = field(&cpuinfo, "model name").unwrap_or("unknown");
    let cores = std::thread::available_parallelism()?;
    let memory = field(&read("/proc/meminfo")?, "MemTotal")
        .and_then(|text| text.strip_suffix(" kB")?.parse::<u64>().ok())
        .map_or_else(|| "unknown".to_owned(), |kib| format!("{} GiB", kib >> 20));
    let mounts = read("/proc/self/mounts")?;
    let date = Command::new("date")
        .args(["-u", "+%F %H:%M UTC"])
        .output()?;
    Ok(vec![
        ("date", String::from_utf8(date.stdout)?.trim().to_owned()),
        ("processor", format!("{model}, {cores} cores")),
        ("memory", memory),
        (
            "kernel",
            read("/proc/sys/kernel/osrelease")?.trim().to_owned(),
        ),
        ("control groups", control_groups(&mounts).to_owned()),
        ("file system", file_system(&mounts).to_owned()),
        (
            "load before",
            read("/proc/loadavg")?.split(' ').take(1).collect(),
        ),
    ])
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim())
}

fn control_groups(mounts: &str) -> &'static str {
    let limits_memory = |options: &str| options.split(',').any(|option| option == "memory");
    let v1 = mounts.lines().any(|line| {
        let fields: Vec<&str> = line.split(' ').collect();
        fields.get(2) == Some(&"cgroup") && fields.get(3).is_some_and(|o| limits_memory(o))
    });
    if v1 { "version 1" } else { "version 2" }
}

/// The type of the file system that has `/var/tmp`, where all of it happens.
fn file_system(mounts: &str) -> &str {
    mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(1);
            Some((fields.next()?, fields.next()?))
        })
        .filter(|(place, _)| ["/", "/var", "/var/tmp"].contains(place))
        .max_by_key(|(place, _)| place.len())
        .map_or("unknown", |(_, kind)| kind)
}
