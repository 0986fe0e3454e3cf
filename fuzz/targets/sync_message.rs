//! Messages on the sync stream and entry batches in gossip.

#![no_main]

use hearth_protocol::wire::{EntryBatch, Message, SyncMessage};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(message) = SyncMessage::from_bytes(bytes) {
        assert_eq!(message.to_bytes(), bytes);
    }
    if let Ok(batch) = EntryBatch::from_bytes(bytes) {
        assert_eq!(batch.to_bytes(), bytes);
    }
});
