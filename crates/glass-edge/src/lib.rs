//! The one listener: host router and reverse proxy.
//!
//! `<port>-<sandbox>.preview.<domain>` goes to that port of that sandbox, all other hosts to the server's own routes.
//! The edge knows neither database nor runtime: it asks through [`Origins`].
//!
//! A request to a preview is admitted first, from memory. Then it enters the sandbox, which wakes it if it rests, and
//! whatever comes back holds the sandbox awake until the answer's last byte. Bodies are not read before that.
#![deny(missing_docs)]

mod body;
mod config;
mod counters;
mod edge;
mod follow;
mod headers;
mod linger;
mod metrics;
mod notice;
mod origins;
mod page;
mod pool;
mod proxy;
mod route;
mod serve;
mod sniff;
mod visitor;
mod wait;

pub use config::EdgeConfig;
pub use counters::EdgeCounters;
pub use edge::{ClientAddr, Edge};
pub use metrics::{EdgeMetrics, Histogram, LATENCY_BUCKETS};
pub use origins::{Admission, Denied, Held, Origins, Problem, Progress, Stream, Unreachable};
pub use route::{BadHost, Route, route};
pub use serve::Drained;
pub use visitor::{PASS_HEADER, PASS_PARAMETER};
