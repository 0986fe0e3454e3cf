//! Reading a book: heads, exchange, credit, explanation, audit.

use hearth_protocol::credit::{Bar, Taking};
use hearth_protocol::unit::Seq;

use super::world::{ACK, LATE, World, at, balance, id, mk};
use crate::book::Book;
use crate::{CreditPolicy, Friends, LineKind, LineState, Question, audit, why};

/// A few jobs in every state, between three members.
pub(super) fn busy() -> World {
    let mut world = World::open(4);
    for round in 0..6_u64 {
        let time = 10 + round * 100;
        let (from, to) = (
            u8::try_from(round % 3).unwrap(),
            u8::try_from((round + 1) % 3).unwrap(),
        );
        let order = world.order(from, to, 100, time + 50, time);
        world.order(from, to, 30, time + 50, time);
        let receipt = world.receipt(to, order, 60 + round, time + 10);
        match round {
            0 | 1 => drop(world.accept(from, receipt, time + 20)),
            2 => drop(world.dispute(from, receipt, time + 20)),
            _ => {}
        }
        world.give(to, 3, 1 + round, time + 30);
    }
    world.tick(0, 400 + ACK);
    world
}

#[test]
fn l29_exposure_counts_charges_and_holds_less_accepted_work_and_own_transfers() {
    let mut world = World::open(2);
    let (me, requester) = (id(0), id(1));
    let exposed = |world: &World| world.book().exposure(&me, &requester).mk();
    let mine = world.order(1, 0, 100, 50, 10);
    assert_eq!(exposed(&world), 100, "an open hold");
    let receipt = world.receipt(0, mine, 60, 20);
    assert_eq!(exposed(&world), 60, "a charge, un-acked");
    world.dispute(1, receipt, 21);
    assert_eq!(exposed(&world), 60, "a charge, disputed");
    let theirs = world.order(0, 1, 100, 60, 22);
    let work = world.receipt(1, theirs, 25, 30);
    assert_eq!(exposed(&world), 60, "work not accepted yet");
    world.accept(0, work, 31);
    assert_eq!(exposed(&world), 35, "accepted work settles");
    world.give(0, 1, 5, 32);
    assert_eq!(exposed(&world), 30, "an own transfer forgives");
    world.give(1, 0, 1_000, 33);
    assert_eq!(
        exposed(&world),
        30,
        "a debtor's transfer is more of the same debt"
    );
}

#[test]
fn l29_room_is_the_line_less_what_is_exposed_and_taken_on() {
    let mut world = World::open(2);
    world.order(1, 0, 100, 50, 10);
    world.trust(0, 1, 150, 10);
    let book = world.book();
    let friends = |requester: u8, held: u64, running: u64, ask: u64| {
        let taking = Taking {
            held: mk(held),
            running: mk(running),
        };
        let question = Question {
            book: &book,
            me: id(0),
            now: at(60),
            taken: &[(id(requester), taking)].into(),
        };
        Friends.decide(&question, &id(requester), mk(ask))
    };
    let said = friends(1, 20, 100, 30);
    assert_eq!((said.line, said.exposed().mk()), (mk(150), 120));
    assert_eq!((said.granted, said.room, said.short), (true, mk(30), mk(0)));
    let said = friends(1, 20, 100, 31);
    assert_eq!(
        (said.granted, said.room, said.short),
        (false, mk(30), mk(1))
    );
    let said = friends(1, 0, 0, 1);
    assert_eq!(
        said.room,
        mk(150),
        "a hold that was not taken costs nothing"
    );
    let said = friends(9, 0, 0, 1);
    assert_eq!((said.bar, said.room), (Some(Bar::NotMember), mk(0)));
    assert!(!said.granted);
}

#[test]
fn l30_the_digest_tells_books_apart_by_heads_and_state() {
    let world = busy();
    let book = world.book();
    assert_eq!(book.digest(), world.book().digest());
    let (_, fewer) = world.entries.split_last().unwrap();
    let fewer = super::world::fill(&world.charter, fewer);
    assert_ne!(fewer.digest(), book.digest());
}

#[test]
fn l31_two_books_that_exchange_heads_and_suffixes_become_one() {
    let world = busy();
    let mut left = Book::new(world.charter.clone());
    let mut right = left.clone();
    for (index, entry) in world.entries.iter().enumerate() {
        // Chains of even authors are further on the left, the others on the right.
        let is_left = entry.header.trusted().author < id(1);
        let is_old = index < world.entries.len() / 2;
        if is_left || is_old {
            left.insert(entry.clone(), LATE);
        }
        if !is_left || is_old {
            right.insert(entry.clone(), LATE);
        }
    }
    assert_ne!(left.digest(), right.digest());
    let wanted = left.missing(&right.heads());
    assert_eq!(
        wanted,
        right.offers(&left.heads()),
        "both sides see the same"
    );
    for want in wanted {
        for entry in right.suffix(&want.author, want.from, 128) {
            left.insert(entry, LATE);
        }
    }
    for offer in left.offers(&right.heads()) {
        for entry in left.suffix(&offer.author, offer.from, 128) {
            right.insert(entry, LATE);
        }
    }
    assert_eq!(left.digest(), right.digest());
    assert_eq!(left.digest(), world.book().digest());
    assert!(left.missing(&right.heads()).is_empty());
    assert_eq!(
        left.suffix(&id(0), Seq::FIRST, 2).len(),
        2,
        "a page is a page"
    );
}

#[test]
fn l40_an_audit_checks_everything_again_and_finds_nothing_in_a_sound_book() {
    let world = busy();
    let book = world.book();
    let report = audit(&book);
    assert!(report.is_clean(), "{:?}", report.findings);
    assert_eq!((report.entries, report.chains), (world.entries.len(), 4));
    assert_eq!(report.digest, book.digest());
}

#[test]
fn l40_an_audit_finds_an_entry_whose_signature_was_never_right() {
    let mut world = World::open(2);
    let mut entry = world.sign(0, &super::world::gift(1, 1_000), 10);
    let header = *entry.header.trusted();
    let nothing = hearth_protocol::sign::Signature::from_bytes([0; 64]);
    entry.header = hearth_protocol::sign::Signed::from_parts(header, nothing);
    world.push(0, entry);
    let book = world.book_unchecked();
    assert_eq!(
        balance(&book, 1),
        1_000,
        "what is stored is trusted until audited"
    );
    let names: Vec<String> = audit(&book)
        .findings
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(names.len(), 4, "{names:?}");
    assert!(names[0].contains("signature"), "{names:?}");
    assert!(names[1].contains("digest"), "{names:?}");
}

#[test]
fn l41_every_line_names_its_entry_and_how_firm_it_is() {
    let world = busy();
    let book = world.book();
    for node in 0..4 {
        let lines = why(&book, &id(node));
        let total: i128 = lines.iter().map(|line| line.amount.mk()).sum();
        assert_eq!(total, balance(&book, node));
        assert!(lines.iter().all(|line| book.contains(&line.entry)));
        let firm = lines.iter().filter(|line| line.state == LineState::Settled);
        let firm: i128 = firm.map(|line| line.amount.mk()).sum();
        let soft_debt = lines
            .iter()
            .filter(|line| line.kind == LineKind::Paid && line.state != LineState::Settled);
        let soft_debt: i128 = soft_debt.map(|line| line.amount.mk()).sum();
        assert_eq!(firm + soft_debt, book.spendable(&id(node)).mk());
    }
    let text: Vec<String> = why(&book, &id(3))
        .into_iter()
        .map(|line| line.text)
        .collect();
    assert!(text.iter().all(|text| text == "gift received"), "{text:?}");
}
