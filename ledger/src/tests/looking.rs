//! Adding up and checking again: pairs, moves, what an audit cannot decide, books from nothing.

use hearth_protocol::charter::Admission;
use hearth_protocol::sign::Signed;
use hearth_protocol::unit::{Balance, Seq};

use super::books::busy;
use super::world::{World, at, id, invite, key, use_invite};
use crate::book::STRANGER_ENTRIES_MAX;
use crate::{
    Cause, Fault, Fragment, LineState, Rebuild, Rejection, Sums, Unchecked, audit, moves, pairs,
    review, why,
};

fn rebuild(world: &World) -> Rebuild {
    Rebuild::new(&Signed::sign(world.charter.clone(), &key(0))).unwrap()
}

#[test]
fn l74_both_sides_of_every_pair_say_what_moved_between_them() {
    let book = busy().book();
    let report = audit(&book);
    assert!(report.is_clean(), "{:?}", report.findings);
    assert_eq!(
        report.pairs, 6,
        "three work for one another, a fourth is given to"
    );
    let mut sums = std::collections::BTreeMap::new();
    for one in moves(&book) {
        *sums.entry((one.to, one.from)).or_insert(0) += i128::from(one.amount.get());
        *sums.entry((one.from, one.to)).or_insert(0) -= i128::from(one.amount.get());
    }
    for node in 0..4 {
        for (other, pair) in pairs(&why(&book, &id(node))) {
            assert_eq!(pair.balance().mk(), sums[&(id(node), other)]);
        }
    }
}

#[test]
fn l74_every_move_is_there_once_with_its_cause_and_firmness() {
    let book = busy().book();
    let all = moves(&book);
    assert!(all.is_sorted_by_key(|one| (one.date, one.entry)));
    let work = all
        .iter()
        .filter(|one| matches!(one.cause, Cause::Work { .. }));
    assert_eq!((all.len(), work.count()), (12, 6));
    let disputed = all
        .iter()
        .filter(|one| matches!(one.state, LineState::Disputed(_)));
    assert_eq!(disputed.count(), 1);
}

#[test]
fn l76_pairs_sum_to_the_account_and_the_account_to_the_balance() {
    let book = busy().book();
    for node in 0..4 {
        let lines = why(&book, &id(node));
        let (whole, pairs) = (Sums::of(&lines), pairs(&lines));
        let of = |part: fn(&Sums) -> Balance| pairs.values().map(part).sum::<Balance>();
        assert_eq!(whole.balance(), book.balance(&id(node)));
        assert_eq!(whole.pending, book.pending(&id(node)));
        assert_eq!(of(Sums::balance), whole.balance());
        assert_eq!(of(|sums| sums.earned), whole.earned);
        assert_eq!(of(|sums| sums.given), whole.given);
        assert_eq!(of(|sums| sums.pending), whole.pending);
        assert!(whole.disputed <= whole.pending);
    }
}

#[test]
fn l75_an_audit_names_what_it_cannot_decide() {
    let mut world = World::open(3);
    let order = world.order(0, 1, 100, 50, 10);
    world.receipt(1, order, 60, 20);
    world.write_unknown(2, 30);
    world.tick(2, 31);
    let others = world.entries.iter().filter(|entry| entry.hash() != order);
    let others: Vec<_> = others.cloned().collect();
    let mut book = super::world::fill(&world.charter, &others);
    let early = world.sign(1, &super::world::gift(0, 1), 500);
    book.insert(early, at(100));
    let report = audit(&book);
    assert!(
        report.is_clean(),
        "not decided is not wrong: {:?}",
        report.findings
    );
    let frozen = Unchecked::Frozen {
        author: id(2),
        from: Seq::new(1),
        entries: 2,
    };
    assert_eq!(
        report.unchecked,
        [
            frozen,
            Unchecked::Waiting { entries: 1 },
            Unchecked::Deferred { entries: 1 }
        ]
    );
}

#[test]
fn l71_a_book_rebuilt_from_entries_is_the_same_in_any_order_of_chains() {
    let mut world = World::empty(Admission::InvitedByMembers);
    world.join(0, None, 0);
    let (mine, theirs) = (invite(&world, 0, 1, 1_000), invite(&world, 1, 1, 1_000));
    world.join(1, Some(use_invite(&mine, 1)), 1);
    world.join(2, Some(use_invite(&theirs, 2)), 2);
    world.give(2, 1, 7, 10);
    let book = world.book();
    for reverse in [false, true] {
        let mut entries = world.entries.clone();
        entries.sort_by_key(|entry| entry.header.trusted().author);
        if reverse {
            entries.reverse();
        }
        entries.sort_by_key(|entry| entry.header.trusted().seq > Seq::FIRST);
        let mut fresh = rebuild(&world);
        for entry in entries {
            fresh.insert(entry).unwrap();
        }
        let fresh = fresh.finish();
        assert_eq!(fresh.digest(), book.digest());
        assert!(review(&fresh).is_clean());
    }
}

#[test]
fn l40_an_audit_has_room_for_all_that_the_book_has() {
    let mut world = World::empty(Admission::InvitedByFounder);
    // Whose chain is read before the founder's, when nobody is known to be a member yet.
    let early = (1..20).find(|node| id(*node) > id(0)).unwrap();
    world.join(0, None, 0);
    let leave = invite(&world, 0, 1, 1_000);
    world.join(early, Some(use_invite(&leave, early)), 1);
    for time in 0..u64::try_from(STRANGER_ENTRIES_MAX).unwrap() {
        world.tick(early, 10 + time);
    }
    let report = audit(&world.book_unchecked());
    assert!(report.is_clean(), "{:?}", report.findings.first());
}

#[test]
fn l71_a_rebuilt_book_names_what_does_not_fit() {
    let world = busy();
    let mut fresh = rebuild(&world);
    let first = world.entries[0].clone();
    fresh.insert(first.clone()).unwrap();
    assert_eq!(fresh.insert(first), Err(Fault::Twice));
    let of = |node: u8| {
        let chain = world
            .entries
            .iter()
            .filter(move |e| e.header.trusted().author == id(node));
        chain.cloned().collect::<Vec<_>>()
    };
    assert_eq!(fresh.insert(of(0)[2].clone()), Err(Fault::Loose));
    let mut forged = of(0)[1].clone();
    forged.body.push(0);
    assert_eq!(
        fresh.insert(forged),
        Err(Fault::Invalid(Rejection::BodyHash))
    );
    assert_eq!(fresh.book().len(), 1, "the rest was left out");
}

#[test]
fn l72_a_fragment_checks_entries_by_themselves_and_links_where_there_are_any() {
    let world = busy();
    let chain: Vec<_> = world
        .entries
        .iter()
        .filter(|entry| entry.header.trusted().author == id(1))
        .collect();
    let charter = Signed::sign(world.charter.clone(), &key(0));
    let mut fragment = Fragment::new(&charter).unwrap();
    fragment.insert(chain[2]).unwrap();
    fragment.insert(chain[3]).unwrap();
    assert_eq!(fragment.insert(chain[3]), Err(Fault::Twice));
    assert_eq!(fragment.insert(chain[5]), Err(Fault::Loose), "a hole");
    let headless = Unchecked::Headless {
        author: id(1),
        from: Seq::new(2),
    };
    assert_eq!(fragment.unchecked(), [headless]);
    assert_eq!(fragment.chains(), 1);
}
