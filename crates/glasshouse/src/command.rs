//! What each command does, one file each.

pub(crate) mod agents;
mod archive;
pub(crate) mod ask;
pub(crate) mod completions;
pub(crate) mod cp;
pub(crate) mod doctor;
pub(crate) mod down;
pub(crate) mod exec;
pub(crate) mod export;
pub(crate) mod fork;
pub(crate) mod image;
pub(crate) mod import;

pub(crate) mod logs;
pub(crate) mod new;
pub(crate) mod open;
pub(crate) mod power;
pub(crate) mod ps;
pub(crate) mod rest;
pub(crate) mod rm;
pub(crate) mod serve;
pub(crate) mod shell;
pub(crate) mod snapshot;
pub(crate) mod stats;
pub(crate) mod template;
pub(crate) mod up;
pub(crate) mod version;
mod work;
