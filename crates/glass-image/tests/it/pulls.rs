//! Pulling, from a real registry that the tests start.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use glass_image::{Credentials, Digest, Image, ImageError, PullError, PullOptions, Silent};

use crate::support::{Parts, Place, Seen, gzip, read};

/// Debian's `docker-registry` on a port of its own, with its files in a directory.
struct Registry {
    child: Child,
    port: u16,
}

impl Registry {
    fn start(dir: &Path, extra: &str) -> Self {
        let config = dir.join("registry.yml");
        let root = dir.join("registry");
        std::fs::write(
            &config,
            format!(
                "version: 0.1\nlog: {{level: info, formatter: json}}\n\
                 storage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '127.0.0.1:0'}}\n{extra}\n",
                root.display()
            ),
        )
        .unwrap();
        let mut child = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("docker-registry is missing: `make test` installs it");
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let port = lines
            .by_ref()
            .map(Result::unwrap)
            .find_map(|line| {
                let (_, after) = line.split_once("listening on 127.0.0.1:")?;
                after
                    .split(|c: char| !c.is_ascii_digit())
                    .next()?
                    .parse()
                    .ok()
            })
            .expect("the registry says where it listens");
        // It would stop at a full pipe.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        Self { child, port }
    }

    fn name(&self, image: &str) -> String {
        format!("127.0.0.1:{}/{image}", self.port)
    }

    /// Puts an image there with `skopeo`, as people would.
    fn push(&self, place: &Place, parts: &Parts, image: &str, login: Option<&str>) {
        let archive = place.write("push.tar", &parts.oci_archive());
        let mut command = Command::new("skopeo");
        command.args(["copy", "--insecure-policy", "--dest-tls-verify=false"]);
        if let Some(login) = login {
            command.args(["--dest-creds", login]);
        }
        let output = command
            .arg(format!("oci-archive:{}", archive.display()))
            .arg(format!("docker://{}", self.name(image)))
            .output()
            .expect("skopeo is missing: `make test` installs it");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn parts() -> Parts {
    Parts::new(&[&[("hello", b"one")], &[("hello", b"two"), (".wh.old", b"")]])
}

async fn pull(place: &Place, reference: &str) -> Result<Image, ImageError> {
    place
        .store
        .pull(reference, PullOptions::default(), Arc::new(Silent))
        .await
}

fn files_under(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    let mut pending = vec![dir.to_owned()];
    while let Some(next) = pending.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path)
            } else {
                found.push(path)
            }
        }
    }
    found
}

#[tokio::test]
async fn an_image_is_pulled_by_tag_and_by_digest_and_only_once() {
    let place = Place::new();
    let registry = Registry::start(place.dir.path(), "");
    registry.push(&place, &parts(), "some/hello:v1", None);

    let image = pull(&place, &registry.name("some/hello:v1")).await.unwrap();
    assert_eq!(image.name, registry.name("some/hello:v1"));
    assert_eq!(read(&image.layers[1], "hello"), "two");
    assert_eq!(image.config.cmd, ["/hello"]);

    let seen = Seen::new();
    let reference = format!("{}@{}", registry.name("some/hello"), image.digest);
    let again = place
        .store
        .pull(&reference, PullOptions::default(), Arc::clone(&seen) as _)
        .await
        .unwrap();
    assert_eq!(again.digest, image.digest);
    let lines = seen.lines();
    assert!(lines.iter().any(|l| l.ends_with("(cached)")), "{lines:?}");
    assert!(
        !lines.iter().any(|l| l.starts_with("download")),
        "{lines:?}"
    );
    assert!(place.leftovers().is_empty());
}

#[tokio::test]
async fn what_the_registry_does_not_have_is_named() {
    let place = Place::new();
    let registry = Registry::start(place.dir.path(), "");
    registry.push(&place, &parts(), "hello:v1", None);
    for missing in ["hello:v2", "other:latest"] {
        let error = pull(&place, &registry.name(missing)).await.unwrap_err();
        assert!(
            matches!(error, ImageError::Pull(PullError::NotFound { .. })),
            "{error:?}"
        );
        assert!(error.to_string().contains(missing), "{error}");
    }
    let digest = Digest::of(b"nothing");
    let error = pull(&place, &registry.name(&format!("hello@{digest}")))
        .await
        .unwrap_err();
    assert!(error.to_string().contains(&digest.to_string()), "{error}");
    assert!(place.leftovers().is_empty());
}

#[tokio::test]
async fn a_layer_that_was_changed_at_the_registry_is_refused() {
    let place = Place::new();
    let registry = Registry::start(place.dir.path(), "");
    let plain = parts().layers;
    let diff_ids: Vec<_> = plain.iter().map(|l| Digest::of(l)).collect();
    let packed: Vec<_> = plain.iter().map(|l| gzip(l)).collect();
    let last = Digest::of(&packed[1]);
    registry.push(&place, &Parts::with(packed, &diff_ids), "hello:v1", None);
    let blob = files_under(&place.path("registry"))
        .into_iter()
        .find(|p| {
            p.to_string_lossy()
                .contains(&format!("{}/data", last.hex()))
        })
        .unwrap();
    let mut bytes = std::fs::read(&blob).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&blob, bytes).unwrap();
    let error = pull(&place, &registry.name("hello:v1")).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains(&format!("but {last} was promised")),
        "{error}"
    );
    assert!(place.store.list().unwrap().is_empty());
    assert!(place.leftovers().is_empty(), "{:?}", place.leftovers());
}

#[tokio::test]
async fn a_login_is_asked_for_and_used() {
    let place = Place::new();
    // `htpasswd -nbB alice secret`
    place.write(
        "htpasswd",
        b"alice:$2y$05$LSH94r2Hl1ChsNHZ/.EK9.KT6pF/IVexH8ufzafRKTOY1Rndg3uMm\n",
    );
    let auth = format!(
        "auth: {{htpasswd: {{realm: test, path: {}}}}}",
        place.path("htpasswd").display()
    );
    let registry = Registry::start(place.dir.path(), &auth);
    registry.push(&place, &parts(), "hello:v1", Some("alice:secret"));

    let error = pull(&place, &registry.name("hello:v1")).await.unwrap_err();
    assert!(error.to_string().contains("without a login"), "{error}");
    for (password, works) in [("wrong", false), ("secret", true)] {
        let options = PullOptions {
            credentials: Some(Credentials {
                username: "alice".to_owned(),
                password: password.to_owned(),
            }),
        };
        let result = place
            .store
            .pull(&registry.name("hello:v1"), options, Arc::new(Silent))
            .await;
        match result {
            Ok(image) => assert!(works && read(&image.layers[0], "hello") == "one"),
            Err(error) => {
                let text = error.to_string();
                assert!(
                    !works && text.contains("`alice`") && !text.contains("wrong"),
                    "{text}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_registry_that_is_not_there_is_named() {
    let place = Place::new();
    // Bound and dropped: nobody listens there.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let error = pull(&place, &format!("127.0.0.1:{port}/x"))
        .await
        .unwrap_err();
    assert!(
        matches!(error, ImageError::Pull(PullError::Unreachable { .. })),
        "{error:?}"
    );
    assert!(
        error.to_string().contains(&format!("127.0.0.1:{port}")),
        "{error}"
    );
}

/// A registry that the test plays itself: it gives tokens, several platforms, and breaks off in the middle of a layer.
async fn fragile(parts: Parts) -> (u16, Arc<std::sync::Mutex<Vec<String>>>) {
    use axum::extract::Request;
    use axum::http::{HeaderMap, StatusCode};
    use axum::response::{IntoResponse, Response};
    use futures::StreamExt as _;

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Arc::new(std::sync::Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    let host = if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        "amd64"
    };
    let index = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [
            { "digest": Digest::of(b"other"), "size": 5, "platform": { "os": "linux", "architecture": "s390x" } },
            {
                "digest": Digest::of(&parts.manifest),
                "size": parts.manifest.len(),
                "platform": { "os": "linux", "architecture": host },
            },
        ],
    })
    .to_string()
    .into_bytes();
    let layer = format!("blobs/{}", Digest::of(&parts.layers[0]));
    let app = axum::Router::new().fallback(move |request: Request| {
        let path = request.uri().path().to_owned();
        let headers = request.headers();
        let header = |name| headers.get(name).map(|v| v.to_str().unwrap().to_owned());
        let (authorization, range) = (header("authorization"), header("range"));
        log.lock().unwrap().push(format!("{path} {}", range.clone().unwrap_or_default()));
        let answer = if path == "/token" {
            assert!(request.uri().query().unwrap().contains("scope=repository%3Aa%3Apull"));
            r#"{"token":"t0ken"}"#.into_response()
        } else if authorization.as_deref() != Some("Bearer t0ken") {
            let challenge = format!(r#"Bearer realm="http://127.0.0.1:{port}/token",service="s",scope="repository:a:pull""#);
            (StatusCode::UNAUTHORIZED, [("www-authenticate", challenge)]).into_response()
        } else if path.ends_with("manifests/latest") {
            index.clone().into_response()
        } else if path.ends_with(&Digest::of(&parts.manifest).to_string()) {
            parts.manifest.clone().into_response()
        } else if path.ends_with(&Digest::of(&parts.config).to_string()) {
            parts.config.clone().into_response()
        } else if path.ends_with(&layer) {
            let whole = &parts.layers[0];
            let from = range.map_or(0, |r| r["bytes=".len()..].trim_end_matches('-').parse().unwrap());
            // A thousand bytes at a time, then the connection breaks.
            let end = (from + 1000).min(whole.len());
            let mut headers = HeaderMap::new();
            headers.insert("content-length", (whole.len() - from).into());
            let piece = bytes::Bytes::copy_from_slice(&whole[from..end]);
            let rest = futures::stream::iter((end < whole.len()).then_some(())).then(|()| async {
                // The server writes out what it has when the body makes it wait.
                tokio::task::yield_now().await;
                Err(std::io::Error::other("broken"))
            });
            let stream = futures::stream::iter([Ok(piece)]).chain(rest);
            let status = if from > 0 { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
            (status, headers, axum::body::Body::from_stream(stream)).into_response()
        } else {
            StatusCode::NOT_FOUND.into_response()
        };
        std::future::ready::<Response>(answer)
    });
    tokio::spawn(async move { axum::serve(listener, app).await });
    (port, asked)
}

#[tokio::test]
async fn a_broken_download_goes_on_where_it_was() {
    let parts = Parts::new(&[&[("hello", &[7; 2000])]]);
    let (port, asked) = fragile(parts).await;
    let place = Place::new();
    let image = pull(&place, &format!("127.0.0.1:{port}/a")).await.unwrap();
    assert_eq!(read(&image.layers[0], "hello").len(), 2000);
    let ranges: Vec<_> = asked
        .lock()
        .unwrap()
        .iter()
        .filter_map(|line| line.split_once("bytes=").map(|(_, range)| range.to_owned()))
        .collect();
    // Some bytes of a piece may be lost with its connection, but every try gets further.
    let starts: Vec<u32> = ranges
        .iter()
        .map(|r| r.trim_end_matches('-').parse().unwrap())
        .collect();
    assert!(!starts.is_empty() && starts.is_sorted(), "{starts:?}");
    assert!(place.leftovers().is_empty());
}

#[tokio::test]
async fn a_login_that_needs_a_token_gets_one() {
    let (port, asked) = fragile(Parts::new(&[&[("hello", b"x")]])).await;
    let place = Place::new();
    pull(&place, &format!("127.0.0.1:{port}/a")).await.unwrap();
    let asked = asked.lock().unwrap();
    assert_eq!(
        asked
            .iter()
            .filter(|line| line.starts_with("/token"))
            .count(),
        1,
        "{asked:?}"
    );
}
