//! Who is next: own jobs, then a warm checkpoint, then standing, all with ageing.
//!
//! A point is a thousandth of a line. A warm checkpoint is worth two full lines, and a second of
//! waiting ten points: after five minutes a cold job of somebody without room left comes before a
//! new warm one, so nobody waits for ever.

use hearth_protocol::charter::PriceTable;
use hearth_protocol::unit::{ByteCount, Millis};

use crate::effect::Effect;
use crate::outbox::WorkKey;
use crate::price::{self, Warmth};
use crate::rank::{Scene, warmth};

use super::Worker;
use super::work::{Stage, Work};

const WARM_POINTS: u64 = 2_000;
const AGEING_POINTS_PER_S: u64 = 10;

impl Worker {
    /// Starts the next work when the engine is free.
    pub(crate) fn fill_slot(&mut self, cx: &mut Scene<'_>) {
        while !self.works.values().any(Work::holds_slot) {
            let Some(key) = self.next_key(cx) else {
                return;
            };
            let Some(mut work) = self.works.remove(&key) else {
                return;
            };
            self.start(cx, key, &mut work);
            self.works.insert(key, work);
            cx.out.push(Effect::CapacityChanged);
        }
    }

    // J6
    fn next_key(&self, cx: &Scene<'_>) -> Option<WorkKey> {
        let queued = self
            .works
            .iter()
            .filter(|(_, work)| work.stage == Stage::Queued);
        queued
            .min_by_key(|(key, work)| {
                let own = matches!(key, WorkKey::Local(_));
                let points = if own { u64::MAX } else { self.points(cx, work) };
                (u64::MAX - points, work.accepted, **key)
            })
            .map(|(key, _)| *key)
    }

    fn points(&self, cx: &Scene<'_>, work: &Work) -> u64 {
        let line = cx.view.line(&work.requester).get().max(1);
        let room = cx.view.room(&work.requester).get().min(line);
        let standing = u64::try_from(u128::from(room) * 1000 / u128::from(line)).unwrap_or(1000);
        let waited = cx.now.since(work.accepted).get() / 1000;
        let warm = match work.demand().map(|demand| warmth(&self.warm, &demand)) {
            Some(Warmth::Warm) => WARM_POINTS,
            Some(Warmth::Cold) | None => 0,
        };
        warm.saturating_add(standing)
            .saturating_add(waited.saturating_mul(AGEING_POINTS_PER_S))
    }

    /// Returns how many works come before a new one.
    pub(crate) fn ahead(&self) -> u32 {
        u32::try_from(self.queue_len()).unwrap_or(u32::MAX)
    }

    /// Estimates how long the engine is busy with what it has.
    pub(crate) fn backlog(&self, prices: &PriceTable) -> Millis {
        let total = self
            .works
            .values()
            .filter(|work| work.is_open())
            .filter_map(|work| {
                let demand = work.demand()?;
                let warmth = warmth(&self.warm, &demand);
                let none = ByteCount::default();
                Some(price::duration(prices, &demand, &self.speeds, warmth, none))
            })
            .fold(0_u64, |sum, one| sum.saturating_add(one.get()));
        Millis::new(total)
    }
}
