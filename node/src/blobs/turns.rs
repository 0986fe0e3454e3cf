//! Who is served first when more ask than are served at once: whoever thanks.
//!
//! Counts the bytes each member took and did not thank for. While there is room everybody is served at
//! once; when there is none, whoever took least unthanked comes first. A member that never thanks
//! is served last, and served all the same once nobody else waits. Kept in memory: a restart forgives.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use hearth_protocol::{id::NodeId, limits};
use tokio::sync::oneshot;

/// Requests for model files served at a time.
const SERVED_MAX: usize = 64;
/// Of those, requests of one peer: a slow one must not keep all others out.
const SERVED_PER_PEER_MAX: usize = 8;
/// Requests that wait for their turn; more are refused.
const WAITING_MAX: usize = 1_024;
/// Requests of one peer that wait for their turn.
const WAITING_PER_PEER_MAX: usize = 128;
/// Differences below this do not count: a model is thanked for after its job, not while it is fetched.
const GRACE_BYTES: u64 = 8 << 30;

/// The order of serving.
#[derive(Debug)]
pub(super) struct Turns {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    free: usize,
    arrived: u64,
    served: BTreeMap<NodeId, usize>,
    unthanked: BTreeMap<NodeId, u64>,
    waiting: BTreeMap<Place, (NodeId, oneshot::Sender<Turn>)>,
}

/// Less is earlier: how often the grace was used up, then who came first.
type Place = (u64, u64);

/// Leave to serve one request; the next one's turn comes when it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    turns: Option<Arc<Turns>>,
    peer: NodeId,
}

impl State {
    fn may_serve(&self, peer: &NodeId) -> bool {
        let served = self.served.get(peer).copied().unwrap_or(0);
        self.free > 0 && served < SERVED_PER_PEER_MAX
    }

    fn begin(&mut self, peer: NodeId) {
        self.free -= 1;
        *self.served.entry(peer).or_default() += 1;
    }

    fn end(&mut self, peer: &NodeId) {
        self.free += 1;
        if let Some(served) = self.served.get_mut(peer) {
            *served -= 1;
            if *served == 0 {
                self.served.remove(peer);
            }
        }
    }

    /// Takes out the first that may be served now.
    fn next(&mut self) -> Option<(NodeId, oneshot::Sender<Turn>)> {
        let mut waiting = self.waiting.iter();
        let next = waiting.find(|(_, (peer, _))| self.may_serve(peer));
        let place = *next?.0;
        let (peer, call) = self.waiting.remove(&place)?;
        self.begin(peer);
        Some((peer, call))
    }
}

impl Turns {
    pub(super) fn new() -> Arc<Self> {
        Self::of(SERVED_MAX)
    }

    fn of(free: usize) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                free,
                arrived: 0,
                served: BTreeMap::new(),
                unthanked: BTreeMap::new(),
                waiting: BTreeMap::new(),
            }),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn turn(self: &Arc<Self>, peer: NodeId) -> Turn {
        Turn {
            turns: Some(self.clone()),
            peer,
        }
    }

    /// Waits until it is the peer's turn; `None` when too many wait already.
    pub(super) async fn wait(self: &Arc<Self>, peer: NodeId) -> Option<Turn> {
        let called = {
            let mut state = self.state();
            if state.may_serve(&peer) {
                state.begin(peer);
                return Some(self.turn(peer));
            }
            let of_peer = state.waiting.values().filter(|(of, _)| *of == peer);
            if of_peer.count() >= WAITING_PER_PEER_MAX || state.waiting.len() >= WAITING_MAX {
                return None;
            }
            state.arrived += 1;
            let unthanked = state.unthanked.get(&peer).copied().unwrap_or(0);
            let place = (unthanked / GRACE_BYTES, state.arrived);
            let (call, called) = oneshot::channel();
            state.waiting.insert(place, (peer, call));
            called
        };
        called.await.ok()
    }

    /// Notes bytes a peer took.
    pub(super) fn took(&self, peer: NodeId, bytes: u64) {
        let mut state = self.state();
        if state.unthanked.len() < limits::MEMBERS_MAX || state.unthanked.contains_key(&peer) {
            let count = state.unthanked.entry(peer).or_default();
            *count = count.saturating_add(bytes);
        }
    }

    /// Notes that a peer thanked for bytes.
    pub(super) fn thanked(&self, peer: NodeId, bytes: u64) {
        let mut state = self.state();
        if let Some(count) = state.unthanked.get_mut(&peer) {
            *count = count.saturating_sub(bytes);
            if *count == 0 {
                state.unthanked.remove(&peer);
            }
        }
    }

    /// Returns the bytes a peer took and did not thank for.
    #[cfg(test)]
    pub(super) fn unthanked(&self, peer: &NodeId) -> u64 {
        self.state().unthanked.get(peer).copied().unwrap_or(0)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(turns) = self.turns.take() else {
            return;
        };
        turns.state().end(&self.peer);
        loop {
            let Some((peer, call)) = turns.state().next() else {
                return;
            };
            // Who hung up while waiting is passed over.
            if let Err(mut unheard) = call.send(turns.turn(peer)) {
                unheard.turns = None;
                turns.state().end(&peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{sleep, timeout};

    use super::*;

    const SOON: Duration = Duration::from_millis(20);

    fn peer(n: u8) -> NodeId {
        NodeId::from_bytes([n; 32])
    }

    #[tokio::test]
    async fn b13_who_took_much_and_never_thanked_is_served_last_when_others_wait() {
        let turns = Turns::of(1);
        turns.took(peer(1), 3 * GRACE_BYTES);
        turns.took(peer(2), GRACE_BYTES - 1);
        turns.took(peer(3), 2 * GRACE_BYTES);
        turns.thanked(peer(3), 2 * GRACE_BYTES);
        assert_eq!(turns.unthanked(&peer(3)), 0);
        let first = turns.wait(peer(99)).await.unwrap();
        let (say, mut said) = tokio::sync::mpsc::channel(16);
        for n in [1, 2, 3, 4] {
            let (turns, say) = (turns.clone(), say.clone());
            tokio::spawn(async move {
                let turn = turns.wait(peer(n)).await.unwrap();
                say.send(n).await.unwrap();
                drop(turn);
            });
            sleep(SOON).await;
        }
        drop((first, say));
        let mut got = Vec::new();
        while let Some(n) = said.recv().await {
            got.push(n);
        }
        assert_eq!(got, [2, 3, 4, 1]);
    }

    #[tokio::test]
    async fn b13_nobody_waits_while_there_is_room_and_nobody_takes_all_of_it() {
        let turns = Turns::of(SERVED_PER_PEER_MAX + 1);
        turns.took(peer(1), u64::MAX);
        let mut held = Vec::new();
        for _ in 0..SERVED_PER_PEER_MAX {
            held.push(turns.wait(peer(1)).await.unwrap());
        }
        assert!(timeout(SOON, turns.wait(peer(1))).await.is_err());
        held.push(turns.wait(peer(2)).await.unwrap());
        assert!(timeout(SOON, turns.wait(peer(3))).await.is_err());
    }

    #[tokio::test]
    async fn b13_who_hangs_up_while_waiting_takes_no_turn() {
        let turns = Turns::of(1);
        let first = turns.wait(peer(1)).await.unwrap();
        assert!(timeout(SOON, turns.wait(peer(2))).await.is_err());
        drop(first);
        for n in 3..9 {
            assert!(timeout(SOON, turns.wait(peer(n))).await.unwrap().is_some());
        }
    }

    #[tokio::test]
    async fn b13_those_who_wait_are_bounded() {
        let turns = Turns::of(1);
        let _first = turns.wait(peer(1)).await.unwrap();
        for _ in 0..WAITING_PER_PEER_MAX {
            let turns = turns.clone();
            tokio::spawn(async move { turns.wait(peer(2)).await.is_some() });
        }
        sleep(SOON).await;
        assert!(turns.wait(peer(2)).await.is_none());
    }
}
