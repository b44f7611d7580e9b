//! Init's side: from the fork to the exec of the guest.

use std::convert::Infallible;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use glass_launch::LaunchSpec;
use glass_launch::net::WayOut;
use rustix::fs::Mode;
use rustix::thread::LinkNameSpaceType;

use crate::confine;
use crate::failure::{Failure, Step};
use crate::gvisor;
use crate::launch::{Given, LEFT_ALONE, high};
use crate::mounts;
use crate::sys;

/// Where the guest's program is in every sandbox.
pub(crate) const GUEST: &str = "/.glasshouse/guest";

/// Becomes the guest, or tells the launcher why not.
pub(crate) fn enter(spec: &LaunchSpec, given: Given) -> ! {
    let Ok(mut parent) = given.parent.try_clone() else {
        sys::leave()
    };
    let Err(Failure { step, reason }) = become_guest(spec, given);
    // The launcher also sees the end of the stream; there is nobody else to tell.
    drop(parent.write_all(format!("{step}\n{reason}").as_bytes()));
    sys::leave()
}

fn become_guest(spec: &LaunchSpec, mut given: Given) -> Result<Infallible, Failure> {
    let steps = &mut given.steps;
    steps.done("clone");
    let filters = std::fs::read(&spec.seccomp)
        .and_then(|bytes| LaunchSpec::decode_filters(&bytes))
        .step("read the seccomp filters")?;
    sys::loopback_up().step("bring up the loopback interface")?;
    rustix::system::sethostname(spec.id.as_bytes()).step("set the host name")?;
    // No port of a sandbox is special: whoever lives in it may serve on port 80.
    std::fs::write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0")
        .step("open the low ports")?;
    steps.done("filters read, loopback, host name");
    let way_out = way_out(spec, &given.log)?;
    steps.done("way out");
    if spec.bare {
        mounts::make_bare_root(spec)?;
        steps.done("bare root");
    } else if let Some(runsc) = &spec.gvisor {
        mounts::make_gvisor_root(spec, runsc, given.users.as_fd(), steps)?;
    } else {
        mounts::make_root(spec, given.users.as_fd(), way_out.is_some(), steps)?;
    }
    // Only now, so that a sandbox with little CPU does not wait for its own tree.
    for group in &given.groups {
        rustix::io::write(group, b"0").step("join a cgroup")?;
    }
    steps.done("join control groups");
    let mut word = [0];
    (&given.parent).read_exact(&mut word).step(LEFT_ALONE)?;
    steps.done("wait for the record");
    rustix::stdio::dup2_stdin(&given.nothing).step("redirect standard input")?;
    rustix::stdio::dup2_stdout(&given.log).step("redirect standard output")?;
    rustix::stdio::dup2_stderr(&given.log).step("redirect standard error")?;
    if spec.gvisor.is_some() {
        let text = steps.to_text();
        (&given.parent).write_all(&text).step("tell what it took")?;
        return gvisor::run(spec);
    }
    let mut sockets = vec![given.listener.as_fd()];
    if let Some((_, way_out)) = &way_out {
        sockets.extend(way_out.iter().map(AsFd::as_fd));
    }
    sys::pass_on(&sockets).step("hand on the sockets")?;
    if !spec.bare {
        sys::unshare_cgroups().step("make a cgroup namespace")?;
        confine::limit_resources(spec.open_files).step("set resource limits")?;
        // The user namespace comes last. All others were made by the host's root and belong to it, so root in here has
        // no power over any of them: no mount, no interface, no host name.
        rustix::thread::move_into_link_name_space(
            given.users.as_fd(),
            Some(LinkNameSpaceType::User),
        )
        .step("enter the user namespace")?;
        steps.done("descriptors, namespaces of groups and users");
        confine::become_root().step("become root of the user namespace")?;
        // While it may: without `no_new_privs`, which is not for every sandbox, that takes a capability.
        for filter in &filters {
            sys::install_filter(filter).step("install the seccomp filter")?;
        }
        steps.done("seccomp");
        confine::drop_capabilities(spec.writable_root).step("drop capabilities")?;
        steps.done("drop capabilities");
    }
    // It was empty while the tree was made.
    rustix::process::umask(Mode::WGRP | Mode::WOTH);
    let text = steps.to_text();
    (&given.parent).write_all(&text).step("tell what it took")?;
    let environment = spec.env.iter().map(|(name, value)| (name, value));
    let mut guest = Command::new(GUEST);
    guest.env_clear().envs(environment);
    if let (Some(variable), Some((sockets, _))) = (&spec.way_out, &way_out) {
        guest.env(variable, sockets);
    }
    let error = guest.exec();
    Err(error).step("execute the guest")
}

/// What the guest is told of the sockets of its way out, and these in their order. A kernel that cannot make them leaves
/// the sandbox with the proxy alone; the guest's log says so.
fn way_out(spec: &LaunchSpec, log: &OwnedFd) -> Result<Option<(String, Vec<OwnedFd>)>, Failure> {
    if spec.way_out.is_none() {
        return Ok(None);
    }
    match WayOut::open() {
        Ok(WayOut { tcp, udp, link }) => {
            let told = LaunchSpec::sockets(tcp.len(), udp.len());
            let all = tcp.into_iter().chain(udp).chain([link]);
            let all = all.map(high).collect::<Result<_, _>>()?;
            Ok(Some((told, all)))
        }
        Err(error) => {
            let text = format!("glass-launch: only the proxy leads out: {error}\n");
            rustix::io::write(log, text.as_bytes()).step("write the guest's log")?;
            Ok(None)
        }
    }
}
