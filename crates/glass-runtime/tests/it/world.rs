//! A runtime of any kind over a directory of its own, with a small image.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use glass_runtime::docker::{DockerConfig, DockerRuntime, ImageArchive};
use glass_runtime::native::{NativeConfig, NativeRuntime};
use glass_runtime::sim::SimRuntime;
use glass_runtime::{ExecOutput, ExecRequest, GuestClient, Runtime, RuntimeError, SandboxSpec};
use glass_testing::{Dockerd, lacks_runsc};
use glass_types::{Isolation, Limits, RootMode, SandboxId};
use tempfile::TempDir;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Native,
    /// The native runtime's sandboxes with gVisor in the place of the host's kernel.
    Gvisor,
    Docker,
    Sim,
}

/// A runtime, and all it keeps.
pub(crate) struct World {
    pub(crate) kind: Kind,
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) dir: TempDir,
    /// The daemon of the docker runtime.
    pub(crate) dockerd: Option<Arc<Dockerd>>,
}

impl World {
    /// Runs a test in a new world and leaves nothing of it, whatever the test does.
    pub(crate) async fn run(kind: Kind, test: impl AsyncFnOnce(&Self)) {
        Self::run_in(kind, &std::env::temp_dir(), test).await;
    }

    /// The same, with all of its files below a directory.
    pub(crate) async fn run_in(kind: Kind, parent: &Path, test: impl AsyncFnOnce(&Self)) {
        assert!(
            kind == Kind::Sim || rustix::process::geteuid().is_root(),
            "sandboxes need root: run the tests with sudo"
        );
        if kind == Kind::Gvisor && lacks_runsc() {
            return;
        }
        let dir = tempfile::tempdir_in(parent).unwrap();
        make_image(&dir.path().join("image"));
        let dockerd = (kind == Kind::Docker).then(|| Dockerd::shared().unwrap());
        let runtime = open(kind, &dir.path().join("state"), dockerd.as_deref()).await;
        let world = Self {
            kind,
            runtime,
            dir,
            dockerd,
        };
        let outcome = AssertUnwindSafe(test(&world)).catch_unwind().await;
        for status in world.runtime.list().await.unwrap() {
            world.runtime.destroy(&status.id).await.unwrap();
        }
        if let Some(snapshots) = world.runtime.snapshots() {
            for status in snapshots.list().await.unwrap() {
                snapshots.delete(&status.id).await.unwrap();
            }
        }
        let Self { runtime, dir, .. } = world;
        // The last one unmounts the pool.
        drop(runtime);
        let left = mounts(dir.path());
        if let Err(panic) = outcome {
            std::panic::resume_unwind(panic);
        }
        assert_eq!(left, 0, "the pool is still mounted");
        dir.close().unwrap();
    }

    /// The runtime as another server would have it that starts now over the same directory.
    pub(crate) async fn reopen(&self) -> Arc<dyn Runtime> {
        let state_dir = self.dir.path().join("state");
        open(self.kind, &state_dir, self.dockerd.as_deref()).await
    }

    pub(crate) fn spec(&self) -> SandboxSpec {
        let spec = spec(self.dir.path().join("image"));
        SandboxSpec {
            // Without a network namespace two guests cannot have the same.
            gateway_port: match self.kind {
                Kind::Native | Kind::Gvisor | Kind::Docker => spec.gateway_port,
                Kind::Sim => 0,
            },
            isolation: match self.kind {
                Kind::Gvisor => Isolation::Gvisor,
                Kind::Native | Kind::Docker | Kind::Sim => Isolation::Container,
            },
            ..spec
        }
    }

    /// A sandbox that runs.
    pub(crate) async fn up(&self) -> Sandbox {
        self.up_with(self.spec()).await
    }

    pub(crate) async fn up_with(&self, spec: SandboxSpec) -> Sandbox {
        self.runtime.create(&spec).await.unwrap();
        self.runtime.start(&spec).await.unwrap();
        Sandbox {
            guest: GuestClient::new(Arc::clone(&self.runtime), spec.id.clone()),
            runtime: Arc::clone(&self.runtime),
            id: spec.id.clone(),
            spec,
        }
    }
}

/// A small sandbox of an image with one layer.
pub(crate) fn spec(layer: PathBuf) -> SandboxSpec {
    SandboxSpec {
        id: SandboxId::random(),
        layers: vec![layer],
        env: BTreeMap::from([("FROM_SPEC".to_owned(), "yes".to_owned())]),
        limits: Limits {
            memory_bytes: 256 << 20,
            pids: 64,
            ..Limits::default()
        },
        gateway_port: 49_982,
        root: RootMode::ThrowAway,
        isolation: Isolation::Container,
        from: None,
    }
}

async fn open(kind: Kind, state_dir: &Path, dockerd: Option<&Dockerd>) -> Arc<dyn Runtime> {
    let state_dir = PathBuf::from(state_dir);
    match kind {
        Kind::Native | Kind::Gvisor => {
            Arc::new(NativeRuntime::new(NativeConfig { state_dir }).unwrap())
        }
        Kind::Docker => Arc::new(docker_runtime(state_dir, dockerd.unwrap()).await),
        Kind::Sim => Arc::new(SimRuntime::new(state_dir).unwrap()),
    }
}

pub(crate) async fn docker_runtime(state_dir: PathBuf, dockerd: &Dockerd) -> DockerRuntime {
    let config = DockerConfig {
        state_dir,
        socket: dockerd.socket(),
        archive: Arc::new(Archive),
    };
    DockerRuntime::open(config).await.unwrap()
}

/// The image store's own archives, as the server has them made.
#[derive(Debug)]
struct Archive;

impl ImageArchive for Archive {
    fn write(
        &self,
        name: &str,
        labels: &BTreeMap<String, String>,
        layers: &[PathBuf],
        out: &mut dyn std::io::Write,
    ) -> std::io::Result<()> {
        glass_image::DockerArchive::of(name, labels, layers)?.write(out)
    }
}

/// How many mounts the host's table shows below a directory.
pub(crate) fn mounts(dir: &Path) -> usize {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let dir = dir.to_str().unwrap();
    table.lines().filter(|line| line.contains(dir)).count()
}

/// One image layer: busybox and a home with a file in it.
pub(crate) fn make_image(layer: &Path) {
    let bin = layer.join("bin");
    std::fs::create_dir_all(&bin).unwrap();
    std::fs::create_dir_all(layer.join("etc")).unwrap();
    std::fs::create_dir_all(layer.join("home/dev")).unwrap();
    let busybox = ["/bin/busybox", "/usr/bin/busybox"]
        .into_iter()
        .find(|path| Path::new(path).exists())
        .expect("the package busybox-static is installed");
    std::fs::copy(busybox, bin.join("busybox")).unwrap();
    for applet in [
        "sh", "cat", "echo", "sleep", "id", "ls", "touch", "kill", "env", "nc",
    ] {
        symlink("busybox", bin.join(applet)).unwrap();
    }
    // A program that makes its user root, where that is allowed.
    std::fs::copy(busybox, bin.join("su")).unwrap();
    std::fs::set_permissions(bin.join("su"), Permissions::from_mode(0o4755)).unwrap();
    std::fs::write(
        layer.join("etc/passwd"),
        "root::0:0::/root:/bin/sh\ndev::1000:1000::/home/dev:/bin/sh\n",
    )
    .unwrap();
    std::fs::write(layer.join("home/dev/.profile"), "# from the image\n").unwrap();
}

/// A sandbox and the way into it.
pub(crate) struct Sandbox {
    pub(crate) id: SandboxId,
    pub(crate) spec: SandboxSpec,
    pub(crate) guest: GuestClient,
    pub(crate) runtime: Arc<dyn Runtime>,
}

impl Sandbox {
    /// What a shell makes of a text.
    pub(crate) async fn shell(&self, script: &str) -> ExecOutput {
        shell(&self.guest, script).await
    }

    /// Starts a program that goes on.
    pub(crate) async fn background(&self, script: &str) {
        let detached = format!("({script}) >/dev/null 2>&1 </dev/null &");
        let output = self.shell(&detached).await;
        assert_eq!(output.exit_code, 0, "{output:?}");
    }

    /// Tries until something listens.
    pub(crate) async fn connect(&self, port: u16) -> glass_runtime::BoxStream {
        for _ in 0..500 {
            match self.runtime.connect(&self.id, port).await {
                Ok(stream) => return stream,
                Err(RuntimeError::PortClosed { .. }) => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(e) => panic!("{e}"),
            }
        }
        panic!("port {port} stays closed");
    }
}

pub(crate) async fn shell(guest: &GuestClient, script: &str) -> ExecOutput {
    let command = ["sh", "-c", script].map(str::to_owned).to_vec();
    let request = ExecRequest {
        command,
        timeout: Some(Duration::from_secs(30)),
        ..ExecRequest::default()
    };
    guest.exec(request).await.unwrap()
}

pub(crate) fn text(output: &ExecOutput) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}
