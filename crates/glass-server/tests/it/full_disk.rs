//! The disk of the server is full.

use std::path::Path;

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use serde_json::json;

use crate::world::{World, eventually};

/// A small file system, gone with the value. Needs root, as all of the product does.
struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    fn mount(at: &'a Path, size: &str) -> Self {
        let options = std::ffi::CString::new(format!("size={size}")).unwrap();
        mount(
            "tmpfs",
            at,
            "tmpfs",
            MountFlags::empty(),
            options.as_c_str(),
        )
        .unwrap();
        Self(at)
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        unmount(self.0, UnmountFlags::DETACH).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_said_and_leaves_nothing() {
    let place = tempfile::tempdir().unwrap();
    let at = place.path();
    // Dropped before the directory that it is mounted at.
    let _disk = SmallDisk::mount(at, "64m");
    let dir = tempfile::tempdir().unwrap();
    World::run_in(dir, at.join("data"), async |world| {
        let client = world.client();
        let id = client.sandbox().await;
        let before = client.get("/v1/sandboxes").await.json;
        let filler = at.join("filler");
        fill(&filler);
        let mut refused = 0;
        for _ in 0..8 {
            let answer = client.post("/v1/sandboxes", json!({})).await;
            // What still fits into the blocks of the database is as good; it must be whole then.
            if answer.status != 201 {
                answer
                    .is_problem(507, "disk_full")
                    .advises("free some space");
                refused += 1;
            }
        }
        assert!(refused > 0, "the disk was not full");
        // A task that was taken is there, also when the disk became full with it.
        let tasks = format!("/v1/sandboxes/{id}/tasks");
        let mut lost = 0;
        for _ in 0..8 {
            let body = json!({ "prompt": "x".repeat(9000), "agent": "scripted" });
            let answer = client.post(&tasks, body).await;
            if answer.status == 202 {
                let task = answer.json["id"].as_str().unwrap();
                lost += usize::from(client.get(&format!("/v1/tasks/{task}")).await.status != 200);
            } else {
                answer.is_problem(507, "disk_full");
            }
        }
        assert_eq!(lost, 0, "tasks that were taken are gone");
        let file = format!("/v1/sandboxes/{id}/files/content?path=big");
        // One piece: what happens to the rest of a longer one is the guest's business.
        let answer = client.put(&file, vec![b'x'; 4096]).await;
        answer.is_problem(507, "disk_full").advises("remove files");
        // Reading goes on.
        assert_eq!(client.get(&format!("/v1/sandboxes/{id}")).await.status, 200);
        std::fs::remove_file(&filler).unwrap();
        let rows = client.get("/v1/sandboxes").await.json;
        let rows = rows["sandboxes"].as_array().unwrap().len();
        assert_eq!(
            rows + refused,
            before["sandboxes"].as_array().unwrap().len() + 8
        );
        // The reconciler finds what a start left that could not even note what it had started.
        eventually("nothing is left of what was refused", async || {
            world.runtime().list().await.unwrap().len() == rows
        })
        .await;
        let name = client.get(&file.replace("/content", "/stat")).await;
        name.is_problem(404, "file_not_found");
        // And with space everything works again, without a restart.
        let other = client.sandbox().await;
        assert_eq!(
            client.exec(&other, "echo x > y && cat y").await["stdout"],
            "x\n"
        );
    })
    .await;
}

/// Writes until nothing more fits.
fn fill(path: &Path) {
    use std::io::Write as _;
    let mut file = std::fs::File::create(path).unwrap();
    for size in [1 << 20, 4096, 1] {
        let block = vec![0; size];
        while file.write_all(&block).is_ok() {}
    }
}
