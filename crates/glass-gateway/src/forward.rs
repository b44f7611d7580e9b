//! Passes a request on to its provider with the real credential, and the answer back as it comes.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use glass_types::SandboxId;
use http::header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt, BodyStream, StreamBody};
use hyper::body::Frame;

use crate::body::{Body, BodyError, REQUEST_LIMIT, ReadError};
use crate::gateway::Inner;
use crate::handle::refuse;
use crate::peek::Peeked;
use crate::protocol::forbid_retry;
use crate::refusal::RefusalReader;
use crate::usage::UsageReader;
use crate::{Protocol, Upstream};

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// Headers that belong to one connection, not to the message.
const HOP_BY_HOP: [&str; 10] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "expect",
];

pub(crate) async fn forward(
    gateway: &Inner,
    protocol: Protocol,
    sandbox: SandboxId,
    head: Parts,
    body: Peeked,
) -> Response<Body> {
    let (Some(client), Some(upstream)) = (&gateway.client, gateway.upstream(protocol)) else {
        let message = format!("no credential for {} is configured", protocol.name());
        return protocol.error(StatusCode::BAD_GATEWAY, &message);
    };
    let path = head
        .uri
        .path_and_query()
        .map_or("/", |path_and_query| path_and_query.as_str());
    let too_large = Arc::new(AtomicBool::new(false));
    let mut request = client
        .request(head.method.clone(), format!("{}{path}", upstream.root()))
        .headers(request_headers(&head.headers, protocol, upstream));
    if !body.head.is_empty() || !hyper::body::Body::is_end_stream(&body.rest) {
        request = request.body(reqwest::Body::wrap_stream(limited(body, too_large.clone())));
    }
    match request.send().await {
        Ok(answer) => respond(gateway, protocol, sandbox, answer),
        Err(_) if too_large.load(Ordering::Relaxed) => refuse(protocol, &ReadError::TooLarge),
        Err(error) => {
            // The URL is left out: it may hold what only the operator should see.
            let reason = reason(&error.without_url());
            tracing::warn!(sandbox.id = %sandbox, provider = protocol.name(), reason, "the provider cannot be reached");
            let message = format!(
                "the model provider ({}) cannot be reached: {reason}",
                protocol.name()
            );
            protocol.error(StatusCode::BAD_GATEWAY, &message)
        }
    }
}

/// Fails when the body grows beyond the limit, so that the provider never sees a body that looks whole.
fn limited(
    body: Peeked,
    too_large: Arc<AtomicBool>,
) -> impl Stream<Item = Result<Bytes, BodyError>> + Send + 'static {
    let head = stream::iter(body.head.into_iter().map(Ok::<_, BodyError>));
    let rest = BodyStream::new(body.rest).filter_map(|frame| async {
        match frame {
            Ok(frame) => frame.into_data().ok().map(Ok),
            Err(error) => Some(Err(BodyError::from(error))),
        }
    });
    let mut seen = 0;
    head.chain(rest).map(move |bytes| {
        let bytes = bytes?;
        seen += bytes.len();
        if seen > REQUEST_LIMIT {
            too_large.store(true, Ordering::Relaxed);
            return Err(ReadError::TooLarge.into());
        }
        Ok(bytes)
    })
}

fn request_headers(incoming: &HeaderMap, protocol: Protocol, upstream: &Upstream) -> HeaderMap {
    let mut headers = end_to_end(incoming);
    for name in [http::header::HOST, AUTHORIZATION, API_KEY] {
        headers.remove(name);
    }
    // Usage and refusals are read as they pass, so the provider is not to compress.
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    let bearer = match protocol {
        // Tokens of a subscription are not keys.
        Protocol::Anthropic => upstream.key.starts_with("sk-ant-oat"),
        Protocol::OpenAi => true,
    };
    let (name, value) = if bearer {
        (AUTHORIZATION, format!("Bearer {}", upstream.key))
    } else {
        (API_KEY, upstream.key.clone())
    };
    if let Ok(mut value) = HeaderValue::from_str(&value) {
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    headers
}

/// Without the headers of the connection, and without those that `Connection` names.
pub(crate) fn end_to_end(incoming: &HeaderMap) -> HeaderMap {
    let named: Vec<String> = incoming
        .get_all(http::header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .collect();
    let mut headers = HeaderMap::with_capacity(incoming.len());
    for (name, value) in incoming {
        let hop =
            HOP_BY_HOP.contains(&name.as_str()) || named.iter().any(|other| name.as_str() == other);
        if !hop {
            headers.append(name.clone(), value.clone());
        }
    }
    headers
}

fn respond(
    gateway: &Inner,
    protocol: Protocol,
    sandbox: SandboxId,
    answer: reqwest::Response,
) -> Response<Body> {
    let status = answer.status();
    let failed = status.is_client_error() || status.is_server_error();
    let mut refusal = failed.then(|| {
        let sink = gateway.usage.clone();
        RefusalReader::new(sink, sandbox.clone(), protocol, status.as_u16())
    });
    let mut reader = usage_reader(gateway, protocol, sandbox, &answer);
    let headers = end_to_end(answer.headers());
    let bytes = answer.bytes_stream().map(move |chunk| match chunk {
        Ok(bytes) => {
            if let Some(reader) = &mut reader {
                reader.feed(&bytes);
            }
            if let Some(refusal) = &mut refusal {
                refusal.feed(&bytes);
            }
            Ok(Frame::data(bytes))
        }
        Err(error) => {
            let error = error.without_url();
            tracing::debug!(
                error = reason(&error),
                "the provider cut its answer; cutting ours"
            );
            Err(BodyError::from(error))
        }
    });
    let mut response = Response::new(StreamBody::new(bytes).boxed_unsync());
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    forbid_retry(&mut response);
    response
}

/// `None` when the usage cannot be read: an error, a compressed answer, an unknown type.
fn usage_reader(
    gateway: &Inner,
    protocol: Protocol,
    sandbox: SandboxId,
    answer: &reqwest::Response,
) -> Option<UsageReader> {
    if !answer.status().is_success() || answer.headers().contains_key(CONTENT_ENCODING) {
        return None;
    }
    let kind = answer.headers().get(CONTENT_TYPE)?.to_str().ok()?;
    let events = kind.starts_with("text/event-stream");
    if !events && !kind.starts_with("application/json") {
        return None;
    }
    Some(UsageReader::new(
        gateway.usage.clone(),
        sandbox,
        protocol,
        events,
    ))
}

/// The chain of causes in one line.
fn reason(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}
