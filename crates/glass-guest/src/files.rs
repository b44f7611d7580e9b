//! Files: `filesystem.Filesystem` and HTTP `/files`.

pub(crate) mod archive;
mod calendar;
mod entry;
mod multipart;
pub(crate) mod service;
mod transfer;
mod upload;

pub(crate) use transfer::{contents, decode, open_regular, read, write};
