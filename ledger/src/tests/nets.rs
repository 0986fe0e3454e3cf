//! Checkpoints of pairs, audits and amendments.

use hearth_protocol::charter::{Caps, PriceTable};
use hearth_protocol::entry::{AuditVerdict, Body, PairNet, Place};
use hearth_protocol::id::EntryHash;

use super::world::{ACK, World, at, balance, id, mk, spendable, standing, sum};
use crate::{Acceptance, Book, NoEffect, Standing, Wait};

fn place(world: &World, node: u8) -> Place {
    let tip = world.tip(node).unwrap();
    Place {
        seq: tip.seq,
        hash: tip.hash,
    }
}

/// Node 1 owes node 2 nothing that is open: 70 charged and accepted, 20 given back as a gift.
fn settled() -> (World, EntryHash, EntryHash) {
    let mut world = World::open(4);
    let order = world.order(1, 2, 100, 50, 10);
    let receipt = world.receipt(2, order, 70, 20);
    world.accept(1, receipt, 30);
    world.give(1, 2, 20, 40);
    (world, order, receipt)
}

/// Writes both halves over everything up to now; the sums are seen from node 1.
fn net(world: &mut World, given: u64, taken: u64, time: u64) -> (EntryHash, EntryHash) {
    let (own, theirs) = (place(world, 1), place(world, 2));
    let half = |peer, given, taken, own, theirs| {
        Body::PairNet(PairNet {
            peer: id(peer),
            given,
            taken,
            own,
            theirs,
        })
    };
    let one = world.write(1, &half(2, given, taken, own, theirs), time);
    let other = world.write(2, &half(1, taken, given, theirs, own), time);
    (one, other)
}

fn acceptance(book: &Book, order: EntryHash) -> Acceptance {
    book.order(&order).unwrap().receipt().unwrap().acceptance
}

#[test]
fn l44_a_checkpoint_waits_for_its_mirror_and_for_what_it_names() {
    let (mut world, ..) = settled();
    let (one, other) = net(&mut world, 20, 70, 60);
    let alone = world.book_without_last();
    let waits = Standing::Waiting(Wait::Mirror);
    assert_eq!(standing(&alone, one), waits);
    let book = world.book();
    assert_eq!(standing(&book, one), Standing::Effective);
    assert_eq!(standing(&book, other), Standing::Effective);
    let (mut world, ..) = settled();
    let own = place(&world, 1);
    let nowhere = Place {
        seq: own.seq,
        hash: EntryHash::from_bytes([9; 32]),
    };
    let lone = PairNet {
        peer: id(2),
        given: 1,
        taken: 2,
        own,
        theirs: nowhere,
    };
    let mirror = PairNet {
        peer: id(1),
        given: 2,
        taken: 1,
        own: nowhere,
        theirs: own,
    };
    let hash = world.write(1, &Body::PairNet(lone), 60);
    world.write(2, &Body::PairNet(mirror), 60);
    let waits = Standing::Waiting(Wait::Target);
    assert_eq!(standing(&world.book(), hash), waits);
    let oneself = PairNet {
        peer: id(1),
        ..lone
    };
    let hash = world.write(1, &Body::PairNet(oneself), 60);
    let without = Standing::Without(NoEffect::Oneself);
    assert_eq!(standing(&world.book(), hash), without);
}

#[test]
fn l44_halves_that_differ_in_one_thing_do_not_match() {
    let (world, ..) = settled();
    let (own, theirs) = (place(&world, 1), place(&world, 2));
    let elder = |node: u8| {
        let entries = world.entries.iter();
        let of = entries.filter(|entry| entry.header.trusted().author == id(node));
        let first = of.map(crate::author::Tip::from).next().unwrap();
        Place {
            seq: first.seq,
            hash: first.hash,
        }
    };
    let right = PairNet {
        peer: id(1),
        given: 70,
        taken: 20,
        own: theirs,
        theirs: own,
    };
    let wrong = [
        PairNet { given: 71, ..right },
        PairNet { taken: 21, ..right },
        PairNet {
            own: elder(2),
            ..right
        },
        PairNet {
            theirs: elder(1),
            ..right
        },
    ];
    let mine = PairNet {
        peer: id(2),
        given: 20,
        taken: 70,
        own,
        theirs,
    };
    for other in wrong {
        let mut world = world.clone();
        let hash = world.write(1, &Body::PairNet(mine), 60);
        world.write(2, &Body::PairNet(other), 60);
        let waits = Standing::Waiting(Wait::Mirror);
        assert_eq!(standing(&world.book(), hash), waits);
    }
    let mut world = world;
    let hash = world.write(1, &Body::PairNet(mine), 60);
    world.write(2, &Body::PairNet(right), 60);
    assert_eq!(standing(&world.book(), hash), Standing::Effective);
}

#[test]
fn l44_a_named_entry_that_comes_last_is_looked_at_again() {
    let (mut world, ..) = settled();
    let stray = world.sign(3, &Body::Leave, 70);
    let theirs = Place {
        hash: stray.hash(),
        ..place(&world, 2)
    };
    let own = place(&world, 1);
    let half = |peer, given, taken, own, theirs| {
        Body::PairNet(PairNet {
            peer: id(peer),
            given,
            taken,
            own,
            theirs,
        })
    };
    let hash = world.write(1, &half(2, 20, 70, own, theirs), 60);
    world.write(2, &half(1, 70, 20, theirs, own), 60);
    let waits = Standing::Waiting(Wait::Target);
    assert_eq!(standing(&world.book(), hash), waits);
    world.push(3, stray);
    let places = Standing::Without(NoEffect::Places);
    assert_eq!(standing(&world.book(), hash), places, "it is another's");
}

#[test]
fn l45_a_fork_below_a_closing_opens_the_account_again() {
    let (mut world, order, receipt) = settled();
    let (_, other) = net(&mut world, 20, 70, 60);
    world.dispute(1, receipt, 70);
    assert_eq!(acceptance(&world.book(), order), Acceptance::Accepted);
    let pen = world.tip(2);
    let start = world.entries.iter().map(crate::author::Tip::from);
    let join = start.clone().nth(2).unwrap();
    world.rewind(2, Some(join));
    world.write(2, &Body::Leave, 5);
    world.rewind(2, pen);
    let book = world.book();
    assert!(book.is_forked(&id(2)));
    let lost = Standing::Without(NoEffect::PastFork);
    assert_eq!(standing(&book, other), lost);
    assert!(book.order(&order).unwrap().receipt().is_none());
}

#[test]
fn l45_wrong_sums_open_orders_and_places_out_of_order_close_nothing() {
    let (world, ..) = settled();
    let why = |mut world: World, given, taken| {
        let (one, other) = net(&mut world, given, taken, 60);
        let book = world.book();
        assert_eq!(standing(&book, one), standing(&book, other));
        standing(&book, one)
    };
    assert_eq!(why(world.clone(), 20, 70), Standing::Effective);
    let sums = Standing::Without(NoEffect::Sums);
    assert_eq!(why(world.clone(), 20, 71), sums);
    assert_eq!(why(world.clone(), 0, 50), sums);
    let open = Standing::Without(NoEffect::Open);
    let mut held = world.clone();
    held.order(1, 2, 100, 500, 50);
    assert_eq!(why(held, 20, 70), open);
    let mut pending = world.clone();
    let order = pending.order(1, 2, 100, 500, 50);
    pending.receipt(2, order, 5, 55);
    assert_eq!(why(pending.clone(), 20, 75), open);
    // The clock of the entry named shows that silence became acceptance.
    pending.tick(1, 501 + ACK);
    let (one, _) = net(&mut pending, 20, 75, 502 + ACK);
    assert_eq!(standing(&pending.book(), one), Standing::Effective);
    let mut again = world;
    net(&mut again, 20, 70, 60);
    let first = again.book();
    let (one, _) = net(&mut again, 20, 70, 61);
    assert_eq!(standing(&again.book(), one), Standing::Effective);
    assert_eq!(sum(&first), sum(&again.book()));
}

#[test]
fn l45_a_checkpoint_may_not_lie_before_an_earlier_one_or_name_itself() {
    let (mut world, ..) = settled();
    let (own, theirs) = (place(&world, 1), place(&world, 2));
    net(&mut world, 20, 70, 60);
    let half = |peer: u8, given, taken, own, theirs| {
        Body::PairNet(PairNet {
            peer: id(peer),
            given,
            taken,
            own,
            theirs,
        })
    };
    let one = world.write(1, &half(2, 20, 70, own, theirs), 61);
    world.write(2, &half(1, 70, 20, theirs, own), 61);
    let places = Standing::Without(NoEffect::Places);
    assert_eq!(standing(&world.book(), one), places, "the same again");
    let swapped = Place {
        seq: theirs.seq,
        ..own
    };
    let one = world.write(1, &half(2, 20, 70, swapped, theirs), 62);
    world.write(2, &half(1, 70, 20, theirs, swapped), 62);
    assert_eq!(standing(&world.book(), one), places);
}

#[test]
fn l46_what_a_checkpoint_covers_can_no_longer_be_disputed() {
    let (mut world, order, receipt) = settled();
    net(&mut world, 20, 70, 60);
    let late = world.dispute(1, receipt, 70);
    let void = world.void(2, order, 71);
    let book = world.book();
    let closed = Standing::Without(NoEffect::Closed);
    assert_eq!(standing(&book, late), closed);
    assert_eq!(standing(&book, void), closed);
    assert_eq!(acceptance(&book, order), Acceptance::Accepted);
    assert_eq!((balance(&book, 2), spendable(&book, 2)), (90, 90));
    // Without the checkpoint the same word is a dispute.
    let (mut world, order, receipt) = settled();
    world.dispute(1, receipt, 70);
    assert!(matches!(
        acceptance(&world.book(), order),
        Acceptance::Disputed(_)
    ));
}

#[test]
fn l46_of_a_jobs_receipts_the_one_closed_over_comes_first() {
    let mut world = World::open(4);
    let order = world.order_job(1, 2, 7, 100, 500, 10);
    let receipt = world.receipt(2, order, 70, 30);
    world.accept(1, receipt, 31);
    net(&mut world, 0, 70, 60);
    // Another worker's receipt for the job, dated after and acked.
    let rival = world.order_job(1, 3, 7, 100, 500, 60);
    let earlier = world.receipt(3, rival, 70, 60);
    world.accept(1, earlier, 61);
    let book = world.book();
    assert_eq!(acceptance(&book, order), Acceptance::Accepted);
    assert!(matches!(acceptance(&book, rival), Acceptance::Disputed(_)));
}

#[test]
fn l46_a_closing_lifts_the_receipt_that_was_a_duplicate_until_then() {
    let mut world = World::open(4);
    let rival = world.order_job(1, 3, 7, 100, 500, 10);
    let earlier = world.receipt(3, rival, 70, 11);
    world.accept(1, earlier, 12);
    let order = world.order_job(1, 2, 7, 100, 500, 20);
    let receipt = world.receipt(2, order, 70, 30);
    world.accept(1, receipt, 31);
    let before = world.book();
    assert!(matches!(
        acceptance(&before, order),
        Acceptance::Disputed(_)
    ));
    net(&mut world, 0, 70, 60);
    let book = world.book();
    assert_eq!(acceptance(&book, order), Acceptance::Accepted);
    assert!(matches!(acceptance(&book, rival), Acceptance::Disputed(_)));
    assert_eq!(spendable(&book, 3), 0);
}

#[test]
fn l42_who_left_audits_no_more() {
    let (mut world, _, receipt) = settled();
    let audit = |steps| Body::Audit {
        receipt,
        steps,
        distance: 0,
        verdict: AuditVerdict::Passed,
    };
    world.write(3, &audit(1), 50);
    world.write(3, &Body::Leave, 51);
    let late = world.write(3, &audit(2), 52);
    let book = world.book();
    assert_eq!(standing(&book, late), Standing::Without(NoEffect::Left));
    let steps: Vec<u32> = book.audits_of(&receipt).iter().map(|a| a.steps).collect();
    assert_eq!(steps, [1]);
}

#[test]
fn l42_an_audit_is_evidence_by_a_third_party_and_moves_nothing() {
    let (mut world, order, receipt) = settled();
    let before = world.book();
    let audit = |receipt, verdict| Body::Audit {
        receipt,
        steps: 2,
        distance: 1_000,
        verdict,
    };
    let first = world.write(3, &audit(receipt, AuditVerdict::Failed), 50);
    let last = world.write(3, &audit(receipt, AuditVerdict::Passed), 51);
    let party = world.write(2, &audit(receipt, AuditVerdict::Passed), 51);
    let wrong = world.write(3, &audit(order, AuditVerdict::Passed), 52);
    let pending = world.write(3, &audit(job_hash(), AuditVerdict::Passed), 53);
    let book = world.book();
    let without = |reason| Standing::Without(reason);
    assert_eq!(standing(&book, first), without(NoEffect::Superseded));
    assert_eq!(standing(&book, last), Standing::Effective);
    assert_eq!(standing(&book, party), without(NoEffect::Party));
    assert_eq!(standing(&book, wrong), without(NoEffect::WrongTarget));
    assert_eq!(standing(&book, pending), Standing::Waiting(Wait::Target));
    let found = book.audits_of(&receipt);
    let of_third = found.iter().find(|found| found.auditor == id(3)).unwrap();
    assert_eq!(of_third.verdict, AuditVerdict::Passed);
    assert_eq!(balance(&book, 2), balance(&before, 2));
    assert_eq!(acceptance(&book, order), acceptance(&before, order));
}

fn job_hash() -> EntryHash {
    EntryHash::from_bytes([7; 32])
}

#[test]
fn l43_the_founders_latest_word_on_each_thing_counts_and_no_effect_depends_on_it() {
    let (mut world, order, _) = settled();
    let before = world.book();
    let cheap = PriceTable {
        evaluation: mk(1),
        ..PriceTable::DEFAULT
    };
    let caps = Caps {
        credible_net: mk(3),
        ..Caps::DEFAULT
    };
    let amend = |prices, caps, rules: Option<&str>| Body::Amend {
        prices,
        caps,
        rules: rules.map(ToOwned::to_owned),
    };
    let first = world.write(0, &amend(Some(cheap), None, Some("be kind")), 50);
    let second = world.write(0, &amend(None, Some(caps), Some("be kinder")), 51);
    let third = world.write(0, &amend(None, None, Some("be kindest")), 52);
    let foreign = world.write(1, &amend(None, None, Some("be mine")), 53);
    let book = world.book();
    assert_eq!(book.prices(), cheap);
    assert_eq!(book.caps(), caps);
    assert_eq!(book.rules_text(), "be kindest");
    assert_eq!(standing(&book, first), Standing::Effective);
    assert_eq!(standing(&book, second), Standing::Effective);
    assert_eq!(standing(&book, third), Standing::Effective);
    let without = Standing::Without(NoEffect::NotFounder);
    assert_eq!(standing(&book, foreign), without);
    let last = world.write(0, &amend(Some(PriceTable::DEFAULT), Some(caps), None), 54);
    let book = world.book();
    let superseded = Standing::Without(NoEffect::Superseded);
    assert_eq!(standing(&book, first), superseded);
    assert_eq!(standing(&book, second), superseded);
    assert_eq!(standing(&book, last), Standing::Effective);
    assert_eq!(book.order(&order), before.order(&order));
    assert_eq!(book.line(&id(1), &id(2)), before.line(&id(1), &id(2)));
    world.write(0, &Body::Leave, 60);
    let late = world.write(0, &amend(None, None, Some("be gone")), 61);
    let book = world.book();
    let left = Standing::Without(NoEffect::Left);
    assert_eq!(standing(&book, late), left);
    assert_eq!(book.rules_text(), "be kindest");
    assert_eq!(book.date(&late), Some(at(61)));
}
