//! The sandbox's file tree.
//!
//! All mounts are made in the container's own mount namespace; the host's mount table never shows one. The work is done
//! in a scratch tmpfs whose tree is left behind by `pivot_root`:
//!
//! ```text
//! l/0 … l/n   image layers, owners mapped, read-only
//! disk        the sandbox's files as they lie on disk: upper work home state spare
//! rw          the same with owners mapped
//! root        overlay of l/n … l/0 under rw/upper
//! ```
//!
//! An image is hostile: any path in it may be a symlink to anywhere. So nothing is ever mounted on, or written to, a
//! path that the image could have made: every mount point is a directory of the upper, which hides what the image has in
//! its place. See [`skeleton`] for an upper that is hostile itself.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::Path;

use glass_launch::loopback::{self, Access};
use glass_launch::{Disk, LaunchSpec};
use rustix::fs::{CWD, FileType, Mode};
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
};

use crate::disk;
use crate::failure::{Failure, Step};
use crate::gvisor;
use crate::seed;
use crate::skeleton;
use crate::spare;
use crate::steps::Steps;
use crate::sys;

const PLAIN: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV);
const INERT: MountFlags = PLAIN.union(MountFlags::NOEXEC);

const DEVICES: [(&str, u32, u32); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

const HIDDEN_FILES: [&str; 9] = [
    "interrupts",
    "kcore",
    "keys",
    "key-users",
    "kmsg",
    "latency_stats",
    "sysrq-trigger",
    "timer_list",
    "sched_debug",
];
const HIDDEN_DIRECTORIES: [&str; 3] = ["acpi", "scsi", "asound"];
/// Writing to `pressure` would have the kernel measure for whoever asks.
const READ_ONLY: [&str; 6] = ["sys", "bus", "fs", "irq", "driver", "pressure"];

/// Makes the tree and moves into it.
pub(crate) fn make_root(
    spec: &LaunchSpec,
    users: BorrowedFd<'_>,
    way_out: bool,
    steps: &mut Steps,
) -> Result<(), Failure> {
    begin_root(spec, users, way_out, steps)?;
    let root = Path::new("root");
    bind(Path::new("rw/home"), &root.join("home/dev")).step("mount the home")?;
    bind(Path::new("rw/state"), &root.join("var/lib/glasshouse")).step("mount the state")?;
    steps.done("bind home and state");
    mount_proc(root).step("mount /proc")?;
    steps.done("mount /proc");
    mount_dev(root, spec.uid_base).step("mount /dev")?;
    steps.done("mount /dev");
    mount_temporary(root, spec).step("mount temporary directories")?;
    let guest = root.join(".glasshouse/guest");
    bind(&spec.guest, &guest)
        .and_then(|()| read_only(&guest, PLAIN))
        .step("mount the guest")?;
    steps.done("mount /tmp /run /sys, the guest");
    pivot(root)?;
    steps.done("pivot_root");
    Ok(())
}

/// The part of it that the sandbox's own files are: the disk, the overlay, and the home seeded from it.
pub(crate) fn begin_root(
    spec: &LaunchSpec,
    users: BorrowedFd<'_>,
    way_out: bool,
    steps: &mut Steps,
) -> Result<(), Failure> {
    enter_scratch(spec)?;
    for name in ["disk", "rw", "root", "l"] {
        make_dir(Path::new(name), 0o755).step("make the scratch tree")?;
    }
    steps.done("private mounts, scratch tree");
    mount_disk(spec)?;
    steps.done("mount the disk");
    spare::release().step("free the spare inodes")?;
    // The last blocks of the disk are kept for the sandbox's root, and the host's may be without the right to them.
    sys::act_as(spec.uid_base).step("act as the sandbox's root")?;
    disk::take_over(&spec.id).step("take over the disk")?;
    skeleton::prepare(spec, way_out).step("prepare the sandbox's files")?;
    sys::act_as(0).step("act as root")?;
    steps.done("skeleton of the root");
    mount_mapped(Path::new("disk"), Path::new("rw"), users, false)
        .step("map the owners of files")?;
    for (number, layer) in spec.layers.iter().enumerate() {
        let target = format!("l/{number}");
        make_dir(Path::new(&target), 0o755)
            .and_then(|()| mount_mapped(layer, Path::new(&target), users, true))
            .step(format!("map image layer {}", layer.display()))?;
    }
    steps.done("map owners of disk and layers");
    // Overlay works in the upper on behalf of whoever mounted it. The host's root is nobody on a mapped mount.
    sys::act_as(spec.uid_base).step("act as the sandbox's root")?;
    mount_overlay(spec).step("mount overlay")?;
    spare::keep();
    sys::act_as(0).step("act as root")?;
    skeleton::check(Path::new("root")).step("look at the mount points")?;
    steps.done("mount overlay, keep spare inodes");
    seed::seed_home().step("seed the home")?;
    steps.done("seed the home");
    Ok(())
}

/// Makes the tree in which `runsc` works, and moves into it. It holds what the sandbox is given, `runsc` itself and what
/// that needs; the sandbox's own root is a directory of it. Nothing else of the host is there, to be seen or to be kept
/// mounted.
pub(crate) fn make_gvisor_root(
    spec: &LaunchSpec,
    runsc: &Path,
    users: BorrowedFd<'_>,
    steps: &mut Steps,
) -> Result<(), Failure> {
    begin_root(spec, users, false, steps)?;
    for name in ["bundle", "state", "gateway", "guest", "proc", "dev", "tmp"] {
        make_dir(Path::new(name), 0o755).step("make the scratch tree")?;
    }
    for name in ["program", "runsc"] {
        fs::write(name, "").step("make the scratch tree")?;
    }
    for (source, target) in [
        (spec.dir.join("gateway").as_path(), "gateway"),
        (spec.dir.join("guest").as_path(), "guest"),
        (spec.guest.as_path(), "program"),
        (runsc, "runsc"),
    ] {
        bind(source, Path::new(target)).step("mount what the sandbox is given")?;
    }
    rustix::mount::mount("proc", "proc", "proc", INERT, None).step("mount /proc")?;
    mount_dev(Path::new("."), spec.uid_base).step("mount /dev")?;
    gvisor::describe(spec)?;
    steps.done("tree for gVisor");
    pivot(Path::new("."))?;
    steps.done("pivot_root");
    Ok(())
}

/// The least tree in which the guest can run.
pub(crate) fn make_bare_root(spec: &LaunchSpec) -> Result<(), Failure> {
    enter_scratch(spec)?;
    make_dir(Path::new(".glasshouse"), 0o755)
        .and_then(|()| fs::write(".glasshouse/guest", ""))
        .and_then(|()| bind(&spec.guest, Path::new(".glasshouse/guest")))
        .step("mount the guest")?;
    pivot(Path::new("."))
}

fn enter_scratch(spec: &LaunchSpec) -> Result<(), Failure> {
    rustix::mount::mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )
    .step("make mounts private")?;
    let scratch = spec.dir.join("mnt");
    tmpfs(&scratch, "size=16m,mode=0755", PLAIN).step("mount the scratch tree")?;
    std::env::set_current_dir(&scratch).step("enter the scratch tree")
}

fn pivot(root: &Path) -> Result<(), Failure> {
    let step = "pivot_root";
    std::env::set_current_dir(root).step(step)?;
    rustix::process::pivot_root(".", ".").step(step)?;
    // The old root now lies over the new one; what is left after this is the sandbox's tree alone.
    rustix::mount::unmount(".", UnmountFlags::DETACH).step(step)?;
    std::env::set_current_dir("/").step(step)
}

fn mount_disk(spec: &LaunchSpec) -> Result<(), Failure> {
    match &spec.disk {
        Disk::Directory => bind(&spec.dir.join("disk"), Path::new("disk")).step("mount the disk"),
        Disk::Image(image) => mount_image(image, spec.uid_base).step("mount the disk image"),
    }
}

fn mount_image(image: &Path, uid_base: u32) -> io::Result<()> {
    // The device is kept open until it is mounted, or it would be gone again.
    let image = fs::OpenOptions::new().read(true).write(true).open(image)?;
    let (path, device) = loopback::attach(&image, Access::Buffered)?;
    // The last blocks are for the sandbox's root: when its user has filled the disk, the guest can still keep its logs.
    // Inode tables are not zeroed in the background, which would fill the sparse file; what is freed becomes a hole.
    let options = format!("resuid={uid_base},noinit_itable,discard,errors=remount-ro");
    rustix::mount::mount(
        path,
        "disk",
        "ext4",
        PLAIN | MountFlags::NOATIME,
        c(&options)?.as_c_str(),
    )?;
    disk::grow(&device, Path::new("disk"))
}

fn mount_mapped(
    source: &Path,
    target: &Path,
    users: BorrowedFd<'_>,
    read_only: bool,
) -> io::Result<()> {
    let tree = rustix::mount::open_tree(
        CWD,
        source,
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC,
    )?;
    sys::set_idmap(std::os::fd::AsFd::as_fd(&tree), users, read_only)?;
    rustix::mount::move_mount(
        &tree,
        "",
        CWD,
        target,
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
    )?;
    Ok(())
}

fn mount_overlay(spec: &LaunchSpec) -> io::Result<()> {
    let lower: Vec<String> = (0..spec.layers.len())
        .rev()
        .map(|n| format!("l/{n}"))
        .collect();
    // What a layer says of other places of it is not believed, whatever the kernel was built to do.
    let mut options = format!(
        "lowerdir={},upperdir=rw/upper,workdir=rw/work,redirect_dir=nofollow,metacopy=off,index=off",
        lower.join(":")
    );
    let mut flags = MountFlags::NODEV;
    if spec.writable_root {
        // Set-user-id bits count: `sudo` is one, and what they give is root of the sandbox, which is nobody outside.
    } else {
        flags |= MountFlags::NOSUID;
        // The upper does not outlive the container, so it need not be flushed when the container ends.
        options.push_str(",volatile");
    }
    rustix::mount::mount("overlay", "root", "overlay", flags, c(&options)?.as_c_str())?;
    Ok(())
}

fn mount_proc(root: &Path) -> io::Result<()> {
    let proc = root.join("proc");
    rustix::mount::mount("proc", &proc, "proc", INERT, None)?;
    for name in READ_ONLY {
        let path = proc.join(name);
        if path.exists() {
            bind(&path, &path)?;
            read_only(&path, INERT)?;
        }
    }
    for name in HIDDEN_FILES {
        let path = proc.join(name);
        if path.exists() {
            bind(Path::new("/dev/null"), &path)?;
        }
    }
    for name in HIDDEN_DIRECTORIES {
        let path = proc.join(name);
        if path.is_dir() {
            tmpfs(&path, "size=4k,mode=0555", INERT | MountFlags::RDONLY)?;
        }
    }
    Ok(())
}

fn mount_dev(root: &Path, base: u32) -> io::Result<()> {
    let dev = root.join("dev");
    tmpfs(
        &dev,
        "size=64k,mode=0755",
        MountFlags::NOSUID | MountFlags::NOEXEC,
    )?;
    for (name, major, minor) in DEVICES {
        rustix::fs::mknodat(
            CWD,
            dev.join(name),
            FileType::CharacterDevice,
            Mode::from_raw_mode(0o666),
            rustix::fs::makedev(major, minor),
        )?;
    }
    for (name, target) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
        ("ptmx", "pts/ptmx"),
    ] {
        symlink(target, dev.join(name))?;
    }
    make_dir(&dev.join("pts"), 0o755)?;
    make_dir(&dev.join("shm"), 0o1777)?;
    let tty = base + 5;
    let options = format!("newinstance,ptmxmode=0666,mode=0620,gid={tty}");
    rustix::mount::mount(
        "devpts",
        dev.join("pts"),
        "devpts",
        MountFlags::NOSUID | MountFlags::NOEXEC,
        c(&options)?.as_c_str(),
    )?;
    let options = format!("size=256m,mode=1777,uid={base},gid={base}");
    tmpfs(&dev.join("shm"), &options, INERT)?;
    read_only(&dev, MountFlags::NOSUID | MountFlags::NOEXEC)
}

fn mount_temporary(root: &Path, spec: &LaunchSpec) -> io::Result<()> {
    let base = spec.uid_base;
    let owner = format!("uid={base},gid={base}");
    tmpfs(
        &root.join("tmp"),
        &format!("size=1g,mode=1777,{owner}"),
        PLAIN,
    )?;
    tmpfs(
        &root.join("run"),
        &format!("size=64m,mode=0755,{owner}"),
        PLAIN,
    )?;
    tmpfs(
        &root.join("sys"),
        "size=4k,mode=0555",
        INERT | MountFlags::RDONLY,
    )?;
    let gateway = root.join("run/glasshouse");
    make_dir(&gateway, 0o755)?;
    bind(&spec.dir.join("gateway"), &gateway)?;
    read_only(&gateway, INERT)
}

fn tmpfs(target: &Path, options: &str, flags: MountFlags) -> io::Result<()> {
    rustix::mount::mount("tmpfs", target, "tmpfs", flags, c(options)?.as_c_str())?;
    Ok(())
}

fn bind(source: &Path, target: &Path) -> io::Result<()> {
    Ok(rustix::mount::mount_bind(source, target)?)
}

fn read_only(target: &Path, flags: MountFlags) -> io::Result<()> {
    let flags = flags | MountFlags::BIND | MountFlags::RDONLY;
    Ok(rustix::mount::mount_remount(target, flags, "")?)
}

fn make_dir(path: &Path, mode: u32) -> io::Result<()> {
    // The umask is empty, so the mode is what the directory gets.
    fs::DirBuilder::new().mode(mode).create(path)
}

fn c(text: &str) -> io::Result<CString> {
    CString::new(text).map_err(io::Error::other)
}
