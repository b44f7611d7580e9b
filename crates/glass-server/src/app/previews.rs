//! Preview URLs.

use glass_types::SandboxId;

/// How preview URLs are made: one host name per port of a sandbox.
#[derive(Debug, Clone)]
pub(crate) struct Previews {
    /// `preview.localhost`
    pub(crate) domain: String,
    /// The port that browsers reach the edge at.
    pub(crate) port: u16,
}

impl Previews {
    /// The URL of a port of a sandbox.
    pub(crate) fn url(&self, sandbox: &SandboxId, port: u16) -> String {
        let Self { domain, port: edge } = self;
        if *edge == 80 {
            format!("http://{port}-{sandbox}.{domain}")
        } else {
            format!("http://{port}-{sandbox}.{domain}:{edge}")
        }
    }
}
