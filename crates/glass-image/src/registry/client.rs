//! Requests to one repository of a registry.

use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, RANGE, WWW_AUTHENTICATE};
use reqwest::{Response, StatusCode, Url};
use serde::Deserialize;

use crate::registry::auth::Challenge;
use crate::registry::reference::{Reference, is_loopback};
use crate::registry::{Credentials, PullError};
use crate::spec::DOCUMENT_LIMIT;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a connection may stay silent.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(60);

/// A repository.
pub(crate) struct Client {
    http: reqwest::Client,
    reference: Reference,
    credentials: Option<Credentials>,
    authorization: Option<String>,
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

impl Client {
    pub(crate) fn new(
        reference: Reference,
        credentials: Option<Credentials>,
    ) -> Result<Self, PullError> {
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            // Fails only when another thread has just installed one, which serves as well.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(SILENCE_TIMEOUT)
            .redirect(reqwest::redirect::Policy::custom(|attempt| {
                let was_secure = attempt.previous().iter().any(|url| url.scheme() == "https");
                if attempt.previous().len() > 5 || (was_secure && attempt.url().scheme() != "https")
                {
                    attempt.stop()
                } else {
                    attempt.follow()
                }
            }))
            .build()
            .map_err(|source| PullError::Unreachable {
                registry: reference.registry.clone(),
                source,
            })?;
        Ok(Self {
            http,
            reference,
            credentials,
            authorization: None,
        })
    }

    pub(crate) fn registry(&self) -> &str {
        &self.reference.registry
    }

    /// Asks for a part of the repository: `manifests/<version>` or `blobs/<digest>`, from byte `offset` on.
    ///
    /// The answer is a success, and `206` when the registry begins at the offset.
    pub(crate) async fn get(
        &mut self,
        part: &str,
        accept: &str,
        offset: u64,
    ) -> Result<Response, PullError> {
        let url = format!(
            "{}/v2/{}/{part}",
            self.reference.base(),
            self.reference.repository
        );
        let mut answer = self.send(&url, accept, offset).await?;
        if answer.status() == StatusCode::UNAUTHORIZED {
            self.authorize(&answer).await?;
            answer = self.send(&url, accept, offset).await?;
        }
        self.check(answer, part).await
    }

    async fn send(&self, url: &str, accept: &str, offset: u64) -> Result<Response, PullError> {
        let mut request = self.http.get(url).header(ACCEPT, accept);
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        if offset > 0 {
            request = request.header(RANGE, format!("bytes={offset}-"));
        }
        request
            .send()
            .await
            .map_err(|source| self.unreachable(source))
    }

    fn unreachable(&self, source: reqwest::Error) -> PullError {
        PullError::Unreachable {
            registry: self.reference.registry.clone(),
            source,
        }
    }

    async fn authorize(&mut self, answer: &Response) -> Result<(), PullError> {
        let challenge = answer
            .headers()
            .get_all(WWW_AUTHENTICATE)
            .iter()
            .filter_map(|header| header.to_str().ok())
            .find_map(Challenge::parse);
        match (challenge, &self.credentials) {
            (Some(Challenge::Basic), Some(credentials)) => {
                self.authorization = Some(basic(credentials));
                Ok(())
            }
            (
                Some(Challenge::Bearer {
                    realm,
                    service,
                    scope,
                }),
                _,
            ) => self.token(&realm, service, scope).await,
            (Some(Challenge::Basic), None) | (None, _) => Err(self.unauthorized()),
        }
    }

    async fn token(
        &mut self,
        realm: &str,
        service: Option<String>,
        scope: Option<String>,
    ) -> Result<(), PullError> {
        let scope =
            scope.unwrap_or_else(|| format!("repository:{}:pull", self.reference.repository));
        let mut parameters = vec![("scope", scope)];
        parameters.extend(service.map(|service| ("service", service)));
        // The password is not sent in the clear, whatever the registry asks for.
        let url = Url::parse_with_params(realm, parameters)
            .ok()
            .filter(|url| url.scheme() == "https" || url.host_str().is_some_and(is_loopback))
            .ok_or_else(|| self.unauthorized())?;
        let mut request = self.http.get(url);
        if let Some(credentials) = &self.credentials {
            request = request.header(AUTHORIZATION, basic(credentials));
        }
        let answer = request
            .send()
            .await
            .map_err(|source| self.unreachable(source))?;
        if matches!(
            answer.status(),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN
        ) {
            return Err(self.unauthorized());
        }
        let answer = self.check(answer, "a token").await?;
        let body = self.body(answer, "a token").await?;
        let token: Option<Token> = serde_json::from_slice(&body).ok();
        let token = token
            .and_then(|t| t.token.or(t.access_token))
            .ok_or_else(|| self.unauthorized())?;
        self.authorization = Some(format!("Bearer {token}"));
        Ok(())
    }

    async fn check(&self, answer: Response, what: &str) -> Result<Response, PullError> {
        match answer.status() {
            status if status.is_success() => Ok(answer),
            StatusCode::NOT_FOUND => Err(PullError::NotFound {
                registry: self.reference.registry.clone(),
                what: if what.starts_with("manifests/") {
                    self.reference.to_string()
                } else {
                    what.to_owned()
                },
            }),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(self.unauthorized()),
            status => {
                let body = self.body(answer, what).await.unwrap_or_default();
                Err(PullError::Status {
                    registry: self.reference.registry.clone(),
                    status: status.as_u16(),
                    what: what.to_owned(),
                    body: String::from_utf8_lossy(&body)
                        .chars()
                        .filter(|c| !c.is_control())
                        .take(300)
                        .collect(),
                })
            }
        }
    }

    /// The body of a document, which may not be large.
    pub(crate) async fn body(
        &self,
        mut answer: Response,
        what: &str,
    ) -> Result<Vec<u8>, PullError> {
        let mut body = Vec::new();
        while let Some(chunk) = answer
            .chunk()
            .await
            .map_err(|source| self.unreachable(source))?
        {
            body.extend_from_slice(&chunk);
            if body.len() as u64 > DOCUMENT_LIMIT {
                return Err(PullError::Status {
                    registry: self.reference.registry.clone(),
                    status: answer.status().as_u16(),
                    what: what.to_owned(),
                    body: format!("more than the {DOCUMENT_LIMIT} bytes that a document may have"),
                });
            }
        }
        Ok(body)
    }

    fn unauthorized(&self) -> PullError {
        let (who, remedy) = match &self.credentials {
            Some(credentials) => (
                format!("user `{}`", credentials.username),
                "check user name, password and the right to pull",
            ),
            None => (
                "anybody without a login".to_owned(),
                "give a user name and a password, and check that the repository exists",
            ),
        };
        PullError::Unauthorized {
            registry: self.reference.registry.clone(),
            who,
            repository: self.reference.repository.clone(),
            remedy,
        }
    }
}

fn basic(credentials: &Credentials) -> String {
    use base64::Engine as _;
    let pair = format!("{}:{}", credentials.username, credentials.password);
    format!(
        "Basic {}",
        base64::engine::general_purpose::STANDARD.encode(pair)
    )
}
