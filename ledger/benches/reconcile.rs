//! What comparing head sets costs, beside `negentropy` on the same sets: bytes, frames and time.
//!
//! `cargo bench -p hearth-ledger --bench reconcile`

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a bench prints its table, looks at the clock and may stop at a fault"
)]

use std::time::Instant;

use hearth_ledger::reconcile::HeadSet;
use hearth_protocol::id::{EntryHash, NodeId};
use hearth_protocol::unit::Seq;
use hearth_protocol::wire::Head;
use negentropy::{Id, Negentropy, NegentropyStorageVector};

/// Canonical bytes of one head.
const HEAD_LEN: usize = 77;

/// A head with the date of its entry, in seconds.
type Dated = (Head, u64);

struct Cost {
    bytes: usize,
    frames: usize,
    ready_ms: f64,
    talk_ms: f64,
}

fn hash(text: &str, number: u64, place: u64) -> [u8; 32] {
    *blake3::hash(format!("{text} {number} {place}").as_bytes()).as_bytes()
}

fn head(author: u64, place: u64) -> Head {
    Head {
        author: NodeId::from_bytes(hash("author", author, 0)),
        seq: Seq::new(place),
        hash: EntryHash::from_bytes(hash("entry", author, place)),
    }
}

/// Heads a month old at most, and the same with some that moved on in the last minute.
fn sets(count: u64, differences: u64) -> (Vec<Dated>, Vec<Dated>) {
    let month = 30 * 86_400;
    let old: Vec<Dated> = (0..count)
        .map(|author| (head(author, 1), author * 7_919 % month))
        .collect();
    let mut new = old.clone();
    let step = usize::try_from(count / differences).unwrap();
    for slot in new.iter_mut().step_by(step) {
        slot.0.seq = Seq::new(2);
        slot.0.hash = EntryHash::from_bytes(hash("moved", slot.1, 2));
        slot.1 = month;
    }
    (old, new)
}

fn ours(old: &[Dated], new: &[Dated]) -> Cost {
    let begin = Instant::now();
    let set = |heads: &[Dated]| HeadSet::new(heads.iter().map(|(head, _)| *head).collect());
    let sides = [set(old), set(new)];
    let ready_ms = begin.elapsed().as_secs_f64() * 500.0;
    let (key, begin) = ([7; 16], Instant::now());
    let (mut frame, mut heads) = (Some(sides[0].open(&key)), Vec::new());
    let (mut bytes, mut frames) = (0, 0);
    while let Some(said) = frame {
        frames += 1;
        bytes += said.len();
        let answer = sides[frames % 2].answer(&key, &said, &heads).unwrap();
        bytes += answer.heads.len() * HEAD_LEN;
        (frame, heads) = (answer.frame, answer.heads);
    }
    Cost {
        bytes,
        frames,
        ready_ms,
        talk_ms: begin.elapsed().as_secs_f64() * 1_000.0,
    }
}

/// negentropy learns ids; the heads behind them are fetched after it, as many bytes as ours.
fn theirs(old: &[Dated], new: &[Dated], by_date: bool) -> Cost {
    let begin = Instant::now();
    let storage = |heads: &[Dated]| {
        let mut storage = NegentropyStorageVector::with_capacity(heads.len());
        for (head, date) in heads {
            let id = Id::from_byte_array(*head.hash.as_bytes());
            storage.insert(if by_date { *date } else { 0 }, id).unwrap();
        }
        storage.seal().unwrap();
        storage
    };
    let mut client = Negentropy::owned(storage(old), 0).unwrap();
    let mut server = Negentropy::owned(storage(new), 0).unwrap();
    let (ready_ms, begin) = (begin.elapsed().as_secs_f64() * 500.0, Instant::now());
    let mut said = client.initiate().unwrap();
    let (mut bytes, mut frames) = (said.len(), 1);
    let (mut have, mut need) = (Vec::new(), Vec::new());
    loop {
        let answer = server.reconcile(&said).unwrap();
        (bytes, frames) = (bytes + answer.len(), frames + 1);
        match client
            .reconcile_with_ids(&answer, &mut have, &mut need)
            .unwrap()
        {
            Some(next) => {
                (bytes, frames) = (bytes + next.len(), frames + 1);
                said = next;
            }
            None => break,
        }
    }
    Cost {
        bytes: bytes + need.len() * HEAD_LEN,
        frames,
        ready_ms,
        talk_ms: begin.elapsed().as_secs_f64() * 1_000.0,
    }
}

fn main() {
    println!("| heads | differences | how | bytes | frames | to get ready, ms | to compare, ms |");
    println!("|---|---|---|---|---|---|---|");
    for (count, differences) in [(10_000, 100), (100_000, 100), (1_000_000, 100)] {
        let (old, new) = sets(count, differences);
        let rows = [
            ("Hearth", ours(&old, &new)),
            ("negentropy, by id", theirs(&old, &new, false)),
            ("negentropy, by date", theirs(&old, &new, true)),
        ];
        for (how, cost) in rows {
            let Cost {
                bytes,
                frames,
                ready_ms,
                talk_ms,
            } = cost;
            println!(
                "| {count} | {differences} | {how} | {bytes} | {frames} | {ready_ms:.1} | {talk_ms:.1} |"
            );
        }
    }
}
