//! The methods of `process.Process`.

use std::time::Duration;

use futures::{Stream, StreamExt as _};
use glass_guest_protocol::connect::{Code, Decoder, Empty, RpcError};
use glass_guest_protocol::process::{
    ListResponse, ProcessEvent, ProcessEventFrame, ProcessRequest, ProcessStarted,
    SendInputRequest, SendSignalRequest, Signal, StreamInputRequest, UpdateRequest, authorized,
};
use http::Request;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use super::output::{Reader, Step};
use crate::guest::Guest;
use crate::reply::{self, Reply};
use crate::{fault, identity, server, tree};

/// How often an idle stream says that it lives, unless the client names a period.
const KEEPALIVE: u64 = 50;

pub(crate) async fn call(
    guest: &Guest,
    method: &str,
    request: Request<Incoming>,
) -> Result<Reply, RpcError> {
    match method {
        "Start" => start(guest, request).await,
        "Connect" => {
            let keepalive = keepalive(&request);
            let wanted: ProcessRequest = reply::enveloped(request).await?;
            let process = guest.processes.find(&wanted.process)?;
            Ok(reply::stream(events(Reader::new(process), keepalive)))
        }
        "List" => Ok(reply::json(&ListResponse {
            processes: guest.processes.list(),
        })),
        "SendInput" => {
            let wanted: SendInputRequest = reply::unary(request).await?;
            let process = guest.processes.find(&wanted.process)?;
            process.send(wanted.input).await?;
            server::done()
        }
        "StreamInput" => stream_input(guest, request).await,
        "CloseStdin" => {
            let wanted: ProcessRequest = reply::unary(request).await?;
            guest.processes.find(&wanted.process)?.close_input().await?;
            server::done()
        }
        "SendSignal" => {
            let wanted: SendSignalRequest = reply::unary(request).await?;
            let process = guest.processes.find(&wanted.process)?;
            let signal = match wanted.signal {
                Signal::Interrupt => rustix::process::Signal::INT,
                Signal::Terminate => rustix::process::Signal::TERM,
                Signal::Kill => rustix::process::Signal::KILL,
            };
            tree::signal(process.info.pid, signal);
            server::done()
        }
        "Update" => {
            let wanted: UpdateRequest = reply::unary(request).await?;
            let process = guest.processes.find(&wanted.process)?;
            if let Some(size) = wanted.pty.and_then(|pty| pty.size) {
                process.resize(size)?;
            }
            server::done()
        }
        _ => Err(reply::unknown(method)),
    }
}

async fn start(guest: &Guest, request: Request<Incoming>) -> Result<Reply, RpcError> {
    let keepalive = keepalive(&request);
    let timeout = reply::number(&request, "connect-timeout-ms")
        .filter(|timeout| *timeout > 0)
        .map(Duration::from_millis);
    let name = request.headers().get(http::header::AUTHORIZATION);
    let name = name
        .and_then(|header| header.to_str().ok())
        .and_then(authorized);
    let user = identity::user(&guest.core.config, name.as_deref())?;
    let wanted = reply::enveloped(request).await?;
    let (_, reader) = guest.processes.start(wanted, timeout, user).await?;
    Ok(reply::stream(events(reader, keepalive)))
}

fn keepalive(request: &Request<Incoming>) -> Duration {
    let seconds = reply::number(request, "keepalive-ping-interval").unwrap_or(KEEPALIVE);
    Duration::from_secs(seconds.clamp(1, 3600))
}

fn events(
    reader: Reader,
    keepalive: Duration,
) -> impl Stream<Item = Result<ProcessEventFrame, RpcError>> + Send {
    let pid = reader.process().info.pid;
    let first = ProcessEvent::Start(ProcessStarted { pid });
    let rest = futures::stream::unfold(Some(reader), move |reader| async move {
        let mut reader = reader?;
        let event = match tokio::time::timeout(keepalive, reader.next()).await {
            Err(_) => ProcessEvent::Keepalive(Empty {}),
            Ok(Step::Data(data)) => ProcessEvent::Data(data),
            Ok(Step::End(_)) if reader.process().out_of_time() => {
                let error = RpcError::new(
                    Code::DeadlineExceeded,
                    format!("process {pid} was killed because its time was over"),
                );
                return Some((Err(error), None));
            }
            Ok(Step::End(end)) => return Some((Ok(ProcessEvent::End(end)), None)),
        };
        Some((Ok(event), Some(reader)))
    });
    futures::stream::iter([Ok(first)])
        .chain(rest)
        .map(|event| event.map(|event| ProcessEventFrame { event }))
}

/// A stream of inputs, answered when it ends.
async fn stream_input(guest: &Guest, request: Request<Incoming>) -> Result<Reply, RpcError> {
    let mut body = request.into_body().into_data_stream();
    let mut decoder = Decoder::default();
    let mut process = None;
    loop {
        while let Some(frame) = decoder
            .next_frame()
            .map_err(|error| fault::invalid(error.to_string()))?
        {
            if frame.flags & glass_guest_protocol::connect::END != 0 {
                continue;
            }
            match reply::parse(&frame.payload)? {
                StreamInputRequest::Start(wanted) => {
                    process = Some(guest.processes.find(&wanted.process)?);
                }
                StreamInputRequest::Data { input } => match &process {
                    Some(process) => process.send(input).await?,
                    None => return Err(fault::invalid("the first message must be start")),
                },
                StreamInputRequest::Keepalive(_) => {}
            }
        }
        match body.next().await {
            Some(Ok(bytes)) => decoder.push(&bytes),
            Some(Err(error)) => {
                return Err(fault::invalid(format!("the stream broke: {error}")));
            }
            None => {
                return Ok(reply::stream(futures::stream::iter([Ok(Empty {})])));
            }
        }
    }
}
