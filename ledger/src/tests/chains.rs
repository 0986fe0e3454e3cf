//! The first layer: what may be part of a chain.

use hearth_protocol::charter::Admission;
use hearth_protocol::entry::{Body, Entry, NO_PREV};
use hearth_protocol::id::{CommonsId, NodeId};
use hearth_protocol::sign::{Signature, SignatureError, Signed};
use hearth_protocol::unit::Seq;

use super::world::{LATE, SKEW, World, added, at, canonical, gift, id, standing};
use crate::book::{DEFERRED_MAX, STRANGER_ENTRIES_MAX};
use crate::{Insertion, NoEffect, Rejection, Standing};

fn check(world: &World, entry: Entry, rejection: Rejection) {
    let mut book = world.book();
    let before = book.digest();
    assert_eq!(book.insert(entry, LATE), Insertion::Invalid(rejection));
    assert_eq!(book.digest(), before, "a refused entry changes nothing");
}

#[test]
fn l1_an_entry_is_named_by_its_header_and_the_header_names_the_body() {
    let world = World::open(2);
    let mut entry = world.sign(0, &gift(1, 5), 10);
    assert_eq!(entry.hash(), entry.header.trusted().hash());
    entry.body = canonical(&gift(1, 6));
    check(&world, entry, Rejection::BodyHash);
}

#[test]
fn l2_what_is_no_part_of_a_chain_is_refused_by_name() {
    let world = World::open(2);
    let gift_body = canonical(&gift(1, 5));
    let join = canonical(&Body::Join { invite: None });
    let other = CommonsId::from_bytes([9; 32]);
    let forge = |body: &[u8], change: &dyn Fn(&mut hearth_protocol::entry::Header)| {
        world.forge(0, 10, body, change)
    };
    check(
        &world,
        forge(&gift_body, &|h| h.commons = other),
        Rejection::OtherCommons,
    );
    let got = 4_000;
    check(
        &world,
        forge(&vec![0; got], &|_| {}),
        Rejection::BodyTooLong { got },
    );
    check(
        &world,
        forge(b"nonsense", &|_| {}),
        Rejection::BodyMalformed,
    );
    check(&world, forge(&join, &|_| {}), Rejection::JoinMisplaced);
    check(
        &world,
        forge(&gift_body, &|h| h.prev = NO_PREV),
        Rejection::Seq,
    );
    check(
        &world,
        forge(&join, &|h| h.seq = Seq::FIRST),
        Rejection::Seq,
    );
    let first = |h: &mut hearth_protocol::entry::Header| {
        (h.seq, h.prev) = (Seq::FIRST, NO_PREV);
    };
    check(&world, forge(&gift_body, &first), Rejection::NotJoin);
    let others = world.tip(1).unwrap().hash;
    check(
        &world,
        forge(&gift_body, &|h| h.prev = others),
        Rejection::Prev,
    );
    check(
        &world,
        forge(&gift_body, &|h| h.seq = Seq::new(2)),
        Rejection::Prev,
    );
}

#[test]
fn l2_a_wrong_or_weak_signature_is_refused() {
    let world = World::open(2);
    let entry = world.sign(0, &gift(1, 5), 10);
    let header = *entry.header.trusted();
    let bent = |author: NodeId| {
        let header = hearth_protocol::entry::Header { author, ..header };
        Entry {
            header: Signed::from_parts(header, Signature::from_bytes([0; 64])),
            body: entry.body.clone(),
        }
    };
    let refused = |error| Rejection::Signature(error);
    check(&world, bent(id(0)), refused(SignatureError::Mismatch));
    let mut weak = [0; 32];
    weak[0] = 1;
    check(
        &world,
        bent(NodeId::from_bytes(weak)),
        refused(SignatureError::WeakKey),
    );
    let bad = (0..=255)
        .map(|byte| NodeId::from_bytes([byte; 32]))
        .find(|node| {
            let probe = bent(*node).header.verify().map(|_| ());
            probe == Err(SignatureError::BadKey)
        });
    check(&world, bent(bad.unwrap()), refused(SignatureError::BadKey));
}

#[test]
fn l2_codes_are_distinct_and_stable() {
    let signature = Rejection::Signature;
    let all = [
        Rejection::OtherCommons,
        signature(SignatureError::BadKey),
        signature(SignatureError::WeakKey),
        signature(SignatureError::Mismatch),
        Rejection::BodyTooLong { got: 0 },
        Rejection::BodyHash,
        Rejection::BodyMalformed,
        Rejection::NotJoin,
        Rejection::JoinMisplaced,
        Rejection::Seq,
        Rejection::Prev,
        Rejection::DateBack,
        Rejection::BranchesFull,
        Rejection::StrangersFull,
        Rejection::DeferredFull,
    ];
    let codes: Vec<u16> = all.iter().map(Rejection::code).collect();
    assert_eq!(codes, (1..=15).collect::<Vec<u16>>());
    let temporary: Vec<u16> = all
        .iter()
        .filter(|rejection| rejection.is_temporary())
        .map(Rejection::code)
        .collect();
    assert_eq!(temporary, [13, 14, 15]);
}

#[test]
fn l3_a_date_before_the_predecessor_is_refused_and_an_author_never_writes_one() {
    let mut world = World::open(2);
    world.tick(0, 100);
    let back = world.forge(0, 99, &canonical(&gift(1, 5)), |_| {});
    check(&world, back, Rejection::DateBack);
    let clamped = world.sign(0, &gift(1, 5), 50);
    assert_eq!(clamped.header.trusted().time, at(100));
}

#[test]
fn l4_a_missing_predecessor_is_a_gap_and_says_what_to_ask_for() {
    let mut world = World::open(2);
    for time in 1..=9 {
        world.tick(0, time);
    }
    let mut book = World::open(2).book();
    let gap = |have| Insertion::Gap {
        author: id(0),
        have,
    };
    let last = world.entries.last().unwrap().clone();
    assert_eq!(book.insert(last.clone(), LATE), gap(Some(Seq::FIRST)));
    assert!(!book.contains(&last.hash()));
    for entry in world.entries.clone() {
        book.insert(entry, LATE);
    }
    assert!(book.contains(&last.hash()));
    let nothing = crate::Book::new(world.charter.clone()).insert(last, LATE);
    assert_eq!(nothing, gap(None));
}

#[test]
fn l5_an_unknown_version_is_stored_passed_on_and_stops_the_chain_effect() {
    let mut world = World::open(3);
    world.give(0, 1, 5, 10);
    let unknown = world.write_unknown(0, 20);
    let after = world.give(0, 1, 7, 30);
    let order = world.order(1, 0, 10, 100, 5);
    let frozen_receipt = world.receipt(0, order, 10, 30);
    let book = world.book();
    assert_eq!(super::world::balance(&book, 1), 5);
    for hash in [unknown, after, frozen_receipt] {
        assert_eq!(standing(&book, hash), Standing::Without(NoEffect::Frozen));
    }
    let passed_on = book.suffix(&id(0), Seq::FIRST, 100);
    assert_eq!(passed_on.len(), 5);
    assert_eq!(book.head(&id(0)).unwrap().hash, frozen_receipt);
}

#[test]
fn l6_an_entry_from_the_future_waits_until_its_time_has_come() {
    let mut world = World::open(2);
    let now = 1_000;
    world.give(0, 1, 5, now + SKEW + 1);
    world.give(0, 1, 6, now + SKEW + 2);
    let mut book = World::open(2).book();
    for entry in world.entries.iter().rev().take(2) {
        assert_eq!(book.insert(entry.clone(), at(now)), Insertion::Deferred);
        assert_eq!(book.insert(entry.clone(), at(now)), Insertion::Deferred);
    }
    assert!(book.admit(at(now)).is_empty());
    let admitted = book.admit(at(now + 2));
    assert_eq!(admitted.len(), 2);
    assert!(
        admitted.iter().all(|(_, outcome)| added(outcome)),
        "{admitted:?}"
    );
    assert_eq!(book.digest(), world.book().digest());
    let on_time = World::open(2).sign(0, &gift(1, 1), now + SKEW);
    assert!(added(&World::open(2).book().insert(on_time, at(now))));
}

#[test]
fn l7_room_for_the_future_and_for_strangers_is_bounded() {
    let mut world = World::empty(Admission::InvitedByFounder);
    world.join(0, None, 0);
    let mut book = world.book();
    let full = u64::try_from(DEFERRED_MAX).unwrap();
    for time in 0..full {
        let early = world.sign(0, &gift(1, 1), 1_000 + time);
        assert_eq!(book.insert(early, at(0)), Insertion::Deferred);
    }
    let one_more = world.sign(0, &gift(1, 1), 999);
    let refused = Insertion::Invalid(Rejection::DeferredFull);
    assert_eq!(book.insert(one_more, at(0)), refused);

    world.join(1, None, 0);
    for time in 0..u64::try_from(STRANGER_ENTRIES_MAX).unwrap() {
        let entry = world.sign(1, &gift(0, 1), time);
        world.push(1, entry);
    }
    let mut book = world.book_unchecked();
    world.join(2, None, 0);
    let stranger = world.entries.last().unwrap().clone();
    let refused = Insertion::Invalid(Rejection::StrangersFull);
    assert_eq!(book.insert(stranger, LATE), refused);
    let invite = super::world::invite(&world, 0, 1, 100);
    world.join(3, Some(super::world::use_invite(&invite, 3)), 5);
    let invited = world.entries.last().unwrap().clone();
    assert!(added(&book.insert(invited, LATE)), "a member finds room");
}
