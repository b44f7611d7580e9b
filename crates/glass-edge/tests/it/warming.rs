//! The page that browsers get when a wake or an app's start takes long, and the events that it follows.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Html;
use axum::routing::get;
use glass_edge::Unreachable;
use glass_testing::Browser;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use tokio::time::timeout;

use crate::kit::{Answer, ID, LONG, Rest, Site, host};

fn starting(step: &str) -> Unreachable {
    Unreachable::AppStarting {
        sandbox: ID.parse().unwrap(),
        step: step.to_owned(),
    }
}

fn failed() -> Unreachable {
    Unreachable::AppFailed {
        sandbox: ID.parse().unwrap(),
        message: "The app ended five times right after its start.".to_owned(),
        lines: vec![
            "> vite".to_owned(),
            "Error: Cannot find module '@vitejs/plugin-react'".to_owned(),
        ],
    }
}

async fn impatient() -> Site {
    Site::with(|config| config.patience = Duration::from_millis(20)).await
}

/// Reads events until one says this, and answers what came.
async fn events_until(answer: http::Response<hyper::body::Incoming>, words: &str) -> String {
    let mut body = answer.into_body();
    let mut text = String::new();
    while !text.contains(words) {
        let frame = timeout(LONG, body.frame())
            .await
            .unwrap_or_else(|_| panic!("never said {words:?}: {text}"));
        let Some(frame) = frame else {
            panic!("ended without {words:?}: {text}")
        };
        text.push_str(std::str::from_utf8(frame.unwrap().data_ref().unwrap()).unwrap());
    }
    text
}

async fn follow(site: &Site) -> http::Response<hyper::body::Incoming> {
    let request = Request::get("/.glasshouse/wake").header("host", host(3000));
    let mut client = site.http1().await;
    let answer = client.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    answer
}

#[tokio::test]
async fn a_browser_gets_a_page_that_no_cache_and_no_crawler_keeps() {
    let site = impatient().await;
    site.rest(Rest::Asleep);
    let browser = |request: http::request::Builder| {
        request
            .header("accept", "text/html,*/*;q=0.8")
            .header("sec-fetch-mode", "navigate")
    };
    let page = site.send(3000, "/", browser).await;
    assert_eq!(page.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(page.header("retry-after"), "2");
    assert_eq!(page.header("cache-control"), "no-store");
    assert!(page.text().contains("EventSource(\"/.glasshouse/wake\")"));
    assert!(page.text().contains("<noscript>") && page.text().contains("Try again"));
    assert!(
        !page.text().contains("http-equiv"),
        "the page reloads for ever"
    );
    assert!(!page.text().contains("Glasshouse"), "the page bears a name");
    let metrics = site.counters.snapshot();
    assert_eq!((metrics.warming, metrics.failed), (1, 0));
    site.used_by(0).await;
}

#[tokio::test]
async fn the_events_tell_how_far_it_is_and_end_when_the_app_answers() {
    let site = Site::start().await;
    site.rest(Rest::Asleep);
    site.progress("Fetching files", Some(40));
    let events = follow(&site).await;
    site.has_entered(1).await;
    let reader = tokio::spawn(events_until(events, "event: ready"));
    site.progress("Starting the sandbox", None);
    site.app_is(Some(starting("Installing dependencies")));
    let before = site.connects();
    site.rest(Rest::Awake);
    site.connected(before + 2).await;
    site.app(3000, Router::new()).await;
    let told = reader.await.unwrap();
    assert!(told.contains("Installing dependencies"), "{told}");
    assert_eq!(told.matches("Installing").count(), 1, "said twice: {told}");
    site.used_by(0).await;
}

#[tokio::test]
async fn the_events_name_the_steps_of_a_wake() {
    let site = Site::start().await;
    site.rest(Rest::Asleep);
    site.progress("Fetching files", Some(40));
    let told = events_until(follow(&site).await, "Fetching").await;
    let step = r#"event: step
data: {"title":"Waking up","text":"Fetching files","percent":40}"#;
    assert!(told.contains(step), "{told}");
    // The reader is gone.
    site.used_by(0).await;
}

#[tokio::test]
async fn the_events_end_with_the_failure_of_the_wake() {
    let site = Site::start().await;
    site.rest(Rest::Asleep);
    let events = follow(&site).await;
    site.has_entered(1).await;
    site.rest(Rest::Refused(glass_edge::Problem {
        status: 503,
        code: "low_memory".to_owned(),
        title: "The host has not enough free memory".to_owned(),
        detail: "no room".to_owned(),
        remedy: Some("come back later".to_owned()),
        retry_after: Some(30),
    }));
    let told = Answer::read(events).await;
    assert!(told.text().contains("event: failed"), "{}", told.text());
    assert!(told.text().contains("come back later"), "{}", told.text());
}

#[tokio::test]
async fn a_page_that_waits_for_nothing_keeps_the_sandbox_awake_only_so_long() {
    let site = Site::with(|config| config.watch = Duration::from_millis(50)).await;
    let told = Answer::read(follow(&site).await).await;
    assert!(told.text().contains("event: closed"), "{}", told.text());
    assert!(told.text().contains("event: failed"), "{}", told.text());
    site.used_by(0).await;
}

#[tokio::test]
async fn the_events_are_no_path_of_the_app_and_only_read() {
    let site = Site::start().await;
    site.app(3000, Router::new().fallback(async || "the app"))
        .await;
    let posted = site.send(3000, "/.glasshouse/wake", |request| request.method("POST"));
    assert_eq!(posted.await.status, StatusCode::NOT_IMPLEMENTED);
    assert_eq!(site.get(3000, "/.glasshouse/wake2").await.text(), "the app");
}

const HEADING: &str = "document.querySelector('h1')?.textContent";

async fn says(browser: &Browser, js: &str, words: &str) {
    let condition = format!("({js} ?? '').includes({words:?})");
    if let Err(error) = browser.wait_until(&condition, LONG).await {
        panic!("{error}: {:?}", browser.text("body").await);
    }
}

/// Where pictures of the pages go, for a person to look at.
async fn picture(browser: &Browser, name: &str) {
    let path = glass_testing::artefact(name).unwrap();
    browser.screenshot(&path).await.unwrap();
}

#[tokio::test]
async fn a_browser_sees_the_progress_then_the_app_after_one_reload() {
    let site = impatient().await;
    let loads = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&loads);
    let page = async move || {
        counted.fetch_add(1, Ordering::Relaxed);
        Html("<h1>The app</h1>")
    };
    site.rest(Rest::Asleep);
    let browser = Browser::start().await.unwrap();
    let port = site.address.port();
    let url = format!("http://3000-{ID}.preview.localhost:{port}/deep?x=1#there");
    browser.open(&url).await.unwrap();
    says(&browser, HEADING, "Waking up").await;
    // Once for the page, once for its events.
    site.has_entered(2).await;
    site.progress("Fetching files", Some(40));
    let step = "document.getElementById('step')?.textContent";
    says(&browser, step, "Fetching files").await;
    picture(&browser, "waking.png").await;
    site.app_is(Some(starting("Installing dependencies")));
    site.rest(Rest::Awake);
    says(&browser, step, "Installing dependencies").await;
    says(&browser, HEADING, "Starting the app").await;
    picture(&browser, "starting.png").await;
    site.app(3000, Router::new().route("/deep", get(page)))
        .await;
    says(&browser, HEADING, "The app").await;
    assert_eq!(browser.eval("location.href").await.unwrap(), url);
    assert_eq!(loads.load(Ordering::Relaxed), 1);
    site.used_by(0).await;
}

#[tokio::test]
async fn a_browser_sees_why_an_app_failed_and_stays_there() {
    let site = impatient().await;
    site.app_is(Some(starting("Starting")));
    let browser = Browser::start().await.unwrap();
    let port = site.address.port();
    let url = format!("http://3000-{ID}.preview.localhost:{port}/");
    browser.open(&url).await.unwrap();
    says(&browser, HEADING, "Starting the app").await;
    browser.eval("window.first = true").await.unwrap();
    site.app_is(Some(failed()));
    says(&browser, HEADING, "The app did not start").await;
    let lines = "document.getElementById('lines')?.textContent";
    says(&browser, lines, "Cannot find module").await;
    picture(&browser, "failed.png").await;
    let before = site.connects();
    site.connected(before + 5).await;
    assert_eq!(
        browser.eval("window.first").await.unwrap(),
        true,
        "it was reloaded"
    );
    // The reason stands on the page itself, too, for whoever comes now.
    browser.open(&url).await.unwrap();
    says(&browser, lines, "Cannot find module").await;
    // Somebody mends it.
    site.app(
        3000,
        Router::new().route("/", get(async || Html("<h1>The app</h1>"))),
    )
    .await;
    says(&browser, HEADING, "The app").await;
}

#[tokio::test]
async fn an_app_that_comes_and_goes_does_not_reload_a_page_for_ever() {
    let site = impatient().await;
    site.app_is(Some(starting("Starting")));
    let browser = Browser::start().await.unwrap();
    let port = site.address.port();
    let url = format!("http://3000-{ID}.preview.localhost:{port}/");
    browser.open(&url).await.unwrap();
    says(&browser, HEADING, "Starting the app").await;
    browser.eval("window.first = true").await.unwrap();
    site.has_entered(2).await;
    // It takes the connection of the events, and no other.
    site.flash();
    browser.wait_until("!window.first", LONG).await.unwrap();
    site.has_entered(4).await;
    site.flash();
    says(&browser, HEADING, "The app went away again").await;
    assert_eq!(site.entered(), 4, "two pages and their events");
}
