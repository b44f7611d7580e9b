use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::PathBuf;

use tar::{Builder, Header};

use super::*;
use crate::pack;

/// A directory to unpack into, with something beside it that no archive may touch.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("outside"), "untouched").unwrap();
        Self { dir }
    }

    fn tree(&self) -> PathBuf {
        self.dir.path().join("tree")
    }

    fn unpack(&self, archive: &[u8]) -> Result<(), ImageError> {
        self.unpack_within(archive, Limits::default())
    }

    fn unpack_within(&self, archive: &[u8], mut limits: Limits) -> Result<(), ImageError> {
        let (cancel, _guard) = Cancel::pair().unwrap();
        let result = unpack(archive, &self.tree(), &mut limits, &cancel);
        assert_eq!(
            std::fs::read_to_string(self.dir.path().join("outside")).unwrap(),
            "untouched"
        );
        result
    }
}

/// An entry whose path and link are written as they are, which `tar::Builder` would refuse.
fn entry(out: &mut Vec<u8>, kind: EntryType, path: &str, link: &str, data: &[u8]) {
    let mut header = Header::new_gnu();
    header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
    header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(0o755);
    header.set_uid(1000);
    header.set_gid(1001);
    header.set_mtime(1_000_000);
    header.set_size(data.len() as u64);
    header.set_device_major(1).unwrap();
    header.set_device_minor(3).unwrap();
    header.set_cksum();
    out.extend_from_slice(header.as_bytes());
    out.extend_from_slice(data);
    out.resize(out.len().next_multiple_of(512), 0);
}

fn archive(entries: &[(EntryType, &str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (kind, path, link) in entries {
        let data: &[u8] = if *kind == EntryType::Regular {
            b"data"
        } else {
            b""
        };
        entry(&mut out, *kind, path, link, data);
    }
    out.resize(out.len() + 1024, 0);
    out
}

use EntryType::{Block, Char, Directory, Link, Regular, Symlink};

fn check_refused(entries: &[(EntryType, &str, &str)], named: &str, because: &str) {
    let place = Place::new();
    let error = place.unpack(&archive(entries)).unwrap_err().to_string();
    assert!(
        error.contains(&format!("`{named}`")) && error.contains(because),
        "{error}"
    );
}

#[test]
fn files_keep_owner_mode_time_and_names() {
    let place = Place::new();
    let tar = archive(&[
        (Directory, "./", ""),
        (Directory, "./a/", ""),
        (Regular, "./a/file", ""),
        (Link, "./a/second", "a/file"),
        (Symlink, "a/absolute", "/etc/passwd"),
        (Regular, "deep/er/file", ""),
    ]);
    place.unpack(&tar).unwrap();
    let file = place.tree().join("a/file").metadata().unwrap();
    assert_eq!(
        (file.uid(), file.gid(), file.mtime()),
        (1000, 1001, 1_000_000)
    );
    assert_eq!(file.permissions().mode() & 0o7777, 0o755);
    assert_eq!(file.nlink(), 2);
    assert_eq!(
        place.tree().join("a").metadata().unwrap().mtime(),
        1_000_000
    );
    let link = std::fs::read_link(place.tree().join("a/absolute")).unwrap();
    assert_eq!(link, PathBuf::from("/etc/passwd"));
    let made = place.tree().join("deep/er").metadata().unwrap();
    assert_eq!((made.uid(), made.permissions().mode() & 0o7777), (0, 0o755));
}

#[test]
fn paths_that_lead_out_are_refused() {
    check_refused(&[(Regular, "../outside", "")], "../outside", "leads out");
    check_refused(
        &[(Regular, "a/../../outside", "")],
        "a/../../outside",
        "leads out",
    );
    check_refused(&[(Regular, "/etc/passwd", "")], "/etc/passwd", "absolute");
    check_refused(&[(Regular, ".", "")], ".", "no name");
}

#[test]
fn links_that_lead_out_cannot_be_written_through() {
    check_refused(
        &[
            (Symlink, "up", ".."),
            (Regular, "up/outside", ""),
            (Regular, "up/outside", ""),
        ],
        "up/outside",
        "twice",
    );
    check_refused(
        &[(Symlink, "etc", "/nonexistent"), (Regular, "etc/x", "")],
        "etc/x",
        "leads nowhere or out",
    );
    check_refused(
        &[
            (Symlink, "a", "b"),
            (Symlink, "b", "a"),
            (Regular, "a/x", ""),
        ],
        "a/x",
        "circles",
    );
    check_refused(
        &[(Symlink, "f", "../outside"), (Regular, "f", "")],
        "f",
        "twice",
    );
}

#[test]
fn a_link_up_stays_within_the_image() {
    let place = Place::new();
    place
        .unpack(&archive(&[
            (Symlink, "up", "../.."),
            (Regular, "up/outside", ""),
        ]))
        .unwrap();
    assert_eq!(
        std::fs::read_to_string(place.tree().join("outside")).unwrap(),
        "data"
    );
}

#[test]
fn hard_links_lead_only_to_files_of_the_archive() {
    check_refused(&[(Link, "x", "../outside")], "x", "leads out");
    check_refused(&[(Link, "x", "/etc/shadow")], "x", "leads out");
    check_refused(
        &[(Symlink, "up", ".."), (Link, "x", "up/outside")],
        "x",
        "does not have",
    );
    check_refused(&[(Directory, "d", ""), (Link, "x", "d")], "x", "directory");
}

#[test]
fn devices_are_refused_but_under_dev_left_out() {
    check_refused(&[(Char, "null", "")], "null", "device");
    check_refused(&[(Block, "a/dev/sda", "")], "a/dev/sda", "device");
    let place = Place::new();
    place
        .unpack(&archive(&[(Directory, "dev", ""), (Char, "dev/null", "")]))
        .unwrap();
    assert_eq!(
        std::fs::read_dir(place.tree().join("dev")).unwrap().count(),
        0
    );
}

#[test]
fn a_file_that_comes_twice_is_refused() {
    check_refused(&[(Regular, "x", ""), (Regular, "./x", "")], "./x", "twice");
    check_refused(&[(Directory, "x", ""), (Regular, "x", "")], "x", "twice");
    check_refused(&[(Regular, "x", ""), (Directory, "x", "")], "x", "twice");
    check_refused(
        &[(Regular, "x", ""), (Regular, "x/y", "")],
        "x/y",
        "not a directory",
    );
}

#[test]
fn an_archive_that_holds_too_much_is_refused() {
    let tar = archive(&[(Regular, "a", ""), (Regular, "b", "")]);
    let small = Limits {
        bytes: 7,
        entries: 10,
    };
    let error = Place::new().unpack_within(&tar, small).unwrap_err();
    assert!(
        error.to_string().contains("`b`") && error.to_string().contains("bytes"),
        "{error}"
    );
    let few = Limits {
        bytes: 100,
        entries: 1,
    };
    let error = Place::new().unpack_within(&tar, few).unwrap_err();
    assert!(
        error.to_string().contains("`b`") && error.to_string().contains("1 entries"),
        "{error}"
    );
}

#[test]
fn a_size_that_is_only_claimed_costs_nothing() {
    let mut tar = Vec::new();
    entry(&mut tar, Regular, "huge", "", b"");
    let mut header = Header::new_gnu();
    header.as_mut_bytes().copy_from_slice(&tar);
    header.set_size(u64::MAX);
    header.set_cksum();
    let error = Place::new().unpack(header.as_bytes()).unwrap_err();
    assert!(error.to_string().contains("`huge`"), "{error}");
}

#[test]
fn a_cut_or_damaged_archive_is_an_error() {
    let tar = archive(&[(Regular, "a", ""), (Regular, "b", "")]);
    for length in [1, 511, 513, 514, 1023, 1025, 1500, 1537] {
        assert!(Place::new().unpack(&tar[..length]).is_err(), "{length}");
    }
    let mut damaged = tar;
    damaged[3] ^= 1;
    assert!(Place::new().unpack(&damaged).is_err());
    assert!(Place::new().unpack(&[7; 4096]).is_err());
}

#[test]
fn endless_bytes_after_the_end_are_refused() {
    let place = Place::new();
    let (cancel, _guard) = Cancel::pair().unwrap();
    let mut limits = Limits {
        bytes: 1000,
        entries: 10,
    };
    let error = unpack(io::repeat(0), &place.tree(), &mut limits, &cancel).unwrap_err();
    assert!(
        matches!(error, ImageError::Archive(ArchiveError::TooLarge { .. })),
        "{error}"
    );
}

#[test]
fn a_name_without_end_is_refused() {
    let mut tar = Vec::new();
    entry(
        &mut tar,
        EntryType::GNULongName,
        "x",
        "",
        &vec![b'a'; 2 << 20],
    );
    assert!(Place::new().unpack(&tar).is_err());
}

#[test]
fn deep_trees_are_refused_also_when_reached_through_links() {
    let mut tar = Vec::new();
    let part = vec!["d"; 40].join("/");
    entry(&mut tar, Directory, &part, "", b"");
    for step in 0..10 {
        let above = if step == 0 {
            part.clone()
        } else {
            format!("l{}/{part}", step - 1)
        };
        entry(&mut tar, Symlink, &format!("l{step}"), &above, b"");
        entry(&mut tar, Directory, &format!("l{step}/{part}"), "", b"");
    }
    let error = Place::new().unpack(&tar).unwrap_err().to_string();
    assert!(error.contains("200 directories deep"), "{error}");
}

#[test]
fn whiteouts_become_those_of_overlayfs() {
    let place = Place::new();
    let tar = archive(&[
        (Directory, "d", ""),
        (Regular, "d/.wh..wh..opq", ""),
        (Regular, "d/new", ""),
        (Regular, ".wh.gone", ""),
        (Regular, ".wh.changed", ""),
        (Regular, "changed", ""),
        (Regular, ".wh.dir", ""),
        (Directory, "dir", ""),
    ]);
    place.unpack(&tar).unwrap();
    let gone = std::fs::symlink_metadata(place.tree().join("gone")).unwrap();
    assert!(gone.file_type().is_char_device() && gone.rdev() == 0);
    assert!(place.tree().join("changed").is_file());
    let (cancel, _guard) = Cancel::pair().unwrap();
    let mut packed = Vec::new();
    pack::pack(&place.tree(), &mut packed, &cancel).unwrap();
    let names: Vec<_> = tar::Archive::new(&packed[..])
        .entries()
        .unwrap()
        .map(|e| e.unwrap().path().unwrap().display().to_string())
        .collect();
    assert_eq!(
        names,
        [
            "./",
            "changed",
            "d",
            "d/.wh..wh..opq",
            "d/new",
            "dir",
            "dir/.wh..wh..opq",
            ".wh.gone"
        ]
    );
}

#[test]
fn a_whiteout_of_nothing_is_refused() {
    check_refused(&[(Regular, "a/.wh...", "")], "a/.wh...", "hides nothing");
    check_refused(&[(Regular, ".wh.", "")], ".wh.", "hides nothing");
}

#[test]
fn attributes_of_overlayfs_are_refused_and_capabilities_kept() {
    let capability =
        b"\x01\x00\x00\x02\x00\x0a\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00";
    let with = |name: &str, value: &[u8]| {
        let mut builder = Builder::new(Vec::new());
        let key = format!("SCHILY.xattr.{name}");
        builder
            .append_pax_extensions([(key.as_str(), value)])
            .unwrap();
        let mut header = Header::new_gnu();
        header.set_size(0);
        builder
            .append_data(&mut header, "ping", io::empty())
            .unwrap();
        builder.into_inner().unwrap()
    };
    let error = Place::new()
        .unpack(&with("trusted.overlay.opaque", b"y"))
        .unwrap_err();
    assert!(error.to_string().contains("overlayfs"), "{error}");

    let place = Place::new();
    place
        .unpack(&with("security.capability", capability))
        .unwrap();
    let mut value = [0; 64];
    let path = place.tree().join("ping");
    let length = rustix::fs::lgetxattr(&path, "security.capability", &mut value[..]).unwrap();
    assert_eq!(&value[..length], capability);
}

#[test]
fn packing_what_was_unpacked_gives_the_same_digest_again() {
    let tar = archive(&[
        (Directory, "./", ""),
        (Directory, "a", ""),
        (Regular, "a/file", ""),
        (Link, "a/second", "a/file"),
        (Symlink, "a/link", "file"),
        (Regular, ".wh.gone", ""),
    ]);
    let (cancel, _guard) = Cancel::pair().unwrap();
    let first = Place::new();
    first.unpack(&tar).unwrap();
    let mut packed = Vec::new();
    pack::pack(&first.tree(), &mut packed, &cancel).unwrap();
    let second = Place::new();
    second.unpack(&packed).unwrap();
    assert_eq!(
        pack::digest(&first.tree(), &cancel).unwrap(),
        pack::digest(&second.tree(), &cancel).unwrap()
    );
}

#[test]
fn any_bytes_are_an_archive_or_an_error() {
    // A fixed generator: the same bytes each time, so a failure can be repeated.
    let mut state = 0x2545_f491_4f6c_dd1du64;
    let tar = archive(&[
        (Directory, "a", ""),
        (Regular, "a/file", ""),
        (Symlink, "a/link", "../../x"),
        (Link, "second", "a/file"),
    ]);
    for _ in 0..300 {
        let mut mutated = tar.clone();
        for _ in 0..4 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let at = usize::try_from(state % tar.len() as u64).unwrap();
            mutated[at] = state.to_le_bytes()[7];
        }
        for block in mutated.chunks_exact_mut(512) {
            let mut header = Header::new_gnu();
            header.as_mut_bytes().copy_from_slice(block);
            header.set_cksum();
            block.copy_from_slice(header.as_bytes());
        }
        // Either way nothing outside is touched, which `Place` checks, and it comes to an end.
        let _ = Place::new().unpack_within(
            &mutated,
            Limits {
                bytes: 1 << 20,
                entries: 100,
            },
        );
    }
}
