//! Ways out of a sandbox, all shut.

use std::os::unix::fs::symlink;
use std::time::Duration;

use glass_runtime::ExecRequest;

use crate::world::{Kind, World, text};

#[tokio::test]
async fn power_over_the_kernel_is_refused() {
    World::run(Kind::Native, async |world| {
        let sandbox = world.up().await;
        for attempt in [
            "mount -t tmpfs none /mnt",
            "mount -t proc none /home/dev",
            "umount /tmp",
            "mknod /home/dev/disk b 254 0",
            "mknod /tmp/mem c 1 1",
            "insmod /bin/busybox",
            "unshare -n true",
            "unshare -U true",
            "unshare -m true",
            "nsenter -t 1 -n true",
            "chroot /home true",
            "pivot_root / /tmp",
            "hostname other",
            "swapon /home/dev/.profile",
            "reboot -f",
            "arping -c 1 -I lo 127.0.0.1",
            "ifconfig lo down",
            "chown 0 /home/dev/.profile",
            "dmesg",
        ] {
            let output = sandbox.shell(&format!("busybox {attempt}")).await;
            assert_ne!(output.exit_code, 0, "{attempt}: {output:?}");
        }
        sandbox.guest.health().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn the_host_is_not_to_be_seen() {
    World::run(Kind::Native, async |world| {
        let sandbox = world.up().await;
        for (path, why) in [
            ("/proc/kcore", "the kernel's memory"),
            ("/proc/keys", "the kernel's keys"),
            ("/proc/timer_list", "the host's timers"),
            ("/proc/sysrq-trigger", "the kernel's emergency brake"),
        ] {
            let output = sandbox.shell(&format!("busybox head -c 8 {path}")).await;
            assert_eq!(text(&output), "", "{why}");
        }
        let devices = text(&sandbox.shell("busybox ls /dev").await);
        let devices: Vec<&str> = devices.split_whitespace().collect();
        assert_eq!(
            devices,
            [
                "fd", "full", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout",
                "tty", "urandom", "zero"
            ]
        );
        let processes = text(&sandbox.shell("busybox ls /proc").await);
        let processes = processes.lines().filter(|l| l.parse::<u32>().is_ok());
        assert!(processes.count() < 6);
        let writes = sandbox
            .shell("echo 1 > /proc/sys/kernel/panic; echo b > /proc/sysrq-trigger; echo x > /etc/hosts; echo x > /.glasshouse/guest")
            .await;
        assert_ne!(writes.exit_code, 0);
        let filesystems = text(&sandbox.shell("busybox cat /proc/mounts").await);
        assert!(!filesystems.contains("cgroup") && !filesystems.contains("sysfs"));
        let status = text(&sandbox.shell("busybox cat /proc/self/status").await);
        for fact in ["CapEff:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"] {
            assert!(status.contains(fact), "{fact}: {status}");
        }
    })
    .await;
}

#[tokio::test]
async fn neither_the_host_nor_another_sandbox_is_reached() {
    World::run(Kind::Native, async |world| {
        let host = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
        host.set_nonblocking(true).unwrap();
        let port = host.local_addr().unwrap().port();
        let (one, two) = (world.up().await, world.up().await);
        one.background("busybox nc -ll -p 8000 -e busybox echo hello")
            .await;
        drop(one.connect(8000).await);
        for attempt in [
            "127.0.0.1 8000".to_owned(),
            format!("127.0.0.1 {port}"),
            format!("{} {port}", own_address()),
            "169.254.169.254 80".to_owned(),
        ] {
            // The guest takes a connection to another host before anybody has asked the gateway, which nobody serves
            // here: so what counts is that nothing comes back, and that nobody came.
            let output = two
                .shell(&format!("busybox nc -w 1 {attempt} </dev/null"))
                .await;
            assert_eq!(text(&output), "", "{attempt}: {output:?}");
            let came = host.accept().map(|(_, from)| from);
            assert!(came.is_err(), "{attempt}: the host was reached: {came:?}");
        }
    })
    .await;
}

/// What a user, or an agent, does to the home by mistake or malice has to be mendable from inside.
#[tokio::test]
async fn a_spoilt_home_does_not_keep_a_sandbox_down() {
    World::run(Kind::Native, async |world| {
        for spoil in [
            "busybox rm -r workspace; echo > workspace",
            "busybox rm -r workspace; busybox ln -s nowhere workspace",
            "busybox rm -r workspace; busybox ln -s / workspace",
            "busybox rm -r workspace; busybox mkfifo workspace",
            "busybox chmod 0 .",
        ] {
            let sandbox = world.up().await;
            let done = sandbox.shell(&format!("cd ~ && {spoil}")).await;
            assert_eq!(done.exit_code, 0, "{spoil}: {done:?}");
            world
                .runtime
                .stop(&sandbox.id, Duration::from_secs(5))
                .await
                .unwrap();
            world.runtime.start(&sandbox.spec).await.unwrap();
            let request = ExecRequest {
                command: [
                    "sh",
                    "-c",
                    "busybox chmod 755 ~; busybox rm -rf ~/workspace",
                ]
                .map(str::to_owned)
                .to_vec(),
                cwd: Some("/".to_owned()),
                ..ExecRequest::default()
            };
            let mended = sandbox.guest.exec(request).await.unwrap();
            assert_eq!(mended.exit_code, 0, "{spoil}: {mended:?}");
            world.runtime.destroy(&sandbox.id).await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn links_of_an_image_lead_nowhere() {
    World::run(Kind::Native, async |world| {
        let outside = world.dir.path().join("outside");
        std::fs::create_dir(&outside).unwrap();
        let layer = world.dir.path().join("hostile");
        std::fs::create_dir(&layer).unwrap();
        for name in [
            "home",
            "tmp",
            "run",
            "dev",
            "proc",
            "etc",
            "var",
            ".glasshouse",
            "sys",
        ] {
            symlink(&outside, layer.join(name)).unwrap();
        }
        let mut spec = world.spec();
        spec.layers.push(layer);
        let sandbox = world.up_with(spec).await;
        sandbox.shell("echo x > ~/file; echo x > /tmp/file").await;
        assert_eq!(text(&sandbox.shell("cat ~/file").await), "x\n");
        world.runtime.destroy(&sandbox.id).await.unwrap();
        assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
    })
    .await;
}

/// An address of this host that is not its loopback, if it has one.
fn own_address() -> String {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    match socket.connect("192.0.2.1:9") {
        Ok(()) => socket.local_addr().unwrap().ip().to_string(),
        Err(_) => "127.0.0.1".to_owned(),
    }
}
