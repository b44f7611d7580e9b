//! The process that keeps a disk: nobody ends it by ending somebody else.

use std::io::{self, Read};

use glass_launch::{KeepSpec, keep};

use crate::sys;

pub(crate) fn run() -> io::Result<()> {
    rustix::process::setsid()?;
    sys::ignore_requests_to_end()?;
    // It holds a sandbox still, so it is the last to be killed for want of memory. Not every host allows that.
    drop(std::fs::write("/proc/self/oom_score_adj", "-1000"));
    let mut text = Vec::new();
    io::stdin().read_to_end(&mut text)?;
    let spec: KeepSpec = serde_json::from_slice(&text)?;
    keep(&spec)
}
