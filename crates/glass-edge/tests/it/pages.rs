//! Why a preview cannot be shown: HTML for people, a problem for programs, and never a hang.

use axum::Router;
use axum::response::Html;
use glass_testing::Browser;
use http::StatusCode;

use crate::kit::{Answer, ID, LONG, STOPPED, Site};

const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

async fn ask(site: &Site, host: &str, accept: &str) -> Answer {
    // The port does not matter: the last Host header would be a second one, so it is replaced.
    site.send(1, "/", |request| {
        let mut request = request.header("accept", accept);
        let headers = request.headers_mut().unwrap();
        headers.insert("host", host.parse().unwrap());
        request
    })
    .await
}

async fn check(site: &Site, host: &str, status: u16, code: &str, words: &str) {
    let json = ask(site, host, "*/*").await;
    assert_eq!(json.status.as_u16(), status, "{host}");
    assert_eq!(json.header("content-type"), "application/problem+json");
    assert_eq!(json.header("x-glasshouse-edge"), code);
    let problem = json.json();
    assert_eq!(problem["code"], code);
    assert_eq!(problem["status"], status);
    assert_eq!(problem["type"], format!("/errors/{code}"));
    let message = problem["message"].as_str().unwrap();
    assert!(message.contains(words), "{message}");
    for field in ["title", "detail", "remedy"] {
        assert!(
            !problem[field].as_str().unwrap().is_empty(),
            "{host}: {field}"
        );
    }
    let html = ask(site, host, BROWSER).await;
    assert_eq!(html.status.as_u16(), status, "{host}");
    assert_eq!(html.header("content-type"), "text/html; charset=utf-8");
    assert!(html.text().starts_with("<!doctype html>"), "{host}");
    for mark in ["{title}", "{detail}", "{remedy}", "{more}", "{status}"] {
        assert!(!html.text().contains(mark), "{host}: {mark} is left");
    }
}

#[tokio::test]
async fn every_refusal_has_its_status_and_words() {
    let site = Site::start().await;
    site.canned(7000, b"").await;
    site.canned(7001, b"SSH-2.0-OpenSSH_9.2\r\n").await;
    let under = |label: &str| format!("{label}.preview.localhost");
    let unknown = under("3000-unknown000000000");
    check(&site, &unknown, 404, "sandbox_not_found", "was not found").await;
    let stopped = under(&format!("3000-{STOPPED}"));
    check(&site, &stopped, 503, "sandbox_not_running", "was not found").await;
    let closed = under(&format!("3000-{ID}"));
    check(&site, &closed, 502, "port_closed", "port is not open").await;
    let silent = under(&format!("7000-{ID}"));
    check(&site, &silent, 502, "bad_gateway", "closed the connection").await;
    let foreign = under(&format!("7001-{ID}"));
    check(&site, &foreign, 502, "bad_gateway", "does not speak HTTP").await;
    let deaf = under(&format!("9-{ID}"));
    check(&site, &deaf, 504, "connect_timeout", "took no connection").await;
    let port = under(&format!("70000-{ID}"));
    check(&site, &port, 404, "preview_not_found", "70000").await;
    let word = under(&format!("abc-{ID}"));
    check(&site, &word, 404, "preview_not_found", "abc").await;
    check(
        &site,
        &under("3000-short"),
        404,
        "sandbox_not_found",
        "was not found",
    )
    .await;
    check(
        &site,
        "preview.localhost",
        404,
        "preview_not_found",
        "does not name",
    )
    .await;
    check(
        &site,
        "user@localhost",
        400,
        "invalid_host",
        "not a host name",
    )
    .await;
}

#[tokio::test]
async fn a_sandbox_that_is_not_running_says_when_to_come_back() {
    let site = Site::start().await;
    let host = format!("3000-{STOPPED}.preview.localhost");
    assert_eq!(ask(&site, &host, "*/*").await.header("retry-after"), "2");
}

#[tokio::test]
async fn the_closed_port_page_links_what_is_open_and_watches() {
    let site = Site::start().await;
    site.app(5173, Router::new().fallback(async || "up")).await;
    let host = format!("3000-{ID}.preview.localhost:8080");
    let page = ask(&site, &host, BROWSER).await;
    let link = format!("href=\"//5173-{ID}.preview.localhost:8080/\"");
    assert!(page.text().contains(&link), "{}", page.text());
    assert!(
        page.text().contains("EventSource"),
        "the page does not look again"
    );
    assert!(
        !page.text().contains("http-equiv"),
        "the page reloads for ever"
    );
}

#[tokio::test]
async fn the_mark_of_the_edge_vanishes_once_the_app_answers() {
    let site = Site::start().await;
    assert_eq!(
        site.get(3000, "/").await.header("x-glasshouse-edge"),
        "port_closed"
    );
    site.canned(
        3000,
        b"HTTP/1.1 500 Oops\r\nX-Glasshouse-Edge: port_closed\r\nContent-Length: 0\r\n\r\n",
    )
    .await;
    let answer = site.get(3000, "/").await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(answer.header("x-glasshouse-edge"), "");
}

#[tokio::test]
async fn the_closed_port_page_gives_way_to_the_app_by_itself() {
    let site = Site::start().await;
    let browser = Browser::start().await.unwrap();
    let port = site.address.port();
    let url = format!("http://3000-{ID}.preview.localhost:{port}/deep?x=1");
    browser.open(&url).await.unwrap();
    assert_eq!(
        browser.text("h1").await.unwrap(),
        "Nothing listens here yet"
    );
    // The page has looked at least once, and stayed.
    site.connected(site.connects() + 1).await;
    assert_eq!(
        browser.text("h1").await.unwrap(),
        "Nothing listens here yet"
    );
    let app = Router::new().route(
        "/deep",
        axum::routing::get(async || Html("<h1>The app</h1>")),
    );
    site.app(3000, app).await;
    let arrived = "document.querySelector('h1')?.textContent === 'The app'";
    browser.wait_until(arrived, LONG).await.unwrap();
    assert_eq!(browser.eval("location.href").await.unwrap(), url);
}
