//! Numbered lines on disk, the last of them: two files, and when one is full it takes the place of the older one.
//!
//! A line is written by one call and ends with a line break, so a file that ends otherwise was cut by a crash, and the
//! rest is cut off when it is opened, for which only the end is read: a sandbox that wakes is waited for. Where lines
//! begin is known for some of them only, and only once somebody reads: lines are many, and memory is what a sandbox at
//! rest costs.

use std::fs::File;
use std::io;
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
    pub(super) fn read(&mut self, from: u64) -> Batch {
        if let Some(older) = &mut self.older {
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
    /// Numbers of some lines, and where they begin. None before the first read of what was there.
    marks: Option<Vec<(u64, u64)>>,
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
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::from(io::ErrorKind::InvalidData));
        }
        let mut segment = Self {
            file,
            end: 0,
            last: 0,
            marks: None,
        };
        let length = metadata.len().min(limit + MAX_LINE as u64);
        // Of the last line and one that was cut after it, whatever they are.
        let tail = segment.bytes(length.saturating_sub(2 * MAX_LINE as u64), length)?;
        if let Some((number, cut)) = last_line(&tail) {
            segment.last = number;
            segment.end = length - cut;
        } else {
            segment.count_all(length)?;
        }
        if segment.end < metadata.len() {
            segment.file.set_len(segment.end)?;
        }
        Ok(segment)
    }

    fn bytes(&self, start: u64, end: u64) -> io::Result<Vec<u8>> {
        let length = usize::try_from(end - start).map_err(io::Error::other)?;
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, start)?;
        Ok(bytes)
    }

    /// Finds the lines of a file that does not end in one.
    fn count_all(&mut self, length: u64) -> io::Result<()> {
        self.marks = Some(Vec::new());
        for line in self
            .bytes(0, length)?
            .split_inclusive(|byte| *byte == b'\n')
        {
            match number(line) {
                Some(number) if number > self.last => self.count(number, line.len()),
                Some(_) | None => break,
            }
        }
        Ok(())
    }

    fn count(&mut self, number: u64, length: usize) {
        if let Some(marks) = &mut self.marks {
            mark(marks, number, self.end);
        }
        self.last = number;
        self.end += length as u64;
    }

    /// Where lines begin.
    fn marks(&mut self) -> io::Result<&[(u64, u64)]> {
        if self.marks.is_none() {
            let (mut marks, mut at) = (Vec::new(), 0);
            for line in self
                .bytes(0, self.end)?
                .split_inclusive(|byte| *byte == b'\n')
            {
                if let Some(number) = number(line) {
                    mark(&mut marks, number, at);
                }
                at += line.len() as u64;
            }
            self.marks = Some(marks);
        }
        Ok(self.marks.as_deref().unwrap_or_default())
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

    fn read(&mut self, from: u64) -> Batch {
        if self.last < from.max(1) {
            return Batch {
                lines: Vec::new(),
                is_last: true,
            };
        }
        // Somebody who may has cut it when it cannot be read: what is gone is gone.
        self.find(from).unwrap_or(Batch {
            lines: Vec::new(),
            is_last: true,
        })
    }

    fn find(&mut self, from: u64) -> io::Result<Batch> {
        let marks = self.marks()?;
        let after = marks.partition_point(|(number, _)| *number <= from);
        let start = marks.get(after.saturating_sub(1)).map_or(0, |mark| mark.1);
        let end = self.end.min(start + CHUNK);
        let bytes = self.bytes(start, end)?;
        let lines = bytes
            .split_inclusive(|byte| *byte == b'\n')
            .filter(|line| number(line).is_some_and(|number| number >= from));
        Ok(Batch {
            is_last: end == self.end,
            lines: lines.filter_map(parse).collect(),
        })
    }
}

/// Remembers where a line begins when the one before is far.
fn mark(marks: &mut Vec<(u64, u64)>, number: u64, at: u64) {
    let is_far = |(last, place): &(u64, u64)| *last < number && at - place >= STEP;
    if marks.last().is_none_or(is_far) {
        marks.push((number, at));
    }
}

/// The number of the last whole line, and how many bytes come after it. None when it is no line of ours.
fn last_line(bytes: &[u8]) -> Option<(u64, u64)> {
    let end = bytes.iter().rposition(|byte| *byte == b'\n')?;
    let before = bytes[..end].iter().rposition(|byte| *byte == b'\n');
    let line = &bytes[before.map_or(0, |before| before + 1)..=end];
    let number = number(line).filter(|number| *number > 0)?;
    Some((number, (bytes.len() - end - 1) as u64))
}

/// The number of a line that has all that a line has.
fn number(line: &[u8]) -> Option<u64> {
    let mut fields = line.strip_suffix(b"\n")?.splitn(3, |byte| *byte == b' ');
    let number = field(fields.next()?)?;
    field::<i64>(fields.next()?)?;
    fields.next()?;
    Some(number)
}

fn parse(line: &[u8]) -> Option<Line> {
    let mut fields = line.strip_suffix(b"\n")?.splitn(3, |byte| *byte == b' ');
    Some(Line {
        number: field(fields.next()?)?,
        at: field(fields.next()?)?,
        text: String::from_utf8_lossy(fields.next()?).into_owned(),
    })
}

fn field<T: std::str::FromStr>(bytes: &[u8]) -> Option<T> {
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(journal: &mut Journal, mut from: u64) -> Vec<u64> {
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
            let kept = numbers(&mut journal, 0);
            assert!(kept[0] > 2, "old lines made room");
            assert!(kept.windows(2).all(|pair| pair[1] == pair[0] + 2));
            assert_eq!(kept.last(), Some(&80_000));
            for from in [kept[0] + 1, kept[0] + 7001, 79_999, 80_000, 80_001] {
                let wanted: Vec<u64> = kept
                    .iter()
                    .copied()
                    .filter(|number| *number >= from)
                    .collect();
                assert_eq!(numbers(&mut journal, from), wanted, "from {from}");
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
    fn only_the_end_is_looked_at_before_somebody_reads() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("web.log");
        let text = "x".repeat(MAX_LINE / 2);
        let lines: String = (1..=9).map(|n| format!("{n} 5 {text}\n")).collect();
        std::fs::write(&path, format!("{lines}10 5 {text}")).unwrap();
        let mut journal = Journal::open(&path, 1 << 20).unwrap();
        assert_eq!(journal.last(), 9);
        assert!(journal.newer.marks.is_none());
        let size = || std::fs::metadata(&path).unwrap().len();
        assert_eq!(size(), lines.len() as u64, "the torn line is gone");
        journal.append(10, 5, "last").unwrap();
        assert_eq!(numbers(&mut journal, 0), (1..=10).collect::<Vec<_>>());
        assert_eq!(numbers(&mut journal, 8), [8, 9, 10]);
        assert_eq!(journal.newer.marks.as_ref().unwrap().len(), 10);
    }

    #[test]
    fn what_does_not_end_in_a_line_is_read_to_where_it_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("web.log");
        for (text, kept) in [
            ("1 5 a\n2 5 b\nnonsense\n", vec![1, 2]),
            ("nonsense", vec![]),
            ("1 5 a\n2\n", vec![1]),
            ("", vec![]),
        ] {
            std::fs::write(&path, text).unwrap();
            let mut journal = Journal::open(&path, 1 << 20).unwrap();
            assert_eq!(numbers(&mut journal, 0), kept, "{text}");
            journal.append(7, 5, "next").unwrap();
            assert_eq!(numbers(&mut journal, 7), [7], "{text}");
        }
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
        assert_eq!(numbers(&mut journal, 0), [1, 2]);
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
