//! The server as the command line sees it.

mod sse;
mod stream;

use std::time::Duration;

use glass_api::Problem;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue};
use reqwest::{Method, Response, StatusCode, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub(crate) use self::sse::Message;
pub(crate) use self::stream::{Messages, Next};
use crate::failure::Failure;

const START_IT: &str = "start it with `glasshouse up`";

/// A connection pool, an address and a token.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    server: Url,
    token: Option<HeaderValue>,
}

/// Why an answer did not come.
#[derive(Debug)]
pub(crate) enum CallError {
    /// Nobody answered, or the connection broke. The server may be starting again.
    Away(reqwest::Error),
    /// The server answered and says no.
    Refused(Box<Problem>),
    /// It answered what we do not understand.
    Strange(String),
}

impl Client {
    pub(crate) fn new(server: &str, token: Option<String>) -> Result<Self, Failure> {
        let url = Url::parse(server)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .ok_or_else(|| {
                Failure::usage(format!("{server:?} is not the URL of a server")).with_hint(
                    "give one such as http://127.0.0.1:8080 with --server or GLASSHOUSE_SERVER",
                )
            })?;
        let token = token
            .map(|token| HeaderValue::from_str(&format!("Bearer {token}")))
            .transpose()
            .map_err(|_| {
                Failure::new("the API token has characters that no token has").with_hint(
                    "look at GLASSHOUSE_TOKEN, --token or the file `token` of the data directory",
                )
            })?
            .map(|mut value| {
                value.set_sensitive(true);
                value
            });
        // HTTP/1.1 alone: terminals upgrade the connection. And a server on this machine needs no proxy to get there.
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("glasshouse/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(Duration::from_secs(10))
            .http1_only();
        if is_local(&url) {
            builder = builder.no_proxy();
        }
        let http = builder
            .build()
            .map_err(|error| Failure::new(format!("no HTTP client: {}", chain(&error))))?;
        Ok(Self {
            http,
            server: url,
            token,
        })
    }

    /// A request to a path of the API, with query parameters.
    pub(crate) fn request(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
    ) -> reqwest::RequestBuilder {
        let mut url = self.server.clone();
        url.set_path(&format!(
            "{}{path}",
            self.server.path().trim_end_matches('/')
        ));
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let request = self.http.request(method, url);
        match &self.token {
            Some(token) => request.header(AUTHORIZATION, token.clone()),
            None => request,
        }
    }

    /// Sends a request. An answer that is not a success is an error.
    pub(crate) async fn send(
        &self,
        request: reqwest::RequestBuilder,
    ) -> Result<Response, CallError> {
        let response = request.send().await.map_err(CallError::Away)?;
        if response.status().is_success() || response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Ok(response);
        }
        let status = response.status();
        let body = response.bytes().await.map_err(CallError::Away)?;
        Err(match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) => CallError::Refused(Box::new(problem)),
            Err(_) => CallError::Strange(format!("it answered {status}")),
        })
    }

    /// Sends a request and reads the JSON of the answer.
    pub(crate) async fn json<T: DeserializeOwned>(
        &self,
        request: reqwest::RequestBuilder,
    ) -> Result<T, Failure> {
        let answer = async {
            let response = self.send(request).await?;
            let body = response.bytes().await.map_err(CallError::Away)?;
            serde_json::from_slice(&body).map_err(|error| {
                CallError::Strange(format!("its answer is not understood: {error}"))
            })
        };
        answer.await.map_err(|error| self.failure(error))
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.json(self.request(Method::GET, path, &[])).await
    }

    pub(crate) async fn get_with<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<T, Failure> {
        self.json(self.request(Method::GET, path, query)).await
    }

    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &(impl Serialize + Sync),
    ) -> Result<T, Failure> {
        self.json(self.request(Method::POST, path, &[]).json(body))
            .await
    }

    /// A request whose answer says nothing but that it was done.
    pub(crate) async fn done(&self, method: Method, path: &str) -> Result<(), Failure> {
        self.send(self.request(method, path, &[]))
            .await
            .map(drop)
            .map_err(|error| self.failure(error))
    }

    /// The messages of a stream that ends when the connection does.
    pub(crate) async fn stream(
        &self,
        request: reqwest::RequestBuilder,
    ) -> Result<Messages, Failure> {
        let response = self
            .send(request.header(ACCEPT, "text/event-stream"))
            .await
            .map_err(|error| self.failure(error))?;
        Ok(Messages::once(self.clone(), response))
    }

    /// The messages of a stream that can be taken up again where it broke: a server that restarts does not end it.
    pub(crate) fn resumable(&self, path: &str, query: &[(&str, &str)]) -> Messages {
        Messages::resumable(self.clone(), path, query)
    }

    /// What to tell people.
    pub(crate) fn failure(&self, error: CallError) -> Failure {
        let server = self.server.as_str().trim_end_matches('/');
        match error {
            CallError::Away(error) if error.is_connect() => {
                Failure::new(format!("no server answers at {server}")).with_hint(START_IT)
            }
            CallError::Away(error) => {
                Failure::new(format!("the connection to {server} broke: {}", chain(&error)))
                    .with_hint("see what the server says in `server.log` of its data directory")
            }
            CallError::Refused(problem) => (*problem).into(),
            CallError::Strange(what) => {
                Failure::new(format!("{server} is not a Glasshouse server: {what}"))
                    .with_hint("is another program on this port? Name the server with --server or GLASSHOUSE_SERVER")
            }
        }
    }
}

fn is_local(url: &Url) -> bool {
    url.host_str().is_some_and(|host| {
        host == "localhost"
            || host
                .trim_matches(['[', ']'])
                .parse::<std::net::IpAddr>()
                .is_ok_and(|address| address.is_loopback())
    })
}

/// The innermost cause says the most.
fn chain(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_http_urls_name_a_server() {
        for server in ["", "8080", "ftp://x", "unix:/x"] {
            assert!(Client::new(server, None).is_err(), "{server}");
        }
    }

    #[test]
    fn a_path_keeps_its_query_apart() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::new("http://h:1/base/", None).unwrap();
        let request = client
            .request(Method::GET, "/v1/x", &[("path", "a b&c?#")])
            .build()
            .unwrap();
        assert_eq!(
            request.url().as_str(),
            "http://h:1/base/v1/x?path=a+b%26c%3F%23"
        );
    }

    #[test]
    fn loopback_is_reached_without_a_proxy() {
        for (url, local) in [
            ("http://127.0.0.1:1", true),
            ("http://[::1]:1", true),
            ("http://localhost", true),
            ("http://10.0.0.1", false),
        ] {
            assert_eq!(is_local(&Url::parse(url).unwrap()), local, "{url}");
        }
    }
}
