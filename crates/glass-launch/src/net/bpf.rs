//! The `bpf` system call, as far as the way out needs it.
#![expect(unsafe_code, reason = "bpf has no safe wrapper")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

const MAP_CREATE: libc::c_int = 0;
const MAP_UPDATE: libc::c_int = 2;
const PROGRAM_LOAD: libc::c_int = 5;
const LINK_CREATE: libc::c_int = 28;

const MAP_TYPE_SOCKMAP: u32 = 15;
const PROGRAM_TYPE_SK_LOOKUP: u32 = 30;
const ATTACH_SK_LOOKUP: u32 = 36;

/// One command's arguments; each of them is a plain structure without padding, whose unnamed rest the kernel takes as
/// zero.
fn call<T>(command: libc::c_int, attributes: &T) -> io::Result<libc::c_int> {
    // SAFETY: the kernel reads the given size of a structure that lives for the call. Pointers in it are made from
    // references by the callers below, which outlive the call too.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_ref(attributes),
            size_of::<T>(),
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    libc::c_int::try_from(result).map_err(io::Error::other)
}

fn descriptor(number: libc::c_int) -> OwnedFd {
    // SAFETY: the kernel has just opened it for us alone. It is closed on exec, as bpf's always are.
    unsafe { OwnedFd::from_raw_fd(number) }
}

fn number(socket: BorrowedFd<'_>) -> io::Result<u32> {
    u32::try_from(socket.as_raw_fd()).map_err(io::Error::other)
}

fn address<T>(of: &T) -> u64 {
    std::ptr::from_ref(of) as u64
}

/// Sockets by number, for the program.
#[derive(Debug)]
pub(super) struct SocketMap(OwnedFd);

impl SocketMap {
    pub(super) fn new(slots: u32) -> io::Result<Self> {
        #[repr(C)]
        struct Attributes {
            map_type: u32,
            key_size: u32,
            value_size: u32,
            max_entries: u32,
        }
        let attributes = Attributes {
            map_type: MAP_TYPE_SOCKMAP,
            key_size: 4,
            value_size: 4,
            max_entries: slots,
        };
        call(MAP_CREATE, &attributes).map(|map| Self(descriptor(map)))
    }

    pub(super) fn put(&self, slot: u32, socket: BorrowedFd<'_>) -> io::Result<()> {
        #[repr(C)]
        struct Attributes {
            map: u32,
            reserved: u32,
            key: u64,
            value: u64,
            flags: u64,
        }
        let value = number(socket)?;
        let attributes = Attributes {
            map: u32::try_from(self.as_raw_fd()).map_err(io::Error::other)?,
            reserved: 0,
            key: address(&slot),
            value: address(&value),
            flags: 0,
        };
        call(MAP_UPDATE, &attributes).map(drop)
    }

    pub(super) fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// Has the kernel check and take a program.
pub(super) fn load(program: &[u64]) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Attributes {
        program_type: u32,
        instruction_count: u32,
        instructions: u64,
        license: u64,
        log_level: u32,
        log_size: u32,
        log: u64,
        kernel_version: u32,
        flags: u32,
        name: [u8; 16],
        interface: u32,
        attach_type: u32,
    }
    let attributes = Attributes {
        program_type: PROGRAM_TYPE_SK_LOOKUP,
        instruction_count: u32::try_from(program.len()).map_err(io::Error::other)?,
        instructions: program.as_ptr() as u64,
        license: c"Dual MIT/GPL".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel_version: 0,
        flags: 0,
        name: *b"glass_way_out\0\0\0",
        interface: 0,
        attach_type: ATTACH_SK_LOOKUP,
    };
    call(PROGRAM_LOAD, &attributes).map(descriptor)
}

/// Has a network namespace ask the program. It does as long as the result is open.
pub(super) fn attach(program: BorrowedFd<'_>, namespace: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Attributes {
        program: u32,
        target: u32,
        attach_type: u32,
        flags: u32,
    }
    let attributes = Attributes {
        program: number(program)?,
        target: number(namespace)?,
        attach_type: ATTACH_SK_LOOKUP,
        flags: 0,
    };
    call(LINK_CREATE, &attributes).map(descriptor)
}
