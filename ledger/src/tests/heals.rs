//! Chains that forked and go on.

use hearth_protocol::entry::{Body, HealReason};
use hearth_protocol::id::EntryHash;

use super::world::{LATE, World, at, balance, fill, id, key, mk, standing};
use crate::author::Tip;
use crate::ledger::HealError;
use crate::{Insertion, Ledger, NoEffect, Standing, Wait, WriteError};

fn heal(tips: &[EntryHash]) -> Body {
    let mut tips = tips.to_vec();
    tips.sort_unstable();
    Body::Heal {
        tips,
        reason: HealReason::Restored,
    }
}

/// Node 1 has two branches from place 2 on, the second one entry longer; its pen is on that.
fn forked() -> (World, EntryHash, EntryHash) {
    let mut world = World::open(4);
    world.give(1, 2, 3, 10);
    let before = world.tip(1);
    let short = world.give(1, 2, 5, 20);
    world.rewind(1, before);
    world.give(1, 3, 7, 20);
    let long = world.give(1, 3, 11, 21);
    (world, short, long)
}

#[test]
fn l47_a_heal_that_names_every_branch_lets_the_chain_count_again() {
    let (mut world, short, long) = forked();
    assert_eq!(balance(&world.book(), 1), -3);
    let hash = world.write(1, &heal(&[short, long]), 30);
    world.give(1, 2, 100, 31);
    let book = world.book();
    assert_eq!(standing(&book, hash), Standing::Effective);
    assert_eq!(balance(&book, 1), -103, "what lies between stays lost");
    assert!(!book.is_forked(&id(1)));
    assert!(book.fork(&id(1)).is_some(), "the proof is kept for ever");
    assert_eq!(book.healed(&id(1)), Some(at(30)));
    assert_eq!(
        book.head(&id(1)).map(|head| head.hash),
        world.tip(1).map(|t| t.hash)
    );
    // In any order of arrival.
    let reversed: Vec<_> = world.entries.iter().rev().cloned().collect();
    assert_eq!(fill(&world.charter, &reversed).digest(), book.digest());
}

#[test]
fn l47_a_heal_waits_while_a_branch_is_missing_or_not_named() {
    let (mut world, short, long) = forked();
    let other = EntryHash::from_bytes([9; 32]);
    let hash = world.write(1, &heal(&[other, long]), 30);
    let waits = Standing::Waiting(Wait::Branches);
    assert_eq!(standing(&world.book(), hash), waits);
    let (mut world, ..) = forked();
    let hash = world.write(1, &heal(&[short, long]), 30);
    let is_short = |entry: &&hearth_protocol::entry::Entry| entry.hash() != short;
    let without: Vec<_> = world.entries.iter().filter(is_short).cloned().collect();
    let book = fill(&world.charter, &without);
    let no_fork = Standing::Without(NoEffect::NoFork);
    assert_eq!(
        standing(&book, hash),
        no_fork,
        "one branch alone is a chain"
    );
    assert_eq!(standing(&world.book(), hash), Standing::Effective);
}

#[test]
fn l47_a_branch_that_shows_up_later_undoes_the_heal_until_it_is_named_too() {
    let (mut world, short, long) = forked();
    let before = world.tip(1);
    let first = world.write(1, &heal(&[short, long]), 30);
    let on = world.give(1, 2, 100, 31);
    let pen = world.tip(1);
    world.rewind(1, before);
    let hidden = world.give(1, 3, 50, 40);
    world.rewind(1, pen);
    let book = world.book();
    assert!(
        book.is_forked(&id(1)),
        "a second entry stands beside the heal"
    );
    assert_eq!(balance(&book, 1), -3);
    let waits = Standing::Waiting(Wait::Branches);
    assert_eq!(standing(&book, first), waits);
    world.write(1, &heal(&[on, hidden]), 50);
    let book = world.book();
    assert!(book.is_forked(&id(1)), "the short branch is not named");
    world.rewind(1, pen);
    let (mut again, pen) = (world, pen);
    again.entries.pop();
    again.rewind(1, pen);
    let second = again.write(1, &heal(&[short, on, hidden]), 50);
    again.give(1, 2, 1, 51);
    let book = again.book();
    assert_eq!(standing(&book, second), Standing::Effective);
    assert_eq!(balance(&book, 1), -4);
}

#[test]
fn l47_a_fork_after_a_heal_freezes_the_chain_again() {
    let (mut world, short, long) = forked();
    world.write(1, &heal(&[short, long]), 30);
    let healed = world.tip(1);
    world.give(1, 2, 100, 31);
    world.rewind(1, healed);
    world.give(1, 3, 100, 31);
    let book = world.book();
    assert!(book.is_forked(&id(1)));
    assert_eq!(balance(&book, 1), -3);
    assert_eq!(book.fork_proofs(&id(1)).count(), 2);
    let shuffled: Vec<_> = world.entries.iter().rev().cloned().collect();
    assert_eq!(fill(&world.charter, &shuffled).digest(), book.digest());
}

#[test]
fn l47_a_proof_alone_past_a_heal_undoes_it_and_an_audit_knows_it_too() {
    let (mut world, short, long) = forked();
    world.write(1, &heal(&[short, long]), 30);
    let tip = world.tip(1);
    let healed = world.book();
    world.give(1, 2, 1, 31);
    let mut book = world.book();
    // Its rival's predecessor never comes: two headers are all there is.
    world.rewind(1, tip.map(|tip| Tip { hash: short, ..tip }));
    let stray = world.sign(1, &Body::Leave, 40);
    assert!(matches!(book.insert(stray, LATE), Insertion::Forked(_)));
    assert!(!healed.is_forked(&id(1)));
    assert!(book.is_forked(&id(1)));
    let report = crate::audit(&book);
    assert!(report.is_clean(), "{:?}", report.findings);
}

#[test]
fn l47_a_heal_after_the_shorter_branch_or_without_a_fork_does_nothing() {
    let (mut world, short, long) = forked();
    let tip = world
        .entries
        .iter()
        .find(|entry| entry.hash() == short)
        .map(Tip::from);
    world.rewind(1, tip);
    let hash = world.write(1, &heal(&[short, long]), 30);
    let waits = Standing::Waiting(Wait::Branches);
    assert_eq!(standing(&world.book(), hash), waits);
    let lone = world.write(2, &heal(&[short, long]), 30);
    let no_fork = Standing::Without(NoEffect::NoFork);
    assert_eq!(standing(&world.book(), lone), no_fork);
}

#[test]
fn l48_a_healed_author_is_on_probation_until_somebody_says_otherwise() {
    let (mut world, short, long) = forked();
    world.trust(2, 1, 70, 25);
    world.write(1, &heal(&[short, long]), 30);
    let book = world.book();
    let line = |book: &crate::Book, from| book.line(&id(from), &id(1));
    assert_eq!(line(&book, 2), mk(0), "said before the heal");
    assert_eq!(line(&book, 3), mk(0), "no default");
    world.trust(2, 1, 40, 31);
    assert_eq!(line(&world.book(), 2), mk(40));
}

#[test]
fn l47_a_node_heals_its_own_chain_and_writes_on() {
    let (world, short, long) = forked();
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(dir.path(), world.charter.clone(), key(1)).unwrap();
    let received = ledger.receive(world.entries.clone(), LATE).unwrap();
    assert!(matches!(
        received.outcomes.last(),
        Some(Insertion::Added { .. } | Insertion::Forked(_))
    ));
    let refused = ledger.write(Body::Leave, LATE);
    assert!(matches!(refused, Err(WriteError::Forked)));
    let entry = ledger.heal(HealReason::Restored, LATE).unwrap();
    assert_eq!(entry.header.trusted().prev, long);
    assert_eq!(entry.decode_body().unwrap(), heal(&[short, long]));
    assert!(matches!(
        ledger.heal(HealReason::Restored, LATE),
        Err(HealError::NotForked)
    ));
    ledger.write(Body::Leave, LATE).unwrap();
    let digest = ledger.book().digest();
    drop(ledger);
    let ledger = Ledger::open(dir.path(), world.charter, key(1)).unwrap();
    assert_eq!(ledger.book().digest(), digest);
    assert!(!ledger.book().is_forked(&id(1)));
}

#[test]
fn l31_who_asks_for_a_healed_chain_gets_every_branch_it_names() {
    let (mut world, short, long) = forked();
    let hash = world.write(1, &heal(&[short, long]), 30);
    world.give(1, 2, 100, 31);
    let book = world.book();
    let heads: Vec<EntryHash> = book.heads().into_iter().map(|head| head.hash).collect();
    assert!(heads.contains(&short) && heads.contains(&long) && heads.contains(&hash));
    let mut fresh = crate::Book::new(world.charter.clone());
    for node in 0..4 {
        let suffix = book.suffix(&id(node), hearth_protocol::unit::Seq::FIRST, usize::MAX);
        for entry in suffix {
            fresh.insert(entry, LATE);
        }
    }
    assert_eq!(fresh.digest(), book.digest());
    assert!(fresh.missing(&book.heads()).is_empty());
}

#[test]
fn l96_an_author_is_sent_every_branch_of_its_own_chain_and_others_are_not() {
    let (mut world, short, long) = forked();
    let book = world.book();
    let first = hearth_protocol::unit::Seq::FIRST;
    let sent = |book: &crate::Book, asker| -> Vec<EntryHash> {
        let entries = book.suffix_for(&id(asker), &id(1), first, usize::MAX);
        entries
            .iter()
            .map(hearth_protocol::entry::Entry::hash)
            .collect()
    };
    let own = sent(&book, 1);
    assert!(own.contains(&short) && own.contains(&long));
    assert!(!sent(&book, 2).contains(&long));
    // A copy that was put back and knows of one branch alone learns of the other and heals.
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(dir.path(), world.charter.clone(), key(1)).unwrap();
    let without = world.entries.iter().filter(|entry| entry.hash() != short);
    let without: Vec<_> = without.cloned().collect();
    ledger.receive(without, LATE).unwrap();
    ledger.receive_fork(book.fork(&id(1)).unwrap()).unwrap();
    let missing = ledger.heal(HealReason::Restored, LATE);
    assert!(matches!(missing, Err(HealError::BranchMissing)));
    let all = book.suffix_for(&id(1), &id(1), first, usize::MAX);
    ledger.receive(all, LATE).unwrap();
    let healed = ledger.heal(HealReason::Restored, LATE).unwrap();
    world.push(1, healed);
    world.give(1, 2, 1, 50);
    assert_eq!(
        world
            .book()
            .suffix_for(&id(1), &id(1), first, usize::MAX)
            .len(),
        7
    );
}
