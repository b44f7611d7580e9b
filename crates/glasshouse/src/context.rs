//! What every command has at hand: where the data is, how to reach the server, where to print.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::cli::Global;
use crate::client::Client;
use crate::daemon::Daemon;
use crate::failure::{Failure, Naming};
use crate::render::Out;

/// Where a server listens unless told otherwise.
const SERVER: &str = "http://127.0.0.1:8080";
/// The most a token file may hold.
const TOKEN_LIMIT: usize = 4096;

#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) out: Out,
    pub(crate) json: bool,
    data: PathBuf,
    server: Option<String>,
    token: Option<String>,
}

impl Context {
    pub(crate) fn new(global: Global) -> Self {
        Self {
            out: Out::standard(),
            json: global.json,
            data: global.data.unwrap_or_else(default_data),
            server: global.server,
            token: global.token,
        }
    }

    /// The data directory.
    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    /// The server's URL: as given, else what the server of the data directory wrote down, else the default.
    pub(crate) fn server(&self) -> String {
        if let Some(server) = &self.server {
            return server.trim_end_matches('/').to_owned();
        }
        Daemon::of(&self.data)
            .url()
            .unwrap_or_else(|| SERVER.to_owned())
    }

    /// A client with the token.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        self.client_of(&self.server())
    }

    /// A client of the server at this URL, with the token.
    pub(crate) fn client_of(&self, server: &str) -> Result<Client, Failure> {
        let token = match &self.token {
            Some(token) => Some(token.trim().to_owned()),
            None => self.token_file()?,
        };
        Client::new(server, token)
    }

    fn token_file(&self) -> Result<Option<String>, Failure> {
        let path = self.data.join("token");
        match std::fs::read(&path) {
            Ok(bytes) if bytes.len() <= TOKEN_LIMIT => {
                let text = String::from_utf8(bytes)
                    .naming(|| format!("{} is not a token", path.display()))?;
                Ok(Some(text.trim().to_owned()))
            }
            Ok(_) => Err(Failure::new(format!("{} is not a token", path.display()))),
            // Without a token the server says itself what it wants, or does not answer at all.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(
                Failure::new(format!("cannot read {}: {error}", path.display())).with_hint(
                    "run this as the user who ran `glasshouse up`, or set GLASSHOUSE_TOKEN",
                ),
            ),
        }
    }

    /// With `--json` prints the value and says so.
    pub(crate) fn printed_as_json(&self, value: &impl Serialize) -> Result<bool, Failure> {
        if self.json {
            self.out.json(value)?;
        }
        Ok(self.json)
    }
}

fn default_data() -> PathBuf {
    if rustix::process::geteuid().is_root() {
        return PathBuf::from("/var/lib/glasshouse");
    }
    let base = std::env::var_os("XDG_DATA_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| std::env::home_dir().map(|home| home.join(".local/share")))
        .unwrap_or_else(|| PathBuf::from("."));
    base.join("glasshouse")
}
