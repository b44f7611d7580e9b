//! What an operator sets while the server runs.
//!
//! The table is the truth; what is kept here saves asking it.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use glass_api::{Problem, SettingsParams, SettingsView};
use glass_store::{Store, StoreError};
use glass_types::IdlePolicy;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::error::ApiError;

const IDLE: &str = "idle";
const KEEPALIVE: &str = "keepalive_max_ms";
const DAY: u64 = 24 * 60 * 60 * 1000;
/// The longest keepalive that can be allowed.
const LONGEST_KEEPALIVE: u64 = 30 * DAY;

/// The settings of this server.
#[derive(Clone)]
pub(crate) struct Settings {
    store: Store,
    values: Arc<RwLock<Values>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Values {
    idle: IdlePolicy,
    keepalive_max_ms: u64,
}

impl Default for Values {
    fn default() -> Self {
        Self {
            idle: IdlePolicy::default(),
            keepalive_max_ms: DAY,
        }
    }
}

impl Settings {
    pub(crate) async fn load(store: Store) -> Result<Self, StoreError> {
        let rows = store.settings().await?;
        let default = Values::default();
        let values = Values {
            idle: read(&rows, IDLE)?.unwrap_or(default.idle),
            keepalive_max_ms: read(&rows, KEEPALIVE)?.unwrap_or(default.keepalive_max_ms),
        };
        Ok(Self {
            store,
            values: Arc::new(RwLock::new(values)),
        })
    }

    /// The idle policy of a sandbox that wants nothing else.
    pub(crate) fn idle(&self) -> IdlePolicy {
        self.values().idle
    }

    /// How far ahead a keepalive may be.
    pub(crate) fn keepalive_max_ms(&self) -> u64 {
        self.values().keepalive_max_ms
    }

    pub(crate) fn view(&self) -> SettingsView {
        let values = self.values();
        SettingsView {
            idle: values.idle,
            keepalive_max_ms: values.keepalive_max_ms,
        }
    }

    /// Changes what is given and leaves the rest. One change at a time, so that the table and we see them in the same
    /// order.
    pub(crate) async fn change(&self, params: SettingsParams) -> Result<(), ApiError> {
        if let Some(ms) = params.keepalive_max_ms.filter(|ms| *ms > LONGEST_KEEPALIVE) {
            let message = format!("give 0 to {LONGEST_KEEPALIVE} milliseconds");
            return Err(Problem::field(KEEPALIVE, ms, message).into());
        }
        let mut values = self.values();
        let mut rows = BTreeMap::new();
        if let Some(wish) = params.idle {
            values.idle = values.idle.with(wish);
            rows.insert(IDLE.to_owned(), json!(values.idle));
        }
        if let Some(ms) = params.keepalive_max_ms {
            values.keepalive_max_ms = ms;
            rows.insert(KEEPALIVE.to_owned(), json!(ms));
        }
        self.store.put_settings(&rows).await?;
        *self.values.write().unwrap_or_else(PoisonError::into_inner) = values;
        Ok(())
    }

    fn values(&self) -> Values {
        *self.values.read().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read<T: DeserializeOwned>(
    rows: &BTreeMap<String, Value>,
    name: &'static str,
) -> Result<Option<T>, StoreError> {
    let Some(value) = rows.get(name) else {
        return Ok(None);
    };
    let read = serde_json::from_value(value.clone());
    read.map(Some).map_err(|_| StoreError::Corrupt {
        what: name,
        value: value.to_string().chars().take(80).collect(),
    })
}
