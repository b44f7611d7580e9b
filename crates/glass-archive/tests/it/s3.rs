//! A store that speaks S3: moto's server, which `scripts/setup.sh --test` installs.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use glass_archive::{ArchiveError, Settings};

use crate::world::{World, noise, picture};

struct Moto {
    child: Child,
    endpoint: String,
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn program() -> PathBuf {
    glass_testing::cache().unwrap().join("moto/bin/python3")
}

impl Moto {
    /// A server on a port of its own, with a bucket.
    async fn start() -> Self {
        let python = program();
        assert!(
            python.exists(),
            "{} is missing: run scripts/setup.sh --test",
            python.display()
        );
        let script = "import sys, threading\n\
                      from moto.server import ThreadedMotoServer\n\
                      server = ThreadedMotoServer(ip_address='127.0.0.1', port=0, verbose=False)\n\
                      server.start()\n\
                      print(server.get_host_and_port()[1], flush=True)\n\
                      sys.stdin.read()\n";
        let mut child = Command::new(python)
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let endpoint = format!("http://127.0.0.1:{}", line.trim());
        let moto = Self { child, endpoint };
        let made = tokio::process::Command::new("curl")
            .args(["-sSf", "-X", "PUT", &format!("{}/archives", moto.endpoint)])
            .output()
            .await
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        moto
    }

    fn settings(&self) -> Settings {
        Settings {
            url: "s3://archives/of/this server".to_owned(),
            endpoint: Some(self.endpoint.clone()),
            region: Some("us-east-1".to_owned()),
            access_key_id: Some("test".to_owned()),
            secret_access_key: Some("hidden".to_owned()),
            ..Settings::default()
        }
    }
}

#[tokio::test]
async fn files_go_to_s3_and_come_back() {
    let moto = Moto::start().await;
    let world = World::with(tempfile::tempdir().unwrap(), moto.settings());
    world.archive.check().await.unwrap();
    let disk = world.disk("disk");
    for number in 0..30 {
        fs::write(disk.join(format!("file {number}")), noise(number, 1 << 20)).unwrap();
    }
    let archived = world.store(&disk).await.unwrap();
    let again = world.store(&disk).await.unwrap();
    assert_eq!(again.added, 0);
    let back = world.disk("back");
    world.fetch(&archived.archive, &back).await.unwrap();
    assert_eq!(picture(&back), picture(&disk));

    let wanted = async || Ok::<_, ()>(vec![again.archive.clone()]);
    let tidied = world
        .archive
        .tidy(wanted, i64::from(u32::MAX))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(tidied.forgotten, 1);
    let error = world.archive.verify(&archived.archive).await.unwrap_err();
    assert!(matches!(error, ArchiveError::Missing { .. }), "{error}");
    world.archive.verify(&again.archive).await.unwrap();
    let wanted = async || Ok::<_, ()>(vec![]);
    let tidied = world
        .archive
        .tidy(wanted, i64::from(u32::MAX))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(tidied.forgotten, 1);
    assert!(tidied.freed > 30 << 20, "{tidied:?}");
}

#[tokio::test]
async fn a_bucket_that_is_not_there_is_told_without_the_secret() {
    let moto = Moto::start().await;
    let settings = Settings {
        url: "s3://elsewhere".to_owned(),
        ..moto.settings()
    };
    let world = World::with(tempfile::tempdir().unwrap(), settings);
    let error = world.archive.check().await.unwrap_err().to_string();
    assert!(
        error.contains("s3://elsewhere") && error.contains("NoSuchBucket"),
        "{error}"
    );
    assert!(!error.contains("hidden"), "{error}");
}
