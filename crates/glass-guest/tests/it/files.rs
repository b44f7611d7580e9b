//! `filesystem.Filesystem` and `/files`.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::symlink;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use glass_guest_protocol::connect::Code;
use glass_guest_protocol::filesystem::FileType;
use glass_runtime::GuestError;

use crate::harness::Guest;

async fn write(guest: &Guest, path: &str, text: &'static str) -> Result<String, GuestError> {
    let bytes =
        futures::stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(text.as_bytes()))]);
    guest
        .client
        .write_file(path, bytes)
        .await
        .map(|written| written.path)
}

async fn read(guest: &Guest, path: &str) -> Result<Vec<u8>, GuestError> {
    let (size, stream) = guest.client.read_file(path).await?;
    let bytes: Vec<Bytes> = stream.try_collect().await?;
    let bytes = bytes.concat();
    assert_eq!(bytes.len() as u64, size);
    Ok(bytes)
}

#[tokio::test]
async fn a_file_is_written_with_its_parents_and_read_back() {
    let guest = Guest::start().await;
    let path = write(&guest, "a/b c/ü%+.txt", "hello").await.unwrap();
    assert_eq!(
        path,
        guest.workspace().join("a/b c/ü%+.txt").to_str().unwrap()
    );
    assert_eq!(read(&guest, "a/b c/ü%+.txt").await.unwrap(), b"hello");
    assert_eq!(read(&guest, &path).await.unwrap(), b"hello");
    write(&guest, &path, "again").await.unwrap();
    assert_eq!(read(&guest, &path).await.unwrap(), b"again");
    let left = std::fs::read_dir(guest.workspace().join("a/b c")).unwrap();
    assert_eq!(left.count(), 1);
}

#[tokio::test]
async fn an_upload_that_breaks_leaves_the_old_file() {
    let guest = Guest::start().await;
    write(&guest, "x/file", "old").await.unwrap();
    let parts = [
        Ok(Bytes::from(vec![0; 1 << 20])),
        Err(std::io::Error::other("cut")),
    ];
    let result = guest
        .client
        .write_file("x/file", futures::stream::iter(parts))
        .await;
    assert!(result.is_err());
    assert_eq!(read(&guest, "x/file").await.unwrap(), b"old");
    let attempts = async {
        while std::fs::read_dir(guest.workspace().join("x"))
            .unwrap()
            .count()
            > 1
        {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(crate::harness::LONG, attempts)
        .await
        .expect("the temporary file is removed");
}

/// In its sandbox every guest has the same process id, and so had the one that was killed in the middle of uploads.
#[tokio::test]
async fn what_a_killed_guest_has_left_is_in_nobodys_way() {
    let guest = Guest::start().await;
    let id = guest.process.id().unwrap();
    for number in 0..3 {
        let left = format!(".glasshouse-upload-{id}-{number}");
        std::fs::write(guest.workspace().join(left), "half").unwrap();
    }
    write(&guest, "file", "whole").await.unwrap();
    assert_eq!(read(&guest, "file").await.unwrap(), b"whole");
    let left = std::fs::read_dir(guest.workspace()).unwrap();
    assert_eq!(left.count(), 1, "only the file is there");
}

#[tokio::test]
async fn a_large_file_is_streamed_whole() {
    let guest = Guest::start().await;
    let part = Bytes::from((0..=255).cycle().take(1 << 20).collect::<Vec<u8>>());
    let parts = futures::stream::repeat(part.clone())
        .take(40)
        .map(Ok::<_, std::io::Error>);
    guest.client.write_file("large", parts).await.unwrap();
    let bytes = read(&guest, "large").await.unwrap();
    assert_eq!(bytes.len(), 40 << 20);
    assert!(bytes.chunks(1 << 20).all(|chunk| chunk == part));
}

#[tokio::test]
async fn nothing_outside_the_home_is_reached() {
    let guest = Guest::start().await;
    let secret = guest.state().join("secret");
    std::fs::write(&secret, "secret").unwrap();
    symlink(guest.state(), guest.workspace().join("out")).unwrap();
    symlink("../../state/secret", guest.workspace().join("link")).unwrap();
    symlink("/proc/self/root", guest.workspace().join("magic")).unwrap();
    for path in [
        "../../state/secret",
        secret.to_str().unwrap(),
        "out/secret",
        "link",
        "/etc/passwd",
        "magic/etc/passwd",
        "a/../../../state/secret",
        "/",
    ] {
        assert!(read(&guest, path).await.is_err(), "read {path}");
        let _ = write(&guest, path, "changed").await;
        assert!(guest.client.list_dir(path, 1).await.is_err(), "list {path}");
        let _ = guest.client.remove(path).await;
        let _ = guest.client.move_(path, "taken").await;
        let _ = guest.client.make_dir(&format!("{path}/made")).await;
        assert_eq!(
            std::fs::read_to_string(&secret).unwrap(),
            "secret",
            "{path}"
        );
        assert_eq!(
            std::fs::read_dir(guest.state())
                .unwrap()
                .filter(|entry| entry.as_ref().unwrap().file_name() != "agents"
                    && entry.as_ref().unwrap().file_name() != "app"
                    && entry.as_ref().unwrap().file_name() != "secret")
                .count(),
            0,
            "{path}"
        );
    }
}

#[tokio::test]
async fn entries_are_described() {
    let guest = Guest::start().await;
    write(&guest, "dir/file", "12345").await.unwrap();
    symlink("file", guest.workspace().join("dir/link")).unwrap();
    symlink("nowhere", guest.workspace().join("dir/broken")).unwrap();
    let entry = guest.client.stat("dir/file").await.unwrap();
    assert_eq!(
        (entry.name.as_str(), entry.kind, entry.size),
        ("file", FileType::File, 5)
    );
    assert_eq!(entry.permissions, "-rw-r--r--");
    let link = guest.client.stat("dir/link").await.unwrap();
    assert_eq!(link.kind, FileType::File);
    assert_eq!(link.symlink_target, Some(entry.path));
    let broken = guest.client.stat("dir/broken").await.unwrap();
    assert_eq!(broken.kind, FileType::Symlink);
    assert_eq!(broken.symlink_target.as_deref(), Some("nowhere"));
    let names = |entries: Vec<glass_guest_protocol::filesystem::Entry>| {
        entries
            .into_iter()
            .map(|entry| entry.name)
            .collect::<Vec<_>>()
    };
    assert_eq!(names(guest.client.list_dir("", 1).await.unwrap()), ["dir"]);
    assert_eq!(
        names(guest.client.list_dir(".", 2).await.unwrap()),
        ["dir", "broken", "file", "link"]
    );
}

#[tokio::test]
async fn names_that_are_no_text_are_listed() {
    use std::os::unix::ffi::OsStrExt as _;
    let guest = Guest::start().await;
    let name = std::ffi::OsStr::from_bytes(b"a\nb\xff");
    std::fs::write(guest.workspace().join(name), "").unwrap();
    let entries = guest.client.list_dir("", 1).await.unwrap();
    assert_eq!(entries[0].name, "a\nb\u{fffd}");
}

#[tokio::test]
async fn making_moving_and_removing_are_told_apart_from_failing() {
    let guest = Guest::start().await;
    let client = &guest.client;
    client.make_dir("one/two").await.unwrap();
    let code = |error: GuestError| error.code();
    assert_eq!(
        code(client.make_dir("one/two").await.unwrap_err()),
        Code::AlreadyExists
    );
    write(&guest, "one/two/file", "x").await.unwrap();
    client.move_("one/two", "three/four").await.unwrap();
    assert_eq!(read(&guest, "three/four/file").await.unwrap(), b"x");
    assert_eq!(
        code(client.stat("one/two").await.unwrap_err()),
        Code::NotFound
    );
    client.remove("three").await.unwrap();
    assert_eq!(
        code(client.remove("three").await.unwrap_err()),
        Code::NotFound
    );
    assert_eq!(
        code(client.move_("a", "b").await.unwrap_err()),
        Code::NotFound
    );
    assert_eq!(
        code(client.remove("~").await.unwrap_err()),
        Code::InvalidArgument
    );
    assert!(guest.home().exists());
}

#[tokio::test]
async fn what_is_no_regular_file_is_not_read() {
    let guest = Guest::start().await;
    let pipe = guest.workspace().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    for path in ["pipe", "."] {
        let error = read(&guest, path).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument, "{path}: {error}");
    }
    let error = write(&guest, "pipe", "x").await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_form_upload_is_answered_as_the_official_clients_expect() {
    let guest = Guest::start().await;
    let socket = guest.home().parent().unwrap().join("guest.sock");
    let answer = tokio::task::spawn_blocking(move || {
        let body = "--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"up/a.txt\"\r\n\r\nform\r\n--XX--\r\n";
        let mut stream = std::os::unix::net::UnixStream::connect(socket).unwrap();
        write!(
            stream,
            "POST /files HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: multipart/form-data; boundary=XX\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    })
    .await
    .unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let path = guest.workspace().join("up/a.txt");
    let expected = format!(
        "[{{\"path\":{:?},\"name\":\"a.txt\",\"type\":\"file\"}}]",
        path.to_str().unwrap()
    );
    assert!(answer.ends_with(&expected), "{answer}");
    assert_eq!(std::fs::read(path).unwrap(), b"form");
}

#[tokio::test]
async fn the_sender_of_a_large_refused_upload_hears_why() {
    let guest = Guest::start().await;
    std::fs::create_dir(guest.workspace().join("folder")).unwrap();
    for _ in 0..20 {
        let part = Bytes::from(vec![0; 64 << 10]);
        let parts =
            futures::stream::iter((0..64).map(move |_| Ok::<_, std::io::Error>(part.clone())));
        let refused = guest.client.write_file("folder", parts).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    }
}
