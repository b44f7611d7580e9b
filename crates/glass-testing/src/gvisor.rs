//! Whether the tests of the tier gvisor can run.

use std::io::Write as _;
use std::path::Path;

/// Whether this host has no `runsc`; says so where nobody overlooks it. Where there is one, it has to work.
#[must_use]
pub fn lacks_runsc() -> bool {
    let dirs = ["/usr/local/bin", "/usr/bin", "/usr/local/sbin", "/usr/sbin"];
    let lacks = !dirs.iter().any(|dir| Path::new(dir).join("runsc").exists());
    if lacks {
        // Not by a macro, whose output the test harness keeps to itself.
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED, NOT TESTED: the isolation tier gvisor. This host has no runsc; install the package runsc"
        );
    }
    lacks
}
