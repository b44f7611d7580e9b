//! What an operator may set.

use std::time::Duration;

/// Settings of the edge. Start from [`EdgeConfig::new`] and change what is to differ.
#[derive(Debug, Clone)]
pub struct EdgeConfig {
    /// Previews live at `<port>-<sandbox>.<preview domain>`. Lower case, without dots at the ends.
    pub preview_domain: String,
    /// The port people type in URLs; links to other previews carry it.
    pub public_port: u16,
    /// `http` or `https`, as browsers see it.
    pub public_scheme: &'static str,
    /// Cookies whose name begins with this are ours: no app sees or sets them.
    pub cookie_prefix: String,
    /// Tokens that begin with this are ours: no app sees them.
    pub token_prefix: String,
    /// How long a client may take to send the head of a request, and how long a connection may idle.
    pub header_timeout: Duration,
    /// Largest head of a request or answer, in bytes.
    pub header_bytes: usize,
    /// How long connecting to an app may take.
    pub connect_timeout: Duration,
    /// How long a browser waits for a sandbox or an app before it gets a page that waits instead.
    pub patience: Duration,
    /// How long a program waits for the same before it is told to come back.
    pub hold: Duration,
    /// How long a page that waits keeps its sandbox awake for an app that does not come.
    pub watch: Duration,
    /// How long a connection to an app is kept without use. Below the 5 s after which Node and uvicorn hang up.
    pub pool_idle: Duration,
    /// How many unused connections are kept per app.
    pub pool_size: usize,
    /// How many clients may be connected at once; more wait in the kernel's queue.
    pub connections: usize,
    /// How long requests in flight may take to finish after the shutdown signal.
    pub drain_timeout: Duration,
}

impl EdgeConfig {
    /// The usual settings for a preview domain and the port of its URLs.
    #[must_use]
    pub fn new(preview_domain: &str, public_port: u16) -> Self {
        Self {
            preview_domain: preview_domain.trim_matches('.').to_ascii_lowercase(),
            public_port,
            public_scheme: "http",
            cookie_prefix: "glasshouse_".to_owned(),
            token_prefix: "gh_".to_owned(),
            header_timeout: Duration::from_secs(20),
            header_bytes: 64 * 1024,
            connect_timeout: Duration::from_secs(5),
            patience: Duration::from_millis(1500),
            hold: Duration::from_secs(30),
            watch: Duration::from_secs(600),
            pool_idle: Duration::from_secs(4),
            pool_size: 128,
            connections: 10_000,
            drain_timeout: Duration::from_secs(10),
        }
    }

    /// Host and, where it is not the scheme's own, port of a preview.
    #[must_use]
    pub fn preview_authority(&self, port: u16, sandbox: &glass_types::SandboxId) -> String {
        let domain = &self.preview_domain;
        let usual = if self.public_scheme == "https" {
            443
        } else {
            80
        };
        if self.public_port == usual {
            format!("{port}-{sandbox}.{domain}")
        } else {
            format!("{port}-{sandbox}.{domain}:{}", self.public_port)
        }
    }
}
