//! From the text of a path to a place in the file system.
//!
//! With a mount namespace around it the kernel's own rules are enough. Without one (the simulated backend) every place is
//! reached from an open descriptor of the home, beneath which the kernel keeps the whole resolution, whatever symbolic
//! links say and however they change meanwhile.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use glass_guest_protocol::connect::RpcError;
use glass_guest_protocol::{GuestConfig, HOME};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use crate::fault;
use crate::identity::as_user;

/// Where paths begin and what they may reach.
#[derive(Debug, Clone)]
pub(crate) struct Root {
    directory: Arc<OwnedFd>,
    base: PathBuf,
    home: PathBuf,
    pub(crate) workspace: PathBuf,
    confined: bool,
}

/// One path, resolved as text.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    root: Root,
    /// For people and answers.
    pub(crate) absolute: PathBuf,
    relative: PathBuf,
}

impl Root {
    /// Opens the root and makes the workspace if it is absent. A file in its place, or a home that may not be entered, is
    /// the user's to mend, and for that the guest has to run; until then whoever needs the workspace hears of it.
    pub(crate) async fn open(config: &GuestConfig) -> Result<Self, RpcError> {
        let (home, workspace) = (config.home.clone(), config.workspace.clone());
        let confined = config.confine_to_home;
        as_user(move || {
            if let Err(error) = std::fs::create_dir_all(&workspace) {
                // The runtime's log; there is nobody else to tell yet.
                let _ = writeln!(
                    io::stderr(),
                    "glass-guest: {}: {error}",
                    workspace.display()
                );
            }
            let base = if confined {
                home.clone()
            } else {
                PathBuf::from("/")
            };
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let directory = rustix::fs::open(&base, flags, Mode::empty())
                .map_err(|error| fault::io(&base.display().to_string(), &error.into()))?;
            Ok(Self {
                directory: Arc::new(directory),
                base,
                home,
                workspace,
                confined,
            })
        })
        .await
    }

    /// A root of its own: nothing outside of `directory` is reached.
    pub(crate) fn beneath(directory: &Path) -> Result<Self, RpcError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(directory, flags, Mode::empty())
            .map_err(|error| fault::io(&directory.display().to_string(), &error.into()))?;
        Ok(Self {
            directory: Arc::new(fd),
            base: directory.to_owned(),
            home: directory.to_owned(),
            workspace: directory.to_owned(),
            confined: true,
        })
    }

    /// The place that `path` names: absolute, or relative to the workspace.
    pub(crate) fn place(&self, path: impl AsRef<OsStr>) -> Result<Place, RpcError> {
        let path = Path::new(path.as_ref());
        if path.as_os_str().as_bytes().contains(&0) {
            return Err(fault::invalid("path holds a zero byte"));
        }
        let absolute = normal(&self.absolute(path));
        let Ok(relative) = absolute.strip_prefix(&self.base) else {
            return Err(fault::invalid(format!(
                "path {} leads out of the sandbox's home, name one beneath {}",
                path.display(),
                self.home.display()
            )));
        };
        let relative = if relative.as_os_str().is_empty() {
            PathBuf::from(".")
        } else {
            relative.to_owned()
        };
        Ok(Place {
            root: self.clone(),
            relative,
            absolute,
        })
    }

    fn absolute(&self, path: &Path) -> PathBuf {
        if let Ok(rest) = path.strip_prefix("~") {
            return self.home.join(rest);
        }
        // Without a mount namespace the home is elsewhere; callers need not know.
        if self.confined
            && !path.starts_with(&self.home)
            && let Ok(rest) = path.strip_prefix(HOME)
        {
            return self.home.join(rest);
        }
        self.workspace.join(path)
    }

    /// The working directory that `cwd` names. Programs of the simulated backend are not confined, so neither is this.
    pub(crate) fn directory(&self, cwd: Option<&str>) -> Result<PathBuf, RpcError> {
        match cwd.filter(|cwd| !cwd.is_empty()) {
            None => Ok(self.workspace.clone()),
            Some(cwd) if cwd.contains('\0') => Err(fault::invalid("cwd holds a zero byte")),
            Some(cwd) => Ok(self.absolute(Path::new(cwd))),
        }
    }

    fn open_at(&self, relative: &Path, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        let mut flags = flags | OFlags::CLOEXEC;
        if !flags.contains(OFlags::PATH) {
            flags |= OFlags::NOCTTY;
        }
        let resolve = if self.confined {
            ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS
        } else {
            return Ok(rustix::fs::openat(&self.directory, relative, flags, mode)?);
        };
        loop {
            match rustix::fs::openat2(&self.directory, relative, flags, mode, resolve) {
                // Something was renamed while the kernel looked; it asks to look again.
                Err(Errno::AGAIN) => {}
                // gVisor does not have it.
                Err(Errno::NOSYS) => return self.open_by_step(relative, flags, mode),
                result => return Ok(result?),
            }
        }
    }

    /// Opens name by name from the root on, where the kernel cannot be told to stay beneath it. No link is followed.
    fn open_by_step(&self, relative: &Path, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        let flags = flags | OFlags::NOFOLLOW;
        let mut at = self.directory.try_clone()?;
        let mut names = relative.components().peekable();
        while let Some(name) = names.next() {
            if !matches!(name, Component::Normal(_) | Component::CurDir) {
                return Err(Errno::XDEV.into());
            }
            if names.peek().is_none() {
                return Ok(rustix::fs::openat(&at, name.as_os_str(), flags, mode)?);
            }
            let step = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            at = rustix::fs::openat(&at, name.as_os_str(), step, Mode::empty())?;
        }
        Ok(rustix::fs::openat(&at, ".", flags, mode)?)
    }
}

/// Without `.`, and with `..` resolved as text.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => normal.push(name),
            Component::ParentDir => {
                normal.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    normal
}

impl Place {
    pub(crate) fn shown(&self) -> String {
        self.absolute.to_string_lossy().into_owned()
    }

    pub(crate) fn fault(&self, error: impl Into<io::Error>) -> RpcError {
        fault::io(&self.shown(), &error.into())
    }

    pub(crate) fn open(&self, flags: OFlags) -> io::Result<OwnedFd> {
        self.root.open_at(&self.relative, flags, Mode::empty())
    }

    /// The place of an entry of this directory.
    pub(crate) fn join(&self, name: &OsStr) -> Self {
        Self {
            root: self.root.clone(),
            absolute: self.absolute.join(name),
            relative: self.relative.join(name),
        }
    }

    /// The place with all symbolic links resolved, if there is something.
    pub(crate) fn resolved(&self) -> Option<(Self, Stat)> {
        let file = self.open(OFlags::PATH).ok()?;
        let stat = rustix::fs::fstat(&file).ok()?;
        let place = self.root.place(canonical(&file)?).ok()?;
        Some((place, stat))
    }

    /// Its open parent directory, and its name there. The root itself has none.
    pub(crate) fn parent(&self) -> Result<(OwnedFd, OsString), RpcError> {
        let Some(name) = self.relative.file_name() else {
            return Err(fault::invalid(format!(
                "{} cannot be made, moved or removed",
                self.shown()
            )));
        };
        let parent = match self.relative.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            Some(_) | None => Path::new("."),
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let directory = self
            .root
            .open_at(parent, flags, Mode::empty())
            .map_err(|error| self.fault(error))?;
        Ok((directory, name.to_owned()))
    }

    /// Makes the parent directories that are missing.
    pub(crate) fn make_parents(&self) -> Result<(), RpcError> {
        let parents: Vec<&Path> = self.relative.ancestors().skip(1).collect();
        for parent in parents.into_iter().rev() {
            if parent.as_os_str().is_empty() || parent == Path::new(".") {
                continue;
            }
            let place = Self {
                root: self.root.clone(),
                absolute: self.root.base.join(parent),
                relative: parent.to_owned(),
            };
            let (directory, name) = place.parent()?;
            match rustix::fs::mkdirat(&directory, &name, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(place.fault(error)),
            }
        }
        Ok(())
    }

    /// What is there, links not followed.
    pub(crate) fn stat(&self) -> Result<Stat, RpcError> {
        let file = self
            .open(OFlags::PATH | OFlags::NOFOLLOW)
            .map_err(|error| self.fault(error))?;
        rustix::fs::fstat(&file).map_err(|error| self.fault(error))
    }

    /// The text of the symbolic link that is there.
    pub(crate) fn link(&self) -> Option<OsString> {
        let (directory, name) = self.parent().ok()?;
        let text = rustix::fs::readlinkat(&directory, &name, Vec::new()).ok()?;
        Some(OsStr::from_bytes(text.as_bytes()).to_owned())
    }
}

/// The path by which the kernel knows an open file.
pub(crate) fn canonical(file: &OwnedFd) -> Option<OsString> {
    use std::os::fd::AsRawFd as _;
    let link = format!("/proc/self/fd/{}", file.as_raw_fd());
    let text = rustix::fs::readlinkat(CWD, link, Vec::new()).ok()?;
    Some(OsStr::from_bytes(text.as_bytes()).to_owned())
}

/// Removes a file, or a directory with all that is in it. Links are removed, not followed.
pub(crate) fn remove(directory: &OwnedFd, name: &OsStr) -> io::Result<()> {
    match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(error) => return Err(error.into()),
    }
    let top = rustix::fs::openat(
        directory,
        name,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let mut moved = 0;
    while clear(&top, &top, 0, &mut moved)? {}
    Ok(rustix::fs::unlinkat(directory, name, AtFlags::REMOVEDIR)?)
}

/// How deep directories are held open. A deeper one is moved to the top first.
const DEPTH: u32 = 64;

/// Empties a directory. Says whether something was moved to the top, which is to be cleared again then.
fn clear(top: &OwnedFd, directory: &OwnedFd, depth: u32, moved: &mut u64) -> io::Result<bool> {
    let mut again = false;
    for entry in rustix::fs::Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => continue,
            Err(Errno::ISDIR | Errno::PERM) => {}
            Err(error) => return Err(error.into()),
        }
        if depth == DEPTH {
            *moved += 1;
            rustix::fs::renameat(directory, name, top, format!(".glasshouse-removed-{moved}"))?;
            again = true;
            continue;
        }
        let below = rustix::fs::openat(
            directory,
            name,
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        again |= clear(top, &below, depth + 1, moved)?;
        drop(below);
        rustix::fs::unlinkat(directory, name, AtFlags::REMOVEDIR)?;
    }
    Ok(again)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_by_steps_follows_no_link() {
        let dir = tempfile::tempdir().unwrap();
        let inside = dir.path().join("site/css");
        std::fs::create_dir_all(&inside).unwrap();
        std::fs::write(inside.join("a.css"), "a").unwrap();
        std::fs::write(dir.path().join("secret"), "s").unwrap();
        std::os::unix::fs::symlink("../../secret", inside.join("out")).unwrap();
        std::os::unix::fs::symlink("..", dir.path().join("site/up")).unwrap();
        let root = Root::beneath(&dir.path().join("site")).unwrap();
        let open = |path: &str| root.open_by_step(Path::new(path), OFlags::RDONLY, Mode::empty());
        for path in ["css/a.css", "./css/a.css", "css", "."] {
            open(path).unwrap();
        }
        for path in ["css/out", "up/secret", "../secret", "/etc/passwd"] {
            assert!(open(path).is_err(), "{path}");
        }
    }

    fn root(confined: bool) -> Root {
        let base = if confined { "/tmp/h" } else { "/" };
        Root {
            directory: Arc::new(rustix::fs::open("/", OFlags::PATH, Mode::empty()).unwrap()),
            base: base.into(),
            home: "/tmp/h".into(),
            workspace: "/tmp/h/workspace".into(),
            confined,
        }
    }

    #[test]
    fn relative_paths_start_in_the_workspace() {
        for confined in [true, false] {
            let place = root(confined).place("a/./b/../c").unwrap();
            assert_eq!(place.absolute, Path::new("/tmp/h/workspace/a/c"));
        }
    }

    #[test]
    fn a_confined_path_that_leads_out_is_refused_and_named() {
        for path in ["../../etc/passwd", "/etc/passwd", "/tmp/h/../x", "/"] {
            let error = root(true).place(path).unwrap_err();
            assert!(error.message.contains(path), "{error}");
        }
        assert_eq!(
            root(false).place("/etc/../../passwd").unwrap().absolute,
            Path::new("/passwd")
        );
    }

    #[test]
    fn the_home_of_every_image_is_the_confined_home() {
        let place = root(true).place("/home/dev/workspace/x").unwrap();
        assert_eq!(place.absolute, Path::new("/tmp/h/workspace/x"));
        assert_eq!(
            root(true).place("~/x").unwrap().absolute,
            Path::new("/tmp/h/x")
        );
    }

    #[test]
    fn a_deep_tree_is_removed() {
        let base = tempfile::tempdir().unwrap();
        let mut directory = rustix::fs::open(base.path(), OFlags::PATH, Mode::empty()).unwrap();
        let parent = directory.try_clone().unwrap();
        for _ in 0..400 {
            rustix::fs::mkdirat(&directory, "d", Mode::RWXU).unwrap();
            directory = rustix::fs::openat(&directory, "d", OFlags::PATH, Mode::empty()).unwrap();
        }
        remove(&parent, OsStr::new("d")).unwrap();
        assert_eq!(std::fs::read_dir(base.path()).unwrap().count(), 0);
    }
}
