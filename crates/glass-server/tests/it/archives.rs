//! What nobody wants for long goes to the archive and comes back at its next use.

use glass_types::SandboxState;
use serde_json::{Value, json};

use crate::idle::{becomes, sandbox};
use crate::rests::told;
use crate::world::{World, eventually};

fn archiving() -> Value {
    json!({ "freeze_after_ms": "never", "stop_after_ms": 50, "archive_after_ms": 60 })
}

fn place(id: &str) -> String {
    format!("runtime/sandboxes/{id}")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archived_sandbox_takes_no_room_here_and_comes_back_at_its_use() {
    World::run(async |world| {
        let client = world.client();
        let id = sandbox(&client, archiving()).await;
        client
            .exec(
                &id,
                "echo kept > note; mkdir -p a/b; ln -s ../note a/link; chmod 751 a/b",
            )
            .await;
        becomes(&client, &id, "archived").await;
        eventually("nothing of it is left here", async || {
            world.runtime().list().await.unwrap().is_empty()
                && !world.data().join(place(&id)).exists()
        })
        .await;
        assert_eq!(
            told(world, &id).await.last().map(String::as_str),
            Some("archived")
        );
        let patch = json!({ "idle": { "stop_after_ms": "never", "archive_after_ms": "never" } });
        let path = format!("/v1/sandboxes/{id}");
        assert_eq!(client.patch(&path, patch).await.status, 200);
        let back = client.exec(&id, "cat note a/link; stat -c %a a/b").await;
        assert_eq!(back["stdout"], "kept\nkept\n751\n", "{back}");
        let row = world
            .store()
            .await
            .sandbox(&id.parse().unwrap())
            .await
            .unwrap()
            .unwrap();
        assert_eq!((row.state, row.archive), (SandboxState::Running, None));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_archived_stays_here() {
    World::run(async |world| {
        let client = world.client();
        // A file where the store is to be.
        std::fs::write(world.data().join("archive"), "in the way").unwrap();
        let id = sandbox(&client, archiving()).await;
        client.exec(&id, "echo kept > note").await;
        eventually("its owner is told", async || {
            told(world, &id).await.contains(&"rest_failed".to_owned())
        })
        .await;
        becomes(&client, &id, "stopped").await;
        assert!(world.data().join(place(&id)).exists());
        std::fs::remove_file(world.data().join("archive")).unwrap();
        becomes(&client, &id, "archived").await;
        assert_eq!(client.exec(&id, "cat note").await["stdout"], "kept\n");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_use_does_not_wait_for_the_end_of_archiving() {
    World::run(async |world| {
        let client = world.client();
        let id = sandbox(&client, archiving()).await;
        client
            .exec(&id, "echo kept > note; head -c 64M /dev/urandom > noise")
            .await;
        eventually("some of it is in the archive", async || {
            bytes_below(&world.data().join("archive")) > 4 << 20
        })
        .await;
        assert_eq!(client.exec(&id, "cat note").await["stdout"], "kept\n");
        let told = told(world, &id).await;
        assert!(!told.contains(&"archived".to_owned()), "{told:?}");
        assert!(!told.contains(&"rest_failed".to_owned()), "{told:?}");
    })
    .await;
}

/// What is here after a fetch that failed is no more than a part of the files.
#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_that_fails_loses_nothing_whatever_comes_next() {
    World::run(async |world| {
        let client = world.client();
        let id = sandbox(&client, archiving()).await;
        let path = format!("/v1/sandboxes/{id}");
        client.exec(&id, "echo first > note").await;
        let snapshots = format!("{path}/snapshots");
        let first = client.post(&snapshots, json!({})).await.json["id"].clone();
        client.exec(&id, "echo kept > note").await;
        becomes(&client, &id, "archived").await;
        let (store, aside) = (world.data().join("archive"), world.data().join("aside"));

        std::fs::rename(&store, &aside).unwrap();
        assert!(
            client
                .post(&format!("{path}/start"), json!({}))
                .await
                .status
                >= 500
        );
        becomes(&client, &id, "failed").await;
        let refused = client.post(&snapshots, json!({})).await;
        assert_eq!(refused.json["code"], "state_conflict", "{refused:?}");
        assert_eq!(
            client.post(&format!("{path}/stop"), json!({})).await.status,
            200
        );
        becomes(&client, &id, "archived").await;
        assert_eq!(bytes_below(&store), 0, "parts were archived");
        put_back(&aside, &store);
        assert_eq!(client.exec(&id, "cat note").await["stdout"], "kept\n");

        becomes(&client, &id, "archived").await;
        std::fs::rename(&store, &aside).unwrap();
        assert!(
            client
                .post(&format!("{path}/start"), json!({}))
                .await
                .status
                >= 500
        );
        let restored = client
            .post(&format!("{path}/restore"), json!({ "snapshot": first }))
            .await;
        assert_eq!(restored.status, 200, "{restored:?}");
        put_back(&aside, &store);
        assert_eq!(client.exec(&id, "cat note").await["stdout"], "first\n");
    })
    .await;
}

/// Whoever looked for the store may have made its directory.
fn put_back(aside: &std::path::Path, store: &std::path::Path) {
    if store.exists() {
        std::fs::remove_dir_all(store).unwrap();
    }
    std::fs::rename(aside, store).unwrap();
}

fn bytes_below(directory: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => bytes_below(&entry.path()),
            Ok(meta) => meta.len(),
            // It was there under another name.
            Err(_) => 0,
        })
        .sum()
}
