//! Importing.

use std::sync::Arc;

use glass_image::{ArchiveError, Digest, ImageError, Limits, Silent};

use crate::support::{Parts, Place, gzip, read, tar, zstd};

fn two_layers() -> Parts {
    Parts::new(&[
        &[("hello", b"one"), ("old", b"old")],
        &[("hello", b"two"), (".wh.old", b"")],
    ])
}

async fn check_image(archive: Vec<u8>) {
    let place = Place::new();
    let path = place.write("image.tar", &archive);
    let image = place
        .store
        .import(&path, "hello", Arc::new(Silent))
        .await
        .unwrap();
    assert_eq!(image.name, "hello");
    assert_eq!(image.layers.len(), 2);
    assert_eq!(read(&image.layers[0], "hello"), "one");
    assert_eq!(read(&image.layers[1], "hello"), "two");
    assert_eq!(image.config.user.as_deref(), Some("1000"));
    assert_eq!(
        image.config.env[1],
        ("GREETING".to_owned(), "hello".to_owned())
    );
    assert_eq!(image.config.exposed_ports, [80]);
    assert!(place.leftovers().is_empty());
    assert_eq!(place.store.get("hello").unwrap().digest, image.digest);
}

async fn check_refused(archive: &[u8], because: &str) {
    let place = Place::new();
    let path = place.write("image.tar", archive);
    let error = place
        .store
        .import(&path, "bad", Arc::new(Silent))
        .await
        .unwrap_err();
    assert!(error.to_string().contains(because), "{error}");
    assert!(place.leftovers().is_empty(), "{:?}", place.leftovers());
    assert!(place.store.list().unwrap().is_empty());
}

#[tokio::test]
async fn an_oci_archive_is_imported() {
    check_image(two_layers().oci_archive()).await;
    check_image(gzip(&two_layers().oci_archive())).await;
}

#[tokio::test]
async fn an_archive_of_docker_save_is_imported() {
    check_image(two_layers().docker_archive()).await;
}

#[tokio::test]
async fn compressed_layers_are_imported() {
    for compress in [gzip, zstd] {
        let plain = two_layers().layers;
        let diff_ids: Vec<_> = plain.iter().map(|l| Digest::of(l)).collect();
        let packed = plain.iter().map(|l| compress(l)).collect();
        check_image(Parts::with(packed, &diff_ids).oci_archive()).await;
    }
}

#[tokio::test]
async fn several_frames_of_zstd_are_one_archive() {
    let plain = tar(&[("etc/os-release", b"ID=test"), ("big", &[7; 5000])]);
    let mut packed = Vec::new();
    for part in plain.chunks(1000) {
        // A frame that decoders skip, as in chunked images.
        packed.extend_from_slice(&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3]);
        packed.extend(zstd(part));
    }
    let place = Place::new();
    let path = place.write("rootfs.tar.zst", &packed);
    let image = place
        .store
        .import(&path, "fs", Arc::new(Silent))
        .await
        .unwrap();
    assert_eq!(read(&image.layers[0], "etc/os-release"), "ID=test");
}

#[tokio::test]
async fn the_files_of_a_system_become_an_image() {
    let place = Place::new();
    let plain = tar(&[("etc/os-release", b"ID=test")]);
    for (name, bytes) in [
        ("plain", plain.clone()),
        ("gz", gzip(&plain)),
        ("zstd", zstd(&plain)),
    ] {
        let path = place.write(name, &bytes);
        let image = place
            .store
            .import(&path, &format!("fs:{name}"), Arc::new(Silent))
            .await
            .unwrap();
        assert_eq!(read(&image.layers[0], "etc/os-release"), "ID=test");
    }
    let images = place.store.list().unwrap();
    assert_eq!(images.len(), 3);
    // The same bytes in three packings are one layer.
    assert!(images.iter().all(|image| image.layers == images[0].layers));
}

#[tokio::test]
async fn forged_layers_and_documents_are_refused() {
    let lie = Digest::of(b"something else");
    let parts = two_layers();
    let forged = Parts::with(
        parts.layers.clone(),
        &[Digest::of(&parts.layers[0]), lie.clone()],
    );
    check_refused(&forged.oci_archive(), &format!("but {lie} was promised")).await;

    // A blob that is not what its name says: one letter within the second layer's file.
    let mut archive = parts.oci_archive();
    let at = archive.windows(3).position(|w| w == b"two").unwrap();
    archive[at] = b'T';
    check_refused(&archive, "was promised").await;

    let mut archive = parts.oci_archive();
    let at = archive.windows(5).position(|w| w == b"hello").unwrap();
    archive[at] = b'j';
    check_refused(&archive, "was promised").await;
}

#[tokio::test]
async fn an_image_for_another_machine_is_refused() {
    let mut parts = two_layers();
    let config = String::from_utf8(parts.config).unwrap();
    let foreign = config
        .replace("amd64", "riscv64")
        .replace("arm64", "riscv64");
    parts.config = foreign.into_bytes();
    check_refused(&parts.docker_archive(), "it is for linux/riscv64").await;
}

#[tokio::test]
async fn hostile_layers_leave_nothing_behind() {
    let mut hostile = tar(&[("a", b"x")]);
    let mut evil = tar::Header::new_gnu();
    evil.as_old_mut().name[..9].copy_from_slice(b"../escape");
    evil.set_size(0);
    evil.set_uid(0);
    evil.set_gid(0);
    evil.set_mtime(0);
    evil.set_mode(0o644);
    evil.set_cksum();
    hostile.truncate(1024);
    hostile.extend_from_slice(evil.as_bytes());
    let diff_id = Digest::of(&hostile);
    let good = tar(&[("good", b"x")]);
    let parts = Parts::with(
        vec![good.clone(), hostile.clone()],
        &[Digest::of(&good), diff_id],
    );
    let place = Place::new();
    let path = place.write("image.tar", &parts.oci_archive());
    let error = place
        .store
        .import(&path, "bad", Arc::new(Silent))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("`../escape`"), "{error}");
    assert!(!place.path("store/tmp/escape").exists() && !place.path("store/escape").exists());
    // The good layer may stay for another try; the next opening removes it.
    let store = glass_image::ImageStore::open(place.path("store")).unwrap();
    assert!(store.list().unwrap().is_empty());
    assert!(place.leftovers().is_empty());
    check_refused(&hostile, "`../escape`").await;
}

#[tokio::test]
async fn what_is_no_archive_is_refused() {
    check_refused(b"", "empty").await;
    check_refused(&[0xff; 3000], "cannot be read").await;
    check_refused(b"\xfd7zXZ\0 and so on", "cannot be read").await;
    check_refused(&gzip(&tar(&[("a", b"x")]))[..40], "cannot be read").await;
    let place = Place::new();
    let error = place
        .store
        .import(&place.path("missing.tar"), "x", Arc::new(Silent))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("missing.tar"), "{error}");
}

#[tokio::test]
async fn a_bomb_is_refused_at_the_limit() {
    let place = Place::limited(Limits {
        bytes: 1 << 20,
        entries: 100,
    });
    let bomb = gzip(&tar(&[("zeros", &vec![0; 8 << 20])]));
    assert!(bomb.len() < 100_000);
    let path = place.write("bomb.tar.gz", &bomb);
    let error = place
        .store
        .import(&path, "bomb", Arc::new(Silent))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, ImageError::Archive(ArchiveError::TooLarge { limit, .. }) if *limit == 1 << 20),
        "{error}"
    );
    assert!(place.leftovers().is_empty());
}
