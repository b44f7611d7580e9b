//! The protocols on the wire: requests read, replies written.

pub(crate) mod anthropic;
pub(crate) mod chat;
pub(crate) mod responses;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures::{StreamExt, stream};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use serde_json::Value;

use super::reply::{Pace, Reply};
use crate::body::{self, Body, BodyError};

const QUICK: Duration = Duration::from_millis(3);
const SLOW_TOTAL: Duration = Duration::from_secs(20);
/// Tool inputs are long and nobody reads them as they come.
const INPUT_CHUNK: usize = 600;

/// A reply and what goes around it.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) reply: Reply,
    /// Random, in hexadecimal.
    pub(crate) id: String,
    /// Unix seconds.
    pub(crate) created: u64,
    pub(crate) input_tokens: u64,
    pub(crate) output_tokens: u64,
    /// OpenAI Chat: send the usage as the last chunk.
    pub(crate) include_usage: bool,
}

/// One server-sent event; the name goes into the `event:` line.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) name: Option<&'static str>,
    pub(crate) data: String,
    /// A piece of what the model says: the pace is kept before it.
    pub(crate) delta: bool,
}

impl Event {
    pub(crate) fn named(name: &'static str, data: &Value) -> Self {
        Self {
            name: Some(name),
            data: data.to_string(),
            delta: name.ends_with("delta"),
        }
    }

    fn bytes(&self) -> Bytes {
        let data = &self.data;
        match self.name {
            Some(name) => format!("event: {name}\ndata: {data}\n\n").into(),
            None => format!("data: {data}\n\n").into(),
        }
    }
}

impl Answer {
    pub(crate) fn new(reply: Reply, request: &Value, input_tokens: u64) -> Self {
        let length = reply.text.len()
            + reply.thought.as_ref().map_or(0, String::len)
            + reply.call.as_ref().map_or(0, |call| match &call.input {
                super::reply::Input::Json(value) => value.to_string().len(),
                super::reply::Input::Text(text) => text.len(),
            });
        Self {
            id: format!("{:016x}", RandomState::new().build_hasher().finish()),
            created: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_secs()),
            input_tokens,
            output_tokens: length as u64 / 4 + 1,
            include_usage: request
                .pointer("/stream_options/include_usage")
                .and_then(Value::as_bool)
                == Some(true),
            reply,
        }
    }

    /// As server-sent events or as one JSON text.
    pub(crate) fn respond(
        self,
        streamed: bool,
        events: fn(&Self) -> Vec<Event>,
        whole: fn(&Self) -> Value,
    ) -> Response<Body> {
        if streamed {
            self.stream(events(&self))
        } else {
            self.json(&whole(&self))
        }
    }

    fn stream(&self, mut events: Vec<Event>) -> Response<Body> {
        let deltas = events.iter().filter(|event| event.delta).count().max(1);
        let pause = match self.reply.pace {
            Pace::Quick => QUICK,
            Pace::Slow => SLOW_TOTAL / u32::try_from(deltas).unwrap_or(u32::MAX),
        };
        let mut pieces: Vec<(Duration, Result<Bytes, BodyError>)> = Vec::new();
        if self.reply.cut {
            events.truncate(events.len() / 2);
        }
        for event in events {
            let wait = if event.delta { pause } else { Duration::ZERO };
            pieces.push((wait, Ok(event.bytes())));
        }
        if self.reply.cut {
            // The wait lets what was said before reach the agent.
            pieces.push((QUICK, Err("the prompt asked for a cut".into())));
        }
        let frames = stream::iter(pieces).then(|(wait, piece)| async move {
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
            }
            piece.map(Frame::data)
        });
        let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("text/event-stream; charset=utf-8"),
        );
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        response
    }

    fn json(&self, whole: &Value) -> Response<Body> {
        let mut response = body::json(StatusCode::OK, whole);
        let wait = match self.reply.pace {
            Pace::Quick => Duration::ZERO,
            Pace::Slow => SLOW_TOTAL,
        };
        let mut text = whole.to_string();
        let mut end = None;
        if self.reply.cut {
            text.truncate(1);
            end = Some(Err(BodyError::from("the prompt asked for a cut")));
        }
        let text = Ok(Frame::data(Bytes::from(text)));
        let frames = stream::once(async move {
            tokio::time::sleep(wait).await;
            text
        })
        .chain(stream::iter(end));
        *response.body_mut() = StreamBody::new(frames).boxed_unsync();
        response
    }
}

/// Text in pieces as a model says it: a few words each, nothing lost.
pub(crate) fn words(text: &str) -> Vec<String> {
    let mut pieces = Vec::new();
    let mut piece = String::new();
    for (count, word) in text.split_inclusive([' ', '\n']).enumerate() {
        piece.push_str(word);
        if count % 3 == 2 {
            pieces.push(std::mem::take(&mut piece));
        }
    }
    if !piece.is_empty() {
        pieces.push(piece);
    }
    pieces
}

/// A tool's input in pieces.
pub(crate) fn chunks(text: &str) -> Vec<String> {
    let mut pieces = Vec::new();
    let mut piece = String::new();
    for letter in text.chars() {
        piece.push(letter);
        if piece.len() >= INPUT_CHUNK {
            pieces.push(std::mem::take(&mut piece));
        }
    }
    if !piece.is_empty() {
        pieces.push(piece);
    }
    pieces
}
