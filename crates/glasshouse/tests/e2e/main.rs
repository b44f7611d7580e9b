//! The whole product as a user meets it: the real binary, real containers, real agents, a real browser.
//!
//! Needs root and the Debian packages that `make test` installs. The base image is built once into a directory that all
//! servers of this run share.

mod archive;
mod bad_input;
mod bombs;
mod egress;
mod escape;
mod first_app;
mod gvisor;
mod harness;
mod hot_reload;
mod installs;
mod leftovers;
mod restart;
mod sealed;
mod secrets;
mod templates;
mod way_out;
