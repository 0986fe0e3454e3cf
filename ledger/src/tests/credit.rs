//! Credit policies: who is lent how much, and that belief is spent once.

use hearth_protocol::charter::Caps;
use hearth_protocol::credit::{Bar, Decision, PolicyName, PolicyTerms, Taken, Taking};
use hearth_protocol::entry::{Body, HealReason, TransferReason};
use hearth_protocol::unit::{ByteCount, Millikudos};

use super::world::{World, at, id, job, mk};
use crate::{CreditPolicy, Friends, Neighbour, Open, Question, policy};

/// The provider of all these tests.
const ME: u8 = 0;
const DAY: u64 = 86_400_000;

/// No newcomers, and a cap that is in nobody's way.
const KNOWN: Neighbour = Neighbour {
    cap: mk_const(1_000_000),
    newcomer_percent: 0,
};

const fn mk_const(mk: u64) -> Millikudos {
    Millikudos::saturating(mk)
}

fn ask_at(
    world: &World,
    policy: &dyn CreditPolicy,
    taken: &Taken,
    (requester, ask): (u8, u64),
    now: u64,
) -> Decision {
    let book = world.book_unchecked();
    let question = Question {
        book: &book,
        me: id(ME),
        now: at(now),
        taken,
    };
    policy.decide(&question, &id(requester), mk(ask))
}

fn ask(world: &World, policy: &dyn CreditPolicy, requester: u8, amount: u64) -> Decision {
    ask_at(world, policy, &Taken::new(), (requester, amount), 1_000)
}

fn credible(world: &World, requester: u8) -> u64 {
    ask(world, &KNOWN, requester, 0).credible.get()
}

fn room(world: &World, requester: u8) -> u64 {
    ask(world, &KNOWN, requester, 0).room.get()
}

#[test]
fn l60_the_figures_of_a_decision_add_up_to_it() {
    let mut world = World::without_lines(4);
    world.trust(ME, 1, 100, 10);
    world.done(1, ME, 30, 20);
    world.done(ME, 1, 90, 40);
    world.done(2, ME, 70, 60);
    world.done(1, 2, 50, 80);
    let taking = Taking {
        held: mk(20),
        running: mk(15),
    };
    let policy = Neighbour {
        cap: mk(40),
        newcomer_percent: 5,
    };
    let taken = [(id(1), taking)].into();
    let said = ask_at(&world, &policy, &taken, (1, 10_046), 1_000);
    assert_eq!((said.charged, said.settled), (mk(90), mk(30)));
    assert_eq!((said.held, said.running), (mk(20), mk(15)));
    assert_eq!(
        (said.line, said.credible, said.cap),
        (mk(100), mk(50), mk(40))
    );
    assert_eq!(said.bucket, mk(10_000));
    // 100 + 40 + 10,000 less 90 - 30 + 20 + 15.
    assert_eq!((said.room, said.short), (mk(10_045), mk(1)));
    assert!(!said.granted);
    assert_eq!(said.basis.len(), 1);
    assert_eq!((said.basis[0].node, said.basis[0].amount), (id(2), mk(50)));
    assert!(ask_at(&world, &policy, &taken, (1, 10_045), 1_000).granted);
}

#[test]
fn l61_three_policies_and_nothing_for_whom_is_no_member_or_forked() {
    let mut world = World::without_lines(5);
    world.trust(ME, 1, 100, 10);
    world.done(2, ME, 70, 60);
    let before = world.tip(4);
    world.give(4, 1, 1, 100);
    world.rewind(4, before);
    world.give(4, 2, 1, 100);
    let terms = |policy| PolicyTerms {
        policy,
        ..PolicyTerms::default()
    };
    let rooms = |name: PolicyName| {
        let policy = policy(&terms(name), &Caps::DEFAULT);
        [1, 2, 3].map(|node| ask(&world, &*policy, node, 0).room.get())
    };
    assert_eq!(rooms(PolicyName::Friends), [100, 70, 0]);
    assert_eq!(rooms(PolicyName::Neighbour), [10_100, 10_070, 10_000]);
    assert_eq!(rooms(PolicyName::Open), [1_000_100, 1_000_070, 1_000_000]);
    let generous = Open { cap: mk(5) };
    for policy in [&KNOWN as &dyn CreditPolicy, &Friends, &generous] {
        for (node, bar) in [(4, Bar::Forked), (9, Bar::NotMember), (ME, Bar::NotMember)] {
            let said = ask(&world, policy, node, 1);
            assert_eq!(
                (said.granted, said.bar, said.room),
                (false, Some(bar), mk(0))
            );
        }
        assert!(!ask(&world, policy, 3, 6).granted, "a cap is a cap");
    }
}

#[test]
fn l61_a_healed_author_is_lent_what_a_person_says_and_no_more() {
    let mut world = World::without_lines(4);
    world.done(1, ME, 100, 10);
    world.done(2, 1, 80, 30);
    let before = world.tip(2);
    let one = world.give(2, 3, 1, 100);
    world.rewind(2, before);
    let other = world.give(2, 1, 1, 100);
    let mut ends = vec![one, other];
    ends.sort_unstable();
    let body = Body::Heal {
        tips: ends,
        reason: HealReason::Restored,
    };
    world.write(2, &body, 110);
    let policy = policy(&PolicyTerms::default(), &Caps::DEFAULT);
    let said = ask(&world, &*policy, 2, 0);
    assert_eq!((said.bar, said.room), (None, mk(0)));
    assert_eq!(ask(&world, &Open { cap: mk(5) }, 2, 0).room, mk(0));
    world.trust(ME, 2, 40, 120);
    assert_eq!(ask(&world, &*policy, 2, 0).room, mk(40));
}

#[test]
fn l62_believed_is_whom_one_owes_and_whom_one_said_a_line_to() {
    let mut world = World::open(4);
    world.done(3, 1, 400, 10);
    assert_eq!(credible(&world, 3), 0, "the charter's line is no reason");
    world.trust(ME, 1, 150, 30);
    assert_eq!(credible(&world, 3), 150, "a line that was said is");
    world.done(1, ME, 60, 40);
    assert_eq!(credible(&world, 3), 210, "and what is owed");
    world.done(ME, 1, 100, 60);
    assert_eq!(credible(&world, 3), 110, "less what was drawn");
    world.trust(ME, 1, 0, 80);
    assert_eq!(credible(&world, 3), 0);
}

#[test]
fn l63_a_clique_that_works_for_itself_is_believed_nothing() {
    let mut world = World::open(60);
    // An honest neighbour, so that there is belief about.
    world.done(1, ME, 5_000, 10);
    let mut time = 100;
    for one in 10..60_u8 {
        for step in [1, 7, 20] {
            let other = 10 + (one - 10 + step) % 50;
            world.done(one, other, 1_000, time);
            world.give(other, one, 1_000, time + 5);
            time += 20;
        }
    }
    for one in 10..60 {
        let said = ask_at(&world, &KNOWN, &Taken::new(), (one, 0), time);
        assert_eq!(said.credible, mk(0), "{one}");
        assert_eq!(said.room, mk(500), "what the charter gives everybody");
    }
}

#[test]
fn l63_belief_goes_one_hop_further_and_no_more() {
    let mut world = World::without_lines(6);
    world.done(1, ME, 100, 10);
    world.done(2, 1, 80, 30);
    world.done(3, 2, 60, 50);
    world.done(4, 3, 40, 70);
    assert_eq!(credible(&world, 2), 20, "80, and 60 of it went on");
    assert_eq!(credible(&world, 3), 20, "one hop further, and 40 went on");
    assert_eq!(credible(&world, 4), 0, "too far to be believed");
    assert_eq!(ask(&world, &KNOWN, 3, 0).basis[0].node, id(1));
    let mut unsaid = world.clone();
    unsaid.charged(5, 1, 50, 90);
    assert_eq!(credible(&unsaid, 5), 0, "not accepted, not believed");
}

#[test]
fn l63_what_one_took_elsewhere_is_taken_off() {
    let mut world = World::without_lines(6);
    world.done(1, ME, 100, 10);
    world.done(2, 1, 80, 30);
    world.done(5, 2, 30, 50);
    assert_eq!(credible(&world, 2), 50, "80 less the 30 it took of another");
    assert_eq!(credible(&world, 5), 30, "who has them");
    world.give(2, 4, 20, 70);
    assert_eq!(credible(&world, 2), 30, "less what it gave away");
    world.order_new(2, 4, 25, 200, 80);
    assert_eq!(credible(&world, 2), 5, "less what it ordered");
    world.done(2, 4, 100, 90);
    assert_eq!(credible(&world, 2), 30, "a hold made up for by work there");
}

#[test]
fn l63_gifts_are_believed_up_to_the_line_said_to_the_giver() {
    let mut world = World::without_lines(5);
    world.done(1, ME, 100, 10);
    world.give(1, 2, 80, 30);
    assert_eq!(credible(&world, 2), 0, "no line, no gift");
    world.trust(ME, 1, 30, 40);
    assert_eq!(credible(&world, 2), 30);
    world.give(1, 3, 80, 50);
    let taken = [(id(2), running(20))].into();
    let said = ask_at(&world, &KNOWN, &taken, (3, 0), 1_000);
    assert_eq!(said.credible, mk(10), "all its gifts together");
}

fn running(mk: u64) -> Taking {
    Taking {
        held: mk_const(0),
        running: mk_const(mk),
    }
}

#[test]
fn l64_belief_is_spent_once_however_many_draw_on_it() {
    let mut world = World::without_lines(50);
    world.done(1, ME, 100, 10);
    for node in 10..50 {
        world.done(node, 1, 100, 20 + u64::from(node) * 5);
    }
    let mut lent = 0;
    for node in 10..50 {
        let said = ask(&world, &KNOWN, node, 30);
        if said.granted {
            lent += 30;
            world.charged(ME, node, 30, 500 + u64::from(node));
        } else {
            assert_eq!(said.credible, mk(100 - lent), "what is left");
        }
    }
    assert_eq!(lent, 90, "of the 100 that one is believed");
    let said = ask(&world, &KNOWN, 1, 11);
    assert_eq!(
        (said.lent, said.room),
        (mk(90), mk(10)),
        "its word is spent"
    );
    assert!(!said.granted);
}

#[test]
fn l64_a_chain_of_belief_is_spent_once() {
    let mut world = World::without_lines(5);
    world.done(1, ME, 100, 10);
    world.done(2, 1, 100, 30);
    world.done(3, 2, 60, 50);
    let rooms = |world: &World| [1, 2, 3].map(|node| room(world, node));
    assert_eq!(rooms(&world), [100, 40, 60]);
    world.charged(ME, 3, 50, 100);
    assert_eq!(rooms(&world), [50, 40, 10]);
    world.charged(ME, 2, 40, 120);
    assert_eq!(rooms(&world), [10, 0, 10]);
    world.charged(ME, 1, 10, 140);
    assert_eq!(rooms(&world), [0, 0, 0], "100 in all");
    // Paid by work for the provider, it is there again.
    world.done(3, ME, 50, 160);
    assert_eq!(rooms(&world), [50, 0, 50]);
}

#[test]
fn l65_holds_nobody_took_spend_no_belief() {
    let mut world = World::without_lines(4);
    world.done(1, ME, 100, 10);
    world.done(2, 1, 100, 30);
    world.done(3, 1, 100, 50);
    world.order_new(3, ME, 1_000_000, 900, 70);
    assert_eq!(credible(&world, 2), 100);
    let taken = [(id(3), running(60))].into();
    let said = ask_at(&world, &KNOWN, &taken, (2, 0), 1_000);
    assert_eq!(said.credible, mk(40), "what runs does");
}

#[test]
fn l66_a_loan_that_nobody_answers_for_comes_off_everybodys_credible_net() {
    let mut world = World::without_lines(8);
    world.done(1, ME, 100_000, 10);
    world.done(2, ME, 50_000, 30);
    world.done(5, 2, 50_000, 50);
    world.done(3, 1, 100_000, 70);
    let work = world.charged(4, 1, 100_000, 90);
    world.accept(1, work, 95);
    let policy = Neighbour {
        cap: mk(1_000_000),
        newcomer_percent: 5,
    };
    let left = |world: &World, node| ask(world, &policy, node, 0).credible.get();
    assert!(ask(&world, &policy, 4, 100_000).granted);
    world.charged(ME, 4, 100_000, 110);
    assert_eq!([left(&world, 3), left(&world, 5)], [0, 50_000]);
    // The voucher takes its word back: it must not buy a second loan.
    world.dispute(1, work, 130);
    assert_eq!(
        [left(&world, 3), left(&world, 5)],
        [10_000, 0],
        "100,000 less the 10,000 written off anyway"
    );
    world.done(4, ME, 100_000, 150);
    assert_eq!([left(&world, 3), left(&world, 5)], [100_000, 50_000]);
}

#[test]
fn l67_newcomers_share_one_bucket() {
    let mut world = World::without_lines(40);
    let policy = Neighbour {
        cap: mk(0),
        newcomer_percent: 5,
    };
    let now = 40 * DAY;
    let mut lent = 0;
    for node in 2..40 {
        let time = now + u64::from(node);
        if ask_at(&world, &policy, &Taken::new(), (node, 3_000), time).granted {
            lent += 3_000;
            world.charged(ME, node, 3_000, time);
        }
    }
    assert_eq!(
        lent, 9_000,
        "at least one picture, for all of them together"
    );
    let bucket = |world: &World, node, now| {
        ask_at(world, &policy, &Taken::new(), (node, 0), now)
            .bucket
            .get()
    };
    assert_eq!(bucket(&world, 39, now), 1_000);
    world.trust(ME, 1, 1_000_000, now + 99);
    world.done(ME, 1, 1_000_000, now + 100);
    assert_eq!(bucket(&world, 39, now), 41_000, "5 % of a month's work");
    assert_eq!(
        bucket(&world, 39, now + 31 * DAY),
        10_000,
        "what is older neither earns nor counts"
    );
    assert_eq!(
        ask_at(&world, &policy, &Taken::new(), (2, 0), now + 31 * DAY).room,
        mk(7_000),
        "but to whom it was lent"
    );
}

#[test]
fn l68_a_crowd_costs_a_decision_a_bounded_search() {
    let mut world = World::without_lines(240);
    for node in 1..140 {
        let mk = u64::from(node);
        world.done(node, ME, 100 + mk, mk * 5);
    }
    for node in 140..239 {
        world.done(node, 139, 1, u64::from(node) * 10);
    }
    // 128 are believed directly, the largest first: 12 to 139.
    world.done(239, 11, 50, 4_000);
    assert_eq!(credible(&world, 239), 0);
    world.done(239, 12, 50, 5_000);
    assert_eq!(credible(&world, 239), 50);
}

/// Seeds for another and is thanked.
fn thank(world: &mut World, from: u8, to: u8, amount: u64, time: u64) {
    let reason = TransferReason::Seeding {
        blobs: job(1),
        bytes: ByteCount::new(amount),
    };
    let body = Body::Transfer {
        to: id(to),
        amount: mk(amount),
        reason,
    };
    world.write(from, &body, time);
}

#[test]
fn l69_a_clique_that_seeds_for_itself_and_orders_gains_nothing() {
    // Sybils thank each other for blobs nobody wanted: no credit comes of it.
    let mut world = World::without_lines(60);
    world.done(1, ME, 5_000, 10);
    let mut time = 100;
    for one in 10..60_u8 {
        thank(&mut world, one, 10 + (one - 9) % 50, 100_000, time);
        time += 1;
    }
    assert!((10..60).all(|one| credible(&world, one) == 0));
    assert_eq!(
        world.book_unchecked().thanks_since(&id(10), &id(11), at(0)),
        mk(100_000)
    );

    // One of them orders jobs whose files another seeds. The provider lends it a picture's worth,
    // charges work and fetching, and thanks the seeder out of the charge.
    let policy = Neighbour {
        cap: mk(1_000),
        newcomer_percent: 5,
    };
    let (mut charged, mut thanked) = (0, 0);
    for one in 10..59 {
        time += 20;
        if ask_at(&world, &policy, &Taken::new(), (one, 3_000), time).granted {
            world.charged(ME, one, 3_000, time);
            thank(&mut world, ME, 59, 2_000, time + 2);
            (charged, thanked) = (charged + 3_000, thanked + 2_000);
        }
    }
    assert_eq!(
        (charged, thanked),
        (9_000, 6_000),
        "the bucket, and within it"
    );
    // The seeder draws its thanks in work, and not a millikudos beyond what was lent anyway.
    let said = ask_at(&world, &policy, &Taken::new(), (59, 0), time + 20);
    assert_eq!(said.room, mk(thanked + 10_000 - charged));
    let clique: i128 = (10..60)
        .map(|one| world.book_unchecked().balance(&id(one)).mk())
        .sum();
    assert_eq!(clique, i128::from(thanked) - i128::from(charged), "a loss");
    assert!(clique < 0);
}
