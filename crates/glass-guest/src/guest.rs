//! What the guest is made of, and its life from start to orderly end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use glass_guest_protocol::{GuestConfig, GuestInfo};
use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};

use crate::agent::Agents;
use crate::app::App;
use crate::net::{Net, Sockets};
use crate::paths::Root;
use crate::ports::Ports;
use crate::process::Processes;
use crate::reaper::Reaper;
use crate::startup::StartError;
use crate::{gateway, identity, net, server, tree};

/// How long processes may take to end when they are asked to.
const GRACE: Duration = Duration::from_secs(2);

/// What every part needs to know.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) config: GuestConfig,
    /// Of every process.
    pub(crate) env: BTreeMap<String, String>,
    /// The one in use, never 0.
    pub(crate) gateway_port: u16,
    /// Whether programs that know of no proxy have a way out.
    pub(crate) has_way_out: bool,
    pub(crate) reaper: Reaper,
    pub(crate) root: Root,
}

/// All of it.
#[derive(Debug, Clone)]
pub(crate) struct Guest {
    pub(crate) core: Arc<Core>,
    pub(crate) processes: Arc<Processes>,
    pub(crate) agents: Arc<Agents>,
    pub(crate) ports: Arc<Ports>,
    pub(crate) app: Arc<App>,
}

impl Guest {
    pub(crate) fn info(&self) -> GuestInfo {
        GuestInfo {
            sandbox: self.core.config.sandbox.clone(),
            gateway_port: self.core.gateway_port,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// Supervises until a signal asks for the end.
pub(crate) async fn run(config: GuestConfig, sockets: Option<Sockets>) -> Result<(), StartError> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let is_init = rustix::process::getpid().is_init();
    // The server's socket first: the runtime waits for its first answer.
    let listener = server::listen(&config)?;
    let gateway = gateway::bind(config.gateway_port).await?;
    let gateway_port = gateway.local_addr()?.port();
    let root = Root::open(&config)
        .await
        .map_err(|error| StartError::step("workspace", std::io::Error::other(error.message)))?;
    let core = Arc::new(Core {
        env: identity::environment(&config, gateway_port),
        gateway_port,
        has_way_out: sockets.is_some(),
        reaper: Reaper::default(),
        root,
        config,
    });
    let agents = Agents::open(Arc::clone(&core))
        .map_err(|error| StartError::step("agents' logs in state_dir", error))?;
    let ports = Arc::new(Ports::new(Arc::clone(&core)));
    let guest = Guest {
        processes: Arc::new(Processes::new(Arc::clone(&core))),
        agents: Arc::new(agents),
        app: Arc::new(App::new(Arc::clone(&core), Arc::clone(&ports))),
        ports,
        core,
    };
    let outside = Net::new(guest.core.config.gateway_socket.clone());
    tokio::select! {
        result = guest.core.reaper.run() => result?,
        never = server::serve(listener, guest.clone()) => match never {},
        never = gateway::serve(gateway, Arc::clone(&outside)) => match never {},
        result = net::serve(sockets, outside) => match result? {},
        never = guest.ports.run() => match never {},
        never = Arc::clone(&guest.app).run() => match never {},
        _ = terminate.recv() => {}
        // An ordinary process is interrupted from a terminal; pid 1 by the runtime.
        _ = interrupt.recv(), if is_init => {}
    }
    end(&guest).await;
    Ok(())
}

/// Asks every process to end, and ends those that do not.
async fn end(guest: &Guest) {
    let reaping = guest.core.reaper.run();
    let ending = async {
        tree::signal_all(Signal::TERM);
        if tokio::time::timeout(GRACE, gone(None)).await.is_err() {
            // One that the kernel holds back does not hold us.
            let _ = tokio::time::timeout(GRACE, gone(Some(Signal::KILL))).await;
        }
        guest.agents.close();
    };
    tokio::select! {
        _ = reaping => {}
        () = ending => {}
    }
}

/// Returns when nothing that descends from the guest is alive. Signals what is there until then.
async fn gone(signal: Option<Signal>) {
    let mut look = tokio::time::interval(Duration::from_millis(20));
    while tree::any_left() {
        if let Some(signal) = signal {
            tree::signal_all(signal);
        }
        look.tick().await;
    }
}
