//! One request: who asks, what for, who answers.

use std::sync::Arc;

use glass_types::SandboxId;
use http::header::AUTHORIZATION;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio::time::Instant;

use crate::body::{self, Body, REQUEST_LIMIT, ReadError};
use crate::demo::{self, Dialect};
use crate::gateway::Inner;
use crate::peek::{self, Peeked};
use crate::route::{PATHS, Route};
use crate::{DEMO_MODEL, Protocol, forward};

/// A token longer than this is nobody's.
const TOKEN_LIMIT: usize = 4096;

pub(crate) async fn handle(
    gateway: Arc<Inner>,
    sandbox: SandboxId,
    request: Request<Incoming>,
) -> Response<Body> {
    let route = Route::of(request.method(), request.uri().path(), request.headers());
    let protocol = route.protocol();
    if route == Route::Hello {
        return hello(request.method());
    }
    if let Err((status, message)) = authorize(&gateway, &sandbox, request.headers()).await {
        return protocol.error(status, &message);
    }
    if content_length(request.headers()).is_some_and(|length| length > REQUEST_LIMIT as u64) {
        body::drain(request.into_body()).await;
        return refuse(protocol, &ReadError::TooLarge);
    }
    match route {
        Route::Hello => hello(request.method()),
        Route::Unknown(_) => {
            let message = format!(
                "there is no {} {} here; there is {PATHS}",
                request.method(),
                shortened(request.uri().path())
            );
            protocol.error(StatusCode::NOT_FOUND, &message)
        }
        Route::Models(_, ref id) => match gateway.upstream(protocol) {
            Some(_) if id.as_deref() != Some(DEMO_MODEL) => {
                let (head, body) = request.into_parts();
                forward::forward(&gateway, protocol, sandbox, head, Peeked::nothing(body)).await
            }
            _ => demo::models(protocol, id.as_deref()),
        },
        Route::CountTokens => model_call(&gateway, sandbox, request, Dialect::Count).await,
        Route::Messages => model_call(&gateway, sandbox, request, Dialect::Messages).await,
        Route::Chat => model_call(&gateway, sandbox, request, Dialect::Chat).await,
        Route::Responses => model_call(&gateway, sandbox, request, Dialect::Responses).await,
    }
}

/// One request to a model, timed until the head of its answer.
async fn model_call(
    gateway: &Inner,
    sandbox: SandboxId,
    request: Request<Incoming>,
    dialect: Dialect,
) -> Response<Body> {
    let since = Instant::now();
    let answer = answer(gateway, sandbox, request, dialect).await;
    gateway
        .usage
        .answered(dialect.protocol(), answer.status(), since.elapsed());
    answer
}

/// From the provider, unless there is none or the request names the demo model.
async fn answer(
    gateway: &Inner,
    sandbox: SandboxId,
    request: Request<Incoming>,
    dialect: Dialect,
) -> Response<Body> {
    let protocol = dialect.protocol();
    let (head, body) = request.into_parts();
    if gateway.upstream(protocol).is_none() {
        return match body::read(body).await {
            Ok(bytes) => demo::answer(dialect, &bytes),
            Err(error) => refuse(protocol, &error),
        };
    }
    let peeked = match peek::model(body).await {
        Ok(peeked) => peeked,
        Err(error) => return refuse(protocol, &error),
    };
    if peeked.model.as_deref() == Some(DEMO_MODEL) {
        return match peeked.read().await {
            Ok(bytes) => demo::answer(dialect, &bytes),
            Err(error) => refuse(protocol, &error),
        };
    }
    forward::forward(gateway, protocol, sandbox, head, peeked).await
}

pub(crate) fn refuse(protocol: Protocol, error: &ReadError) -> Response<Body> {
    let status = match error {
        ReadError::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ReadError::Cut(_) => StatusCode::BAD_REQUEST,
    };
    protocol.error(status, &error.to_string())
}

/// The token must be this sandbox's own: a token that leaked to another sandbox opens nothing there.
async fn authorize(
    gateway: &Inner,
    sandbox: &SandboxId,
    headers: &HeaderMap,
) -> Result<(), (StatusCode, String)> {
    let mut refusal = (
        StatusCode::UNAUTHORIZED,
        "no sandbox token: send it as x-api-key or as Authorization: Bearer".to_owned(),
    );
    for token in tokens(headers) {
        match gateway.tokens.resolve(token).await {
            Ok(Some(caller)) if caller.sandbox == *sandbox => return Ok(()),
            Ok(Some(_)) => {
                refusal = (
                    StatusCode::FORBIDDEN,
                    "this token belongs to another sandbox: use the one in this sandbox's environment"
                        .to_owned(),
                );
            }
            Ok(None) => {
                refusal = (
                    StatusCode::UNAUTHORIZED,
                    "this is not a sandbox token: use the one in this sandbox's environment"
                        .to_owned(),
                );
            }
            Err(error) => {
                tracing::error!(sandbox.id = %sandbox, error = format!("{error:#}"), "a token could not be looked up");
                return Err((
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "the token could not be looked up: see the server's log".to_owned(),
                ));
            }
        }
    }
    Err(refusal)
}

/// What the request offers as tokens. Agents that have both settings send both headers.
fn tokens(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let key = headers
        .get("x-api-key")
        .and_then(|value| value.to_str().ok());
    let bearer = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token);
    key.into_iter()
        .chain(bearer)
        .map(str::trim)
        .filter(|token| !token.is_empty() && token.len() <= TOKEN_LIMIT)
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers
        .get(http::header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

fn hello(method: &Method) -> Response<Body> {
    let text = if method == Method::HEAD {
        ""
    } else {
        "the model gateway of this sandbox\n"
    };
    Response::new(body::full(text))
}

fn shortened(path: &str) -> String {
    path.chars().take(200).collect()
}
