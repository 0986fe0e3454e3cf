//! Signed cards and capacity adverts.

#![no_main]

use hearth_protocol::capacity::Capacity;
use hearth_protocol::card::Card;
use hearth_protocol::sign::Signed;
use hearth_protocol::wire::Message;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(card) = Signed::<Card>::from_bytes(bytes) {
        assert_eq!(card.to_bytes(), bytes);
        let _ = card.verify();
    }
    if let Ok(advert) = Signed::<Capacity>::from_bytes(bytes) {
        assert_eq!(advert.to_bytes(), bytes);
        let _ = advert.verify();
    }
});
