//! The promises, as properties over generated histories.
//!
//! A history is a list of moves by a few members: some honest, some not (charges above the
//! order, words on other people's orders, forks, dates that jump). Every property must hold for
//! every one of them.

use std::collections::BTreeSet;

use hearth_protocol::entry::Body;
use hearth_protocol::id::EntryHash;
use hearth_protocol::unit::Balance;
use proptest::prelude::*;

use super::world::{World, fill, fill_into, id, sum};
use crate::author::Tip;
use crate::{Acceptance, Book, OrderState, Standing, audit, verify_fork_proof, why};

const NODES: u8 = 4;

#[derive(Debug, Clone)]
enum Move {
    Order {
        from: u8,
        to: u8,
        job: u8,
        max: u64,
        span: u64,
    },
    Receipt {
        by: Option<u8>,
        order: usize,
        amount: u64,
    },
    Void {
        by_provider: bool,
        order: usize,
    },
    Ack {
        receipt: usize,
        accepts: bool,
    },
    Give {
        from: u8,
        to: u8,
        amount: u64,
    },
    Trust {
        from: u8,
        to: u8,
        limit: u64,
    },
    Fork {
        node: u8,
        to: usize,
    },
    Unknown {
        node: u8,
    },
    Leave {
        node: u8,
    },
    Wait {
        span: u64,
    },
}

fn any_move() -> impl Strategy<Value = Move> {
    let node = || 0..NODES;
    prop_oneof![
        6 => (node(), node(), 0..6_u8, 1..200_u64, 1..300_u64)
            .prop_map(|(from, to, job, max, span)| Move::Order { from, to, job, max, span }),
        6 => (proptest::option::weighted(0.1, node()), 0..40_usize, 0..220_u64)
            .prop_map(|(by, order, amount)| Move::Receipt { by, order, amount }),
        2 => (any::<bool>(), 0..40_usize)
            .prop_map(|(by_provider, order)| Move::Void { by_provider, order }),
        3 => (0..40_usize, any::<bool>())
            .prop_map(|(receipt, accepts)| Move::Ack { receipt, accepts }),
        2 => (node(), node(), 0..100_u64)
            .prop_map(|(from, to, amount)| Move::Give { from, to, amount }),
        1 => (node(), node(), 0..100_u64)
            .prop_map(|(from, to, limit)| Move::Trust { from, to, limit }),
        1 => (node(), 0..30_usize).prop_map(|(node, to)| Move::Fork { node, to }),
        1 => node().prop_map(|node| Move::Unknown { node }),
        1 => node().prop_map(|node| Move::Leave { node }),
        3 => (1..400_u64).prop_map(|span| Move::Wait { span }),
    ]
}

/// Plays moves; references to orders and receipts wrap around what there is.
fn play(moves: &[Move]) -> World {
    let mut world = World::open(NODES);
    let mut now = 10;
    let mut orders: Vec<(EntryHash, u8, u8)> = Vec::new();
    let mut receipts: Vec<(EntryHash, u8)> = Vec::new();
    let mut tips: Vec<Vec<Option<Tip>>> = vec![Vec::new(); usize::from(NODES)];
    for step in moves {
        now += 1;
        for node in 0..NODES {
            tips[usize::from(node)].push(world.tip(node));
        }
        match *step {
            Move::Order {
                from,
                to,
                job,
                max,
                span,
            } => {
                let order = world.order_job(from, to, job, max, now + span, now);
                orders.push((order, from, to));
            }
            Move::Receipt { by, order, amount } if !orders.is_empty() => {
                let (order, from, to) = orders[order % orders.len()];
                let receipt = world.receipt(by.unwrap_or(to), order, amount, now);
                receipts.push((receipt, from));
            }
            Move::Void { by_provider, order } if !orders.is_empty() => {
                let (order, from, to) = orders[order % orders.len()];
                world.void(if by_provider { to } else { from }, order, now);
            }
            Move::Ack { receipt, accepts } if !receipts.is_empty() => {
                let (receipt, from) = receipts[receipt % receipts.len()];
                if accepts {
                    world.accept(from, receipt, now);
                } else {
                    world.dispute(from, receipt, now);
                }
            }
            Move::Give { from, to, amount } => drop(world.give(from, to, amount, now)),
            Move::Trust { from, to, limit } => drop(world.trust(from, to, limit, now)),
            Move::Fork { node, to } if to % 5 == 0 => {
                let past = &tips[usize::from(node)];
                // To before its join, or to somewhere it was.
                let to = if to == 0 { None } else { past[to % past.len()] };
                world.rewind(node, to);
                if world.tip(node).is_none() {
                    world.join(node, None, now);
                }
            }
            Move::Unknown { node } if now % 7 == 0 => drop(world.write_unknown(node, now)),
            Move::Leave { node } if now % 7 == 0 => drop(world.write(node, &Body::Leave, now)),
            Move::Wait { span } => now += span,
            Move::Receipt { .. }
            | Move::Void { .. }
            | Move::Ack { .. }
            | Move::Fork { .. }
            | Move::Unknown { .. }
            | Move::Leave { .. } => {}
        }
    }
    world
}

fn history() -> impl Strategy<Value = World> {
    proptest::collection::vec(any_move(), 1..60).prop_map(|moves| play(&moves))
}

fn shuffled() -> impl Strategy<Value = (World, Vec<hearth_protocol::entry::Entry>)> {
    history().prop_flat_map(|world| {
        let entries = world.entries.clone();
        (Just(world), Just(entries).prop_shuffle())
    })
}

/// Compares what two books say about everything.
fn same(left: &Book, right: &Book) -> Result<(), TestCaseError> {
    prop_assert_eq!(left.digest(), right.digest());
    prop_assert_eq!(left.heads(), right.heads());
    for node in 0..NODES {
        let node = id(node);
        prop_assert_eq!(left.balance(&node), right.balance(&node));
        prop_assert_eq!(left.pending(&node), right.pending(&node));
        prop_assert_eq!(left.is_forked(&node), right.is_forked(&node));
        for other in 0..NODES {
            let other = id(other);
            prop_assert_eq!(left.exposure(&node, &other), right.exposure(&node, &other));
            prop_assert_eq!(left.line(&node, &other), right.line(&node, &other));
        }
        prop_assert_eq!(left.open_orders_by(&node), right.open_orders_by(&node));
        prop_assert_eq!(
            left.receipts_unacked_by(&node),
            right.receipts_unacked_by(&node)
        );
    }
    for entry in left.entries() {
        let hash = entry.hash();
        prop_assert_eq!(left.standing(&hash), right.standing(&hash));
    }
    Ok(())
}

/// Checks one book against its own orders, entry by entry.
fn signed(book: &Book) -> Result<(), TestCaseError> {
    let mut undisputed = BTreeSet::new();
    for order in book.orders() {
        let OrderState::Settled(receipt) = order.state else {
            continue;
        };
        let entry = book.entry(&order.hash).unwrap();
        prop_assert_eq!(entry.header.verify().unwrap().author, order.requester);
        let charge = book.entry(&receipt.hash).unwrap();
        prop_assert_eq!(charge.header.verify().unwrap().author, order.provider);
        prop_assert!(receipt.amount <= order.max);
        prop_assert_eq!(book.standing(&receipt.hash), Some(Standing::Effective));
        prop_assert_eq!(book.standing(&order.hash), Some(Standing::Effective));
        if !matches!(receipt.acceptance, Acceptance::Disputed(_)) {
            let is_first = undisputed.insert((order.requester, order.job));
            prop_assert!(is_first, "one undisputed receipt a job");
        }
    }
    Ok(())
}

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 96,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    // L-conserve
    #[test]
    fn l_conserve_effective_amounts_sum_to_zero_over_any_set(
        (world, entries) in shuffled(),
        part in 0..=100_usize,
    ) {
        let some = &entries[..entries.len() * part / 100];
        for book in [world.book(), fill(&world.charter, some)] {
            prop_assert_eq!(sum(&book), Balance::ZERO);
        }
    }

    // L-converge
    #[test]
    fn l_converge_equal_sets_give_equal_state_however_they_arrive((world, entries) in shuffled()) {
        let in_order = world.book();
        let mut twice = entries.clone();
        twice.extend(world.entries.clone());
        same(&in_order, &fill(&world.charter, &entries))?;
        same(&in_order, &fill(&world.charter, &twice))?;
    }

    // L-converge
    #[test]
    fn l_converge_a_partition_that_heals_ends_in_one_state(
        (world, entries) in shuffled(),
        cut in 0..=100_usize,
    ) {
        let (here, there) = entries.split_at(entries.len() * cut / 100);
        let mut left = fill(&world.charter, here);
        let mut right = fill(&world.charter, there);
        // What did not connect while apart is asked for again with the rest.
        fill_into(&mut left, &entries);
        fill_into(&mut right, &entries);
        same(&left, &right)?;
        same(&left, &world.book())?;
    }

    // L-signed
    #[test]
    fn l_signed_every_debt_is_signed_by_the_debtor_and_within_its_order(world in history()) {
        signed(&world.book())?;
    }

    // L-fork
    #[test]
    fn l_fork_two_headers_at_one_place_are_always_proven((world, entries) in shuffled()) {
        let mut places = BTreeSet::new();
        let mut forked = BTreeSet::new();
        for entry in &world.entries {
            let header = entry.header.trusted();
            if !places.insert((header.author, header.seq)) {
                forked.insert(header.author);
            }
        }
        let book = fill(&world.charter, &entries);
        let proven: BTreeSet<_> = book
            .forks()
            .map(|proof| {
                verify_fork_proof(proof, world.charter.id()).unwrap();
                proof.left.trusted().author
            })
            .collect();
        prop_assert_eq!(proven, forked);
    }

    // L-explain
    #[test]
    fn l_explain_every_balance_is_the_sum_of_lines_that_name_signed_entries(world in history()) {
        let book = world.book();
        for node in 0..NODES {
            let lines = why(&book, &id(node));
            let total: Balance = lines.iter().map(|line| line.amount).sum();
            prop_assert_eq!(total, book.balance(&id(node)));
            for line in lines {
                prop_assert_eq!(book.standing(&line.entry), Some(Standing::Effective));
                prop_assert_eq!(book.date(&line.entry), Some(line.date));
            }
        }
        let report = audit(&book);
        prop_assert!(report.is_clean(), "{:?}", report.findings);
    }
}
