//! The way to an agent process: through the guest of its sandbox.

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use glass_agent::{AgentCommand, AgentLine, AgentLink, LineSource, LinkError};
use glass_guest_protocol::agent::{AgentSource, AgentStart};
use glass_guest_protocol::connect::Code;
use glass_runtime::{GuestClient, GuestError};

/// An [`AgentLink`] over a guest.
pub(crate) struct GuestLink {
    guest: GuestClient,
}

impl GuestLink {
    pub(crate) fn new(guest: GuestClient) -> Self {
        Self { guest }
    }
}

#[async_trait]
impl AgentLink for GuestLink {
    async fn start(&self, key: &str, command: &AgentCommand) -> Result<(), LinkError> {
        let start = AgentStart {
            key: key.to_owned(),
            argv: command.argv.clone(),
            env: command.env.clone(),
            cwd: Some(command.cwd.clone()),
        };
        let started = self.guest.agent_start(&start).await;
        started.map(drop).map_err(|error| {
            if error.could_retry() {
                LinkError::Broken(error.to_string())
            } else {
                LinkError::Start(error.to_string())
            }
        })
    }

    async fn send(&self, key: &str, once: &str, line: &str) -> Result<(), LinkError> {
        self.guest
            .agent_send(key, once, line)
            .await
            .map(drop)
            .map_err(|error| link_error(key, &error))
    }

    async fn lines(
        &self,
        key: &str,
        from: u64,
    ) -> Result<BoxStream<'static, Result<AgentLine, LinkError>>, LinkError> {
        let lines = self
            .guest
            .agent_lines(key, from)
            .await
            .map_err(|error| link_error(key, &error))?;
        let key = key.to_owned();
        Ok(lines
            .map(move |line| match line {
                Ok(line) => Ok(AgentLine {
                    number: line.number,
                    source: source(line.source),
                    text: line.text,
                }),
                Err(error) => Err(link_error(&key, &error)),
            })
            .boxed())
    }

    async fn stop(&self, key: &str) -> Result<(), LinkError> {
        self.guest
            .agent_stop(key)
            .await
            .map(drop)
            .map_err(|error| link_error(key, &error))
    }
}

fn source(source: AgentSource) -> LineSource {
    match source {
        AgentSource::Stdin => LineSource::Stdin,
        AgentSource::Stdout => LineSource::Stdout,
        AgentSource::Stderr => LineSource::Stderr,
        AgentSource::Exit => LineSource::Exit,
    }
}

fn link_error(key: &str, error: &GuestError) -> LinkError {
    if error.code() == Code::NotFound {
        LinkError::Unknown(key.to_owned())
    } else {
        LinkError::Broken(error.to_string())
    }
}
