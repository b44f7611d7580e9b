//! `/v1/sandboxes/{id}/files`

use futures::stream;
use serde_json::json;

use crate::client::Client;
use crate::world::World;

/// The routes of one sandbox's files.
struct Files {
    client: Client,
    base: String,
}

impl Files {
    async fn of(world: &World) -> Self {
        let client = world.client();
        let id = client.sandbox().await;
        Self {
            client,
            base: format!("/v1/sandboxes/{id}/files"),
        }
    }

    fn at(&self, route: &str, path: &str) -> String {
        use std::fmt::Write as _;
        let mut query = String::new();
        for byte in path.bytes() {
            write!(query, "%{byte:02X}").unwrap();
        }
        format!("{}{route}?path={query}", self.base)
    }

    async fn names(&self, path: &str) -> Vec<String> {
        let list = self.client.get(&self.at("", path)).await;
        assert_eq!(list.status, 200, "{list:?}");
        let entries = list.json["entries"].as_array().unwrap().clone();
        let names = entries
            .iter()
            .map(|entry| entry["name"].as_str().unwrap().to_owned());
        names.collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_written_read_moved_and_removed() {
    World::run(async |world| {
        let files = Files::of(world).await;
        let client = &files.client;
        let content: Vec<u8> = (0..=255).collect();
        let written = client
            .put(&files.at("/content", "a/b/data"), content.clone())
            .await;
        assert_eq!(written.status, 200, "{written:?}");
        assert_eq!(written.json["name"], "data");
        assert_eq!(written.json["kind"], "file");
        assert_eq!(written.json["size"], 256);
        assert!(
            written.json["path"]
                .as_str()
                .unwrap()
                .ends_with("/a/b/data")
        );
        let stat = client.get(&files.at("/stat", "a/b/data")).await;
        assert_eq!(stat.json, written.json);
        let read = client.get(&files.at("/content", "a/b/data")).await;
        assert_eq!(read.bytes, content);
        assert_eq!(read.headers["content-length"], "256");
        assert_eq!(read.headers["content-type"], "application/octet-stream");
        assert_eq!(read.headers["x-content-type-options"], "nosniff");
        let moving = json!({"from": "a/b/data", "to": "moved"});
        let moved = client.post(&format!("{}/move", files.base), moving).await;
        assert_eq!((moved.status, &moved.json["name"]), (200, &json!("moved")));
        client
            .get(&files.at("/stat", "a/b/data"))
            .await
            .is_problem(404, "file_not_found")
            .says("a/b/data");
        let made = client.put(&files.at("/directory", "x/y"), "").await;
        assert_eq!(
            (made.status, &made.json["kind"]),
            (200, &json!("directory"))
        );
        assert_eq!(files.names(".").await, ["a", "moved", "x"]);
        let deep = client.get(&format!("{}?depth=3", files.base)).await;
        assert_eq!(
            deep.json["entries"].as_array().unwrap().len(),
            5,
            "{deep:?}"
        );
        for path in ["a", "moved", "x"] {
            assert_eq!(client.delete(&files.at("", path)).await.status, 204);
        }
        assert_eq!(files.names(".").await, [""; 0]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_may_hold_anything_that_a_file_name_may() {
    World::run(async |world| {
        let files = Files::of(world).await;
        let client = &files.client;
        let mut names = [
            "a b", "100%", "a+b", "a&b=c", "#?", "ä ö", "日本", "'\"", "%2e%2e", "-rf",
        ];
        for name in names {
            let written = client.put(&files.at("/content", name), name).await;
            assert_eq!(written.json["name"], name, "{written:?}");
            let read = client.get(&files.at("/content", name)).await;
            assert_eq!(read.bytes, name.as_bytes());
        }
        names.sort_unstable();
        assert_eq!(files.names(".").await, names);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_files_stream_both_ways() {
    World::run(async |world| {
        let files = Files::of(world).await;
        let part = bytes::Bytes::from(vec![b'x'; 1 << 20]);
        let parts = stream::iter((0..48).map({
            let part = part.clone();
            move |_| Ok::<_, std::io::Error>(part.clone())
        }));
        let place = files.at("/content", "large");
        let written = files
            .client
            .put(&place, reqwest::Body::wrap_stream(parts))
            .await;
        assert_eq!(written.json["size"], 48 << 20, "{written:?}");
        let read = files.client.get(&place).await;
        assert_eq!(read.bytes.len(), 48 << 20);
        assert!(read.bytes.iter().all(|byte| *byte == b'x'));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_breaks_off_leaves_the_old_file() {
    World::run(async |world| {
        let files = Files::of(world).await;
        let place = files.at("/content", "kept");
        assert_eq!(files.client.put(&place, "old").await.status, 200);
        let parts = [
            Ok(bytes::Bytes::from_static(b"new")),
            Err(std::io::Error::other("the cable was pulled")),
        ];
        let body = reqwest::Body::wrap_stream(stream::iter(parts));
        let sent = files
            .client
            .request(http::Method::PUT, &place)
            .body(body)
            .send();
        assert!(
            sent.await.is_err(),
            "an upload that breaks off has no answer"
        );
        assert_eq!(files.client.get(&place).await.bytes, b"old");
        crate::world::eventually("nothing half-made is left", async || {
            files.names(".").await == ["kept"]
        })
        .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_that_lead_out_are_refused() {
    World::run(async |world| {
        let files = Files::of(world).await;
        let client = &files.client;
        for path in ["../x", "a/../../x", "/home/../etc/passwd", ".."] {
            for route in ["/content", "/stat", ""] {
                let answer = client.get(&files.at(route, path)).await;
                answer
                    .is_problem(422, "invalid_input")
                    .says("`..` is not allowed");
            }
            let answer = client.put(&files.at("/content", path), "x").await;
            answer.is_problem(422, "invalid_input");
            let moving = json!({"from": "a", "to": path});
            let answer = client.post(&format!("{}/move", files.base), moving).await;
            answer.is_problem(422, "invalid_input").says("to:");
        }
        for path in ["", "a\0b", &"x".repeat(5000)] {
            let answer = client.get(&files.at("/stat", path)).await;
            answer.is_problem(422, "invalid_input").says("path");
        }
        let id = files.base.split('/').nth(3).unwrap();
        client
            .exec(id, "ln -s /etc/passwd out; ln -s /etc etc")
            .await;
        for path in ["out", "etc/passwd", "/etc/passwd"] {
            let answer = client.get(&files.at("/content", path)).await;
            assert!(matches!(answer.status, 404 | 422), "{answer:?}");
            answer.is_problem(
                answer.status,
                if answer.status == 404 {
                    "file_not_found"
                } else {
                    "invalid_input"
                },
            );
            let answer = client.put(&files.at("/content", "etc/new"), "x").await;
            assert!(answer.status >= 400, "{answer:?}");
        }
        assert!(!std::path::Path::new("/etc/new").exists());
        let link = client.get(&files.at("/stat", "out")).await;
        assert_eq!(link.json["kind"], "symlink", "{link:?}");
        assert_eq!(link.json["target"], "/etc/passwd");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_file_cannot_be_is_refused() {
    World::run(async |world| {
        let files = Files::of(world).await;
        let client = &files.client;
        client.put(&files.at("/content", "file"), "x").await;
        client.put(&files.at("/directory", "directory"), "").await;
        let answer = client.get(&files.at("/content", "directory")).await;
        answer.is_problem(422, "invalid_input").says("directory");
        let answer = client.put(&files.at("/content", "directory"), "x").await;
        answer.is_problem(422, "invalid_input").says("directory");
        let answer = client.put(&files.at("/content", "file/below"), "x").await;
        answer.is_problem(422, "invalid_input");
        let answer = client.put(&files.at("/directory", "file"), "").await;
        answer.is_problem(409, "already_exists").says("file");
        let answer = client.get(&files.at("", "file")).await;
        answer.is_problem(422, "invalid_input");
        for (route, path) in [("/content", "no"), ("/stat", "no"), ("", "no")] {
            let answer = client.get(&files.at(route, path)).await;
            answer.is_problem(404, "file_not_found").says("no");
        }
        client
            .delete(&files.at("", "no"))
            .await
            .is_problem(404, "file_not_found");
        let moving = json!({"from": "no", "to": "x"});
        let answer = client.post(&format!("{}/move", files.base), moving).await;
        answer.is_problem(404, "file_not_found");
        let answer = client.get(&format!("{}/stat", files.base)).await;
        answer.is_problem(422, "invalid_input").says("path");
        for depth in ["0", "65", "x"] {
            let answer = client.get(&format!("{}?depth={depth}", files.base)).await;
            answer.is_problem(422, "invalid_input");
        }
    })
    .await;
}
