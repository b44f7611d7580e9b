//! `/v1/sandboxes/{id}/terminal`

use futures::{SinkExt, StreamExt};
use http::Request;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::{self, Message};

use crate::world::{World, eventually, within};

pub(crate) struct Terminal {
    socket: WebSocketStream<TcpStream>,
    shown: String,
}

impl Terminal {
    pub(crate) async fn open(
        world: &World,
        id: &str,
        query: &str,
    ) -> Result<Self, tungstenite::Error> {
        let address = world.address();
        let request = Request::get(format!("ws://{address}/v1/sandboxes/{id}/terminal{query}"))
            .header("host", address.to_string())
            .header("authorization", format!("Bearer {}", world.token()))
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", generate_key())
            .body(())
            .unwrap();
        let stream = TcpStream::connect(address).await.unwrap();
        let (socket, _) = tokio_tungstenite::client_async(request, stream).await?;
        Ok(Self {
            socket,
            shown: String::new(),
        })
    }

    async fn press(&mut self, keys: &str) {
        let keys = Message::binary(keys.as_bytes().to_vec());
        self.socket.send(keys).await.unwrap();
    }

    /// Reads on until the screen has shown these words.
    async fn shows(&mut self, words: &str) {
        while !self.shown.contains(words) {
            let message = within(30, words, self.socket.next())
                .await
                .unwrap()
                .unwrap();
            self.shown
                .push_str(&String::from_utf8_lossy(&message.into_data()));
        }
    }

    /// Reads to the end and answers the last text message.
    async fn exit(mut self) -> Value {
        let mut last = Value::Null;
        while let Some(Ok(message)) = within(30, "the end", self.socket.next()).await {
            if let Message::Text(text) = message {
                last = serde_json::from_str(&text).unwrap();
            }
        }
        last
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shell_answers_and_says_how_it_ended() {
    World::run(async |world| {
        let id = world.client().sandbox().await;
        let mut terminal = Terminal::open(world, &id, "?cols=77&rows=11")
            .await
            .unwrap();
        terminal
            .press("stty size; echo $TERM; tty -s && echo a-$((40+2))\n")
            .await;
        terminal.shows("11 77").await;
        terminal.shows("xterm-256color").await;
        terminal.shows("a-42").await;
        let resize = json!({"type": "resize", "cols": 120, "rows": 40}).to_string();
        terminal.socket.send(Message::text(resize)).await.unwrap();
        // Neither a size of nothing nor nonsense ends it.
        for text in [
            r#"{"type": "resize", "cols": 0, "rows": 0}"#,
            "nonsense",
            "{}",
        ] {
            terminal.socket.send(Message::text(text)).await.unwrap();
        }
        terminal.press("stty size\n").await;
        terminal.shows("40 120").await;
        terminal.press("exit 5\n").await;
        assert_eq!(
            terminal.exit().await,
            json!({"type": "exit", "exit_code": 5})
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_has_a_terminal_of_its_own() {
    World::run(async |world| {
        let id = world.client().sandbox().await;
        let query = "?command=test%20-t%201%20%26%26%20exit%209";
        let terminal = Terminal::open(world, &id, query).await.unwrap();
        assert_eq!(
            terminal.exit().await,
            json!({"type": "exit", "exit_code": 9})
        );
        let terminal = Terminal::open(world, &id, "?command=kill%20-9%20%24%24")
            .await
            .unwrap();
        assert_eq!(terminal.exit().await["exit_code"], 137);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_ends_its_shell() {
    World::run(async |world| {
        let client = world.client();
        let id = client.sandbox().await;
        for polite in [true, false] {
            let mut terminal = Terminal::open(world, &id, "").await.unwrap();
            terminal.press("echo $$ > pid; echo written\n").await;
            eventually("the shell runs", async || {
                client.exec(&id, "test -s pid && kill -0 $(cat pid)").await["exit_code"] == 0
            })
            .await;
            if polite {
                terminal.socket.close(None).await.unwrap();
            }
            drop(terminal);
            eventually("the shell is gone", async || {
                client.exec(&id, "kill -0 $(cat pid)").await["exit_code"] == 1
            })
            .await;
            client.exec(&id, "rm pid").await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_terminal_is_refused() {
    World::run(async |world| {
        let client = world.client();
        let id = client.sandbox().await;
        let path = format!("/v1/sandboxes/{id}/terminal");
        client
            .get(&path)
            .await
            .is_problem(422, "invalid_input")
            .advises("WebSocket");
        for (id, query, status) in [
            (id.as_str(), "?cols=0", 422),
            (&id, "?rows=1001", 422),
            (&id, "?cols=x", 422),
            (&id, "?size=1", 422),
            ("abcdefghijklmnop", "", 404),
        ] {
            let refused = Terminal::open(world, id, query).await;
            let Err(tungstenite::Error::Http(answer)) = refused else {
                panic!("{query} was let in");
            };
            assert_eq!(answer.status(), status, "{query}");
            assert_eq!(answer.headers()["content-type"], "application/problem+json");
        }
    })
    .await;
}
