//! What goes in comes out, once.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::sync::Mutex;

use glass_archive::{ArchiveError, Disk, Progress};
use glass_types::SandboxId;
use rustix::fs::{CWD, FileType, Mode, XattrFlags};

use crate::world::{World, noise, picture};

#[tokio::test]
async fn hostile_trees_come_back_as_they_were() {
    let world = World::new();
    let disk = world.disk("disk");
    let at = |name: &[u8]| disk.join(OsStr::from_bytes(name));
    for name in [
        &b"\xff\xfe not text"[..],
        b"new\nline",
        b"tab\tquote\"back\\slash'`",
        b"\\x41\\n",
        b"-rf",
        b"...",
        "ünï\u{202e}code".as_bytes(),
        &[b'n'; 255],
    ] {
        fs::write(at(name), name).unwrap();
    }
    symlink("/etc/passwd", at(b"absolute")).unwrap();
    symlink("../../../../etc", at(b"climbing")).unwrap();
    symlink(OsStr::from_bytes(b"\xff dangling"), at(b"odd")).unwrap();
    fs::create_dir_all(at(b"a/b/c/empty")).unwrap();
    fs::write(at(b"a/b/tool"), b"#!/bin/sh").unwrap();
    fs::set_permissions(at(b"a/b/tool"), fs::Permissions::from_mode(0o4755)).unwrap();
    fs::set_permissions(at(b"a/b/c"), fs::Permissions::from_mode(0o1777)).unwrap();
    fs::write(at(b"a/unreadable"), b"secret").unwrap();
    fs::set_permissions(at(b"a/unreadable"), fs::Permissions::from_mode(0o400)).unwrap();
    fs::hard_link(at(b"a/b/tool"), at(b"z-link")).unwrap();
    fs::hard_link(at(b"a/b/tool"), at(b"a/first")).unwrap();
    rustix::fs::lsetxattr(
        at(b"a/b/tool"),
        "user.note",
        b"\0\x01\xff",
        XattrFlags::empty(),
    )
    .unwrap();
    rustix::fs::mknodat(CWD, at(b"pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    let old = fs::FileTimes::new()
        .set_modified(std::time::UNIX_EPOCH - std::time::Duration::from_millis(1500));
    fs::File::open(at(b"-rf")).unwrap().set_times(old).unwrap();
    let before = picture(&disk);

    let archived = world.store(&disk).await.unwrap();
    assert_eq!(archived.entries, before.len() as u64);
    let back = world.disk("back");
    fs::write(back.join("seed"), b"what the runtime put there").unwrap();
    fs::create_dir_all(back.join("a/b")).unwrap();
    world.fetch(&archived.archive, &back).await.unwrap();
    assert_eq!(picture(&back), before);
    let inode = |path: &str| fs::metadata(back.join(path)).unwrap().ino();
    assert_eq!(inode("a/first"), inode("z-link"));
    let mut value = [0_u8; 8];
    let length = rustix::fs::lgetxattr(back.join("a/b/tool"), "user.note", &mut value[..]).unwrap();
    assert_eq!(&value[..length], b"\0\x01\xff");
    world.archive.verify(&archived.archive).await.unwrap();
}

#[tokio::test]
async fn sockets_and_devices_stay_away_and_whiteouts_come_back() {
    let world = World::new();
    let disk = world.disk("disk");
    let _socket = std::os::unix::net::UnixListener::bind(disk.join("socket")).unwrap();
    fs::write(disk.join("file"), b"kept").unwrap();
    let whiteout = rustix::fs::mknodat(
        CWD,
        disk.join("gone"),
        FileType::CharacterDevice,
        Mode::empty(),
        0,
    );
    let null = rustix::fs::makedev(1, 3);
    let device = rustix::fs::mknodat(
        CWD,
        disk.join("null"),
        FileType::CharacterDevice,
        Mode::RUSR,
        null,
    );
    let archived = world.store(&disk).await.unwrap();
    let back = world.disk("back");
    world.fetch(&archived.archive, &back).await.unwrap();
    assert!(!back.join("socket").exists());
    assert!(back.join("file").exists());
    if device.is_ok() {
        assert!(!back.join("null").exists());
    }
    if whiteout.is_ok() {
        assert_eq!(fs::symlink_metadata(back.join("gone")).unwrap().rdev(), 0);
    }
}

#[tokio::test]
async fn holes_are_holes_again_and_cost_nothing() {
    let world = World::new();
    let disk = world.disk("disk");
    let file = fs::File::create(disk.join("sparse")).unwrap();
    file.set_len(64 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"middle", 40 << 20).unwrap();
    let archived = world.store(&disk).await.unwrap();
    assert!(world.stored_bytes() < 1 << 20, "{}", world.stored_bytes());
    let back = world.disk("back");
    world.fetch(&archived.archive, &back).await.unwrap();
    let meta = fs::metadata(back.join("sparse")).unwrap();
    assert_eq!(meta.len(), 64 << 20);
    assert!(meta.blocks() < 1000, "{} blocks", meta.blocks());
    assert_eq!(picture(&back), picture(&disk));
}

#[tokio::test]
async fn what_is_there_already_is_not_stored_again() {
    let world = World::new();
    let disk = world.disk("disk");
    for number in 0..50 {
        fs::write(disk.join(format!("file-{number}")), noise(number, 64 << 10)).unwrap();
    }
    let first = world.store(&disk).await.unwrap();
    let full = world.stored_bytes();
    assert!(full > 50 * (64 << 10), "{full}");
    assert!(first.added > 50 * (64 << 10));

    // The same again: a record of the archive and nothing else.
    let second = world.store(&disk).await.unwrap();
    let again = world.stored_bytes() - full;
    assert!(again < 4096, "{again} bytes for what did not change");
    assert_eq!(second.added, 0);
    assert_ne!(first.archive, second.archive);

    // Another sandbox with the same contents elsewhere, and a little more.
    let other = world.disk("other");
    fs::create_dir(other.join("deep")).unwrap();
    for number in 0..50 {
        fs::copy(
            disk.join(format!("file-{number}")),
            other.join(format!("deep/copy-{number}")),
        )
        .unwrap();
    }
    fs::write(other.join("new"), noise(99, 64 << 10)).unwrap();
    let before = world.stored_bytes();
    world.store(&other).await.unwrap();
    let added = world.stored_bytes() - before;
    assert!(
        (64 << 10..128 << 10).contains(&added),
        "{added} bytes for one new file"
    );

    // A byte in front of a large file moves all that follows; content-defined pieces do not mind.
    let large = noise(7, 24 << 20);
    fs::write(disk.join("large"), &large).unwrap();
    world.store(&disk).await.unwrap();
    let before = world.stored_bytes();
    fs::write(disk.join("large"), [b"!", &large[..]].concat()).unwrap();
    world.store(&disk).await.unwrap();
    let added = world.stored_bytes() - before;
    assert!(added < 9 << 20, "{added} bytes for one byte");
}

#[tokio::test]
async fn twenty_thousand_files_come_back() {
    let world = World::new();
    let disk = world.disk("disk");
    for directory in 0..200 {
        let path = disk.join(format!("d{directory}"));
        fs::create_dir(&path).unwrap();
        for file in 0..100 {
            fs::write(path.join(format!("f{file}")), format!("{directory}/{file}")).unwrap();
        }
    }
    let archived = world.store(&disk).await.unwrap();
    assert_eq!(archived.entries, 20_000 + 200 + 1);
    assert!(
        world.stored().len() < 30,
        "small files share packs: {}",
        world.stored().len()
    );
    let told = Mutex::new(Vec::new());
    let back = world.disk("back");
    let listen = |now: Progress| told.lock().unwrap().push(now.done);
    world
        .archive
        .fetch(&archived.archive, Disk::Directory(back.clone()), listen)
        .await
        .unwrap();
    assert!(told.lock().unwrap().is_sorted());
    assert!(!told.lock().unwrap().is_empty());
    assert_eq!(picture(&back), picture(&disk));
}

#[tokio::test]
async fn the_first_ones_at_once_make_one_store() {
    let world = World::new();
    let disks: Vec<_> = (0..4)
        .map(|number| world.disk(&format!("disk{number}")))
        .collect();
    for (number, disk) in disks.iter().enumerate() {
        fs::write(disk.join("file"), noise(number as u64, 1 << 20)).unwrap();
    }
    let all = futures::future::join_all(disks.iter().map(|disk| world.store(disk))).await;
    for (disk, archived) in disks.iter().zip(all) {
        let back = world.disk(&format!(
            "{}-back",
            disk.file_name().unwrap().to_str().unwrap()
        ));
        world
            .fetch(&archived.unwrap().archive, &back)
            .await
            .unwrap();
        assert_eq!(picture(&back), picture(disk));
    }
}

#[tokio::test]
async fn what_is_wanted_meanwhile_is_given_up_and_archived_another_time() {
    let world = World::new();
    let disk = world.disk("disk");
    fs::write(disk.join("file"), noise(1, 64 << 20)).unwrap();
    let source = Disk::Directory(disk.clone());
    // In the middle: something of it is in the store.
    let wanted = async {
        while world.stored_bytes() < 8 << 20 {
            tokio::task::yield_now().await;
        }
    };
    let error = world
        .archive
        .store(&SandboxId::random(), source, wanted)
        .await
        .unwrap_err();
    assert_eq!(error, ArchiveError::Interrupted);
    let archived = world.store(&disk).await.unwrap();
    let back = world.disk("back");
    world.fetch(&archived.archive, &back).await.unwrap();
    assert_eq!(picture(&back), picture(&disk));
}

/// Virtual time: tidying looks again after a while, and nobody waits for that.
#[tokio::test(start_paused = true)]
async fn what_no_row_names_yet_is_not_tidied_away() {
    let world = World::new();
    let disk = world.disk("disk");
    fs::write(disk.join("file"), "kept").unwrap();
    let stored = world
        .archive
        .store(
            &SandboxId::random(),
            Disk::Directory(disk.clone()),
            std::future::pending(),
        )
        .await
        .unwrap();
    let nobody = async || Ok::<_, ()>(vec![]);
    let tidying = world.archive.tidy(nobody, i64::from(u32::MAX));
    tokio::pin!(tidying);
    assert!(futures::poll!(&mut tidying).is_pending());
    world
        .archive
        .verify(&stored.archived.archive)
        .await
        .unwrap();
    assert!(futures::poll!(&mut tidying).is_pending());
    drop(stored);
    assert_eq!(tidying.await.unwrap().unwrap().forgotten, 1);
}

#[tokio::test]
async fn what_cannot_be_kept_whole_is_refused_by_name() {
    let world = World::new();
    let refused = |error: ArchiveError| match error {
        ArchiveError::Unfit { path, reason } => (path, reason),
        error => panic!("{error}"),
    };

    let disk = world.disk("large");
    for name in ["one", "two"] {
        fs::File::create(disk.join(name))
            .unwrap()
            .set_len(150 << 30)
            .unwrap();
    }
    let (path, reason) = refused(world.store(&disk).await.unwrap_err());
    assert_eq!(path, "files/two");
    assert!(reason.contains("256 GiB"), "{reason}");

    // A tree deeper than any path can name, as `mkdir a; cd a` in a loop makes it.
    let disk = world.disk("deep");
    let mut at = rustix::fs::open(&disk, rustix::fs::OFlags::RDONLY, Mode::empty()).unwrap();
    for _ in 0..600 {
        rustix::fs::mkdirat(&at, "d", Mode::RWXU).unwrap();
        at = rustix::fs::openat(&at, "d", rustix::fs::OFlags::RDONLY, Mode::empty()).unwrap();
    }
    let (_, reason) = refused(world.store(&disk).await.unwrap_err());
    assert!(reason.contains("deeper than 500"), "{reason}");

    let disk = world.disk("xattr");
    fs::write(disk.join("file"), b"").unwrap();
    let name = OsStr::from_bytes(b"user.\xff");
    if rustix::fs::lsetxattr(disk.join("file"), name, b"x", XattrFlags::empty()).is_ok() {
        let error = world.store(&disk).await.unwrap_err();
        assert!(error.to_string().contains("files/file"), "{error}");
        assert!(error.to_string().contains("no text"), "{error}");
    }
    assert_eq!(
        world
            .stored()
            .keys()
            .filter(|path| path.starts_with(world.path("store/snapshots")))
            .count(),
        0
    );
}
