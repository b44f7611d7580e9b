//! The edge in front of real servers, over real sockets.

mod kit;

mod drain;
mod hostile;
mod pages;
mod private;
mod streams;
mod transfer;
mod upgrades;
