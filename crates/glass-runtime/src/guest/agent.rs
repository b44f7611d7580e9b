//! Agent processes and their logs.

use glass_guest_protocol::agent::{
    AgentInfo, AgentKey, AgentLine, AgentLines, AgentList, AgentSend, AgentSent, AgentStart,
    AgentStarted,
};
use glass_guest_protocol::connect::Empty;

use super::{GuestClient, GuestError, GuestStream};

impl GuestClient {
    /// Starts an agent process unless one with this key was ever started. Says whether this call did.
    ///
    /// # Errors
    /// `NotFound` names a missing program, `InvalidArgument` a bad key or directory.
    pub async fn agent_start(&self, request: &AgentStart) -> Result<bool, GuestError> {
        let answer: AgentStarted = self.unary("glasshouse.Agent/Start", request).await?;
        Ok(answer.started)
    }

    /// Sends a line to an agent process, once. Says whether this call did.
    ///
    /// # Errors
    /// `NotFound` if no such process was ever started, `FailedPrecondition` if it has ended.
    pub async fn agent_send(&self, key: &str, once: &str, line: &str) -> Result<bool, GuestError> {
        let request = AgentSend {
            key: key.to_owned(),
            once: once.to_owned(),
            line: line.to_owned(),
        };
        let answer: AgentSent = self.unary("glasshouse.Agent/Send", &request).await?;
        Ok(answer.sent)
    }

    /// The log from line `from` on, then every new line. Ends after the exit line.
    ///
    /// # Errors
    /// `NotFound` if no such process was ever started.
    pub async fn agent_lines(
        &self,
        key: &str,
        from: u64,
    ) -> Result<GuestStream<AgentLine>, GuestError> {
        let request = AgentLines {
            key: key.to_owned(),
            from,
        };
        self.streaming("glasshouse.Agent/Lines", &request, None)
            .await
    }

    /// Kills an agent process and all its children. No error if it has ended.
    ///
    /// # Errors
    /// `NotFound` if no such process was ever started.
    pub async fn agent_stop(&self, key: &str) -> Result<(), GuestError> {
        let request = AgentKey {
            key: key.to_owned(),
        };
        let Empty {} = self.unary("glasshouse.Agent/Stop", &request).await?;
        Ok(())
    }

    /// All agent processes that were ever started.
    ///
    /// # Errors
    /// As every call.
    pub async fn agents(&self) -> Result<Vec<AgentInfo>, GuestError> {
        let answer: AgentList = self.unary("glasshouse.Agent/List", &Empty {}).await?;
        Ok(answer.agents)
    }
}
