//! What the protocol refuses: second spellings, weak keys, foreign domains, excess. W2, W3, I2, I5.

use hearth_protocol::bounty::{BountyNote, BountyOpen};
use hearth_protocol::codec::{self, DecodeError};
use hearth_protocol::entry::{Body, VoidReason};
use hearth_protocol::id::{CommonsId, EntryHash, NodeId};
use hearth_protocol::job::Micro;
use hearth_protocol::limits;
use hearth_protocol::sign::{Domain, NodeKey, Signature, SignatureError, Signed, verify};
use hearth_protocol::unit::{Balance, ByteCount, Millikudos, Timestamp};
use hearth_protocol::wire::{
    DoorRefusal, DoorReply, DoorRequest, EntryBatch, JobMessage, Message, SyncMessage,
};
use proptest::prelude::*;

#[test]
fn w2_a_second_spelling_of_the_same_value_is_refused() {
    let canonical = codec::encode(&7_u64);
    assert_eq!(canonical, [0x07]);
    assert_eq!(codec::decode::<u64>(&[0x07], 9).unwrap(), 7);
    for longer in [&[0x18, 0x07][..], &[0x19, 0, 7], &[0xc1, 0x07]] {
        assert!(
            matches!(
                codec::decode::<u64>(longer, 9),
                Err(DecodeError::NotCanonical)
            ),
            "{longer:?}"
        );
    }
    let body = Body::Void {
        order: EntryHash::from_bytes([1; 32]),
        reason: VoidReason::Late,
    };
    let bytes = codec::encode(&body);
    assert_eq!(codec::decode::<Body>(&bytes, 99).unwrap(), body);
    let mut trailing = bytes.clone();
    trailing.push(0);
    assert!(
        codec::decode::<Body>(&trailing, 99).is_err(),
        "trailing bytes"
    );
    assert!(
        codec::decode::<Body>(&bytes[..bytes.len() - 1], 99).is_err(),
        "truncated"
    );
}

#[test]
fn w2_unknown_fields_are_refused() {
    // {5: {0: .., 1: .., 2: 0}} is a void with a field too many.
    let body = Body::Void {
        order: EntryHash::from_bytes([1; 32]),
        reason: VoidReason::Late,
    };
    let mut bytes = codec::encode(&body);
    assert_eq!(bytes[2], 0xa2, "a map of two fields");
    bytes[2] = 0xa3;
    bytes.extend_from_slice(&[0x02, 0x00]);
    assert!(codec::decode::<Body>(&bytes, 99).is_err());
}

#[test]
fn w3_a_message_beyond_its_bound_is_refused_before_decoding() {
    let bytes = vec![0; limits::FRAME_LEN_MAX + 1];
    assert!(
        SyncMessage::from_bytes(&bytes)
            .unwrap_err()
            .to_string()
            .contains("at most")
    );
    let heads = SyncMessage::CardsKnown {
        ids: vec![hearth_protocol::id::CardId::from_bytes([0; 32]); limits::CARD_IDS_MAX + 1],
    };
    assert!(
        SyncMessage::from_bytes(&heads.to_bytes())
            .unwrap_err()
            .to_string()
            .contains("cards")
    );
}

#[test]
fn w3_a_note_about_a_bounty_is_held_against_its_bounds() {
    let key = NodeKey::from_seed(&[1; 32]);
    let open = |title: usize, text: usize| {
        let note = BountyNote::Open(BountyOpen {
            commons: CommonsId::from_bytes([2; 32]),
            author: key.id(),
            title: "t".repeat(title),
            text: "x".repeat(text),
            until: Timestamp::from_millis(u64::MAX),
            created: Timestamp::from_millis(u64::MAX),
        });
        Signed::sign(note, &key)
    };
    let longest = open(limits::NAME_LEN_MAX, limits::BOUNTY_TEXT_LEN_MAX);
    let message = |notes| SyncMessage::BountyNotes { notes }.to_bytes();
    let full = message(vec![longest; limits::BOUNTY_NOTES_PER_MESSAGE_MAX]);
    SyncMessage::from_bytes(&full).unwrap();
    let short = open(1, 0);
    let refused = [
        (
            message(vec![short; limits::BOUNTY_NOTES_PER_MESSAGE_MAX + 1]),
            "notes",
        ),
        (message(vec![open(limits::NAME_LEN_MAX + 1, 0)]), "title"),
        (
            message(vec![open(1, limits::BOUNTY_TEXT_LEN_MAX + 1)]),
            "text",
        ),
    ];
    for (bytes, what) in refused {
        let error = SyncMessage::from_bytes(&bytes).unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    }
}

#[test]
fn i2_a_weak_key_is_refused_whatever_it_signed() {
    // The identity point: a small-order key under which lax verification accepts a forgery.
    let mut weak = [0; 32];
    weak[0] = 1;
    let mut forged = [0; 64];
    forged[0] = 1;
    let result = verify(
        &weak,
        Domain::Entry,
        b"anything",
        &Signature::from_bytes(forged),
    );
    assert_eq!(result, Err(SignatureError::WeakKey));
}

#[test]
fn i2_a_signature_of_one_domain_is_none_of_another() {
    let key = NodeKey::from_seed(&[3; 32]);
    let signature = key.sign(Domain::Entry, b"bytes");
    assert_eq!(
        verify(key.id().as_bytes(), Domain::Entry, b"bytes", &signature),
        Ok(())
    );
    for domain in [
        Domain::Charter,
        Domain::Invite,
        Domain::InviteProof,
        Domain::Capacity,
        Domain::Card,
        Domain::Bounty,
    ] {
        assert_eq!(
            verify(key.id().as_bytes(), domain, b"bytes", &signature),
            Err(SignatureError::Mismatch)
        );
    }
}

#[test]
fn i5_the_codes_of_the_door_are_stable() {
    let refusals = [
        DoorRefusal::OtherCommons,
        DoorRefusal::InviteNeeded,
        DoorRefusal::InviteBad,
        DoorRefusal::InviteExpired,
        DoorRefusal::InviteUsedUp,
        DoorRefusal::EntryBad,
        DoorRefusal::ClockSkew,
        DoorRefusal::Full,
        DoorRefusal::Storage,
        DoorRefusal::Blocked,
        DoorRefusal::Left,
    ];
    for (code, refusal) in (0_u8..).zip(refusals) {
        assert_eq!(codec::encode(&refusal), [code], "{refusal:?}");
        assert_eq!(
            DoorReply::from_bytes(&DoorReply::Refused(refusal).to_bytes()).unwrap(),
            DoorReply::Refused(refusal)
        );
    }
    assert!(
        codec::decode::<DoorRefusal>(&[11], 1).is_err(),
        "a code nobody has"
    );
}

#[test]
fn amounts_are_read_as_people_write_them() {
    for (text, mk) in [
        ("12", 12_000),
        ("0.5", 500),
        (".25", 250),
        ("1.234", 1_234),
        ("3.", 3_000),
    ] {
        assert_eq!(text.parse::<Millikudos>().unwrap().get(), mk, "{text}");
    }
    for text in ["", ".", "1.2345", "-1", "1e3", "999999999999999", "+1"] {
        assert!(text.parse::<Millikudos>().is_err(), "{text}");
    }
    assert_eq!(Balance::from_mk(-1_500).to_string(), "-1.500");
    assert_eq!(Millikudos::new(10_000).unwrap().to_string(), "10");
    assert_eq!(ByteCount::new(1536).to_string(), "1.5 KiB");
}

#[test]
fn weights_are_read_as_people_write_them() {
    for (text, millionths) in [
        ("7.5", 7_500_000),
        ("-0.3", -300_000),
        ("1", 1_000_000),
        (".05", 50_000),
    ] {
        assert_eq!(
            text.parse::<Micro>().unwrap().millionths(),
            millionths,
            "{text}"
        );
    }
    for text in ["", "-", "1.0000001", "2001", "one", "--1"] {
        assert!(text.parse::<Micro>().is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn w3_no_bytes_make_a_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        let _ = SyncMessage::from_bytes(&bytes);
        let _ = JobMessage::from_bytes(&bytes);
        let _ = DoorRequest::from_bytes(&bytes);
        let _ = EntryBatch::from_bytes(&bytes);
        let _ = codec::decode::<Body>(&bytes, limits::BODY_LEN_MAX);
        let _ = String::from_utf8_lossy(&bytes).parse::<hearth_protocol::ticket::Ticket>();
    }

    #[test]
    fn w2_what_decodes_encodes_to_the_same_bytes(flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let body = Body::Trust { peer: NodeId::from_bytes([9; 32]), limit: Millikudos::new(77).unwrap() };
        let mut bytes = codec::encode(&body);
        for (at, value) in flips {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Ok(body) = codec::decode::<Body>(&bytes, limits::BODY_LEN_MAX) {
            prop_assert_eq!(codec::encode(&body), bytes);
        }
    }
}
