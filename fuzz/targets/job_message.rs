//! Messages on the job stream.

#![no_main]

use hearth_protocol::wire::{JobMessage, Message};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(message) = JobMessage::from_bytes(bytes) {
        assert_eq!(message.to_bytes(), bytes);
    }
});
