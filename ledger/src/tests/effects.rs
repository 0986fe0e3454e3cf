//! The second layer: what entries do.

use hearth_protocol::entry::DisputeCode;
use hearth_protocol::id::EntryHash;

use super::world::{ACK, World, balance, id, job, mk, spendable, standing};
use crate::{Acceptance, Book, DisputeCause, NoEffect, OrderState, Standing, VoidBy, Wait};

fn state(book: &Book, order: EntryHash) -> OrderState {
    book.order(&order).expect("the order is stored").state
}

fn acceptance(book: &Book, order: EntryHash) -> Acceptance {
    let receipt = book.order(&order).unwrap().receipt();
    receipt.expect("the order is settled").acceptance
}

const fn without(reason: NoEffect) -> Standing {
    Standing::Without(reason)
}

/// Every order ends in one of four ways, and this is how.
#[test]
fn l18_an_order_is_held_until_something_settles_voids_or_expires_it() {
    let mut world = World::open(2);
    let order = world.order(0, 1, 100, 50, 10);
    assert_eq!(state(&world.book(), order), OrderState::Held);
    assert_eq!(world.book().open_orders_by(&id(0)).len(), 1);
    assert_eq!(world.book().open_orders_at(&id(1)).len(), 1);
    let mut settled = world.clone();
    let receipt = settled.receipt(1, order, 80, 20);
    let book = settled.book();
    let view = book.order(&order).unwrap();
    assert_eq!(view.receipt().unwrap().hash, receipt);
    assert_eq!((balance(&book, 0), balance(&book, 1)), (-80, 80));
    assert!(book.open_orders_by(&id(0)).is_empty());
    assert_eq!(book.receipts_unacked_by(&id(0)), [view]);
}

#[test]
fn l19_only_the_provider_may_charge_and_only_within_amount_and_dates() {
    let check = |by: u8, amount: u64, time: u64, reason: Option<NoEffect>| {
        let mut world = World::open(3);
        let order = world.order(0, 1, 100, 50, 10);
        let receipt = world.receipt(by, order, amount, time);
        let book = world.book();
        let moved = balance(&book, by);
        match reason {
            None => {
                assert_eq!(standing(&book, receipt), Standing::Effective);
                assert_eq!(moved, i128::from(amount));
            }
            Some(reason) => {
                assert_eq!(standing(&book, receipt), without(reason));
                assert_eq!(moved, 0);
                assert_eq!(state(&book, order), OrderState::Held);
            }
        }
    };
    check(1, 100, 10, None);
    check(1, 0, 50, None);
    check(1, 101, 20, Some(NoEffect::AboveMax));
    check(1, 100, 9, Some(NoEffect::BeforeOrder));
    check(1, 100, 51, Some(NoEffect::AfterDeadline));
    check(2, 100, 20, Some(NoEffect::NotParty));
    check(0, 100, 20, Some(NoEffect::NotParty));
}

#[test]
fn l19_only_the_providers_first_word_counts() {
    let mut world = World::open(2);
    let twice = world.order(0, 1, 100, 50, 10);
    let first = world.receipt(1, twice, 30, 20);
    let second = world.receipt(1, twice, 40, 21);
    let voided = world.order(0, 1, 100, 50, 10);
    let void = world.void(1, voided, 22);
    let late = world.receipt(1, voided, 40, 23);
    let greedy = world.order(0, 1, 100, 50, 10);
    let above = world.receipt(1, greedy, 101, 24);
    let modest = world.receipt(1, greedy, 100, 25);
    let book = world.book();
    assert_eq!(standing(&book, first), Standing::Effective);
    assert_eq!(standing(&book, second), without(NoEffect::NotFirstWord));
    assert_eq!(standing(&book, void), Standing::Effective);
    assert_eq!(standing(&book, late), without(NoEffect::NotFirstWord));
    assert_eq!(standing(&book, above), without(NoEffect::AboveMax));
    assert_eq!(standing(&book, modest), without(NoEffect::NotFirstWord));
    assert_eq!(balance(&book, 1), 30);
}

#[test]
fn l20_a_provider_may_void_at_any_time_and_a_requester_after_the_deadline() {
    let mut world = World::open(3);
    let by_provider = world.order(0, 1, 100, 50, 10);
    let void = world.void(1, by_provider, 20);
    let early = world.order(0, 1, 100, 50, 10);
    let too_early = world.void(0, early, 50);
    let by_requester = world.order(0, 1, 100, 50, 50);
    let on_time = world.void(0, by_requester, 51);
    let by_third = world.void(2, early, 60);
    let book = world.book();
    assert_eq!(
        state(&book, by_provider),
        OrderState::Voided(VoidBy::Provider)
    );
    assert_eq!(
        state(&book, by_requester),
        OrderState::Voided(VoidBy::Requester)
    );
    assert_eq!(standing(&book, void), Standing::Effective);
    assert_eq!(standing(&book, on_time), Standing::Effective);
    assert_eq!(standing(&book, too_early), without(NoEffect::TooEarly));
    assert_eq!(standing(&book, by_third), without(NoEffect::NotParty));
}

#[test]
fn l20_a_provider_may_release_a_hold_after_a_receipt_that_did_not_count() {
    let mut world = World::open(2);
    let order = world.order(0, 1, 100, 50, 10);
    world.receipt(1, order, 101, 20);
    world.void(1, order, 21);
    assert_eq!(
        state(&world.book(), order),
        OrderState::Voided(VoidBy::Provider)
    );
    let settled = world.order(0, 1, 100, 50, 10);
    world.receipt(1, settled, 100, 22);
    let void = world.void(1, settled, 23);
    assert_eq!(standing(&world.book(), void), without(NoEffect::Settled));
}

#[test]
fn l21_a_receipt_beats_the_requesters_void_and_is_disputed_until_acked() {
    let mut world = World::open(2);
    let order = world.order(0, 1, 100, 50, 10);
    let void = world.void(0, order, 60);
    assert_eq!(
        state(&world.book(), order),
        OrderState::Voided(VoidBy::Requester)
    );
    let receipt = world.receipt(1, order, 70, 40);
    world.tick(0, 60 + ACK + 100);
    let book = world.book();
    let cause = DisputeCause::Voided;
    assert_eq!(acceptance(&book, order), Acceptance::Disputed(cause));
    assert_eq!(standing(&book, void), without(NoEffect::Settled));
    assert_eq!((balance(&book, 1), spendable(&book, 1)), (70, 0));
    world.accept(0, receipt, 2_000);
    assert_eq!(acceptance(&world.book(), order), Acceptance::Accepted);
}

#[test]
fn l22_an_order_expires_when_the_requesters_own_chain_passes_the_deadline() {
    let mut world = World::open(3);
    let order = world.order(0, 1, 100, 50, 10);
    world.tick(1, 5_000);
    world.tick(0, 50);
    assert_eq!(state(&world.book(), order), OrderState::Held);
    world.tick(0, 51);
    let book = world.book();
    assert_eq!(state(&book, order), OrderState::Expired);
    assert_eq!(book.exposure(&id(1), &id(0)).mk(), 0);
    let mut late = World::open(3);
    let order = late.order(0, 1, 100, 50, 10);
    late.receipt(1, order, 9, 50);
    late.tick(0, 51);
    assert_eq!(
        acceptance(&late.book(), order),
        Acceptance::Pending,
        "a receipt stands"
    );
}

#[test]
fn l23_the_requesters_last_ack_is_its_verdict() {
    let mut world = World::open(3);
    let order = world.order(0, 1, 100, 50, 10);
    let receipt = world.receipt(1, order, 70, 20);
    let first = world.accept(0, receipt, 30);
    let second = world.dispute(0, receipt, 31);
    let book = world.book();
    let said = DisputeCause::Said(DisputeCode::Corrupt);
    assert_eq!(acceptance(&book, order), Acceptance::Disputed(said));
    assert_eq!(standing(&book, first), without(NoEffect::Superseded));
    let third = world.accept(0, receipt, 32);
    let stranger = world.dispute(2, receipt, 33);
    let of_nothing = world.accept(0, EntryHash::from_bytes([3; 32]), 34);
    let of_order = world.accept(0, order, 35);
    let book = world.book();
    assert_eq!(acceptance(&book, order), Acceptance::Accepted);
    assert!(book.receipts_unacked_by(&id(0)).is_empty());
    assert_eq!(standing(&book, second), without(NoEffect::Superseded));
    assert_eq!(standing(&book, third), Standing::Effective);
    assert_eq!(standing(&book, stranger), without(NoEffect::NotParty));
    assert_eq!(standing(&book, of_nothing), Standing::Waiting(Wait::Target));
    assert_eq!(standing(&book, of_order), without(NoEffect::WrongTarget));
}

#[test]
fn l24_silence_accepts_once_the_requesters_own_chain_passes_deadline_and_window() {
    let mut world = World::open(3);
    let order = world.order(0, 1, 100, 50, 10);
    let receipt = world.receipt(1, order, 70, 20);
    world.tick(1, 50 + ACK + 500);
    world.tick(0, 50 + ACK);
    assert_eq!(acceptance(&world.book(), order), Acceptance::Pending);
    world.tick(0, 50 + ACK + 1);
    let book = world.book();
    assert_eq!(acceptance(&book, order), Acceptance::Accepted);
    assert_eq!(spendable(&book, 1), 70);
    world.dispute(0, receipt, 50 + ACK + 2);
    let said = Acceptance::Disputed(DisputeCause::Said(DisputeCode::Corrupt));
    assert_eq!(
        acceptance(&world.book(), order),
        said,
        "a word beats silence"
    );
}

#[test]
fn l25_what_is_not_accepted_counts_in_the_balance_and_cannot_be_spent() {
    let mut world = World::open(2);
    let pending = world.order(0, 1, 100, 50, 10);
    world.receipt(1, pending, 40, 20);
    let disputed = world.order(0, 1, 100, 50, 11);
    let receipt = world.receipt(1, disputed, 30, 21);
    world.dispute(0, receipt, 22);
    let accepted = world.order(0, 1, 100, 50, 22);
    let receipt = world.receipt(1, accepted, 20, 22);
    world.accept(0, receipt, 23);
    let book = world.book();
    assert_eq!(balance(&book, 1), 90);
    assert_eq!(book.pending(&id(1)).mk(), 70);
    assert_eq!(spendable(&book, 1), 20);
    assert_eq!((balance(&book, 0), spendable(&book, 0)), (-90, -90));
}

#[test]
fn l26_at_most_one_receipt_a_job_is_undisputed_whatever_is_acked() {
    let mut world = World::open(3);
    let first = world.order_job(0, 1, 7, 100, 50, 10);
    let second = world.order_job(0, 2, 7, 100, 90, 60);
    let late = world.receipt(1, first, 40, 50);
    assert_eq!(acceptance(&world.book(), first), Acceptance::Pending);
    let done = world.receipt(2, second, 30, 70);
    let duplicate = Acceptance::Disputed(DisputeCause::Duplicate);
    let book = world.book();
    assert_eq!(acceptance(&book, first), Acceptance::Pending);
    assert_eq!(
        acceptance(&book, second),
        duplicate,
        "the earlier date leads"
    );
    world.accept(0, done, 80);
    let book = world.book();
    assert_eq!(acceptance(&book, first), duplicate, "an acked one leads");
    assert_eq!(acceptance(&book, second), Acceptance::Accepted);
    world.accept(0, late, 81);
    let book = world.book();
    assert_eq!(acceptance(&book, first), Acceptance::Accepted);
    assert_eq!(acceptance(&book, second), duplicate);
    assert_eq!(balance(&book, 0), -70, "debt and credit stand all the same");
    assert_eq!(book.orders_of_job(&id(0), &job(7)).len(), 2);
    assert!(book.orders_of_job(&id(1), &job(7)).is_empty());
}

#[test]
fn l26_a_disputed_receipt_gives_way_to_the_next_for_the_job() {
    let mut world = World::open(3);
    let first = world.order_job(0, 1, 7, 100, 50, 10);
    let second = world.order_job(0, 2, 7, 100, 50, 10);
    let bad = world.receipt(1, first, 40, 20);
    world.receipt(2, second, 30, 21);
    let duplicate = Acceptance::Disputed(DisputeCause::Duplicate);
    assert_eq!(acceptance(&world.book(), second), duplicate);
    world.dispute(0, bad, 30);
    let book = world.book();
    assert_eq!(acceptance(&book, second), Acceptance::Pending);
    let said = Acceptance::Disputed(DisputeCause::Said(DisputeCode::Corrupt));
    assert_eq!(acceptance(&book, first), said);
}

#[test]
fn l26_a_voided_order_gives_way_to_the_one_placed_instead() {
    let mut world = World::open(3);
    let first = world.order_job(0, 1, 7, 100, 50, 10);
    world.void(0, first, 55);
    let second = world.order_job(0, 2, 7, 100, 90, 60);
    world.receipt(1, first, 40, 50);
    world.receipt(2, second, 30, 70);
    let book = world.book();
    assert_eq!(acceptance(&book, second), Acceptance::Pending);
    let duplicate = Acceptance::Disputed(DisputeCause::Duplicate);
    assert_eq!(acceptance(&book, first), duplicate);
}

#[test]
fn l17_oneself_as_the_other_side_has_no_effect() {
    let mut world = World::open(2);
    let entries = [
        world.order(0, 0, 10, 100, 5),
        world.give(0, 0, 10, 5),
        world.trust(0, 0, 10, 5),
    ];
    let book = world.book();
    for hash in entries {
        assert_eq!(standing(&book, hash), without(NoEffect::Oneself));
    }
    assert_eq!(balance(&book, 0), 0);
    assert_eq!(book.line(&id(0), &id(0)), mk(0));
}

#[test]
fn l16_the_latest_line_counts_and_without_one_the_charters() {
    let mut world = World::open(3);
    let first = world.trust(0, 1, 10, 5);
    let second = world.trust(0, 1, 20, 5);
    let waiting = world.trust(0, 9, 20, 5);
    let book = world.book();
    assert_eq!(book.line(&id(0), &id(1)), mk(20));
    assert_eq!(book.line(&id(0), &id(2)), mk(500));
    assert_eq!(book.line(&id(0), &id(9)), mk(0));
    assert_eq!(standing(&book, first), without(NoEffect::Superseded));
    assert_eq!(standing(&book, second), Standing::Effective);
    assert_eq!(
        standing(&book, waiting),
        Standing::Waiting(Wait::Counterparty)
    );
    world.trust(0, 1, 0, 6);
    assert_eq!(world.book().line(&id(0), &id(1)), mk(0), "zero withdraws");
}

#[test]
fn l27_a_transfer_moves_balance_at_once() {
    let mut world = World::open(2);
    let gift = world.give(0, 1, 70, 5);
    let book = world.book();
    assert_eq!((balance(&book, 0), spendable(&book, 1)), (-70, 70));
    assert_eq!(standing(&book, gift), Standing::Effective);
}

#[test]
fn l28_a_missing_target_waits_and_a_wrong_one_does_not() {
    let mut world = World::open(2);
    let gift = world.give(0, 1, 5, 5);
    let order = world.order(0, 1, 100, 50, 10);
    let order_entry = world.entries.pop().unwrap();
    let receipt = world.receipt(1, order, 40, 20);
    let void = world.void(1, order, 21);
    let wrong = world.receipt(1, gift, 1, 22);
    let book = world.book();
    for hash in [receipt, void] {
        assert_eq!(standing(&book, hash), Standing::Waiting(Wait::Target));
    }
    assert_eq!(standing(&book, wrong), without(NoEffect::WrongTarget));
    assert_eq!(book.order(&order), None);
    world.entries.push(order_entry);
    let book = world.book();
    assert_eq!(standing(&book, receipt), Standing::Effective);
    assert_eq!(balance(&book, 1), 45);
}

#[test]
fn l28_reasons_have_distinct_codes() {
    let all = [
        NoEffect::NotMember,
        NoEffect::Frozen,
        NoEffect::PastFork,
        NoEffect::InviteNeeded,
        NoEffect::InviteIssuer,
        NoEffect::InviteSignature,
        NoEffect::InviteProof,
        NoEffect::InviteExpired,
        NoEffect::InviteUsedUp,
        NoEffect::Oneself,
        NoEffect::Left,
        NoEffect::Superseded,
        NoEffect::WrongTarget,
        NoEffect::TargetWithout,
        NoEffect::NotParty,
        NoEffect::NotFirstWord,
        NoEffect::AboveMax,
        NoEffect::BeforeOrder,
        NoEffect::AfterDeadline,
        NoEffect::TooEarly,
        NoEffect::Settled,
    ];
    let codes: Vec<u16> = all.iter().map(|reason| reason.code()).collect();
    assert_eq!(codes, (101..=121).collect::<Vec<u16>>());
}

#[test]
fn l28_what_names_an_order_without_effect_has_none() {
    let mut world = World::open(2);
    let order = world.order(0, 0, 100, 50, 10);
    let receipt = world.receipt(0, order, 5, 20);
    let void = world.void(0, order, 60);
    let ack = world.accept(0, receipt, 61);
    let book = world.book();
    for hash in [receipt, void, ack] {
        assert_eq!(standing(&book, hash), without(NoEffect::TargetWithout));
    }
}
