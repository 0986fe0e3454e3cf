//! Writing one's own chain: what comes next, signed.
//!
//! Pure: signing is all it does. That the signature stays in the process until the entry is on
//! disk is [`crate::Ledger`]'s promise.

use hearth_protocol::codec;
use hearth_protocol::entry::{Body, Entry, Header, NO_PREV, VERSION, body_hash};
use hearth_protocol::id::{CommonsId, EntryHash, NodeId};
use hearth_protocol::sign::{NodeKey, Signed};
use hearth_protocol::unit::{Seq, Timestamp};

/// The newest entry of one's own chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tip {
    /// Its place.
    pub seq: Seq,
    /// Its name.
    pub hash: EntryHash,
    /// Its date.
    pub time: Timestamp,
}

/// The one who may write a chain.
#[derive(Debug, Clone)]
pub struct Author {
    key: NodeKey,
    commons: CommonsId,
}

impl Author {
    /// Names the key and the commons to write for.
    pub const fn new(key: NodeKey, commons: CommonsId) -> Self {
        Self { key, commons }
    }

    /// Returns the chain's name.
    pub fn id(&self) -> NodeId {
        self.key.id()
    }

    /// Returns the key.
    pub const fn key(&self) -> &NodeKey {
        &self.key
    }

    /// Signs the entry after `tip`, dated `now` or as its predecessor, whichever is later.
    pub fn sign(&self, tip: Option<Tip>, body: &Body, now: Timestamp) -> Entry {
        let (seq, prev, time) = match tip {
            None => (Seq::FIRST, NO_PREV, now),
            Some(tip) => {
                let seq = tip.seq.next().expect("no chain reaches the end of numbers");
                (seq, tip.hash, now.max(tip.time))
            }
        };
        let body = codec::encode(body);
        let header = Header {
            version: VERSION,
            commons: self.commons,
            author: self.id(),
            seq,
            prev,
            time,
            body: body_hash(&body),
        };
        let header = Signed::sign(header, &self.key);
        Entry { header, body }
    }
}

/// Returns the tip an entry makes.
impl From<&Entry> for Tip {
    fn from(entry: &Entry) -> Self {
        let header = entry.header.trusted();
        Self {
            seq: header.seq,
            hash: header.hash(),
            time: header.time,
        }
    }
}
