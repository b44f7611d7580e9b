//! Private previews: who has no pass wakes nothing, and no app sees one.

use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Request, StatusCode, Uri};

use crate::kit::{Answer, PASS, Rest, Site, host};

fn mirror() -> Router {
    Router::new().fallback(async |uri: Uri, headers: HeaderMap| format!("{uri} {headers:?}"))
}

#[tokio::test]
async fn who_has_no_pass_is_told_how_to_get_one_and_wakes_nothing() {
    let site = Site::start().await;
    site.make_private();
    site.rest(Rest::Asleep);
    for (path, pass, reason) in [
        ("/", None, "no_pass"),
        ("/", Some("an-old-pass"), "expired"),
        ("/.glasshouse/wake", None, "no_pass"),
        ("/?glasshouse_pass=old", None, "expired"),
    ] {
        let answer = site.send(3000, path, |mut request| {
            if let Some(pass) = pass {
                request = request.header("x-glasshouse-preview", pass);
            }
            request
        });
        let answer = answer.await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}");
        let problem = answer.json();
        assert_eq!(problem["code"], "preview_private");
        assert_eq!(problem["reason"], reason);
        assert!(
            problem["remedy"]
                .as_str()
                .unwrap()
                .contains("glasshouse link")
        );
        assert!(answer.headers.contains_key("www-authenticate"));
    }
    let page = site.send(3000, "/", |request| request.header("accept", "text/html"));
    assert!(
        page.await
            .text()
            .contains("<h1 id=\"title\">This preview is private</h1>")
    );
    assert_eq!((site.entered(), site.connects()), (0, 0));
    assert_eq!(site.counters.snapshot().refused, 5);
}

#[tokio::test]
async fn a_link_leads_to_the_same_page_without_the_pass_and_no_app_sees_it() {
    let site = Site::start().await;
    site.make_private();
    site.app(3000, mirror()).await;
    let link = format!("/a?x=1&glasshouse_pass={PASS}");
    let redirect = site.get(3000, &link).await;
    assert_eq!(redirect.status, StatusCode::FOUND);
    assert_eq!(
        redirect.header("location"),
        format!("http://{}/a?x=1", host(3000))
    );
    assert_eq!(site.entered(), 0, "a redirect wakes nothing");
    assert_eq!(site.counters.snapshot().own, 1);
    let cookie = redirect.header("set-cookie");
    assert!(cookie.contains("HttpOnly") && !cookie.to_lowercase().contains("domain"));
    let (cookie, _) = cookie.split_once(';').unwrap();
    let mut client = site.http1().await;
    let request = Request::get("/a?x=1")
        .header("host", host(3000))
        .header("cookie", format!("theirs=1; {cookie}"))
        .header("x-glasshouse-preview", PASS);
    let seen = Answer::read(client.send(request.body(Body::empty()).unwrap()).await).await;
    assert!(seen.text().starts_with("/a?x=1 "), "{}", seen.text());
    assert!(seen.text().contains("theirs=1"), "{}", seen.text());
    assert!(!seen.text().contains(PASS), "{}", seen.text());
    let posted = site
        .send(3000, &link, |request| request.method("POST"))
        .await;
    assert!(posted.text().starts_with("/a?x=1 "), "{}", posted.text());
    assert!(!posted.text().contains(PASS), "{}", posted.text());
}

#[tokio::test]
async fn https_makes_the_cookie_secure() {
    let site = Site::with(|config| config.public_scheme = "https").await;
    site.make_private();
    let redirect = site.get(3000, &format!("/?glasshouse_pass={PASS}")).await;
    assert!(redirect.header("location").starts_with("https://"));
    assert!(redirect.header("set-cookie").ends_with("; Secure"));
}

#[tokio::test]
async fn a_link_to_a_public_preview_loses_its_pass_all_the_same() {
    let site = Site::start().await;
    let redirect = site.get(3000, &format!("/?glasshouse_pass={PASS}")).await;
    assert_eq!(
        redirect.header("location"),
        format!("http://{}/", host(3000))
    );
    assert_eq!(redirect.header("set-cookie"), "");
}
