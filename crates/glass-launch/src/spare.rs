//! Room for the next start on a disk whose user took every inode.
//!
//! Blocks are kept for the sandbox's root by an option of the mount; for inodes there is none. Making the tree needs some
//! that nobody has afterwards, so empty files hold them while the user's programs run.

use std::fs::File;
use std::io;
use std::path::Path;

use glass_launch::remove_tree;

const DIRECTORY: &str = "disk/spare";
/// Overlay takes six at the most for a moment; the others are for what it may want one day.
const COUNT: u32 = 16;

/// Gives back what was kept.
pub(crate) fn release() -> io::Result<()> {
    remove_tree(Path::new(DIRECTORY))
}

/// Keeps as much as there is. A disk so full that it has nothing left starts all the same.
pub(crate) fn keep() {
    let directory = Path::new(DIRECTORY);
    let kept: io::Result<()> = std::fs::create_dir(directory).and_then(|()| {
        (0..COUNT).try_for_each(|number| File::create(directory.join(number.to_string())).map(drop))
    });
    drop(kept);
}
