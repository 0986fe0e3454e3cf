//! Comparing head sets: what it finds, what it costs, what hostile frames get.

use std::collections::BTreeSet;

use hearth_protocol::id::{EntryHash, NodeId};
use hearth_protocol::unit::Seq;
use hearth_protocol::wire::Head;
use proptest::prelude::*;

use crate::reconcile::{HeadSet, ROUNDS_MAX};

const HEAD_LEN: usize = 77;

fn spread(seed: u64) -> [u8; 32] {
    *blake3::hash(&seed.to_le_bytes()).as_bytes()
}

fn head(author: u64, seq: u64) -> Head {
    Head {
        author: NodeId::from_bytes(spread(author)),
        seq: Seq::new(seq),
        hash: EntryHash::from_bytes(spread(author ^ seq << 40)),
    }
}

struct Told {
    /// Authors of whom one side saw the other's heads.
    authors: BTreeSet<NodeId>,
    bytes: usize,
    frames: u8,
}

/// Lets two sides talk until neither has anything to say.
fn compare(first: &[Head], second: &[Head], key: u8) -> Told {
    let sets = [HeadSet::new(first.to_vec()), HeadSet::new(second.to_vec())];
    let key = [key; 16];
    let mut authors = BTreeSet::new();
    let (mut frame, mut heads) = (Some(sets[0].open(&key)), Vec::new());
    let (mut bytes, mut frames) = (0, 0);
    while let Some(said) = frame {
        frames += 1;
        assert!(frames <= ROUNDS_MAX);
        let hears = usize::from(frames % 2);
        bytes += said.len();
        let answer = sets[hears].answer(&key, &said, &heads).unwrap();
        bytes += answer.heads.len() * HEAD_LEN;
        authors.extend(answer.heads.iter().map(|head| head.author));
        (frame, heads) = (answer.frame, answer.heads);
    }
    Told {
        authors,
        bytes,
        frames,
    }
}

/// Authors whose heads are not the same on both sides.
fn differing(one: &[Head], other: &[Head]) -> BTreeSet<NodeId> {
    let (one, other): (BTreeSet<_>, BTreeSet<_>) = (one.iter().collect(), other.iter().collect());
    one.symmetric_difference(&other)
        .map(|head| head.author)
        .collect()
}

/// So many heads, of which the second side has some newer, some more and some less.
fn recent(count: u64, differences: u64) -> (Vec<Head>, Vec<Head>) {
    let first: Vec<Head> = (0..count).map(|author| head(author, 1)).collect();
    let mut second = first.clone();
    for turn in 0..differences {
        let at = usize::try_from(turn * (count / differences)).unwrap();
        second[at] = head(turn * (count / differences), 2);
    }
    (first, second)
}

#[test]
fn l51_a_hundred_differences_among_a_hundred_thousand_heads_cost_little() {
    let (first, second) = recent(100_000, 100);
    let told = compare(&first, &second, 7);
    assert_eq!(told.authors, differing(&first, &second));
    assert!(told.frames <= 10, "{} frames", told.frames);
    assert!(told.bytes < 20_000, "{} bytes", told.bytes);
    println!(
        "100,000 heads: {} bytes in {} frames",
        told.bytes, told.frames
    );
    let equal = compare(&first, &first, 7);
    assert_eq!((equal.frames, equal.bytes), (1, 3 + 256 * 4));
}

#[test]
fn l50_sums_tell_apart_what_a_plain_xor_would_not() {
    // Four authors: whichever pairs are swapped, the names differ under every key.
    let one: Vec<Head> = (0..40).map(|author| head(author, 1)).collect();
    let mut other = one.clone();
    other[0] = head(0, 2);
    other[1] = head(1, 2);
    for key in 0..20 {
        let told = compare(&one, &other, key);
        assert_eq!(told.authors, differing(&one, &other));
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 200,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn l50_both_sides_learn_exactly_what_they_lack(
        shared in proptest::collection::btree_set((0..3_000_u64, 0..3_u64), 0..600),
        ours in proptest::collection::btree_set((0..3_000_u64, 0..5_u64), 0..60),
        theirs in proptest::collection::btree_set((0..3_000_u64, 0..5_u64), 0..60),
        key: u8,
    ) {
        let heads = |own: &BTreeSet<(u64, u64)>| -> Vec<Head> {
            let all: BTreeSet<_> = shared.union(own).copied().collect();
            all.into_iter().map(|(author, seq)| head(author, seq)).collect()
        };
        let (first, second) = (heads(&ours), heads(&theirs));
        let (mut first, mut second) = (first, second);
        // What one side was shown it has from then on; one more comparison finds the rest.
        for turn in 0..4 {
            let told = compare(&first, &second, key.wrapping_add(turn));
            prop_assert!(told.authors.is_subset(&differing(&first, &second)));
            let both: BTreeSet<Head> = first.iter().chain(&second).copied().collect();
            let shown = both.into_iter().filter(|head| told.authors.contains(&head.author));
            let shown: Vec<Head> = shown.collect();
            for side in [&mut first, &mut second] {
                side.extend(&shown);
                side.sort_unstable();
                side.dedup();
            }
        }
        prop_assert!(differing(&first, &second).is_empty());
    }

    #[test]
    fn l52_any_bytes_get_a_bounded_answer(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let set = HeadSet::new((0..500).map(|author| head(author, 1)).collect());
        if let Ok(answer) = set.answer(&[1; 16], &bytes, &[]) {
            prop_assert!(answer.heads.len() <= 500);
            let len = answer.frame.map_or(0, |frame| frame.len());
            prop_assert!(len <= 200 * 1024);
        }
    }
}
