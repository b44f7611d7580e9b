//! The entries of a tar archive, one after the other.
//!
//! Crate `tar` parses the headers. Its own iterator is not used: it reads long names and pax records of any length
//! into memory, and cuts pax records at line ends, which breaks binary attributes.

use std::io::{self, Read};

use tar::{EntryType, Header};

use crate::archive::{ArchiveError, Limits};

const BLOCK: usize = 512;
/// The longest name or set of pax records that is read.
const RECORDS_LIMIT: u64 = 1 << 20;

/// One entry, without its bytes.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) path: Vec<u8>,
    pub(crate) link: Vec<u8>,
    pub(crate) kind: EntryType,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: i64,
    pub(crate) size: u64,
    pub(crate) attributes: Vec<(String, Vec<u8>)>,
}

/// Reads entries from a stream.
pub(crate) struct Entries<R> {
    reader: Bounded<R>,
    /// What is left of the entry's bytes, and of the padding after them.
    data: u64,
    padding: u64,
    /// The limits that the stream is read under.
    limits: Limits,
    entries: u64,
}

/// What stands before a header and overrides it.
#[derive(Default)]
struct Overrides {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u64>,
    gid: Option<u64>,
    mtime: Option<i64>,
    attributes: Vec<(String, Vec<u8>)>,
    sparse: bool,
}

impl<R: Read> Entries<R> {
    pub(crate) fn new(reader: R, limits: Limits) -> Self {
        // Headers and padding come on top of the files' bytes.
        let bytes = limits
            .bytes
            .saturating_add(limits.entries.saturating_mul(4 * BLOCK as u64));
        Self {
            reader: Bounded {
                inner: reader,
                left: bytes.saturating_add(RECORDS_LIMIT),
            },
            data: 0,
            padding: 0,
            limits,
            entries: 0,
        }
    }

    /// The next entry. What was not read of the one before is skipped.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>, ArchiveError> {
        let mut overrides = Overrides::default();
        loop {
            self.skip(self.data + self.padding)?;
            (self.data, self.padding) = (0, 0);
            let Some(header) = self.header()? else {
                return Ok(None);
            };
            self.entries += 1;
            if self.entries > self.limits.entries {
                return Err(self.too_large(&header.path_bytes(), "entries"));
            }
            let size = header.entry_size().map_err(ArchiveError::Unreadable)?;
            let kind = header.entry_type();
            if kind.is_gnu_longname() || kind.is_gnu_longlink() {
                let mut name = self.record(size)?;
                while name.last() == Some(&0) {
                    name.pop();
                }
                if kind.is_gnu_longname() {
                    overrides.path = Some(name);
                } else {
                    overrides.link = Some(name);
                }
            } else if kind.is_pax_local_extensions() {
                let records = self.record(size)?;
                overrides
                    .pax(&records)
                    .ok_or_else(|| cut("malformed pax records"))?;
            } else if kind.is_pax_global_extensions() {
                // Comments of whoever made the archive; nobody uses them for more.
                self.record(size)?;
            } else {
                return self.entry(&header, size, overrides).map(Some);
            }
        }
    }

    /// The bytes of the entry that [`Self::next`] has given.
    pub(crate) fn data(&mut self) -> impl Read + '_ {
        Data(self)
    }

    /// Reads what follows the end of the archive, which belongs to its digest.
    pub(crate) fn drain(mut self) -> Result<(), ArchiveError> {
        io::copy(&mut self.reader, &mut io::sink()).map_err(|e| self.unreadable(e))?;
        Ok(())
    }

    fn entry(
        &mut self,
        header: &Header,
        size: u64,
        overrides: Overrides,
    ) -> Result<Entry, ArchiveError> {
        let path = overrides
            .path
            .unwrap_or_else(|| header.path_bytes().into_owned());
        if overrides.sparse || header.entry_type().is_gnu_sparse() {
            return Err(ArchiveError::entry(&path, "sparse files are not supported"));
        }
        let kind = header.entry_type();
        // Only files have bytes; some writers give the size of a link's target in its header.
        let size = if kind.is_file() || kind.is_contiguous() {
            overrides.size.unwrap_or(size)
        } else {
            0
        };
        if size > self.limits.bytes {
            return Err(self.too_large(&path, "bytes"));
        }
        self.data = size;
        self.padding = size.next_multiple_of(BLOCK as u64) - size;
        let number = |number: u64| {
            u32::try_from(number)
                .map_err(|_| ArchiveError::entry(&path, "its owner is no number of 32 bits"))
        };
        // Some writers leave fields empty that mean nothing for the kind of entry.
        let field = |bytes: &[u8], number: io::Result<u64>| {
            if bytes.iter().all(|b| matches!(b, 0 | b' ')) {
                Ok(0)
            } else {
                number.map_err(ArchiveError::Unreadable)
            }
        };
        Ok(Entry {
            link: match overrides.link {
                Some(link) => link,
                None => header
                    .link_name_bytes()
                    .map(std::borrow::Cow::into_owned)
                    .unwrap_or_default(),
            },
            kind,
            mode: u32::try_from(
                field(&header.as_old().mode, header.mode().map(u64::from))? & 0o7777,
            )
            .unwrap_or(0),
            uid: number(
                overrides
                    .uid
                    .map_or_else(|| field(&header.as_old().uid, header.uid()), Ok)?,
            )?,
            gid: number(
                overrides
                    .gid
                    .map_or_else(|| field(&header.as_old().gid, header.gid()), Ok)?,
            )?,
            mtime: overrides.mtime.map_or_else(
                || {
                    field(&header.as_old().mtime, header.mtime())
                        .map(|m| i64::try_from(m).unwrap_or(0))
                },
                Ok,
            )?,
            size,
            attributes: overrides.attributes,
            path,
        })
    }

    /// The next header; nothing at the end of the archive.
    fn header(&mut self) -> Result<Option<Header>, ArchiveError> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match self.reader.read(&mut block[filled..]) {
                // Some writers leave out the two empty blocks at the end.
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(cut("it ends within a header")),
                Ok(n) => filled += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(self.unreadable(e)),
            }
        }
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let sum = block[..148]
            .iter()
            .chain(&block[156..])
            .map(|b| u32::from(*b))
            .sum::<u32>()
            + 8 * 32;
        let header = Header::from_byte_slice(&block);
        if header.cksum().map_err(ArchiveError::Unreadable)? != sum {
            return Err(cut("a header has a wrong checksum"));
        }
        Ok(Some(header.clone()))
    }

    fn record(&mut self, size: u64) -> Result<Vec<u8>, ArchiveError> {
        if size > RECORDS_LIMIT {
            return Err(cut("a name or its attributes are longer than 1 MiB"));
        }
        self.data = size;
        self.padding = size.next_multiple_of(BLOCK as u64) - size;
        let mut record = Vec::new();
        Data(self)
            .read_to_end(&mut record)
            .map_err(ArchiveError::Unreadable)?;
        Ok(record)
    }

    fn skip(&mut self, bytes: u64) -> Result<(), ArchiveError> {
        let skipped = io::copy(&mut (&mut self.reader).take(bytes), &mut io::sink())
            .map_err(|e| self.unreadable(e))?;
        if skipped < bytes {
            return Err(cut("it ends within a file"));
        }
        Ok(())
    }

    fn too_large(&self, path: &[u8], unit: &'static str) -> ArchiveError {
        ArchiveError::TooLarge {
            entry: crate::archive::shown(path),
            limit: if unit == "bytes" {
                self.limits.bytes
            } else {
                self.limits.entries
            },
            unit,
        }
    }

    fn unreadable(&self, error: io::Error) -> ArchiveError {
        if error.kind() == io::ErrorKind::FileTooLarge {
            self.too_large(b"the end", "bytes")
        } else {
            ArchiveError::Unreadable(error)
        }
    }
}

fn cut(reason: &'static str) -> ArchiveError {
    ArchiveError::Unreadable(io::Error::new(io::ErrorKind::InvalidData, reason))
}

/// The bytes of one entry. An archive that ends within them is an error, not the end of the file.
struct Data<'a, R>(&'a mut Entries<R>);

impl<R: Read> Read for Data<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.0.data)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let n = self.0.reader.read(&mut buffer[..most])?;
        if n == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "it ends within a file",
            ));
        }
        self.0.data -= n as u64;
        Ok(n)
    }
}

/// A stream that may not go on for ever.
struct Bounded<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.left = self
            .left
            .checked_sub(n as u64)
            .ok_or(io::ErrorKind::FileTooLarge)?;
        Ok(n)
    }
}

impl Overrides {
    /// Takes over pax records: `<length> <key>=<value>\n`, where the value may hold any bytes.
    fn pax(&mut self, mut records: &[u8]) -> Option<()> {
        while !records.is_empty() {
            let space = records.iter().position(|b| *b == b' ')?;
            let length: usize = std::str::from_utf8(&records[..space]).ok()?.parse().ok()?;
            let record = records.get(space + 1..length)?.strip_suffix(b"\n")?;
            records = &records[length..];
            let equals = record.iter().position(|b| *b == b'=')?;
            let key = std::str::from_utf8(&record[..equals]).ok()?;
            let value = &record[equals + 1..];
            let number = || std::str::from_utf8(value).ok()?.parse().ok();
            match key {
                "path" => self.path = Some(value.to_owned()),
                "linkpath" => self.link = Some(value.to_owned()),
                "size" => self.size = Some(number()?),
                "uid" => self.uid = Some(number()?),
                "gid" => self.gid = Some(number()?),
                "mtime" => {
                    let text = std::str::from_utf8(value).ok()?;
                    self.mtime = Some(text.split('.').next()?.parse().ok()?);
                }
                key => {
                    if let Some(name) = key.strip_prefix("SCHILY.xattr.") {
                        self.attributes.push((name.to_owned(), value.to_owned()));
                    }
                    self.sparse |= key.starts_with("GNU.sparse.");
                }
            }
        }
        Some(())
    }
}
