//! The methods of `glasshouse.Agent`.

use std::sync::Arc;

use futures::Stream;
use glass_guest_protocol::agent::{
    AgentKey, AgentLine, AgentLines, AgentList, AgentSend, AgentSent, AgentSource, AgentStart,
    AgentStarted,
};
use glass_guest_protocol::connect::RpcError;
use http::Request;
use hyper::body::Incoming;

use super::Agent;
use crate::guest::Guest;
use crate::reply::{self, Reply};
use crate::{fault, server};

pub(crate) async fn call(
    guest: &Guest,
    method: &str,
    request: Request<Incoming>,
) -> Result<Reply, RpcError> {
    match method {
        "Start" => {
            let wanted: AgentStart = reply::unary(request).await?;
            let agents = Arc::clone(&guest.agents);
            // In a task of its own: a client that goes away must not leave a process that no table knows.
            let started = tokio::spawn(async move { agents.start(wanted).await })
                .await
                .map_err(|error| fault::internal(error.to_string()))??;
            Ok(reply::json(&AgentStarted { started }))
        }
        "Send" => {
            let wanted: AgentSend = reply::unary(request).await?;
            let agent = guest.agents.find(&wanted.key)?;
            let sent = agent.send(&wanted.key, &wanted.once, &wanted.line)?;
            Ok(reply::json(&AgentSent { sent }))
        }
        "Lines" => {
            let wanted: AgentLines = reply::enveloped(request).await?;
            let agent = guest.agents.find(&wanted.key)?;
            Ok(reply::stream(lines(agent, wanted.from.max(1))))
        }
        "Stop" => {
            let wanted: AgentKey = reply::unary(request).await?;
            guest.agents.find(&wanted.key)?.stop().await;
            server::done()
        }
        "List" => Ok(reply::json(&AgentList {
            agents: guest.agents.list(),
        })),
        _ => Err(reply::unknown(method)),
    }
}

/// All lines from a number on, up to and with the last one.
fn lines(agent: Arc<Agent>, from: u64) -> impl Stream<Item = Result<AgentLine, RpcError>> + Send {
    futures::stream::unfold(Some((agent, from)), |state| async move {
        let (agent, number) = state?;
        match agent.log.wait(number).await {
            Ok(None) => None,
            Ok(Some(line)) if line.source == AgentSource::Exit => Some((Ok(line), None)),
            Ok(Some(line)) => Some((Ok(line), Some((agent, number + 1)))),
            Err(error) => Some((Err(fault::io("the agent's log", &error)), None)),
        }
    })
}
