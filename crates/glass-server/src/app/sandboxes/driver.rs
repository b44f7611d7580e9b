//! What this process holds of each sandbox, besides its row.
//!
//! There is one [`Driver`] for each row, from before the row is written until after it is gone. Its turn is held during
//! every change of the sandbox's state; its [`Inner`] is behind a lock that is never held across a wait. The row is the
//! truth; what is kept of it here saves asking the database at each request.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use glass_gateway::EgressControl;
use glass_runtime::{GuestClient, Runtime};
use glass_store::{Millis, SandboxRow};
use glass_types::{IdlePolicy, IdleWish, SandboxId, SandboxState, Visibility};
use tokio::sync::{Notify, OwnedMutexGuard, watch};
use tokio_util::sync::CancellationToken;

use super::death::Deaths;
use super::trouble::Trouble;
use super::uses::UseKind;
use super::wake::WakeStep;
use crate::clock;

/// One driver for each sandbox that has a row.
#[derive(Default)]
pub(super) struct Drivers(RwLock<HashMap<SandboxId, Arc<Driver>>>);

impl Drivers {
    pub(super) fn get(&self, id: &SandboxId) -> Option<Arc<Driver>> {
        self.read().get(id).cloned()
    }

    pub(super) fn all(&self) -> Vec<Arc<Driver>> {
        self.read().values().cloned().collect()
    }

    /// Adds one, unless it is there.
    pub(super) fn add(&self, driver: Driver) -> Arc<Driver> {
        let mut drivers = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let id = driver.id.clone();
        Arc::clone(drivers.entry(id).or_insert_with(|| Arc::new(driver)))
    }

    pub(super) fn remove(&self, id: &SandboxId) {
        self.0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(id);
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, HashMap<SandboxId, Arc<Driver>>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One sandbox.
pub(super) struct Driver {
    pub(super) id: SandboxId,
    pub(super) guest: GuestClient,
    /// What it may do on the way out.
    pub(super) egress: Arc<EgressControl>,
    /// Told when the last short use that had gone through has ended.
    pub(super) is_left: Notify,
    turn: Arc<tokio::sync::Mutex<()>>,
    /// How many wait for their turn.
    waiting: watch::Sender<u32>,
    inner: Mutex<Inner>,
}

/// The right to change a sandbox's state. One at a time.
pub(super) type Turn = OwnedMutexGuard<()>;

impl Driver {
    pub(super) fn new(
        row: &SandboxRow,
        server: IdlePolicy,
        egress: Arc<EgressControl>,
        runtime: Arc<dyn Runtime>,
    ) -> Self {
        // A row of a version that did not note it was used now, for all we know.
        let last_used = match row.last_used_at {
            0 => clock::steady(),
            at => at.min(clock::steady()),
        };
        Self {
            id: row.id.clone(),
            guest: GuestClient::new(runtime, row.id.clone()),
            egress,
            is_left: Notify::new(),
            turn: Arc::default(),
            waiting: watch::Sender::new(0),
            inner: Mutex::new(Inner {
                state: row.state,
                visibility: row.visibility,
                policy: server.with(row.idle),
                idle: row.idle,
                keepalive_until: row.keepalive_until,
                uses: [0; UseKind::ALL.len()],
                inside: 0,
                looks: 0,
                last_used,
                noted: last_used,
                is_open: false,
                attached: None,
                wake: None,
                trouble: Trouble::default(),
                rests: Trouble::default(),
                deaths: Deaths::default(),
                is_reclaimed: false,
                is_doomed: false,
            }),
        }
    }

    /// Waits for one's turn to change the sandbox.
    pub(super) async fn turn(&self) -> Turn {
        let _waiting = Waiting::begin(&self.waiting);
        Arc::clone(&self.turn).lock_owned().await
    }

    /// Resolves when somebody waits for their turn.
    pub(super) async fn wanted(&self) {
        // It has ended no sooner than the driver, which is here.
        drop(self.waiting.subscribe().wait_for(|count| *count > 0).await);
    }

    /// The turn, if nobody has it.
    pub(super) fn try_turn(&self) -> Option<Turn> {
        Arc::clone(&self.turn).try_lock_owned().ok()
    }

    pub(super) fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what ends the tasks of the sandbox; ends those before.
    pub(super) fn attach(&self, token: CancellationToken) {
        let attached = Attached {
            token,
            down: Arc::default(),
        };
        let before = self.inner().attached.replace(attached);
        if let Some(before) = before {
            before.end(Down::Replaced);
        }
    }

    /// Ends the tasks of the sandbox. From now on a use has to wake it.
    pub(super) fn detach(&self, why: Down) {
        let attached = {
            let mut inner = self.inner();
            inner.is_open = false;
            inner.attached.take()
        };
        if let Some(attached) = attached {
            attached.end(why);
        }
    }

    pub(super) fn attached(&self) -> Option<Attached> {
        self.inner().attached.clone()
    }
}

/// Somebody who waits for their turn; also one who gives up waiting is counted no longer.
struct Waiting<'a>(&'a watch::Sender<u32>);

impl<'a> Waiting<'a> {
    fn begin(count: &'a watch::Sender<u32>) -> Self {
        count.send_modify(|count| *count += 1);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// What is known of a sandbox without asking anybody.
pub(super) struct Inner {
    /// As in the row.
    pub(super) state: SandboxState,
    pub(super) visibility: Visibility,
    /// The idle policy in force: the sandbox's own wishes, which began with its template's, over the server's policy.
    pub(super) policy: IdlePolicy,
    /// What its owner wants of it.
    pub(super) idle: IdleWish,
    pub(super) keepalive_until: Option<Millis>,
    /// How many uses of each kind there are now.
    pub(super) uses: [u32; UseKind::ALL.len()],
    /// How many of those that are short have gone through the door.
    pub(super) inside: u32,
    /// How many ask its guest without using it.
    pub(super) looks: u32,
    /// On the steady clock.
    pub(super) last_used: Millis,
    /// The last use that the row knows of.
    pub(super) noted: Millis,
    /// Whether a use may go right through: its guest runs and nobody is about to put it to rest. Decided and counted
    /// under the same lock, so no use falls between.
    pub(super) is_open: bool,
    pub(super) attached: Option<Attached>,
    /// How far the wake that everybody rides is.
    pub(super) wake: Option<watch::Receiver<WakeStep>>,
    /// Wakes that failed.
    pub(super) trouble: Trouble,
    /// Rests that failed.
    pub(super) rests: Trouble,
    pub(super) deaths: Deaths,
    /// Whether the kernel was asked to take its memory since it was frozen.
    pub(super) is_reclaimed: bool,
    /// It could not be made, and its row could not be removed yet.
    pub(super) is_doomed: bool,
}

impl Inner {
    /// Whether somebody uses it or asks its guest.
    pub(super) fn is_in_use(&self) -> bool {
        self.looks > 0 || self.uses.iter().any(|count| *count > 0)
    }
}

/// What is attached to a sandbox as long as its guest runs: its gateway and the watch for its exit.
#[derive(Clone)]
pub(crate) struct Attached {
    pub(super) token: CancellationToken,
    down: Arc<OnceLock<Down>>,
}

/// Why a sandbox that ran does not any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Down {
    /// Somebody, or its idle policy, stopped it.
    Stopped,
    /// It gave its memory to others.
    GaveWay,
    /// It is being removed.
    Removed,
    /// Its processes ended by themselves.
    Died,
    /// It was started anew.
    Replaced,
    /// The server stops; the sandbox goes on without it.
    Left,
}

impl Attached {
    fn end(&self, why: Down) {
        // The first reason is the right one.
        drop(self.down.set(why));
        self.token.cancel();
    }

    /// Resolves when the sandbox does not run any more, with why.
    pub(crate) async fn down(&self) -> Down {
        self.token.cancelled().await;
        self.why().unwrap_or(Down::Left)
    }

    /// Why it does not run any more, if it does not.
    pub(crate) fn why(&self) -> Option<Down> {
        self.down.get().cloned()
    }
}
