//! `GET /archive` and `PUT /archive`: what is packed comes out, and what is hostile changes nothing.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{Cursor, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::stream::FuturesUnordered;
use futures::{StreamExt as _, TryStreamExt as _};
use glass_guest_protocol::connect::Code;
use glass_guest_protocol::filesystem::Imported;
use glass_runtime::GuestError;
use tar::{EntryType, Header};
use zip::write::SimpleFileOptions;

use crate::harness::Guest;

async fn export(guest: &Guest, path: &str, format: &str) -> Result<Vec<u8>, GuestError> {
    let stream = guest.client.read_archive(path, format).await?;
    let parts: Vec<Bytes> = stream.try_collect().await?;
    Ok(parts.concat())
}

async fn import(
    guest: &Guest,
    path: &str,
    format: &str,
    archive: Vec<u8>,
) -> Result<Imported, GuestError> {
    let parts: Vec<_> = archive
        .chunks(10_000)
        .map(|part| Ok::<_, std::io::Error>(Bytes::copy_from_slice(part)))
        .collect();
    guest
        .client
        .write_archive(path, format, futures::stream::iter(parts))
        .await
}

/// What is below a directory: kind, permissions and contents by path.
fn picture(root: &Path) -> BTreeMap<Vec<u8>, String> {
    let mut found = BTreeMap::new();
    let mut left = vec![root.to_owned()];
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            let line = if meta.is_dir() {
                left.push(path.clone());
                "directory".to_owned()
            } else if meta.is_symlink() {
                format!("link to {:?}", fs::read_link(&path).unwrap())
            } else {
                format!("{:o} {:?}", meta.mode(), fs::read(&path).unwrap())
            };
            found.insert(
                path.strip_prefix(root)
                    .unwrap()
                    .as_os_str()
                    .as_bytes()
                    .to_vec(),
                line,
            );
        }
    }
    found
}

fn fill(workspace: &Path) {
    fs::create_dir_all(workspace.join("a/b/empty")).unwrap();
    fs::write(workspace.join("a/index.html"), "hello").unwrap();
    fs::write(workspace.join("a/none"), "").unwrap();
    fs::write(workspace.join("a/b/ünï code"), vec![7; 300_000]).unwrap();
    fs::write(workspace.join("run"), "#!/bin/sh").unwrap();
    fs::set_permissions(workspace.join("run"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(workspace.join("n".repeat(250)), "long").unwrap();
    symlink("../index.html", workspace.join("a/b/link")).unwrap();
    symlink("a/b", workspace.join("directory")).unwrap();
}

#[tokio::test]
async fn what_is_exported_can_be_imported() {
    for format in ["tar.gz", "zip"] {
        let guest = Guest::start_with(fill).await;
        let _socket =
            std::os::unix::net::UnixListener::bind(guest.workspace().join("socket")).unwrap();
        let archive = export(&guest, ".", format).await.unwrap();
        let imported = import(&guest, "copy/deep", format, archive).await.unwrap();
        let copied = picture(&guest.workspace().join("copy/deep"));
        fs::remove_dir_all(guest.workspace().join("copy")).unwrap();
        fs::remove_file(guest.workspace().join("socket")).unwrap();
        assert_eq!(copied, picture(&guest.workspace()), "{format}");
        assert_eq!(imported.entries, copied.len() as u64, "{format}");
        assert_eq!(imported.bytes, 300_000 + 5 + 9 + 4);
    }
}

#[tokio::test]
async fn names_that_are_no_text_go_into_a_tar_and_not_into_a_zip() {
    let guest = Guest::start().await;
    let odd = guest.workspace().join(OsStr::from_bytes(b"odd \xff"));
    fs::write(&odd, "x").unwrap();
    let error = export(&guest, ".", "zip").await.unwrap_err().to_string();
    assert!(error.contains("odd") && error.contains("tar.gz"), "{error}");
    let archive = export(&guest, ".", "tar.gz").await.unwrap();
    fs::remove_file(&odd).unwrap();
    import(&guest, ".", "tar.gz", archive).await.unwrap();
    assert_eq!(fs::read(&odd).unwrap(), b"x");
    fs::remove_file(&odd).unwrap();
    symlink(
        OsStr::from_bytes(b"no text \xff"),
        guest.workspace().join("link"),
    )
    .unwrap();
    let error = export(&guest, ".", "zip").await.unwrap_err().to_string();
    assert!(
        error.contains("link") && error.contains("tar.gz"),
        "{error}"
    );
    export(&guest, ".", "tar.gz").await.unwrap();
}

#[tokio::test]
async fn archives_that_nobody_reads_hold_up_other_archives_only() {
    let guest = Guest::start().await;
    let mut number = 1_u64;
    let noise = std::iter::repeat_with(|| {
        number ^= number << 13;
        number ^= number >> 7;
        number ^= number << 17;
        number.to_le_bytes()[0]
    });
    fs::write(
        guest.workspace().join("noise"),
        noise.take(8 << 20).collect::<Vec<_>>(),
    )
    .unwrap();
    let mut exports: FuturesUnordered<_> = (0..40)
        .map(|_| guest.client.read_archive(".", "tar.gz"))
        .collect();
    let mut stalled = Vec::new();
    while stalled.len() < 4 {
        stalled.push(exports.next().await.unwrap().unwrap());
    }
    tokio::select! {
        entry = guest.client.stat("noise") => drop(entry.unwrap()),
        _ = exports.next() => panic!("a fifth archive is worked on"),
    }
    stalled.pop();
    stalled.push(exports.next().await.unwrap().unwrap());
}

#[tokio::test]
async fn an_import_replaces_what_it_has_and_leaves_the_rest() {
    let guest = Guest::start().await;
    let at = |path: &str| guest.workspace().join(path);
    fs::create_dir_all(at("site/css")).unwrap();
    fs::write(at("site/css/old.css"), "stays").unwrap();
    fs::write(at("site/index.html"), "old").unwrap();
    fs::create_dir_all(at("site/was-directory/x")).unwrap();
    fs::write(at("site/was-file"), "x").unwrap();
    symlink("/", at("site/was-link")).unwrap();
    let archive = tar(|tar| {
        add(tar, b"site/index.html", EntryType::Regular, b"new");
        add(tar, b"site/css/new.css", EntryType::Regular, b"");
        add(tar, b"site/was-directory", EntryType::Regular, b"file");
        add(tar, b"site/was-file/inside", EntryType::Regular, b"");
        add(tar, b"site/was-link/inside", EntryType::Regular, b"");
    });
    import(&guest, ".", "tar.gz", archive).await.unwrap();
    assert_eq!(fs::read(at("site/index.html")).unwrap(), b"new");
    assert_eq!(fs::read(at("site/css/old.css")).unwrap(), b"stays");
    assert_eq!(fs::read(at("site/was-directory")).unwrap(), b"file");
    assert!(at("site/was-file/inside").is_file());
    assert!(at("site/was-link/inside").is_file());
    assert!(!Path::new("/inside").exists());
    assert_eq!(
        fs::read_dir(guest.workspace()).unwrap().count(),
        1,
        "nothing is left aside"
    );
}

fn tar(build: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    build(&mut bytes);
    bytes.extend([0; 1024]);
    packed(&bytes)
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut gz = GzEncoder::new(Vec::new(), Compression::default());
    gz.write_all(bytes).unwrap();
    gz.finish().unwrap()
}

/// An entry as it is written by somebody who does not care for rules.
fn add(tar: &mut Vec<u8>, path: &[u8], kind: EntryType, contents: &[u8]) {
    add_as(tar, path, kind, contents, 0o644, contents.len() as u64);
}

fn add_as(tar: &mut Vec<u8>, path: &[u8], kind: EntryType, contents: &[u8], mode: u32, size: u64) {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.as_old_mut().name[..path.len()].copy_from_slice(path);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1_700_000_000);
    let is_link = matches!(kind, EntryType::Symlink | EntryType::Link);
    if is_link {
        header.as_old_mut().linkname[..contents.len()].copy_from_slice(contents);
    }
    header.set_size(if is_link { 0 } else { size });
    header.set_cksum();
    tar.extend(header.as_bytes());
    if !is_link {
        tar.extend(contents);
        tar.resize(tar.len().next_multiple_of(512), 0);
    }
}

/// Imports something hostile: it is refused with these words, and all is as it was.
async fn is_refused(guest: &Guest, format: &str, archive: Vec<u8>, words: &[&str]) {
    let before = picture(&guest.home());
    let error = import(guest, ".", format, archive).await.unwrap_err();
    let GuestError::Refused(error) = error else {
        panic!("{words:?}: {error}");
    };
    assert_eq!(error.code, Code::InvalidArgument, "{error:?}");
    for word in words {
        assert!(error.message.contains(word), "{words:?}: {}", error.message);
    }
    assert_eq!(picture(&guest.home()), before, "{words:?}");
}

#[tokio::test]
async fn hostile_tars_are_refused_by_entry_and_reason() {
    use EntryType as T;
    let guest = Guest::start().await;
    fs::write(guest.workspace().join("kept"), "kept").unwrap();
    let cases: &[(&[(&[u8], T, &[u8])], &[&str])] = &[
        (
            &[(b"ok", T::Regular, b""), (b"../up", T::Regular, b"")],
            &["\"../up\"", "leads out", "nothing was changed"],
        ),
        (
            &[(b"a/../../up", T::Regular, b"")],
            &["a/../../up", "leads out"],
        ),
        (
            &[(b"/etc/cron.d/x", T::Regular, b"")],
            &["/etc/cron.d/x", "absolute"],
        ),
        (
            &[(b"link", T::Symlink, b"/etc/passwd")],
            &["\"link\"", "/etc/passwd", "absolute"],
        ),
        (
            &[(b"a/link", T::Symlink, b"../../x")],
            &["a/link", "leads out"],
        ),
        (
            &[(b"dot", T::Symlink, b"."), (b"x", T::Symlink, b"dot/../..")],
            &["\"x\"", "climbs after a name"],
        ),
        (
            &[(b"d", T::Symlink, b"e"), (b"d/file", T::Regular, b"")],
            &["d/file", "through a file or a link"],
        ),
        (
            &[(b"f", T::Regular, b""), (b"f/file", T::Regular, b"")],
            &["f/file", "through a file or a link"],
        ),
        (
            &[(b"hard", T::Link, b"../kept")],
            &["\"hard\"", "../kept", "leads out"],
        ),
        (
            &[(b"hard", T::Link, b"kept")],
            &["\"hard\"", "no file that came before"],
        ),
        (
            &[(b"s", T::Symlink, b"kept"), (b"hard", T::Link, b"s")],
            &["\"hard\"", "no file that came before"],
        ),
        (&[(b"disk", T::Block, b"")], &["\"disk\"", "device"]),
        (&[(b"tty", T::Char, b"")], &["\"tty\"", "device"]),
        (&[(b"pipe", T::Fifo, b"")], &["\"pipe\"", "pipe"]),
        (
            &[(b"twice", T::Regular, b"1"), (b"./twice", T::Regular, b"2")],
            &["./twice", "twice"],
        ),
        (&[(b"holes", T::GNUSparse, b"")], &["\"holes\"", "sparse"]),
        (
            &[(b"strange", T::new(b'Q'), b"")],
            &["\"strange\"", "neither"],
        ),
        (&[(b".", T::Regular, b"")], &["no name"]),
        (
            &[(b"x", T::XHeader, b"5 a"), (b"f", T::Regular, b"")],
            &["malformed pax"],
        ),
        (
            &[
                (b"x", T::XHeader, b"20 path=/etc/shadow\n"),
                (b"f", T::Regular, b""),
            ],
            &["/etc/shadow", "absolute"],
        ),
        (
            &[
                (b"x", T::GNULongName, b"../../escape\0"),
                (b"f", T::Regular, b""),
            ],
            &["../../escape", "leads out"],
        ),
        (
            &[
                (b"x", T::GNULongLink, b"/etc\0"),
                (b"l", T::Symlink, b"fine"),
            ],
            &["\"l\"", "/etc", "absolute"],
        ),
    ];
    for (entries, words) in cases {
        let archive = tar(|tar| {
            for (path, kind, contents) in *entries {
                add(tar, path, *kind, contents);
            }
        });
        is_refused(&guest, "tar.gz", archive, words).await;
    }
    let long = tar(|tar| add_as(tar, b"x", T::GNULongName, b"", 0, 1 << 40));
    is_refused(&guest, "tar.gz", long, &["longer than 1 MiB"]).await;
    let deep = "d/".repeat(600);
    let deep = tar(|tar| {
        add(tar, b"x", T::GNULongName, deep.as_bytes());
        add(tar, b"f", T::Regular, b"");
    });
    is_refused(&guest, "tar.gz", deep, &["deeper than 500"]).await;
    is_refused(
        &guest,
        "tar.gz",
        b"no archive at all".to_vec(),
        &["cannot be read"],
    )
    .await;
    is_refused(
        &guest,
        "tar.gz",
        packed(&[b'x'; 2048]),
        &["no header of a tar"],
    )
    .await;
    let whole = tar(|tar| add(tar, b"f", T::Regular, &[9; 5000]));
    is_refused(
        &guest,
        "tar.gz",
        whole[..whole.len() - 9].to_vec(),
        &["cannot be read"],
    )
    .await;
    let cut = packed(&{
        let mut tar = Vec::new();
        add(&mut tar, b"f", T::Regular, &[9; 5000]);
        tar.truncate(2000);
        tar
    });
    is_refused(
        &guest,
        "tar.gz",
        cut,
        &["\"f\"", "shorter than the 5000 bytes"],
    )
    .await;
}

#[tokio::test]
async fn a_bomb_is_refused_before_it_fills_the_disk() {
    let guest = Guest::start().await;
    let zeros = vec![0; 100 << 20];
    let bomb = tar(|tar| add(tar, b"bomb", EntryType::Regular, &zeros));
    assert!(bomb.len() < 300_000);
    is_refused(&guest, "tar.gz", bomb, &["bomb", "200 times"]).await;

    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file("bomb", SimpleFileOptions::default())
        .unwrap();
    zip.write_all(&zeros).unwrap();
    let bomb = zip.finish().unwrap().into_inner();
    is_refused(&guest, "zip", bomb, &["bomb", "200 times"]).await;

    // What it says it has does not fit, so nothing of it is read.
    let large = tar(|tar| add_as(tar, b"large", EntryType::Regular, b"", 0o644, 1 << 60));
    let error = import(&guest, ".", "tar.gz", large)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("no space left") && error.contains("large"),
        "{error}"
    );
}

#[tokio::test]
async fn set_id_bits_are_dropped() {
    let guest = Guest::start().await;
    let archive = tar(|tar| {
        add_as(tar, b"root", EntryType::Regular, b"x", 0o6755, 1);
        add_as(tar, b"closed", EntryType::Regular, b"x", 0o000, 1);
    });
    import(&guest, ".", "tar.gz", archive).await.unwrap();
    let mode = |name: &str| fs::metadata(guest.workspace().join(name)).unwrap().mode() & 0o7777;
    assert_eq!(mode("root"), 0o755);
    assert_eq!(mode("closed"), 0o600);
}

#[tokio::test]
async fn hostile_zips_are_refused_by_entry_and_reason() {
    let guest = Guest::start().await;
    fs::write(guest.workspace().join("kept"), "kept").unwrap();
    let plain = SimpleFileOptions::default();
    let zipped = |build: &dyn Fn(&mut zip::ZipWriter<Cursor<Vec<u8>>>)| {
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        build(&mut zip);
        zip.finish().unwrap().into_inner()
    };
    let replaced = |mut bytes: Vec<u8>, from: &[u8], to: &[u8]| {
        while let Some(at) = bytes.windows(from.len()).position(|part| part == from) {
            bytes[at..at + to.len()].copy_from_slice(to);
        }
        bytes
    };
    let one = |name: &'static str| {
        zipped(&move |zip| {
            zip.start_file(name, plain).unwrap();
            zip.write_all(b"contents").unwrap();
        })
    };
    is_refused(
        &guest,
        "zip",
        replaced(one("xx/up"), b"xx/up", b"../up"),
        &["\"../up\"", "leads out"],
    )
    .await;
    is_refused(
        &guest,
        "zip",
        replaced(one("xetc/x"), b"xetc/x", b"/etc/x"),
        &["\"/etc/x\"", "absolute"],
    )
    .await;
    let link = zipped(&|zip| zip.add_symlink("link", "/etc/passwd", plain).unwrap());
    is_refused(
        &guest,
        "zip",
        link,
        &["\"link\"", "/etc/passwd", "absolute"],
    )
    .await;
    let twice = zipped(&|zip| {
        for name in ["name-1", "name-2"] {
            zip.start_file(name, plain).unwrap();
        }
    });
    is_refused(
        &guest,
        "zip",
        replaced(twice, b"name-2", b"name-1"),
        &["twice"],
    )
    .await;
    // The lowest bit of the flags says that an entry is encrypted; they stand before and after.
    let mut secret = one("secret");
    let central = secret
        .windows(4)
        .position(|part| part == b"PK\x01\x02")
        .unwrap();
    secret[6] |= 1;
    secret[central + 8] |= 1;
    is_refused(
        &guest,
        "zip",
        secret,
        &["\"secret\"", "encrypted", "password"],
    )
    .await;
    is_refused(&guest, "zip", b"PK\x03\x04 no zip".to_vec(), &["the zip"]).await;
    let whole = one("whole");
    is_refused(
        &guest,
        "zip",
        whole[..whole.len() - 4].to_vec(),
        &["the zip"],
    )
    .await;
    // A list of nothing but entries, which would be read into memory before any of them is looked at.
    let entries = 500_001_u32;
    let mut many = [b"PK\x01\x02".as_slice(), &[0; 42]]
        .concat()
        .repeat(usize::try_from(entries).unwrap());
    let length = many.len() as u64;
    many.extend(b"PK\x06\x06");
    many.extend(44_u64.to_le_bytes());
    many.extend([0; 12]);
    for number in [entries.into(), entries.into(), length, 0] {
        many.extend(number.to_le_bytes());
    }
    many.extend(b"PK\x06\x07\0\0\0\0");
    many.extend(length.to_le_bytes());
    many.extend([1, 0, 0, 0]);
    many.extend(b"PK\x05\x06\0\0\0\0");
    many.extend([0xff; 12]);
    many.extend([0; 2]);
    is_refused(
        &guest,
        "zip",
        many,
        &["the zip", "more than 500000 entries"],
    )
    .await;
    let broken = replaced(
        zipped(&|zip| {
            zip.start_file(
                "stored",
                plain.compression_method(zip::CompressionMethod::Stored),
            )
            .unwrap();
            zip.write_all(b"contents").unwrap();
        }),
        b"contents",
        b"CONTENTS",
    );
    is_refused(&guest, "zip", broken, &["\"stored\"", "cannot be read"]).await;
}

#[tokio::test]
async fn what_is_asked_wrongly_is_named() {
    let guest = Guest::start().await;
    fs::write(guest.workspace().join("file"), "x").unwrap();
    let error = export(&guest, ".", "rar").await.unwrap_err().to_string();
    assert!(
        error.contains("\"rar\"") && error.contains("tar.gz"),
        "{error}"
    );
    let error = export(&guest, "file", "zip").await.unwrap_err().to_string();
    assert!(error.contains("not a directory"), "{error}");
    let error = import(&guest, "file", "zip", Vec::new())
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("file"), "{error}");
    assert_eq!(fs::read(guest.workspace().join("file")).unwrap(), b"x");
}
