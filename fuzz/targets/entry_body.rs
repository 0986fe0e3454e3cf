//! Bodies of ledger entries: what decodes must encode to the same bytes.

#![no_main]

use hearth_protocol::codec;
use hearth_protocol::entry::{Body, Entry};
use hearth_protocol::limits::{BODY_LEN_MAX, ENTRY_LEN_MAX};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(body) = codec::decode::<Body>(bytes, BODY_LEN_MAX) {
        assert_eq!(codec::encode(&body), bytes);
    }
    if let Ok(entry) = codec::decode::<Entry>(bytes, ENTRY_LEN_MAX) {
        assert_eq!(codec::encode(&entry), bytes);
        let _ = entry.header.verify();
        let _ = entry.decode_body();
    }
});
