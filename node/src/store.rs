//! What a node remembers besides its ledger: jobs, cards, pins, petnames, judgements,
//! addresses, how the owner lends.
//!
//! The one place of this crate that names sled. Prompts never come here, since sled files never
//! shrink: job specs lie in files of their own ([`crate::specs`]) that are deleted when the job
//! is over. Values are canonical CBOR; a value that no longer decodes is skipped with a warning.
//! Writers call [`Store::flush`] before they act on what they wrote.

use std::path::{Path, PathBuf};

use hearth_protocol::capacity::NodeAddrs;
use hearth_protocol::card::Card;
use hearth_protocol::charter::Charter;
use hearth_protocol::codec;
use hearth_protocol::credit::PolicyTerms;
use hearth_protocol::id::{CardId, NodeId};
use hearth_protocol::sign::Signed;
use hearth_protocol::snapshot::TrustLevel;
use hearth_protocol::unit::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Page cache: everything here is small and read at start.
const CACHE_BYTES: u64 = 1 << 20;
/// No value of ours is longer.
const VALUE_LEN_MAX: usize = 1 << 20;

/// Why the store failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// It could not be opened.
    #[error("the store at {} cannot be opened", path.display())]
    Open {
        /// Its folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: sled::Error,
    },
    /// A read or write failed.
    #[error("the store failed")]
    Sled(#[from] sled::Error),
    /// Its file could not be synced.
    #[error("the store could not be synced to disk")]
    Sync(#[source] std::io::Error),
}

/// A table of the store.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Table {
    /// Jobs of this node, by job id.
    Jobs,
    /// Work for peers, by order.
    Work,
    /// Reports of finished jobs, by job id.
    Reports,
    /// Signed cards, by card id.
    Cards,
    /// What is kept here, by card id.
    Shelf,
    /// Petnames and judgements, by node id.
    Peers,
    /// Remembered addresses, by node id.
    Addrs,
    /// Signed notes about bounties, by slot.
    Bounties,
}

impl Table {
    const fn name(self) -> &'static str {
        match self {
            Self::Jobs => "jobs",
            Self::Work => "work",
            Self::Reports => "reports",
            Self::Cards => "cards",
            Self::Shelf => "shelf",
            Self::Peers => "peers",
            Self::Addrs => "addrs",
            Self::Bounties => "bounties",
        }
    }
}

/// What a person said of a peer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PeerNote {
    /// Petname; empty for none.
    pub(crate) name: String,
    /// Judgement.
    pub(crate) level: TrustLevel,
}

/// What this node keeps of a card's files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ShelfNote {
    /// Whether garbage collection must leave it.
    pub(crate) pinned: bool,
    /// Whether all files are here.
    pub(crate) complete: bool,
    /// When a job last used it.
    pub(crate) used: Timestamp,
}

/// The store of one home.
#[derive(Debug)]
pub(crate) struct Store {
    db: sled::Db,
    file: std::fs::File,
}

impl Store {
    /// Opens or creates the store in a folder.
    pub(crate) fn open(dir: &Path) -> Result<Self, StoreError> {
        let open = |source| StoreError::Open {
            path: dir.to_path_buf(),
            source,
        };
        let db = sled::Config::new()
            .path(dir)
            .cache_capacity(CACHE_BYTES)
            .flush_every_ms(None)
            .open()
            .map_err(open)?;
        let file =
            std::fs::File::open(dir.join("db")).map_err(|error| open(sled::Error::Io(error)))?;
        Ok(Self { db, file })
    }

    /// Writes one value; durable after [`flush`](Self::flush).
    pub(crate) fn put<T: Serialize>(
        &self,
        table: Table,
        key: &[u8],
        value: &T,
    ) -> Result<(), StoreError> {
        self.db
            .open_tree(table.name())?
            .insert(key, codec::encode(value))?;
        Ok(())
    }

    /// Removes one value.
    pub(crate) fn remove(&self, table: Table, key: &[u8]) -> Result<(), StoreError> {
        self.db.open_tree(table.name())?.remove(key)?;
        Ok(())
    }

    /// Reads every readable value of a table.
    pub(crate) fn all<T: Serialize + DeserializeOwned>(
        &self,
        table: Table,
    ) -> Result<Vec<(Vec<u8>, T)>, StoreError> {
        let mut values = Vec::new();
        for pair in &self.db.open_tree(table.name())? {
            let (key, bytes) = pair?;
            match codec::decode(&bytes, VALUE_LEN_MAX) {
                Ok(value) => values.push((key.to_vec(), value)),
                Err(error) => {
                    tracing::warn!(table = table.name(), %error, "skipped an unreadable value");
                }
            }
        }
        Ok(values)
    }

    /// Makes everything written so far survive a power loss.
    ///
    /// sled's own flush is no fsync on Linux, so the file is synced behind it.
    pub(crate) fn flush(&self) -> Result<(), StoreError> {
        self.db.flush()?;
        self.file.sync_data().map_err(StoreError::Sync)
    }

    /// Returns the charter of the commons this home is in.
    pub(crate) fn charter(&self) -> Result<Option<Signed<Charter>>, StoreError> {
        let bytes = self.db.get(b"charter")?;
        Ok(bytes.and_then(|bytes| codec::decode(&bytes, VALUE_LEN_MAX).ok()))
    }

    /// Sets or clears the commons this home is in, durably.
    pub(crate) fn set_charter(&self, charter: Option<&Signed<Charter>>) -> Result<(), StoreError> {
        match charter {
            Some(charter) => self.db.insert(b"charter", codec::encode(charter))?,
            None => self.db.remove(b"charter")?,
        };
        self.flush()
    }

    /// Returns how the owner lends; the default until they said otherwise.
    pub(crate) fn terms(&self) -> Result<PolicyTerms, StoreError> {
        let bytes = self.db.get(b"credit")?;
        let kept = bytes.and_then(|bytes| codec::decode(&bytes, VALUE_LEN_MAX).ok());
        Ok(kept.unwrap_or_default())
    }

    /// Sets how the owner lends, durably.
    pub(crate) fn set_terms(&self, terms: &PolicyTerms) -> Result<(), StoreError> {
        self.db.insert(b"credit", codec::encode(terms))?;
        self.flush()
    }

    /// Reads every card.
    pub(crate) fn cards(&self) -> Result<Vec<Signed<Card>>, StoreError> {
        Ok(self
            .all(Table::Cards)?
            .into_iter()
            .map(|(_, card)| card)
            .collect())
    }

    /// Reads every note about a card's files.
    pub(crate) fn shelf(&self) -> Result<Vec<(CardId, ShelfNote)>, StoreError> {
        Ok(keyed(self.all(Table::Shelf)?, CardId::from_bytes))
    }

    /// Reads every note about a peer.
    pub(crate) fn peers(&self) -> Result<Vec<(NodeId, PeerNote)>, StoreError> {
        Ok(keyed(self.all(Table::Peers)?, NodeId::from_bytes))
    }

    /// Reads every remembered address.
    pub(crate) fn addrs(&self) -> Result<Vec<(NodeId, NodeAddrs)>, StoreError> {
        Ok(keyed(self.all(Table::Addrs)?, NodeId::from_bytes))
    }
}

fn keyed<K, T>(values: Vec<(Vec<u8>, T)>, key: impl Fn([u8; 32]) -> K) -> Vec<(K, T)> {
    values
        .into_iter()
        .filter_map(|(bytes, value)| Some((key(bytes.try_into().ok()?), value)))
        .collect()
}

#[cfg(test)]
mod tests {
    use hearth_protocol::credit::PolicyName;

    use super::*;

    #[test]
    fn what_was_flushed_is_there_after_opening_again() {
        let dir = tempfile::tempdir().unwrap();
        let note = PeerNote {
            name: "ada".into(),
            level: TrustLevel::Trusted,
        };
        let store = Store::open(dir.path()).unwrap();
        store.put(Table::Peers, &[7; 32], &note).unwrap();
        store.flush().unwrap();
        drop(store);
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(
            store.peers().unwrap(),
            [(NodeId::from_bytes([7; 32]), note)]
        );
        store.remove(Table::Peers, &[7; 32]).unwrap();
        assert!(store.peers().unwrap().is_empty());
        assert_eq!(store.terms().unwrap(), PolicyTerms::default());
        let terms = PolicyTerms {
            policy: PolicyName::Open,
            newcomer_percent: Some(7),
            ..PolicyTerms::default()
        };
        store.set_terms(&terms).unwrap();
        drop(store);
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(store.terms().unwrap(), terms);
    }

    #[test]
    fn an_unreadable_value_is_skipped() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        store
            .db
            .open_tree("peers")
            .unwrap()
            .insert([1; 32], b"junk")
            .unwrap();
        assert!(store.peers().unwrap().is_empty());
    }
}
