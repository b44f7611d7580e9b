//! The worker's half: one order, its progress, its answer.

use std::io::{self, BufRead, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use jiff::Span;
use object_store::{ObjectStoreExt, PutPayload};
use rustic_core::repofile::{SnapshotFile, SnapshotId};
use rustic_core::{BackupOptions, IndexedIds, LimitOption, PruneOptions, SnapshotOptions, TreeId};
use rustix::process::{Resource, Rlimit};

use crate::backend;
use crate::disk::{Access, Root};
use crate::error::ArchiveError;
use crate::fault::Fault;
use crate::fill;
use crate::location::Location;
use crate::message::{Answer, ArchiveRef, Archived, Disk, Request, Tidied, Work};
use crate::meter::{Listener, Meter};
use crate::repository::{IfMissing, Opened, snapshot_id};
use crate::source::Source;
use crate::survey::{Survey, TOP};

/// How long an archive that nobody names stays: its name may be on the way into the database.
const YOUNG: i64 = 60 * 60;
/// What one tidying moves at most; the rest waits for the next.
const REPACK: &str = "256MiB";

/// Runs a worker: an order from standard input, its answer to standard output. Ends when standard input does.
///
/// # Errors
/// When standard output cannot be written; whatever else goes wrong is the answer.
pub fn work() -> io::Result<()> {
    let mut input = io::stdin().lock();
    let mut line = Vec::new();
    input.read_until(b'\n', &mut line)?;
    drop(input);
    std::thread::spawn(|| {
        // Nothing comes any more but the end, and with the server goes the one who would know of the work.
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        std::process::abort();
    });
    raise_open_files();
    let output = Mutex::new(io::stdout());
    let say = Arc::new(move |answer: &Answer| -> io::Result<()> {
        let mut line = serde_json::to_vec(answer)?;
        line.push(b'\n');
        let mut output = output
            .lock()
            .map_err(|_| io::Error::other("a thread died"))?;
        output.write_all(&line)?;
        output.flush()
    });
    let answer = match serde_json::from_slice::<Request>(&line) {
        Ok(request) => {
            if !matches!(request.work, Work::Fetch { .. }) {
                // Nobody waits for anything but files that are wanted back.
                let _ = rustix::process::nice(10);
            }
            let say = Arc::clone(&say);
            let told = move |now| {
                // Who does not read the progress does not want it.
                let _ = say(&Answer::Progress(now));
            };
            perform(request, Arc::new(told))
        }
        Err(error) => Answer::Failed(ArchiveError::Worker(format!(
            "an order that cannot be read: {error}"
        ))),
    };
    say(&answer)
}

/// Each level of a deep tree is an open directory.
fn raise_open_files() {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    // As it is it does for all but the deepest trees.
    let _ = rustix::process::setrlimit(Resource::Nofile, raised);
}

/// Does the work of one order.
pub(crate) fn perform(request: Request, said: Listener) -> Answer {
    let Request {
        settings,
        key,
        work,
    } = request;
    let done = (|| {
        let location = Location::open(&settings).map_err(|error| ArchiveError::Store {
            location: settings.url.clone(),
            reason: error.0,
        })?;
        let worker = Worker {
            location,
            key,
            said,
        };
        match work {
            Work::Store { sandbox, disk } => worker.store(&sandbox, &disk).map(Answer::Stored),
            Work::Fetch { archive, disk } => worker.fetch(&archive, &disk).map(|()| Answer::Done),
            Work::Verify { archive } => worker.verify(&archive).map(|()| Answer::Done),
            Work::Tidy { wanted, now } => worker.tidy(&wanted, now).map(Answer::Tidied),
            Work::Check => worker.check().map(|()| Answer::Done),
            Work::Make => worker.open().map(|_| Answer::Done),
        }
    })();
    done.unwrap_or_else(Answer::Failed)
}

struct Worker {
    location: Location,
    key: PathBuf,
    said: Listener,
}

impl Worker {
    fn meter(&self, total: u64) -> Meter {
        Meter::new(Arc::clone(&self.said), total)
    }

    fn open(&self) -> Result<Opened, ArchiveError> {
        let opened = Opened::open(&self.location, &self.key, IfMissing::Make)?;
        opened.ok_or_else(|| ArchiveError::Worker("no repository was made".to_owned()))
    }

    /// The repository, which must be there already.
    fn existing(&self, archive: &ArchiveRef) -> Result<Opened, ArchiveError> {
        let opened = Opened::open(&self.location, &self.key, IfMissing::Leave)?;
        opened.ok_or_else(|| ArchiveError::Missing {
            location: self.location.name.clone(),
            archive: archive.to_string(),
        })
    }

    fn store(&self, sandbox: &str, disk: &Disk) -> Result<Archived, ArchiveError> {
        let root = Root::open(disk, Access::Read)?;
        let survey = Survey::of(root.as_fd())?;
        let (entries, bytes) = (survey.entries, survey.bytes);
        let meter = self.meter(bytes.saturating_mul(2));
        let opened = self.open()?.with_ids()?;
        let (snapshot, fault) = snapshot(&opened, sandbox, &root, survey, &meter, false)?;
        let archive = reference(&snapshot)?;
        // From here on there is something in the store; without its name nobody finds it, so it goes again.
        let checked = fault
            .check()
            .and_then(|()| opened.fault.check())
            .and_then(|()| self.read_back(&snapshot.tree, entries, bytes, &meter));
        if let Err(error) = checked {
            let _ = opened.repository.delete_snapshots(&[snapshot.id]);
            return Err(error);
        }
        Ok(Archived {
            archive,
            entries,
            bytes,
            added: snapshot
                .summary
                .map_or(0, |summary| summary.data_added_packed),
        })
    }

    /// Everything that was stored, from the store: a repository opened anew has nothing in memory.
    fn read_back(
        &self,
        tree: &TreeId,
        entries: u64,
        bytes: u64,
        meter: &Meter,
    ) -> Result<(), ArchiveError> {
        let opened = Opened::open(&self.location, &self.key, IfMissing::Leave)?;
        let opened = opened.ok_or_else(|| ArchiveError::Store {
            location: self.location.name.clone(),
            reason: "the repository is gone again".to_owned(),
        })?;
        let indexed = opened.with_index()?;
        let found = indexed.read_back(tree, meter)?;
        if found != (entries, bytes) {
            return Err(indexed.damaged(format!(
                "{} entries with {} bytes came back of {entries} with {bytes}",
                found.0, found.1
            )));
        }
        Ok(())
    }

    fn fetch(&self, archive: &ArchiveRef, disk: &Disk) -> Result<(), ArchiveError> {
        let indexed = self.existing(archive)?.with_index()?;
        let snapshot = indexed.snapshot(archive)?;
        let bytes = snapshot
            .summary
            .as_ref()
            .map_or(0, |summary| summary.total_bytes_processed);
        let meter = self.meter(bytes.saturating_mul(2));
        let root = Root::open(disk, Access::Write)?;
        fill::fill(&indexed, &snapshot.tree, root.as_fd(), &meter)?;
        drop(root);
        if let Disk::Image(path) = disk {
            let synced = std::fs::File::open(path).and_then(|file| file.sync_all());
            synced.map_err(|error| ArchiveError::disk(path.display(), error))?;
        }
        // Mounted anew and walked as for storing it: the tree is the hash of every name, byte and mode.
        let root = Root::open(disk, Access::Read)?;
        let survey = Survey::of(root.as_fd())?;
        let (found, fault) = self::snapshot(&indexed, "", &root, survey, &meter, true)?;
        fault.check()?;
        if found.tree != snapshot.tree {
            return Err(ArchiveError::disk(
                "/",
                "what was written is not what was archived; the archive is as it was, try again",
            ));
        }
        Ok(())
    }

    fn verify(&self, archive: &ArchiveRef) -> Result<(), ArchiveError> {
        let indexed = self.existing(archive)?.with_index()?;
        let snapshot = indexed.snapshot(archive)?;
        let bytes = snapshot
            .summary
            .as_ref()
            .map_or(0, |summary| summary.total_bytes_processed);
        let meter = self.meter(bytes);
        indexed.read_back(&snapshot.tree, &meter).map(drop)
    }

    fn tidy(&self, wanted: &[ArchiveRef], now: i64) -> Result<Tidied, ArchiveError> {
        let Some(opened) = Opened::open(&self.location, &self.key, IfMissing::Leave)? else {
            return Ok(Tidied::default());
        };
        let told = |error: Box<rustic_core::RusticError>| opened.told(&error);
        let wanted = wanted
            .iter()
            .map(snapshot_id)
            .collect::<Result<Vec<_>, _>>()?;
        let unwanted: Vec<SnapshotId> = opened
            .repository
            .get_all_snapshots()
            .map_err(told)?
            .into_iter()
            .filter(|found| {
                !wanted.contains(&found.id) && found.time.timestamp().as_second() + YOUNG < now
            })
            .map(|found| found.id)
            .collect();
        opened
            .repository
            .delete_snapshots(&unwanted)
            .map_err(told)?;
        let mut options = PruneOptions::default();
        // Nobody else works on the repository now, so what is unused may go at once.
        options.instant_delete = true;
        options.max_repack = REPACK.parse::<LimitOption>().map_err(told)?;
        options.keep_pack = Span::new();
        let plan = opened.repository.prune_plan(&options).map_err(told)?;
        let sizes = plan.stats.size_sum();
        let freed = sizes.remove + sizes.repackrm + plan.stats.size_unref;
        opened.repository.prune(&options, plan).map_err(told)?;
        opened.fault.check()?;
        Ok(Tidied {
            forgotten: unwanted.len() as u64,
            freed,
        })
    }

    fn check(&self) -> Result<(), ArchiveError> {
        Opened::open(&self.location, &self.key, IfMissing::Leave)?;
        let store = &self.location.store;
        let path = self.location.prefix.clone().join(format!(
            "check-{}",
            rustic_core::Id::random().to_hex().as_str()
        ));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| ArchiveError::Worker(error.to_string()))?;
        let failed = |doing: &str, error: &object_store::Error| ArchiveError::Store {
            location: self.location.name.clone(),
            reason: format!("{doing}: {}", backend::said(error)),
        };
        runtime.block_on(async {
            const TEXT: &[u8] = b"glasshouse";
            store
                .put(&path, PutPayload::from_static(TEXT))
                .await
                .map_err(|error| failed("writing", &error))?;
            let read = async { store.get(&path).await?.bytes().await }.await;
            let deleted = store.delete(&path).await;
            if read.map_err(|error| failed("reading", &error))? != TEXT {
                return Err(ArchiveError::Damaged {
                    location: self.location.name.clone(),
                    reason: "what was written came back changed".to_owned(),
                });
            }
            deleted.map_err(|error| failed("deleting", &error))
        })
    }
}

/// Has the library walk the disk and store it, or only say what it would store.
fn snapshot<S: IndexedIds>(
    opened: &Opened<S>,
    sandbox: &str,
    root: &Root,
    survey: Survey,
    meter: &Meter,
    dry_run: bool,
) -> Result<(SnapshotFile, Fault), ArchiveError> {
    let fault = Fault::default();
    let source = Source::new(root, survey, meter.clone(), fault.clone())
        .map_err(|error| ArchiveError::disk("/", error))?;
    let mut options = BackupOptions::default();
    // Without an earlier one to compare with every byte is read; what the store has is not stored again all the same.
    options.parent_opts.force = true;
    options.no_scan = true;
    options.dry_run = dry_run;
    let description = SnapshotOptions::default()
        .host("glasshouse".to_owned())
        .label(sandbox.to_owned())
        .command("glasshouse".to_owned());
    let told = |error: Box<rustic_core::RusticError>| {
        fault.check().err().unwrap_or_else(|| opened.told(&error))
    };
    let snapshot = description.to_snapshot().map_err(told)?;
    let snapshot = opened
        .repository
        .archive(&options, &source, snapshot, &[PathBuf::from(TOP)])
        .map_err(told)?;
    Ok((snapshot, fault))
}

fn reference(snapshot: &SnapshotFile) -> Result<ArchiveRef, ArchiveError> {
    snapshot
        .id
        .to_hex()
        .as_str()
        .parse()
        .map_err(ArchiveError::Worker)
}
