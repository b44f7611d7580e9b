//! The edge in front of real servers, over real sockets.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod kit;

mod drain;
mod hold;
mod hostile;
mod pages;
mod private;
mod streams;
mod transfer;
mod upgrades;
mod visitors;
mod warming;
