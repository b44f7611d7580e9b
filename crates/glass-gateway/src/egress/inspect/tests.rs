use std::sync::Arc;

use proptest::prelude::*;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::*;

/// What a client says first to the server of this name.
fn hello(name: &str) -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut words = Vec::new();
    client.write_tls(&mut words).unwrap();
    words
}

fn words(text: &str) -> Said {
    judge(text.as_bytes(), "good.example")
}

#[test]
fn tls_must_name_the_host_that_was_judged() {
    assert_eq!(judge(&hello("good.example"), "good.example"), Said::Fine);
    assert_eq!(
        judge(&hello("evil.example"), "good.example"),
        Said::Wrong(Wrong::ServerName("evil.example".into()))
    );
    // An address is not a server name, so there is none.
    assert_eq!(
        judge(&hello("1.2.3.4"), "good.example"),
        Said::Wrong(Wrong::NoServerName)
    );
    assert_eq!(
        judge(b"\x16\x03\x01\x00\x05hello", "good.example"),
        Said::Wrong(Wrong::NotTls)
    );
}

#[test]
fn http_must_name_the_host_that_was_judged() {
    assert_eq!(
        words("GET / HTTP/1.1\r\nHost: good.example\r\n\r\n"),
        Said::Http
    );
    assert_eq!(
        words("POST /x HTTP/1.1\r\nhOST:  Good.Example:8080\r\n\r\nbody"),
        Said::Http
    );
    assert_eq!(
        words("GET http://good.example/x HTTP/1.1\r\nHost: good.example\r\n\r\n"),
        Said::Http
    );
    for (text, wrong) in [
        (
            "GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n",
            Wrong::Host("evil.example".into()),
        ),
        ("GET / HTTP/1.0\r\n\r\n", Wrong::NoHost),
        (
            "GET / HTTP/1.1\r\nHost: good.example\r\nHost: evil.example\r\n\r\n",
            Wrong::NoHost,
        ),
        (
            "GET http://evil.example/x HTTP/1.1\r\nHost: good.example\r\n\r\n",
            Wrong::Host("evil.example".into()),
        ),
        (
            "CONNECT evil.example:22 HTTP/1.1\r\nHost: good.example\r\n\r\n",
            Wrong::Host("evil.example:22".into()),
        ),
        (
            "CONNECT good.example:22 HTTP/1.1\r\nHost: good.example\r\n\r\n",
            Wrong::Connect,
        ),
        (
            "\r\n\nGET / HTTP/1.1\r\nHost: evil.example\r\n\r\n",
            Wrong::Host("evil.example".into()),
        ),
        (
            "PROPFIND / HTTP/1.1\r\nHost: evil.example\r\n\r\n",
            Wrong::Host("evil.example".into()),
        ),
        ("x-Y.1 / http/1.1 \nHost: evil.example\n\n", Wrong::NotHttp),
        ("PURGE / HTTP/1.1\rHost: evil.example\r", Wrong::NotHttp),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Wrong::Http2),
        ("GET \u{1}", Wrong::NotHttp),
    ] {
        assert_eq!(words(text), Said::Wrong(wrong), "{text}");
    }
}

#[test]
fn what_is_neither_names_no_host() {
    for text in [
        "SSH-2.0-OpenSSH_9.2\r\n",
        "\0\0\0\x08",
        "GETTING\r\n",
        "EHLO x\r\n",
        "\nEHLO x\n",
        "*1\r\n$4\r\nPING\r\n",
        "0033git-upload-pack /project.git\0host=x\0",
        "USER x 0 * :HTTP/1.1 is spoken here\r\n",
    ] {
        assert_eq!(words(text), Said::Fine, "{text}");
    }
}

#[test]
fn a_part_is_not_judged_before_the_rest_came() {
    for head in [
        "GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        "\r\nGET / HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        "PROPFIND / HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    ] {
        for end in 1..head.len() {
            assert_eq!(words(&head[..end]), Said::More, "{end} of {head}");
        }
    }
    let hello = hello("evil.example");
    for end in 1..hello.len() {
        assert_eq!(judge(&hello[..end], "good.example"), Said::More, "{end}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_does_not_come_to_an_end_is_refused() {
    let endless = vec![b'a'; 2 * LIMIT];
    let text = [b"GET /".as_slice(), &endless].concat();
    let stopped = first_words(&mut text.as_slice(), "good.example").await;
    assert!(matches!(
        stopped,
        Err(Stopped::Refused(Refusal::Words(Wrong::TooLong)))
    ));
    let (near, mut far) = tokio::io::duplex(64);
    tokio::io::AsyncWriteExt::write_all(&mut far, b"GET /")
        .await
        .unwrap();
    let mut near = near;
    let stopped = first_words(&mut near, "good.example").await;
    assert!(matches!(
        stopped,
        Err(Stopped::Refused(Refusal::Words(Wrong::TooLong)))
    ));
}

proptest! {
    #[test]
    fn nothing_makes_it_panic(words in proptest::collection::vec(any::<u8>(), 0..300), first in 0..4_usize) {
        let first: &[u8] = [b"\x16\x03\x01".as_slice(), b"GET ", b"POST / HTTP/1.1\r\n", b""][first];
        judge(&[first, &words].concat(), "good.example");
    }
}
