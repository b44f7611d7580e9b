//! Extractors whose refusals are problems, too.

use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Request};
use glass_api::{BODY_LIMIT, Code, Problem};
use http::request::Parts;
use serde::de::DeserializeOwned;

use crate::error::ApiError;

/// A JSON body.
#[derive(Debug)]
pub(crate) struct Json<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let refused = |rejection: JsonRejection| {
            if rejection.status() == http::StatusCode::PAYLOAD_TOO_LARGE {
                let detail = format!("the body is longer than {BODY_LIMIT} bytes");
                return ApiError(
                    Problem::new(Code::TooLarge, detail)
                        .with_remedy("send less; long texts belong into files"),
                );
            }
            let remedy = match &rejection {
                JsonRejection::MissingJsonContentType(_) => {
                    "send the header Content-Type: application/json"
                }
                _ => "compare it with /v1/openapi.json",
            };
            ApiError(Problem::new(Code::InvalidJson, rejection.body_text()).with_remedy(remedy))
        };
        let axum::Json(value) = axum::Json::from_request(request, state)
            .await
            .map_err(refused)?;
        Ok(Self(value))
    }
}

/// Parameters of the path.
#[derive(Debug)]
pub(crate) struct Path<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let refused = |rejection: PathRejection| {
            ApiError(Problem::field(
                "path",
                parts_uri(&rejection),
                rejection.body_text(),
            ))
        };
        let axum::extract::Path(value) = axum::extract::Path::from_request_parts(parts, state)
            .await
            .map_err(refused)?;
        Ok(Self(value))
    }
}

fn parts_uri(rejection: &PathRejection) -> String {
    rejection.to_string()
}

/// Parameters of the query.
#[derive(Debug)]
pub(crate) struct Query<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let given = parts.uri.query().unwrap_or_default().to_owned();
        let refused = |rejection: QueryRejection| {
            ApiError(Problem::field("query", given, rejection.body_text()))
        };
        let axum::extract::Query(value) = axum::extract::Query::from_request_parts(parts, state)
            .await
            .map_err(refused)?;
        Ok(Self(value))
    }
}
