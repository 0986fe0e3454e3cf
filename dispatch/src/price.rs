//! What a job costs and how long it may take: the charter's table applied to one demand.
//!
//! The price is exact and the same on every node but for a worker's percentage; times are rough
//! and only ever decide an order of preference or a promise with much room in it.

use hearth_protocol::capacity::Speed;
use hearth_protocol::charter::PriceTable;
use hearth_protocol::job::{Family, QuoteRequest};
use hearth_protocol::unit::{ByteCount, Millikudos, Millis};

/// Bytes a second a worker is assumed to fetch: an ordinary home line.
const LINK_BYTES_PER_S: u64 = 10 << 20;
/// What loading a cold checkpoint is assumed to take.
const COLD_LOAD: Millis = Millis::from_secs(5);
/// Speed assumed of a worker that never ran a family: a slow processor's.
const SPEED_UNKNOWN_MK_PER_S: u64 = 200;

/// Whether a checkpoint must be loaded first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Warmth {
    /// It is loaded.
    Warm,
    /// It is not.
    Cold,
}

/// Returns `ceil(work * percent / 100)` for some evaluations of a demand.
// J5
pub(crate) fn evaluations(
    prices: &PriceTable,
    demand: &QuoteRequest,
    done: u32,
    percent: u16,
) -> Millikudos {
    let work = prices.work(done, demand.width, demand.height, demand.family.factor());
    let mk = u128::from(work.get()) * u128::from(percent);
    Millikudos::saturating(u64::try_from(mk.div_ceil(100)).unwrap_or(u64::MAX))
}

/// Returns the work part of a quote: evaluations, cold load and adapters.
// J5
pub(crate) fn work(
    prices: &PriceTable,
    demand: &QuoteRequest,
    percent: u16,
    warmth: Warmth,
) -> Millikudos {
    let load = match warmth {
        Warmth::Warm => 0,
        Warmth::Cold => prices.cold_load.get(),
    };
    let loras = u64::try_from(demand.cards.len().saturating_sub(1)).unwrap_or(u64::MAX);
    let evaluations = evaluations(prices, demand, demand.evaluations, percent).get();
    let mk = evaluations
        .saturating_add(load)
        .saturating_add(prices.lora.get().saturating_mul(loras));
    Millikudos::saturating(mk)
}

/// Returns the speed for a family, in millikudos of table-price work a second.
pub(crate) fn speed(speeds: &[Speed], family: Family) -> u64 {
    speeds
        .iter()
        .find(|speed| speed.family == family)
        .map_or(SPEED_UNKNOWN_MK_PER_S, |speed| speed.mk_per_s)
        .max(1)
}

/// Estimates the time from start to end of one job on an idle worker.
pub(crate) fn duration(
    prices: &PriceTable,
    demand: &QuoteRequest,
    speeds: &[Speed],
    warmth: Warmth,
    missing: ByteCount,
) -> Millis {
    let compute = evaluations(prices, demand, demand.evaluations, 100)
        .get()
        .saturating_mul(1000)
        / speed(speeds, demand.family);
    let load = match warmth {
        Warmth::Warm => 0,
        Warmth::Cold => COLD_LOAD.get(),
    };
    let fetch = u128::from(missing.get()) * 1000 / u128::from(LINK_BYTES_PER_S);
    let fetch = u64::try_from(fetch).unwrap_or(u64::MAX);
    Millis::new(compute.saturating_add(load).saturating_add(fetch))
}
