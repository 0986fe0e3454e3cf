//! L-bound: what an honest provider can lose, over random adversaries.
//!
//! Everybody but the provider lies as it likes: work that never was, acks taken back, forks, holds
//! nobody took, and chains it keeps from the provider. The provider takes what its policy grants.
//! What it lost is counted from what it did and got, not from its book.

use std::collections::BTreeMap;

use hearth_protocol::credit::{Taken, Taking};
use hearth_protocol::id::EntryHash;
use proptest::prelude::*;

use super::world::{World, at, id, mk};
use crate::author::Tip;
use crate::{Book, CreditPolicy, Neighbour, Question, credit};

const ME: u8 = 0;
/// These work for each other and for the provider, really and not.
const KNOWN: std::ops::Range<u8> = 1..6;
/// These are sybils nobody knows.
const NEWCOMERS: std::ops::Range<u8> = 6..10;
/// The provider's lines to the first two.
const LINE: u64 = 1_000;
const CAP: u64 = 2_000;
const LIFE: u64 = 1_000_000;

#[derive(Debug, Clone)]
enum Move {
    /// Orders at the provider, which decides.
    Ask { from: u8, mk: u64 },
    /// The provider charges what it took, up to its max, or gives it up.
    Finish { work: usize, percent: u64 },
    /// The provider orders, gets what it ordered and accepts.
    Hire { by: u8, mk: u64 },
    /// Work that never was, with or without an ack.
    Pretend { by: u8, of: u8, mk: u64, ack: bool },
    /// An ack taken back, or given late.
    Reconsider { receipt: usize, accepts: bool },
    /// An order at the provider that it is never asked about.
    Hold { from: u8, mk: u64 },
    /// A gift.
    Give { from: u8, to: u8, mk: u64 },
    /// Another history from an earlier place on.
    Fork { node: u8, back: usize },
    /// The provider hears of a chain.
    Tell { node: u8 },
    /// Somebody leaves.
    Leave { node: u8 },
}

fn two() -> impl Strategy<Value = (u8, u8)> {
    prop_oneof![(KNOWN, KNOWN), (NEWCOMERS, NEWCOMERS)]
}

fn any_move() -> impl Strategy<Value = Move> {
    let node = || prop_oneof![KNOWN, NEWCOMERS];
    let some = || 1..4_000_u64;
    prop_oneof![
        9 => (node(), some()).prop_map(|(from, mk)| Move::Ask { from, mk }),
        6 => (0..40_usize, 0..110_u64).prop_map(|(work, percent)| Move::Finish { work, percent }),
        3 => (KNOWN, some()).prop_map(|(by, mk)| Move::Hire { by, mk }),
        8 => (two(), some(), any::<bool>())
            .prop_map(|((by, of), mk, ack)| Move::Pretend { by, of, mk, ack }),
        3 => (0..40_usize, any::<bool>())
            .prop_map(|(receipt, accepts)| Move::Reconsider { receipt, accepts }),
        1 => (node(), some()).prop_map(|(from, mk)| Move::Hold { from, mk: mk * 100 }),
        2 => (two(), some()).prop_map(|((from, to), mk)| Move::Give { from, to, mk }),
        1 => (node(), 1..20_usize).prop_map(|(node, back)| Move::Fork { node, back }),
        6 => node().prop_map(|node| Move::Tell { node }),
        1 => node().prop_map(|node| Move::Leave { node }),
    ]
}

/// A provider among liars.
struct Stage {
    world: World,
    now: u64,
    /// The provider's book: it lacks what it was not told.
    book: Book,
    read: BTreeMap<u8, usize>,
    percent: u8,
    tips: BTreeMap<u8, Vec<Option<Tip>>>,
    receipts: Vec<(EntryHash, u8)>,
    /// Orders taken and not finished.
    works: Vec<(EntryHash, u8, u64)>,
    /// What the provider did less what it got, by requester.
    lost: BTreeMap<u8, i128>,
    /// The most it ever believed of all together, and the largest bucket there was.
    believed: i128,
    bucket: i128,
}

impl Stage {
    fn new(member_line: u64, percent: u8) -> Self {
        let mut world = World::without_lines(0);
        world.charter.member_line = mk(member_line);
        for node in 0..NEWCOMERS.end {
            world.join(node, None, 0);
        }
        for peer in [1, 2] {
            world.trust(ME, peer, LINE, 1);
        }
        Self {
            now: 10,
            book: world.book_unchecked(),
            world,
            read: BTreeMap::new(),
            percent,
            tips: BTreeMap::new(),
            receipts: Vec::new(),
            works: Vec::new(),
            lost: BTreeMap::new(),
            believed: 0,
            bucket: 0,
        }
    }

    fn tell(&mut self, node: u8) {
        let read = self.read.entry(node).or_default();
        for entry in &self.world.entries[*read..] {
            if entry.header.trusted().author == id(node) {
                self.book.replay(entry.clone());
            }
        }
        *read = self.world.entries.len();
    }

    fn taken(&self) -> Taken {
        let mut taken = Taken::new();
        for (_, from, max) in &self.works {
            let taking: &mut Taking = taken.entry(id(*from)).or_default();
            taking.running = taking.running.checked_add(mk(*max)).unwrap();
        }
        taken
    }

    fn ask(&mut self, from: u8, max: u64) {
        let order = self
            .world
            .order_new(from, ME, max, self.now + LIFE, self.now);
        self.tell(from);
        let policy = Neighbour {
            cap: mk(CAP),
            newcomer_percent: self.percent,
        };
        let taken = self.taken();
        let question = Question {
            book: &self.book,
            me: id(ME),
            now: at(self.now),
            taken: &taken,
        };
        let said = policy.decide(&question, &id(from), mk(max));
        self.note_bounds();
        let held = self.book.order(&order).map(|view| view.state);
        if said.granted && held == Some(crate::OrderState::Held) {
            self.works.push((order, from, max));
        }
    }

    /// Notes how much the provider believes, from what it has in its book.
    fn note_bounds(&mut self) {
        let taken = self.taken();
        let question = Question {
            book: &self.book,
            me: id(ME),
            now: at(self.now),
            taken: &taken,
        };
        let mut sum = 0;
        for node in 1..NEWCOMERS.end {
            let said = self.book.line_said(&id(ME), &id(node));
            let dealing = self.book.dealing(&id(ME), &id(node));
            let (pair, got) = (dealing.did, dealing.got.accepted);
            let running = taken.get(&id(node)).map_or(0, |t| t.running.get());
            let exposed = pair.charged - got - pair.given + i128::from(running);
            sum += (said.map_or(0, |line| i128::from(line.get())) - exposed).max(0);
        }
        self.believed = self.believed.max(sum);
        let bucket = credit::bucket(&question, self.percent).get();
        self.bucket = self.bucket.max(i128::from(bucket));
    }

    fn play(&mut self, step: &Move) {
        self.now += 1;
        for node in 0..NEWCOMERS.end {
            let tip = self.world.tip(node);
            self.tips.entry(node).or_default().push(tip);
        }
        match *step {
            Move::Ask { from, mk } => self.ask(from, mk),
            Move::Finish { work, percent } if !self.works.is_empty() => {
                let (order, from, max) = self.works.remove(work % self.works.len());
                let amount = max * percent.min(100) / 100;
                if percent > 0 {
                    self.world.receipt(ME, order, amount, self.now);
                    *self.lost.entry(from).or_default() += i128::from(amount);
                } else {
                    self.world.void(ME, order, self.now);
                }
                self.tell(ME);
            }
            Move::Hire { by, mk } => {
                let receipt = self.world.charged(by, ME, mk, self.now);
                self.now += 2;
                self.world.accept(ME, receipt, self.now);
                self.tell(by);
                self.tell(ME);
                *self.lost.entry(by).or_default() -= i128::from(mk);
            }
            Move::Pretend { by, of, mk, ack } => {
                let receipt = self.world.charged(by, of, mk, self.now);
                self.now += 2;
                self.receipts.push((receipt, of));
                if ack {
                    self.world.accept(of, receipt, self.now);
                }
            }
            Move::Reconsider { receipt, accepts } if !self.receipts.is_empty() => {
                let (receipt, of) = self.receipts[receipt % self.receipts.len()];
                if accepts {
                    self.world.accept(of, receipt, self.now);
                } else {
                    self.world.dispute(of, receipt, self.now);
                }
            }
            Move::Hold { from, mk } => {
                let deadline = self.now + LIFE;
                self.world.order_new(from, ME, mk, deadline, self.now);
            }
            Move::Give { from, to, mk } => drop(self.world.give(from, to, mk, self.now)),
            Move::Fork { node, back } => {
                let past = &self.tips[&node];
                let tip = past[past.len().saturating_sub(back)];
                self.world.rewind(node, tip);
                self.world.give(node, ME, 1, self.now);
            }
            Move::Tell { node } => self.tell(node),
            Move::Leave { node } => {
                let body = hearth_protocol::entry::Body::Leave;
                self.world.write(node, &body, self.now);
            }
            Move::Finish { .. } | Move::Reconsider { .. } => {}
        }
    }

    /// What the provider lost to a requester, and has under way for it.
    fn loss(&self, node: u8) -> i128 {
        let under_way = self.works.iter().filter(|(_, from, _)| *from == node);
        let under_way: i128 = under_way.map(|(.., max)| i128::from(*max)).sum();
        self.lost.get(&node).copied().unwrap_or(0) + under_way
    }

    fn line(node: u8, member_line: u64) -> i128 {
        i128::from(if node <= 2 { LINE } else { member_line })
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn l_bound_no_requester_costs_a_provider_more_than_line_cap_and_bucket(
        moves in proptest::collection::vec(any_move(), 1..120),
        member_line in prop_oneof![Just(0_u64), Just(700)],
        percent in prop_oneof![Just(0_u8), Just(5)],
    ) {
        let mut stage = Stage::new(member_line, percent);
        for step in &moves {
            stage.play(step);
            for node in 1..NEWCOMERS.end {
                let most = Stage::line(node, member_line) + i128::from(CAP) + stage.bucket;
                prop_assert!(stage.loss(node) <= most, "{} of {most} to {node}", stage.loss(node));
            }
        }
    }

    #[test]
    fn l_bound_all_newcomers_together_never_cost_more_than_the_bucket(
        moves in proptest::collection::vec(any_move(), 1..120),
    ) {
        let mut stage = Stage::new(0, 5);
        for step in &moves {
            stage.play(step);
            let lost: i128 = NEWCOMERS.map(|node| stage.loss(node).max(0)).sum();
            prop_assert!(lost <= stage.bucket, "{lost} of {}", stage.bucket);
        }
    }

    #[test]
    fn l64_loans_beyond_lines_never_pass_all_belief_what_is_written_off_and_the_bucket(
        moves in proptest::collection::vec(any_move(), 1..160),
        percent in prop_oneof![3 => Just(0_u8), 1 => Just(5)],
    ) {
        let mut stage = Stage::new(0, percent);
        for step in &moves {
            stage.play(step);
            let lent: i128 = (1..NEWCOMERS.end)
                .map(|node| (stage.loss(node) - Stage::line(node, 0)).max(0))
                .sum();
            let earned = stage.book.earned(&id(ME)).mk();
            let least = if percent == 0 { 0 } else { 10_000 };
            let written_off = (earned * i128::from(percent) / 100).max(least);
            let most = stage.believed + written_off + stage.bucket;
            prop_assert!(lent <= most, "{lent} of {most}");
        }
    }
}
