//! What goes wrong in a sandbox stays in it.

use std::time::Duration;

use anyhow::ensure;
use glass_testing::TestServer;
use serde_json::json;

use crate::harness::server;

async fn still_works(server: &TestServer, neighbour: &str) -> anyhow::Result<()> {
    let (code, printed) = server
        .exec(neighbour, "echo alive > state && cat state")
        .await?;
    ensure!(
        code == 0 && printed == "alive\n",
        "the neighbour: {printed}"
    );
    let (status, answer) = server.api("GET", "/v1/sandboxes", None).await?;
    ensure!(status == 200, "the server: {answer}");
    let made = server.sandbox(json!({})).await?;
    let (status, _) = server
        .api("DELETE", &format!("/v1/sandboxes/{made}"), None)
        .await?;
    ensure!(status == 204, "a new sandbox could not be removed");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_bomb_stays_in_its_sandbox() -> anyhow::Result<()> {
    let server = server().await?;
    let limits = json!({ "limits": { "pids": 64, "cpu_millis": 500 } });
    let (bomb, neighbour) = (
        server.sandbox(limits).await?,
        server.sandbox(json!({})).await?,
    );
    let code = "import os, time\nfor _ in range(4000):\n  try:\n    if os.fork() == 0:\n      time.sleep(3); os._exit(0)\n  except OSError as error:\n    print(error); break\nelse:\n  print('no limit')\ntime.sleep(1)\n";
    let (_, printed) = server
        .exec(&bomb, &format!("python3 -c \"{code}\""))
        .await?;
    ensure!(
        printed.contains("Resource temporarily unavailable"),
        "{printed}"
    );
    // One that takes every process as soon as it is free, and longer than an idle thread of the supervisor would live.
    let code = "import os, time\nend = time.time() + 25\nwhile time.time() < end:\n  try:\n    os.fork()\n  except OSError:\n    pass\n";
    let command = format!("setsid python3 -c \"{code}\" >/dev/null 2>&1 & sleep 0.5");
    server.exec(&bomb, &command).await?;
    still_works(&server, &neighbour).await?;
    let full = server.exec(&bomb, "echo room").await;
    ensure!(
        !matches!(&full, Ok((0, printed)) if printed == "room\n"),
        "the bomb left room"
    );
    let over = tokio::time::Instant::now() + Duration::from_secs(90);
    loop {
        let (_, answer) = server
            .api("GET", &format!("/v1/sandboxes/{bomb}"), None)
            .await?;
        ensure!(answer["state"] == "running", "the bomb ended it: {answer}");
        if let Ok((0, printed)) = server.exec(&bomb, "echo room").await
            && printed == "room\n"
        {
            break;
        }
        ensure!(
            tokio::time::Instant::now() < over,
            "it does not recover from the bomb"
        );
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let (status, _) = server
        .api("DELETE", &format!("/v1/sandboxes/{bomb}"), None)
        .await?;
    ensure!(status == 204, "the bombed sandbox cannot be removed");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_memory_hog_stays_in_its_sandbox() -> anyhow::Result<()> {
    let server = server().await?;
    let limits = json!({ "limits": { "memory_bytes": 256 << 20 } });
    let (hog, neighbour) = (
        server.sandbox(limits).await?,
        server.sandbox(json!({})).await?,
    );
    let (code, printed) = server
        .exec(
            &hog,
            "python3 -c \"x = []\nwhile len(x) < 4096: x.append(b'x' * (1 << 20))\"",
        )
        .await?;
    ensure!(
        code == 137 || printed.contains("MemoryError"),
        "{code}: {printed}"
    );
    still_works(&server, &neighbour).await?;
    let (code, printed) = server.exec(&hog, "echo still here").await?;
    ensure!(code == 0, "the hog's sandbox did not survive it: {printed}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stays_in_its_sandbox() -> anyhow::Result<()> {
    let server = server().await?;
    let limits = json!({ "limits": { "disk_bytes": 256 << 20 } });
    let (full, neighbour) = (
        server.sandbox(limits).await?,
        server.sandbox(json!({})).await?,
    );
    let (code, printed) = server
        .exec(&full, "dd if=/dev/zero of=big bs=1M count=1024")
        .await?;
    ensure!(
        code != 0 && printed.contains("No space left on device"),
        "{code}: {printed}"
    );
    still_works(&server, &neighbour).await?;
    let path = format!("/v1/sandboxes/{full}/files/content?path=more.txt");
    let (status, problem) = server
        .api("PUT", &path, Some(json!("x".repeat(1 << 20))))
        .await?;
    ensure!(
        status == 507 && problem["code"] == "disk_full" && problem["remedy"].is_string(),
        "{status}: {problem}"
    );
    let (code, printed) = server
        .exec(&full, "test ! -e more.txt && ls -A | grep -vx big")
        .await?;
    ensure!(code == 1, "half a file was left: {printed}");
    let (code, _) = server.exec(&full, "rm big && echo fine > more.txt").await?;
    ensure!(code == 0, "the sandbox does not recover");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_watches_files_leaves_others_their_watchers() -> anyhow::Result<()> {
    let server = server().await?;
    let (greedy, neighbour) = (
        server.sandbox(json!({})).await?,
        server.sandbox(json!({})).await?,
    );
    // Prints how many watchers it got, and keeps them.
    let watch = |most: u32| {
        format!(
            "mkfifo got; nohup python3 -c \"import ctypes, time\nlibc = ctypes.CDLL(None)\nn = 0\n\
             while n < {most} and libc.inotify_init1(0) >= 0: n += 1\n\
             print(n, file=open('got', 'w'), flush=True); time.sleep(600)\" >/dev/null 2>&1 & cat got"
        )
    };
    let (_, printed) = server.exec(&greedy, &watch(60_000)).await?;
    let got: u32 = printed.trim().parse()?;
    ensure!(got < 60_000, "it got as many as it wanted: {got}");
    let (_, printed) = server.exec(&neighbour, &watch(100)).await?;
    ensure!(printed == "100\n", "{got} left only {printed}");
    rustix::fs::inotify::init(rustix::fs::inotify::CreateFlags::CLOEXEC)?;
    still_works(&server, &neighbour).await
}
