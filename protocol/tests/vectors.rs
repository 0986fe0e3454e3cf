//! Golden vectors: the bytes of one example of every type that is signed or sent. W1.
//!
//! A changed field or variant order changes a line of `specs/vectors/wire.txt`, and with it the
//! wire contract. `HEARTH_BLESS=1` writes the file anew for a reviewed change.

#![expect(
    clippy::unwrap_used,
    clippy::too_many_lines,
    reason = "a table of examples, in a test"
)]

use std::collections::BTreeMap;
use std::path::Path;

use data_encoding::HEXLOWER;
use hearth_protocol::bounty::{BountyAward, BountyClaim, BountyNote, BountyOpen, BountyPledge};
use hearth_protocol::capacity::{Accepting, Capacity, Device, DeviceKind, NodeAddrs, Speed};
use hearth_protocol::card::{Card, CardFile, CardKind, Settings};
use hearth_protocol::charter::{Admission, Caps, Charter, Invite, PriceTable, Windows};
use hearth_protocol::codec;
use hearth_protocol::credit::{Bar, Basis, Decision, PolicyName};
use hearth_protocol::engine::{
    AssetFile, Assets, DeviceFacts, EngineCall, EngineEvent, FailedEnd, ModelAsset, OutputFile,
};
use hearth_protocol::entry::{
    AuditVerdict, Body, DisputeCode, Energy, EnergyMethod, Entry, Header, HealReason, InviteUse,
    NO_PREV, PairNet, Place, TransferReason, VERSION, Verdict, VoidReason, Work, body_hash,
};
use hearth_protocol::id::{
    BlobHash, BountyId, CardId, Commitment, CommonsId, EntryHash, JobId, NodeId, Salt, Sha256,
};
use hearth_protocol::job::{
    Blend, Compat, EmbeddingUse, Failure, Family, Fit, Hires, ImageFormat, InputRef, JobSpec,
    Latents, LoraUse, Margins, Mask, MaskArea, MaskFill, Micro, NoiseSchedule, OutputRef,
    Penultimate, Phase, Preview, Quote, QuoteRequest, Refusal, Rng, Sampler, Start, Tiling,
    Timings, Upscaler, Variation,
};
use hearth_protocol::sign::{NodeKey, Signed};
use hearth_protocol::ticket::{InviteSecret, MemberAddrs, Ticket, TicketInvite};
use hearth_protocol::unit::{ByteCount, Millikudos, Millis, Seq, Timestamp};
use hearth_protocol::wire::{
    Compare, Done, DoorRefusal, DoorReply, DoorRequest, EntryBatch, ForkProof, Head, JobMessage,
    Message, SyncMessage,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

fn key() -> NodeKey {
    NodeKey::from_seed(&[1; 32])
}

fn mk(amount: u64) -> Millikudos {
    Millikudos::new(amount).unwrap()
}

fn charter() -> Charter {
    Charter {
        version: 1,
        name: "Hearthside".into(),
        purpose: "pictures among friends".into(),
        founder: key().id(),
        created: Timestamp::from_millis(1_000),
        admission: Admission::InvitedByMembers,
        prices: PriceTable::DEFAULT,
        member_line: mk(100_000),
        caps: Caps::DEFAULT,
        windows: Windows::DEFAULT,
        rules: "be kind".into(),
    }
}

fn invite() -> Signed<Invite> {
    let invite = Invite {
        commons: charter().id(),
        issuer: key().id(),
        key: InviteSecret::from_seed([2; 32]).public(),
        expires: Timestamp::from_millis(9_000),
        uses: 3,
    };
    Signed::sign(invite, &key())
}

fn bodies() -> Vec<(&'static str, Body)> {
    let order = EntryHash::from_bytes([5; 32]);
    let proof = InviteSecret::from_seed([2; 32]).prove(&key().id());
    vec![
        (
            "join",
            Body::Join {
                invite: Some(InviteUse {
                    invite: invite(),
                    proof,
                }),
            },
        ),
        ("join_founder", Body::Join { invite: None }),
        (
            "trust",
            Body::Trust {
                peer: NodeId::from_bytes([3; 32]),
                limit: mk(5),
            },
        ),
        (
            "order",
            Body::Order {
                provider: NodeId::from_bytes([3; 32]),
                job: Commitment::from_bytes([4; 32]),
                max: mk(10_000),
                deadline: Timestamp::from_millis(60_000),
            },
        ),
        (
            "receipt",
            Body::Receipt {
                order,
                amount: mk(9_000),
                result: Commitment::from_bytes([6; 32]),
                work: Work {
                    evaluations: 20,
                    width: 512,
                    height: 448,
                    compute: Millis::new(1_500),
                    fetched: ByteCount::new(77),
                },
                energy: Energy {
                    millijoules: 12_345,
                    method: EnergyMethod::Rated,
                },
            },
        ),
        (
            "void",
            Body::Void {
                order,
                reason: VoidReason::Failed,
            },
        ),
        (
            "ack",
            Body::Ack {
                receipt: order,
                verdict: Verdict::Accepted,
            },
        ),
        (
            "dispute",
            Body::Ack {
                receipt: order,
                verdict: Verdict::Disputed(DisputeCode::Corrupt),
            },
        ),
        (
            "gift",
            Body::Transfer {
                to: NodeId::from_bytes([3; 32]),
                amount: mk(1),
                reason: TransferReason::Gift,
            },
        ),
        (
            "seeding",
            Body::Transfer {
                to: NodeId::from_bytes([3; 32]),
                amount: mk(1),
                reason: TransferReason::Seeding {
                    blobs: Commitment::from_bytes([6; 32]),
                    bytes: ByteCount::new(4_096),
                },
            },
        ),
        (
            "bounty",
            Body::Transfer {
                to: NodeId::from_bytes([3; 32]),
                amount: mk(1),
                reason: TransferReason::Bounty {
                    id: BountyId::from_bytes([7; 32]),
                },
            },
        ),
        (
            "audit_pay",
            Body::Transfer {
                to: NodeId::from_bytes([3; 32]),
                amount: mk(1),
                reason: TransferReason::Audit { receipt: order },
            },
        ),
        ("leave", Body::Leave),
        (
            "audit",
            Body::Audit {
                receipt: order,
                steps: 2,
                distance: 1_234,
                verdict: AuditVerdict::Passed,
            },
        ),
        (
            "pair_net",
            Body::PairNet(PairNet {
                peer: NodeId::from_bytes([3; 32]),
                given: 5,
                taken: 7,
                own: Place {
                    seq: Seq::new(8),
                    hash: order,
                },
                theirs: Place {
                    seq: Seq::new(9),
                    hash: EntryHash::from_bytes([9; 32]),
                },
            }),
        ),
        (
            "amend",
            Body::Amend {
                prices: Some(PriceTable::DEFAULT),
                caps: Some(Caps::DEFAULT),
                rules: Some("be kind".into()),
            },
        ),
        (
            "heal",
            Body::Heal {
                tips: vec![order, EntryHash::from_bytes([0xfe; 32])],
                reason: HealReason::Restored,
            },
        ),
    ]
}

fn entry(body: &Body) -> Entry {
    let body = codec::encode(body);
    let header = Header {
        version: VERSION,
        commons: charter().id(),
        author: key().id(),
        seq: Seq::FIRST,
        prev: NO_PREV,
        time: Timestamp::from_millis(2_000),
        body: body_hash(&body),
    };
    Entry {
        header: Signed::sign(header, &key()),
        body,
    }
}

fn addrs() -> NodeAddrs {
    NodeAddrs {
        network: vec!["/ip4/127.0.0.1/udp/4001/quic-v1".into()],
        blobs: vec!["127.0.0.1:4002".into()],
    }
}

fn decision() -> Decision {
    Decision {
        policy: PolicyName::Neighbour,
        granted: false,
        bar: Some(Bar::NotMember),
        ask: mk(1),
        charged: mk(2),
        settled: mk(3),
        held: mk(4),
        running: mk(5),
        lent: mk(6),
        line: mk(7),
        credible: mk(8),
        cap: mk(9),
        bucket: mk(10),
        room: mk(11),
        short: mk(12),
        basis: vec![Basis {
            node: NodeId::from_bytes([3; 32]),
            amount: mk(13),
        }],
    }
}

fn capacity() -> Capacity {
    Capacity {
        commons: charter().id(),
        node: key().id(),
        time: Timestamp::from_millis(3_000),
        nickname: "ada".into(),
        software: "hearth 0.1.0".into(),
        device: Device {
            kind: DeviceKind::Cpu,
            name: "two cores".into(),
            memory: ByteCount::new(1 << 30),
            units: 2,
        },
        accepting: Accepting::Yes,
        queue: 1,
        price_percent: 100,
        speeds: vec![Speed {
            family: Family::Sd15,
            mk_per_s: 400,
        }],
        warm: vec![CardId::from_bytes([7; 32])],
        cards: vec![CardId::from_bytes([7; 32]), CardId::from_bytes([8; 32])],
        addrs: addrs(),
    }
}

fn card() -> Card {
    Card {
        version: 1,
        publisher: key().id(),
        published: Timestamp::from_millis(4_000),
        kind: CardKind::Lora,
        title: "Crayon".into(),
        family: Family::Sd15,
        files: vec![CardFile {
            blob: BlobHash::of(b"crayon"),
            size: ByteCount::new(6),
            name: "crayon.safetensors".into(),
            sha256: Sha256::from_bytes([9; 32]),
            autov3: Some(Sha256::from_bytes([10; 32])),
            autov1: None,
            crc32: 0xdead_beef,
        }],
        settings: Some(Settings::of(Family::Sd15)),
        triggers: vec!["crayon".into()],
        description: "like a child's drawing".into(),
        licence: "CC0-1.0".into(),
        sources: vec!["urn:air:sd1:lora:civitai:1@2".into()],
        supersedes: None,
    }
}

fn spec() -> JobSpec {
    JobSpec {
        version: 2,
        checkpoint: CardId::from_bytes([7; 32]),
        vae: Some(CardId::from_bytes([9; 32])),
        loras: vec![LoraUse {
            card: CardId::from_bytes([8; 32]),
            unet: Micro::ONE,
            text: Micro::from_millionths(-5),
        }],
        embeddings: vec![EmbeddingUse {
            card: CardId::from_bytes([6; 32]),
            name: "EasyNegative".into(),
        }],
        prompt: "a fire".into(),
        negative: "ash".into(),
        blend: Some(Blend {
            prompt: "a lake".into(),
            negative: String::new(),
            seed: 3,
            amount: Micro::from_millionths(250_000),
        }),
        width: 512,
        height: 448,
        steps: 20,
        guidance: "7.5".parse().unwrap(),
        sampler: Sampler::Euler,
        schedule: NoiseSchedule::Karras,
        penultimate: Penultimate::Kept,
        clip_skip: 2,
        seed: u64::MAX,
        variation: Some(Variation {
            seed: 4,
            strength: Micro::from_millionths(100_000),
        }),
        eta_seed_delta: 31_337,
        rng: Rng::TorchCpu,
        compat: Compat::A1111,
        start: Start::Picture {
            image: InputRef {
                blob: BlobHash::from_bytes([12; 32]),
                size: ByteCount::new(1000),
            },
            strength: Micro::from_millionths(750_000),
            fit: Fit::Crop,
            mask: Some(Mask {
                image: InputRef {
                    blob: BlobHash::from_bytes([13; 32]),
                    size: ByteCount::new(500),
                },
                invert: false,
                blur: 4,
                fill: MaskFill::Original,
                area: MaskArea::OnlyMasked { padding: 32 },
            }),
            margins: Margins {
                left: 8,
                ..Margins::default()
            },
        },
        hires: Some(Hires {
            width: 1024,
            height: 896,
            steps: 0,
            strength: Micro::from_millionths(700_000),
            upscaler: Upscaler::Latent,
        }),
        tiling: Tiling::None,
        format: ImageFormat::Png,
        latents: Latents::Dropped,
    }
}

struct Vectors(BTreeMap<String, String>);

impl Vectors {
    fn add<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(
        &mut self,
        name: &str,
        value: &T,
    ) {
        let bytes = codec::encode(value);
        let back: T = codec::decode(&bytes, bytes.len()).expect(name);
        assert_eq!(&back, value, "{name} decodes to itself");
        assert!(
            self.0
                .insert(name.into(), HEXLOWER.encode(&bytes))
                .is_none(),
            "{name} is named once"
        );
    }

    fn message<T: Message + PartialEq + std::fmt::Debug>(&mut self, name: &str, value: &T) {
        self.add(name, value);
        assert_eq!(&T::from_bytes(&value.to_bytes()).expect(name), value);
    }
}

fn job_messages() -> Vec<(&'static str, JobMessage)> {
    let job = JobId::from_bytes([11; 32]);
    let order = EntryHash::from_bytes([5; 32]);
    let card = CardId::from_bytes([7; 32]);
    let request = QuoteRequest {
        job,
        family: Family::Sd15,
        width: 512,
        height: 448,
        evaluations: 20,
        cards: vec![card],
    };
    let quote = Quote {
        job,
        work: mk(7_000),
        fetch: mk(30),
        ready: Millis::new(900),
        valid_until: Timestamp::from_millis(5_000),
    };
    let preview = Preview {
        width: 1,
        height: 1,
        rgb: vec![1, 2, 3],
    };
    let done = Done {
        job,
        order,
        receipt: EntryHash::from_bytes([12; 32]),
        amount: mk(7_010),
        salt: Salt::from_bytes([13; 32]),
        outputs: vec![OutputRef {
            name: "image.png".into(),
            blob: BlobHash::of(b"png"),
            size: ByteCount::new(3),
        }],
        timings: Timings {
            queued: Millis::new(1),
            fetch: Millis::new(2),
            ..Timings::default()
        },
        energy: Energy::default(),
        warnings: vec!["a key matched nothing".into()],
    };
    let phase = |phase| JobMessage::Progress {
        job,
        order,
        phase,
        preview: None,
    };
    vec![
        ("job_quote_request", JobMessage::QuoteRequest(request)),
        ("job_quote", JobMessage::Quote(quote)),
        (
            "job_quote_refused",
            JobMessage::QuoteRefused {
                job,
                refusal: Refusal::Credit { short: mk(3) },
            },
        ),
        (
            "job_order",
            JobMessage::Order {
                job,
                order,
                salt: Salt::from_bytes([14; 32]),
                spec: Box::new(spec()),
            },
        ),
        (
            "job_accepted",
            JobMessage::Accepted {
                job,
                order,
                ahead: 2,
            },
        ),
        (
            "job_refused",
            JobMessage::Refused {
                job,
                order,
                refusal: Refusal::CardUnknown(card),
            },
        ),
        (
            "job_refused_no_credit",
            JobMessage::Refused {
                job,
                order,
                refusal: Refusal::NoCredit(Box::new(decision())),
            },
        ),
        ("job_queued", phase(Phase::Queued { ahead: 1 })),
        (
            "job_fetching",
            phase(Phase::Fetching {
                card,
                have: ByteCount::new(1),
                total: ByteCount::new(2),
            }),
        ),
        (
            "job_denoising",
            JobMessage::Progress {
                job,
                order,
                phase: Phase::Denoising { step: 3, steps: 20 },
                preview: Some(preview),
            },
        ),
        ("job_delivering", phase(Phase::Delivering)),
        ("job_done", JobMessage::Done(Box::new(done))),
        (
            "job_failed",
            JobMessage::Failed {
                job,
                order,
                failure: Failure::Fetch {
                    card,
                    cause: "gone".into(),
                },
            },
        ),
        ("job_cancel", JobMessage::Cancel { job, order }),
        ("job_resume", JobMessage::Resume { job, order }),
        ("job_received", JobMessage::Received { job, order }),
    ]
}

fn sync_messages() -> Vec<(&'static str, SyncMessage)> {
    let header = entry(&Body::Leave).header;
    let card = CardId::from_bytes([7; 32]);
    vec![
        (
            "sync_hello",
            SyncMessage::Hello {
                capacity: Box::new(Signed::sign(capacity(), &key())),
            },
        ),
        (
            "sync_head_shown",
            SyncMessage::HeadShown {
                author: key().id(),
                heads: vec![head()],
            },
        ),
        (
            "sync_want",
            SyncMessage::Want {
                author: key().id(),
                from: Seq::FIRST,
            },
        ),
        (
            "sync_entries",
            SyncMessage::Entries {
                entries: vec![entry(&Body::Leave)],
            },
        ),
        (
            "sync_cards_known",
            SyncMessage::CardsKnown { ids: vec![card] },
        ),
        (
            "sync_cards_wanted",
            SyncMessage::CardsWanted { ids: vec![card] },
        ),
        (
            "sync_cards",
            SyncMessage::Cards {
                cards: vec![Signed::sign(super_card(), &key())],
            },
        ),
        (
            "sync_fork",
            SyncMessage::Fork(Box::new(ForkProof {
                left: header.clone(),
                right: header,
            })),
        ),
        (
            "sync_compare",
            SyncMessage::Compare(Box::new(Compare {
                key: [1; 16],
                round: 2,
                frame: vec![0xaa; 40],
                heads: vec![head()],
            })),
        ),
        (
            "sync_head_wanted",
            SyncMessage::HeadWanted { author: key().id() },
        ),
        (
            "sync_bounty_notes",
            SyncMessage::BountyNotes {
                notes: vec![Signed::sign(bounty_notes()[1].1.clone(), &key())],
            },
        ),
    ]
}

fn head() -> Head {
    Head {
        author: key().id(),
        seq: Seq::new(4),
        hash: EntryHash::from_bytes([5; 32]),
    }
}

fn bounty_notes() -> Vec<(&'static str, BountyNote)> {
    let author = key().id();
    let open = BountyNote::Open(BountyOpen {
        commons: charter().id(),
        author,
        title: "A LoRA of our street".into(),
        text: "for Kindling, CC0".into(),
        until: Timestamp::from_millis(90_000),
        created: Timestamp::from_millis(5_000),
    });
    let bounty = open.bounty();
    let pledge = BountyPledge {
        bounty,
        author,
        amount: mk(25_000),
        created: Timestamp::from_millis(6_000),
    };
    let claim = BountyClaim {
        bounty,
        author,
        text: "trained on forty photos".into(),
        blob: Some(BlobHash::of(b"street")),
        created: Timestamp::from_millis(7_000),
    };
    let award = BountyAward {
        bounty,
        author,
        claimant: NodeId::from_bytes([3; 32]),
        created: Timestamp::from_millis(8_000),
    };
    vec![
        ("bounty_open", open),
        ("bounty_pledge", BountyNote::Pledge(pledge)),
        ("bounty_claim", BountyNote::Claim(claim)),
        ("bounty_award", BountyNote::Award(award)),
    ]
}

fn super_card() -> Card {
    Card {
        supersedes: Some(card().id()),
        ..card()
    }
}

fn door_and_engine(vectors: &mut Vectors) {
    let member = MemberAddrs {
        node: key().id(),
        addrs: addrs(),
    };
    let commons: CommonsId = charter().id();
    vectors.message("door_charter", &DoorRequest::Charter { commons });
    vectors.message(
        "door_chain",
        &DoorRequest::Chain {
            commons,
            from: Seq::new(7),
        },
    );
    vectors.message(
        "door_reply_chain",
        &DoorReply::Chain {
            entries: vec![entry(&Body::Leave)],
        },
    );
    vectors.message(
        "door_join",
        &DoorRequest::Join {
            entry: Box::new(entry(&bodies()[0].1)),
            addrs: member.clone(),
        },
    );
    vectors.message(
        "door_reply_charter",
        &DoorReply::Charter(Box::new(Signed::sign(charter(), &key()))),
    );
    vectors.message(
        "door_welcome",
        &DoorReply::Welcome {
            members: vec![member],
        },
    );
    vectors.message(
        "door_refused",
        &DoorReply::Refused(DoorRefusal::InviteExpired),
    );
    let file = AssetFile {
        name: "unet/config.json".into(),
        path: "/models/unet/config.json".into(),
    };
    let asset = ModelAsset {
        title: "Tiny".into(),
        hash: "0123456789".into(),
        files: vec![file],
    };
    let assets = Assets {
        checkpoint: asset.clone(),
        loras: vec![asset.clone()],
        embeddings: vec![asset.clone()],
        vae: Some(asset),
        inputs: vec!["/jobs/input".into()],
    };
    vectors.add(
        "engine_run",
        &EngineCall::Run {
            run: 1,
            spec: Box::new(spec()),
            assets: Box::new(assets),
            memory_max: Some(ByteCount::new(1 << 30)),
        },
    );
    vectors.add("engine_cancel", &EngineCall::Cancel { run: 1 });
    let device = DeviceFacts {
        kind: "cpu".into(),
        name: "a processor".into(),
        memory: None,
    };
    vectors.add("engine_ready", &EngineEvent::Ready { device });
    vectors.add(
        "engine_progress",
        &EngineEvent::Progress {
            run: 1,
            phase: Phase::Loading,
            preview: None,
        },
    );
    vectors.add(
        "engine_done",
        &EngineEvent::Done {
            run: 1,
            outputs: vec![OutputFile {
                name: "image.png".into(),
                bytes: vec![0x89],
            }],
            timings: Timings::default(),
            evaluations: 20,
            warnings: vec![],
        },
    );
    vectors.add(
        "engine_failed",
        &EngineEvent::Failed {
            run: 1,
            end: FailedEnd::Cancelled,
            evaluations: 3,
        },
    );
}

fn vectors() -> String {
    let mut vectors = Vectors(BTreeMap::new());
    for (name, body) in bodies() {
        vectors.add(&format!("body_{name}"), &body);
        vectors.add(&format!("entry_{name}"), &entry(&body));
    }
    vectors.add("header", entry(&Body::Leave).header.trusted());
    vectors.add("charter", &charter());
    vectors.add("invite", &invite());
    vectors.message("capacity", &Signed::sign(capacity(), &key()));
    vectors.message("card", &Signed::sign(card(), &key()));
    for (name, note) in bounty_notes() {
        vectors.message(name, &Signed::sign(note, &key()));
    }
    vectors.add("spec", &spec());
    vectors.message(
        "batch",
        &EntryBatch {
            entries: vec![entry(&Body::Leave)],
        },
    );
    for (name, message) in job_messages() {
        vectors.message(name, &message);
    }
    for (name, message) in sync_messages() {
        vectors.message(name, &message);
    }
    door_and_engine(&mut vectors);
    vectors
        .0
        .iter()
        .map(|(name, hex)| format!("{name} {hex}\n"))
        .collect()
}

#[test]
fn w1_the_wire_format_is_what_the_vectors_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../specs/vectors/wire.txt");
    let made = vectors();
    if std::env::var_os("HEARTH_BLESS").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap();
    for (made, kept) in made.lines().zip(kept.lines()) {
        assert_eq!(
            made, kept,
            "field or variant order changed: that is a new wire format"
        );
    }
    assert_eq!(
        made.lines().count(),
        kept.lines().count(),
        "every type has its vector"
    );
}

#[test]
fn i4_a_ticket_survives_a_chat_line_and_a_changed_character_does_not() {
    let ticket = Ticket {
        commons: charter().id(),
        name: "Hearthside".into(),
        members: vec![MemberAddrs {
            node: key().id(),
            addrs: addrs(),
        }],
        invite: Some(TicketInvite {
            invite: invite(),
            secret: InviteSecret::from_seed([2; 32]),
        }),
    };
    let text = ticket.to_string();
    assert_eq!(
        format!("  {}\n", text.to_uppercase())
            .parse::<Ticket>()
            .unwrap(),
        ticket
    );
    ticket.check(Timestamp::from_millis(9_000)).unwrap();
    let late = ticket.check(Timestamp::from_millis(9_001)).unwrap_err();
    assert!(late.to_string().contains("expired"));
    for at in [7, 40, text.len() - 1] {
        let mut damaged = text.clone().into_bytes();
        damaged[at] = if damaged[at] == b'a' { b'b' } else { b'a' };
        let damaged = String::from_utf8(damaged).unwrap();
        assert!(
            damaged
                .parse::<Ticket>()
                .unwrap_err()
                .to_string()
                .contains("damaged"),
            "position {at}"
        );
    }
    assert!(
        "horde1abc"
            .parse::<Ticket>()
            .unwrap_err()
            .to_string()
            .contains("hearth1")
    );
    let mut other = ticket.clone();
    other.commons = CommonsId::from_bytes([0; 32]);
    assert!(
        other
            .check(Timestamp::ORIGIN)
            .unwrap_err()
            .to_string()
            .contains("another commons")
    );
    let mut forged = ticket;
    let bad = Signed::from_parts(
        *invite().trusted(),
        *Signed::sign(charter(), &key()).signature(),
    );
    forged.invite = Some(TicketInvite {
        invite: bad,
        secret: InviteSecret::from_seed([2; 32]),
    });
    assert!(
        forged
            .check(Timestamp::ORIGIN)
            .unwrap_err()
            .to_string()
            .contains("bad signature")
    );
}
