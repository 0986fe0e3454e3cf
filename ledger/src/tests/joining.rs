//! Who is a member.

use hearth_protocol::charter::Admission;
use hearth_protocol::entry::InviteUse;
use hearth_protocol::id::CommonsId;
use hearth_protocol::sign::{Signature, Signed};

use super::world::{World, balance, fill, id, invite, key, mk, standing, use_invite};
use crate::{NoEffect, Standing, Wait};

fn invited(admission: Admission) -> World {
    let mut world = World::empty(admission);
    world.join(0, None, 0);
    world
}

#[test]
fn l11_an_open_commons_takes_anybody_and_an_invite_only_one_the_founder() {
    let mut open = World::empty(Admission::Open);
    let join = open.join(5, None, 0);
    assert_eq!(standing(&open.book(), join), Standing::Effective);
    let mut closed = invited(Admission::InvitedByMembers);
    let join = closed.join(5, None, 0);
    let book = closed.book();
    assert!(book.is_member(&id(0)));
    assert!(!book.is_member(&id(5)));
    assert_eq!(
        standing(&book, join),
        Standing::Without(NoEffect::InviteNeeded)
    );
}

#[test]
fn l12_an_invite_lets_its_holder_in_whenever_the_issuer_is_a_member() {
    let mut world = invited(Admission::InvitedByMembers);
    let from_one = invite(&world, 1, 5, 100);
    let second = world.join(2, Some(use_invite(&from_one, 2)), 10);
    let book = world.book();
    assert_eq!(standing(&book, second), Standing::Waiting(Wait::Issuer));
    let from_founder = invite(&world, 0, 5, 100);
    world.join(1, Some(use_invite(&from_founder, 1)), 5);
    let book = world.book();
    assert_eq!(book.members().len(), 3);
    assert_eq!(standing(&book, second), Standing::Effective);
    let mut backwards = world.entries.clone();
    backwards.reverse();
    assert_eq!(fill(&world.charter, &backwards).digest(), book.digest());
}

#[test]
fn l12_two_who_invite_each_other_let_nobody_in() {
    let mut world = invited(Admission::InvitedByMembers);
    let (one, two) = (invite(&world, 1, 1, 100), invite(&world, 2, 1, 100));
    let joins = [
        world.join(1, Some(use_invite(&two, 1)), 0),
        world.join(2, Some(use_invite(&one, 2)), 0),
    ];
    let book = world.book();
    assert_eq!(book.members(), [id(0)]);
    for join in joins {
        assert_eq!(standing(&book, join), Standing::Waiting(Wait::Issuer));
    }
}

fn fault(admission: Admission, made: impl Fn(&World) -> InviteUse, time: u64) -> Standing {
    let mut world = invited(admission);
    let first = invite(&world, 0, 5, 100);
    world.join(1, Some(use_invite(&first, 1)), 0);
    let used = made(&world);
    let join = world.join(2, Some(used), time);
    let preview = world
        .book_without_last()
        .preview_join(world.entries.last().unwrap());
    let told = standing(&world.book(), join);
    assert_eq!(preview, Ok(told), "the preview says what comes");
    told
}

#[test]
fn l12_each_fault_of_an_invite_has_its_name() {
    let members = Admission::InvitedByMembers;
    let good = |world: &World| use_invite(&invite(world, 1, 1, 100), 2);
    assert_eq!(fault(members, good, 100), Standing::Effective);
    let without = |reason| Standing::Without(reason);
    let founder = Admission::InvitedByFounder;
    assert_eq!(fault(founder, good, 100), without(NoEffect::InviteIssuer));
    let expired = fault(members, good, 101);
    assert_eq!(expired, without(NoEffect::InviteExpired));
    let stolen = |world: &World| use_invite(&invite(world, 1, 1, 100), 3);
    assert_eq!(fault(members, stolen, 0), without(NoEffect::InviteProof));
    let forged = |world: &World| {
        let (invite, secret) = invite(world, 1, 1, 100);
        let unsigned = Signed::from_parts(*invite.trusted(), Signature::from_bytes([7; 64]));
        use_invite(&(unsigned, secret), 2)
    };
    assert_eq!(
        fault(members, forged, 0),
        without(NoEffect::InviteSignature)
    );
    let foreign = |world: &World| {
        let (invite, secret) = invite(world, 1, 1, 100);
        let mut other = *invite.trusted();
        other.commons = CommonsId::from_bytes([1; 32]);
        use_invite(&(Signed::sign(other, &key(1)), secret), 2)
    };
    assert_eq!(fault(members, foreign, 0), without(NoEffect::InviteIssuer));
}

#[test]
fn l13_the_first_joins_by_date_and_hash_use_an_invite_whoever_arrives_first() {
    let mut world = invited(Admission::InvitedByMembers);
    let twice = invite(&world, 0, 2, 100);
    let joins: Vec<_> = [(1, 30), (2, 20), (3, 10)]
        .map(|(node, time)| world.join(node, Some(use_invite(&twice, node)), time))
        .into();
    world.give(1, 0, 7, 40);
    world.give(2, 0, 5, 40);
    let mut early = World::empty(Admission::InvitedByMembers);
    early.entries = world.entries[..2].to_vec();
    assert!(early.book().is_member(&id(1)), "while nobody else has come");
    let book = world.book();
    assert_eq!(
        standing(&book, joins[0]),
        Standing::Without(NoEffect::InviteUsedUp)
    );
    assert_eq!(standing(&book, joins[1]), Standing::Effective);
    assert_eq!(standing(&book, joins[2]), Standing::Effective);
    assert_eq!(balance(&book, 0), 5, "who lost the invite moves nothing");
    let mut backwards = world.entries.clone();
    backwards.reverse();
    assert_eq!(fill(&world.charter, &backwards).digest(), book.digest());
    let fourth = world.sign(
        4,
        &hearth_protocol::entry::Body::Join {
            invite: Some(use_invite(&twice, 4)),
        },
        50,
    );
    let used_up = Standing::Without(NoEffect::InviteUsedUp);
    assert_eq!(book.preview_join(&fourth), Ok(used_up));
}

#[test]
fn l14_what_a_stranger_writes_does_nothing_and_what_names_one_waits() {
    let mut world = invited(Admission::InvitedByFounder);
    let to_stranger = world.give(0, 1, 5, 10);
    let order = world.order(0, 1, 10, 100, 10);
    world.join(1, None, 20);
    let from_stranger = world.give(1, 0, 9, 30);
    let receipt = world.receipt(1, order, 10, 30);
    let book = world.book();
    assert_eq!(balance(&book, 0), 0);
    for hash in [to_stranger, order] {
        assert_eq!(standing(&book, hash), Standing::Waiting(Wait::Counterparty));
    }
    for hash in [from_stranger, receipt] {
        assert_eq!(
            standing(&book, hash),
            Standing::Without(NoEffect::NotMember)
        );
    }
    assert!(
        book.suffix(&id(1), hearth_protocol::unit::Seq::FIRST, 9)
            .is_empty()
    );
    assert_eq!(
        book.heads().len(),
        1,
        "chains of strangers are not passed on"
    );
    assert_eq!(book.line(&id(0), &id(1)), mk(0));
}

#[test]
fn l15_who_left_starts_nothing_new_and_its_debts_stand() {
    let mut world = World::open(3);
    let before = world.order(0, 1, 10, 100, 5);
    let theirs = world.order(1, 0, 10, 100, 5);
    let leave = world.write(0, &hearth_protocol::entry::Body::Leave, 10);
    let again = world.write(0, &hearth_protocol::entry::Body::Leave, 11);
    let gift = world.give(0, 1, 3, 20);
    let order = world.order(0, 1, 10, 100, 20);
    let trust = world.trust(0, 1, 9, 20);
    let receipt = world.receipt(1, before, 8, 20);
    let ack = world.accept(0, receipt, 30);
    let mine = world.receipt(0, theirs, 4, 30);
    let book = world.book();
    for hash in [gift, order, trust, again] {
        assert_eq!(standing(&book, hash), Standing::Without(NoEffect::Left));
    }
    for hash in [leave, before, receipt, ack, mine] {
        assert_eq!(standing(&book, hash), Standing::Effective);
    }
    assert_eq!(balance(&book, 0), 4 - 8);
    assert!(!book.is_member(&id(0)));
    assert_eq!(book.line(&id(1), &id(0)), mk(0));
    assert_eq!(book.members(), {
        let mut left = [id(1), id(2)];
        left.sort();
        left
    });
}
