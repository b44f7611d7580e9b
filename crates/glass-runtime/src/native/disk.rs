//! The disk of a sandbox: a file system in a sparse file, so that its size is a limit on any host.
//!
//! Formatting costs more than copying, so one template per size is formatted and copied. A loop device is attached by
//! the launcher and seen mounted only in the sandbox; it goes by itself soon after the container.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

use super::blocking;

/// Smaller ones would hold hardly more than their own tables.
const LEAST: u64 = 32 << 20;

/// Makes disks.
#[derive(Debug)]
pub(super) struct Disks {
    dir: PathBuf,
    mkfs: Option<PathBuf>,
}

impl Disks {
    pub(super) fn new(state_dir: &Path) -> Self {
        Self {
            dir: state_dir.join("disks"),
            mkfs: mkfs().filter(|_| Path::new("/dev/loop-control").exists()),
        }
    }

    /// Makes a disk, or answers `false` where the host cannot have any.
    pub(super) async fn make(&self, image: &Path, bytes: u64) -> io::Result<bool> {
        let Some(mkfs) = &self.mkfs else {
            return Ok(false);
        };
        let bytes = bytes.max(LEAST);
        let template = self.dir.join(format!("ext4-{bytes}.img"));
        if !template.exists() {
            format(mkfs, &template, bytes).await?;
        }
        let image = image.to_owned();
        blocking(move || copy_sparse(&template, &image)).await?;
        Ok(true)
    }
}

/// The program that formats disks, if the host has it.
pub(super) fn mkfs() -> Option<PathBuf> {
    ["/usr/sbin", "/sbin", "/usr/bin", "/bin", "/usr/local/sbin"]
        .iter()
        .map(|dir| Path::new(dir).join("mkfs.ext4"))
        .find(|path| path.exists())
}

async fn format(mkfs: &Path, template: &Path, bytes: u64) -> io::Result<()> {
    // Several may format at once; each has its own file and the last rename wins.
    let fresh = template.with_extension(glass_types::SandboxId::random().to_string());
    fs::OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(&fresh)?
        .set_len(bytes)?;
    let output = tokio::process::Command::new(mkfs)
        .args(["-q", "-F", "-m", "1", "-J", "size=4", "-O", "^resize_inode"])
        .args(["-E", "lazy_itable_init=1,lazy_journal_init=1,nodiscard"])
        .arg(&fresh)
        .output()
        .await?;
    if !output.status.success() {
        fs::remove_file(&fresh)?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(io::Error::other(format!("mkfs.ext4: {}", text.trim())));
    }
    fs::rename(&fresh, template)
}

/// Copies only what is there, sharing even that where the file system can.
fn copy_sparse(from: &Path, to: &Path) -> io::Result<()> {
    let mut from = File::open(from)?;
    let mut to = fs::OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(to)?;
    if rustix::fs::ioctl_ficlone(&to, &from).is_ok() {
        return Ok(());
    }
    to.set_len(from.metadata()?.len())?;
    let mut at = 0;
    loop {
        let start = match rustix::fs::seek(&from, SeekFrom::Data(at)) {
            Ok(start) => start,
            Err(Errno::NXIO) => return Ok(()),
            Err(e) => return Err(e.into()),
        };
        at = rustix::fs::seek(&from, SeekFrom::Hole(start))?;
        rustix::fs::seek(&from, SeekFrom::Start(start))?;
        rustix::fs::seek(&to, SeekFrom::Start(start))?;
        io::copy(&mut from.by_ref().take(at - start), &mut to)?;
    }
}

/// Waits until no loop device has the file.
pub(super) async fn detached(image: &Path) -> io::Result<()> {
    let mut pause = Duration::from_micros(500);
    for _ in 0..150 {
        if !is_attached(image)? {
            return Ok(());
        }
        // The kernel unmounts in the background and tells nobody.
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(100));
    }
    Err(io::Error::new(
        io::ErrorKind::TimedOut,
        format!("{} is still mounted", image.display()),
    ))
}

fn is_attached(image: &Path) -> io::Result<bool> {
    let devices = match fs::read_dir("/sys/block") {
        Ok(devices) => devices,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(e),
    };
    for device in devices {
        let name = device?.file_name();
        if !name.as_encoded_bytes().starts_with(b"loop") {
            continue;
        }
        let file = Path::new("/sys/block").join(name).join("loop/backing_file");
        // Absent when the device is free.
        let backing = fs::read_to_string(file).unwrap_or_default();
        if Path::new(backing.trim_end()) == image {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn copies_are_equal_and_as_sparse() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        let file = File::create(&from).unwrap();
        file.set_len(64 << 20).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, b"middle", 20 << 20).unwrap();
        copy_sparse(&from, &to).unwrap();
        assert_eq!(fs::read(&from).unwrap(), fs::read(&to).unwrap());
        assert!(fs::metadata(&to).unwrap().blocks() < 1000);
    }
}
