//! The archive as the server uses it: real workers, real stores.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod damage;
mod image;
mod roundtrip;
mod s3;
mod world;
