//! A commons in memory: keys, chains and short words to write them with.

use hearth_protocol::charter::{Admission, Caps, Charter, Invite, PriceTable, Windows};
use hearth_protocol::codec;
use hearth_protocol::entry::{
    Body, DisputeCode, Energy, Entry, Header, InviteUse, NO_PREV, TransferReason, VERSION, Verdict,
    VoidReason, Work, body_hash,
};
use hearth_protocol::id::{Commitment, EntryHash, NodeId};
use hearth_protocol::sign::{Domain, NodeKey, Signed};
use hearth_protocol::unit::{Balance, Millikudos, Millis, Seq, Timestamp};

use crate::author::{Author, Tip};
use crate::{Book, Insertion, Standing};

/// Later than every date of the tests.
pub(crate) const LATE: Timestamp = Timestamp::from_millis(u64::MAX / 2);
/// The acceptance window of the test charter in milliseconds.
pub(crate) const ACK: u64 = 1_000;
/// The skew of the test charter in milliseconds.
pub(crate) const SKEW: u64 = 50;

pub(crate) fn key(index: u8) -> NodeKey {
    NodeKey::from_seed(&[index + 1; 32])
}

pub(crate) fn id(index: u8) -> NodeId {
    key(index).id()
}

pub(crate) fn at(ms: u64) -> Timestamp {
    Timestamp::from_millis(ms)
}

pub(crate) fn mk(amount: u64) -> Millikudos {
    Millikudos::new(amount).unwrap()
}

pub(crate) fn job(index: u8) -> Commitment {
    Commitment::from_bytes([index; 32])
}

pub(crate) fn charter(admission: Admission) -> Charter {
    Charter {
        version: 1,
        name: "friends".to_owned(),
        purpose: String::new(),
        founder: id(0),
        created: at(0),
        admission,
        prices: PriceTable::DEFAULT,
        member_line: mk(500),
        caps: Caps::DEFAULT,
        windows: Windows {
            ack: Millis::new(ACK),
            skew: Millis::new(SKEW),
            retention: Millis::new(10_000),
        },
        rules: String::new(),
    }
}

/// Everything written so far, in the order it was written.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) charter: Charter,
    tips: Vec<Option<Tip>>,
    pub(crate) entries: Vec<Entry>,
}

impl World {
    pub(crate) fn empty(admission: Admission) -> Self {
        Self {
            charter: charter(admission),
            tips: vec![None; 250],
            entries: Vec::new(),
        }
    }

    /// An open commons that `members` joined at date 0.
    pub(crate) fn open(members: u8) -> Self {
        let mut world = Self::empty(Admission::Open);
        for node in 0..members {
            world.join(node, None, 0);
        }
        world
    }

    /// An open commons whose charter gives nobody a line.
    pub(crate) fn without_lines(members: u8) -> Self {
        let mut world = Self::empty(Admission::Open);
        world.charter.member_line = mk(0);
        for node in 0..members {
            world.join(node, None, 0);
        }
        world
    }

    /// A job ordered, done and accepted, of a commitment of its own.
    pub(crate) fn done(&mut self, by: u8, requester: u8, amount: u64, time: u64) -> EntryHash {
        let receipt = self.charged(by, requester, amount, time);
        self.accept(requester, receipt, time + 2)
    }

    /// As [`done`](Self::done), and the requester says nothing to it.
    pub(crate) fn charged(&mut self, by: u8, requester: u8, amount: u64, time: u64) -> EntryHash {
        let order = self.order_new(requester, by, amount, time + 10, time);
        self.receipt(by, order, amount, time + 1)
    }

    /// An order for a job that no other order names.
    pub(crate) fn order_new(
        &mut self,
        from: u8,
        to: u8,
        max: u64,
        deadline: u64,
        time: u64,
    ) -> EntryHash {
        let mut job = [0; 32];
        job[..8].copy_from_slice(&self.entries.len().to_be_bytes());
        let body = Body::Order {
            provider: id(to),
            job: Commitment::from_bytes(job),
            max: mk(max),
            deadline: at(deadline),
        };
        self.write(from, &body, time)
    }

    pub(crate) fn author(&self, node: u8) -> Author {
        Author::new(key(node), self.charter.id())
    }

    pub(crate) fn tip(&self, node: u8) -> Option<Tip> {
        self.tips[usize::from(node)]
    }

    /// Puts the pen of a node back, so that it forks.
    pub(crate) fn rewind(&mut self, node: u8, tip: Option<Tip>) {
        self.tips[usize::from(node)] = tip;
    }

    /// Signs an entry without remembering it.
    pub(crate) fn sign(&self, node: u8, body: &Body, time: u64) -> Entry {
        self.author(node).sign(self.tip(node), body, at(time))
    }

    pub(crate) fn write(&mut self, node: u8, body: &Body, time: u64) -> EntryHash {
        let entry = self.sign(node, body, time);
        self.push(node, entry)
    }

    pub(crate) fn push(&mut self, node: u8, entry: Entry) -> EntryHash {
        let tip = Tip::from(&entry);
        self.tips[usize::from(node)] = Some(tip);
        self.entries.push(entry);
        tip.hash
    }

    /// Writes an entry of a version this build does not know.
    pub(crate) fn write_unknown(&mut self, node: u8, time: u64) -> EntryHash {
        let body = vec![0xff; 5];
        let entry = self.forge(node, time, &body, |header| header.version = VERSION + 1);
        self.push(node, entry)
    }

    /// Signs a header changed at will.
    pub(crate) fn forge(
        &self,
        node: u8,
        time: u64,
        body: &[u8],
        change: impl Fn(&mut Header),
    ) -> Entry {
        let tip = self.tip(node);
        let mut header = Header {
            version: VERSION,
            commons: self.charter.id(),
            author: id(node),
            seq: tip.map_or(Seq::FIRST, |tip| tip.seq.next().unwrap()),
            prev: tip.map_or(NO_PREV, |tip| tip.hash),
            time: at(time),
            body: body_hash(body),
        };
        change(&mut header);
        Entry {
            header: Signed::sign(header, &key(node)),
            body: body.to_vec(),
        }
    }

    pub(crate) fn join(&mut self, node: u8, invite: Option<InviteUse>, time: u64) -> EntryHash {
        self.write(node, &Body::Join { invite }, time)
    }

    pub(crate) fn order(
        &mut self,
        from: u8,
        to: u8,
        max: u64,
        deadline: u64,
        time: u64,
    ) -> EntryHash {
        let unique = u8::try_from(self.entries.len() % 256).unwrap();
        self.order_job(from, to, unique, max, deadline, time)
    }

    pub(crate) fn order_job(
        &mut self,
        from: u8,
        to: u8,
        of_job: u8,
        max: u64,
        deadline: u64,
        time: u64,
    ) -> EntryHash {
        let body = Body::Order {
            provider: id(to),
            job: job(of_job),
            max: mk(max),
            deadline: at(deadline),
        };
        self.write(from, &body, time)
    }

    pub(crate) fn receipt(
        &mut self,
        by: u8,
        order: EntryHash,
        amount: u64,
        time: u64,
    ) -> EntryHash {
        self.write(by, &receipt(order, amount), time)
    }

    pub(crate) fn void(&mut self, by: u8, order: EntryHash, time: u64) -> EntryHash {
        let body = Body::Void {
            order,
            reason: VoidReason::Failed,
        };
        self.write(by, &body, time)
    }

    pub(crate) fn accept(&mut self, by: u8, receipt: EntryHash, time: u64) -> EntryHash {
        let body = Body::Ack {
            receipt,
            verdict: Verdict::Accepted,
        };
        self.write(by, &body, time)
    }

    pub(crate) fn dispute(&mut self, by: u8, receipt: EntryHash, time: u64) -> EntryHash {
        let verdict = Verdict::Disputed(DisputeCode::Corrupt);
        self.write(by, &Body::Ack { receipt, verdict }, time)
    }

    pub(crate) fn give(&mut self, from: u8, to: u8, amount: u64, time: u64) -> EntryHash {
        self.write(from, &gift(to, amount), time)
    }

    pub(crate) fn trust(&mut self, from: u8, to: u8, limit: u64, time: u64) -> EntryHash {
        let body = Body::Trust {
            peer: id(to),
            limit: mk(limit),
        };
        self.write(from, &body, time)
    }

    /// Lets a node's clock pass: an entry that does nothing else.
    pub(crate) fn tick(&mut self, node: u8, time: u64) -> EntryHash {
        self.trust(node, 249, 0, time)
    }

    /// Fills a book without checking signatures, as a restart does.
    pub(crate) fn book_unchecked(&self) -> Book {
        let mut book = Book::new(self.charter.clone());
        for entry in &self.entries {
            book.replay(entry.clone());
        }
        book
    }

    pub(crate) fn book_without_last(&self) -> Book {
        let (_, before) = self.entries.split_last().unwrap();
        fill(&self.charter, before)
    }

    pub(crate) fn book(&self) -> Book {
        fill(&self.charter, &self.entries)
    }
}

pub(crate) fn gift(to: u8, amount: u64) -> Body {
    Body::Transfer {
        to: id(to),
        amount: mk(amount),
        reason: TransferReason::Gift,
    }
}

pub(crate) fn receipt(order: EntryHash, amount: u64) -> Body {
    Body::Receipt {
        order,
        amount: mk(amount),
        result: job(0),
        work: Work::default(),
        energy: Energy::default(),
    }
}

/// An invite by one node, used by another.
pub(crate) fn invite(world: &World, by: u8, uses: u32, expires: u64) -> (Signed<Invite>, NodeKey) {
    let secret = NodeKey::from_seed(&[99; 32]);
    let invite = Invite {
        commons: world.charter.id(),
        issuer: id(by),
        key: secret.invite_key(),
        expires: at(expires),
        uses,
    };
    (Signed::sign(invite, &key(by)), secret)
}

pub(crate) fn use_invite((invite, secret): &(Signed<Invite>, NodeKey), joiner: u8) -> InviteUse {
    InviteUse {
        invite: invite.clone(),
        proof: secret.sign(Domain::InviteProof, id(joiner).as_bytes()),
    }
}

/// Fills a book in whatever order the entries come, trying gaps again until nothing moves.
pub(crate) fn fill(charter: &Charter, entries: &[Entry]) -> Book {
    let mut book = Book::new(charter.clone());
    fill_into(&mut book, entries);
    book
}

pub(crate) fn fill_into(book: &mut Book, entries: &[Entry]) {
    let mut left: Vec<&Entry> = entries.iter().collect();
    loop {
        let before = left.len();
        left.retain(|entry| {
            book.insert((*entry).clone(), LATE);
            !book.contains(&entry.hash())
        });
        if left.is_empty() || left.len() == before {
            break;
        }
    }
}

pub(crate) fn balance(book: &Book, node: u8) -> i128 {
    book.balance(&id(node)).mk()
}

pub(crate) fn spendable(book: &Book, node: u8) -> i128 {
    book.spendable(&id(node)).mk()
}

pub(crate) fn sum(book: &Book) -> Balance {
    book.balances()
        .into_iter()
        .map(|(_, balance)| balance)
        .sum()
}

pub(crate) fn standing(book: &Book, hash: EntryHash) -> Standing {
    book.standing(&hash).expect("the entry is stored")
}

pub(crate) fn added(outcome: &Insertion) -> bool {
    matches!(outcome, Insertion::Added { .. })
}

pub(crate) fn canonical(body: &Body) -> Vec<u8> {
    codec::encode(body)
}
