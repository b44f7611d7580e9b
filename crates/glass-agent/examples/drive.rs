//! Drives turns of a real agent as a plain child process, without a sandbox, and prints the events.
//!
//! ```text
//! drive <agent id> <gateway url> <directory> [option…] <prompt>…
//!   --argv "node /path/index.js"   instead of the manifest's command
//!   --env NAME=VALUE               added to the environment
//!   --model <name>                 instead of the demo model
//!   --cancel-after <seconds>       cancels every turn then
//!   --kill-after <seconds>         kills the agent then, once; later prompts resume in a new process
//! ```
//!
//! Home, workspace and the logs (`<key>.jsonl`) are under the directory.
#![expect(clippy::print_stdout, reason = "a tool for the terminal")]

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, bail};
use async_trait::async_trait;
use futures::stream::BoxStream;
use glass_agent::{
    AgentCommand, AgentContext, AgentLine, AgentLink, AgentRegistry, EventSink, LineSource,
    LinkError, TurnJob, drive,
};
use glass_types::Event;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader};
use tokio::process::{ChildStdin, Command};
use tokio::sync::{Mutex as AsyncMutex, watch};

#[derive(Default)]
struct Options {
    agent: String,
    gateway: String,
    dir: PathBuf,
    argv: Option<Vec<String>>,
    env: BTreeMap<String, String>,
    model: Option<String>,
    cancel_after: Option<Duration>,
    kill_after: Option<Duration>,
    prompts: Vec<String>,
}

fn options() -> anyhow::Result<Options> {
    let mut args = std::env::args().skip(1);
    let mut next = |what: &str| args.next().with_context(|| format!("{what} is missing"));
    let mut options = Options {
        agent: next("agent id")?,
        gateway: next("gateway url")?,
        dir: next("directory")?.into(),
        ..Options::default()
    };
    while let Ok(arg) = next("") {
        match arg.as_str() {
            "--argv" => {
                options.argv = Some(next("command")?.split(' ').map(str::to_owned).collect());
            }
            "--env" => {
                let pair = next("NAME=VALUE")?;
                let (name, value) = pair.split_once('=').context("--env takes NAME=VALUE")?;
                options.env.insert(name.to_owned(), value.to_owned());
            }
            "--model" => options.model = Some(next("model")?),
            "--cancel-after" => options.cancel_after = Some(seconds(&next("seconds")?)?),
            "--kill-after" => options.kill_after = Some(seconds(&next("seconds")?)?),
            _ => options.prompts.push(arg),
        }
    }
    if options.prompts.is_empty() {
        bail!("a prompt is missing");
    }
    Ok(options)
}

fn seconds(text: &str) -> anyhow::Result<Duration> {
    Ok(Duration::try_from_secs_f64(text.parse()?)?)
}

/// The guest's part, in this process.
struct Processes {
    dir: PathBuf,
    running: Mutex<BTreeMap<String, Arc<Process>>>,
}

struct Process {
    log: Mutex<Vec<AgentLine>>,
    file: Mutex<std::fs::File>,
    grown: watch::Sender<usize>,
    stdin: AsyncMutex<ChildStdin>,
    taken: Mutex<HashSet<String>>,
    pid: u32,
}

impl Process {
    fn log(&self, source: LineSource, text: &str) {
        use std::io::Write;
        let mut log = self.log.lock().expect("no thread panics with the log");
        let number = log.len() as u64 + 1;
        let source_name = format!("{source:?}").to_lowercase();
        let entry = serde_json::json!({"number": number, "source": source_name, "text": text});
        let mut file = self.file.lock().expect("no thread panics with the file");
        // The log is for reading along; the turn does not need it.
        let _ = writeln!(file, "{entry}");
        log.push(AgentLine {
            number,
            source,
            text: text.to_owned(),
        });
        self.grown.send_replace(log.len());
    }

    async fn copy(self: Arc<Self>, from: impl AsyncRead + Unpin, source: LineSource) {
        let mut lines = BufReader::new(from).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            self.log(source, &line);
        }
    }
}

impl Processes {
    fn get(&self, key: &str) -> Result<Arc<Process>, LinkError> {
        let running = self.running.lock().expect("no thread panics with the map");
        running
            .get(key)
            .cloned()
            .ok_or_else(|| LinkError::Unknown(key.to_owned()))
    }

    fn kill(&self, key: &str) -> anyhow::Result<()> {
        let pid = self.get(key)?.pid.to_string();
        // The agent leads its own process group.
        std::process::Command::new("kill")
            .args(["-9", "--", &format!("-{pid}")])
            .status()?;
        Ok(())
    }
}

#[async_trait]
impl AgentLink for Processes {
    async fn start(&self, key: &str, command: &AgentCommand) -> Result<(), LinkError> {
        if self.get(key).is_ok() {
            return Ok(());
        }
        let start = |error: std::io::Error| LinkError::Start(error.to_string());
        let home = self.dir.join("home");
        let mut child = Command::new(&command.argv[0])
            .args(&command.argv[1..])
            .env("HOME", home)
            .envs(&command.env)
            .current_dir(&command.cwd)
            .process_group(0)
            .kill_on_drop(true)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(start)?;
        let file = std::fs::File::create(self.dir.join(format!("{key}.jsonl"))).map_err(start)?;
        let process = Arc::new(Process {
            log: Mutex::default(),
            file: Mutex::new(file),
            grown: watch::Sender::new(0),
            stdin: AsyncMutex::new(child.stdin.take().expect("stdin is a pipe")),
            taken: Mutex::default(),
            pid: child.id().expect("nobody waited for it yet"),
        });
        let stdout = child.stdout.take().expect("stdout is a pipe");
        let stderr = child.stderr.take().expect("stderr is a pipe");
        let out = tokio::spawn(process.clone().copy(stdout, LineSource::Stdout));
        let err = tokio::spawn(process.clone().copy(stderr, LineSource::Stderr));
        let ending = process.clone();
        tokio::spawn(async move {
            let status = child.wait().await;
            let _ = out.await;
            let _ = err.await;
            let words = status.map_or_else(|error| error.to_string(), |status| status.to_string());
            ending.log(LineSource::Exit, &words);
        });
        let mut running = self.running.lock().expect("no thread panics with the map");
        running.insert(key.to_owned(), process);
        Ok(())
    }

    async fn send(&self, key: &str, once: &str, line: &str) -> Result<(), LinkError> {
        let process = self.get(key)?;
        let mut stdin = process.stdin.lock().await;
        if !process
            .taken
            .lock()
            .expect("no thread panics with the set")
            .insert(once.to_owned())
        {
            return Ok(());
        }
        process.log(LineSource::Stdin, line);
        // A process that is gone shows in the log.
        let _ = stdin.write_all(format!("{line}\n").as_bytes()).await;
        let _ = stdin.flush().await;
        Ok(())
    }

    async fn lines(
        &self,
        key: &str,
        from: u64,
    ) -> Result<BoxStream<'static, Result<AgentLine, LinkError>>, LinkError> {
        let process = self.get(key)?;
        let grown = process.grown.subscribe();
        let first = usize::try_from(from)
            .unwrap_or(usize::MAX)
            .saturating_sub(1);
        let state = (process, grown, first, false);
        Ok(Box::pin(futures::stream::unfold(
            state,
            |(process, mut grown, at, over)| async move {
                if over {
                    return None;
                }
                grown.wait_for(|length| *length > at).await.ok()?;
                let line = process.log.lock().expect("no thread panics with the log")[at].clone();
                let over = line.source == LineSource::Exit;
                Some((Ok(line), (process, grown, at + 1, over)))
            },
        )))
    }

    async fn stop(&self, key: &str) -> Result<(), LinkError> {
        self.kill(key)
            .map_err(|error| LinkError::Broken(error.to_string()))
    }
}

struct Printer(tokio::time::Instant);

#[async_trait]
impl EventSink for Printer {
    async fn append(&self, line: u64, events: Vec<Event>) -> anyhow::Result<()> {
        for event in events {
            let seconds = self.0.elapsed().as_secs_f64();
            println!("{seconds:6.2} {line:4} {}", short(&format!("{event:?}")));
        }
        Ok(())
    }
}

fn short(text: &str) -> String {
    text.chars().take(400).collect()
}

fn prepare(dir: &Path) -> anyhow::Result<PathBuf> {
    let workspace = dir.join("workspace");
    std::fs::create_dir_all(dir.join("home"))?;
    std::fs::create_dir_all(&workspace)?;
    Ok(workspace.canonicalize()?)
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut options = options()?;
    let workspace = prepare(&options.dir)?;
    let registry = AgentRegistry::load(None)?;
    let agent = registry.get(&options.agent)?;
    let context = AgentContext {
        gateway_url: options.gateway.clone(),
        token: "sandbox-token".to_owned(),
        model: options.model.unwrap_or_else(|| agent.demo_model.clone()),
        home: options.dir.join("home").display().to_string(),
        cwd: workspace.display().to_string(),
    };
    let mut command = agent.command(&context);
    command.env.append(&mut options.env);
    if let Some(argv) = options.argv {
        command.argv = argv;
    }
    let link = Arc::new(Processes {
        dir: options.dir.clone(),
        running: Mutex::default(),
    });
    let mut process_key = agent.id.clone();
    let mut resume_session = None;
    for (nth, prompt) in options.prompts.iter().enumerate() {
        println!("> {prompt}");
        let job = TurnJob {
            task: format!("task{nth}"),
            agent: agent.clone(),
            process_key,
            command: command.clone(),
            resume_session,
            prompt: prompt.clone(),
            model: context.model.clone(),
            last_stored_line: 0,
        };
        let cancel_after = options.cancel_after;
        let cancel = async move {
            match cancel_after {
                Some(time) => tokio::time::sleep(time).await,
                None => std::future::pending().await,
            }
        };
        if let Some(time) = options.kill_after.take() {
            let (link, key) = (link.clone(), job.process_key.clone());
            tokio::spawn(async move {
                tokio::time::sleep(time).await;
                link.kill(&key)
            });
        }
        let sink = Printer(tokio::time::Instant::now());
        let outcome = drive(link.as_ref(), &sink, &job, cancel).await?;
        println!("{:6.2} {outcome:?}", sink.0.elapsed().as_secs_f64());
        process_key = outcome.process_key;
        resume_session = outcome.acp_session;
    }
    let keys: Vec<_> = link
        .running
        .lock()
        .expect("no thread panics with the map")
        .keys()
        .cloned()
        .collect();
    for key in keys {
        link.stop(&key).await?;
    }
    Ok(())
}
