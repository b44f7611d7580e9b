//! The server's half: one worker per order.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use glass_types::SandboxId;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{OnceCell, OwnedRwLockReadGuard, RwLock, Semaphore, SemaphorePermit};

use crate::error::ArchiveError;
use crate::location::{LocationError, Settings};
use crate::message::{Answer, ArchiveRef, Archived, Disk, Progress, Request, Tidied, Work};
use crate::worker;

/// Each worker hashes, compresses and encrypts with all it gets; more at once only take memory.
const WORKERS: usize = 2;
/// How often tidying looks whether it is alone.
const ALONE: Duration = Duration::from_secs(20);
/// A worker's lines are short; one that is not is not one of ours.
const LINE: u64 = 64 << 10;
/// How much of what a worker said before it died is told.
const LAST_WORDS: u64 = 4 << 10;

/// Who does the work.
#[derive(Debug, Clone)]
pub enum Worker {
    /// A program of its own, which runs [`work`](crate::work): the server stays small, and is not there when a hostile
    /// tree does harm.
    Program {
        /// The program.
        path: PathBuf,
        /// What makes it a worker.
        arguments: Vec<String>,
    },
    /// A thread of this process, for tests of what is around.
    Thread,
}

/// The archive of one server.
///
/// Every operation may be repeated, and ended at any point by a kill of the worker or the server: what it leaves in
/// the store is unreachable, and [`tidy`](Self::tidy) removes it.
#[derive(Debug)]
pub struct Archive {
    settings: Settings,
    key: PathBuf,
    worker: Worker,
    /// Of those that somebody waits for.
    urgent: Semaphore,
    /// Of all others.
    background: Semaphore,
    /// Whether the repository was made: by one, for of two that make it at once one ruins the other's.
    made: OnceCell<()>,
    /// Tidying repacks, and so must be alone.
    tidying: Arc<RwLock<()>>,
}

/// Files in the archive that no row names yet. As long as this is held they are not tidied away.
#[derive(Debug)]
pub struct Stored {
    /// What was archived.
    pub archived: Archived,
    _untidied: OwnedRwLockReadGuard<()>,
}

impl Archive {
    /// Checks the settings; asks nobody yet. `key` is the file of the encryption key, which is made when it is first
    /// needed.
    ///
    /// # Errors
    /// [`LocationError`] names the field, its value and the remedy.
    pub fn new(settings: Settings, key: PathBuf, worker: Worker) -> Result<Self, LocationError> {
        settings.check()?;
        Ok(Self {
            settings,
            key,
            worker,
            urgent: Semaphore::new(WORKERS),
            background: Semaphore::new(WORKERS),
            made: OnceCell::new(),
            tidying: Arc::default(),
        })
    }

    /// Archives the files of a sandbox that has no process. When it answers, all of it was read back from the store
    /// and compared: once the name is in the database, the local files may go. When `wanted` resolves before, it is
    /// given up at once.
    ///
    /// # Errors
    /// The files are as they were. [`ArchiveError::Interrupted`] when they were wanted.
    pub async fn store(
        &self,
        sandbox: &SandboxId,
        disk: Disk,
        wanted: impl Future<Output = ()> + Send,
    ) -> Result<Stored, ArchiveError> {
        tokio::pin!(wanted);
        let sandbox = sandbox.to_string();
        let (untidied, _place) = tokio::select! {
            begun = self.begin(&self.background) => begun?,
            () = &mut wanted => return Err(ArchiveError::Interrupted),
        };
        self.made
            .get_or_try_init(|| async {
                let answer = self.run(Work::Make, |_| {}, std::future::pending());
                answer.await.and_then(done)
            })
            .await?;
        match self
            .run(Work::Store { sandbox, disk }, |_| {}, wanted)
            .await?
        {
            Answer::Stored(archived) => Ok(Stored {
                archived,
                _untidied: untidied,
            }),
            other => Err(unexpected(&other)),
        }
    }

    /// Fills a disk with the files of an archive; whatever was on it goes. When it answers, the disk was read and is
    /// the archived one, and is on stable storage. The archive stays.
    ///
    /// # Errors
    /// The disk holds something between nothing and all of it, and the archive is as it was: call again.
    pub async fn fetch(
        &self,
        archive: &ArchiveRef,
        disk: Disk,
        progress: impl FnMut(Progress) + Send,
    ) -> Result<(), ArchiveError> {
        let archive = archive.clone();
        let work = Work::Fetch { archive, disk };
        let _begun = self.begin(&self.urgent).await?;
        let answer = self.run(work, progress, std::future::pending()).await?;
        done(answer)
    }

    /// Reads all of an archive from the store and checks it.
    ///
    /// # Errors
    /// [`ArchiveError::Damaged`] or [`ArchiveError::Missing`] when it cannot be had back.
    pub async fn verify(&self, archive: &ArchiveRef) -> Result<(), ArchiveError> {
        let archive = archive.clone();
        self.quietly(Work::Verify { archive }).await
    }

    /// Forgets archives that nobody wants and frees what nothing uses. `wanted` is asked when no other operation is
    /// under way and no [`Stored`] is held; `now` is in seconds since 1970. Archives made within the last hour stay,
    /// wanted or not: a server that was killed may have been about to write their names down.
    ///
    /// # Errors
    /// The store could not be asked, or it is damaged; nothing that is wanted is gone.
    pub async fn tidy<E>(
        &self,
        wanted: impl AsyncFnOnce() -> Result<Vec<ArchiveRef>, E>,
        now: i64,
    ) -> Result<Result<Tidied, ArchiveError>, E> {
        // Not in the queue: behind one that waits to be alone, all who come later would wait too.
        let _alone = loop {
            match self.tidying.try_write() {
                Ok(alone) => break alone,
                Err(_) => tokio::time::sleep(ALONE).await,
            }
        };
        let wanted = wanted().await?;
        let work = Work::Tidy { wanted, now };
        let answer = self.run(work, |_| {}, std::future::pending()).await;
        Ok(match answer {
            Ok(Answer::Tidied(tidied)) => Ok(tidied),
            Ok(other) => Err(unexpected(&other)),
            Err(error) => Err(error),
        })
    }

    /// Writes something to the store, reads it back and removes it; opens what is there with the key.
    ///
    /// # Errors
    /// Says what does not work.
    pub async fn check(&self) -> Result<(), ArchiveError> {
        self.quietly(Work::Check).await
    }

    /// Something that nobody waits for and that answers nothing.
    async fn quietly(&self, work: Work) -> Result<(), ArchiveError> {
        let _begun = self.begin(&self.background).await?;
        let answer = self.run(work, |_| {}, std::future::pending()).await?;
        done(answer)
    }

    /// A place among those that work, when nobody tidies.
    async fn begin<'a>(
        &self,
        places: &'a Semaphore,
    ) -> Result<(OwnedRwLockReadGuard<()>, SemaphorePermit<'a>), ArchiveError> {
        let place = places.acquire().await.map_err(broken)?;
        let shared = Arc::clone(&self.tidying).read_owned().await;
        Ok((shared, place))
    }

    async fn run(
        &self,
        work: Work,
        mut progress: impl FnMut(Progress) + Send,
        given_up: impl Future<Output = ()> + Send,
    ) -> Result<Answer, ArchiveError> {
        let request = Request {
            settings: self.settings.clone(),
            key: self.key.clone(),
            work,
        };
        let (path, arguments) = match &self.worker {
            Worker::Program { path, arguments } => (path, arguments),
            Worker::Thread => {
                return tokio::select! {
                    answer = on_thread(request, progress) => answer,
                    () = given_up => Err(ArchiveError::Interrupted),
                };
            }
        };
        let text = serde_json::to_vec(&request).map_err(broken)?;
        let mut child = Command::new(path)
            .args(arguments)
            // Trees hold times as text, so the same file must give the same text wherever the server is.
            .env("TZ", "UTC")
            // Secrets go by the pipe: arguments and environment can be read by others. The worker ends when the pipe does.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| broken(format!("{}: {error}", path.display())))?;
        let answer = tokio::select! {
            answer = converse(&mut child, &text, &mut progress) => answer,
            () = given_up => Err(ArchiveError::Interrupted),
        };
        // Ended in any case: a worker that said its last word has nothing left to do.
        child.kill().await.map_err(broken)?;
        answer
    }
}

async fn on_thread(
    request: Request,
    mut progress: impl FnMut(Progress) + Send,
) -> Result<Answer, ArchiveError> {
    let (say, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let work = tokio::task::spawn_blocking(move || {
        let told = move |now| {
            // Nobody waits for the answer any more: the work is done all the same.
            let _ = say.send(now);
        };
        worker::perform(request, Arc::new(told))
    });
    while let Some(now) = heard.recv().await {
        progress(now);
    }
    match work.await.map_err(broken)? {
        Answer::Failed(error) => Err(error),
        answer => Ok(answer),
    }
}

/// Says the order, hears the answer.
async fn converse(
    child: &mut Child,
    request: &[u8],
    progress: &mut (impl FnMut(Progress) + Send),
) -> Result<Answer, ArchiveError> {
    let mut input = child.stdin.take().ok_or_else(|| broken("no input"))?;
    let output = child.stdout.take().ok_or_else(|| broken("no output"))?;
    let mut errors = child.stderr.take().ok_or_else(|| broken("no output"))?;
    let last_words = async {
        let mut text = Vec::new();
        let mut first = (&mut errors).take(LAST_WORDS);
        // What cannot be read is not told.
        let _ = first.read_to_end(&mut text).await;
        let _ = tokio::io::copy(&mut errors, &mut tokio::io::sink()).await;
        String::from_utf8_lossy(&text).trim().to_owned()
    };
    let talk = async {
        input.write_all(request).await.map_err(broken)?;
        input.write_all(b"\n").await.map_err(broken)?;
        let mut output = BufReader::new(output);
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = (&mut output).take(LINE).read_until(b'\n', &mut line).await;
            if read.map_err(broken)? == 0 {
                return Ok(None);
            }
            match serde_json::from_slice(&line).map_err(broken)? {
                Answer::Progress(now) => progress(now),
                Answer::Failed(error) => return Err(error),
                answer @ (Answer::Stored(_) | Answer::Tidied(_) | Answer::Done) => {
                    return Ok(Some(answer));
                }
            }
        }
    };
    tokio::pin!(last_words, talk);
    let mut words = None;
    loop {
        tokio::select! {
            answer = &mut talk => {
                return match answer? {
                    Some(answer) => Ok(answer),
                    None => Err(ArchiveError::Worker(match words {
                        Some(words) => words,
                        None => last_words.as_mut().await,
                    })),
                };
            }
            text = &mut last_words, if words.is_none() => words = Some(text),
        }
    }
}

fn done(answer: Answer) -> Result<(), ArchiveError> {
    match answer {
        Answer::Done => Ok(()),
        other => Err(unexpected(&other)),
    }
}

fn broken(reason: impl std::fmt::Display) -> ArchiveError {
    ArchiveError::Worker(reason.to_string())
}

fn unexpected(answer: &Answer) -> ArchiveError {
    ArchiveError::Worker(format!("it answered {answer:?}"))
}
