//! Which workers could take a job, best first, or the reason why none can.
//!
//! Expected finish decides: speed, queue, bytes to fetch, a cold checkpoint; trusted workers get a
//! tenth off and every failure of ours there doubles it. Price breaks ties, then a draw that is
//! fixed by the seed. Quotes, once they are here, replace the estimate.

use std::collections::{BTreeMap, BTreeSet};

use hearth_protocol::capacity::{Accepting, Capacity, Speed};
use hearth_protocol::id::{BlobHash, CardId, NodeId};
use hearth_protocol::job::QuoteRequest;
use hearth_protocol::unit::{ByteCount, Millikudos, Millis, Timestamp};

use crate::capacity::CapacityTable;
use crate::config::Engine;
use crate::event::{Place, ShelfCard};
use crate::failure::{NoPlace, OwnEngine};
use crate::ledger_view::LedgerView;
use crate::outbox::Outbox;
use crate::price::{self, Warmth};

/// What a sub-machine sees while it handles one event.
pub(crate) struct Scene<'a> {
    pub(crate) me: NodeId,
    pub(crate) now: Timestamp,
    pub(crate) view: &'a dyn LedgerView,
    pub(crate) peers: &'a CapacityTable,
    pub(crate) shelf: &'a BTreeMap<CardId, ShelfCard>,
    pub(crate) own: Own,
    pub(crate) out: &'a mut Outbox,
}

/// What the own engine could do for an own job.
#[derive(Debug, Clone)]
pub(crate) struct Own {
    pub(crate) engine: Engine,
    pub(crate) accepting: Accepting,
    pub(crate) backlog: Millis,
    pub(crate) warm: Vec<CardId>,
    pub(crate) speeds: Vec<Speed>,
}

/// A worker that could take a job; smaller is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Candidate {
    pub(crate) finish: Millis,
    pub(crate) price: Millikudos,
    pub(crate) draw: u64,
    pub(crate) node: NodeId,
}

/// What is looked for.
pub(crate) struct Search<'a> {
    pub(crate) demand: &'a QuoteRequest,
    pub(crate) place: Place,
    pub(crate) sizes: &'a BTreeMap<CardId, ByteCount>,
    /// Workers that had their chance.
    pub(crate) tried: &'a BTreeSet<NodeId>,
    /// Failures of ours at each worker.
    pub(crate) failures: &'a BTreeMap<NodeId, u32>,
}

/// Returns the other members that could take a job, best first.
pub(crate) fn candidates(cx: &Scene<'_>, search: &Search<'_>) -> Result<Vec<Candidate>, NoPlace> {
    let present: Vec<&Capacity> = cx
        .peers
        .present()
        .filter(|advert| advert.node != cx.me)
        .collect();
    let wanted: Vec<&Capacity> = match search.place {
        Place::Peer(peer) => {
            let advert = present.into_iter().find(|advert| advert.node == peer);
            let advert = advert.ok_or(NoPlace::PeerAway(peer))?;
            if advert.accepting != Accepting::Yes {
                return Err(NoPlace::PeerAcceptsNot(peer));
            }
            vec![advert]
        }
        Place::Anywhere | Place::Local => present,
    };
    if wanted.is_empty() {
        return Err(NoPlace::NobodyConnected {
            own: own_engine(cx, search),
        });
    }
    let willing = willing(&wanted)?;
    let friendly: Vec<&Capacity> = willing
        .into_iter()
        .filter(|advert| cx.view.is_member(&advert.node) && !cx.view.is_blocked(&advert.node))
        .collect();
    if friendly.is_empty() {
        return Err(NoPlace::AllBlocked);
    }
    let mut found: Vec<Candidate> = friendly
        .iter()
        .filter(|advert| !search.tried.contains(&advert.node))
        .filter(|advert| has_or_gets(cx, advert, search.demand))
        .map(|advert| estimate(cx, search, advert))
        .collect();
    if found.is_empty()
        && let Some(card) = nobody_has(cx, &friendly, search.demand)
    {
        return Err(NoPlace::NobodyHasCard {
            card,
            last_seeder: cx.peers.last_seeder(&card),
        });
    }
    found.sort_unstable();
    Ok(found)
}

fn willing<'a>(wanted: &[&'a Capacity]) -> Result<Vec<&'a Capacity>, NoPlace> {
    let count = |accepting| {
        wanted
            .iter()
            .filter(|advert| advert.accepting == accepting)
            .count()
    };
    if count(Accepting::Yes) == 0 {
        return Err(NoPlace::NobodyAccepts {
            connected: wanted.len(),
            paused: count(Accepting::Paused),
            never: count(Accepting::Never),
        });
    }
    Ok(wanted
        .iter()
        .copied()
        .filter(|advert| advert.accepting == Accepting::Yes)
        .collect())
}

fn is_here(cx: &Scene<'_>, card: &CardId) -> bool {
    cx.shelf
        .get(card)
        .is_some_and(|known| known.missing == ByteCount::default())
}

fn has_or_gets(cx: &Scene<'_>, advert: &Capacity, demand: &QuoteRequest) -> bool {
    let gets = |card: &CardId| {
        advert.cards.contains(card) || is_here(cx, card) || cx.peers.is_served(card)
    };
    demand.cards.iter().all(gets)
}

fn nobody_has(cx: &Scene<'_>, adverts: &[&Capacity], demand: &QuoteRequest) -> Option<CardId> {
    demand.cards.iter().copied().find(|card| {
        !is_here(cx, card)
            && !cx.peers.is_served(card)
            && !adverts.iter().any(|advert| advert.cards.contains(card))
    })
}

fn estimate(cx: &Scene<'_>, search: &Search<'_>, advert: &Capacity) -> Candidate {
    let prices = cx.view.prices();
    let demand = search.demand;
    let warmth = warmth(&advert.warm, demand);
    let missing = demand
        .cards
        .iter()
        .filter(|card| !advert.cards.contains(card))
        .fold(ByteCount::default(), |sum, card| {
            sum.plus(search.sizes.get(card).copied().unwrap_or_default())
        });
    let one = price::duration(
        &prices,
        demand,
        &advert.speeds,
        Warmth::Warm,
        ByteCount::default(),
    );
    let run = price::duration(&prices, demand, &advert.speeds, warmth, missing);
    let queue = one.get().saturating_mul(u64::from(advert.queue));
    let work = price::work(&prices, demand, advert.price_percent, warmth);
    let total = work.get().saturating_add(prices.fetch(missing).get());
    Candidate {
        finish: weigh(cx, search, &advert.node, run.get().saturating_add(queue)),
        price: Millikudos::saturating(total),
        draw: draw(search.demand, &advert.node),
        node: advert.node,
    }
}

/// Makes a time longer for workers that failed us and shorter for trusted ones.
pub(crate) fn weigh(cx: &Scene<'_>, search: &Search<'_>, node: &NodeId, finish_ms: u64) -> Millis {
    let failures = search.failures.get(node).copied().unwrap_or(0).min(8);
    let percent = if cx.view.is_trusted(node) { 90 } else { 100 };
    let weighed = u128::from(finish_ms) * percent / 100 * (1 << failures);
    Millis::new(u64::try_from(weighed).unwrap_or(u64::MAX))
}

/// Draws for a tie: fixed by job and node, and different from job to job.
pub(crate) fn draw(demand: &QuoteRequest, node: &NodeId) -> u64 {
    let input = [&demand.job.as_bytes()[..], &node.as_bytes()[..]].concat();
    let hash = BlobHash::of(&input);
    hash.as_bytes()
        .iter()
        .take(8)
        .fold(0, |sum, byte| (sum << 8) | u64::from(*byte))
}

/// Returns whether a job's checkpoint is among the loaded ones.
pub(crate) fn warmth(warm: &[CardId], demand: &QuoteRequest) -> Warmth {
    match demand.cards.first() {
        Some(checkpoint) if warm.contains(checkpoint) => Warmth::Warm,
        Some(_) | None => Warmth::Cold,
    }
}

/// How the own engine compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OwnChance {
    /// It has all the cards: done in this time.
    Ready(Millis),
    /// It could, after fetching cards.
    AfterFetch,
    /// It could not.
    No(OwnEngine),
}

/// Returns what the own engine could do.
pub(crate) fn own_chance(cx: &Scene<'_>, search: &Search<'_>) -> OwnChance {
    if cx.own.engine == Engine::Absent {
        return OwnChance::No(OwnEngine::Absent);
    }
    if search.demand.cards.iter().all(|card| is_here(cx, card)) {
        let run = price::duration(
            &cx.view.prices(),
            search.demand,
            &cx.own.speeds,
            warmth(&cx.own.warm, search.demand),
            ByteCount::default(),
        );
        return OwnChance::Ready(Millis::new(run.get().saturating_add(cx.own.backlog.get())));
    }
    let gets = |card: &CardId| is_here(cx, card) || cx.peers.is_served(card);
    if search.demand.cards.iter().all(gets) {
        OwnChance::AfterFetch
    } else {
        OwnChance::No(OwnEngine::CardsMissing)
    }
}

fn own_engine(cx: &Scene<'_>, search: &Search<'_>) -> OwnEngine {
    match own_chance(cx, search) {
        OwnChance::No(why) => why,
        OwnChance::Ready(_) | OwnChance::AfterFetch => OwnEngine::NotAsked,
    }
}
