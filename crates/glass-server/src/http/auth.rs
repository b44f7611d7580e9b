//! The bearer token that guards the API: made at the first start, kept in a file that only its owner can read.

use std::fmt;
use std::path::Path;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use glass_api::{Code, Problem, TOKEN_PREFIX};
use http::header;
use rand::RngCore;
use sha2::{Digest, Sha256};

use crate::error::ApiError;
use crate::secret_file;

/// The token, as the hash that a request's token is compared with.
pub(crate) struct ApiToken([u8; 32]);

impl fmt::Debug for ApiToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiToken(..)")
    }
}

impl ApiToken {
    /// Reads the token of the data directory, or makes one there.
    pub(crate) fn load_or_make(data: &Path) -> std::io::Result<Self> {
        let path = data.join("token");
        let token = secret_file::load_or_make(&path, make)?;
        let token = token.trim();
        if token.len() < TOKEN_PREFIX.len() + 32 || !token.starts_with(TOKEN_PREFIX) {
            let message = format!(
                "{} does not hold a token; remove it and a new one is made",
                path.display()
            );
            return Err(std::io::Error::new(
                std::io::ErrorKind::InvalidData,
                message,
            ));
        }
        Ok(Self(hash(token)))
    }

    /// Compares hashes, so the time it takes says nothing about the token.
    fn is(&self, given: &str) -> bool {
        hash(given) == self.0
    }
}

fn make() -> String {
    let mut bytes = [0; 32];
    rand::rng().fill_bytes(&mut bytes);
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{TOKEN_PREFIX}{digits}\n")
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// Lets requests through that carry the token.
pub(super) async fn require_token(
    State(state): State<super::State>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let given = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let bearer = given
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    match bearer {
        Some((_, token)) if state.token.is(token.trim()) => Ok(next.run(request).await),
        Some(_) => Err(refuse("the token is not one of this server")),
        None => Err(refuse(
            "no token: send the header Authorization: Bearer <token>",
        )),
    }
}

fn refuse(detail: &str) -> ApiError {
    let problem = Problem::new(Code::Unauthorized, detail);
    problem
        .with_remedy("the token is in the file `token` of the server's data directory")
        .into()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_token_is_made_once_and_is_private() {
        let data = tempfile::tempdir().unwrap();
        let first = ApiToken::load_or_make(data.path()).unwrap();
        let text = std::fs::read_to_string(data.path().join("token")).unwrap();
        let mode = std::fs::metadata(data.path().join("token"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(first.is(text.trim()));
        assert!(!first.is("gh_0"));
        let second = ApiToken::load_or_make(data.path()).unwrap();
        assert!(second.is(text.trim()));
        assert!(!format!("{second:?}").contains(text.trim()));
    }

    #[test]
    fn a_damaged_token_file_is_named() {
        let data = tempfile::tempdir().unwrap();
        std::fs::write(data.path().join("token"), "secret").unwrap();
        let error = ApiToken::load_or_make(data.path()).unwrap_err().to_string();
        assert!(error.contains("token does not hold a token"), "{error}");
    }
}
