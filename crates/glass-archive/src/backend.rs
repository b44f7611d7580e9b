//! The repository's files as objects, in the layout that restic gives them.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};
use rustic_core::{
    BytesList, ErrorKind, FileType, Id, ReadBackend, RusticError, RusticResult, WriteBackend,
};
use tokio::runtime::Runtime;

use crate::error::ArchiveError;
use crate::fault::Fault;
use crate::location::Location;

/// Packs held in memory. Files lie in packs in the order of the tree, so reading a tree reads pack after pack.
const PACKS: usize = 6;

#[derive(Debug)]
pub(crate) struct Backend {
    location: Location,
    runtime: Runtime,
    fault: Fault,
    packs: Mutex<VecDeque<(Id, Bytes)>>,
}

impl Backend {
    pub(crate) fn new(location: Location, fault: Fault) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        Ok(Self {
            location,
            runtime,
            fault,
            packs: Mutex::default(),
        })
    }

    fn path(&self, tpe: FileType, id: &Id) -> Path {
        let directory = self.location.prefix.clone().join(tpe.dirname());
        let name = id.to_hex();
        match tpe {
            FileType::Config => directory,
            FileType::Pack => directory.join(&name[..2]).join(name.as_str()),
            FileType::Snapshot | FileType::Index | FileType::Key => directory.join(name.as_str()),
        }
    }

    fn failed(&self, error: object_store::Error) -> Box<RusticError> {
        self.fault.note(ArchiveError::Store {
            location: self.location.name.clone(),
            reason: said(&error),
        });
        RusticError::with_source(ErrorKind::Backend, "the store failed", error)
    }

    fn remember(&self, id: Id, pack: &Bytes) {
        let mut packs = self.packs.lock().unwrap_or_else(PoisonError::into_inner);
        packs.truncate(PACKS - 1);
        packs.push_front((id, pack.clone()));
    }

    fn remembered(&self, id: &Id) -> Option<Bytes> {
        let packs = self.packs.lock().unwrap_or_else(PoisonError::into_inner);
        let found = packs.iter().find(|(known, _)| known == id);
        found.map(|(_, pack)| pack.clone())
    }
}

/// The whole of what the store said in one line: its errors hold theirs.
pub(crate) fn said(error: &object_store::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        let next_text = next.to_string();
        if !text.contains(&next_text) {
            text = format!("{text}: {next_text}");
        }
        cause = next.source();
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

impl ReadBackend for Backend {
    fn location(&self) -> String {
        self.location.name.clone()
    }

    fn list_with_size(&self, tpe: FileType) -> RusticResult<Vec<(Id, u32)>> {
        let store = &self.location.store;
        let size = |bytes: u64| u32::try_from(bytes).unwrap_or(u32::MAX);
        if tpe == FileType::Config {
            return match self
                .runtime
                .block_on(store.head(&self.path(tpe, &Id::default())))
            {
                Ok(meta) => Ok(vec![(Id::default(), size(meta.size))]),
                Err(object_store::Error::NotFound { .. }) => Ok(Vec::new()),
                Err(error) => Err(self.failed(error)),
            };
        }
        let directory = self.location.prefix.clone().join(tpe.dirname());
        let listed = self.runtime.block_on(async {
            store
                .list(Some(&directory))
                // What has another name is not ours.
                .try_filter_map(|meta| {
                    let id = Id::parse_some(meta.location.filename().unwrap_or_default(), tpe);
                    std::future::ready(Ok(id.map(|id| (id, size(meta.size)))))
                })
                .try_collect()
                .await
        });
        listed.map_err(|error| self.failed(error))
    }

    fn read_full(&self, tpe: FileType, id: &Id) -> RusticResult<Bytes> {
        let path = self.path(tpe, id);
        let read = async { self.location.store.get(&path).await?.bytes().await };
        self.runtime
            .block_on(read)
            .map_err(|error| self.failed(error))
    }

    fn read_partial(
        &self,
        tpe: FileType,
        id: &Id,
        _cacheable: bool,
        offset: u32,
        length: u32,
    ) -> RusticResult<Bytes> {
        let whole = match self.remembered(id) {
            Some(whole) => whole,
            None => {
                let whole = self.read_full(tpe, id)?;
                self.remember(*id, &whole);
                whole
            }
        };
        let (from, length) = (offset as usize, length as usize);
        match from.checked_add(length) {
            Some(to) if to <= whole.len() => Ok(whole.slice(from..to)),
            _ => {
                let error = ArchiveError::Damaged {
                    location: self.location.name.clone(),
                    reason: format!("{} is shorter than it was", self.path(tpe, id)),
                };
                self.fault.note(error.clone());
                Err(RusticError::with_source(
                    ErrorKind::Backend,
                    "the store is damaged",
                    error,
                ))
            }
        }
    }

    fn warmup_path(&self, tpe: FileType, id: &Id) -> String {
        self.path(tpe, id).to_string()
    }
}

impl WriteBackend for Backend {
    fn write_bytes(
        &self,
        tpe: FileType,
        id: &Id,
        _cacheable: bool,
        content: BytesList,
    ) -> RusticResult<()> {
        let payload = PutPayload::from_iter(content.into_vec());
        let path = self.path(tpe, id);
        let put = self.location.store.put(&path, payload);
        let put = async { put.await.map(drop) };
        self.runtime
            .block_on(put)
            .map_err(|error| self.failed(error))
    }

    fn remove(&self, tpe: FileType, id: &Id, _cacheable: bool) -> RusticResult<()> {
        match self
            .runtime
            .block_on(self.location.store.delete(&self.path(tpe, id)))
        {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.failed(error)),
        }
    }
}
