//! The gateway from outside: an agent's requests on the sandbox's socket, a recording provider behind.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod agent;
mod demo;
mod egress;
mod egress_policy;
mod egress_requests;
mod outside;
mod provider;
mod proxy;
mod refusals;
