//! Finding out which heads two nodes do not share, with little said (L50 to L52).
//!
//! Authors' keys are spread evenly, so the head set is compared along the tree of their prefixes:
//! first the fingerprints of 256 ranges, then finer ones of those that differ, and where few
//! authors are left, their short names. Neither side remembers anything between frames: a reply
//! follows from the frame and the own heads alone, so whatever a peer sends costs one bounded
//! answer. Fingerprints are sums, mixed with a key that each session draws anew: collisions
//! cannot be prepared, and one that happens is gone with the next session.

mod frame;

use std::collections::{BTreeMap, BTreeSet};

use hearth_protocol::id::NodeId;
use hearth_protocol::limits;
use hearth_protocol::wire::Head;

pub use frame::FrameError;
use frame::{Part, Prefix};

/// Bytes of a fingerprint and of a short name. Two ranges that differ pass for one another once
/// in 2^32, until the next session.
pub(crate) const PRINT_LEN: usize = 4;
/// Authors below which a range is listed instead of divided.
const LIST_MAX: usize = 12;
/// Bits by which the first frame divides all authors.
const FIRST_BITS: u8 = 8;
/// Bits by which a range that differs is divided, when it holds many.
const STEP_BITS: u8 = 3;
/// Most ranges one frame speaks of; the rest waits for the next session.
const PARTS_MAX: usize = 2_048;
/// Most frames of one session.
pub const ROUNDS_MAX: u8 = 16;

/// What two nodes agree on calling one comparison.
pub type SessionKey = [u8; 16];

type Sum = [u64; 4];

/// A short name of an author with its heads, in one session.
type Name = [u8; PRINT_LEN];

/// The heads of one node, ready to be compared.
#[derive(Debug, Clone)]
pub struct HeadSet {
    heads: Vec<Head>,
    /// For each author in order: its key, and where its heads begin.
    authors: Vec<(NodeId, usize)>,
    /// Sums of all elements before each author, and of all at the end.
    sums: Vec<Sum>,
}

/// What to say to a frame.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answer {
    /// The next frame, if the comparison goes on.
    pub frame: Option<Vec<u8>>,
    /// Own heads that the other side lacks or has otherwise. Who gets them knows what to ask for
    /// and what to send, and need not show its own heads of the same authors.
    pub heads: Vec<Head>,
}

fn add(sum: &Sum, other: &Sum) -> Sum {
    let mut out = [0; 4];
    let mut carry = false;
    for (lane, out) in out.iter_mut().enumerate() {
        let (part, over) = sum[lane].overflowing_add(other[lane]);
        let (part, again) = part.overflowing_add(u64::from(carry));
        (*out, carry) = (part, over || again);
    }
    out
}

fn subtract(sum: &Sum, other: &Sum) -> Sum {
    let mut out = [0; 4];
    let mut borrow = false;
    for (lane, out) in out.iter_mut().enumerate() {
        let (part, under) = sum[lane].overflowing_sub(other[lane]);
        let (part, again) = part.overflowing_sub(u64::from(borrow));
        (*out, borrow) = (part, under || again);
    }
    out
}

/// Hashes an author with all of its heads.
fn element(heads: &[Head]) -> Sum {
    let mut hasher = blake3::Hasher::new();
    for head in heads {
        hasher.update(head.author.as_bytes());
        hasher.update(&head.seq.get().to_be_bytes());
        hasher.update(head.hash.as_bytes());
    }
    let mut lanes = [0; 4];
    for (lane, bytes) in lanes.iter_mut().zip(hasher.finalize().as_bytes().chunks(8)) {
        *lane = u64::from_le_bytes(bytes.try_into().expect("chunks of eight"));
    }
    lanes
}

fn short(key: &SessionKey, count: usize, sum: &Sum) -> Name {
    let mut wide = [0; 32];
    wide[..16].copy_from_slice(key);
    let mut hasher = blake3::Hasher::new_keyed(&wide);
    hasher.update(&u64::try_from(count).unwrap_or(u64::MAX).to_le_bytes());
    for lane in sum {
        hasher.update(&lane.to_le_bytes());
    }
    let mut name = [0; PRINT_LEN];
    name.copy_from_slice(&hasher.finalize().as_bytes()[..PRINT_LEN]);
    name
}

impl HeadSet {
    /// Takes heads in any order, several of one author where its chain forked.
    pub fn new(mut heads: Vec<Head>) -> Self {
        heads.sort_unstable();
        heads.dedup();
        let mut authors: Vec<(NodeId, usize)> = Vec::new();
        for (at, head) in heads.iter().enumerate() {
            if authors.last().is_none_or(|(last, _)| *last != head.author) {
                authors.push((head.author, at));
            }
        }
        let mut set = Self {
            heads,
            sums: vec![[0; 4]],
            authors,
        };
        let mut sum = [0; 4];
        for index in 0..set.authors.len() {
            sum = add(&sum, &element(set.heads_of(index)));
            set.sums.push(sum);
        }
        set
    }

    /// Returns the number of authors.
    pub const fn len(&self) -> usize {
        self.authors.len()
    }

    /// Returns whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.authors.is_empty()
    }

    fn heads_of(&self, index: usize) -> &[Head] {
        let from = self.authors[index].1;
        let to = self
            .authors
            .get(index + 1)
            .map_or(self.heads.len(), |next| next.1);
        &self.heads[from..to]
    }

    /// Returns the authors below a prefix, as positions.
    fn range(&self, prefix: &Prefix) -> std::ops::Range<usize> {
        let from = self
            .authors
            .partition_point(|(author, _)| prefix.is_after(author));
        let within = self.authors[from..].partition_point(|(author, _)| prefix.covers(author));
        from..from + within
    }

    fn print(&self, key: &SessionKey, range: &std::ops::Range<usize>) -> Name {
        let sum = subtract(&self.sums[range.end], &self.sums[range.start]);
        short(key, range.len(), &sum)
    }

    fn name(&self, key: &SessionKey, index: usize) -> Name {
        self.print(key, &(index..index + 1))
    }

    /// Says the first words of a comparison. `key` is random, drawn for this session.
    pub fn open(&self, key: &SessionKey) -> Vec<u8> {
        let part = if self.len() <= LIST_MAX {
            self.described(key, Prefix::ALL)
        } else {
            self.divided(key, Prefix::ALL, FIRST_BITS)
        };
        frame::encode(&[part])
    }

    fn divided(&self, key: &SessionKey, prefix: Prefix, bits: u8) -> Part {
        let children = prefix.children(bits);
        let prints = children.map(|child| self.print(key, &self.range(&child)));
        Part::Prints(prefix, bits, prints.collect())
    }

    /// Describes a range that differs: by names when it holds few authors, else by finer prints.
    fn described(&self, key: &SessionKey, prefix: Prefix) -> Part {
        let range = self.range(&prefix);
        if range.len() <= LIST_MAX || !prefix.has_children(STEP_BITS) {
            let shown = range.take(frame::NAMES_MAX);
            Part::Names(prefix, shown.map(|index| self.name(key, index)).collect())
        } else {
            self.divided(key, prefix, STEP_BITS)
        }
    }

    /// Answers a frame that came with these heads of the other side.
    ///
    /// # Errors
    /// [`FrameError`] when it is not one.
    pub fn answer(
        &self,
        key: &SessionKey,
        bytes: &[u8],
        theirs: &[Head],
    ) -> Result<Answer, FrameError> {
        let shown: BTreeSet<&NodeId> = theirs.iter().map(|head| &head.author).collect();
        let mut parts = Vec::new();
        let mut indexes = BTreeSet::new();
        for part in frame::decode(bytes)? {
            match part {
                Part::Prints(prefix, bits, prints) => {
                    for (child, print) in prefix.children(bits).zip(prints) {
                        if self.print(key, &self.range(&child)) != print {
                            parts.push(self.described(key, child));
                        }
                    }
                }
                Part::Names(prefix, names) => {
                    let (unnamed, unknown) = self.compare_names(key, &prefix, &names);
                    // Of as many, each is most likely the other's elder or younger head.
                    if unknown.len() > unnamed.len() {
                        parts.push(Part::Wanted(prefix, unknown));
                    }
                    indexes.extend(unnamed);
                }
                Part::Wanted(prefix, names) => {
                    let wanted: BTreeSet<Name> = names.into_iter().collect();
                    let range = self.range(&prefix);
                    indexes.extend(range.filter(|i| wanted.contains(&self.name(key, *i))));
                }
            }
            if parts.len() >= PARTS_MAX {
                break;
            }
        }
        parts.truncate(PARTS_MAX);
        let heads = indexes
            .into_iter()
            .filter(|index| !shown.contains(&self.authors[*index].0))
            .flat_map(|index| self.heads_of(index))
            .take(limits::HEADS_PER_MESSAGE_MAX);
        Ok(Answer {
            frame: (!parts.is_empty()).then(|| frame::encode(&parts)),
            heads: heads.copied().collect(),
        })
    }

    /// Returns the authors the other side does not name, and its names that are not known here.
    fn compare_names(
        &self,
        key: &SessionKey,
        prefix: &Prefix,
        theirs: &[Name],
    ) -> (Vec<usize>, Vec<Name>) {
        let mine: BTreeMap<Name, usize> = self
            .range(prefix)
            .map(|index| (self.name(key, index), index))
            .collect();
        let named: BTreeSet<&Name> = theirs.iter().collect();
        let unnamed = mine.iter().filter(|(name, _)| !named.contains(name));
        let unnamed = unnamed.map(|(_, index)| *index).collect();
        let unknown = named.into_iter().filter(|name| !mine.contains_key(*name));
        (unnamed, unknown.copied().collect())
    }
}
