//! A seeder dies in the middle of a transfer: the rest comes from another.

use std::time::{Duration, Instant};

use crate::commons::{ASKS, Commons};
use crate::patience::{LATER, heavy};
use crate::weights;

/// Large enough to be caught on its way, small enough for a test.
const MIB: usize = 192;

#[test]
fn a_fetch_goes_on_at_another_seeder_when_one_is_killed() {
    let _turn = heavy();
    let mut commons = Commons::of(&[("reader", ASKS), ("ada", ASKS), ("bob", ASKS)]);
    let path = weights::large_lora(commons.dir(), MIB);
    // Both serve the same file where it lies.
    let card = commons.share("ada", &path);
    assert_eq!(commons.share("bob", &path), card);
    let reader = commons.node("reader");
    let running = reader.begin(&["--json", "model", "fetch", &card]);
    let begun = Instant::now();
    let (first, have) = loop {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "the transfer is seen"
        );
        let snapshot = reader.snapshot();
        let Some(transfer) = snapshot.transfers.first() else {
            continue;
        };
        let (have, total) = (transfer.have.get(), transfer.total.get());
        assert!(have < total, "the transfer is seen before it is over");
        if have > total / 20 {
            break (transfer.from[0], have);
        }
    };
    let first = commons.name_of(first);
    commons.node_mut(&first).kill9();
    let fetched = running.finish(LATER).json();
    let bytes = fetched["bytes"].as_u64().unwrap();
    let reader = commons.node("reader");
    let model = reader.json(&["model", "show", &card]);
    assert_eq!(
        model["have"], model["size"],
        "{have} bytes were there, {bytes} came"
    );
    let size = model["size"].as_u64().unwrap();
    assert!(
        bytes < size + size / 4,
        "what was there is not fetched again: {bytes} of {size}"
    );
    assert!(reader.json(&["model", "show", &card])["pinned"].is_boolean());
}
