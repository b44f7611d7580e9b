//! The limits of one sandbox, and its freezer: cgroup v2, or the v1 hierarchies.

use std::collections::BTreeSet;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use glass_types::Limits;

use crate::Stats;

/// Directory of all our groups in each hierarchy.
const PARENT: &str = "glasshouse";
const PERIOD_USEC: u64 = 100_000;
/// Those that version 2 has to offer.
const CONTROLLERS: [&str; 3] = ["cpu", "memory", "pids"];

/// Where the host has its control groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Hierarchy {
    V1 {
        memory: PathBuf,
        cpu: PathBuf,
        cpuacct: PathBuf,
        pids: PathBuf,
        freezer: PathBuf,
        /// Hierarchies without controllers, by which a service manager finds the processes of a service. A sandbox has
        /// a place of its own there, or stopping the server would stop it too.
        tracking: Vec<PathBuf>,
    },
    V2 {
        root: PathBuf,
    },
}

impl Hierarchy {
    /// Finds them in the mount table. The error names what is missing.
    pub(super) fn detect() -> Result<Self, String> {
        let table = std::fs::read_to_string("/proc/self/mounts")
            .map_err(|e| format!("/proc/self/mounts: {e}"))?;
        Self::from_mounts(&table, |root| {
            std::fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default()
        })
    }

    fn from_mounts(table: &str, controllers: impl Fn(&Path) -> String) -> Result<Self, String> {
        let mounts: Vec<(&str, &str, Vec<&str>)> = table
            .lines()
            .filter_map(|line| {
                let mut fields = line.split(' ').skip(1);
                let (path, kind, options) = (fields.next()?, fields.next()?, fields.next()?);
                Some((kind, path, options.split(',').collect()))
            })
            .collect();
        for (kind, path, _) in &mounts {
            if *kind == "cgroup2" {
                let offered = controllers(Path::new(path));
                let offered: Vec<&str> = offered.split_whitespace().collect();
                if CONTROLLERS.iter().all(|needed| offered.contains(needed)) {
                    return Ok(Self::V2 {
                        root: PathBuf::from(path),
                    });
                }
            }
        }
        let find = |controller: &str| {
            mounts
                .iter()
                .find(|(kind, _, options)| *kind == "cgroup" && options.contains(&controller))
                .map(|(_, path, _)| PathBuf::from(path))
                .ok_or_else(|| format!("no cgroup hierarchy with the controller {controller}"))
        };
        Ok(Self::V1 {
            memory: find("memory")?,
            cpu: find("cpu")?,
            cpuacct: find("cpuacct")?,
            pids: find("pids")?,
            freezer: find("freezer")?,
            tracking: mounts
                .iter()
                .filter(|(kind, _, options)| {
                    *kind == "cgroup2" || options.contains(&"name=systemd")
                })
                .map(|(_, path, _)| PathBuf::from(path))
                .collect(),
        })
    }

    fn mounts(&self) -> BTreeSet<&Path> {
        match self {
            Self::V1 {
                memory,
                cpu,
                cpuacct,
                pids,
                freezer,
                tracking,
            } => [memory, cpu, cpuacct, pids, freezer]
                .into_iter()
                .chain(tracking)
                .map(PathBuf::as_path)
                .collect(),
            Self::V2 { root } => BTreeSet::from([root.as_path()]),
        }
    }

    /// Makes a group in each hierarchy and removes it again; of version 2 also hands on the controllers, as a start would.
    pub(super) fn check_writable(&self) -> io::Result<()> {
        if let Self::V2 { root } = self {
            hand_on_controllers(root)?;
        }
        for mount in self.mounts() {
            let probe = mount.join(format!("glasshouse-check-{}", std::process::id()));
            std::fs::create_dir(&probe)?;
            std::fs::remove_dir(&probe)?;
        }
        Ok(())
    }

    /// For people.
    pub(super) fn describe(&self) -> String {
        let version = match self {
            Self::V1 { .. } => 1,
            Self::V2 { .. } => 2,
        };
        let mounts: Vec<String> = self
            .mounts()
            .iter()
            .map(|m| m.display().to_string())
            .collect();
        format!("version {version} at {}", mounts.join(", "))
    }

    /// The groups of one sandbox.
    pub(super) fn group(&self, id: &str) -> Group {
        Group {
            hierarchy: self.clone(),
            id: id.to_owned(),
        }
    }
}

/// The groups of one sandbox, existing or not.
#[derive(Debug, Clone)]
pub(super) struct Group {
    hierarchy: Hierarchy,
    id: String,
}

impl Group {
    fn at(&self, mount: &Path) -> PathBuf {
        mount.join(PARENT).join(&self.id)
    }

    fn dirs(&self) -> Vec<PathBuf> {
        self.hierarchy
            .mounts()
            .into_iter()
            .map(|m| self.at(m))
            .collect()
    }

    /// Makes the groups and sets their limits. Returns the directories for the launcher to join.
    pub(super) fn make(&self, limits: &Limits) -> io::Result<Vec<PathBuf>> {
        for mount in self.hierarchy.mounts() {
            make_below(
                mount,
                &self.at(mount),
                matches!(self.hierarchy, Hierarchy::V2 { .. }),
            )?;
        }
        let quota = (u64::from(limits.cpu_millis) * PERIOD_USEC / 1000).max(1000);
        match &self.hierarchy {
            Hierarchy::V2 { root } => {
                let dir = self.at(root);
                set(&dir, "memory.max", limits.memory_bytes)?;
                set_if_there(&dir, "memory.swap.max", 0)?;
                set(&dir, "cpu.max", format!("{quota} {PERIOD_USEC}"))?;
                set(&dir, "cpu.weight", limits.cpu_weight.clamp(1, 10_000))?;
                set(&dir, "pids.max", limits.pids)?;
            }
            Hierarchy::V1 {
                memory, cpu, pids, ..
            } => {
                let memory = self.at(memory);
                // Memory alone may never be above both together, so a group that is made again is opened first.
                set_if_there(&memory, "memory.memsw.limit_in_bytes", -1)?;
                set(&memory, "memory.limit_in_bytes", limits.memory_bytes)?;
                set_if_there(&memory, "memory.memsw.limit_in_bytes", limits.memory_bytes)?;
                let cpu = self.at(cpu);
                set(&cpu, "cpu.cfs_period_us", PERIOD_USEC)?;
                set(&cpu, "cpu.cfs_quota_us", quota)?;
                set(&cpu, "cpu.shares", shares(limits.cpu_weight))?;
                set(&self.at(pids), "pids.max", limits.pids)?;
            }
        }
        Ok(self.dirs())
    }

    /// Stops or continues all processes and waits until that is done.
    pub(super) async fn set_frozen(&self, frozen: bool) -> io::Result<()> {
        match &self.hierarchy {
            Hierarchy::V2 { root } => set(&self.at(root), "cgroup.freeze", u8::from(frozen))?,
            Hierarchy::V1 { freezer, .. } => {
                let word = if frozen { "FROZEN" } else { "THAWED" };
                set(&self.at(freezer), "freezer.state", word)?;
            }
        }
        let mut pause = Duration::from_micros(50);
        for _ in 0..200 {
            if self.is_frozen()? == frozen {
                return Ok(());
            }
            // The v1 freezer makes progress only when it is asked; neither version tells when it is done on a file
            // that both have.
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(50));
        }
        let word = if frozen { "freeze" } else { "thaw" };
        Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("its processes did not {word} within 10 s"),
        ))
    }

    /// Whether all its processes are stopped.
    pub(super) fn is_frozen(&self) -> io::Result<bool> {
        match &self.hierarchy {
            Hierarchy::V2 { root } => {
                let events = std::fs::read_to_string(self.at(root).join("cgroup.events"))?;
                Ok(events.lines().any(|line| line == "frozen 1"))
            }
            Hierarchy::V1 { freezer, .. } => {
                let state = std::fs::read_to_string(self.at(freezer).join("freezer.state"))?;
                Ok(state.trim() == "FROZEN")
            }
        }
    }

    /// Whether its processes are stopped or about to be, so that not even a kill gets through.
    pub(super) fn is_held(&self) -> bool {
        let (file, free) = match &self.hierarchy {
            Hierarchy::V2 { root } => (self.at(root).join("cgroup.freeze"), "0"),
            Hierarchy::V1 { freezer, .. } => (self.at(freezer).join("freezer.state"), "THAWED"),
        };
        std::fs::read_to_string(file).is_ok_and(|state| state.trim() != free)
    }

    /// Has the kernel drop or swap out what memory it can. Answers how many bytes that gave. No process is killed: the
    /// kernel is asked, no limit is changed.
    pub(super) fn reclaim(&self) -> io::Result<u64> {
        let before = self.stats()?.memory_bytes;
        let asked = match &self.hierarchy {
            Hierarchy::V2 { root } => set_if_there(&self.at(root), "memory.reclaim", before),
            Hierarchy::V1 { memory, .. } => set_if_there(&self.at(memory), "memory.force_empty", 0),
        };
        match asked {
            // Less than all could be had, as is usual.
            Err(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::ResourceBusy
                ) => {}
            other => other?,
        }
        Ok(before.saturating_sub(self.stats()?.memory_bytes))
    }

    /// What it uses now.
    pub(super) fn stats(&self) -> io::Result<Stats> {
        match &self.hierarchy {
            Hierarchy::V2 { root } => {
                let dir = self.at(root);
                let cpu = std::fs::read_to_string(dir.join("cpu.stat"))?;
                let usec = cpu
                    .lines()
                    .find_map(|line| line.strip_prefix("usage_usec "));
                Ok(Stats {
                    memory_bytes: get(&dir, "memory.current")?,
                    cpu_usec: usec.and_then(|n| n.trim().parse().ok()).unwrap_or(0),
                    pids: get(&dir, "pids.current")?,
                    disk_bytes: None,
                })
            }
            Hierarchy::V1 {
                memory,
                cpuacct,
                pids,
                ..
            } => Ok(Stats {
                memory_bytes: get(&self.at(memory), "memory.usage_in_bytes")?,
                cpu_usec: get(&self.at(cpuacct), "cpuacct.usage")? / 1000,
                pids: get(&self.at(pids), "pids.current")?,
                disk_bytes: None,
            }),
        }
    }

    /// Kills what is in the groups, and removes them when it has ended.
    pub(super) async fn remove(&self) -> io::Result<()> {
        for dir in self.dirs() {
            remove_dir(&dir).await?;
            if let Some(parent) = dir.parent() {
                // Fails while another sandbox has a group there, as it should.
                std::fs::remove_dir(parent).ok();
            }
        }
        Ok(())
    }
}

/// Version 1 counts shares where an equal one is 1024; the least weight is ten of them.
fn shares(weight: u32) -> u64 {
    u64::from(weight.clamp(1, 10_000)) * 1024 / 100
}

/// Makes `dir`, two levels below `mount`.
fn make_below(mount: &Path, dir: &Path, v2: bool) -> io::Result<()> {
    let parent = mount.join(PARENT);
    let mut tries = 0;
    loop {
        let made = make_once(mount, &parent, dir, v2);
        tries += 1;
        match made {
            Ok(()) => return Ok(()),
            // The parent goes when the last sandbox does, which may be between any two steps.
            Err(e) if e.kind() == io::ErrorKind::NotFound && tries < 100 => {}
            Err(e) => return Err(e),
        }
    }
}

fn make_once(mount: &Path, parent: &Path, dir: &Path, v2: bool) -> io::Result<()> {
    make_dir(parent)?;
    if v2 {
        hand_on_controllers(mount)?;
        hand_on_controllers(parent)?;
    }
    make_dir(dir)
}

fn make_dir(dir: &Path) -> io::Result<()> {
    match std::fs::create_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

/// Gives the groups below `group` the controllers that limits need. Version 2 refuses that to a group that has processes
/// of its own, unless it is the root of all; as in a container, whose root of control groups is another's leaf.
fn hand_on_controllers(group: &Path) -> io::Result<()> {
    let path = group.join("cgroup.subtree_control");
    let given = std::fs::read_to_string(&path)?;
    let given: Vec<&str> = given.split_whitespace().collect();
    if CONTROLLERS.iter().all(|needed| given.contains(needed)) {
        return Ok(());
    }
    // Not made when it is not there: what the kernel says of that means something else than that the group is gone.
    let mut file = std::fs::OpenOptions::new().write(true).open(&path)?;
    let wanted = CONTROLLERS.map(|name| format!("+{name}")).join(" ");
    file.write_all(wanted.as_bytes()).map_err(|e| match e.kind() {
        io::ErrorKind::ResourceBusy => io::Error::new(
            e.kind(),
            format!(
                "{} has processes of its own, so its controllers cannot be handed on: move them into a group below it, or \
                 start the container with the host's control groups (--cgroupns=host)",
                group.display()
            ),
        ),
        kind => io::Error::new(kind, format!("{}: {e}", path.display())),
    })
}

async fn remove_dir(dir: &Path) -> io::Result<()> {
    let mut pause = Duration::from_micros(200);
    for _ in 0..60 {
        match std::fs::remove_dir(dir) {
            Ok(()) => return Ok(()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(e) if e.kind() == io::ErrorKind::ResourceBusy => {}
            Err(e) => return Err(e),
        }
        // Busy: somebody of it still ends. Whoever is left, say from a start that was cut off, is told to.
        kill_members(dir);
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(100));
    }
    Err(io::Error::new(
        io::ErrorKind::ResourceBusy,
        format!("{} still has processes", dir.display()),
    ))
}

/// Version 2 kills all at once, so that not even a fork bomb gets away; in version 1 the limit of processes, and being
/// asked again, have to do.
fn kill_members(dir: &Path) {
    if set_if_there(dir, "cgroup.kill", 1).is_ok() && dir.join("cgroup.kill").exists() {
        return;
    }
    for pid in members(dir) {
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).ok();
    }
}

fn members(dir: &Path) -> Vec<rustix::process::Pid> {
    std::fs::read_to_string(dir.join("cgroup.procs"))
        .unwrap_or_default()
        .lines()
        .filter_map(|line| rustix::process::Pid::from_raw(line.parse().ok()?))
        .collect()
}

fn set(dir: &Path, file: &str, value: impl ToString) -> io::Result<()> {
    let path = dir.join(file);
    std::fs::write(&path, value.to_string())
        .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())))
}

fn set_if_there(dir: &Path, file: &str, value: impl ToString) -> io::Result<()> {
    if dir.join(file).exists() {
        set(dir, file, value)
    } else {
        Ok(())
    }
}

fn get(dir: &Path, file: &str) -> io::Result<u64> {
    std::fs::read_to_string(dir.join(file))?
        .trim()
        .parse()
        .map_err(io::Error::other)
}

#[cfg(test)]
mod tests;
