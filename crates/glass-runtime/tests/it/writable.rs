//! A root that persists, and what its root may and may not do.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use glass_guest_protocol::connect::Code;
use glass_runtime::{DiskFiles, ExecOutput, ExecRequest, GuestError, SandboxSpec};
use glass_types::RootMode;

use crate::world::{Kind, Sandbox, World, text};

const GRACE: Duration = Duration::from_secs(5);

fn writable(world: &World) -> SandboxSpec {
    let mut spec = world.spec();
    spec.root = RootMode::Writable;
    spec
}

async fn try_as_root(sandbox: &Sandbox, script: &str) -> Result<ExecOutput, GuestError> {
    let request = ExecRequest {
        command: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
        user: Some("root".to_owned()),
        cwd: Some("/".to_owned()),
        timeout: Some(Duration::from_secs(30)),
        ..ExecRequest::default()
    };
    sandbox.guest.exec(request).await
}

async fn as_root(sandbox: &Sandbox, script: &str) -> ExecOutput {
    try_as_root(sandbox, script).await.unwrap()
}

async fn restart(world: &World, sandbox: &Sandbox) {
    world.runtime.stop(&sandbox.id, GRACE).await.unwrap();
    world.runtime.start(&sandbox.spec).await.unwrap();
}

#[tokio::test]
async fn what_root_writes_anywhere_stays() {
    World::run(Kind::Native, async |world| {
        let sandbox = world.up_with(writable(world)).await;
        let done = as_root(
            &sandbox,
            "set -e; echo one > /opt/one; echo two > /etc/two; busybox mkdir -p /usr/lib/three; echo 3 > /usr/lib/three/x
             echo '192.0.2.1 friend' >> /etc/hosts; busybox rm /bin/echo; busybox chmod 700 /opt/one",
        )
        .await;
        assert_eq!(done.exit_code, 0, "{done:?}");
        for _ in 0..2 {
            restart(world, &sandbox).await;
            let seen = as_root(&sandbox, "cat /opt/one /etc/two /usr/lib/three/x /etc/hosts; busybox stat -c %a /opt/one; ls /bin/echo").await;
            let seen = text(&seen);
            for line in ["one\n", "two\n", "3\n", "192.0.2.1 friend\n", "700\n", sandbox.id.as_str()] {
                assert!(seen.contains(line), "{line:?} is not in {seen}");
            }
            assert!(!seen.contains("/bin/echo"), "a removed file of the image is back");
            assert_eq!(seen.matches(sandbox.id.as_str()).count(), 1, "{seen}");
        }
        let own = sandbox.shell("touch /opt/mine; cat /opt/one").await;
        assert_eq!(text(&own), "", "the user is root without asking: {own:?}");
    })
    .await;
}

#[tokio::test]
async fn a_throw_away_root_is_thrown_away_and_has_no_root() {
    World::run(Kind::Native, async |world| {
        let sandbox = world.up().await;
        let refused = try_as_root(&sandbox, "true").await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied);
        assert!(refused.to_string().contains("writable root"), "{refused}");
        let suid = sandbox.shell("/bin/su -c id").await;
        assert!(!text(&suid).contains("uid=0"), "{suid:?}");
        // What persists of the one mode is not there in the other.
        let mut spec = sandbox.spec.clone();
        spec.root = RootMode::Writable;
        world.runtime.stop(&sandbox.id, GRACE).await.unwrap();
        world.runtime.start(&spec).await.unwrap();
        assert_eq!(as_root(&sandbox, "echo x > /opt/x").await.exit_code, 0);
        restart(world, &sandbox).await;
        assert_eq!(text(&sandbox.shell("ls /opt").await), "");
    })
    .await;
}

#[tokio::test]
async fn a_program_of_root_gives_its_user_what_it_takes_to_install_and_no_more() {
    World::run(Kind::Native, async |world| {
        let sandbox = world.up_with(writable(world)).await;
        let got = sandbox
            .shell("/bin/su -c 'id -u; busybox cat /proc/self/status; echo x > /opt/by-su'")
            .await;
        let got = text(&got);
        assert!(got.starts_with("0\n"), "{got}");
        let own = text(&sandbox.shell("busybox cat /proc/self/status").await);
        let root = text(&as_root(&sandbox, "busybox cat /proc/self/status").await);
        // chown dac_override fowner fsetid kill setgid setuid net_bind_service setfcap
        let set = "00000000800004fb";
        for (status, effective) in [(&got, set), (&root, set), (&own, "0000000000000000")] {
            let line = format!("CapEff:\t{effective}\n");
            assert!(status.contains(&line), "{line} is not in {status}");
            assert!(status.contains(&format!("CapBnd:\t{set}\n")), "{status}");
            assert!(status.contains("CapAmb:\t0000000000000000\n"), "{status}");
            assert!(status.contains("CapInh:\t0000000000000000\n"), "{status}");
            assert!(status.contains("Seccomp:\t2\n"), "{status}");
        }
        for (what, script) in [
            (
                "its name",
                "busybox chown 1000:1000 /opt/by-su && busybox chmod 4755 /opt/by-su",
            ),
            (
                "another's identity",
                "/bin/su dev -c 'test $(id -u) = 1000'",
            ),
            (
                "a file of nobody's",
                "echo x > /srv/x && busybox chmod 0 /srv/x && echo y > /srv/x",
            ),
        ] {
            let done = as_root(&sandbox, script).await;
            assert_eq!(done.exit_code, 0, "{what}: {done:?}");
        }
        let nobody = ExecRequest {
            command: vec!["id".to_owned()],
            user: Some("somebody".to_owned()),
            ..ExecRequest::default()
        };
        let refused = sandbox.guest.exec(nobody).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(refused.to_string().contains("\"somebody\""), "{refused}");
    })
    .await;
}

#[tokio::test]
async fn root_of_a_sandbox_cannot_take_over_its_guest() {
    World::run(Kind::Native, async |world| {
        let sandbox = world.up_with(writable(world)).await;
        let _gateway = world.runtime.gateway(&sandbox.id).await.unwrap();
        for (what, script) in [
            (
                "memory",
                "busybox dd if=/proc/1/mem bs=1 count=1 skip=4194304",
            ),
            (
                "environment",
                "busybox cat /proc/1/environ | busybox grep -q .",
            ),
            ("a file", "busybox readlink /proc/1/fd/3"),
            ("a file, to use", "exec 9<>/proc/1/fd/3"),
            ("root", "ls /proc/1/root/"),
            ("directory", "ls /proc/1/cwd/"),
            ("program", "busybox readlink /proc/1/exe"),
            ("maps", "busybox grep -q . /proc/1/maps"),
            ("namespaces", "busybox readlink /proc/1/ns/net"),
            ("program, to write", "echo x > /.glasshouse/guest"),
            ("program, to remove", "busybox rm -f /.glasshouse/guest"),
            (
                "program, to hide",
                "busybox mount -t tmpfs none /.glasshouse",
            ),
            ("gateway, to write", "touch /run/glasshouse/x"),
            (
                "gateway, to remove",
                "busybox rm -f /run/glasshouse/gateway.sock",
            ),
            ("settings, to write", "echo 1 > /proc/sys/kernel/panic"),
        ] {
            let tried = as_root(&sandbox, script).await;
            assert_ne!(tried.exit_code, 0, "{what}: {tried:?}");
        }
        as_root(&sandbox, "kill -9 1; kill -9 -1").await;
        sandbox.guest.health().await.unwrap();
    })
    .await;
}

/// A shell script that spoils the sandbox's files from outside, in the directory that holds `upper`, and is given the
/// names of a directory and a file of the host.
type Spoil = (&'static str, &'static str);

const SPOILT: &[Spoil] = &[
    (
        "links to the host in the place of every directory",
        "for d in .glasshouse dev etc home proc run sys tmp var opt srv; do rm -rf upper/$d; ln -s $1 upper/$d; done",
    ),
    (
        "links to the host below directories",
        "rm -rf upper/home upper/var; mkdir -p upper/home upper/var/lib; ln -s $1 upper/home/dev; ln -s $1 upper/var/lib/glasshouse",
    ),
    (
        "a link to the host further up",
        "rm -rf upper/var; mkdir upper/var; ln -s $1 upper/var/lib",
    ),
    (
        "links that climb",
        "for d in etc home var .glasshouse; do rm -rf upper/$d; ln -s ../../../../../../../../../../../$1 upper/$d; done",
    ),
    (
        "links through proc",
        "for d in etc home tmp; do rm -rf upper/$d; ln -s /proc/self/root$1 upper/$d; done",
    ),
    (
        "links in a circle",
        "for d in etc home tmp; do rm -rf upper/$d; ln -s $d upper/$d; done",
    ),
    (
        "links in the place of files",
        "for f in .glasshouse/guest etc/hostname etc/hosts etc/resolv.conf; do rm -rf upper/$f; ln -s $2 upper/$f; done",
    ),
    (
        "another name of a file of the disk",
        "echo secret > outside; for f in .glasshouse/guest etc/hostname etc/hosts etc/resolv.conf; do rm -rf upper/$f; ln outside upper/$f; done",
    ),
    (
        "directories in the place of files",
        "for f in .glasshouse/guest etc/hostname etc/hosts etc/resolv.conf; do rm -rf upper/$f; mkdir -p upper/$f/deep; ln -s $1 upper/$f/deep/link; done",
    ),
    (
        "pipes in the place of files",
        "for f in .glasshouse/guest etc/hostname etc/hosts etc/resolv.conf; do rm -rf upper/$f; mkfifo upper/$f; done",
    ),
    (
        "pipes in the place of directories",
        "for d in .glasshouse dev etc home proc run sys tmp var; do rm -rf upper/$d; mkfifo upper/$d; done",
    ),
    (
        "devices in the place of files and directories",
        "for f in .glasshouse/guest etc/hosts etc/hostname home dev proc tmp; do rm -rf upper/$f; mknod upper/$f c 1 8; done",
    ),
    (
        "a disk in the place of a directory",
        "rm -rf upper/home upper/etc; mknod upper/home b 7 0; mknod upper/etc b 259 0",
    ),
    (
        "marks that hide what the image has",
        "for d in .glasshouse dev etc home proc run sys tmp var opt srv bin; do rm -rf upper/$d; mknod upper/$d c 0 0; done; rm upper/bin",
    ),
    (
        "nothing at all",
        "rm -rf upper/* upper/.glasshouse work state",
    ),
    ("no upper", "rm -rf upper; ln -s $1 upper"),
    (
        "a link in the place of overlay's own directory",
        "rm -rf work; ln -s $1 work",
    ),
    (
        "modes and owners that shut out everybody",
        "find upper -type d -exec chmod 0 {} +; chown -R 65534:65534 upper",
    ),
    (
        "set-user-id on every directory",
        "find upper -type d -exec chmod 7777 {} +",
    ),
    (
        "what overlay says of other places",
        "mkdir -p upper/opt/x; python3 -c 'import os
os.setxattr(\"upper/opt/x\", \"trusted.overlay.redirect\", b\"/../../../..\")
os.setxattr(\"upper/etc\", \"trusted.overlay.opaque\", b\"y\")
os.setxattr(\"upper/home\", \"trusted.overlay.redirect\", b\"/etc\")
open(\"upper/opt/m\", \"w\").close()
os.setxattr(\"upper/opt/m\", \"trusted.overlay.metacopy\", b\"\")
os.setxattr(\"upper/opt/m\", \"trusted.overlay.redirect\", b\"/bin/busybox\")'",
    ),
];

#[tokio::test]
async fn nothing_that_an_upper_holds_leads_the_launcher_out() {
    World::run(Kind::Native, async |world| {
        let outside = world.dir.path().join("outside");
        std::fs::create_dir(&outside).unwrap();
        let file = outside.join("file");
        std::fs::write(&file, "of the host").unwrap();
        let before = look(&outside);
        let sandbox = world.up_with(writable(world)).await;
        as_root(&sandbox, "echo kept > /home/dev/kept").await;
        for (what, script) in SPOILT {
            world.runtime.stop(&sandbox.id, GRACE).await.unwrap();
            spoil(world, &sandbox, script, &outside, &file).await;
            let started = world.runtime.start(&sandbox.spec).await;
            assert!(started.is_ok(), "{what}: {started:?}");
            assert_eq!(look(&outside), before, "{what}");
            let seen = as_root(
                &sandbox,
                "cat /home/dev/kept /etc/hostname; cat /etc/hosts; ls /proc/self/status; touch /tmp/x /run/x /opt/y /etc/z /home/dev/w; ls -ld / /etc /home; busybox mount",
            )
            .await;
            let seen = text(&seen);
            assert!(seen.starts_with(&format!("kept\n{}\n", sandbox.id)), "{what}: {seen}");
            assert!(seen.contains(&format!("127.0.0.1 localhost {}", sandbox.id)), "{what}: {seen}");
            assert!(seen.contains("/proc/self/status\n"), "{what}: {seen}");
            for mounted in [" /proc ", " /dev ", " /tmp ", " /run ", " /sys ", " /home/dev ", " /var/lib/glasshouse ", " /.glasshouse/guest "] {
                assert!(seen.contains(mounted), "{what}: {mounted} is not in {seen}");
            }
            assert!(!seen.contains("of the host"), "{what}: {seen}");
            let own = sandbox.shell("echo fine > ~/file && cat ~/file").await;
            assert_eq!(text(&own), "fine\n", "{what}: {own:?}");
            assert_eq!(look(&outside), before, "{what}");
        }
    })
    .await;
}

/// What root of the sandbox does to itself is as little in the way of the next start.
#[tokio::test]
async fn a_root_that_spoils_itself_starts_again() {
    World::run(Kind::Native, async |world| {
        let sandbox = world.up_with(writable(world)).await;
        for spoil in [
            "busybox mv /etc /gone; busybox ln -s /gone /etc",
            "busybox rm -rf /etc/hosts /etc/hostname; busybox ln -s /proc/1/environ /etc/hosts",
            "busybox mv /opt /o; busybox mv /srv /s; busybox ln -s / /opt; busybox mkfifo /srv",
            "busybox chmod 0 / /etc /home /var /var/lib /.glasshouse",
            "busybox chown 1000:1000 / /home /etc",
            "busybox rm -rf /bin /usr /lib 2>/dev/null",
        ] {
            as_root(&sandbox, spoil).await;
            restart(world, &sandbox).await;
            sandbox.guest.health().await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn a_full_disk_does_not_keep_a_writable_root_down() {
    World::run(Kind::Native, async |world| {
        let mut spec = writable(world);
        spec.limits.disk_bytes = 64 << 20;
        let sandbox = world.up_with(spec).await;
        as_root(&sandbox, "busybox dd if=/dev/zero of=/opt/big bs=65536").await;
        as_root(
            &sandbox,
            "cd /srv; i=0; while echo > $i; do i=$((i+1)); done 2>/dev/null",
        )
        .await;
        restart(world, &sandbox).await;
        let freed = as_root(
            &sandbox,
            "busybox rm -rf /opt/big /srv/*; echo fine > /opt/x; cat /opt/x",
        )
        .await;
        assert_eq!(text(&freed), "fine\n", "{freed:?}");
    })
    .await;
}

/// Names, kinds, modes and content of what is in a directory.
fn look(dir: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    use std::os::unix::fs::MetadataExt as _;
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let about = std::fs::symlink_metadata(&path).unwrap();
        let content = if about.is_file() {
            std::fs::read(&path).unwrap()
        } else {
            Vec::new()
        };
        all.insert(path, (about.mode(), content));
    }
    all
}

/// Runs a script where the sandbox's files lie, while it has no process.
async fn spoil(world: &World, sandbox: &Sandbox, script: &str, outside: &Path, file: &Path) {
    let dir = world
        .dir
        .path()
        .join("state/sandboxes")
        .join(sandbox.id.as_str());
    let image = match world.runtime.disk(&sandbox.id).await.unwrap() {
        Some(DiskFiles::Image(image)) => image,
        Some(DiskFiles::Directory(dir)) => dir,
        None => dir.join("disk.img"),
    };
    let mount = world.dir.path().join("spoil");
    std::fs::create_dir_all(&mount).unwrap();
    // A mount of its own namespace goes with the shell.
    let enter = "set -e; if [ -d \"$3\" ]; then cd \"$3\"; else mount -o loop \"$3\" \"$4\"; cd \"$4\"; fi\n";
    let output = tokio::process::Command::new("unshare")
        .args(["-m", "sh", "-c", &format!("{enter}{script}"), "sh"])
        .args([outside, file, &image, &mount])
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{script}: {output:?}");
}
