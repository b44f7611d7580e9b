//! What the host must offer, tried rather than looked up where that is possible.

use std::path::Path;

use rustix::io::Errno;
use rustix::mount::FsOpenFlags;

use super::cgroup::Hierarchy;
use super::{disk, gvisor, pool};

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What: `kernel`, `overlayfs`, …
    pub name: &'static str,
    /// Whether it is as it must be.
    pub ok: bool,
    /// What was found.
    pub detail: String,
    /// What to do when it is not.
    pub remedy: String,
    /// Whether sandboxes cannot do without.
    pub needed: bool,
}

/// Idmapped mounts under overlayfs came with this version.
const KERNEL: (u32, u32) = (5, 19);
/// A base image and a handful of sandboxes.
const SPACE: u64 = 5 << 30;

/// Looks whether native sandboxes can run on this host with their files below `state_dir`.
#[must_use]
pub fn check(state_dir: &Path) -> Vec<Check> {
    vec![
        root(),
        kernel(),
        overlay(),
        user_namespaces(),
        idmapped_mounts(state_dir),
        control_groups(),
        seccomp(),
        loops(),
        sharing(state_dir),
        way_out(),
        gvisor_tier(),
        space(state_dir),
    ]
}

/// The first thing for lack of which native sandboxes cannot run on this host at all. What only makes them worse is none.
#[must_use]
pub fn obstacle(state_dir: &Path) -> Option<Check> {
    [
        root(),
        kernel(),
        overlay(),
        user_namespaces(),
        idmapped_mounts(state_dir),
        control_groups(),
        seccomp(),
    ]
    .into_iter()
    .find(|check| !check.ok)
}

fn of(name: &'static str, found: Result<String, String>, remedy: &str) -> Check {
    let ok = found.is_ok();
    Check {
        name,
        ok,
        detail: found.unwrap_or_else(|problem| problem),
        remedy: if ok { String::new() } else { remedy.to_owned() },
        needed: true,
    }
}

fn root() -> Check {
    let uid = rustix::process::geteuid();
    let found = if uid.is_root() {
        Ok("running as root".to_owned())
    } else {
        Err(format!("running as user {}", uid.as_raw()))
    };
    of(
        "root",
        found,
        "start the server as root, or use the sim runtime",
    )
}

fn kernel() -> Check {
    let name = rustix::system::uname();
    let release = name.release().to_string_lossy().into_owned();
    let found = if version(&release).is_some_and(|version| version >= KERNEL) {
        Ok(format!("Linux {release}"))
    } else {
        Err(format!(
            "Linux {release} is older than {}.{}",
            KERNEL.0, KERNEL.1
        ))
    };
    of(
        "kernel",
        found,
        "upgrade to a kernel of version 5.19 or newer",
    )
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn overlay() -> Check {
    // Asked for rather than looked up, for it may be a module that nothing has needed yet; the question loads it.
    let found = match rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC) {
        Ok(_) => Ok("the kernel has it".to_owned()),
        Err(Errno::PERM) if is_listed("overlay") => Ok("the kernel lists it".to_owned()),
        Err(Errno::PERM) => {
            Err("only root can ask the kernel for the file system overlay".to_owned())
        }
        Err(Errno::NODEV) => Err("the kernel does not know the file system overlay".to_owned()),
        Err(e) => Err(format!("the file system overlay cannot be opened: {e}")),
    };
    of("overlayfs", found, "run `modprobe overlay` as root")
}

fn is_listed(file_system: &str) -> bool {
    std::fs::read_to_string("/proc/filesystems")
        .unwrap_or_default()
        .lines()
        .any(|line| line.trim_start_matches("nodev").trim() == file_system)
}

fn user_namespaces() -> Check {
    let limit = std::fs::read_to_string("/proc/sys/user/max_user_namespaces")
        .ok()
        .and_then(|text| text.trim().parse::<u64>().ok());
    let found = match limit {
        Some(0) => Err("user.max_user_namespaces is 0".to_owned()),
        Some(limit) => Ok(format!("up to {limit}")),
        None => Err("the kernel has no user namespaces".to_owned()),
    };
    of(
        "user namespaces",
        found,
        "run `sysctl -w user.max_user_namespaces=65536`",
    )
}

/// Whether a file system can be mapped shows only with a user namespace at hand, which needs the launcher; its type
/// tells as much beforehand.
fn idmapped_mounts(state_dir: &Path) -> Check {
    let Ok(found) = rustix::fs::statfs(existing(state_dir)) else {
        let problem = format!("{} cannot be read", state_dir.display());
        return of("idmapped mounts", Err(problem), MAPPED_REMEDY);
    };
    let magic = u64::try_from(found.f_type).unwrap_or(0);
    let release = rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned();
    let found = can_map(magic, version(&release).unwrap_or_default());
    let found = match found {
        Ok(name) => Ok(format!("{name} at {}", state_dir.display())),
        Err(problem) => Err(format!("{problem} at {}", state_dir.display())),
    };
    of("idmapped mounts", found, MAPPED_REMEDY)
}

const MAPPED_REMEDY: &str = "put the data directory on ext4, xfs or btrfs";

/// The name of a file system that a kernel of this version can map.
fn can_map(magic: u64, kernel: (u32, u32)) -> Result<&'static str, String> {
    let known = [
        (0xef53, "ext4", KERNEL),
        (0x5846_5342, "xfs", KERNEL),
        (0x9123_683e, "btrfs", KERNEL),
        (0xf2f5_2010, "f2fs", KERNEL),
        (0x0102_1994, "tmpfs", (6, 3)),
    ];
    match known.iter().find(|(number, ..)| *number == magic) {
        Some((_, name, since)) if kernel >= *since => Ok(name),
        Some((_, name, (major, minor))) => Err(format!(
            "{name}, which kernels before {major}.{minor} cannot map,"
        )),
        None => Err(format!("file system type {magic:#x}")),
    }
}

fn control_groups() -> Check {
    let found = Hierarchy::detect().and_then(|hierarchy| {
        hierarchy
            .check_writable()
            .map_err(|e| format!("control groups cannot be made: {e}"))?;
        Ok(hierarchy.describe())
    });
    let remedy = "mount cgroup2 at /sys/fs/cgroup with the controllers cpu, memory and pids; in a container, run it privileged";
    of("control groups", found, remedy)
}

fn seccomp() -> Check {
    let actions = "/proc/sys/kernel/seccomp/actions_avail";
    let found = std::fs::read_to_string(actions)
        .map(|text| text.trim().to_owned())
        .map_err(|_| "the kernel has no seccomp filters".to_owned());
    of("seccomp", found, "use a kernel with CONFIG_SECCOMP_FILTER")
}

fn loops() -> Check {
    let found = if !Path::new("/dev/loop-control").exists() {
        Err("no /dev/loop-control: the disk limit of sandboxes is not enforced".to_owned())
    } else if let Some(mkfs) = disk::host_program("mkfs.ext4") {
        Ok(format!("/dev/loop-control and {}", mkfs.display()))
    } else {
        Err("no mkfs.ext4: the disk limit of sandboxes is not enforced".to_owned())
    };
    let remedy = "run `modprobe loop` and install the package e2fsprogs";
    of("loop devices", found, remedy)
}

/// Without it all works, only slower.
fn sharing(state_dir: &Path) -> Check {
    let found = if pool::shares_blocks(existing(state_dir)) {
        Ok(format!(
            "the file system at {} shares blocks",
            state_dir.display()
        ))
    } else {
        pool::obstacle()
            .map(|()| "disks share blocks in a pool, an XFS file system in a file".to_owned())
            .map_err(|problem| format!("{problem}: every snapshot and fork is a whole copy"))
    };
    let remedy = "install the package xfsprogs and run `modprobe -a loop xfs`, or put the data directory on btrfs or on XFS with reflink";
    Check {
        needed: false,
        ..of("instant snapshots", found, remedy)
    }
}

fn way_out() -> Check {
    let found = match glass_launch::net::probe() {
        Ok(()) => Ok("every connection of a sandbox finds the way out".to_owned()),
        Err(e) => Err(format!(
            "the kernel takes no program that chooses sockets ({e}): only what knows of an HTTP proxy finds the way out"
        )),
    };
    let remedy = "run as root on a kernel of version 5.9 or newer with CONFIG_BPF_SYSCALL";
    Check {
        needed: false,
        ..of("way out", found, remedy)
    }
}

fn gvisor_tier() -> Check {
    let found = match gvisor::probe() {
        Ok(runsc) => Ok(format!(
            "{} runs sandboxes that ask for it",
            runsc.display()
        )),
        Err(problem) => Err(format!("{problem}: sandboxes that ask for it are refused")),
    };
    Check {
        needed: false,
        ..of("tier gvisor", found, gvisor::REMEDY.trim_end_matches(','))
    }
}

fn space(state_dir: &Path) -> Check {
    let found = match rustix::fs::statvfs(existing(state_dir)) {
        Ok(stat) => {
            let free = stat.f_bavail.saturating_mul(stat.f_frsize);
            let text = format!("{} MiB free at {}", free >> 20, state_dir.display());
            if free < SPACE { Err(text) } else { Ok(text) }
        }
        Err(e) => Err(format!("{}: {e}", state_dir.display())),
    };
    of(
        "disk space",
        found,
        "free 5 GiB, or choose another data directory",
    )
}

/// The nearest directory above that exists.
fn existing(path: &Path) -> &Path {
    path.ancestors()
        .find(|path| path.exists())
        .unwrap_or_else(|| Path::new("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_releases_are_understood() {
        assert_eq!(version("6.18.44-fc-v669"), Some((6, 18)));
        assert_eq!(version("5.4.0-200-generic"), Some((5, 4)));
        assert_eq!(version("nonsense"), None);
    }

    #[test]
    fn tmpfs_cannot_be_mapped_by_every_kernel() {
        assert_eq!(can_map(0xef53, KERNEL), Ok("ext4"));
        assert_eq!(can_map(0x0102_1994, (6, 3)), Ok("tmpfs"));
        let problem = can_map(0x0102_1994, (6, 1)).unwrap_err();
        assert!(problem.contains("before 6.3"), "{problem}");
        assert!(can_map(0x6969, (6, 18)).is_err());
    }

    #[test]
    fn every_problem_has_a_remedy() {
        for check in check(Path::new("/nowhere/at/all")) {
            assert_eq!(check.ok, check.remedy.is_empty(), "{check:?}");
            assert!(!check.detail.is_empty());
        }
    }
}
