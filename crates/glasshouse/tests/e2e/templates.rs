//! Each template that comes along: built once, then a sandbox of it whose app answers without a single download.

mod recipes;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use glass_testing::browser::{Browser, ENTER};
use glass_testing::{TestServer, artefact, cache};
use rustix::fs::{FlockOperation, flock};
use serde_json::json;
use tokio::time::Instant;

use crate::harness::{PAGE, options};

/// Where packages come from. Some machines reach them at a mirror in a private range.
const REGISTRIES: &str = r#"[egress]
allow = [
  "registry.npmjs.org:443",
  "pypi.org:443",
  "files.pythonhosted.org:443",
  "index.crates.io:443",
  "static.crates.io:443",
  "deb.debian.org:80",
]
"#;
const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../templates");

/// A template, and what is seen of it.
struct Case {
    name: &'static str,
    title: &'static str,
    heading: &'static str,
    /// A program whose edit shows without the page being loaded again.
    hot: Option<&'static str>,
    /// The page has a line to write into, and shows what was written.
    writes: bool,
    /// A host that it asks, without which it works as well.
    asks: Option<&'static str>,
}

const fn case(name: &'static str, title: &'static str, heading: &'static str) -> Case {
    Case {
        name,
        title,
        heading,
        hot: None,
        writes: false,
        asks: None,
    }
}

impl Case {
    const fn hot(mut self, file: &'static str) -> Self {
        self.hot = Some(file);
        self
    }

    const fn writes(mut self) -> Self {
        self.writes = true;
        self
    }

    const fn asks(mut self, host: &'static str) -> Self {
        self.asks = Some(host);
        self
    }
}

const CASES: [Case; 9] = [
    case("static", "Hello", "Something good starts here"),
    case("react-vite", "App", "Your app starts here").hot("src/App.tsx"),
    // Next.js wants to tell that there is a newer one, and nothing turns that off.
    case("nextjs", "App", "Your app starts here")
        .hot("app/page.tsx")
        .asks("registry.npmjs.org"),
    case("node-express", "Notes", "Notes").writes(),
    case("fastapi", "Notes", "Notes").writes(),
    case("flask", "Guest book", "Guest book").writes(),
    case("streamlit", "Dashboard", "Your dashboard starts here"),
    case("fullstack", "To-do", "To-do")
        .hot("frontend/src/App.tsx")
        .writes(),
    case("rust-axum", "Notes", "Notes").writes(),
];

#[tokio::test(flavor = "multi_thread")]
async fn templates_show_their_page_without_a_download() -> anyhow::Result<()> {
    let server = Cached::server().await?;
    let mut built = Instant::now();
    for case in &CASES {
        let output = server
            .command(&["template", "build", case.name])
            .output()
            .await?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "{}: {said}\n{}",
            case.name,
            server.log()
        );
        eprintln!("{said}{}: built in {:.1?}", case.name, built.elapsed());
        built = Instant::now();
    }
    for case in &CASES {
        let first_page = look(&server, case).await.context(case.name)?;
        eprintln!("{}: first page after {first_page:.1?}", case.name);
    }
    Ok(())
}

/// A server whose data directory stays from run to run: what it has built is built again only when that would give
/// something else.
struct Cached {
    server: Option<TestServer>,
    _lock: std::fs::File,
}

impl std::ops::Deref for Cached {
    type Target = TestServer;

    fn deref(&self) -> &TestServer {
        self.server.as_ref().expect("it is there until the end")
    }
}

impl Drop for Cached {
    fn drop(&mut self) {
        // Before the lock.
        self.server = None;
    }
}

impl Cached {
    async fn server() -> anyhow::Result<Self> {
        let data = cache()?.join("templates");
        std::fs::create_dir_all(&data)?;
        let lock = std::fs::File::create(data.with_extension("lock"))?;
        let lock = tokio::task::spawn_blocking(move || {
            flock(&lock, FlockOperation::LockExclusive).map(|()| lock)
        })
        .await??;
        std::fs::write(data.join("glasshouse.toml"), REGISTRIES)?;
        let server = match TestServer::start_in(options(&[]).await?, &data).await {
            Ok(server) => server,
            Err(_) => {
                // It may be of another time, with other tables.
                std::fs::remove_dir_all(&data)?;
                std::fs::create_dir_all(&data)?;
                std::fs::write(data.join("glasshouse.toml"), REGISTRIES)?;
                TestServer::start_in(options(&[]).await?, &data).await?
            }
        };
        // What a run that was killed has left.
        server.cli(&["rm", "--all", "--force"]).await?;
        Ok(Self {
            server: Some(server),
            _lock: lock,
        })
    }
}

/// Looks at a template, and tells how long its first page took.
async fn look(server: &TestServer, case: &Case) -> anyhow::Result<Duration> {
    let began = Instant::now();
    let sandbox = server
        .sandbox(json!({ "template": case.name, "ports": [3000], "egress": { "mode": "none" } }))
        .await?;
    let url = format!("http://3000-{sandbox}.preview.localhost:{}/", server.port());
    let browser = Browser::start().await?;
    browser.open(&url).await?;
    let shown = format!(
        "[...document.querySelectorAll('h1')].some(h => h.textContent.trim() === {})",
        json!(case.heading)
    );
    if let Err(error) = browser.wait_until(&shown, PAGE * 3).await {
        let picture = artefact(&format!("template-{}-failed.png", case.name))?;
        browser.screenshot(&picture).await?;
        let (_, app) = server
            .api("GET", &format!("/v1/sandboxes/{sandbox}/app"), None)
            .await?;
        return Err(error.context(app.to_string()));
    }
    let first_page = began.elapsed();
    // Once more, without the page that waits for the app: from here on nothing may be wrong.
    browser.console().await?;
    browser.reload().await?;
    browser.wait_until(&shown, PAGE).await?;
    ensure!(browser.eval("document.title").await? == json!(case.title));
    if case.writes {
        let line = "Written by a test";
        browser
            .type_text("input", &format!("{line}{ENTER}"))
            .await?;
        let seen = format!(
            "document.querySelector('ul').textContent.includes({})",
            json!(line)
        );
        browser.wait_until(&seen, PAGE).await?;
    }
    let busy = "document.querySelector('[data-test-script-state=running], [data-testid=stSkeleton]') === null";
    browser.wait_until(busy, PAGE).await?;
    browser
        .screenshot(&artefact(&format!("template-{}.png", case.name))?)
        .await?;
    if let Some(file) = case.hot {
        browser.eval("(window.notReloaded = true)").await?;
        let edit = format!("sed -i 's/>{}</>Hot as promised</' {file}", case.heading);
        let (code, printed) = server.exec(&sandbox, &edit).await?;
        ensure!(code == 0, "{printed}");
        let shown = "document.querySelector('h1').textContent === 'Hot as promised'";
        browser.wait_until(shown, PAGE).await?;
        ensure!(
            browser.eval("window.notReloaded === true").await? == json!(true),
            "the page was loaded again"
        );
    }
    let console = browser.console().await?;
    let wrong: Vec<_> = console
        .iter()
        .filter(|line| line.starts_with("SEVERE"))
        .collect();
    ensure!(wrong.is_empty(), "{wrong:?}");
    inside(server, &sandbox, case).await?;
    server
        .api("DELETE", &format!("/v1/sandboxes/{sandbox}"), None)
        .await?;
    Ok(first_page)
}

/// Nothing that it needs was asked for outside; the starter is as it was written, and has nothing of the machine it was prepared on.
async fn inside(server: &TestServer, sandbox: &str, case: &Case) -> anyhow::Result<()> {
    let path = format!("/v1/sandboxes/{sandbox}/egress/refusals");
    let (_, refusals) = server.api("GET", &path, None).await?;
    let mut asked = refusals["refusals"].as_array().into_iter().flatten();
    let other = asked.find(|refusal| refusal["host"].as_str() != case.asks);
    ensure!(other.is_none(), "{other:?}");

    let mut files = starter(case.name)?;
    files.retain(|path, _| case.hot != Some(path));
    let names: Vec<&str> = files.keys().map(String::as_str).collect();
    let (code, sums) = server
        .exec(sandbox, &format!("md5sum {}", names.join(" ")))
        .await?;
    ensure!(code == 0, "{sums}");
    for line in sums.lines() {
        let (sum, name) = line.split_once("  ").context("no sum")?;
        ensure!(
            files.get(name).is_some_and(|known| known == sum),
            "{name} is another"
        );
    }

    let (_, found) = server
        .exec(sandbox, "env | grep glasshouse-ca; ls /tmp | grep glasshouse-ca; grep -rsl glasshouse-ca /home/dev /etc")
        .await?;
    ensure!(found.is_empty(), "{found}");
    Ok(())
}

/// The starter files of a template, with their sums.
fn starter(name: &str) -> anyhow::Result<BTreeMap<String, String>> {
    let recipe = Path::new(SOURCE).join(name);
    let mut files = BTreeMap::new();
    let list = std::process::Command::new("find")
        .args([".", "-type", "f", "-printf", "%P\n"])
        .current_dir(recipe.join("files"))
        .output()?;
    for path in String::from_utf8(list.stdout)?.lines() {
        files.insert(path.to_owned(), sum(&recipe.join("files").join(path))?);
    }
    let toml: toml::Table = std::fs::read_to_string(recipe.join("template.toml"))?.parse()?;
    for (path, source) in toml
        .get("shared")
        .and_then(|shared| shared.as_table())
        .into_iter()
        .flatten()
    {
        let source = source.as_str().context("shared names files")?;
        files.insert(
            path.clone(),
            sum(&Path::new(SOURCE).join("shared").join(source))?,
        );
    }
    Ok(files)
}

fn sum(path: &Path) -> anyhow::Result<String> {
    let sum = std::process::Command::new("md5sum").arg(path).output()?;
    let text = String::from_utf8(sum.stdout)?;
    Ok(text.split(' ').next().context("no sum")?.to_owned())
}
