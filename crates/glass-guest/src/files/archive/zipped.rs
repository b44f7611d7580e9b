//! `zip`: out as a stream; in by way of an unnamed file in the sandbox.
//!
//! A zip says at its end what is in it: modes, links and real sizes stand nowhere else, and what stands before each file
//! may say something different. So it has to be whole before it can be judged. The file is on the sandbox's own disk and
//! within its limit, and memory stays small: its directory, which is held in memory, is measured before it is read.

mod directory;

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::os::fd::OwnedFd;

use glass_guest_protocol::connect::RpcError;
use rustix::fs::{Mode, OFlags, Stat};
use zip::read::{ArchiveOffset, Config};
use zip::write::{SimpleFileOptions, StreamWriter};
use zip::{CompressionMethod, DateTime, ZipArchive, ZipWriter};

use super::super::calendar::Date;
use super::export::{Item, Sink, exactly, walk};
use super::extract::{Extract, failed};
use super::limits::{ENTRIES, refused};
use super::pipe::{Inlet, Outlet};
use directory::Metered;

/// The bits of a mode that say what a file is.
const KIND: u32 = 0o170_000;
const SYMLINK: u32 = 0o120_000;
const REGULAR: u32 = 0o100_000;
const DIRECTORY: u32 = 0o040_000;
/// The longest target of a link.
const TARGET: u64 = 4096;
/// A file of so many bytes needs the larger form.
const LARGE: u64 = u32::MAX as u64;
/// What the archive is called where no entry is to blame.
const WHOLE: &[u8] = b"the zip";

pub(super) fn write(directory: &OwnedFd, outlet: Outlet) -> io::Result<()> {
    let mut zip = Zip(ZipWriter::new_stream(outlet));
    walk(directory, &mut zip)?;
    let mut outlet = zip.0.finish()?.into_inner();
    outlet.flush()
}

struct Zip(ZipWriter<StreamWriter<Outlet>>);

impl Sink for Zip {
    fn add(&mut self, path: &[u8], stat: &Stat, item: Item<'_>) -> io::Result<()> {
        let name = std::str::from_utf8(path).map_err(io::Error::other)?;
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .unix_permissions(stat.st_mode & 0o777)
            .last_modified_time(date(stat.st_mtime));
        match item {
            Item::Directory => self.0.add_directory(name, options)?,
            Item::File(file, size) => {
                // Compressed it may be a little longer than it is.
                self.0
                    .start_file(name, options.large_file(size >= LARGE - (LARGE >> 8)))?;
                io::copy(&mut exactly(file, size), &mut self.0)?;
            }
            Item::Symlink(target) => {
                let target = target.to_str().map_err(|_| {
                    io::Error::other(format!("{name:?} links to what is no text; ask for tar.gz"))
                })?;
                self.0.add_symlink(name, target, options)?;
            }
        }
        Ok(())
    }
}

/// A time as MS-DOS had it, between 1980 and 2107.
fn date(seconds: i64) -> DateTime {
    let date = Date::of(seconds);
    let small = |number: i64| u8::try_from(number).unwrap_or(0);
    DateTime::from_date_and_time(
        u16::try_from(date.year).unwrap_or(1980),
        small(date.month),
        small(date.day),
        small(date.hour),
        small(date.minute),
        small(date.second),
    )
    .unwrap_or_default()
}

/// Unpacks a zip, when all of it has come. `work` is a directory on the disk that it is unpacked to.
pub(super) fn read(
    mut inlet: Inlet,
    work: &OwnedFd,
    extract: &mut Extract,
) -> Result<(), RpcError> {
    let file = spool(&mut inlet, work).map_err(|error| failed(WHOLE, &error))?;
    let entries = directory::entries(&file).map_err(|error| failed(WHOLE, &error))?;
    if entries > ENTRIES {
        return Err(refused(
            WHOLE,
            format!("it has more than {ENTRIES} entries"),
        ));
    }
    // What stands before a zip is not looked for, as all of it would have to be searched.
    let config = Config {
        archive_offset: ArchiveOffset::Known(0),
    };
    let (reader, meter) = Metered::new(BufReader::new(file));
    let mut zip = ZipArchive::with_config(config, reader).map_err(|error| refused(WHOLE, error))?;
    meter.open();
    if zip.has_duplicate_names() {
        return Err(refused(WHOLE, "it has a name twice"));
    }
    if zip
        .has_overlapping_entries()
        .map_err(|error| refused(WHOLE, error))?
    {
        return Err(refused(WHOLE, "its entries share bytes"));
    }
    for index in 0..zip.len() {
        entry(&mut zip, index, extract)?;
    }
    Ok(())
}

fn spool(inlet: &mut Inlet, work: &OwnedFd) -> io::Result<File> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let file: File = rustix::fs::openat(work, ".", flags, Mode::RUSR | Mode::WUSR)?.into();
    let mut writer = BufWriter::with_capacity(128 << 10, file);
    io::copy(inlet, &mut writer)?;
    let mut file = writer
        .into_inner()
        .map_err(io::IntoInnerError::into_error)?;
    file.rewind()?;
    Ok(file)
}

fn entry<R: Read + Seek>(
    zip: &mut ZipArchive<R>,
    index: usize,
    extract: &mut Extract,
) -> Result<(), RpcError> {
    let named = zip
        .by_index_raw(index)
        .map(|file| (file.name_raw().to_vec(), file.encrypted()));
    let (name, encrypted) = named.map_err(|error| refused(WHOLE, error))?;
    if encrypted {
        return Err(refused(
            &name,
            "it is encrypted; pack it without a password",
        ));
    }
    let mut file = zip.by_index(index).map_err(|error| refused(&name, error))?;
    let plain = if name.ends_with(b"/") {
        DIRECTORY | 0o755
    } else {
        REGULAR | 0o644
    };
    let mode = file.unix_mode().unwrap_or(plain);
    match mode & KIND {
        _ if name.ends_with(b"/") => extract.directory(&name),
        DIRECTORY => extract.directory(&name),
        SYMLINK => {
            let mut target = Vec::new();
            let read = (&mut file).take(TARGET + 1).read_to_end(&mut target);
            read.map_err(|error| refused(&name, format!("it cannot be read ({error})")))?;
            extract.symlink(&name, &target)
        }
        0 | REGULAR => {
            let size = file.size();
            extract.file(&name, size, mode, None, &mut file)
        }
        _ => Err(refused(&name, "it is a device or a pipe")),
    }
}
