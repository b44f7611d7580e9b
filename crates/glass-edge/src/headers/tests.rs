use super::*;

const HOST_NAME: &str = "3000-abcdefghijklmno1.preview.localhost";

fn request(pairs: &[(&str, &str)]) -> HeaderMap {
    let mut headers = map(pairs);
    clean_request(
        &mut headers,
        &EdgeConfig::new("preview.localhost", 8080),
        &HeaderValue::from_static(HOST_NAME),
        "127.0.0.1".parse().unwrap(),
    );
    headers
}

fn response(pairs: &[(&str, &str)]) -> HeaderMap {
    let mut headers = map(pairs);
    let config = EdgeConfig::new("preview.localhost", 8080);
    clean_response(&mut headers, &config, HOST_NAME);
    headers
}

fn map(pairs: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            HeaderValue::from_str(value).unwrap(),
        );
    }
    headers
}

fn all<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a str> {
    headers
        .get_all(name)
        .iter()
        .map(|value| value.to_str().unwrap())
        .collect()
}

#[test]
fn our_cookies_go_and_the_apps_stay() {
    for (sent, kept) in [
        ("a=1; glasshouse_session=x; b=2", vec!["a=1; b=2"]),
        ("glasshouse_session=x", vec![]),
        ("GlassHouse_session=x;a=1", vec!["a=1"]),
        ("__Host-glasshouse_session=x; a=1", vec!["a=1"]),
        (" =glasshouse_session=x; a=1", vec!["a=1"]),
        ("a=\"q; glasshouse_session=x\"", vec!["a=\"q"]),
        ("my_glasshouse_toy=1", vec!["my_glasshouse_toy=1"]),
    ] {
        assert_eq!(all(&request(&[("cookie", sent)]), "cookie"), kept, "{sent}");
    }
    let crumbs = request(&[
        ("cookie", "a=1"),
        ("cookie", "glasshouse_x=1"),
        ("cookie", "b=2"),
    ]);
    assert_eq!(all(&crumbs, "cookie"), ["a=1; b=2"]);
}

#[test]
fn our_tokens_go_and_the_apps_stay() {
    let basic = |pair: &str| format!("Basic {}", STANDARD.encode(pair));
    for (name, value) in [
        ("authorization", "Bearer gh_abc"),
        ("authorization", "bearer   gh_abc"),
        ("authorization", "gh_abc"),
        ("authorization", "token gh_abc"),
        ("authorization", "Bearer \"gh_abc\""),
        ("authorization", basic("user:gh_abc").as_str()),
        ("authorization", basic("gh_abc:").trim_end_matches('=')),
        ("x-api-key", "gh_abc"),
        ("X-API-Key", " gh_abc"),
    ] {
        let name_in_map = name.to_lowercase();
        assert!(
            all(&request(&[(name, value)]), &name_in_map).is_empty(),
            "{value}"
        );
    }
    for (name, value) in [
        ("authorization", "Bearer ghp_abc"),
        ("authorization", "Bearer eyJhbGciOiJIUzI1NiJ9.e30.x"),
        ("authorization", basic("user:password").as_str()),
        ("x-api-key", "weigh_abc"),
    ] {
        assert_eq!(all(&request(&[(name, value)]), name), [value]);
    }
}

#[test]
fn headers_of_one_connection_stop_here() {
    let headers = request(&[
        ("connection", "close, X-Secret-Hop"),
        ("x-secret-hop", "1"),
        ("keep-alive", "timeout=5"),
        ("proxy-authorization", "Basic x"),
        ("te", "gzip, trailers"),
        ("transfer-encoding", "chunked"),
        ("content-length", "5"),
        ("upgrade", "websocket"),
        ("expect", "100-continue"),
        ("accept", "*/*"),
    ]);
    let mut left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
    left.sort_unstable();
    let expected = [
        "accept",
        "host",
        "te",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
    ];
    assert_eq!(left, expected);
    assert_eq!(all(&headers, "te"), ["trailers"]);
}

#[test]
fn where_a_request_came_from_is_not_the_clients_to_say() {
    let headers = request(&[
        ("x-forwarded-for", "6.6.6.6"),
        ("x-forwarded-for", "7.7.7.7"),
        ("x-forwarded-host", "evil.test"),
        ("x-forwarded-proto", "gopher"),
        ("forwarded", "for=6.6.6.6"),
        ("x-real-ip", "6.6.6.6"),
        ("host", "evil.test"),
    ]);
    assert_eq!(all(&headers, "x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(all(&headers, "x-forwarded-host"), [HOST_NAME]);
    assert_eq!(all(&headers, "x-forwarded-proto"), ["http"]);
    assert_eq!(all(&headers, "host"), [HOST_NAME]);
    assert!(!headers.contains_key("forwarded") && !headers.contains_key("x-real-ip"));
}

#[test]
fn a_cookie_that_reaches_beyond_its_host_is_dropped() {
    let own = format!("a=1; Domain={HOST_NAME}; Path=/");
    let kept = [
        "s=1; HttpOnly",
        "s=1; Domain=",
        own.as_str(),
        "my_glasshouse_=1",
    ];
    let dropped = [
        "s=1; Domain=preview.localhost",
        "s=1; domain = .PREVIEW.localhost; Path=/",
        "s=1; Domain=localhost",
        "s=1; Domain=; Domain=localhost",
        "glasshouse_session=evil",
        "=glasshouse_session=evil",
        " __Secure-glasshouse_session=evil; Path=/",
    ];
    for cookie in dropped {
        let headers = response(&[("set-cookie", kept[0]), ("set-cookie", cookie)]);
        assert_eq!(all(&headers, "set-cookie"), [kept[0]], "{cookie}");
    }
    for cookie in kept {
        assert_eq!(
            all(&response(&[("set-cookie", cookie)]), "set-cookie"),
            [cookie]
        );
    }
}

#[test]
fn an_answer_may_not_speak_for_other_hosts_or_the_edge() {
    let headers = response(&[
        ("clear-site-data", "\"cookies\""),
        ("alt-svc", "h3=\":443\""),
        ("x-glasshouse-edge", "port_closed"),
        ("content-type", "text/plain"),
    ]);
    assert_eq!(headers.len(), 1);
}

#[test]
fn only_a_switch_that_was_asked_for_counts() {
    let asked = [
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "websocket"),
    ];
    assert_eq!(upgrade(&map(&asked)).unwrap(), "websocket");
    assert!(upgrade(&map(&asked[1..])).is_none());
    assert!(upgrade(&map(&[("connection", "upgrade"), ("upgrade", "h2c")])).is_none());
}

#[test]
fn a_coding_that_would_get_lost_is_not_passed_on() {
    assert!(plain_framing(&map(&[])));
    assert!(plain_framing(&map(&[("transfer-encoding", "Chunked")])));
    assert!(!plain_framing(&map(&[(
        "transfer-encoding",
        "gzip, chunked"
    )])));
}
