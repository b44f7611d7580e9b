//! Pseudo-terminals.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use glass_guest_protocol::process::{ProcessData, PtySize};
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::Ends;
use crate::child::Streams;

/// Opens a terminal. The user opens it, so that it is the user's.
pub(super) async fn open(size: Option<PtySize>) -> io::Result<(Streams, Ends)> {
    let (master, slave) = tokio::task::spawn_blocking(pair)
        .await
        .map_err(io::Error::other)??;
    resize(&master, size.unwrap_or(PtySize { cols: 80, rows: 24 }))?;
    let streams = Streams {
        stdin: slave.try_clone()?.into(),
        stdout: slave.try_clone()?.into(),
        stderr: slave.into(),
        terminal: true,
    };
    let master = Arc::new(super::nonblocking(master)?);
    let ends = Ends {
        input: None,
        terminal: Some(Arc::clone(&master)),
        outputs: vec![(master, ProcessData::Pty)],
    };
    Ok((streams, ends))
}

fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let name = ptsname(&master, Vec::new())?;
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let slave = rustix::fs::open(name.as_c_str(), flags, Mode::empty())?;
    Ok((master, slave))
}

pub(super) fn resize(master: &OwnedFd, size: PtySize) -> io::Result<()> {
    let size = Winsize {
        ws_row: size.rows,
        ws_col: size.cols,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    Ok(tcsetwinsize(master, size)?)
}
