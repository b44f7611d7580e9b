//! A headless Chromium for tests, driven over the `WebDriver` protocol.
//!
//! Needs Debian's packages `chromium` and `chromium-driver`. Every browser has a profile of its own; dropping it ends
//! all its processes and removes the profile.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval, timeout};

mod wire;

use wire::Wire;

/// The Enter key, for [`Browser::type_text`].
pub const ENTER: &str = "\u{E007}";

const REMEDY: &str = "install the browser with: apt-get install chromium chromium-driver";
/// The key under which `WebDriver` names an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
const START_LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);
/// After `SIGKILL` a process is gone in milliseconds, unless the machine is very busy.
const DEATH_LIMIT: Timespec = Timespec {
    tv_sec: 5,
    tv_nsec: 0,
};

/// A browser with one window.
#[derive(Debug)]
pub struct Browser {
    wire: Wire,
    /// `/session/<id>`
    session: String,
    processes: Processes,
}

/// An element of the page that was open when it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element(String);

impl Browser {
    /// Starts a browser with an empty profile.
    pub async fn start() -> anyhow::Result<Self> {
        let profile = tempfile::Builder::new()
            .prefix("glass-browser-")
            .tempdir()
            .context("failed to make a directory for the browser's profile")?;
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .env("HOME", profile.path())
            .env("TMPDIR", profile.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("failed to start chromedriver: {REMEDY}"))?;
        let output = driver.stdout.take().context("chromedriver has no output")?;
        let mut processes = Processes {
            driver,
            browser: None,
            output: None,
            profile,
        };
        let (port, output) = timeout(START_LIMIT, driver_port(output))
            .await
            .context("chromedriver did not say its port")??;
        processes.output = Some(output);
        let wire = Wire::new(port);
        let profile = processes.profile.path().join("profile");
        let made = wire
            .post("/session", &capabilities(&profile))
            .await
            .with_context(|| format!("failed to start Chromium; if it is missing, {REMEDY}"))?;
        processes.browser = made["capabilities"]["goog:processID"]
            .as_i64()
            .and_then(|pid| i32::try_from(pid).ok())
            .and_then(Pid::from_raw);
        let id = made["sessionId"]
            .as_str()
            .context("chromedriver gave no session id")?;
        Ok(Self {
            wire,
            session: format!("/session/{id}"),
            processes,
        })
    }

    /// The directory of its own in which profile, crash reports and the like are.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.processes.profile.path()
    }

    /// Opens a URL and waits for the page to load.
    pub async fn open(&self, url: &str) -> anyhow::Result<()> {
        self.post("/url", json!({ "url": url }))
            .await
            .with_context(|| format!("failed to open {url}"))?;
        Ok(())
    }

    /// Loads the page again.
    pub async fn reload(&self) -> anyhow::Result<()> {
        self.post("/refresh", json!({})).await?;
        Ok(())
    }

    /// The first element that a CSS selector matches.
    pub async fn find(&self, css: &str) -> anyhow::Result<Element> {
        let query = json!({ "using": "css selector", "value": css });
        let found = self
            .post("/element", query)
            .await
            .with_context(|| format!("failed to find {css}"))?;
        let id = found[ELEMENT].as_str();
        Ok(Element(
            id.context("the answer names no element")?.to_owned(),
        ))
    }

    /// Clicks the first element that a selector matches, as a mouse would: what covers it gets in the way.
    pub async fn click(&self, css: &str) -> anyhow::Result<()> {
        let Element(id) = self.find(css).await?;
        self.post(&format!("/element/{id}/click"), json!({}))
            .await
            .with_context(|| format!("failed to click {css}"))?;
        Ok(())
    }

    /// Types into the first element that a selector matches. [`ENTER`] is the Enter key.
    pub async fn type_text(&self, css: &str, text: &str) -> anyhow::Result<()> {
        let Element(id) = self.find(css).await?;
        self.post(&format!("/element/{id}/value"), json!({ "text": text }))
            .await
            .with_context(|| format!("failed to type into {css}"))?;
        Ok(())
    }

    /// What people read in the first element that a selector matches.
    pub async fn text(&self, css: &str) -> anyhow::Result<String> {
        let Element(id) = self.find(css).await?;
        let text = self
            .wire
            .get(&format!("{}/element/{id}/text", self.session))
            .await?;
        Ok(text
            .as_str()
            .context("the text is not a string")?
            .to_owned())
    }

    /// The value of a JavaScript expression. Promises are waited for.
    pub async fn eval(&self, js: &str) -> anyhow::Result<Value> {
        let call = json!({ "script": format!("return (\n{js}\n);"), "args": [] });
        self.post("/execute/sync", call)
            .await
            .with_context(|| format!("failed to evaluate {js}"))
    }

    /// Waits until a selector matches.
    pub async fn wait_for(&self, css: &str, limit: Duration) -> anyhow::Result<Element> {
        // The selector becomes a JavaScript string; JSON is one.
        let js = format!("document.querySelector({}) !== null", json!(css));
        self.wait_until(&js, limit)
            .await
            .with_context(|| format!("{css} did not appear"))?;
        self.find(css).await
    }

    /// Waits until a JavaScript expression is true, across page loads.
    pub async fn wait_until(&self, js: &str, limit: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + limit;
        let mut tick = interval(POLL);
        loop {
            tick.tick().await;
            // While a page is being replaced, evaluating fails: that is not yet the condition.
            let outcome = self.eval(&format!("!!({js})")).await;
            if matches!(outcome, Ok(Value::Bool(true))) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let last = outcome
                    .err()
                    .map_or_else(|| "false".to_owned(), |error| format!("{error:#}"));
                let page = self.eval(PAGE).await.unwrap_or_default();
                bail!("{js} was not true within {limit:?}; at the end: {last}; the page: {page}");
            }
        }
    }

    /// What the page and its scripts wrote to the console since the last call, errors included.
    pub async fn console(&self) -> anyhow::Result<Vec<String>> {
        let log = self.post("/se/log", json!({ "type": "browser" })).await?;
        let entries = log.as_array().context("the log is not a list")?;
        let line = |entry: &Value| {
            format!(
                "{}: {}",
                entry["level"].as_str().unwrap_or_default(),
                entry["message"].as_str().unwrap_or_default()
            )
        };
        Ok(entries.iter().map(line).collect())
    }

    /// Writes what the window shows as a PNG file.
    pub async fn screenshot(&self, path: &Path) -> anyhow::Result<()> {
        let image = self
            .wire
            .get(&format!("{}/screenshot", self.session))
            .await?;
        let image = STANDARD.decode(image.as_str().context("the screenshot is not text")?)?;
        if let Some(parent) = path.parent() {
            tokio::fs::create_dir_all(parent).await?;
        }
        tokio::fs::write(path, image)
            .await
            .with_context(|| format!("failed to write {}", path.display()))
    }

    async fn post(&self, path: &str, body: Value) -> anyhow::Result<Value> {
        self.wire
            .post(&format!("{}{path}", self.session), &body)
            .await
    }
}

/// What a failed wait says about the page.
const PAGE: &str = "({ url: location.href, title: document.title, \
    text: (document.body?.innerText ?? '').slice(0, 300) })";

fn capabilities(profile: &Path) -> Value {
    let arguments = [
        "--headless=new".to_owned(),
        "--no-sandbox".to_owned(),
        "--disable-gpu".to_owned(),
        "--disable-quic".to_owned(),
        "--disable-dev-shm-usage".to_owned(),
        "--no-first-run".to_owned(),
        "--disable-background-networking".to_owned(),
        "--disable-component-update".to_owned(),
        "--disable-sync".to_owned(),
        "--window-size=1280,900".to_owned(),
        format!("--user-data-dir={}", profile.display()),
    ];
    json!({ "capabilities": { "alwaysMatch": {
        "browserName": "chrome",
        "goog:chromeOptions": { "args": arguments },
        "goog:loggingPrefs": { "browser": "ALL" },
        "timeouts": { "script": 30_000, "pageLoad": 60_000, "implicit": 0 },
    } } })
}

/// Reads the port off the driver's output, and goes on reading so that the driver never waits for us.
async fn driver_port(
    output: impl AsyncRead + Unpin + Send + 'static,
) -> anyhow::Result<(u16, JoinHandle<()>)> {
    let mut lines = BufReader::new(output).lines();
    while let Some(line) = lines.next_line().await? {
        if let Some((_, port)) = line.split_once("started successfully on port ") {
            let port = port.trim_end_matches('.').parse()?;
            let rest =
                tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return Ok((port, rest));
        }
    }
    Err(anyhow!("chromedriver ended without saying its port"))
}

/// The driver and the browser, each the leader of its own process group.
#[derive(Debug)]
struct Processes {
    driver: Child,
    browser: Option<Pid>,
    output: Option<JoinHandle<()>>,
    /// Dropped after the processes are gone, so that none writes into it any more.
    profile: TempDir,
}

impl Drop for Processes {
    fn drop(&mut self) {
        // The browser first: while the driver lives and does not wait for it, its id cannot be another process's.
        let driver = self.driver.id().and_then(|id| i32::try_from(id).ok());
        for leader in [self.browser, driver.and_then(Pid::from_raw)]
            .into_iter()
            .flatten()
        {
            let Ok(handle) = pidfd_open(leader, PidfdFlags::empty()) else {
                continue;
            };
            let _ = kill_process_group(leader, Signal::KILL);
            let _ = poll(
                &mut [PollFd::new(&handle, PollFlags::IN)],
                Some(&DEATH_LIMIT),
            );
        }
        if let Some(output) = self.output.take() {
            output.abort();
        }
    }
}

#[cfg(test)]
mod tests;
