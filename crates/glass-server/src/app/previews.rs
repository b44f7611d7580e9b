//! Preview URLs, and who may see what is behind them.

use std::sync::Arc;

use glass_api::{PreviewLink, PreviewLinkParams, Problem};
use glass_edge::PASS_PARAMETER;
use glass_guest_protocol::WEB_PORT;
use glass_types::SandboxId;

use super::PreviewKeys;
use crate::clock;
use crate::error::ApiError;

const SECOND: u64 = 1000;
const DAY: u64 = 24 * 60 * 60 * SECOND;
/// How long a link is good unless somebody says so.
const USUAL: u64 = DAY;
const LONGEST: u64 = 30 * DAY;

/// How preview URLs are made: one host name per port of a sandbox.
#[derive(Debug, Clone)]
pub(crate) struct Previews {
    /// `preview.localhost`
    pub(crate) domain: String,
    /// The port that browsers reach the edge at.
    pub(crate) port: u16,
    pub(crate) keys: Arc<PreviewKeys>,
}

impl Previews {
    /// The URL of a port of a sandbox.
    pub(crate) fn url(&self, sandbox: &SandboxId, port: u16) -> String {
        let Self {
            domain, port: edge, ..
        } = self;
        if *edge == 80 {
            format!("http://{port}-{sandbox}.{domain}")
        } else {
            format!("http://{port}-{sandbox}.{domain}:{edge}")
        }
    }

    /// A link with a pass.
    pub(crate) fn link(
        &self,
        sandbox: &SandboxId,
        params: &PreviewLinkParams,
    ) -> Result<PreviewLink, ApiError> {
        if params.port == Some(0) {
            return Err(Problem::field("port", 0, "a port is a number from 1 to 65535").into());
        }
        let expires_in = params.expires_in_ms.unwrap_or(USUAL);
        if !(SECOND..=LONGEST).contains(&expires_in) {
            let message = format!("it is from {SECOND} (a second) to {LONGEST} (30 days)");
            return Err(Problem::field("expires_in_ms", expires_in, message).into());
        }
        let expires_at = clock::now().saturating_add_unsigned(expires_in);
        let pass = self.keys.sign(sandbox, params.port, expires_at);
        let url = self.url(sandbox, params.port.unwrap_or(WEB_PORT));
        Ok(PreviewLink {
            url: format!("{url}/?{PASS_PARAMETER}={pass}"),
            pass,
            expires_at,
        })
    }
}
