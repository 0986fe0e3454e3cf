//! Data for the screens: empty, typical, and as full and hostile as the bounds allow.

use hearth_protocol::capacity::{Accepting, Device, DeviceKind};
use hearth_protocol::card::CardKind;
use hearth_protocol::control::{ImageReport, JobReport};
use hearth_protocol::entry::{Energy, EnergyMethod};
use hearth_protocol::id::{BlobHash, CardId, CommonsId, EntryHash, JobId, NodeId};
use hearth_protocol::job::{Family, Phase, Preview, Timings};
use hearth_protocol::limits;
use hearth_protocol::snapshot::{
    BalanceView, CardView, ChainView, CommonsView, DropCount, FileView, JobSide, JobView,
    LedgerView, LogLine, PeerView, Snapshot, StatusView, TransferView, TrustLevel,
};
use hearth_protocol::unit::{Balance, ByteCount, Millikudos, Millis, Timestamp};

use super::NOW;

const ME: NodeId = NodeId::from_bytes([1; 32]);
const BOB: NodeId = NodeId::from_bytes([2; 32]);
const EVE: NodeId = NodeId::from_bytes([3; 32]);

/// What a hostile peer would call itself.
pub(crate) const HOSTILE: &str =
    "\u{1b}[2J\u{1b}]0;x\u{7}\r\n\u{202e}evil\u{200b}漢字漢字漢字漢字漢字漢字漢字漢字";

fn ago(secs: u64) -> Timestamp {
    NOW.minus(Millis::from_secs(secs))
}

fn kudos(mk: u64) -> Millikudos {
    Millikudos::saturating(mk)
}

fn mib(count: u64) -> ByteCount {
    ByteCount::new(count << 20)
}

fn numbered(number: u32) -> [u8; 32] {
    let mut bytes = [9; 32];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    bytes
}

fn gpu() -> Device {
    Device {
        kind: DeviceKind::Cuda,
        name: "RTX 4090".into(),
        memory: mib(24 << 10),
        units: 128,
    }
}

/// A node that has just been started.
pub(crate) fn empty() -> Snapshot {
    Snapshot {
        time: NOW,
        status: StatusView {
            node: ME,
            nickname: "ada".into(),
            version: "0.1.0".into(),
            pid: 4242,
            started: ago(7_200),
            home: "/home/ada/.hearth".into(),
            commons: None,
            device: Device {
                kind: DeviceKind::Cpu,
                name: "Ryzen 7".into(),
                memory: mib(16 << 10),
                units: 16,
            },
            accepting: Accepting::Yes,
            connected: 0,
            jobs_open: 0,
            work_open: 0,
            balance: Balance::ZERO,
            pending: Balance::ZERO,
            digest: None,
            entries: 0,
            memory: mib(31),
            energy_j: 0.0,
            listening: Vec::new(),
            dropped: Vec::new(),
            alerts: Vec::new(),
        },
        peers: Vec::new(),
        jobs: Vec::new(),
        cards: Vec::new(),
        transfers: Vec::new(),
        balances: Vec::new(),
        entries: Vec::new(),
        log: Vec::new(),
    }
}

fn peer(node: NodeId, name: &str) -> PeerView {
    PeerView {
        node,
        name: name.into(),
        me: node == ME,
        connected: node == BOB,
        trust: TrustLevel::Known,
        line: kudos(50_000),
        exposure: kudos(1_500),
        balance: Balance::from_mk(12_500),
        device: Some(gpu()),
        accepting: Some(Accepting::Yes),
        queue: 3,
        price_percent: 100,
        mk_per_s: 1_250,
        cards: vec![CardId::from_bytes([5; 32])],
        addrs: vec!["/ip4/10.0.0.2/udp/4001/quic-v1".into()],
        seen: Some(ago(12)),
        chain: ChainView::Whole,
    }
}

pub(crate) fn job(number: u8, prompt: &str) -> JobView {
    JobView {
        job: JobId::from_bytes([number; 32]),
        side: JobSide::Requester,
        state: "running".into(),
        over: false,
        phase: Some(Phase::Denoising {
            step: 12,
            steps: 20,
        }),
        peer: Some(BOB),
        prompt: Some(prompt.into()),
        size: (512, 768),
        steps: 20,
        submitted: ago(9),
        age: Millis::from_secs(9),
        kudos: kudos(2_750),
        note: None,
        report: None,
    }
}

fn finished() -> JobView {
    JobView {
        state: "finished".into(),
        over: true,
        phase: None,
        report: Some(Box::new(JobReport {
            image: ImageReport {
                path: "/home/ada/lighthouse.png".into(),
                seed: 77,
                blake3: BlobHash::from_bytes([4; 32]),
            },
            worker: BOB,
            kudos_mk: kudos(2_500),
            timings: Timings {
                denoise: Millis::new(4_321),
                ..Timings::default()
            },
            total: Millis::new(6_000),
            energy: Energy {
                millijoules: 812_300,
                method: EnergyMethod::Rated,
            },
            warnings: vec!["the prompt was cut at 77 tokens".into()],
        })),
        ..job(0x21, "a lighthouse at dusk")
    }
}

pub(crate) fn preview() -> Preview {
    let rgb = (0..32_u8)
        .flat_map(|y| (0..32_u8).flat_map(move |x| [x * 8, y * 8, 128]))
        .collect();
    Preview {
        width: 32,
        height: 32,
        rgb,
    }
}

fn card(number: u8, title: &str, kind: CardKind) -> CardView {
    CardView {
        card: CardId::from_bytes([number; 32]),
        title: title.into(),
        kind,
        family: Family::Sd15,
        publisher: BOB,
        published: ago(86_400 * 3),
        size: mib(2_000),
        have: mib(500),
        pinned: false,
        seeders: vec![BOB, EVE],
        triggers: vec!["inkwash".into()],
        licence: "CC-BY-4.0".into(),
        description: "Brush and ink.".into(),
        files: vec![FileView {
            name: "model.safetensors".into(),
            size: mib(2_000),
            blake3: "b3".repeat(32),
            sha256: "5a".repeat(32),
            autov2: "5a5a5a5a5a".into(),
            autov3: Some("c0ffee000000".into()),
        }],
    }
}

fn entry(number: u32, kind: &str, text: &str, state: &str) -> LedgerView {
    LedgerView {
        entry: EntryHash::from_bytes(numbered(number)),
        author: BOB,
        seq: u64::from(number),
        time: ago(u64::from(number) * 60 + 30),
        kind: kind.into(),
        text: text.into(),
        amount: Some(kudos(2_500)),
        state: state.into(),
    }
}

fn log(secs: u64, level: &str, text: &str) -> LogLine {
    LogLine {
        time: ago(secs),
        level: level.into(),
        text: text.into(),
    }
}

/// A small commons at work.
pub(crate) fn typical() -> Snapshot {
    let mut world = empty();
    world.status.commons = Some(CommonsView {
        id: CommonsId::from_bytes([8; 32]),
        name: "Sunday Club".into(),
        members: 3,
    });
    world.status.connected = 1;
    world.status.balance = Balance::from_mk(-2_500);
    world.status.pending = Balance::from_mk(250);
    world.status.digest = Some("d1".repeat(32));
    world.status.energy_j = 812.34;
    world.status.listening = vec!["/ip4/127.0.0.1/tcp/4001".into()];
    world.status.dropped = vec![DropCount {
        reason: "bad signature".into(),
        count: 17,
    }];
    let mut eve = peer(EVE, "eve");
    eve.trust = TrustLevel::Blocked;
    eve.device = None;
    eve.accepting = None;
    world.peers = vec![peer(ME, "ada"), peer(BOB, "bob"), eve];
    world.jobs = vec![job(0x11, "a red fox in snow"), finished()];
    let mut pinned = card(5, "Tiny Diffusion", CardKind::Checkpoint);
    pinned.have = pinned.size;
    pinned.pinned = true;
    world.cards = vec![pinned, card(6, "Ink Wash", CardKind::Lora)];
    world.transfers = vec![TransferView {
        card: CardId::from_bytes([6; 32]),
        title: "Ink Wash".into(),
        have: mib(500),
        total: mib(2_000),
        from: vec![BOB],
    }];
    let balance = |node, mk| BalanceView {
        node,
        balance: Balance::from_mk(mk),
        pending: Balance::ZERO,
    };
    world.balances = vec![balance(BOB, 2_500), balance(ME, -2_500), balance(EVE, 0)];
    world.entries = vec![
        entry(1, "receipt", "bob did a job for me", "effective"),
        entry(2, "order", "I ordered of bob", "pending"),
    ];
    world.log = vec![
        log(90, "INFO", "joined Sunday Club"),
        log(5, "WARN", "eve sent nonsense"),
    ];
    world
}

/// Every list at its bound, every text hostile.
pub(crate) fn full() -> Snapshot {
    let mut world = typical();
    let long = HOSTILE.repeat(20);
    world.status.nickname.clone_from(&long);
    world.status.balance = Balance::from_mk(i128::MIN);
    if let Some(commons) = &mut world.status.commons {
        commons.name.clone_from(&long);
    }
    world.status.listening = vec![long.clone(); 8];
    world.peers.extend((0..2_000).map(|number| {
        let mut peer = peer(NodeId::from_bytes(numbered(number)), &long);
        peer.balance = Balance::from_mk(i128::MAX);
        peer.mk_per_s = u64::MAX;
        peer
    }));
    let jobs = u32::try_from(limits::JOBS_SHOWN_MAX).unwrap();
    world.jobs = (0..jobs)
        .map(|number| {
            let mut job = job(0, &long);
            job.job = JobId::from_bytes(numbered(number));
            job.phase = Some(Phase::Denoising {
                step: u32::MAX,
                steps: 0,
            });
            job.state.clone_from(&long);
            job
        })
        .collect();
    world.cards = (0..300)
        .map(|number| {
            let mut card = card(0, &long, CardKind::Lora);
            card.card = CardId::from_bytes(numbered(number));
            card.size = ByteCount::new(u64::MAX);
            card.description = long.repeat(9);
            card
        })
        .collect();
    world.transfers = vec![world.transfers[0].clone(); 40];
    world.entries = (0..500)
        .map(|number| entry(number, &long, &long, &long))
        .collect();
    world.log = (0..200)
        .map(|number| log(200 - number, "ERROR", &format!("{number} {long}")))
        .collect();
    world
}
