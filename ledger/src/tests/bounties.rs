//! What notes about bounties come to, by the numbers of `specs/bounties.md`.

use hearth_protocol::bounty::{BountyAward, BountyClaim, BountyNote, BountyOpen, BountyPledge};
use hearth_protocol::entry::{Body, TransferReason};
use hearth_protocol::id::{BountyId, CommonsId, NodeId};
use hearth_protocol::limits;
use hearth_protocol::sign::Signed;
use hearth_protocol::unit::{Balance, Millis};
use proptest::prelude::*;

use super::world::{SKEW, World, at, balance, charter, id, key, mk};
use crate::bounty::{Bounties, BountyStage, paid};
use crate::{NoteClock, NoteRefusal, Taken};
use hearth_protocol::charter::Admission;

const END: u64 = 1_000;
/// The node whose word is never heard.
const STRANGER: u8 = 9;

fn clock(now: u64) -> NoteClock {
    NoteClock {
        now: at(now),
        skew: Millis::new(SKEW),
    }
}

fn commons() -> CommonsId {
    charter(Admission::Open).id()
}

fn member(node: &NodeId) -> bool {
    *node != id(STRANGER)
}

fn sign(by: u8, note: BountyNote) -> Signed<BountyNote> {
    Signed::sign(note, &key(by))
}

fn opening(by: u8, title: &str, created: u64, until: u64) -> BountyNote {
    BountyNote::Open(BountyOpen {
        commons: commons(),
        author: id(by),
        title: title.into(),
        text: String::new(),
        until: at(until),
        created: at(created),
    })
}

/// The bounty of node 0 that all tests are about.
fn kite() -> Signed<BountyNote> {
    sign(0, opening(0, "a kite", 10, END))
}

fn kite_id() -> BountyId {
    kite().trusted().bounty()
}

fn pledge(by: u8, amount: u64, created: u64) -> Signed<BountyNote> {
    let pledge = BountyPledge {
        bounty: kite_id(),
        author: id(by),
        amount: mk(amount),
        created: at(created),
    };
    sign(by, BountyNote::Pledge(pledge))
}

fn claim(by: u8, text: &str, created: u64) -> Signed<BountyNote> {
    let claim = BountyClaim {
        bounty: kite_id(),
        author: id(by),
        text: text.into(),
        blob: None,
        created: at(created),
    };
    sign(by, BountyNote::Claim(claim))
}

fn award(by: u8, claimant: u8, created: u64) -> Signed<BountyNote> {
    let award = BountyAward {
        bounty: kite_id(),
        author: id(by),
        claimant: id(claimant),
        created: at(created),
    };
    sign(by, BountyNote::Award(award))
}

fn board(notes: &[Signed<BountyNote>]) -> Bounties {
    let mut board = Bounties::new(commons());
    for note in notes {
        board.take(note.clone(), clock(END / 2), &member).unwrap();
        board.retry(clock(END / 2), &member);
    }
    board
}

#[test]
fn l90_a_bounty_is_named_by_its_opening_and_moves_nothing() {
    let world = World::open(3);
    let digest = world.book().digest();
    let board = board(&[
        kite(),
        pledge(1, 7, 20),
        claim(2, "done", 30),
        award(0, 2, 40),
    ]);
    let bounty = board.get(&kite_id()).unwrap();
    assert_eq!(bounty.open.title, "a kite");
    assert_eq!(bounty.id.as_bytes(), kite().trusted().id().as_bytes());
    assert_eq!(bounty.pledged(), Balance::from_mk(7));
    assert_eq!(world.book().digest(), digest);
    assert_eq!(balance(&world.book(), 2), 0);
}

#[test]
fn l91_each_refusal_has_its_reason() {
    let mut board = board(&[kite(), claim(2, "done", 20)]);
    let forged = Signed::from_parts(kite().trusted().clone(), *pledge(1, 1, 1).signature());
    let mut forged_title = forged;
    if let BountyNote::Open(open) = forged_title.trusted() {
        let title = BountyNote::Open(BountyOpen {
            title: "another".into(),
            ..open.clone()
        });
        forged_title = Signed::from_parts(title, *kite().signature());
    }
    let elsewhere = BountyNote::Open(BountyOpen {
        commons: CommonsId::from_bytes([7; 32]),
        author: id(1),
        title: "theirs".into(),
        text: String::new(),
        until: at(END),
        created: at(10),
    });
    let too_long = 10 + limits::BOUNTY_LIFE_MAX.get() + 1;
    let rows = [
        (forged_title, 1),
        (sign(1, elsewhere), 2),
        (sign(1, opening(1, "soon", END / 2 + SKEW + 1, 9_000)), 3),
        (sign(1, opening(1, "backwards", 10, 10)), 4),
        (sign(1, opening(1, "for ever", 10, too_long)), 4),
        (sign(1, opening(1, "  ", 10, END)), 5),
        (pledge(1, 0, 20), 5),
        (award(1, 2, 30), 7),
        (claim(0, "did it myself", 20), 8),
        (award(0, 0, 20), 8),
    ];
    for (note, code) in rows {
        let refusal = board.take(note.clone(), clock(END / 2), &member);
        let code_of = |refusal: &NoteRefusal| refusal.code();
        assert_eq!(refusal.as_ref().map_err(code_of), Err(code), "{note:?}");
    }
    for late in [pledge(1, 5, END + 1), claim(1, "late", END + 1)] {
        let refusal = board.take(late, clock(END + 10), &member);
        assert_eq!(refusal, Err(NoteRefusal::Over));
    }
    let judged = board.take(award(0, 2, END + 1), clock(END + 10), &member);
    assert!(
        matches!(judged, Ok(Taken::New(_))),
        "there is time to judge"
    );
}

#[test]
fn l91_what_is_kept_is_bounded_by_author_and_in_all() {
    let mut board = Bounties::new(commons());
    let open = |by: u8, n: usize| sign(by, opening(by, &n.to_string(), 10, END));
    for n in 0..limits::BOUNTY_NOTES_PER_AUTHOR_MAX {
        board.take(open(1, n), clock(20), &member).unwrap();
    }
    let one_more = board.take(open(1, 999), clock(20), &member);
    assert_eq!(one_more, Err(NoteRefusal::AuthorFull));
    let mut by = 10;
    while board.notes().count() < limits::BOUNTY_NOTES_MAX {
        by += 1;
        for n in 0..limits::BOUNTY_NOTES_PER_AUTHOR_MAX {
            board.take(open(by, n), clock(20), &member).unwrap();
        }
    }
    let full = board.take(open(2, 0), clock(20), &member);
    assert_eq!(full, Err(NoteRefusal::Full));
}

#[test]
fn l92_of_pledges_the_greatest_counts_of_claims_the_last_of_awards_the_first() {
    let board = board(&[
        kite(),
        pledge(1, 7, 20),
        pledge(1, 9, 15),
        pledge(1, 2, 40),
        claim(2, "first", 20),
        claim(2, "second", 30),
        award(0, 2, 60),
        award(0, 2, 50),
    ]);
    let bounty = board.get(&kite_id()).unwrap();
    assert_eq!(bounty.pledged(), Balance::from_mk(9));
    assert_eq!(bounty.claims[0].text, "second");
    assert_eq!(bounty.awards[0].created, at(50));
    assert_eq!(board.notes().count(), 4, "what was replaced is gone");
}

#[test]
fn l92_a_note_waits_for_its_bounty_and_for_its_authors_join() {
    let mut board = Bounties::new(commons());
    let nobody = |_: &NodeId| false;
    let early = board.take(pledge(1, 7, 20), clock(30), &member);
    assert_eq!(early, Ok(Taken::Early));
    assert_eq!(board.take(kite(), clock(30), &nobody), Ok(Taken::Early));
    assert!(board.retry(clock(30), &nobody).is_empty());
    let new = board.retry(clock(30), &member);
    assert_eq!(new, [kite(), pledge(1, 7, 20)], "openings first");
    assert_eq!(board.take(kite(), clock(30), &member), Ok(Taken::Known));
    assert!(board.retry(clock(30), &member).is_empty());
}

#[test]
fn l93_an_award_counts_beside_its_claim_alone() {
    let mut board = board(&[kite(), award(0, 2, 40)]);
    assert!(board.get(&kite_id()).unwrap().awards.is_empty());
    board
        .take(claim(2, "done", 30), clock(50), &member)
        .unwrap();
    assert!(board.get(&kite_id()).unwrap().is_awarded_to(&id(2)));
}

#[test]
fn l93_effective_transfers_that_name_a_bounty_pay_it() {
    let mut world = World::open(4);
    let board = board(&[
        kite(),
        pledge(0, 5, 20),
        pledge(1, 7, 20),
        // Who is awarded would pay this to itself.
        pledge(2, 9, 20),
        claim(2, "done", 30),
        award(0, 2, 40),
    ]);
    let pay = |world: &mut World, from: u8, amount| {
        let reason = TransferReason::Bounty { id: kite_id() };
        let (to, amount) = (id(2), mk(amount));
        world.write(from, &Body::Transfer { to, amount, reason }, 50)
    };
    let bounty = board.get(&kite_id()).unwrap();
    let stage = |world: &World| bounty.stage(&world.book().bounty_shares(), at(60));
    assert_eq!(stage(&world), BountyStage::Awarded);
    pay(&mut world, 0, 5);
    let half = pay(&mut world, 1, 4);
    world.give(1, 2, 100, 50);
    let shares = world.book().bounty_shares();
    assert!(shares.iter().any(|share| share.entry == half));
    assert_eq!(bounty.due(&id(0), &shares), mk(0));
    assert_eq!(bounty.due(&id(1), &shares), mk(3), "a gift pays no pledge");
    assert_eq!(paid(&shares, &kite_id(), &id(1)), Balance::from_mk(4));
    assert_eq!(stage(&world), BountyStage::Awarded);
    pay(&mut world, 1, 10);
    assert_eq!(stage(&world), BountyStage::Paid);
    assert_eq!(bounty.due(&id(1), &world.book().bounty_shares()), mk(0));
    assert_eq!(balance(&world.book(), 2), 119);
}

#[test]
fn l93_without_an_award_a_bounty_is_over_at_its_end() {
    let board = board(&[kite(), pledge(1, 7, 20)]);
    let bounty = board.get(&kite_id()).unwrap();
    assert_eq!(bounty.stage(&[], at(END)), BountyStage::Open);
    assert_eq!(bounty.stage(&[], at(END + 1)), BountyStage::Over);
}

#[test]
fn l95_a_bounty_is_forgotten_some_time_after_its_end() {
    let mut board = board(&[kite(), pledge(1, 7, 20)]);
    let kept = END + limits::BOUNTY_KEPT.get();
    assert!(board.forget(at(kept)).is_empty());
    let notes: Vec<_> = board.notes().cloned().collect();
    let again = Bounties::restore(commons(), notes.clone(), at(kept));
    assert_eq!(again.notes().count(), 2);
    assert_eq!(board.forget(at(kept + 1)).len(), 2);
    assert_eq!(board.notes().count(), 0);
    let late = Bounties::restore(commons(), notes.clone(), at(kept + 1));
    assert_eq!(late.notes().count(), 0);
    let elsewhere = Bounties::restore(CommonsId::from_bytes([7; 32]), notes, at(20));
    assert_eq!(elsewhere.notes().count(), 0);
    let back = board.take(kite(), clock(kept + 1), &member);
    assert_eq!(back, Err(NoteRefusal::Over), "it does not come back");
}

proptest! {
    // L92
    #[test]
    fn l92_the_same_notes_give_the_same_board_in_any_order(
        notes in Just(vec![
            kite(),
            pledge(1, 7, 20),
            pledge(1, 9, 15),
            pledge(0, 3, 15),
            pledge(STRANGER, 3, 15),
            claim(2, "first", 20),
            claim(2, "second", 30),
            claim(2, "third", 30),
            claim(3, "me too", 25),
            award(0, 2, 60),
            award(0, 2, 50),
            award(1, 3, 50),
            award(0, 3, 50),
        ]).prop_shuffle(),
        again in 0_usize..13,
    ) {
        let fill = |notes: &[Signed<BountyNote>]| {
            let mut board = Bounties::new(commons());
            for note in notes {
                let _refused = board.take(note.clone(), clock(100), &member);
                board.retry(clock(100), &member);
            }
            board.notes().cloned().collect::<Vec<_>>()
        };
        let mut sorted = notes.clone();
        sorted.sort_by_key(|note| note.trusted().id());
        sorted.push(notes[again].clone());
        prop_assert_eq!(fill(&notes), fill(&sorted));
    }
}
