//! A connection to a port of the sandbox through its guest, for hosts that cannot enter its network namespace.
//!
//! `GET /tunnel/<port>` with `Upgrade: tcp` is answered by 101, and the bytes that follow are those of the connection;
//! or by 404 when nothing listens.

/// What the path begins with; the port follows.
pub const PATH: &str = "/tunnel/";
/// The name of the protocol after the upgrade.
pub const UPGRADE: &str = "tcp";
