//! The ways out of containers that are known in public, each tried by the sandbox's user, and by root where a sandbox
//! has one. Every attempt names the refusal that is expected, so a mistake in it does not pass for one.

mod attempts;
mod calls;
mod files;
mod kernel;
mod processes;
mod sockets;

use anyhow::{Context, ensure};
use glass_testing::TestServer;
use serde_json::json;

use crate::harness::server;

use attempts::{Attempt, Who};
pub(crate) use calls::call;

fn all() -> Vec<Attempt> {
    let mut all = calls::attempts();
    all.extend(sockets::attempts());
    for table in [files::ATTEMPTS, kernel::ATTEMPTS, processes::ATTEMPTS] {
        all.extend(table.iter().map(Attempt::of));
    }
    all
}

async fn exec_as(
    server: &TestServer,
    sandbox: &str,
    user: &str,
    command: &str,
) -> anyhow::Result<(i64, String)> {
    let body = json!({ "command": command, "user": user });
    let path = format!("/v1/sandboxes/{sandbox}/exec");
    let (status, answer) = server.api("POST", &path, Some(body)).await?;
    let code = answer["exit_code"].as_i64();
    let code = code.with_context(|| format!("{command}: {status}: {answer}"))?;
    let text = |field: &str| answer[field].as_str().unwrap_or_default().to_owned();
    Ok((code, text("stdout") + &text("stderr")))
}

/// Tries all that `who` stands for; what was not refused is a finding.
async fn try_all(
    server: &TestServer,
    sandbox: &str,
    user: &str,
    whose: &[Who],
) -> anyhow::Result<usize> {
    let mut findings = Vec::new();
    let mut tried = 0;
    for attempt in all() {
        if !whose.contains(&attempt.who) {
            continue;
        }
        tried += 1;
        let (code, printed) = exec_as(server, sandbox, user, &attempt.how).await?;
        if !attempt.is_refused(code, &printed) {
            findings.push(format!("{}: {code}: {printed}", attempt.what));
        }
    }
    ensure!(findings.is_empty(), "not refused to {user}: {findings:#?}");
    // It is as alive as before, and what was tried has changed nothing of it.
    let (code, printed) = exec_as(server, sandbox, user, "echo alive; ls /proc/self/ns").await?;
    ensure!(code == 0 && printed.starts_with("alive\n"), "{printed}");
    Ok(tried)
}

/// The means of the attempts do work where nothing is refused.
async fn the_means_work(server: &TestServer, sandbox: &str, user: &str) -> anyhow::Result<()> {
    for control in [
        call(39, 172, ""),
        sockets::socket(2, 1, 6),
        sockets::socket(16, 3, 0),
        "for program in mount umount unshare nsenter python3 dmesg mknod su hostname setpriv curl sudo \
             /usr/sbin/losetup /usr/sbin/chroot; do command -v $program || exit 1; done"
            .to_owned(),
    ] {
        let (code, printed) = exec_as(server, sandbox, user, &control).await?;
        ensure!(code == 0, "the control {control} failed: {printed}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_user_of_a_sandbox_finds_no_way_out() -> anyhow::Result<()> {
    let server = server().await?;
    let sandbox = server.sandbox(json!({})).await?;
    the_means_work(&server, &sandbox, "dev").await?;
    let whose = [Who::NoRoot, Who::User, Who::Everybody];
    let tried = try_all(&server, &sandbox, "dev", &whose).await?;
    ensure!(tried >= 150, "{tried} attempts");
    status_is(
        &server,
        &sandbox,
        "dev",
        &[
            "CapEff: 0000000000000000",
            "CapBnd: 0000000000000000",
            "NoNewPrivs: 1",
            "Seccomp: 2",
        ],
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_user_nor_root_of_a_writable_sandbox_finds_one() -> anyhow::Result<()> {
    let server = server().await?;
    let sandbox = server.sandbox(json!({ "root": "writable" })).await?;
    try_all(&server, &sandbox, "dev", &[Who::User, Who::Everybody]).await?;
    the_means_work(&server, &sandbox, "root").await?;
    let tried = try_all(&server, &sandbox, "root", &[Who::Everybody]).await?;
    ensure!(tried >= 120, "{tried} attempts");
    let by_sudo = exec_as(&server, &sandbox, "dev", "sudo -n id -u").await?;
    ensure!(by_sudo == (0, "0\n".to_owned()), "{by_sudo:?}");
    status_is(
        &server,
        &sandbox,
        "root",
        &[
            "CapEff: 00000000800004fb",
            "CapBnd: 00000000800004fb",
            "Seccomp: 2",
        ],
    )
    .await
}

async fn status_is(
    server: &TestServer,
    sandbox: &str,
    user: &str,
    lines: &[&str],
) -> anyhow::Result<()> {
    let (code, printed) = exec_as(server, sandbox, user, "cat /proc/self/status").await?;
    ensure!(code == 0, "{printed}");
    let flat = printed.replace('\t', " ");
    for line in lines {
        ensure!(flat.contains(line), "{line} is not in:\n{flat}");
    }
    Ok(())
}

/// A leaked descriptor of the host would show as a directory above which the host lies.
#[tokio::test(flavor = "multi_thread")]
async fn no_working_directory_leads_to_the_host() -> anyhow::Result<()> {
    let server = server().await?;
    let sandbox = server.sandbox(json!({ "root": "writable" })).await?;
    let (_, own) = exec_as(&server, &sandbox, "dev", "cat /etc/hostname").await?;
    let path = format!("/v1/sandboxes/{sandbox}/exec");
    for user in ["dev", "root"] {
        for number in 3..32 {
            for place in ["/proc/self/fd", "/proc/1/fd"] {
                let body = json!({
                    "command": ["cat", "../../../../../../etc/hostname"], "user": user,
                    "cwd": format!("{place}/{number}")
                });
                let (_, answer) = server.api("POST", &path, Some(body)).await?;
                let printed = answer["stdout"].as_str().unwrap_or_default();
                ensure!(
                    printed.is_empty() || printed == own,
                    "{place}/{number}: {answer}"
                );
            }
        }
    }
    Ok(())
}

/// What one sandbox does to a file of its image, no other sees.
#[tokio::test(flavor = "multi_thread")]
async fn the_image_of_others_is_not_written() -> anyhow::Result<()> {
    let server = server().await?;
    let one = server.sandbox(json!({ "root": "writable" })).await?;
    let other = server.sandbox(json!({})).await?;
    let sums =
        "sha256sum /usr/bin/env /etc/passwd /.glasshouse/guest /usr/bin/python3 /bin/ls 2>&1";
    let (_, before) = exec_as(&server, &other, "dev", sums).await?;
    ensure!(before.lines().count() == 5, "{before}");
    // The guest as the interpreter of a script, which has it open while it is to be written.
    let own_exe = "printf '#!/proc/self/exe\\n' > /tmp/run && chmod 755 /tmp/run && { /tmp/run & \
                   for i in $(seq 50); do echo x > /proc/$!/exe; done; } 2>/dev/null; echo x >> /.glasshouse/guest";
    for (user, command) in [
        (
            "root",
            "echo x >> /usr/bin/env; echo x >> /etc/passwd; rm /bin/ls; cp /bin/true /usr/bin/python3",
        ),
        ("root", own_exe),
        ("dev", own_exe),
        (
            "dev",
            "sudo sh -c 'echo evil >> /etc/passwd; echo /tmp/evil.so > /etc/ld.so.preload'",
        ),
    ] {
        exec_as(&server, &one, user, command).await?;
    }
    let (_, changed) = exec_as(&server, &one, "dev", sums).await?;
    ensure!(changed != before, "nothing was tried: {changed}");
    ensure!(
        line_of(&changed, "guest") == line_of(&before, "guest"),
        "the guest was written: {changed}"
    );
    let (_, after) = exec_as(&server, &other, "dev", sums).await?;
    ensure!(after == before, "another sandbox sees it: {after}");
    let fresh = server.sandbox(json!({})).await?;
    let (_, after) = exec_as(&server, &fresh, "dev", sums).await?;
    ensure!(after == before, "a new sandbox sees it: {after}");
    // With a library preloaded that is not there, and without `ls`, it starts again.
    for verb in ["stop", "start"] {
        let (status, answer) = server
            .api("POST", &format!("/v1/sandboxes/{one}/{verb}"), None)
            .await?;
        ensure!(status == 200, "{verb}: {answer}");
    }
    let (code, printed) = exec_as(&server, &one, "dev", "tail -1 /etc/passwd").await?;
    ensure!(code == 0 && printed.contains("evil\n"), "{printed}");
    Ok(())
}

fn line_of<'t>(text: &'t str, word: &str) -> Option<&'t str> {
    text.lines().find(|line| line.contains(word))
}
