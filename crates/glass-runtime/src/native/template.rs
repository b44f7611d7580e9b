//! Disks that new sandboxes begin with.
//!
//! One per size is formatted, and from it one per image is prepared: with the skeleton of the root and the home's first
//! content. They are whole or not there, like every disk, and never written to again.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use glass_launch::{Disk, LaunchSpec, clone_file};
use rustix::fs::{AtFlags, CWD, FlockOperation, Timespec, Timestamps, UTIME_NOW};
use sha2::{Digest, Sha256};

use super::NativeRuntime;
use super::disk::{self, Making};
use super::sandbox::SandboxDir;
use super::users;
use crate::{SandboxSpec, blocking, state};

/// How many images have one ready, and how many sizes. The others are made anew when they are wanted again: whoever asks
/// for a sandbox picks both.
const COUNT: usize = 16;

impl NativeRuntime {
    /// The disk that this sandbox is to begin with.
    pub(super) async fn template(
        &self,
        spec: &SandboxSpec,
        dir: &SandboxDir,
    ) -> io::Result<PathBuf> {
        let bytes = spec.limits.disk_bytes.max(disk::LEAST);
        let blank = self.disks.blank(bytes).await?;
        used(&blank)?;
        let prepared = self.disks.templates().join(format!(
            "image-{}-{bytes}.img",
            name(&spec.layers, &self.programs.launcher)?
        ));
        if !prepared.exists() && !spec.layers.is_empty() {
            let _one_at_a_time = self.preparing.lock().await;
            if !prepared.exists()
                && let Err(e) = self.prepare(spec, dir, &blank, &prepared).await
            {
                // The start of the sandbox will fail for the same reason, and say so.
                tracing::debug!(sandbox.id = %spec.id, error = %e, "no disk is prepared");
                return Ok(blank);
            }
        }
        if !prepared.exists() {
            return Ok(blank);
        }
        used(&prepared)?;
        Ok(prepared)
    }

    async fn prepare(
        &self,
        spec: &SandboxSpec,
        dir: &SandboxDir,
        blank: &Path,
        target: &Path,
    ) -> io::Result<()> {
        let making = Making::begin(target)?;
        let from = blank.to_owned();
        let making = blocking(move || {
            clone_file(&fs::File::open(from)?, &making.file)?;
            // The launcher locks it in its turn.
            rustix::fs::flock(&making.file, FlockOperation::Unlock)?;
            io::Result::Ok(making)
        })
        .await?;
        let launch = LaunchSpec {
            id: spec.id.to_string(),
            dir: dir.path.clone(),
            layers: spec.layers.clone(),
            disk: Disk::Image(making.path.clone()),
            guest: self.programs.guest.clone(),
            seccomp: self.programs.seccomp.clone(),
            // Files carry the ids of the inside, so any range will do.
            uid_base: users::FIRST,
            cgroups: vec![],
            env: vec![],
            writable_root: false,
            gvisor: None,
            open_files: spec.limits.open_files,
            way_out: None,
            bare: false,
        };
        let prepared = self.run_launcher(Some("prepare"), &launch).await;
        disk::detached(&making.path).await?;
        prepared?;
        let templates = self.disks.templates();
        blocking(move || {
            making.finish()?;
            forget_the_oldest(&templates)
        })
        .await
    }
}

/// What differs when the image or what prepares it does. A layer is never written to, so its directory stands for it.
fn name(layers: &[PathBuf], launcher: &Path) -> io::Result<String> {
    let mut hash = Sha256::new();
    hash.update(launcher.as_os_str().as_encoded_bytes());
    for layer in layers {
        let about = fs::metadata(layer)?;
        hash.update([0]);
        hash.update(layer.as_os_str().as_encoded_bytes());
        for number in [about.dev(), about.ino(), about.ctime().cast_unsigned()] {
            hash.update(number.to_le_bytes());
        }
    }
    Ok(state::hex(&hash.finalize()[..16]))
}

/// Those that were used last are kept.
fn used(template: &Path) -> io::Result<()> {
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: UTIME_NOW,
    };
    let times = Timestamps {
        last_access: now,
        last_modification: now,
    };
    Ok(rustix::fs::utimensat(
        CWD,
        template,
        &times,
        AtFlags::empty(),
    )?)
}

fn forget_the_oldest(templates: &Path) -> io::Result<()> {
    for kind in ["image-", "ext4-"] {
        let mut kept = Vec::new();
        for entry in fs::read_dir(templates)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.as_encoded_bytes();
            // What is being made is nobody's to remove.
            if name.starts_with(kind.as_bytes()) && name.ends_with(b".img") {
                kept.push((entry.metadata()?.modified()?, entry.path()));
            }
        }
        kept.sort_unstable();
        let many = kept.len().saturating_sub(COUNT);
        for (_, path) in kept.into_iter().take(many) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ones_used_last_stay() {
        let dir = tempfile::tempdir().unwrap();
        let path = |number: usize| dir.path().join(format!("image-{number}.img"));
        for number in 0..COUNT + 2 {
            fs::write(path(number), "").unwrap();
        }
        fs::write(dir.path().join("ext4-1.img"), "").unwrap();
        let old = std::time::UNIX_EPOCH;
        for number in [3, 5] {
            fs::File::open(path(number))
                .unwrap()
                .set_modified(old)
                .unwrap();
        }
        forget_the_oldest(dir.path()).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), COUNT + 1);
        assert!(!path(3).exists() && !path(5).exists());
    }

    #[test]
    fn sizes_do_not_pile_up() {
        let dir = tempfile::tempdir().unwrap();
        let path = |size: usize| dir.path().join(format!("ext4-{size}.img"));
        for size in 0..=COUNT {
            fs::write(path(size), "").unwrap();
            let at = std::time::UNIX_EPOCH + std::time::Duration::from_secs(size as u64);
            let file = fs::File::open(path(size)).unwrap();
            file.set_modified(at).unwrap();
        }
        let making = dir.path().join("ext4-99.x.new");
        fs::write(&making, "").unwrap();
        used(&path(0)).unwrap();
        forget_the_oldest(dir.path()).unwrap();
        assert!(path(0).exists() && !path(1).exists() && making.exists());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), COUNT + 1);
    }

    #[test]
    fn each_image_has_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let layers = [dir.path().join("a"), dir.path().join("b")];
        for layer in &layers {
            fs::create_dir(layer).unwrap();
        }
        let of = |layers: &[PathBuf], launcher| name(layers, Path::new(launcher)).unwrap();
        let one = of(&layers, "1");
        assert_eq!(of(&layers, "1"), one);
        assert_ne!(of(&layers, "2"), one);
        assert_ne!(of(&layers[..1], "1"), one);
    }
}
