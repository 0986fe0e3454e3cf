//! Tickets as people paste them, and the checks that follow.

#![no_main]

use hearth_protocol::codec;
use hearth_protocol::limits::TICKET_LEN_MAX;
use hearth_protocol::ticket::Ticket;
use hearth_protocol::unit::Timestamp;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let pasted = text.parse::<Ticket>().ok();
    // Past the checksum too, which random text hardly ever meets.
    let inner = codec::decode::<Ticket>(bytes, TICKET_LEN_MAX).ok();
    for ticket in pasted.into_iter().chain(inner) {
        let _ = ticket.check(Timestamp::ORIGIN);
        if let Ok(again) = ticket.to_string().parse::<Ticket>() {
            assert_eq!(again, ticket);
        }
    }
});
