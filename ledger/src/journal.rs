//! The journal: entries on disk, and the only place of this crate that touches one.
//!
//! Segments hold the truth ([`segment`]); the index beside them is a convenience that is rebuilt
//! whenever in doubt. The own chain has segments of its own, synced before an append returns, one
//! sync for the whole group. Blocking by design: callers with an event loop call it from where
//! blocking is fine.

mod index;
mod lock;
pub mod segment;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use hearth_protocol::codec;
use hearth_protocol::entry::Entry;
use hearth_protocol::id::{CommonsId, EntryHash, NodeId};
use hearth_protocol::limits;
use hearth_protocol::unit::Seq;
use hearth_protocol::wire::ForkProof;

use crate::fork::PROOF_LEN_MAX;
use index::{Cursor, Index, Row};
pub use lock::{Lock, LockError};
pub use segment::Recovery;
use segment::{Kind, Position, Record, Segments, Set};

/// Free bytes below which entries of others are no longer taken.
pub const OTHERS_FREE_MIN: u64 = 16 * 1024 * 1024;
/// Free bytes below which one's own are no longer written: settling goes on longest.
pub const OWN_FREE_MIN: u64 = 1024 * 1024;
/// Rows after which the index is written without being asked.
const ROWS_MAX: usize = 256;

/// Why the disk did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// A file or folder failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Too little space is left; nothing was written. Free some and try again.
    #[error("{} has {free} bytes free, {needed} are needed", path.display())]
    Full {
        /// The ledger's folder.
        path: PathBuf,
        /// Bytes free.
        free: u64,
        /// Bytes that must stay free.
        needed: u64,
    },
    /// A segment of another commons or set.
    #[error("{} belongs to another ledger", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// Another process has the ledger open.
    #[error(transparent)]
    Lock(#[from] LockError),
}

/// What the segments hold, in the order it was written.
#[derive(Debug, Default)]
pub struct Replay {
    /// The own chain.
    pub own: Vec<Entry>,
    /// All other chains.
    pub others: Vec<Entry>,
    /// Fork proofs.
    pub proofs: Vec<ForkProof>,
    /// The digest the book had when it was closed at exactly this content.
    pub digest: Option<[u8; 32]>,
    /// What was not sound.
    pub recovery: Recovery,
}

/// The disk side of one ledger.
#[derive(Debug)]
pub struct Journal {
    dir: PathBuf,
    own: Segments,
    others: Segments,
    index: Index,
    rows: BTreeMap<EntryHash, Row>,
    free_min: (u64, u64),
    _lock: Lock,
}

impl Journal {
    /// Opens the ledger in a folder, making it if need be, and reads everything back.
    ///
    /// # Errors
    /// [`JournalError`]; a torn end is no error, nor is a broken index.
    pub fn open(dir: &Path, commons: CommonsId) -> Result<(Self, Replay), JournalError> {
        let segments_dir = dir.join("segments");
        fs::create_dir_all(&segments_dir).map_err(|source| JournalError::Io {
            path: segments_dir.clone(),
            source,
        })?;
        let lock = Lock::take(dir)?;
        let (mut replay, mut rows) = (Replay::default(), Vec::new());
        let mut recovery = Recovery::default();
        let mut each = |record: Record| rows.extend(take(record, &mut replay));
        let own = Segments::open(&segments_dir, Set::Own, commons, &mut recovery, &mut each)?;
        let others = Segments::open(
            &segments_dir,
            Set::Others,
            commons,
            &mut recovery,
            &mut each,
        )?;
        replay.recovery = recovery;
        let (index, cursor) = Index::open(&dir.join("index"));
        let mut journal = Self {
            dir: dir.to_path_buf(),
            own,
            others,
            index,
            rows: BTreeMap::new(),
            free_min: (OWN_FREE_MIN, OTHERS_FREE_MIN),
            _lock: lock,
        };
        journal.catch_up(cursor, &rows);
        replay.digest = journal.index.noted_digest(&journal.cursor());
        Ok((journal, replay))
    }

    fn cursor(&self) -> Cursor {
        Cursor {
            own: self.own.end(),
            others: self.others.end(),
        }
    }

    /// Indexes what the index does not cover; one that goes past the segments is thrown away.
    fn catch_up(&mut self, cursor: Cursor, rows: &[Row]) {
        let end = self.cursor();
        let from = if cursor.own > end.own || cursor.others > end.others {
            self.index.wipe();
            Cursor::START
        } else {
            cursor
        };
        let new: Vec<Row> = rows
            .iter()
            .filter(|row| row.at >= from.of(row.at.set))
            .copied()
            .collect();
        if from != end {
            for group in new.chunks(1_000) {
                self.index.write(group, &from);
            }
            self.index.write(&[], &end);
        }
    }

    /// Writes entries of the own chain and returns once they are on disk. On failure none of
    /// them counts and none may leave the process.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn append_own(&mut self, entries: &[Entry]) -> Result<(), JournalError> {
        if entries.is_empty() {
            return Ok(());
        }
        self.check_free(self.free_min.0)?;
        // What an own entry answers goes to disk with it.
        self.others.sync()?;
        let (bytes, starts) = encode_entries(entries);
        let at = self.own.append(&bytes)?;
        if let Err(error) = self.own.sync() {
            self.own.take_back(at);
            return Err(error);
        }
        self.note(entries, at, &starts);
        Ok(())
    }

    /// Writes entries of other chains. They survive a crash of the process at once and a loss of
    /// power after the next [`sync`](Self::sync): peers have them still.
    ///
    /// # Errors
    /// [`JournalError`]; then none of them is written.
    pub fn append_others(&mut self, entries: &[Entry]) -> Result<(), JournalError> {
        if entries.is_empty() {
            return Ok(());
        }
        self.check_free_for_others()?;
        let (bytes, starts) = encode_entries(entries);
        let at = self.others.append(&bytes)?;
        self.note(entries, at, &starts);
        Ok(())
    }

    /// Writes a fork proof, on disk when this returns: proofs are kept for ever.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn append_proof(&mut self, proof: &ForkProof) -> Result<(), JournalError> {
        let mut bytes = Vec::new();
        segment::encode(Kind::Proof, &codec::encode(proof), &mut bytes);
        self.others.append(&bytes)?;
        self.others.sync()
    }

    fn note(&mut self, entries: &[Entry], start: Position, starts: &[u64]) {
        for (entry, offset) in entries.iter().zip(starts) {
            let offset = start.offset + offset;
            let row = row(entry, Position { offset, ..start });
            self.rows.insert(row.hash, row);
        }
        if self.rows.len() >= ROWS_MAX {
            self.write_index();
        }
    }

    /// Checks that there is space for entries of others.
    ///
    /// # Errors
    /// [`JournalError::Full`].
    pub fn check_free_for_others(&self) -> Result<(), JournalError> {
        self.check_free(self.free_min.1)
    }

    fn check_free(&self, needed: u64) -> Result<(), JournalError> {
        let path = || self.dir.clone();
        let free = fs4::available_space(&self.dir).map_err(|source| JournalError::Io {
            path: path(),
            source,
        })?;
        if free < needed {
            let path = path();
            return Err(JournalError::Full { path, free, needed });
        }
        Ok(())
    }

    /// Makes everything durable and brings the index up to date. Cheap when nothing is new.
    ///
    /// # Errors
    /// [`JournalError`] of the segments; a failing index is marked degraded instead.
    pub fn sync(&mut self) -> Result<(), JournalError> {
        self.others.sync()?;
        self.own.sync()?;
        if !self.rows.is_empty() {
            self.write_index();
        }
        Ok(())
    }

    fn write_index(&mut self) {
        if self.index.is_degraded() {
            // Its error is sticky until it is opened anew, and it may lack earlier groups.
            self.rows.clear();
            self.rebuild_index();
            return;
        }
        let rows: Vec<Row> = std::mem::take(&mut self.rows).into_values().collect();
        let cursor = self.cursor();
        self.index.write(&rows, &cursor);
    }

    fn rebuild_index(&mut self) {
        let cursor = self.index.reopen().unwrap_or_else(|| {
            self.index.wipe();
            Cursor::START
        });
        if self.index.is_degraded() {
            return;
        }
        match self.read_rows() {
            Ok(rows) => self.catch_up(cursor, &rows),
            Err(error) => tracing::warn!(%error, "ledger segments did not read back"),
        }
    }

    fn read_rows(&self) -> Result<Vec<Row>, JournalError> {
        let (mut replay, mut rows) = (Replay::default(), Vec::new());
        for set in [Set::Own, Set::Others] {
            segment::each_record(&self.segments_dir(), set, &mut |record| {
                rows.extend(take(record, &mut replay));
                (replay.own, replay.others) = (Vec::new(), Vec::new());
            })?;
        }
        Ok(rows)
    }

    /// Throws the index away and builds it again from the segments.
    ///
    /// # Errors
    /// [`JournalError`] when the segments cannot be read.
    pub fn rebuild(&mut self) -> Result<(), JournalError> {
        self.sync()?;
        let rows = self.read_rows()?;
        self.index.wipe();
        self.catch_up(Cursor::START, &rows);
        Ok(())
    }

    /// Returns whether lookups find nothing until the index opens again. Entries are safe.
    pub const fn is_degraded(&self) -> bool {
        self.index.is_degraded()
    }

    fn segments_dir(&self) -> PathBuf {
        self.dir.join("segments")
    }

    /// Reads an entry back; `None` when it is unknown or its record is no longer sound.
    ///
    /// # Errors
    /// [`JournalError`] when the segment cannot be read.
    pub fn entry(&mut self, hash: &EntryHash) -> Result<Option<Entry>, JournalError> {
        let at = match self.rows.get(hash) {
            Some(row) => Some(row.at),
            None => self.index.position(hash),
        };
        let Some(at) = at else {
            return Ok(None);
        };
        let record = segment::read(&self.segments_dir(), at)?;
        Ok(record
            .filter(|(kind, _)| *kind == Kind::Entry)
            .and_then(|(_, payload)| codec::decode(&payload, limits::ENTRY_LEN_MAX).ok())
            .filter(|entry: &Entry| entry.hash() == *hash))
    }

    /// Returns the entries at one place of a chain: more than one where it forked.
    pub fn at(&mut self, author: &NodeId, seq: Seq) -> Vec<EntryHash> {
        let mut found = self.index.at(author, seq);
        let new = self.rows.values();
        found.extend(
            new.filter(|row| row.author == *author && row.seq == seq)
                .map(|row| row.hash),
        );
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Makes everything durable and notes the digest, so that the next start can tell whether it
    /// computes the same state.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn close(mut self, digest: &[u8; 32]) -> Result<(), JournalError> {
        self.sync()?;
        let cursor = self.cursor();
        self.index.note_digest(&cursor, digest);
        Ok(())
    }

    #[cfg(test)]
    pub(crate) fn fail_own_after(&mut self, bytes: Option<usize>) {
        self.own.fault = bytes;
    }

    #[cfg(test)]
    pub(crate) fn fail_others_after(&mut self, bytes: Option<usize>) {
        self.others.fault = bytes;
    }

    #[cfg(test)]
    pub(crate) fn need_free(&mut self, own: u64, others: u64) {
        self.free_min = (own, others);
    }
}

/// Encodes entries as records; returns them with the offset of each.
fn encode_entries(entries: &[Entry]) -> (Vec<u8>, Vec<u64>) {
    let (mut bytes, mut starts) = (Vec::new(), Vec::new());
    for entry in entries {
        starts.push(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        segment::encode(Kind::Entry, &codec::encode(entry), &mut bytes);
    }
    (bytes, starts)
}

fn row(entry: &Entry, at: Position) -> Row {
    let header = entry.header.trusted();
    Row {
        hash: header.hash(),
        author: header.author,
        seq: header.seq,
        at,
    }
}

/// Puts a record where it belongs; returns its row when it is an entry.
fn take(record: Record, replay: &mut Replay) -> Option<Row> {
    match record.kind {
        Kind::Entry => {
            let entry: Entry = codec::decode(&record.payload, limits::ENTRY_LEN_MAX).ok()?;
            let row = row(&entry, record.at);
            match record.at.set {
                Set::Own => replay.own.push(entry),
                Set::Others => replay.others.push(entry),
            }
            Some(row)
        }
        Kind::Proof => {
            let proof = codec::decode(&record.payload, PROOF_LEN_MAX).ok()?;
            replay.proofs.push(proof);
            None
        }
    }
}
