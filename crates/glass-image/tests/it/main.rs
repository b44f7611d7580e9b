//! The store as its users see it. Needs root, and Debian's packages `docker-registry` and `skopeo`.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod archives;
mod builds;
mod pulls;
mod store;
mod support;
