//! The index: the only place that names sled. It can always be rebuilt from the segments.
//!
//! sled alone promises neither durability nor size, so nothing here is the only copy of anything.
//! Its errors are sticky until it is opened anew: after one the index is degraded, lookups find
//! nothing, and the next group tries to open it again and catches up from its cursor. No thread of
//! its own: groups are flushed by the caller.

use std::fs;
use std::path::{Path, PathBuf};

use hearth_protocol::id::{EntryHash, NodeId};
use hearth_protocol::unit::Seq;

use super::segment::{Position, Set};

/// sled's page cache. Lookups are rare: a small one keeps the idle node small.
const CACHE_BYTES: u64 = 4 * 1024 * 1024;

/// One entry to be indexed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    pub(crate) hash: EntryHash,
    pub(crate) author: NodeId,
    pub(crate) seq: Seq,
    pub(crate) at: Position,
}

/// How far the index goes in each set: the end of what it covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) own: Position,
    pub(crate) others: Position,
}

impl Cursor {
    pub(crate) const START: Self = Self {
        own: Position {
            set: Set::Own,
            segment: 0,
            offset: 0,
        },
        others: Position {
            set: Set::Others,
            segment: 0,
            offset: 0,
        },
    };

    pub(crate) const fn of(&self, set: Set) -> Position {
        match set {
            Set::Own => self.own,
            Set::Others => self.others,
        }
    }

    fn encode(&self) -> Vec<u8> {
        [encode_position(self.own), encode_position(self.others)].concat()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (own, others) = bytes.split_at_checked(POSITION_LEN)?;
        Some(Self {
            own: decode_position(own)?,
            others: decode_position(others)?,
        })
    }
}

const POSITION_LEN: usize = 1 + 4 + 8;

fn encode_position(at: Position) -> Vec<u8> {
    let mut bytes = vec![at.set.code()];
    bytes.extend(at.segment.to_be_bytes());
    bytes.extend(at.offset.to_be_bytes());
    bytes
}

fn decode_position(bytes: &[u8]) -> Option<Position> {
    let (set, rest) = bytes.split_first()?;
    let (segment, offset) = rest.split_at_checked(4)?;
    let set = [Set::Own, Set::Others]
        .into_iter()
        .find(|known| known.code() == *set)?;
    Some(Position {
        set,
        segment: u32::from_be_bytes(segment.try_into().ok()?),
        offset: u64::from_be_bytes(offset.try_into().ok()?),
    })
}

fn chain_key(author: &NodeId, seq: Seq) -> Vec<u8> {
    [&author.as_bytes()[..], &seq.get().to_be_bytes()].concat()
}

#[derive(Debug)]
struct Trees {
    db: sled::Db,
    entries: sled::Tree,
    chains: sled::Tree,
    state: sled::Tree,
}

impl Trees {
    fn open(path: &Path) -> sled::Result<Self> {
        let db = sled::Config::new()
            .path(path)
            .cache_capacity(CACHE_BYTES)
            .flush_every_ms(None)
            .open()?;
        Ok(Self {
            entries: db.open_tree("entries")?,
            chains: db.open_tree("chains")?,
            state: db.open_tree("state")?,
            db,
        })
    }

    fn cursor(&self) -> sled::Result<Option<Cursor>> {
        let bytes = self.state.get("cursor")?;
        Ok(bytes.and_then(|bytes| Cursor::decode(&bytes)))
    }

    fn write(&self, rows: &[Row], cursor: &Cursor) -> sled::Result<()> {
        let (mut entries, mut chains) = (sled::Batch::default(), sled::Batch::default());
        for row in rows {
            entries.insert(row.hash.as_bytes().as_slice(), encode_position(row.at));
            let mut key = chain_key(&row.author, row.seq);
            key.extend(row.hash.as_bytes());
            chains.insert(key, Vec::new());
        }
        self.entries.apply_batch(entries)?;
        self.chains.apply_batch(chains)?;
        // Last, so that a crash in between repeats rows and never misses one.
        self.state.insert("cursor", cursor.encode())?;
        self.db.flush()?;
        Ok(())
    }
}

/// The index of one ledger.
#[derive(Debug)]
pub(crate) struct Index {
    path: PathBuf,
    trees: Option<Trees>,
}

impl Index {
    /// Opens the index; a broken one is thrown away. Returns how far it goes.
    pub(crate) fn open(path: &Path) -> (Self, Cursor) {
        let mut index = Self {
            path: path.to_path_buf(),
            trees: None,
        };
        let cursor = index.reopen().unwrap_or_else(|| {
            index.wipe();
            Cursor::START
        });
        (index, cursor)
    }

    /// Opens sled anew; returns how far it goes, `None` when it does not open.
    pub(crate) fn reopen(&mut self) -> Option<Cursor> {
        // Two handles on one folder would block each other.
        self.trees = None;
        let open = Trees::open(&self.path).and_then(|trees| {
            let cursor = trees.cursor()?.unwrap_or(Cursor::START);
            Ok((trees, cursor))
        });
        match open {
            Ok((trees, cursor)) => {
                self.trees = Some(trees);
                Some(cursor)
            }
            Err(error) => {
                tracing::warn!(path = %self.path.display(), %error, "ledger index did not open");
                None
            }
        }
    }

    /// Throws the index away and begins an empty one; it stays degraded if that fails too.
    pub(crate) fn wipe(&mut self) {
        self.trees = None;
        if let Err(error) = fs::remove_dir_all(&self.path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.path.display(), %error, "ledger index was not removed");
        }
        self.reopen();
    }

    pub(crate) const fn is_degraded(&self) -> bool {
        self.trees.is_none()
    }

    /// Writes a group; after an error the index is degraded.
    pub(crate) fn write(&mut self, rows: &[Row], cursor: &Cursor) {
        if let Some(trees) = &self.trees
            && let Err(error) = trees.write(rows, cursor)
        {
            self.degrade(&error);
        }
    }

    fn degrade(&mut self, error: &sled::Error) {
        tracing::warn!(path = %self.path.display(), %error, "ledger index is degraded");
        self.trees = None;
    }

    pub(crate) fn position(&mut self, hash: &EntryHash) -> Option<Position> {
        match self.trees.as_ref()?.entries.get(hash.as_bytes()) {
            Ok(bytes) => bytes.and_then(|bytes| decode_position(&bytes)),
            Err(error) => {
                self.degrade(&error);
                None
            }
        }
    }

    /// Returns the entries at one place of a chain: more than one where it forked.
    pub(crate) fn at(&mut self, author: &NodeId, seq: Seq) -> Vec<EntryHash> {
        let Some(trees) = &self.trees else {
            return Vec::new();
        };
        let found: sled::Result<Vec<_>> = trees
            .chains
            .scan_prefix(chain_key(author, seq))
            .keys()
            .collect();
        match found {
            Ok(keys) => keys
                .iter()
                .filter_map(|key| key.get(40..)?.try_into().ok())
                .map(EntryHash::from_bytes)
                .collect(),
            Err(error) => {
                self.degrade(&error);
                Vec::new()
            }
        }
    }

    /// Keeps the digest of the state at a cursor.
    pub(crate) fn note_digest(&mut self, cursor: &Cursor, digest: &[u8; 32]) {
        let Some(trees) = &self.trees else {
            return;
        };
        let value = [&cursor.encode()[..], digest].concat();
        let noted = trees
            .state
            .insert("digest", value)
            .and_then(|_| trees.db.flush());
        if let Err(error) = noted {
            self.degrade(&error);
        }
    }

    /// Returns the digest noted at exactly this cursor.
    pub(crate) fn noted_digest(&self, cursor: &Cursor) -> Option<[u8; 32]> {
        let value = self.trees.as_ref()?.state.get("digest").ok()??;
        let digest = value.strip_prefix(cursor.encode().as_slice())?;
        digest.try_into().ok()
    }
}
