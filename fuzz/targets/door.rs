//! What strangers say at the join door, and what a door may answer.

#![no_main]

use hearth_protocol::wire::{DoorReply, DoorRequest, Message};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(request) = DoorRequest::from_bytes(bytes) {
        assert_eq!(request.to_bytes(), bytes);
    }
    if let Ok(reply) = DoorReply::from_bytes(bytes) {
        assert_eq!(reply.to_bytes(), bytes);
    }
});
