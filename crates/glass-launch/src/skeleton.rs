//! What the upper layer of the root has from the start: the directories that are mounted on, and files that name the
//! sandbox.
//!
//! An upper that persists is as hostile as an image: root of the sandbox wrote it, and there may be a link, a pipe or a
//! device in the place of anything. Nobody writes to it while the launcher works. So every directory is opened from its
//! parent without links, what is no directory is replaced by one, and a file is never written but made.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use glass_launch::{LaunchSpec, remove_tree};
use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, ResolveFlags, Uid};
use rustix::io::Errno;

use crate::prepare::was_pristine;

/// Those that are mounted on, and their parents, each after its own.
const DIRECTORIES: [(&str, u32); 14] = [
    (".glasshouse", 0o755),
    ("dev", 0o755),
    ("etc", 0o755),
    ("home", 0o755),
    ("home/dev", 0o755),
    ("proc", 0o555),
    ("run", 0o755),
    ("sys", 0o555),
    ("tmp", 0o1777),
    ("var", 0o755),
    ("var/lib", 0o755),
    ("var/lib/glasshouse", 0o700),
    ("opt", 0o755),
    ("srv", 0o755),
];
/// Where the guest's program is mounted.
const GUEST: &str = ".glasshouse/guest";
const UPPER: &str = "disk/upper";
/// A longer `/etc/hosts` was not written by hand.
const HOSTS_BYTES: u64 = 64 << 10;

/// Makes what is missing. A root that is thrown away is made anew.
pub(crate) fn prepare(spec: &LaunchSpec, way_out: bool) -> io::Result<()> {
    // What overlay keeps there is of no use to the next mount.
    remove_tree(Path::new("disk/work"))?;
    let pristine = was_pristine()?;
    if !spec.writable_root && !pristine {
        remove_tree(Path::new(UPPER))?;
    }
    let disk = open(CWD, "disk")?;
    directory(disk.as_fd(), "work", 0o755)?;
    if open(disk.as_fd(), "state").is_err() {
        directory(disk.as_fd(), "state", 0o700)?;
    }
    let upper = directory(disk.as_fd(), "upper", 0o755)?;
    if !pristine {
        for (path, mode) in DIRECTORIES {
            let (parent, name) = within(upper.as_fd(), path)?;
            directory(parent.as_fd(), name, mode).map_err(|e| named(path, &e))?;
        }
        replace(upper.as_fd(), GUEST, "")?;
    }
    replace(upper.as_fd(), "etc/hostname", &format!("{}\n", spec.id))?;
    if let Some(text) = hosts(upper.as_fd(), &spec.id)? {
        replace(upper.as_fd(), "etc/hosts", &text)?;
    }
    let resolver = if way_out {
        "nameserver 127.0.0.1\n"
    } else {
        "# There is no network but the loopback.\n"
    };
    replace(upper.as_fd(), "etc/resolv.conf", resolver)
}

/// Whether every mount point of the root is one, and no link to somewhere else.
pub(crate) fn check(root: &Path) -> io::Result<()> {
    let root = open(CWD, root)?;
    let only = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let look = |path, kind| {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC | kind;
        rustix::fs::openat2(&root, path, flags, Mode::empty(), only)
            .map(drop)
            .map_err(|e| io::Error::other(format!("/{path}: {e}")))
    };
    for (path, _) in DIRECTORIES {
        look(path, OFlags::DIRECTORY)?;
    }
    look(GUEST, OFlags::empty())
}

fn open<P: rustix::path::Arg>(parent: BorrowedFd<'_>, name: P) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

/// The directory that `path` is in, which was made before, and the last name of `path`.
fn within<'p>(upper: BorrowedFd<'_>, path: &'p str) -> io::Result<(OwnedFd, &'p str)> {
    let mut at = open(upper, ".")?;
    let Some((parents, name)) = path.rsplit_once('/') else {
        return Ok((at, path));
    };
    for parent in parents.split('/') {
        at = open(at.as_fd(), parent)?;
    }
    Ok((at, name))
}

/// A directory of root's with this mode, whatever was there. What was in a directory stays.
fn directory(parent: BorrowedFd<'_>, name: &str, mode: u32) -> io::Result<OwnedFd> {
    let mode = Mode::from_raw_mode(mode);
    let made = match open(parent, name) {
        Ok(there) => there,
        Err(Errno::NOENT) => {
            rustix::fs::mkdirat(parent, name, mode)?;
            open(parent, name)?
        }
        // A file, a link, a device, or the mark by which overlay hides what the image has.
        Err(Errno::NOTDIR | Errno::LOOP) => {
            rustix::fs::unlinkat(parent, name, AtFlags::empty())?;
            rustix::fs::mkdirat(parent, name, mode)?;
            open(parent, name)?
        }
        Err(e) => return Err(e.into()),
    };
    // Neither owner nor mode may keep the guest from starting: what is spoilt has to be mendable from inside.
    rustix::fs::fchown(&made, Some(Uid::ROOT), Some(Gid::ROOT))?;
    rustix::fs::fchmod(&made, mode)?;
    // Only whoever writes the disk from outside can have put it there; overlay would take it for broken.
    match rustix::fs::fremovexattr(&made, "trusted.overlay.redirect") {
        Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(made),
        Err(e) => Err(e.into()),
    }
}

fn named(path: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("/{path}: {error}"))
}

/// A new file with this text in the place of whatever was there.
fn replace(upper: BorrowedFd<'_>, path: &str, text: &str) -> io::Result<()> {
    make_file(upper, path, text).map_err(|e| named(path, &e))
}

fn make_file(upper: BorrowedFd<'_>, path: &str, text: &str) -> io::Result<()> {
    let (parent, name) = within(upper, path)?;
    match rustix::fs::unlinkat(&parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        // All directories above it were opened without links just now.
        Err(Errno::ISDIR) => remove_tree(&Path::new(UPPER).join(path))?,
        Err(e) => return Err(e.into()),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&parent, name, flags, Mode::from_raw_mode(0o644))?;
    rustix::fs::fchown(&file, Some(Uid::ROOT), Some(Gid::ROOT))?;
    File::from(file).write_all(text.as_bytes())
}

/// What `/etc/hosts` is to say, or nothing when it says so. What the user wrote there stays; a fork has another name.
fn hosts(upper: BorrowedFd<'_>, id: &str) -> io::Result<Option<String>> {
    let own = format!("127.0.0.1 localhost {id}\n");
    let fresh = || Some(format!("{own}::1 localhost ip6-localhost ip6-loopback\n"));
    let (etc, name) = within(upper, "etc/hosts")?;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let Ok(file) = rustix::fs::openat(&etc, name, flags, Mode::empty()) else {
        return Ok(fresh());
    };
    let file = File::from(file);
    let about = file.metadata()?;
    let mut text = String::new();
    if !about.is_file() || about.len() > HOSTS_BYTES {
        return Ok(fresh());
    }
    if file.take(HOSTS_BYTES).read_to_string(&mut text).is_err() {
        return Ok(fresh());
    }
    if text.split_whitespace().any(|word| word == id) {
        return Ok(None);
    }
    Ok(Some(own + &text))
}
