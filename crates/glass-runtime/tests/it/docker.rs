//! What only Docker does, and what others do to its containers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bollard::Docker;
use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, InspectContainerOptions, ListContainersOptionsBuilder,
    ListImagesOptions, ListVolumesOptions, RemoveContainerOptionsBuilder,
    RemoveImageOptionsBuilder,
};
use glass_runtime::{Activity, GuestClient, Runtime, RuntimeError};
use glass_testing::Dockerd;
use glass_types::{Isolation, Limits, RootMode};

use crate::world::{Kind, Sandbox, World, docker_runtime, make_image, shell, text};

const GRACE: Duration = Duration::from_secs(5);

fn api(dockerd: &Dockerd) -> Docker {
    let socket = dockerd.socket();
    Docker::connect_with_unix(socket.to_str().unwrap(), 60, bollard::API_DEFAULT_VERSION).unwrap()
}

async fn client(world: &World) -> Docker {
    let dockerd = world.dockerd.as_deref().unwrap();
    api(dockerd).negotiate_version().await.unwrap()
}

/// The full ids of all containers of a sandbox.
async fn containers(docker: &Docker, sandbox: &Sandbox) -> Vec<String> {
    let label = format!("io.glasshouse.sandbox={}", sandbox.id);
    let options = ListContainersOptionsBuilder::new()
        .all(true)
        .filters(&HashMap::from([("label", vec![label])]))
        .build();
    let found = docker.list_containers(Some(options)).await.unwrap();
    found.into_iter().filter_map(|found| found.id).collect()
}

#[tokio::test]
async fn a_stopped_sandbox_has_nothing_in_the_daemon_and_a_destroyed_one_nothing_anywhere() {
    World::run(Kind::Docker, async |world| {
        let docker = client(world).await;
        let sandbox = world.up().await;
        assert_eq!(containers(&docker, &sandbox).await.len(), 1);
        world.runtime.stop(&sandbox.id, GRACE).await.unwrap();
        assert_eq!(containers(&docker, &sandbox).await.len(), 0);
        let volumes = docker.list_volumes(None::<ListVolumesOptions>).await;
        let volumes = volumes.unwrap().volumes.unwrap_or_default();
        let mine = volumes
            .iter()
            .filter(|volume| volume.name.contains(sandbox.id.as_str()));
        assert_eq!(mine.count(), 0);
        world.runtime.destroy(&sandbox.id).await.unwrap();
        let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!table.contains(world.dir.path().to_str().unwrap()));
        let left = std::fs::read_dir(world.dir.path().join("state/sandboxes")).unwrap();
        assert_eq!(left.count(), 0);
    })
    .await;
}

#[tokio::test]
async fn a_container_that_somebody_removes_is_noticed_and_made_again_with_its_files() {
    World::run(Kind::Docker, async |world| {
        let docker = client(world).await;
        let sandbox = world.up().await;
        sandbox.shell("echo kept > ~/file").await;
        let runtime = Arc::clone(&world.runtime);
        let id = sandbox.id.clone();
        let waiting = tokio::spawn(async move { runtime.exited(&id).await });
        let force = RemoveContainerOptionsBuilder::new()
            .force(true)
            .v(true)
            .build();
        let name = &containers(&docker, &sandbox).await[0];
        docker.remove_container(name, Some(force)).await.unwrap();
        waiting.await.unwrap().unwrap();
        assert_eq!(
            world.runtime.list().await.unwrap()[0].activity,
            Activity::Stopped
        );
        let stats = world.runtime.stats(&sandbox.id).await;
        assert!(
            matches!(stats, Err(RuntimeError::NotRunning(_))),
            "{stats:?}"
        );
        let frozen = world.runtime.freeze(&sandbox.id).await;
        assert!(
            matches!(frozen, Err(RuntimeError::NotRunning(_))),
            "{frozen:?}"
        );
        let guest = world.runtime.guest(&sandbox.id).await;
        assert!(matches!(guest, Err(RuntimeError::NotRunning(_))));
        world.runtime.start(&sandbox.spec).await.unwrap();
        assert_eq!(text(&sandbox.shell("cat ~/file").await), "kept\n");
    })
    .await;
}

#[tokio::test]
async fn an_image_that_somebody_removes_is_loaded_again() {
    World::run(Kind::Docker, async |world| {
        let docker = client(world).await;
        let sandbox = world.up().await;
        let container = &containers(&docker, &sandbox).await[0];
        let container = docker
            .inspect_container(container, None::<InspectContainerOptions>)
            .await
            .unwrap();
        let image = container.config.unwrap().image.unwrap();
        world.runtime.stop(&sandbox.id, GRACE).await.unwrap();
        let force = RemoveImageOptionsBuilder::new().force(true).build();
        docker
            .remove_image(&image, Some(force), None)
            .await
            .unwrap();
        // One that was made of other layers has another name.
        let record = world.dir.path().join("state/sandboxes");
        let record = record.join(sandbox.id.as_str()).join("sandbox.json");
        let known = std::fs::read_to_string(&record).unwrap();
        assert!(known.contains(&image), "{known}");
        std::fs::write(&record, known.replace(&image, "glasshouse-gone:none")).unwrap();
        world.runtime.start(&sandbox.spec).await.unwrap();
        assert_eq!(sandbox.shell("exit 3").await.exit_code, 3);
        assert_eq!(std::fs::read_to_string(&record).unwrap(), known);
    })
    .await;
}

#[tokio::test]
async fn what_the_guest_said_last_is_told_until_a_stop() {
    World::run(Kind::Docker, async |world| {
        let sandbox = world.up().await;
        assert_eq!(world.runtime.last_words(&sandbox.id).await, None);
        world.runtime.stop(&sandbox.id, GRACE).await.unwrap();
        let state = world.dir.path().join("state/sandboxes");
        let agents = state.join(sandbox.id.as_str()).join("disk/state/agents");
        std::fs::remove_dir_all(&agents).unwrap();
        std::fs::write(&agents, "").unwrap();
        let error = world.runtime.start(&sandbox.spec).await.unwrap_err();
        let words = world.runtime.last_words(&sandbox.id).await.unwrap();
        assert!(words.contains("agents"), "{words}");
        assert!(error.to_string().contains(&words), "{error}");
        world.runtime.stop(&sandbox.id, GRACE).await.unwrap();
        assert_eq!(world.runtime.last_words(&sandbox.id).await, None);
    })
    .await;
}

#[tokio::test]
async fn images_whose_layers_are_gone_are_removed() {
    World::run(Kind::Docker, async |world| {
        let docker = client(world).await;
        let images = async || {
            let all = docker.list_images(None::<ListImagesOptions>).await.unwrap();
            let own = world.dir.path().to_str().unwrap();
            let own = all
                .into_iter()
                .filter(|image| image.labels.values().any(|label| label.contains(own)));
            own.count()
        };
        let mut spec = world.spec();
        let layer = world.dir.path().join("other");
        make_image(&layer);
        spec.layers = vec![layer.clone()];
        world.runtime.create(&spec).await.unwrap();
        world.runtime.destroy(&spec.id).await.unwrap();
        assert_eq!(images().await, 1);
        drop(world.reopen().await);
        assert_eq!(images().await, 1, "it may be needed again");
        std::fs::remove_dir_all(&layer).unwrap();
        drop(world.reopen().await);
        assert_eq!(images().await, 0);
    })
    .await;
}

#[tokio::test]
async fn what_others_have_in_the_daemon_is_left_alone() {
    World::run(Kind::Docker, async |world| {
        let docker = client(world).await;
        let sandbox = world.up().await;
        let container = &containers(&docker, &sandbox).await[0];
        let container = docker
            .inspect_container(container, None::<InspectContainerOptions>)
            .await
            .unwrap();
        // Another server's, by all but the state directory.
        let body = ContainerCreateBody {
            image: container.config.unwrap().image,
            cmd: Some(vec!["/bin/sleep".to_owned(), "1".to_owned()]),
            labels: Some(HashMap::from([
                ("io.glasshouse.state".to_owned(), "another".to_owned()),
                ("io.glasshouse.sandbox".to_owned(), sandbox.id.to_string()),
            ])),
            ..ContainerCreateBody::default()
        };
        let name = format!("foreign-{}", sandbox.id);
        let options = CreateContainerOptionsBuilder::new().name(&name).build();
        docker.create_container(Some(options), body).await.unwrap();
        assert_eq!(world.runtime.list().await.unwrap().len(), 1);
        world.runtime.destroy(&sandbox.id).await.unwrap();
        assert_eq!(world.runtime.list().await.unwrap(), []);
        let left = containers(&docker, &sandbox).await;
        assert_eq!(left.len(), 1);
        docker
            .remove_container(&left[0], Some(RemoveContainerOptionsBuilder::new().build()))
            .await
            .unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_restart_of_the_daemon_is_noticed_and_one_with_live_restore_is_not() {
    for (arguments, lives) in [(&[][..], false), (&["--live-restore"][..], true)] {
        let dir = tempfile::tempdir().unwrap();
        make_image(&dir.path().join("image"));
        let mut dockerd = Dockerd::start(arguments).unwrap();
        let runtime: Arc<dyn Runtime> =
            Arc::new(docker_runtime(dir.path().join("state"), &dockerd).await);
        let spec = crate::world::spec(dir.path().join("image"));
        runtime.create(&spec).await.unwrap();
        runtime.start(&spec).await.unwrap();
        let guest = GuestClient::new(Arc::clone(&runtime), spec.id.clone());
        shell(&guest, "echo kept > ~/file").await;
        let waiting = {
            let (runtime, id) = (Arc::clone(&runtime), spec.id.clone());
            tokio::spawn(async move { runtime.exited(&id).await })
        };
        dockerd.down();
        if lives {
            assert_eq!(text(&shell(&guest, "cat ~/file").await), "kept\n");
        }
        dockerd.up().unwrap();
        let activity = runtime.list().await.unwrap()[0].activity;
        if lives {
            assert_eq!(activity, Activity::Running);
            assert!(!waiting.is_finished());
            runtime.stop(&spec.id, GRACE).await.unwrap();
        } else {
            assert_eq!(activity, Activity::Stopped);
        }
        waiting.await.unwrap().unwrap();
        runtime.start(&spec).await.unwrap();
        assert_eq!(text(&shell(&guest, "cat ~/file").await), "kept\n");
        runtime.destroy(&spec.id).await.unwrap();
    }
}

#[tokio::test]
async fn what_docker_cannot_do_is_refused_by_name() {
    World::run(Kind::Docker, async |world| {
        assert!(world.runtime.snapshots().is_none());
        let mut spec = world.spec();
        spec.root = RootMode::Writable;
        let error = world.runtime.create(&spec).await.unwrap_err().to_string();
        assert!(error.contains("writable"), "{error}");
        let mut spec = world.spec();
        spec.isolation = Isolation::Gvisor;
        let error = world.runtime.create(&spec).await.unwrap_err().to_string();
        assert!(
            error.contains("gvisor") && error.contains("runsc"),
            "{error}"
        );
        let error = world.runtime.supports(Isolation::MicroVm).unwrap_err();
        assert!(error.to_string().contains("microvm"), "{error}");
        assert_eq!(world.runtime.list().await.unwrap(), []);
    })
    .await;
}

#[tokio::test]
async fn a_sandbox_is_sealed() {
    World::run(Kind::Docker, async |world| {
        let host = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
        let port = host.local_addr().unwrap().port();
        let sandbox = world.up().await;
        for attempt in [
            "mount -t tmpfs none /mnt".to_owned(),
            "umount /tmp".to_owned(),
            "mknod /home/dev/disk b 254 0".to_owned(),
            "unshare -n true".to_owned(),
            "unshare -U true".to_owned(),
            "nsenter -t 1 -n true".to_owned(),
            "chroot /home true".to_owned(),
            "hostname other".to_owned(),
            "arping -c 1 -I lo 127.0.0.1".to_owned(),
            "ifconfig lo down".to_owned(),
            "chown 0 /home/dev/.profile".to_owned(),
            "dmesg".to_owned(),
            "ls /.glasshouse".to_owned(),
            "ls /var/lib/glasshouse".to_owned(),
            "touch /run/glasshouse/x".to_owned(),
            "touch /etc/hosts".to_owned(),
            "touch /bin/x".to_owned(),
            format!("nc -w 1 127.0.0.1 {port}"),
            "nc -w 1 169.254.169.254 80".to_owned(),
        ] {
            let output = sandbox
                .shell(&format!("busybox {attempt} </dev/null"))
                .await;
            assert_ne!(output.exit_code, 0, "{attempt}: {output:?}");
        }
        let status = text(&sandbox.shell("busybox cat /proc/self/status").await);
        for fact in ["CapEff:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"] {
            assert!(status.contains(fact), "{fact}: {status}");
        }
        for path in ["/proc/kcore", "/proc/keys", "/proc/timer_list"] {
            let output = sandbox.shell(&format!("busybox head -c 8 {path}")).await;
            assert_eq!(text(&output), "", "{path}");
        }
        // What its user needs works, also on ports that are elsewhere root's.
        let output = sandbox
            .shell("echo x > ~/f && echo x > /tmp/f && busybox nc -l -p 80 </dev/null >/dev/null & busybox sleep 0; kill $!")
            .await;
        assert_eq!(output.exit_code, 0, "{output:?}");
        let owner = sandbox.shell("busybox stat -c %u:%g ~/.profile ~/workspace").await;
        assert_eq!(text(&owner), "1000:1000\n1000:1000\n");
    })
    .await;
}

#[tokio::test]
async fn limits_are_the_kernels() {
    World::run(Kind::Docker, async |world| {
        let other = world.up().await;
        let mut spec = world.spec();
        spec.limits = Limits {
            memory_bytes: 64 << 20,
            pids: 40,
            // More than the host has, which Docker's own count of processors refuses.
            cpu_millis: 64_000,
            open_files: 256,
            ..spec.limits
        };
        let sandbox = world.up_with(spec).await;
        let hog = sandbox
            .shell("x=0123456789; while :; do x=$x$x; done")
            .await;
        assert_ne!(hog.exit_code, 0);
        let used = world.runtime.stats(&sandbox.id).await.unwrap();
        assert!(used.memory_bytes <= 64 << 20, "{used:?}");
        sandbox
            .background("bomb() { bomb | bomb & }; while :; do bomb; done")
            .await;
        for _ in 0..5 {
            let used = world.runtime.stats(&sandbox.id).await.unwrap();
            assert!(used.pids <= 40, "{used:?}");
            assert_eq!(other.shell("exit 3").await.exit_code, 3);
        }
        world
            .runtime
            .stop(&sandbox.id, Duration::ZERO)
            .await
            .unwrap();
        world.runtime.start(&sandbox.spec).await.unwrap();
        let files = sandbox.shell("ulimit -n").await;
        assert_eq!(text(&files), "256\n");
    })
    .await;
}
