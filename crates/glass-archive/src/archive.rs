//! The server's half: one worker per order.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;

use glass_types::SandboxId;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{RwLock, Semaphore};

use crate::error::ArchiveError;
use crate::location::{LocationError, Settings};
use crate::message::{Answer, ArchiveRef, Archived, Disk, Progress, Request, Tidied, Work};
use crate::worker;

/// Each worker hashes, compresses and encrypts with all it gets; more at once only take memory.
const WORKERS: usize = 2;
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
    places: Semaphore,
    /// Tidying repacks, and so must be alone.
    tidying: Arc<RwLock<()>>,
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
            places: Semaphore::new(WORKERS),
            tidying: Arc::default(),
        })
    }

    /// Archives the files of a sandbox that has no process. When it answers, all of it was read back from the store
    /// and compared: once the name is in the database, the local files may go.
    ///
    /// # Errors
    /// The files are as they were.
    pub async fn store(
        &self,
        sandbox: &SandboxId,
        disk: Disk,
        progress: impl FnMut(Progress) + Send,
    ) -> Result<Archived, ArchiveError> {
        let sandbox = sandbox.to_string();
        match self.order(Work::Store { sandbox, disk }, progress).await? {
            Answer::Stored(archived) => Ok(archived),
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
        self.done(Work::Fetch { archive, disk }, progress).await
    }

    /// Reads all of an archive from the store and checks it.
    ///
    /// # Errors
    /// [`ArchiveError::Damaged`] or [`ArchiveError::Missing`] when it cannot be had back.
    pub async fn verify(
        &self,
        archive: &ArchiveRef,
        progress: impl FnMut(Progress) + Send,
    ) -> Result<(), ArchiveError> {
        let archive = archive.clone();
        self.done(Work::Verify { archive }, progress).await
    }

    /// Removes the name of an archive from the store; one that is not there is gone already. What it alone used goes
    /// with the next [`tidy`](Self::tidy).
    ///
    /// # Errors
    /// The store could not be asked.
    pub async fn forget(&self, archive: &ArchiveRef) -> Result<(), ArchiveError> {
        let archive = archive.clone();
        self.done(Work::Forget { archive }, |_| {}).await
    }

    /// Forgets archives that nobody wants and frees what nothing uses. `wanted` is asked when no other operation is
    /// under way; `now` is in seconds since 1970. Archives made within the last hour stay, wanted or not: their names
    /// may be on the way into the database.
    ///
    /// # Errors
    /// The store could not be asked, or it is damaged; nothing that is wanted is gone.
    pub async fn tidy<E>(
        &self,
        wanted: impl AsyncFnOnce() -> Result<Vec<ArchiveRef>, E>,
        now: i64,
    ) -> Result<Result<Tidied, ArchiveError>, E> {
        let _alone = self.tidying.write().await;
        let wanted = wanted().await?;
        let answer = self.run(Work::Tidy { wanted, now }, |_| {}).await;
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
        self.done(Work::Check, |_| {}).await
    }

    async fn done(
        &self,
        work: Work,
        progress: impl FnMut(Progress) + Send,
    ) -> Result<(), ArchiveError> {
        match self.order(work, progress).await? {
            Answer::Done => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    async fn order(
        &self,
        work: Work,
        progress: impl FnMut(Progress) + Send,
    ) -> Result<Answer, ArchiveError> {
        let _shared = self.tidying.read().await;
        let _place = self.places.acquire().await.map_err(broken)?;
        self.run(work, progress).await
    }

    async fn run(
        &self,
        work: Work,
        mut progress: impl FnMut(Progress) + Send,
    ) -> Result<Answer, ArchiveError> {
        let request = Request {
            settings: self.settings.clone(),
            key: self.key.clone(),
            work,
        };
        let (path, arguments) = match &self.worker {
            Worker::Program { path, arguments } => (path, arguments),
            Worker::Thread => return on_thread(request, progress).await,
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
        let answer = converse(&mut child, &text, &mut progress).await;
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

fn broken(reason: impl std::fmt::Display) -> ArchiveError {
    ArchiveError::Worker(reason.to_string())
}

fn unexpected(answer: &Answer) -> ArchiveError {
    ArchiveError::Worker(format!("it answered {answer:?}"))
}
