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
