//! Stores that fail, forget and lie; servers that are killed.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::process::Stdio;

use glass_archive::{ArchiveError, ArchiveRef};
use tokio::io::AsyncWriteExt;

use crate::world::{World, noise, picture};

/// A disk with enough in it for several packs.
fn filled(world: &World, name: &str) -> PathBuf {
    let disk = world.disk(name);
    for number in 0..20 {
        fs::write(
            disk.join(format!("file-{number}")),
            noise(number, 512 << 10),
        )
        .unwrap();
    }
    disk
}

fn packs(world: &World) -> Vec<PathBuf> {
    let data = world.path("store/data");
    world
        .stored()
        .into_keys()
        .filter(|path| path.starts_with(&data))
        .collect()
}

#[tokio::test]
async fn a_flipped_bit_is_found() {
    let world = World::new();
    let disk = filled(&world, "disk");
    let archived = world.store(&disk).await.unwrap();
    world.archive.verify(&archived.archive).await.unwrap();
    for pack in packs(&world) {
        let good = fs::read(&pack).unwrap();
        let mut bad = good.clone();
        bad[good.len() / 3] ^= 1;
        fs::write(&pack, bad).unwrap();
        let error = world.archive.verify(&archived.archive).await.unwrap_err();
        assert!(matches!(error, ArchiveError::Damaged { .. }), "{error}");
        let back = world.disk("back");
        let error = world.fetch(&archived.archive, &back).await.unwrap_err();
        assert!(matches!(error, ArchiveError::Damaged { .. }), "{error}");
        fs::remove_dir_all(back).unwrap();
        fs::write(&pack, good).unwrap();
    }
    world.archive.verify(&archived.archive).await.unwrap();
}

#[tokio::test]
async fn a_lost_pack_is_found() {
    let world = World::new();
    let disk = filled(&world, "disk");
    let archived = world.store(&disk).await.unwrap();
    for pack in packs(&world) {
        let aside = world.path("aside");
        fs::rename(&pack, &aside).unwrap();
        let error = world.archive.verify(&archived.archive).await.unwrap_err();
        assert!(
            error
                .to_string()
                .contains(pack.file_name().unwrap().to_str().unwrap()),
            "{error}"
        );
        fs::rename(&aside, &pack).unwrap();
    }
    world.archive.verify(&archived.archive).await.unwrap();
}

#[tokio::test]
async fn the_key_is_made_once_and_another_opens_nothing() {
    let world = World::new();
    let disk = filled(&world, "disk");
    let archived = world.store(&disk).await.unwrap();
    let key = world.path("archive.key");
    assert_eq!(fs::metadata(&key).unwrap().mode() & 0o777, 0o600);
    let text = fs::read(&key).unwrap();
    world.store(&disk).await.unwrap();
    assert_eq!(fs::read(&key).unwrap(), text);
    for path in world.stored().keys() {
        let stored = fs::read(path).unwrap();
        assert!(
            !stored.windows(32).any(|part| part == &text[20..52]),
            "{}",
            path.display()
        );
        assert!(
            !stored.windows(7).any(|part| part == b"file-11"),
            "{}",
            path.display()
        );
    }

    // No key: none is made for a store that has one.
    let error = world
        .with_key("absent")
        .verify(&archived.archive)
        .await
        .unwrap_err();
    assert!(matches!(error, ArchiveError::Key { .. }), "{error}");
    assert!(!world.path("absent").exists());
    // Another server's key.
    let other = World::new();
    other.store(&filled(&other, "disk")).await.unwrap();
    fs::copy(other.path("archive.key"), world.path("other.key")).unwrap();
    let error = world.with_key("other.key").check().await.unwrap_err();
    assert!(matches!(error, ArchiveError::Key { .. }), "{error}");
    // No key at all, and its text is not told.
    fs::write(world.path("broken.key"), &text[1..]).unwrap();
    let error = world.with_key("broken.key").check().await.unwrap_err();
    assert!(error.to_string().contains("broken.key"), "{error}");
    assert!(!error.to_string().contains("mac"), "{error}");
}

#[tokio::test]
async fn a_store_that_fails_half_way_keeps_nothing_and_loses_nothing() {
    let world = World::new();
    let first = world.disk("first");
    fs::write(first.join("file"), b"kept").unwrap();
    let kept = world.store(&first).await.unwrap();
    let disk = filled(&world, "disk");
    let before = picture(&disk);
    // What is there stays; a pack that belongs into a new directory cannot be written: a file is in its way.
    for byte in 0..=255_u8 {
        let path = world.path(&format!("store/data/{byte:02x}"));
        if !path.exists() {
            fs::write(path, b"in the way").unwrap();
        }
    }
    let error = world.store(&disk).await.unwrap_err();
    assert!(matches!(error, ArchiveError::Store { .. }), "{error}");
    assert_eq!(picture(&disk), before);
    assert_eq!(
        fs::read_dir(world.path("store/snapshots")).unwrap().count(),
        1
    );
    for byte in 0..=255_u8 {
        let path = world.path(&format!("store/data/{byte:02x}"));
        if path.is_file() {
            fs::remove_file(path).unwrap();
        }
    }
    world.archive.verify(&kept.archive).await.unwrap();
    let archived = world.store(&disk).await.unwrap();
    let back = world.disk("back");
    world.fetch(&archived.archive, &back).await.unwrap();
    assert_eq!(picture(&back), before);
}

#[tokio::test]
async fn a_killed_server_leaves_nothing_but_garbage() {
    let world = World::new();
    let disk = filled(&world, "disk");
    let far = i64::from(u32::MAX);
    // The worker ends with whoever started it, at points all over the work.
    for lines in [1, 2, 3, 4] {
        let mut worker = tokio::process::Command::new(env!("CARGO_BIN_EXE_glass-archive"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let order = serde_json::json!({
            "settings": { "url": glass_archive::Settings::directory(&world.path("store")) },
            "key": world.path("archive.key"),
            "work": { "store": { "sandbox": "abc", "disk": { "directory": &disk } } },
        });
        let mut input = worker.stdin.take().unwrap();
        input
            .write_all(format!("{order}\n").as_bytes())
            .await
            .unwrap();
        let mut output = tokio::io::BufReader::new(worker.stdout.take().unwrap());
        for _ in 0..lines {
            let mut line = String::new();
            tokio::io::AsyncBufReadExt::read_line(&mut output, &mut line)
                .await
                .unwrap();
        }
        drop(input);
        worker.wait().await.unwrap();
    }
    let archived = world.store(&disk).await.unwrap();
    let wanted = async || Ok::<_, ()>(vec![archived.archive.clone()]);
    world.archive.tidy(wanted, far).await.unwrap().unwrap();
    assert_eq!(
        fs::read_dir(world.path("store/snapshots")).unwrap().count(),
        1
    );
    world.archive.verify(&archived.archive).await.unwrap();
    // All that is left is what this one needs: 10 MiB that do not compress, and a little.
    let bytes = world.stored_bytes();
    assert!((10 << 20..11 << 20).contains(&bytes), "{bytes}");
}

#[tokio::test]
async fn tidying_frees_what_nobody_wants_and_nothing_else() {
    let world = World::new();
    let (one, two) = (filled(&world, "one"), world.disk("two"));
    fs::write(two.join("own"), noise(1000, 3 << 20)).unwrap();
    fs::copy(one.join("file-3"), two.join("shared")).unwrap();
    let first = world.store(&one).await.unwrap();
    let second = world.store(&two).await.unwrap();
    let now = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap();
    let want = |wanted: Vec<ArchiveRef>| async move || Ok::<_, ()>(wanted);

    // A young one stays although nobody names it: its name may be on its way.
    let tidied = world
        .archive
        .tidy(want(vec![second.archive.clone()]), now)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(tidied.forgotten, 0);
    world.archive.verify(&first.archive).await.unwrap();

    let before = world.stored_bytes();
    let tidied = world
        .archive
        .tidy(want(vec![second.archive.clone()]), now + 2 * 3600)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(tidied.forgotten, 1);
    assert!(
        world.stored_bytes() < before - (5 << 20),
        "{} of {before}",
        world.stored_bytes()
    );
    world.archive.verify(&second.archive).await.unwrap();
    let back = world.disk("back");
    world.fetch(&second.archive, &back).await.unwrap();
    assert_eq!(picture(&back), picture(&two));
    // Who cannot say what is wanted loses nothing.
    world
        .archive
        .tidy(
            async || Err::<Vec<ArchiveRef>, _>("the database is away"),
            now + 9999,
        )
        .await
        .unwrap_err();
    world.archive.verify(&second.archive).await.unwrap();
}

#[tokio::test]
async fn a_store_that_cannot_be_written_is_told_by_the_check() {
    let world = World::new();
    world.archive.check().await.unwrap();
    assert!(
        world.stored().is_empty(),
        "the check leaves nothing: {:?}",
        world.stored()
    );
    if rustix::process::getuid().is_root() {
        return;
    }
    fs::set_permissions(world.path("store"), fs::Permissions::from_mode(0o500)).unwrap();
    let error = world.archive.check().await.unwrap_err();
    assert!(error.to_string().contains("writing"), "{error}");
}
