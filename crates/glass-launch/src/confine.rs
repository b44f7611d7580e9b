//! What init gives up before it becomes the guest.

use std::io;

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit};
use rustix::thread::{CapabilitySet, CapabilitySets, Gid, Uid};

/// What the guest needs to run and to end processes of the sandbox's users. Valid only inside the user namespace.
const KEPT: CapabilitySet = CapabilitySet::SETUID
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::CHOWN);

/// What `sudo` can give, valid only inside the user namespace: what installing packages and running services takes.
/// Without [`CapabilitySet::SETPCAP`], which the guest has: the kernel lets nobody trace a process that can do more.
const ROOT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::NET_BIND_SERVICE);

/// No core dumps; open files as many as given, as far as the host allows.
pub(crate) fn limit_resources(open_files: u32) -> io::Result<()> {
    forbid_core_dumps()?;
    let wanted = u64::from(open_files);
    let most = rustix::process::getrlimit(Resource::Nofile).maximum;
    // Root may raise its own limit, up to one of the kernel; a server that is less than that keeps to what it has.
    match limit_files(wanted) {
        Err(Errno::PERM) => limit_files(most.map_or(wanted, |most| most.min(wanted)))?,
        other => other?,
    }
    Ok(())
}

pub(crate) fn forbid_core_dumps() -> Result<(), Errno> {
    // One byte, not none: the kernel takes no limit for a program of the host to which it would hand a dump, but this.
    let none = Rlimit {
        current: Some(1),
        maximum: Some(1),
    };
    rustix::process::setrlimit(Resource::Core, none)
}

fn limit_files(most: u64) -> Result<(), Errno> {
    let files = Rlimit {
        current: Some(most),
        maximum: Some(most),
    };
    rustix::process::setrlimit(Resource::Nofile, files)
}

/// Takes user and group 0 of the user namespace that was entered; until then the process is nobody there.
pub(crate) fn become_root() -> io::Result<()> {
    rustix::thread::set_thread_groups(&[])?;
    rustix::thread::set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT)?;
    rustix::thread::set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT)?;
    Ok(())
}

/// Leaves [`KEPT`] and forbids that any program ever gains more. Where the root is writable the guest can do what root of
/// the sandbox can, and decides for each process whether that may be gained.
pub(crate) fn drop_capabilities(writable_root: bool) -> io::Result<()> {
    let kept = if writable_root {
        KEPT.union(ROOT)
    } else {
        KEPT
    };
    rustix::thread::clear_ambient_capability_set()?;
    for capability in CapabilitySet::all().difference(kept).iter() {
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            // A capability that this kernel does not know cannot be had.
            Ok(()) | Err(Errno::INVAL) => {}
            Err(e) => return Err(e.into()),
        }
    }
    rustix::thread::set_capabilities(
        None,
        CapabilitySets {
            effective: kept,
            permitted: kept,
            inheritable: CapabilitySet::empty(),
        },
    )?;
    if !writable_root {
        rustix::thread::set_no_new_privs(true)?;
    }
    Ok(())
}
