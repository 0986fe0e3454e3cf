//! Ledger folders with any bytes in their segments: opening never fails for it, and what is
//! written afterwards is there at the next opening.

#![no_main]

use std::fs;

use hearth_ledger::Ledger;
use hearth_protocol::charter::{Admission, Caps, Charter, PriceTable, Windows};
use hearth_protocol::entry::Body;
use hearth_protocol::sign::NodeKey;
use hearth_protocol::unit::{Millikudos, Timestamp};
use libfuzzer_sys::fuzz_target;

const NOW: Timestamp = Timestamp::from_millis(1_000);

fn key() -> NodeKey {
    NodeKey::from_seed(&[7; 32])
}

fn charter() -> Charter {
    Charter {
        version: 1,
        name: String::new(),
        purpose: String::new(),
        founder: key().id(),
        created: NOW,
        admission: Admission::Open,
        prices: PriceTable::DEFAULT,
        member_line: Millikudos::saturating(500),
        caps: Caps::DEFAULT,
        windows: Windows::DEFAULT,
        rules: String::new(),
    }
}

fuzz_target!(|bytes: &[u8]| {
    let home = tempfile::tempdir().expect("a folder");
    let mut ledger = Ledger::open(home.path(), charter(), key()).expect("an empty folder opens");
    let join = ledger
        .write(Body::Join { invite: None }, NOW)
        .expect("a join is written");
    drop(ledger);
    for file in ["segments/own-00000000.seg", "segments/others-00000000.seg"] {
        let path = home.path().join(file);
        let mut content = fs::read(&path).unwrap_or_default();
        content.extend(bytes);
        if !content.is_empty() {
            fs::write(&path, content).expect("a segment is written");
        }
    }
    let Ok(mut ledger) = Ledger::open(home.path(), charter(), key()) else {
        // A segment of another kind is refused and not touched.
        return;
    };
    assert!(ledger.book().contains(&join.hash()));
    let leave = ledger.write(Body::Leave, NOW).expect("writing goes on");
    drop(ledger);
    let ledger = Ledger::open(home.path(), charter(), key()).expect("opening goes on");
    assert!(ledger.book().contains(&leave.hash()));
});
