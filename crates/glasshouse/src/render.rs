//! How things look in a terminal, and how they do not look in a pipe.

mod age;
mod diff;
mod markdown;
mod out;
mod progress;
mod steps;
mod style;
mod table;
mod turn;

pub(crate) use age::{age, span_ms};
pub(crate) use out::Out;
pub(crate) use progress::{Spinner, byte_bar};
pub(crate) use steps::Steps;
pub(crate) use style::{Style, plain, printable};
pub(crate) use table::Table;
pub(crate) use turn::Turn;
