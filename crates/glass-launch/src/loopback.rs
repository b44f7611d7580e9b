//! Block devices made of files.
//!
//! Whoever attaches a file locks it first, through the very descriptor that the device then keeps. So the lock is held as
//! long as the device has the file, the kernel keeps a second device from getting it, and whoever waits for the end of
//! the device waits for the lock.
#![expect(unsafe_code, reason = "loop devices are set up by ioctl")]

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

const LOOP_CTL_GET_FREE: libc::c_ulong = 0x4C82;
const LOOP_CONFIGURE: libc::c_ulong = 0x4C0A;
const LOOP_GET_STATUS64: libc::c_ulong = 0x4C05;
const LO_FLAGS_AUTOCLEAR: u32 = 4;
const LO_FLAGS_DIRECT_IO: u32 = 16;
/// Direct input and output works on blocks of this size on every disk there is.
const BLOCK: u32 = 4096;
/// Others may take the free device first; as many as may start at once.
const TRIES: usize = 200;

/// `struct loop_info64` of the kernel.
#[repr(C)]
#[derive(Clone, Copy)]
struct LoopInfo {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

const NOTHING: LoopInfo = LoopInfo {
    device: 0,
    inode: 0,
    rdevice: 0,
    offset: 0,
    size_limit: 0,
    number: 0,
    encrypt_type: 0,
    encrypt_key_size: 0,
    flags: 0,
    file_name: [0; 64],
    crypt_name: [0; 64],
    encrypt_key: [0; 32],
    init: [0; 2],
};

/// `struct loop_config` of the kernel.
#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    info: LoopInfo,
    reserved: [u64; 8],
}

/// How a loop device reads and writes its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Through the page cache.
    Buffered,
    /// Past the page cache, where the file system can.
    Direct,
}

/// Attaches a file, which is open for writing, to a free loop device. The device goes by itself when it is neither open
/// nor mounted any more.
///
/// # Errors
/// [`io::ErrorKind::ResourceBusy`] when the file is attached already, or what the kernel said.
pub fn attach(file: &File, access: Access) -> io::Result<(PathBuf, File)> {
    match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let text = "the file is attached to a loop device already";
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, text));
        }
        Err(e) => return Err(e.into()),
    }
    match configure(file, access) {
        // Not every file system can.
        Err(e) if access == Access::Direct && e.raw_os_error() == Some(libc::EINVAL) => {
            configure(file, Access::Buffered)
        }
        other => other,
    }
}

fn configure(file: &File, access: Access) -> io::Result<(PathBuf, File)> {
    let control = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/loop-control")?;
    let (block_size, flags) = match access {
        Access::Buffered => (0, LO_FLAGS_AUTOCLEAR),
        Access::Direct => (BLOCK, LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO),
    };
    let config = LoopConfig {
        fd: u32::try_from(file.as_raw_fd()).map_err(io::Error::other)?,
        block_size,
        info: LoopInfo { flags, ..NOTHING },
        reserved: [0; 8],
    };
    for _ in 0..TRIES {
        // SAFETY: the request takes no argument.
        let number = unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE) };
        if number < 0 {
            return Err(io::Error::last_os_error());
        }
        let path = PathBuf::from(format!("/dev/loop{number}"));
        let device = OpenOptions::new().read(true).write(true).open(&path)?;
        // SAFETY: the kernel reads a `loop_config`, which lives on this stack and has the kernel's layout.
        let result = unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE, &raw const config) };
        if result == 0 {
            return Ok((path, device));
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::EBUSY) {
            return Err(error);
        }
    }
    Err(io::Error::new(
        io::ErrorKind::ResourceBusy,
        "no loop device stays free",
    ))
}

/// Whether a loop device has this very file.
///
/// # Errors
/// What the kernel said, except that the device is gone or free.
pub fn has(device: &Path, file: &File) -> io::Result<bool> {
    let device = match File::open(device) {
        Ok(device) => device,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(e) if e.raw_os_error() == Some(libc::ENXIO) => return Ok(false),
        Err(e) => return Err(e),
    };
    let mut info = NOTHING;
    // SAFETY: the kernel writes a `loop_info64`, which lives on this stack and has the kernel's layout.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), LOOP_GET_STATUS64, &raw mut info) };
    if result != 0 {
        let error = io::Error::last_os_error();
        return match error.raw_os_error() {
            Some(libc::ENXIO) => Ok(false),
            _ => Err(error),
        };
    }
    let metadata = file.metadata()?;
    Ok((info.device, info.inode) == (metadata.dev(), metadata.ino()))
}

/// The loop device that has this very file, if any has.
///
/// # Errors
/// When the devices cannot be listed or asked.
pub fn find(file: &File) -> io::Result<Option<PathBuf>> {
    let devices = match fs::read_dir("/sys/block") {
        Ok(devices) => devices,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    for device in devices {
        let entry = device?;
        let name = entry.file_name();
        // A device without it is free.
        if name.as_encoded_bytes().starts_with(b"loop") && entry.path().join("loop").exists() {
            let device = Path::new("/dev").join(name);
            if has(&device, file)? {
                return Ok(Some(device));
            }
        }
    }
    Ok(None)
}
