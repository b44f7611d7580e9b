//! `tar.gz`, both ways as a stream.

use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use flate2::Compression;
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;
use glass_guest_protocol::connect::RpcError;
use rustix::fs::Stat;
use tar::{Builder, EntryType, Header};

use super::export::{Item, Sink, exactly, walk};
use super::extract::{Extract, unreadable};
use super::limits::refused;
use super::pipe::{Inlet, Outlet};

const BLOCK: u64 = 512;
/// The longest name or set of pax records that is read.
const RECORD: u64 = 1 << 20;

pub(super) fn write(directory: &OwnedFd, outlet: Outlet) -> io::Result<()> {
    let mut tar = Tar(Builder::new(GzEncoder::new(outlet, Compression::default())));
    walk(directory, &mut tar)?;
    let mut outlet = tar.0.into_inner()?.finish()?;
    io::Write::flush(&mut outlet)
}

struct Tar(Builder<GzEncoder<Outlet>>);

impl Sink for Tar {
    fn add(&mut self, path: &[u8], stat: &Stat, item: Item<'_>) -> io::Result<()> {
        let mut header = Header::new_gnu();
        // Whose the files are in here means nothing elsewhere.
        header.set_uid(0);
        header.set_gid(0);
        header.set_mode(stat.st_mode & 0o777);
        header.set_mtime(u64::try_from(stat.st_mtime).unwrap_or(0));
        header.set_size(0);
        let path = Path::new(OsStr::from_bytes(path));
        match item {
            Item::Directory => {
                header.set_entry_type(EntryType::Directory);
                self.0.append_data(&mut header, path.join(""), io::empty())
            }
            Item::File(file, size) => self.file(header, path, file, size),
            Item::Symlink(target) => self.symlink(header, path, target),
        }
    }
}

impl Tar {
    fn file(
        &mut self,
        mut header: Header,
        path: &Path,
        file: &mut File,
        size: u64,
    ) -> io::Result<()> {
        header.set_entry_type(EntryType::Regular);
        header.set_size(size);
        self.0.append_data(&mut header, path, exactly(file, size))
    }

    fn symlink(&mut self, mut header: Header, path: &Path, target: &CStr) -> io::Result<()> {
        header.set_entry_type(EntryType::Symlink);
        self.0
            .append_link(&mut header, path, OsStr::from_bytes(target.to_bytes()))
    }
}

/// Unpacks a stream.
pub(super) fn read(inlet: Inlet, extract: &mut Extract) -> Result<(), RpcError> {
    let mut entries = Entries {
        reader: MultiGzDecoder::new(BufReader::with_capacity(128 << 10, inlet)),
        last: b"its beginning".to_vec(),
    };
    while let Some((header, overrides)) = entries.next(extract)? {
        entries.one(&header, overrides, extract)?;
    }
    Ok(())
}

/// What stands before a header and overrides it.
#[derive(Default)]
struct Overrides {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    sparse: bool,
}

/// Crate `tar` parses the headers. Its own iterator is not used, because it reads names of any length into memory.
struct Entries<R> {
    reader: R,
    /// The entry that was read last, to say where it broke.
    last: Vec<u8>,
}

impl<R: Read> Entries<R> {
    fn next(&mut self, extract: &mut Extract) -> Result<Option<(Header, Overrides)>, RpcError> {
        let mut overrides = Overrides::default();
        loop {
            let Some(header) = self.header()? else {
                return Ok(None);
            };
            let kind = header.entry_type();
            let is_record = kind.is_gnu_longname()
                || kind.is_gnu_longlink()
                || kind.is_pax_local_extensions()
                || kind.is_pax_global_extensions();
            if !is_record {
                return Ok(Some((header, overrides)));
            }
            // One in front of the other for ever comes to an end.
            extract.limits.record(&self.last)?;
            let record = self.record(&header)?;
            let text = || {
                record
                    .split(|byte| *byte == 0)
                    .next()
                    .unwrap_or_default()
                    .to_vec()
            };
            if kind.is_gnu_longname() {
                overrides.path = Some(text());
            } else if kind.is_gnu_longlink() {
                overrides.link = Some(text());
            } else if kind.is_pax_local_extensions() && overrides.pax(&record).is_none() {
                return Err(refused(&self.last, "after it come malformed pax records"));
            }
        }
    }

    fn one(
        &mut self,
        header: &Header,
        overrides: Overrides,
        extract: &mut Extract,
    ) -> Result<(), RpcError> {
        let path = overrides
            .path
            .unwrap_or_else(|| header.path_bytes().into_owned());
        self.last.clone_from(&path);
        let link = || {
            overrides
                .link
                .clone()
                .or_else(|| header.link_name_bytes().map(std::borrow::Cow::into_owned))
                .unwrap_or_default()
        };
        if overrides.sparse {
            return Err(refused(&path, "sparse files are not supported"));
        }
        let unclear = |error: io::Error| unreadable(&path, &error);
        match header.entry_type() {
            EntryType::Regular | EntryType::Continuous if path.ends_with(b"/") => {
                extract.directory(&path)
            }
            EntryType::Regular | EntryType::Continuous => {
                let size = match overrides.size {
                    Some(size) => size,
                    None => header.entry_size().map_err(unclear)?,
                };
                let mode = header.mode().unwrap_or(0o644);
                let modified = header
                    .mtime()
                    .ok()
                    .and_then(|time| i64::try_from(time).ok());
                extract.file(
                    &path,
                    size,
                    mode,
                    modified,
                    &mut (&mut self.reader).take(size),
                )?;
                self.skip(size.next_multiple_of(BLOCK) - size)
            }
            EntryType::Directory => extract.directory(&path),
            EntryType::Symlink => extract.symlink(&path, &link()),
            EntryType::Link => extract.hard_link(&path, &link()),
            EntryType::GNUSparse => Err(refused(&path, "sparse files are not supported")),
            EntryType::Char | EntryType::Block | EntryType::Fifo => {
                Err(refused(&path, "it is a device or a pipe"))
            }
            _ => Err(refused(&path, "it is neither file, directory nor link")),
        }
    }

    /// The next header; nothing at the end of the archive.
    fn header(&mut self) -> Result<Option<Header>, RpcError> {
        let mut header = Header::new_old();
        let block = header.as_mut_bytes();
        let mut filled = 0;
        while filled < block.len() {
            match self.reader.read(&mut block[filled..]) {
                // Some writers leave out the empty blocks at the end.
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => {
                    return Err(refused(
                        &self.last,
                        "the archive ends after it, within a header",
                    ));
                }
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(unreadable(&self.last, &error)),
            }
        }
        if block.iter().all(|byte| *byte == 0) {
            // The checksum of the compressed stream stands at its end.
            return match io::copy(&mut self.reader, &mut io::sink()) {
                Ok(_) => Ok(None),
                Err(error) => Err(unreadable(&self.last, &error)),
            };
        }
        let sum = block[..148]
            .iter()
            .chain(&block[156..])
            .map(|byte| u32::from(*byte))
            .sum::<u32>()
            + 8 * 32;
        if header.cksum().ok() != Some(sum) {
            return Err(refused(
                &self.last,
                "after it comes no header of a tar archive",
            ));
        }
        Ok(Some(header))
    }

    fn record(&mut self, header: &Header) -> Result<Vec<u8>, RpcError> {
        let size = header
            .entry_size()
            .map_err(|error| unreadable(&self.last, &error))?;
        if size > RECORD {
            return Err(refused(
                &self.last,
                "after it comes a name longer than 1 MiB",
            ));
        }
        let mut record = Vec::new();
        let read = (&mut self.reader).take(size).read_to_end(&mut record);
        read.map_err(|error| unreadable(&self.last, &error))?;
        self.skip(size.next_multiple_of(BLOCK) - size)?;
        Ok(record)
    }

    fn skip(&mut self, bytes: u64) -> Result<(), RpcError> {
        match io::copy(&mut (&mut self.reader).take(bytes), &mut io::sink()) {
            Ok(skipped) if skipped == bytes => Ok(()),
            Ok(_) => Err(refused(&self.last, "the archive ends within it")),
            Err(error) => Err(unreadable(&self.last, &error)),
        }
    }
}

impl Overrides {
    /// Records are `length key=value\n`, the length counting all of it.
    fn pax(&mut self, mut records: &[u8]) -> Option<()> {
        while !records.is_empty() {
            let space = records.iter().position(|byte| *byte == b' ')?;
            let length: usize = std::str::from_utf8(&records[..space]).ok()?.parse().ok()?;
            let record = records.get(space + 1..length)?;
            records = &records[length..];
            let record = record.strip_suffix(b"\n")?;
            let equals = record.iter().position(|byte| *byte == b'=')?;
            let (key, value) = (&record[..equals], &record[equals + 1..]);
            match key {
                b"path" => self.path = Some(value.to_vec()),
                b"linkpath" => self.link = Some(value.to_vec()),
                b"size" => self.size = Some(std::str::from_utf8(value).ok()?.parse().ok()?),
                key => self.sparse |= key.starts_with(b"GNU.sparse."),
            }
        }
        Some(())
    }
}
