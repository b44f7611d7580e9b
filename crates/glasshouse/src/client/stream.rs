//! The messages of a stream, over one connection or over as many as it takes.
//!
//! A resumable stream remembers the id of its last message and sends it as `Last-Event-ID` when it connects again, so
//! nothing is lost and nothing comes twice. It gives up when nobody answers for [`PATIENCE`].

use std::collections::VecDeque;
use std::time::Duration;

use reqwest::header::ACCEPT;
use reqwest::{Method, Response};
use tokio::time::Instant;

use super::sse::{Message, Parser};
use super::{CallError, Client};
use crate::failure::Failure;

/// How long a server may be away before we stop waiting for it.
const PATIENCE: Duration = Duration::from_secs(120);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What a stream has to say.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// A message.
    Message(Message),
    /// Nobody answers any more; said once each time. The next call waits for the server to come back.
    Away,
    /// The end of a stream that cannot be resumed. Whoever reads a resumable one knows by its messages when it is over.
    End,
}

/// How to connect again.
#[derive(Debug)]
struct Resume {
    path: String,
    query: Vec<(String, String)>,
    last: Option<String>,
}

#[derive(Debug)]
pub(crate) struct Messages {
    client: Client,
    response: Option<Response>,
    parser: Parser,
    ready: VecDeque<Message>,
    resume: Option<Resume>,
    /// Since when nobody has answered.
    away_since: Option<Instant>,
    pause: Duration,
}

impl Messages {
    pub(super) fn once(client: Client, response: Response) -> Self {
        Self {
            client,
            response: Some(response),
            parser: Parser::default(),
            ready: VecDeque::new(),
            resume: None,
            away_since: None,
            pause: FIRST_PAUSE,
        }
    }

    pub(super) fn resumable(client: Client, path: &str, query: &[(&str, &str)]) -> Self {
        Self {
            client,
            response: None,
            parser: Parser::default(),
            ready: VecDeque::new(),
            resume: Some(Resume {
                path: path.to_owned(),
                query: query
                    .iter()
                    .map(|&(name, value)| (name.to_owned(), value.to_owned()))
                    .collect(),
                last: None,
            }),
            away_since: None,
            pause: FIRST_PAUSE,
        }
    }

    /// The next message. Cancelling loses nothing.
    pub(crate) async fn next(&mut self) -> Result<Next, Failure> {
        loop {
            if let Some(message) = self.ready.pop_front() {
                if let (Some(resume), Some(id)) = (&mut self.resume, &message.id) {
                    resume.last = Some(id.clone());
                }
                return Ok(Next::Message(message));
            }
            let Some(response) = &mut self.response else {
                if self.resume.is_none() {
                    return Ok(Next::End);
                }
                let was_away = self.away_since.is_some();
                self.connect().await?;
                if self.away_since.is_some() && !was_away {
                    return Ok(Next::Away);
                }
                continue;
            };
            match response.chunk().await {
                Ok(Some(bytes)) => {
                    self.pause = FIRST_PAUSE;
                    let messages = self
                        .parser
                        .push(&bytes)
                        .map_err(|_| Failure::new("the server sent a message without end"))?;
                    self.ready.extend(messages);
                }
                Ok(None) => self.response = None,
                Err(_) if self.resume.is_some() => self.response = None,
                Err(error) => {
                    self.response = None;
                    return Err(self.client.failure(CallError::Away(error)));
                }
            }
        }
    }

    async fn connect(&mut self) -> Result<(), Failure> {
        // Also after a connection that was accepted and closed at once: no busy loop against a server that is going.
        if self.away_since.is_some() || self.pause > FIRST_PAUSE {
            tokio::time::sleep(self.pause).await;
        }
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        self.parser = Parser::default();
        let resume = self
            .resume
            .as_ref()
            .expect("only a resumable stream connects");
        let query: Vec<(&str, &str)> = resume
            .query
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let mut request = self
            .client
            .request(Method::GET, &resume.path, &query)
            .header(ACCEPT, "text/event-stream");
        if let Some(last) = &resume.last {
            request = request.header("last-event-id", last);
        }
        match self.client.send(request).await {
            Ok(response) => {
                self.away_since = None;
                self.response = Some(response);
                Ok(())
            }
            Err(error) if may_pass(&error) => {
                let since = *self.away_since.get_or_insert_with(Instant::now);
                if since.elapsed() < PATIENCE {
                    return Ok(());
                }
                Err(self.client.failure(error))
            }
            Err(error) => Err(self.client.failure(error)),
        }
    }
}

/// Whether the same request may succeed a little later.
fn may_pass(error: &CallError) -> bool {
    match error {
        CallError::Away(_) => true,
        CallError::Refused(problem) => problem.status == 503,
        CallError::Strange(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    async fn request_of(connection: &mut TcpStream) -> String {
        let mut text = Vec::new();
        while !text.ends_with(b"\r\n\r\n") {
            let byte = connection.read_u8().await.unwrap();
            text.push(byte);
        }
        String::from_utf8(text).unwrap().to_lowercase()
    }

    async fn answer(connection: &mut TcpStream, body: &str) {
        let head =
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
        connection
            .write_all(format!("{head}{body}").as_bytes())
            .await
            .unwrap();
    }

    fn client(listener: &TcpListener) -> Client {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let address = listener.local_addr().unwrap();
        Client::new(&format!("http://{address}"), None).unwrap()
    }

    #[tokio::test]
    async fn a_cut_stream_goes_on_after_the_last_message() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut messages = client(&listener).resumable("/v1/tasks/t/events", &[]);
        let server = tokio::spawn(async move {
            let (mut first, _) = listener.accept().await.unwrap();
            assert!(!request_of(&mut first).await.contains("last-event-id"));
            // The second message is cut in the middle.
            answer(&mut first, "id: 1\ndata: one\n\nid: 2\ndata: tw").await;
            drop(first);
            let (mut second, _) = listener.accept().await.unwrap();
            assert!(
                request_of(&mut second)
                    .await
                    .contains("last-event-id: 1\r\n")
            );
            answer(&mut second, "id: 2\ndata: two\n\n").await;
        });
        for expected in ["one", "two"] {
            let Next::Message(message) = messages.next().await.unwrap() else {
                panic!("no message {expected}");
            };
            assert_eq!(message.data, expected);
        }
        server.await.unwrap();
    }

    #[tokio::test]
    async fn a_refusal_ends_it() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut messages = client(&listener).resumable("/v1/tasks/t/events", &[]);
        let server = tokio::spawn(async move {
            let (mut connection, _) = listener.accept().await.unwrap();
            request_of(&mut connection).await;
            let problem = glass_api::Problem::new(glass_api::Code::TaskNotFound, "no task t");
            let body = serde_json::to_string(&problem).unwrap();
            let head = format!(
                "HTTP/1.1 404 Not Found\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            connection
                .write_all(format!("{head}{body}").as_bytes())
                .await
                .unwrap();
        });
        assert_eq!(messages.next().await.unwrap_err().message(), "no task t");
        server.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_stays_away_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut messages = client(&listener).resumable("/v1/tasks/t/events", &[]);
        drop(listener);
        assert_eq!(messages.next().await.unwrap(), Next::Away);
        let failure = messages.next().await.unwrap_err();
        assert!(failure.message().starts_with("no server answers at"));
    }
}
