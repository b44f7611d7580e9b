//! Room for the next start on a disk that is full.
//!
//! Blocks are kept for the sandbox's root by an option of the mount; for inodes there is none, and root of a sandbox
//! whose root is writable takes the blocks too. Making the tree needs some that nobody has afterwards, so files that
//! nobody sees hold them while the sandbox runs.

use std::fs::File;
use std::io;
use std::path::Path;

use glass_launch::remove_tree;

const DIRECTORY: &str = "disk/spare";
/// Overlay takes six at the most for a moment; the others are for what it may want one day.
const COUNT: u32 = 16;
/// A block or a few in each.
const BYTES: u64 = 16 << 10;

/// Gives back what was kept.
pub(crate) fn release() -> io::Result<()> {
    remove_tree(Path::new(DIRECTORY))
}

/// Keeps as much as there is. A disk so full that it has nothing left starts all the same.
pub(crate) fn keep() {
    let directory = Path::new(DIRECTORY);
    let kept: io::Result<()> = std::fs::create_dir(directory).and_then(|()| {
        (0..COUNT).try_for_each(|number| {
            let file = File::create(directory.join(number.to_string()))?;
            let whole = rustix::fs::FallocateFlags::empty();
            Ok(rustix::fs::fallocate(&file, whole, 0, BYTES)?)
        })
    });
    drop(kept);
}
