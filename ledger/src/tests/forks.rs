//! Two entries at one place.

use hearth_protocol::codec;
use hearth_protocol::entry::Body;
use hearth_protocol::id::{CommonsId, NodeId};
use hearth_protocol::sign::SignatureError;
use hearth_protocol::unit::Seq;
use hearth_protocol::wire::ForkProof;

use super::world::{LATE, World, added, balance, fill, id, mk, standing, sum};
use crate::book::BRANCH_ENTRIES_MAX;
use crate::fork::{PROOF_LEN_MAX, ProofError, prove};
use crate::{Book, Insertion, NoEffect, Rejection, Standing, verify_fork_proof};

/// Node 0 signs two entries after the same one, then goes on along the second.
fn forked() -> (World, ForkProof) {
    let mut world = World::open(3);
    world.give(0, 1, 5, 10);
    let tip = world.tip(0);
    world.give(0, 1, 7, 20);
    world.rewind(0, tip);
    world.give(0, 2, 7, 20);
    let [one, two] = &world.entries[world.entries.len() - 2..] else {
        unreachable!()
    };
    let proof = prove(&one.header, &two.header);
    (world, proof)
}

#[test]
fn l8_two_headers_at_one_place_make_a_proof_that_needs_nothing_else() {
    let (world, proof) = forked();
    let commons = world.charter.id();
    assert_eq!(verify_fork_proof(&proof, commons), Ok(()));
    assert!(codec::encode(&proof).len() < PROOF_LEN_MAX);
    let swapped = ForkProof {
        left: proof.right.clone(),
        right: proof.left.clone(),
    };
    assert_eq!(verify_fork_proof(&swapped, commons), Err(ProofError::Order));
    let same = ForkProof {
        left: proof.left.clone(),
        right: proof.left.clone(),
    };
    assert_eq!(verify_fork_proof(&same, commons), Err(ProofError::Order));
    let elsewhere = CommonsId::from_bytes([1; 32]);
    assert_eq!(
        verify_fork_proof(&proof, elsewhere),
        Err(ProofError::Commons)
    );
    let other = world.entries[1].header.clone();
    let places = ForkProof {
        left: proof.left.clone(),
        right: other,
    };
    assert_eq!(verify_fork_proof(&places, commons), Err(ProofError::Place));
    let other_author = world.sign(1, &Body::Leave, 20);
    assert_eq!(other_author.header.trusted().seq, Seq::new(1));
    let one_place = world.sign(2, &Body::Leave, 20);
    let authors = ForkProof {
        left: other_author.header,
        right: one_place.header,
    };
    assert_eq!(verify_fork_proof(&authors, commons), Err(ProofError::Place));
    let places = ForkProof {
        left: world.entries[0].header.clone(),
        right: proof.left.clone(),
    };
    assert_eq!(verify_fork_proof(&places, commons), Err(ProofError::Place));
    let foreign = world.forge(0, 20, &[], |header| header.commons = elsewhere);
    let mixed = ForkProof {
        left: proof.left.clone(),
        right: foreign.header,
    };
    assert_eq!(verify_fork_proof(&mixed, commons), Err(ProofError::Commons));
    let unsigned =
        hearth_protocol::sign::Signed::from_parts(*proof.right.trusted(), *proof.left.signature());
    let forged = ForkProof {
        left: proof.left,
        right: unsigned,
    };
    let mismatch = ProofError::Signature(SignatureError::Mismatch);
    assert_eq!(verify_fork_proof(&forged, commons), Err(mismatch));
}

#[test]
fn l8_a_book_that_meets_both_headers_proves_the_fork_and_keeps_both() {
    let (world, proof) = forked();
    let mut book = Book::new(world.charter.clone());
    let (last, before) = world.entries.split_last().unwrap();
    for entry in before {
        assert!(added(&book.insert(entry.clone(), LATE)));
    }
    assert!(!book.is_forked(&id(0)));
    let outcome = book.insert(last.clone(), LATE);
    assert_eq!(outcome, Insertion::Forked(Box::new(proof.clone())));
    assert!(book.contains(&last.hash()), "branches stand side by side");
    assert_eq!(book.forks().collect::<Vec<_>>(), [&proof]);
    assert_eq!(book.insert_fork(&proof), Ok(false), "known");
}

#[test]
fn l8_a_header_without_its_predecessor_proves_a_fork_too() {
    let (mut world, _) = forked();
    let tip = world.entries[world.entries.len() - 2].clone();
    world.give(0, 2, 1, 30);
    let mut book = fill(&world.charter, &world.entries[..world.entries.len() - 2]);
    world.rewind(0, Some((&tip).into()));
    world.give(0, 1, 1, 30);
    book.insert(world.entries.last().unwrap().clone(), LATE);
    let loose = world.entries[world.entries.len() - 2].clone();
    assert!(matches!(
        book.insert(loose.clone(), LATE),
        Insertion::Forked(_)
    ));
    assert!(!book.contains(&loose.hash()));
    assert!(matches!(book.insert(loose, LATE), Insertion::Gap { .. }));
}

#[test]
fn l8_a_header_that_fits_nowhere_proves_a_fork_too() {
    let mut world = World::open(2);
    world.tick(0, 100);
    let tip = world.tip(0);
    world.tick(0, 200);
    let mut book = world.book();
    world.rewind(0, tip);
    let body = super::world::canonical(&super::world::gift(1, 5));
    let back = world.forge(0, 99, &body, |_| {});
    assert!(matches!(
        book.insert(back.clone(), LATE),
        Insertion::Forked(_)
    ));
    assert!(
        !book.contains(&back.hash()),
        "dated back, and so no part of the chain"
    );
    let refused = Insertion::Invalid(Rejection::DateBack);
    assert_eq!(book.insert(back, LATE), refused);
}

#[test]
fn l9_past_a_fork_nothing_counts_but_orders_their_provider_settled() {
    let mut world = World::open(3);
    world.give(0, 1, 5, 10);
    let tip = world.tip(0);
    let gift = world.give(0, 1, 7, 20);
    let order = world.order(0, 1, 100, 50, 20);
    let unanswered = world.order(0, 1, 100, 50, 20);
    let greedy = world.order(0, 2, 100, 50, 20);
    let receipt = world.receipt(1, order, 60, 30);
    world.receipt(2, greedy, 101, 30);
    let ack = world.accept(0, receipt, 40);
    world.rewind(0, tip);
    let other_order = world.order(0, 2, 100, 50, 20);
    let other_receipt = world.receipt(2, other_order, 50, 30);
    let book = world.book();
    let past = Standing::Without(NoEffect::PastFork);
    for hash in [gift, unanswered, greedy, ack] {
        assert_eq!(standing(&book, hash), past);
    }
    for hash in [order, receipt, other_order, other_receipt] {
        assert_eq!(standing(&book, hash), Standing::Effective);
    }
    assert_eq!(balance(&book, 0), -5 - 60 - 50, "both debts stand");
    assert_eq!(sum(&book).mk(), 0);
    assert_eq!(book.pending(&id(1)).mk(), 60, "the ack lies past the fork");
}

#[test]
fn l9_the_earliest_fork_counts_and_a_proof_alone_is_enough() {
    let (mut world, late) = forked();
    world.rewind(0, None);
    world.join(0, None, 1);
    let early = prove(
        &world.entries[0].header,
        &world.entries.last().unwrap().header,
    );
    let mut book = World::open(3).book();
    assert_eq!(book.insert_fork(&late), Ok(true));
    assert_eq!(book.insert_fork(&early), Ok(true));
    assert_eq!(book.insert_fork(&late), Ok(false));
    assert_eq!(book.fork(&id(0)), Some(&early));
    assert!(
        book.is_member(&id(0)),
        "a second join does not undo the first"
    );
}

#[test]
fn l9_what_nobody_named_past_a_fork_is_not_passed_on() {
    let mut world = World::open(3);
    let tip = world.tip(0);
    world.give(0, 1, 7, 20);
    let order = world.order(0, 1, 100, 50, 20);
    world.give(0, 1, 8, 20);
    world.receipt(1, order, 60, 30);
    world.rewind(0, tip);
    world.give(0, 2, 7, 20);
    let book = world.book();
    let passed_on = book.suffix(&id(0), Seq::FIRST, 100);
    let seqs: Vec<u64> = passed_on
        .iter()
        .map(|e| e.header.trusted().seq.get())
        .collect();
    assert_eq!(seqs, [0, 1, 2], "join, what leads to the order, the order");
    let heads = book.heads();
    let of_forked = heads.iter().filter(|head| head.author == id(0));
    let hashes: Vec<_> = of_forked.map(|head| head.hash).collect();
    assert_eq!(hashes, [world.entries[0].hash(), order]);
    let mut small = Book::new(world.charter.clone());
    for author in 0..3 {
        for entry in book.suffix(&id(author), Seq::FIRST, 100) {
            small.insert(entry, LATE);
        }
    }
    for proof in book.forks() {
        small.insert_fork(proof).unwrap();
    }
    assert_eq!(
        small.digest(),
        book.digest(),
        "what is not passed on is not missed"
    );
}

#[test]
fn l9_branches_are_bounded_but_settled_orders_find_room() {
    let mut world = World::open(2);
    let tip = world.tip(0);
    world.tick(0, 1);
    world.rewind(0, tip);
    for time in 0..u64::try_from(BRANCH_ENTRIES_MAX).unwrap() {
        world.tick(0, 2 + time);
    }
    let mut book = world.book_unchecked();
    world.tick(0, 10_000);
    let flood = world.entries.pop().unwrap();
    let refused = Insertion::Invalid(Rejection::BranchesFull);
    assert_eq!(book.insert(flood, LATE), refused);
    world.rewind(0, tip);
    let order = world.order(0, 1, 10, 50, 20);
    let order_entry = world.entries.last().unwrap().clone();
    assert_eq!(book.insert(order_entry.clone(), LATE), refused);
    world.receipt(1, order, 10, 30);
    book.insert(world.entries.last().unwrap().clone(), LATE);
    assert!(added(&book.insert(order_entry, LATE)));
    assert_eq!(balance(&book, 1), 10);
}

#[test]
fn l10_nobody_lends_to_who_forked() {
    let (mut world, _) = forked();
    world.trust(1, 0, 900, 30);
    let book = world.book();
    assert_eq!(book.line(&id(1), &id(0)), mk(0));
    let honest: NodeId = id(2);
    assert_eq!(book.line(&id(1), &honest), mk(500));
}
