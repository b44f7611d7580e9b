//! The store as its users see it. Needs root, and Debian's packages `docker-registry` and `skopeo`.

mod archives;
mod builds;
mod pulls;
mod store;
mod support;
