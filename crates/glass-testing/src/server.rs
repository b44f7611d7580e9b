//! A `glasshouse` of the test's own: the real binary, a data directory and a port that nobody else uses.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

/// How long a server may take until it is ready.
const READY: Duration = Duration::from_secs(60);

/// What a test wants of its server.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// The binary under test.
    pub binary: PathBuf,
    /// `native` or `sim`.
    pub runtime: &'static str,
    /// An image store to share; each server has its own otherwise.
    pub images: Option<PathBuf>,
    /// Added to its environment.
    pub env: Vec<(String, String)>,
}

/// A running server. Killed, with all its sandboxes, when it is dropped.
#[derive(Debug)]
pub struct TestServer {
    options: ServerOptions,
    data: PathBuf,
    /// Goes with the server, when the data directory is its own.
    _temporary: Option<tempfile::TempDir>,
    port: u16,
    child: Option<Child>,
}

/// What a command of the client printed.
#[derive(Debug, Clone)]
pub struct CliOutput {
    /// How it ended.
    pub status: ExitStatus,
    /// What it printed.
    pub stdout: String,
    /// What it complained.
    pub stderr: String,
}

impl TestServer {
    /// Starts a server and waits until it is ready.
    ///
    /// # Errors
    /// With the server's log when it does not become ready.
    pub async fn start(options: ServerOptions) -> anyhow::Result<Self> {
        let data = tempfile::Builder::new()
            .prefix("glasshouse-test-")
            .tempdir_in("/var/tmp")?;
        let path = data.path().to_owned();
        Self::start_on(options, path, Some(data)).await
    }

    /// Starts a server on a data directory that stays, and that nobody else uses meanwhile.
    ///
    /// # Errors
    /// With the server's log when it does not become ready.
    pub async fn start_in(options: ServerOptions, data: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(data)?;
        Self::start_on(options, data.to_owned(), None).await
    }

    async fn start_on(
        options: ServerOptions,
        data: PathBuf,
        temporary: Option<tempfile::TempDir>,
    ) -> anyhow::Result<Self> {
        let link = data.join("images");
        if let Some(images) = options.images.as_ref().filter(|_| !link.exists()) {
            std::os::unix::fs::symlink(images, link)?;
        }
        // Given back at once, so the server can have it; it stays the same over restarts, as a user's would.
        let port = std::net::TcpListener::bind("127.0.0.1:0")?
            .local_addr()?
            .port();
        let mut server = Self {
            options,
            data,
            _temporary: temporary,
            port,
            child: None,
        };
        server.launch().await?;
        Ok(server)
    }

    /// Starts the server again after [`TestServer::kill`].
    ///
    /// # Errors
    /// With the server's log when it does not become ready.
    pub async fn launch(&mut self) -> anyhow::Result<()> {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.log_path())?;
        let mut command = Command::new(&self.options.binary);
        command
            .args([
                "serve",
                "--runtime",
                self.options.runtime,
                "--listen",
                &format!("127.0.0.1:{}", self.port),
            ])
            .arg("--data")
            .arg(&self.data)
            .env_remove("ANTHROPIC_API_KEY")
            .env_remove("ANTHROPIC_BASE_URL")
            .env_remove("OPENAI_API_KEY")
            .env_remove("OPENAI_BASE_URL")
            .envs(self.options.env.iter().cloned())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true);
        let mut child = command
            .spawn()
            .with_context(|| format!("cannot run {}", self.options.binary.display()))?;
        let started = Instant::now();
        let client = reqwest_client();
        loop {
            if let Ok(answer) = client.get(self.url("/readyz")).send().await
                && answer.status().is_success()
            {
                break;
            }
            if let Some(status) = child.try_wait()? {
                bail!("the server ended with {status}:\n{}", self.log());
            }
            if started.elapsed() > READY {
                bail!("the server is not ready after {READY:?}:\n{}", self.log());
            }
            // Nothing tells of a listener that is about to appear, so this asks again.
            sleep(Duration::from_millis(20)).await;
        }
        self.child = Some(child);
        Ok(())
    }

    /// `kill -9`: the server has no chance to write or to say anything.
    ///
    /// # Errors
    /// When there is none to kill.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        let mut child = self.child.take().context("the server does not run")?;
        child.kill().await?;
        Ok(())
    }

    /// A URL of the server.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// The port it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its data directory.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The process id of the server.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    /// The API token.
    ///
    /// # Errors
    /// When its file cannot be read.
    pub fn token(&self) -> anyhow::Result<String> {
        Ok(std::fs::read_to_string(self.data.join("token"))?
            .trim()
            .to_owned())
    }

    /// What the server has logged.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.data.join("server.log")
    }

    /// A command of the client, ready to be changed and run.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.options.binary);
        command
            .args(arguments)
            .env("GLASSHOUSE_DATA", &self.data)
            .env(
                "GLASSHOUSE_SERVER",
                format!("http://127.0.0.1:{}", self.port),
            )
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// Runs a command of the client to its end, within three minutes.
    ///
    /// # Errors
    /// When it cannot be run or does not end.
    pub async fn cli(&self, arguments: &[&str]) -> anyhow::Result<CliOutput> {
        let run = timeout(Duration::from_secs(180), self.command(arguments).output()).await;
        let output =
            run.with_context(|| format!("glasshouse {arguments:?} did not end\n{}", self.log()))??;
        Ok(CliOutput {
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Runs a command of the client that must succeed and answers what it printed.
    ///
    /// # Errors
    /// With everything it printed and the server's log when it fails.
    pub async fn ok(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = self.cli(arguments).await?;
        if !output.status.success() {
            bail!(
                "glasshouse {arguments:?}: {}\n{}\n{}\n--- server:\n{}",
                output.status,
                output.stdout,
                output.stderr,
                self.log()
            );
        }
        Ok(output.stdout)
    }

    /// Sends a request to the API with the token and answers status and JSON.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn api(
        &self,
        method: &str,
        path: &str,
        body: Option<serde_json::Value>,
    ) -> anyhow::Result<(u16, serde_json::Value)> {
        let mut request = reqwest_client()
            .request(method.parse()?, self.url(path))
            .bearer_auth(self.token()?);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await?;
        let status = answer.status().as_u16();
        let text = answer.text().await?;
        let json = serde_json::from_str(&text).unwrap_or(serde_json::Value::String(text));
        Ok((status, json))
    }

    /// Makes a sandbox through the API and answers its id.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn sandbox(&self, params: serde_json::Value) -> anyhow::Result<String> {
        let (status, answer) = self.api("POST", "/v1/sandboxes", Some(params)).await?;
        let id = answer["id"].as_str().filter(|_| status == 201);
        Ok(id
            .with_context(|| format!("{status}: {answer}\n{}", self.log()))?
            .to_owned())
    }

    /// Runs a shell command in a sandbox and answers its exit code and everything it printed.
    ///
    /// # Errors
    /// When the server does not run it.
    pub async fn exec(&self, sandbox: &str, command: &str) -> anyhow::Result<(i64, String)> {
        let body = serde_json::json!({ "command": command });
        let (status, answer) = self
            .api("POST", &format!("/v1/sandboxes/{sandbox}/exec"), Some(body))
            .await?;
        let code = answer["exit_code"].as_i64().filter(|_| status == 200);
        let code = code.with_context(|| format!("exec {command:?}: {status}: {answer}"))?;
        let text = |field: &str| answer[field].as_str().unwrap_or_default().to_owned();
        Ok((code, text("stdout") + &text("stderr")))
    }
}

impl Drop for TestServer {
    /// Removes every sandbox with the binary's own means, so that a failed test leaves nothing behind, either.
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let mut remove = std::process::Command::new(&self.options.binary);
            remove
                .args(["rm", "--all", "--force"])
                .env("GLASSHOUSE_DATA", &self.data)
                .env(
                    "GLASSHOUSE_SERVER",
                    format!("http://127.0.0.1:{}", self.port),
                )
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            drop(remove.status());
            drop(child.start_kill());
            let pid = child
                .id()
                .and_then(|pid| Pid::from_raw(pid.try_into().ok()?));
            if let Some(pid) = pid {
                // Only waited for: tokio collects it.
                let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
                waitid(WaitId::Pid(pid), options).ok();
            }
        }
        // One that was killed has left the pool of its sandboxes' disks mounted.
        let pool = self.data.join("runtime/pool");
        unmount(&pool, UnmountFlags::NOFOLLOW).ok();
    }
}

/// An HTTP client for tests: no proxy, no redirect.
fn reqwest_client() -> reqwest::Client {
    // A second installation of the same provider is refused, which is as good.
    drop(rustls::crypto::ring::default_provider().install_default());
    reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(120))
        .build()
        .expect("a client without any option that can fail")
}

/// Where a picture or log of this run is kept: `artefacts/` beside the workspace's `Cargo.toml`.
///
/// # Errors
/// When the directory cannot be made.
pub fn artefact(name: &str) -> anyhow::Result<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../artefacts");
    std::fs::create_dir_all(&directory)?;
    Ok(directory.canonicalize()?.join(name))
}
