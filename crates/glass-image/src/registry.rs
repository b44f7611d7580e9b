//! Registries.
/// Why nothing was pulled.
#[derive(Debug, thiserror::Error)]
pub enum PullError {}
