//! Numbered lines on disk, the last of them: two files, and when one is full it takes the place of the older one.
//!
//! A line is written by one call and ends with a line break, so a file that ends otherwise was cut by a crash, and the
//! rest is cut off when it is opened. Where lines begin is known for some of them only: lines are many, and memory is
//! what a sandbox at rest costs.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// A place in the file is remembered about every so many bytes.
const STEP: u64 = 32 << 10;
/// The longest line, with its number and time. A read takes in at least one.
const MAX_LINE: usize = 192 << 10;
/// What one read takes in.
const CHUNK: u64 = STEP + MAX_LINE as u64;

/// A line as it was added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) number: u64,
    pub(super) at: i64,
    pub(super) text: String,
}

/// Some lines, in order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Batch {
    pub(super) lines: Vec<Line>,
    /// Whether there is nothing after them.
    pub(super) is_last: bool,
}

/// The lines of one writer.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    /// The size of a file.
    limit: u64,
    older: Option<Segment>,
    newer: Segment,
}

impl Journal {
    /// Opens what is there, or makes it.
    pub(super) fn open(path: &Path, limit: u64) -> io::Result<Self> {
        let older = Segment::open(&older(path), limit, false);
        Ok(Self {
            path: path.to_owned(),
            limit,
            older: older.ok().filter(|segment| segment.last > 0),
            newer: Segment::open(path, limit, true)?,
        })
    }

    /// The number of the last line; 0 when there is none.
    pub(super) fn last(&self) -> u64 {
        let older = self.older.as_ref().map_or(0, |segment| segment.last);
        self.newer.last.max(older)
    }

    /// Adds a line. Its number is higher than every one before.
    pub(super) fn append(&mut self, number: u64, at: i64, text: &str) -> io::Result<()> {
        let line = format!("{number} {at} {}\n", text.replace('\n', " "));
        if line.len() > MAX_LINE {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        if self.newer.end > 0 && self.newer.end + line.len() as u64 > self.limit {
            match std::fs::rename(&self.path, older(&self.path)) {
                // By the call before, which could not make the next one.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                moved => moved?,
            }
            let next = Segment::open(&self.path, self.limit, true)?;
            self.older = Some(std::mem::replace(&mut self.newer, next));
        }
        self.newer.append(number, line.as_bytes())
    }

    /// Lines from a number on, as many as one read finds.
    pub(super) fn read(&self, from: u64) -> Batch {
        if let Some(older) = &self.older {
            let batch = older.read(from);
            if !batch.lines.is_empty() {
                return Batch {
                    is_last: false,
                    ..batch
                };
            }
        }
        self.newer.read(from)
    }
}

fn older(path: &Path) -> PathBuf {
    path.with_extension("old")
}

/// One file.
#[derive(Debug)]
struct Segment {
    file: File,
    end: u64,
    /// The number of its last line; 0 when there is none.
    last: u64,
    /// Numbers of some lines, and where they begin.
    marks: Vec<(u64, u64)>,
}

impl Segment {
    fn open(path: &Path, limit: u64, create: bool) -> io::Result<Self> {
        let file = File::options()
            .create(create)
            .truncate(false)
            .read(true)
            .write(true)
            // Nothing but a file of ours, and nothing to wait for.
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::from(io::ErrorKind::InvalidData));
        }
        let mut bytes = Vec::new();
        (&file)
            .take(limit + MAX_LINE as u64)
            .read_to_end(&mut bytes)?;
        let mut segment = Self {
            file,
            end: 0,
            last: 0,
            marks: Vec::new(),
        };
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            match parse(line) {
                Some(known) if known.number > segment.last => {
                    segment.count(known.number, line.len());
                }
                Some(_) | None => break,
            }
        }
        segment.file.set_len(segment.end)?;
        Ok(segment)
    }

    fn count(&mut self, number: u64, length: usize) {
        let is_far = |(_, at): &(u64, u64)| self.end - at >= STEP;
        if self.marks.last().is_none_or(is_far) {
            self.marks.push((number, self.end));
        }
        self.last = number;
        self.end += length as u64;
    }

    fn append(&mut self, number: u64, line: &[u8]) -> io::Result<()> {
        if let Err(error) = self.file.write_all_at(line, self.end) {
            // Half a line must not be taken for one; if this fails too, opening cuts it off.
            let _ = self.file.set_len(self.end);
            return Err(error);
        }
        self.count(number, line.len());
        Ok(())
    }

    fn read(&self, from: u64) -> Batch {
        let none = Batch {
            lines: Vec::new(),
            is_last: true,
        };
        if self.last < from.max(1) {
            return none;
        }
        let after = self.marks.partition_point(|(number, _)| *number <= from);
        let start = self.marks[after.saturating_sub(1)].1;
        let end = self.end.min(start + CHUNK);
        let Ok(length) = usize::try_from(end - start) else {
            return none;
        };
        let mut bytes = vec![0; length];
        if self.file.read_exact_at(&mut bytes, start).is_err() {
            // Somebody who may has cut it: what is gone is gone.
            return none;
        }
        let lines: Vec<Line> = bytes
            .split_inclusive(|byte| *byte == b'\n')
            .filter_map(parse)
            .filter(|line| line.number >= from)
            .collect();
        Batch {
            is_last: end == self.end,
            lines,
        }
    }
}

fn parse(line: &[u8]) -> Option<Line> {
    let text = String::from_utf8_lossy(line.strip_suffix(b"\n")?);
    let mut fields = text.splitn(3, ' ');
    Some(Line {
        number: fields.next()?.parse().ok()?,
        at: fields.next()?.parse().ok()?,
        text: fields.next()?.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(journal: &Journal, mut from: u64) -> Vec<u64> {
        let mut numbers = Vec::new();
        loop {
            let batch = journal.read(from);
            numbers.extend(batch.lines.iter().map(|line| line.number));
            if batch.is_last {
                return numbers;
            }
            from = numbers.last().unwrap() + 1;
        }
    }

    #[test]
    fn the_last_lines_are_kept_within_two_files_and_read_from_any_number() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("web.log");
        let mut journal = Journal::open(&path, 256 << 10).unwrap();
        for number in 1..=40_000 {
            journal.append(number * 2, 7, "a line of the app").unwrap();
        }
        let sizes: u64 = std::fs::read_dir(directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().metadata().unwrap().len())
            .sum();
        assert!((256 << 10..=512 << 10).contains(&sizes), "{sizes}");
        for reopened in [false, true] {
            if reopened {
                journal = Journal::open(&path, 256 << 10).unwrap();
            }
            let kept = numbers(&journal, 0);
            assert!(kept[0] > 2, "old lines made room");
            assert!(kept.windows(2).all(|pair| pair[1] == pair[0] + 2));
            assert_eq!(kept.last(), Some(&80_000));
            for from in [kept[0] + 1, kept[0] + 7001, 79_999, 80_000, 80_001] {
                let wanted: Vec<u64> = kept
                    .iter()
                    .copied()
                    .filter(|number| *number >= from)
                    .collect();
                assert_eq!(numbers(&journal, from), wanted, "from {from}");
            }
        }
    }

    #[test]
    fn a_torn_line_is_cut_off() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("web.log");
        std::fs::write(&path, "1 5 whole line\n2 6 to").unwrap();
        let mut journal = Journal::open(&path, 1 << 20).unwrap();
        assert_eq!(journal.last(), 1);
        journal.append(2, 8, "next\nline").unwrap();
        let lines = journal.read(1).lines;
        assert_eq!(lines[0].text, "whole line");
        assert_eq!((lines[1].at, lines[1].text.as_str()), (8, "next line"));
    }

    #[test]
    fn a_file_that_could_not_be_made_once_is_made_the_next_time() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("web.log");
        let mut journal = Journal::open(&path, 100).unwrap();
        journal.append(1, 5, &"x".repeat(90)).unwrap();
        // As it is after a rotation that came no further.
        std::fs::rename(&path, older(&path)).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(journal.append(2, 5, &"y".repeat(90)).is_err());
        std::fs::remove_dir(&path).unwrap();
        journal.append(2, 5, &"y".repeat(90)).unwrap();
        assert_eq!(numbers(&journal, 0), [1, 2]);
    }

    #[test]
    fn what_is_no_file_is_not_opened() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("web.log");
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, mode).unwrap();
        assert!(Journal::open(&path, 1 << 20).is_err());
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", &path).unwrap();
        assert!(Journal::open(&path, 1 << 20).is_err());
    }
}
