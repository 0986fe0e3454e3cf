//! Frames of a comparison of heads: any bytes get a bounded answer, and that answer is a frame.

#![no_main]

use std::sync::OnceLock;

use hearth_ledger::reconcile::HeadSet;
use hearth_protocol::id::{EntryHash, NodeId};
use hearth_protocol::limits::{COMPARE_LEN_MAX, HEADS_PER_MESSAGE_MAX};
use hearth_protocol::unit::Seq;
use hearth_protocol::wire::Head;
use libfuzzer_sys::fuzz_target;

/// A set with authors that share long prefixes, as somebody might make them.
fn set() -> &'static HeadSet {
    static SET: OnceLock<HeadSet> = OnceLock::new();
    SET.get_or_init(|| {
        let heads = (0..200_u8).map(|number| {
            let mut key = [number; 32];
            if number > 100 {
                key = [7; 32];
                key[31] = number;
            }
            Head {
                author: NodeId::from_bytes(key),
                seq: Seq::new(u64::from(number)),
                hash: EntryHash::from_bytes([number; 32]),
            }
        });
        HeadSet::new(heads.collect())
    })
}

fuzz_target!(|bytes: &[u8]| {
    let key = [3; 16];
    if let Ok(answer) = set().answer(&key, bytes, &[]) {
        assert!(answer.heads.len() <= HEADS_PER_MESSAGE_MAX);
        if let Some(frame) = answer.frame {
            assert!(frame.len() <= COMPARE_LEN_MAX);
            set().answer(&key, &frame, &answer.heads).expect("an answer is a frame");
        }
    }
});
