use std::collections::BTreeSet;

use axum::Router;
use axum::response::Html;
use axum::routing::get;

use super::*;

const LIMIT: Duration = Duration::from_secs(20);

const PAGE_UNDER_TEST: &str = r"<!doctype html><title>Local</title>
<input id=name><button id=add>Add</button><ul></ul>
<script>
const add = () => setTimeout(() => {
  const item = document.createElement('li');
  item.textContent = document.querySelector('#name').value;
  document.querySelector('ul').append(item);
  console.error('added');
}, 100);
document.querySelector('#add').onclick = add;
document.querySelector('#name').onkeydown = (event) => { if (event.key === 'Enter') add(); };
</script>";

async fn page() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let router = Router::new().route("/", get(async || Html(PAGE_UNDER_TEST)));
    tokio::spawn(async move { axum::serve(listener, router).await });
    // Chromium resolves names under localhost by itself.
    format!("http://some.preview.localhost:{port}/")
}

/// Processes whose command line names the profile.
fn processes_with(profile: &str) -> BTreeSet<String> {
    let lines = std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| {
            let line = std::fs::read(entry.path().join("cmdline")).ok()?;
            Some(String::from_utf8_lossy(&line).into_owned())
        });
    lines.filter(|line| line.contains(profile)).collect()
}

#[tokio::test]
async fn a_page_can_be_used_as_a_person_would() {
    let url = page().await;
    let browser = Browser::start().await.unwrap();
    browser.open(&url).await.unwrap();
    assert_eq!(browser.eval("document.title").await.unwrap(), "Local");
    assert_eq!(browser.eval("Promise.resolve(6 * 7)").await.unwrap(), 42);

    browser.type_text("#name", "milk").await.unwrap();
    browser.click("#add").await.unwrap();
    browser.wait_for("li", LIMIT).await.unwrap();
    assert_eq!(browser.text("li").await.unwrap(), "milk");
    browser
        .type_text("#name", &format!("shake{ENTER}"))
        .await
        .unwrap();
    browser
        .wait_until("document.querySelectorAll('li').length === 2", LIMIT)
        .await
        .unwrap();
    assert_eq!(browser.text("li:nth-child(2)").await.unwrap(), "milkshake");
    let console = browser.console().await.unwrap();
    assert!(
        console.iter().any(|line| line.contains("added")),
        "{console:?}"
    );

    let directory = tempfile::tempdir().unwrap();
    let picture = directory.path().join("deep/down/page.png");
    browser.screenshot(&picture).await.unwrap();
    assert!(std::fs::read(&picture).unwrap().starts_with(b"\x89PNG"));

    browser.reload().await.unwrap();
    let error = browser.find("li").await.unwrap_err();
    assert!(
        format!("{error:#}").contains("no such element"),
        "{error:#}"
    );
    let error = browser
        .wait_for("li", Duration::from_millis(200))
        .await
        .unwrap_err();
    let error = format!("{error:#}");
    assert!(
        error.contains("li did not appear") && error.contains(&url),
        "{error}"
    );
    assert!(browser.eval("nonsense(").await.is_err());
}

#[tokio::test]
async fn a_dropped_browser_leaves_nothing_behind() {
    let browser = Browser::start().await.unwrap();
    let profile = browser.directory().to_owned();
    let name = profile.to_str().unwrap().to_owned();
    assert!(
        !processes_with(&name).is_empty(),
        "no process uses the profile"
    );
    drop(browser);
    // Children of the browser die with its group; the last of them may still be on their way out.
    let deadline = Instant::now() + LIMIT;
    while !processes_with(&name).is_empty() && Instant::now() < deadline {
        tokio::task::yield_now().await;
    }
    assert_eq!(processes_with(&name), BTreeSet::new());
    assert!(!profile.exists(), "the profile was left behind");
}
