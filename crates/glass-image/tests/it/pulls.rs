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
