//! How full the host's disk may get.
//!
//! All disks are sparse, so together they may promise more than the host has. What makes new files is refused while there
//! still is something for those that are written to already.

use std::io;
use std::path::Path;

/// The reserve: a part of the host's disk, but not less and not more than these.
const PART: u64 = 50;
const RESERVE: (u64, u64) = (64 << 20, 1 << 30);

/// Refuses when less than the reserve is free.
///
/// # Errors
/// [`io::ErrorKind::StorageFull`], or what the kernel said.
pub(super) fn check(state_dir: &Path) -> io::Result<()> {
    let stat = rustix::fs::statvfs(state_dir)?;
    let total = stat.f_blocks.saturating_mul(stat.f_frsize);
    judge(stat.f_bavail.saturating_mul(stat.f_frsize), total).map_err(|problem| {
        let text = format!("the disk of {} is full: {problem}", state_dir.display());
        io::Error::new(io::ErrorKind::StorageFull, text)
    })
}

fn judge(free: u64, total: u64) -> Result<(), String> {
    let reserve = (total / PART).clamp(RESERVE.0, RESERVE.1);
    if free >= reserve {
        return Ok(());
    }
    Err(format!(
        "{} MiB are free, and {} MiB are kept for the sandboxes there are",
        free >> 20,
        reserve >> 20
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;

    #[test]
    fn the_reserve_grows_with_the_disk_within_bounds() {
        for (total, reserve) in [
            (GIB, 64 * MIB),
            (10 * GIB, 10 * GIB / 50),
            (1000 * GIB, GIB),
        ] {
            assert_eq!(judge(reserve, total), Ok(()));
            let problem = judge(reserve - 1, total).unwrap_err();
            let wanted = format!("and {} MiB are kept", reserve >> 20);
            assert!(problem.contains(&wanted), "{problem}");
        }
    }
}
