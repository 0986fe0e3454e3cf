//! Which parts of a blob are still to fetch, and who is fetching which.
//!
//! The missing ranges are cut into segments; each lane to a provider claims one, fetches it and marks it
//! done. A claim that is dropped (a failure, a lost provider) puts its segment back. When nothing is
//! left to claim, an idle lane repeats what another provider has been slow with.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use hearth_protocol::id::NodeId;
use iroh_blobs::protocol::{ChunkRanges, ChunkRangesExt};
use tokio::sync::watch;

const SEGMENT_MIN: u64 = 1 << 20;
const SEGMENT_MAX: u64 = 16 << 20;
/// A segment running longer than this may be fetched from a second provider as well.
const SLOW: Duration = Duration::from_secs(3);

/// The segments of one fetch.
#[derive(Debug)]
pub(super) struct Board {
    state: Mutex<State>,
    version: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    pending: VecDeque<ChunkRanges>,
    running: BTreeMap<u64, Running>,
    next_id: u64,
}

#[derive(Debug)]
struct Running {
    ranges: ChunkRanges,
    by: NodeId,
    since: Instant,
    lanes: u32,
}

/// What a lane can do now.
#[derive(Debug)]
pub(super) enum Next {
    /// Fetch these ranges.
    Fetch(Claim),
    /// Nothing for this provider at the moment; others are at work or hold what it lacks.
    Wait,
    /// Everything is here.
    Finished,
}

/// A segment somebody is fetching.
#[derive(Debug)]
pub(super) struct Claim {
    board: Arc<Board>,
    id: u64,
    /// The chunks of the segment.
    pub(super) ranges: ChunkRanges,
}

impl Board {
    /// Cuts the `missing` ranges of a blob of `size` bytes for about `providers` providers.
    pub(super) fn new(missing: &ChunkRanges, size: u64, providers: u64) -> Arc<Self> {
        // A dozen segments for each provider, so that fast ones take more of them than slow ones.
        let share = size / (providers.max(1) * 12);
        let step = share
            .clamp(SEGMENT_MIN, SEGMENT_MAX)
            .next_multiple_of(SEGMENT_MIN);
        let mut pending = VecDeque::new();
        let mut start = 0;
        while start < size {
            let end = start.saturating_add(step).min(size);
            let segment = missing & &ChunkRanges::bytes(start..end);
            if !segment.is_empty() {
                pending.push_back(segment);
            }
            start = end;
        }
        let state = State {
            pending,
            ..State::default()
        };
        Arc::new(Self {
            state: Mutex::new(state),
            version: watch::Sender::new(0),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells of every segment that is done or back.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    pub(super) fn is_finished(&self) -> bool {
        let state = self.state();
        state.pending.is_empty() && state.running.is_empty()
    }

    /// Whether nobody is fetching anything.
    pub(super) fn is_idle(&self) -> bool {
        self.state().running.is_empty()
    }

    /// Claims a segment for a lane to provider `by`, which holds the chunks `have`.
    pub(super) fn claim(self: &Arc<Self>, by: NodeId, have: &ChunkRanges) -> Next {
        let mut state = self.state();
        if state.pending.is_empty() && state.running.is_empty() {
            return Next::Finished;
        }
        for at in 0..state.pending.len() {
            let ranges = &state.pending[at] & have;
            if ranges.is_empty() {
                continue;
            }
            let rest = &state.pending[at] - have;
            if rest.is_empty() {
                state.pending.remove(at);
            } else {
                state.pending[at] = rest;
            }
            let id = state.next_id;
            state.next_id += 1;
            let running = Running {
                ranges: ranges.clone(),
                by,
                since: Instant::now(),
                lanes: 1,
            };
            state.running.insert(id, running);
            return Next::Fetch(Claim {
                board: self.clone(),
                id,
                ranges,
            });
        }
        let slow = state.running.iter_mut().find(|(_, running)| {
            running.lanes == 1
                && running.by != by
                && running.since.elapsed() > SLOW
                && (&running.ranges - have).is_empty()
        });
        slow.map_or(Next::Wait, |(id, running)| {
            running.lanes += 1;
            Next::Fetch(Claim {
                board: self.clone(),
                id: *id,
                ranges: running.ranges.clone(),
            })
        })
    }
}

impl Claim {
    /// The segment is here in full.
    pub(super) fn done(self) {
        self.board.state().running.remove(&self.id);
        // The drop that follows finds nothing to put back.
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut state = self.board.state();
        if let Some(running) = state.running.get_mut(&self.id) {
            running.lanes -= 1;
            if running.lanes == 0
                && let Some(running) = state.running.remove(&self.id)
            {
                state.pending.push_front(running.ranges);
            }
        }
        drop(state);
        self.board.version.send_modify(|version| *version += 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn peer(id: u8) -> NodeId {
        NodeId::from_bytes([id; 32])
    }

    fn fetch(next: Next) -> Claim {
        if let Next::Fetch(claim) = next {
            claim
        } else {
            panic!("expected a segment")
        }
    }

    #[test]
    fn a_dropped_claim_puts_its_segment_back_and_a_done_one_does_not() {
        let board = Board::new(&ChunkRanges::bytes(..2 * MIB), 2 * MIB, 1);
        let first = fetch(board.claim(peer(1), &ChunkRanges::all()));
        let again = first.ranges.clone();
        drop(first);
        let first = fetch(board.claim(peer(2), &ChunkRanges::all()));
        assert_eq!(first.ranges, again, "the segment is back at the front");
        first.done();
        fetch(board.claim(peer(1), &ChunkRanges::all())).done();
        assert!(matches!(
            board.claim(peer(1), &ChunkRanges::all()),
            Next::Finished
        ));
    }

    #[test]
    fn a_provider_with_a_part_is_asked_for_that_part_only() {
        let board = Board::new(&ChunkRanges::bytes(..MIB), MIB, 1);
        let have = ChunkRanges::bytes(..MIB / 2);
        let part = fetch(board.claim(peer(1), &have));
        assert_eq!(part.ranges, have);
        part.done();
        assert!(
            matches!(board.claim(peer(1), &have), Next::Wait),
            "the rest is not there"
        );
        assert!(!board.is_finished());
        fetch(board.claim(peer(2), &ChunkRanges::all())).done();
        assert!(board.is_finished());
    }

    #[test]
    fn only_missing_ranges_are_cut_into_segments() {
        let missing = ChunkRanges::bytes(3 * MIB..5 * MIB);
        let board = Board::new(&missing, 64 * MIB, 100);
        let mut total = ChunkRanges::empty();
        while let Next::Fetch(claim) = board.claim(peer(1), &ChunkRanges::all()) {
            total |= claim.ranges.clone();
            claim.done();
        }
        assert_eq!(total, missing);
    }
}
