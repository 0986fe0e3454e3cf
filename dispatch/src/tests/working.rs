//! The worker's half: order of the queue, charges and thanks.

use hearth_protocol::capacity::Speed;
use hearth_protocol::charter::PriceTable;
use hearth_protocol::id::JobId;
use hearth_protocol::job::{Family, QuoteRequest};
use hearth_protocol::unit::{ByteCount, Millikudos};

use super::world::{CHECKPOINT, LORA, World, node};
use crate::price::{self, Warmth};
use crate::*;

#[test]
fn j5_the_price_is_the_tables() {
    let demand = |width, evaluations, cards: usize| QuoteRequest {
        job: JobId::from_bytes([0; 32]),
        family: Family::Sd15,
        width,
        height: 512,
        evaluations,
        cards: vec![CHECKPOINT; cards],
    };
    let prices = PriceTable::DEFAULT;
    for (width, evaluations, cards, percent, warmth, mk) in [
        (512, 50, 1, 100, Warmth::Warm, 10_000),
        (512, 50, 1, 100, Warmth::Cold, 10_500),
        (512, 50, 3, 100, Warmth::Warm, 10_200),
        (1024, 50, 1, 100, Warmth::Warm, 20_000),
        (512, 50, 1, 33, Warmth::Warm, 3_300),
        (520, 1, 1, 50, Warmth::Warm, 102),
    ] {
        let got = price::work(&prices, &demand(width, evaluations, cards), percent, warmth);
        assert_eq!(got, Millikudos::saturating(mk), "{width} x {evaluations}");
    }
    assert_eq!(price::speed(&[], Family::Sd15), 200);
    let speed = Speed {
        family: Family::Sd15,
        mk_per_s: 0,
    };
    assert_eq!(price::speed(&[speed], Family::Sd15), 1);
}

/// A worker at work on a long job, and a poor requester (3) that owes most of its line. Its job
/// waits when, after `gap_ms`, one of the rich requester (0) comes. Returns both and the runs.
fn queue_of_rich_and_poor(gap_ms: u64) -> (JobId, JobId, Vec<JobId>) {
    let mut world = World::new(&[0, 0, 1_000, 0]);
    let rich = Millikudos::saturating(10_000_000);
    let poor = Millikudos::saturating(14_000);
    world.ledger.rooms = [(node(0), rich), (node(3), poor)].into();
    for _ in 0..2 {
        world.submit(3);
        world.run(8_000);
    }
    world.node(2).engine_ms = 70_000;
    world.submit(0);
    world.run(1_000);
    world.node(2).engine_ms = 1_000;
    world.advertise();
    let of_poor = world.submit(3);
    world.run(gap_ms);
    world.advertise();
    let of_rich = world.submit(0);
    world.run(120_000);
    (of_poor, of_rich, world.node(2).runs.split_off(3))
}

#[test]
fn j6_standing_decides_the_queue() {
    let (of_poor, of_rich, runs) = queue_of_rich_and_poor(1_000);
    assert_eq!(runs, vec![of_rich, of_poor]);
}

#[test]
fn j6_ageing_overtakes_standing() {
    let (of_poor, of_rich, runs) = queue_of_rich_and_poor(65_000);
    assert_eq!(runs, vec![of_poor, of_rich]);
}

#[test]
fn j6_own_jobs_come_first() {
    let mut world = World::new(&[0, 1_000]);
    world.submit(0);
    world.submit(0);
    world.run(1_000);
    let own = world.submission();
    let own = Submission {
        place: Place::Local,
        ..own
    };
    let own = world.submit_this(1, own);
    world.run(30_000);
    assert_eq!(world.node(1).runs[1], own);
    assert_eq!(world.runs(), 3);
}

#[test]
fn j11_seeders_are_thanked_out_of_the_fetch_part_alone() {
    let mut world = World::new(&[0, 4_000, 0]);
    let missing = ByteCount::new(4 << 20);
    world.node(1).shelf.get_mut(&CHECKPOINT).unwrap().missing = missing;
    world.run(10);
    world.meet();
    let job = world.submit(0);
    world.run(20_000);
    assert!(matches!(world.state(0, job), JobState::Finished(_)));
    let fetch = PriceTable::DEFAULT.fetch(missing);
    let (.., amount) = world.ledger.receipts[0];
    assert_eq!(amount.get(), 4_500 + fetch.get());
    let thanks: u64 = world.ledger.thanks.iter().map(|(.., mk)| mk.get()).sum();
    assert_eq!(thanks, fetch.get());
}

#[test]
fn j4_a_requester_never_runs_up_more_than_its_room() {
    let mut world = World::new(&[0, 4_000]);
    world.ledger.room = Some(Millikudos::saturating(10_000));
    for _ in 0..8 {
        world.submit(0);
    }
    world.live(60_000);
    let owed: u64 = world.ledger.receipts.iter().map(|(.., mk)| mk.get()).sum();
    assert!(owed <= 10_000, "{owed}");
    assert_eq!(world.ledger.receipts.len(), 2);
}

#[test]
fn j5_a_lora_is_charged_and_fetched_like_the_checkpoint() {
    let mut world = World::new(&[0, 4_000]);
    let mut submission = world.submission();
    let one = hearth_protocol::job::Micro::ONE;
    submission.spec.loras = vec![hearth_protocol::job::LoraUse {
        card: LORA,
        unet: one,
        text: one,
    }];
    submission.job = submission.spec.job_id(&submission.salt);
    let job = world.submit_this(0, submission);
    world.run(10_000);
    let JobState::Finished(finish) = world.state(0, job) else {
        panic!("it is done");
    };
    assert_eq!(finish.amount, Millikudos::saturating(4_600));
}

/// A requester (0) and a seeder (2) of one person, and an honest worker (1) that has to fetch the
/// model for every job, because somebody sees to it that it is gone again.
fn pump(rounds: u64) -> (World, u64, u64) {
    let mut world = World::new(&[0, 4_000, 0]);
    world.ledger.room = Some(Millikudos::saturating(20_000));
    for _ in 0..rounds {
        let card = world.node(1).shelf.get_mut(&CHECKPOINT).unwrap();
        card.missing = ByteCount::new(400 << 20);
        world.run(10);
        world.meet();
        world.submit(0);
        world.run(30_000);
    }
    let charged = world.ledger.receipts.iter().map(|(.., mk)| mk.get()).sum();
    let thanked = world.ledger.thanks.iter().map(|(.., mk)| mk.get()).sum();
    (world, charged, thanked)
}

#[test]
fn l69_who_orders_fetches_from_its_own_seeder_pays_more_than_it_is_thanked() {
    let (world, charged, thanked) = pump(6);
    assert!(thanked > 0, "seeders are thanked");
    assert!(
        thanked < charged,
        "{thanked} of {charged}: nothing is gained"
    );
    assert!(
        charged <= 20_000,
        "and the worker lends no more than it would anyway"
    );
    for (order, _, charge) in &world.ledger.receipts {
        let max = world.ledger.orders[order].max;
        assert!(*charge <= max, "what is fetched is within the order's max");
    }
}

#[test]
fn j11_a_seeder_is_thanked_no_more_than_its_ceiling_in_a_day() {
    let mut world = World::new(&[0, 4_000, 0]);
    let ceiling = hearth_protocol::charter::Caps::DEFAULT.seeding_day.get();
    for _ in 0..4 {
        let card = world.node(1).shelf.get_mut(&CHECKPOINT).unwrap();
        card.missing = ByteCount::new(4_000 << 20);
        world.run(10);
        world.meet();
        world.submit(0);
        world.run(900_000);
        world.advertise();
    }
    let charged: u64 = world.ledger.receipts.iter().map(|(.., mk)| mk.get()).sum();
    let thanked: u64 = world.ledger.thanks.iter().map(|(.., mk)| mk.get()).sum();
    assert!(charged > ceiling, "{charged}: there was more to thank for");
    assert_eq!(thanked, ceiling);
}
