//! The ledger's rules: any history, in any order of arrival, gives one state whose balances sum
//! to zero and are explained to the last figure.
//!
//! The input is a program: four bytes a move by one of five nodes, some of them forks, heals,
//! checkpoints and words on other people's orders.

#![no_main]

use std::sync::OnceLock;

use hearth_ledger::author::{Author, Tip};
use hearth_ledger::{Book, audit};
use hearth_protocol::charter::{Admission, Caps, Charter, PriceTable, Windows};
use hearth_protocol::entry::{
    AuditVerdict, Body, DisputeCode, Energy, Entry, HealReason, PairNet, Place, TransferReason,
    Verdict, VoidReason, Work,
};
use hearth_protocol::id::{Commitment, EntryHash, NodeId};
use hearth_protocol::sign::NodeKey;
use hearth_protocol::unit::{Balance, Millikudos, Millis, Timestamp};
use libfuzzer_sys::fuzz_target;

const NODES: u8 = 5;
const MOVES_MAX: usize = 64;
const LATE: Timestamp = Timestamp::from_millis(u64::MAX / 2);

fn key(node: u8) -> NodeKey {
    NodeKey::from_seed(&[node + 1; 32])
}

fn ids() -> &'static [NodeId] {
    static IDS: OnceLock<Vec<NodeId>> = OnceLock::new();
    IDS.get_or_init(|| (0..NODES).map(|node| key(node).id()).collect())
}

fn charter() -> &'static Charter {
    static CHARTER: OnceLock<Charter> = OnceLock::new();
    CHARTER.get_or_init(|| Charter {
        version: 1,
        name: String::new(),
        purpose: String::new(),
        founder: ids()[0],
        created: Timestamp::from_millis(0),
        admission: Admission::Open,
        prices: PriceTable::DEFAULT,
        member_line: Millikudos::saturating(500),
        caps: Caps::DEFAULT,
        windows: Windows {
            ack: Millis::new(50),
            skew: Millis::new(50),
            retention: Millis::new(10_000),
        },
        rules: String::new(),
    })
}

struct World {
    authors: Vec<Author>,
    tips: Vec<Vec<Tip>>,
    pens: Vec<Option<Tip>>,
    entries: Vec<Entry>,
    now: u64,
}

impl World {
    fn new() -> Self {
        let commons = charter().id();
        let mut world = Self {
            authors: (0..NODES)
                .map(|node| Author::new(key(node), commons))
                .collect(),
            tips: vec![Vec::new(); usize::from(NODES)],
            pens: vec![None; usize::from(NODES)],
            entries: Vec::new(),
            now: 0,
        };
        for node in 0..usize::from(NODES) {
            world.write(node, &Body::Join { invite: None });
        }
        world
    }

    fn write(&mut self, node: usize, body: &Body) {
        let now = Timestamp::from_millis(self.now);
        let entry = self.authors[node].sign(self.pens[node], body, now);
        let tip = Tip::from(&entry);
        self.pens[node] = Some(tip);
        self.tips[node].push(tip);
        self.entries.push(entry);
    }

    fn named(&self, byte: u8) -> EntryHash {
        self.entries[usize::from(byte) % self.entries.len()].hash()
    }

    fn place(&self, node: usize, byte: u8) -> Place {
        let tips = &self.tips[node];
        let tip = tips[usize::from(byte) % tips.len()];
        Place {
            seq: tip.seq,
            hash: tip.hash,
        }
    }

    fn play(&mut self, kind: u8, a: u8, b: u8, c: u8) {
        let (node, other) = (usize::from(a % NODES), usize::from(b % NODES));
        let (peer, amount) = (ids()[other], Millikudos::saturating(u64::from(c)));
        self.now += u64::from(kind >> 5);
        let body = match kind % 16 {
            0 | 1 => Body::Order {
                provider: peer,
                job: Commitment::from_bytes([c % 4; 32]),
                max: amount,
                deadline: Timestamp::from_millis(self.now + u64::from(c % 16)),
            },
            2 | 3 => Body::Receipt {
                order: self.named(b),
                amount,
                result: Commitment::from_bytes([0; 32]),
                work: Work::default(),
                energy: Energy::default(),
            },
            4 => Body::Void {
                order: self.named(b),
                reason: VoidReason::Late,
            },
            5 => Body::Ack {
                receipt: self.named(b),
                verdict: Verdict::Accepted,
            },
            6 => Body::Ack {
                receipt: self.named(b),
                verdict: Verdict::Disputed(DisputeCode::Wrong),
            },
            7 => Body::Transfer {
                to: peer,
                amount,
                reason: TransferReason::Gift,
            },
            8 => Body::Trust {
                peer,
                limit: amount,
            },
            9 => Body::Audit {
                receipt: self.named(b),
                steps: 1,
                distance: 0,
                verdict: AuditVerdict::Passed,
            },
            10 => return self.net(node, other, c),
            11 => {
                let mut tips = vec![self.place(node, b).hash, self.place(node, c).hash];
                tips.extend(self.pens[node].map(|pen| pen.hash));
                tips.sort_unstable();
                tips.dedup();
                Body::Heal {
                    tips,
                    reason: HealReason::Other,
                }
            }
            12 => {
                let tips = &self.tips[node];
                self.pens[node] = Some(tips[usize::from(c) % tips.len()]);
                return;
            }
            13 => Body::Amend {
                prices: None,
                caps: None,
                rules: Some(String::new()),
            },
            14 if c > 250 => Body::Leave,
            _ => {
                self.now += u64::from(c);
                return;
            }
        };
        self.write(node, &body);
    }

    /// Both halves of a checkpoint, with the sums that are right for some prefix.
    fn net(&mut self, one: usize, other: usize, byte: u8) {
        let (own, theirs) = (self.place(one, byte), self.place(other, byte / 2));
        let half = |peer: usize, own, theirs| {
            Body::PairNet(PairNet {
                peer: ids()[peer],
                given: 0,
                taken: 0,
                own,
                theirs,
            })
        };
        self.write(one, &half(other, own, theirs));
        self.write(other, &half(one, theirs, own));
    }
}

fn fill<'a>(entries: impl Iterator<Item = &'a Entry>) -> Book {
    let mut book = Book::new(charter().clone());
    let mut left: Vec<&Entry> = entries.collect();
    loop {
        let before = left.len();
        left.retain(|entry| {
            book.insert((*entry).clone(), LATE);
            !book.contains(&entry.hash())
        });
        if left.is_empty() || left.len() == before {
            return book;
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut world = World::new();
    for step in bytes.chunks_exact(4).take(MOVES_MAX) {
        world.play(step[0], step[1], step[2], step[3]);
    }
    let book = fill(world.entries.iter());
    let reversed = fill(world.entries.iter().rev());
    assert_eq!(book.digest(), reversed.digest());
    let sum: Balance = book.balances().into_iter().map(|(_, sum)| sum).sum();
    assert_eq!(sum, Balance::ZERO);
    for entry in &world.entries {
        let hash = entry.hash();
        assert_eq!(book.standing(&hash), reversed.standing(&hash));
    }
    let report = audit(&book);
    assert!(report.is_clean(), "{:?}", report.findings);
});
