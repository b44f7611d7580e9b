//! Reading trees out of the repository.

use std::collections::HashSet;

use rustic_core::repofile::{BlobType, Node, Tree};
use rustic_core::{BlobId, TreeId};

use crate::error::ArchiveError;
use crate::meter::Meter;
use crate::repository::Indexed;

impl Indexed {
    pub(crate) fn tree(&self, id: &TreeId) -> Result<Tree, ArchiveError> {
        self.repository
            .get_tree(id)
            .map_err(|error| self.told(&error))
    }

    /// The contents of a file, piece by piece.
    pub(crate) fn pieces(
        &self,
        node: &Node,
    ) -> impl Iterator<Item = Result<(BlobId, bytes::Bytes), ArchiveError>> {
        node.content.iter().flatten().map(|id| {
            let id = BlobId::from(*id);
            let read = self.repository.get_blob_cached(&id, BlobType::Data);
            read.map(|bytes| (id, bytes))
                .map_err(|error| self.told(&error))
        })
    }

    /// Reads all that a tree names and compares it with the names, which are hashes. Answers how many entries there
    /// are, the tree itself not counted, and how many bytes.
    pub(crate) fn read_back(
        &self,
        top: &TreeId,
        meter: &Meter,
    ) -> Result<(u64, u64), ArchiveError> {
        let (mut entries, mut bytes) = (0, 0);
        let mut seen = HashSet::new();
        let mut trees = vec![*top];
        while let Some(id) = trees.pop() {
            let tree = self.tree(&id)?;
            let (_, found) = tree
                .serialize()
                .map_err(|error| self.damaged(error.to_string()))?;
            if found != id {
                return Err(self.damaged(format!("tree {id} has other contents")));
            }
            for node in &tree.nodes {
                entries += 1;
                trees.extend(node.subtree);
                if node.is_file() {
                    self.file(node, &mut seen)?;
                    bytes += node.meta.size;
                    meter.add(node.meta.size);
                }
            }
        }
        Ok((entries, bytes))
    }

    fn file(&self, node: &Node, seen: &mut HashSet<BlobId>) -> Result<(), ArchiveError> {
        let mut left = node.meta.size;
        for id in node.content.iter().flatten() {
            let id = BlobId::from(*id);
            let entry = self
                .repository
                .get_index_entry(&rustic_core::DataId::from(id));
            let entry = entry.map_err(|error| self.told(&error))?;
            left = left.wrapping_sub(entry.location.data_length().into());
            if !seen.insert(id) {
                continue;
            }
            let read = self.repository.get_blob_cached(&id, BlobType::Data);
            let bytes = read.map_err(|error| self.told(&error))?;
            if !id.blob_matches_reader(bytes.len() as u64, &mut bytes.as_ref()) {
                return Err(self.damaged(format!("{id} has other contents")));
            }
        }
        if left != 0 {
            return Err(self.damaged(format!("file {} has another length", node.name)));
        }
        Ok(())
    }
}
