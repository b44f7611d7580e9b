//! The one place that turns errors into HTTP.

use axum::response::{IntoResponse, Response};
use glass_api::{Code, Problem};
use glass_archive::ArchiveError;
use glass_image::ImageError;
use glass_runtime::{GuestError, RuntimeError};
use glass_store::StoreError;
use glass_types::{Denied, IdError};
use http::{HeaderValue, StatusCode, header};

/// An error on its way out.
#[derive(Debug)]
pub(crate) struct ApiError(pub(crate) Problem);

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, axum::Json(&self.0)).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            let seconds = self.0.retry_after.unwrap_or(1);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<Problem> for ApiError {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

/// A failure on our side: logged here with its whole chain, shown without.
pub(crate) fn internal(error: &(dyn std::error::Error + 'static)) -> Problem {
    let mut chain = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        chain = format!("{chain}: {cause}");
        source = cause.source();
    }
    tracing::error!(error = %chain, "request failed");
    Problem::new(Code::Internal, chain)
        .with_remedy("see the server's log; if it goes on, run `glasshouse doctor`")
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        if error.is_disk_full() {
            let problem = Problem::new(
                Code::DiskFull,
                "the disk of the server's data directory is full",
            );
            return Self(problem.with_remedy("free some space there, then try again"));
        }
        Self(internal(&error))
    }
}

impl From<IdError> for ApiError {
    fn from(error: IdError) -> Self {
        Self(Problem::field(
            "id",
            error.text,
            "an id is 16 characters of a-z and 0-9 and starts with a letter",
        ))
    }
}

impl From<Denied> for ApiError {
    fn from(denied: Denied) -> Self {
        Self(Problem::new(Code::StateConflict, denied.to_string()))
    }
}

impl From<RuntimeError> for ApiError {
    fn from(error: RuntimeError) -> Self {
        let detail = error.to_string();
        Self(match error {
            RuntimeError::Unknown(_) => Problem::new(Code::SandboxNotFound, detail),
            RuntimeError::UnknownSnapshot(_) => Problem::new(Code::SnapshotNotFound, detail),
            RuntimeError::StillRunning(id) => Problem::new(Code::StateConflict, detail)
                .with_remedy(format!("stop it with `glasshouse stop {id}`")),
            // Whoever uses a sandbox has woken it: it ended just now, and the next use wakes it again.
            RuntimeError::NotRunning(_) | RuntimeError::Ended { .. } => {
                Problem::new(Code::SandboxUnavailable, detail).with_retry_after(1)
            }
            RuntimeError::PortClosed { .. } => Problem::new(Code::SandboxUnavailable, detail),
            RuntimeError::Unsupported { remedy, .. } => {
                Problem::new(Code::HostUnsupported, detail).with_remedy(remedy)
            }
            RuntimeError::DiskTooSmall { needed, limit, .. } => Problem::field(
                "limits.disk_bytes",
                limit,
                format!("the snapshot needs a disk of {needed} bytes"),
            ),
            RuntimeError::DiskCannotGrow { size, limit, .. } => Problem::field(
                "limits.disk_bytes",
                limit,
                format!(
                    "the snapshot has a disk of {size} bytes, and this host does not let it grow"
                ),
            )
            .with_remedy(format!(
                "give {size}, or start the server with the capability CAP_SYS_RESOURCE"
            )),
            RuntimeError::Step { ref reason, .. } if is_disk_full(reason) => disk_full(detail),
            RuntimeError::Io { ref source, .. }
                if source.kind() == std::io::ErrorKind::StorageFull =>
            {
                disk_full(detail)
            }
            RuntimeError::Step { .. } | RuntimeError::Io { .. } => internal(&error),
        })
    }
}

fn is_disk_full(reason: &str) -> bool {
    reason.contains("No space left on device")
}

fn disk_full(detail: String) -> Problem {
    Problem::new(Code::DiskFull, detail).with_remedy("free some space there, then try again")
}

impl From<ImageError> for ApiError {
    fn from(error: ImageError) -> Self {
        let detail = error.to_string();
        Self(match error {
            ImageError::Unknown { .. } => Problem::new(Code::ImageNotFound, detail)
                .with_remedy("`glasshouse image ls` lists what there is; build or pull it with `glasshouse image`"),
            ImageError::InvalidName { name, reason } => Problem::field("image", name, reason),
            ImageError::Full { .. } => disk_full(detail),
            error => internal(&error),
        })
    }
}

impl From<ArchiveError> for ApiError {
    fn from(error: ArchiveError) -> Self {
        let detail = error.to_string();
        Self(match error {
            ArchiveError::Store { .. } => {
                // Seconds: what an operator or a network needs to come back.
                Problem::new(Code::ArchiveUnavailable, detail).with_retry_after(30)
            }
            ArchiveError::Unfit { .. } => Problem::new(Code::StateConflict, detail),
            ArchiveError::Disk { ref reason, .. } if is_disk_full(reason) => disk_full(detail),
            ArchiveError::Interrupted
            | ArchiveError::Damaged { .. }
            | ArchiveError::Key { .. }
            | ArchiveError::Missing { .. }
            | ArchiveError::Disk { .. }
            | ArchiveError::Worker(_) => internal(&error),
        })
    }
}

impl From<GuestError> for ApiError {
    fn from(error: GuestError) -> Self {
        Self(crate::app::guest_problem(error))
    }
}
