//! `glasshouse.Ports`.

use std::time::Duration;

use futures::StreamExt as _;
use glass_guest_protocol::ports::PortEvent;
use glass_guest_protocol::process::{ProcessConfig, Selector, Signal, StartRequest};

use crate::harness::{Guest, LONG};

const SERVER: &str = "import socket,time
s=socket.socket(); s.bind(('127.0.0.1',0)); s.listen(); time.sleep(1000)";

#[tokio::test]
async fn a_port_is_seen_when_it_opens_and_when_it_closes() {
    let guest = Guest::start().await;
    // A socket of this process is none of the sandbox.
    let _foreign = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut events = guest.client.watch_ports().await.unwrap();
    let next = async |events: &mut glass_runtime::GuestStream<PortEvent>| {
        tokio::time::timeout(LONG, events.next())
            .await
            .unwrap()
            .unwrap()
            .unwrap()
    };
    assert_eq!(next(&mut events).await, PortEvent::Ports(Vec::new()));
    let request = StartRequest {
        process: ProcessConfig {
            cmd: "python3".into(),
            args: ["-c", SERVER].map(str::to_owned).into(),
            ..ProcessConfig::default()
        },
        ..StartRequest::default()
    };
    let started = guest.client.start(&request).await.unwrap();
    let PortEvent::Opened(port) = next(&mut events).await else {
        panic!("not opened");
    };
    assert_eq!(port.address, "127.0.0.1");
    assert_eq!(port.pid, Some(started.pid));
    assert!(port.process.as_deref().unwrap().starts_with("python3"));
    assert_eq!(
        guest.client.ports().await.unwrap(),
        std::slice::from_ref(&port)
    );
    let selector = Selector::Pid(started.pid);
    guest.client.signal(selector, Signal::Kill).await.unwrap();
    assert_eq!(next(&mut events).await, PortEvent::Closed(port));
    let quiet = tokio::time::timeout(Duration::from_millis(500), events.next()).await;
    assert!(quiet.is_err(), "{quiet:?}");
}
