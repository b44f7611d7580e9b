//! Disks that are file systems in files, as the native runtime makes them. Needs root.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use glass_archive::{ArchiveError, Disk};
use glass_launch::loopback;
use glass_types::SandboxId;

use crate::world::{World, noise};

fn can_mount() -> bool {
    rustix::process::getuid().is_root() && Path::new("/dev/loop-control").exists()
}

fn formatted(path: &Path, megabytes: u64) -> PathBuf {
    fs::File::create(path)
        .unwrap()
        .set_len(megabytes << 20)
        .unwrap();
    let status = Command::new("mkfs.ext4")
        .args(["-q", "-F"])
        .arg(path)
        .status()
        .unwrap();
    assert!(status.success());
    path.to_owned()
}

/// Runs a script in a mount namespace of its own in which the image is mounted at `/mnt`.
fn inside(image: &Path, script: &str) -> String {
    let script = format!(
        "mount -o loop {} /mnt && cd /mnt && {script}",
        image.display()
    );
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-ec", &script])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Waits until the kernel has let go of an image.
fn released(image: &Path) {
    let attached = || {
        let output = Command::new("losetup")
            .arg("-j")
            .arg(image)
            .output()
            .unwrap();
        !output.stdout.is_empty()
    };
    while attached() {
        std::thread::yield_now();
    }
}

/// All that must come back. How much room a directory takes is the file system's own affair.
const LIST: &str = "find . ! -type d -printf '%p %m %U:%G %s %T@ %l\\n' | sort; \
                    find . -type d -printf '%p %m %U:%G %T@\\n' | sort; \
                    find . -type f -exec sha256sum {} + | sort";

#[tokio::test]
async fn an_image_comes_back_into_a_new_one() {
    if !can_mount() {
        return;
    }
    let world = World::new();
    let image = formatted(&world.path("disk.img"), 64);
    fs::write(world.path("noise"), noise(5, 3 << 20)).unwrap();
    inside(
        &image,
        &format!(
            "mkdir -p home/dev upper/etc && cp {} home/dev/noise && chown -R 1000:1000 home && \
             mknod upper/etc/gone c 0 0 && ln -s /etc/shadow home/link && echo x > upper/etc/x && chmod 6755 upper/etc/x",
            world.path("noise").display()
        ),
    );
    released(&image);
    let before = inside(&image, LIST);
    released(&image);
    let stored = world
        .archive
        .store(
            &SandboxId::random(),
            Disk::Image(image.clone()),
            std::future::pending(),
        )
        .await
        .unwrap();
    let archived = &stored.archived;
    released(&image);

    // The new disk is larger and was seeded, as the runtime does.
    let back = formatted(&world.path("back.img"), 96);
    inside(
        &back,
        "mkdir -p home/dev/old && echo seed > home/dev/.profile",
    );
    released(&back);
    world
        .archive
        .fetch(&archived.archive, Disk::Image(back.clone()), |_| {})
        .await
        .unwrap();
    released(&back);
    assert_eq!(inside(&back, LIST), before);
    released(&back);
    let status = Command::new("e2fsck")
        .args(["-fn"])
        .arg(&back)
        .output()
        .unwrap();
    assert!(
        status.status.success(),
        "{}",
        String::from_utf8_lossy(&status.stdout)
    );
}

#[tokio::test]
async fn an_image_in_use_is_left_alone() {
    if !can_mount() {
        return;
    }
    let world = World::new();
    let image = formatted(&world.path("disk.img"), 64);
    let file = fs::File::options()
        .read(true)
        .write(true)
        .open(&image)
        .unwrap();
    let device = loopback::attach(&file, loopback::Access::Buffered).unwrap();
    let result = world
        .archive
        .store(
            &SandboxId::random(),
            Disk::Image(image.clone()),
            std::future::pending(),
        )
        .await;
    drop(device);
    let error = result.unwrap_err();
    assert!(matches!(error, ArchiveError::Disk { .. }), "{error}");
    assert!(
        error
            .to_string()
            .contains("attached to a loop device already"),
        "{error}"
    );
}

#[tokio::test]
async fn a_full_disk_is_told_and_the_archive_stays() {
    if !can_mount() {
        return;
    }
    let world = World::new();
    let disk = world.disk("disk");
    for number in 0..60 {
        fs::write(disk.join(format!("file-{number}")), noise(number, 1 << 20)).unwrap();
    }
    let archived = world.store(&disk).await.unwrap();
    let small = formatted(&world.path("small.img"), 40);
    let error = world
        .archive
        .fetch(&archived.archive, Disk::Image(small.clone()), |_| {})
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("No space left on device"),
        "{error}"
    );
    released(&small);
    world.archive.verify(&archived.archive).await.unwrap();
}
