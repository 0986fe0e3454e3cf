//! What the node shows of itself: plain data for the dashboard, the command line and programs.
//!
//! Snapshots are immutable and bounded; whoever reads one cannot change the node. [`Notice`]s say
//! what changed since. Previews travel in notices only.

use serde::{Deserialize, Serialize};

use crate::capacity::{Accepting, Device};
use crate::card::CardKind;
use crate::control::JobReport;
use crate::id::{CardId, CommonsId, EntryHash, JobId, NodeId};
use crate::job::{Family, Phase, Preview};
use crate::unit::{Balance, ByteCount, Millikudos, Millis, Timestamp};

/// Everything the dashboard draws.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    /// When it was taken.
    pub time: Timestamp,
    /// The node itself.
    pub status: StatusView,
    /// Members.
    pub peers: Vec<PeerView>,
    /// Jobs of this node and jobs it works on, newest first.
    pub jobs: Vec<JobView>,
    /// Cards.
    pub cards: Vec<CardView>,
    /// Transfers under way.
    pub transfers: Vec<TransferView>,
    /// Balances.
    pub balances: Vec<BalanceView>,
    /// Newest entries first.
    pub entries: Vec<LedgerView>,
    /// Newest log lines last.
    pub log: Vec<LogLine>,
}

/// The node itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatusView {
    /// Its id.
    pub node: NodeId,
    /// What it calls itself.
    pub nickname: String,
    /// Version of its software.
    pub version: String,
    /// Process id.
    pub pid: u32,
    /// Since when it runs.
    pub started: Timestamp,
    /// Its folder.
    pub home: String,
    /// The commons it is in.
    pub commons: Option<CommonsView>,
    /// What computes.
    pub device: Device,
    /// Whether it takes jobs.
    pub accepting: Accepting,
    /// Members connected.
    pub connected: u32,
    /// Jobs of this node that are not over.
    pub jobs_open: u32,
    /// Jobs it works on or keeps waiting.
    pub work_open: u32,
    /// Its balance.
    pub balance: Balance,
    /// The part that cannot be spent yet.
    pub pending: Balance,
    /// Digest of the ledger's state, hex.
    pub digest: Option<String>,
    /// Ledger entries kept.
    pub entries: u64,
    /// Memory the process uses.
    pub memory: ByteCount,
    /// Energy spent on jobs, in joules.
    pub energy_j: f64,
    /// Addresses it listens on.
    pub listening: Vec<String>,
    /// Messages dropped, by reason.
    pub dropped: Vec<DropCount>,
    /// What a person should do something about, in words.
    pub alerts: Vec<String>,
}

/// The commons a node is in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommonsView {
    /// Its id.
    pub id: CommonsId,
    /// Its name.
    pub name: String,
    /// Members known.
    pub members: u32,
}

/// Messages dropped for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DropCount {
    /// The reason.
    pub reason: String,
    /// How many.
    pub count: u64,
}

/// A member's own judgement of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrustLevel {
    /// Preferred.
    Trusted,
    /// One among others.
    #[default]
    Known,
    /// Refused.
    Blocked,
}

/// A member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerView {
    /// Its id.
    pub node: NodeId,
    /// Petname, else nickname, else short id.
    pub name: String,
    /// Whether it is oneself.
    pub me: bool,
    /// Whether a connection stands.
    pub connected: bool,
    /// Judgement.
    pub trust: TrustLevel,
    /// What it may owe this node.
    pub line: Millikudos,
    /// What it owes this node now, holds included.
    pub exposure: Millikudos,
    /// Its balance in the commons.
    pub balance: Balance,
    /// What computes there, if an advert is fresh.
    pub device: Option<Device>,
    /// Whether it takes jobs.
    pub accepting: Option<Accepting>,
    /// Jobs waiting or running there.
    pub queue: u32,
    /// Percent of the table price.
    pub price_percent: u16,
    /// Measured millikudos of work per second.
    pub mk_per_s: u64,
    /// Cards it serves.
    pub cards: Vec<CardId>,
    /// Where it was seen.
    pub addrs: Vec<String>,
    /// Last advert.
    pub seen: Option<Timestamp>,
    /// Whether its chain is one.
    pub chain: ChainView,
}

/// Whether a member's chain is one line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ChainView {
    /// It is.
    #[default]
    Whole,
    /// It forked: nothing of it counts from there on.
    Forked,
    /// It forked and was healed: this node lends it nothing until told to.
    Probation {
        /// The heal's date.
        since: Timestamp,
    },
}

/// A card and what is known of its files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CardView {
    /// Its id.
    pub card: CardId,
    /// What people call it.
    pub title: String,
    /// What it is.
    pub kind: CardKind,
    /// Base architecture.
    pub family: Family,
    /// Who publishes it.
    pub publisher: NodeId,
    /// When.
    pub published: Timestamp,
    /// All files together.
    pub size: ByteCount,
    /// Bytes of it that are here.
    pub have: ByteCount,
    /// Whether it is pinned here.
    pub pinned: bool,
    /// Members that serve it now, oneself included.
    pub seeders: Vec<NodeId>,
    /// Words that call it up.
    pub triggers: Vec<String>,
    /// Licence.
    pub licence: String,
    /// What it is, in words.
    pub description: String,
    /// Its files.
    pub files: Vec<FileView>,
}

/// One file of a card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileView {
    /// Name inside the model's folder.
    pub name: String,
    /// Size.
    pub size: ByteCount,
    /// BLAKE3, hex.
    pub blake3: String,
    /// SHA-256, hex.
    pub sha256: String,
    /// First ten digits of it.
    pub autov2: String,
    /// `AutoV3`, for safetensors.
    pub autov3: Option<String>,
}

/// Files on their way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransferView {
    /// The card.
    pub card: CardId,
    /// Its title.
    pub title: String,
    /// Bytes here.
    pub have: ByteCount,
    /// Bytes in all.
    pub total: ByteCount,
    /// Who gives.
    pub from: Vec<NodeId>,
}

/// Which side of a job this node is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobSide {
    /// It asked.
    Requester,
    /// It computes for a peer.
    Worker,
}

/// A job as shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobView {
    /// Its id.
    pub job: JobId,
    /// Which side this node is on.
    pub side: JobSide,
    /// The state's name: `placing`, `ordered`, `running`, `fetching`, `finished`, `failed`, ...
    pub state: String,
    /// Whether it is over.
    pub over: bool,
    /// Where it is.
    pub phase: Option<Phase>,
    /// The other side; oneself for a local job.
    pub peer: Option<NodeId>,
    /// The prompt, on the requester's side alone.
    pub prompt: Option<String>,
    /// Width and height in pixels.
    pub size: (u32, u32),
    /// Steps.
    pub steps: u32,
    /// When it was asked.
    pub submitted: Timestamp,
    /// How long it has been or was under way.
    pub age: Millis,
    /// The order's max, or the charge once settled.
    pub kudos: Millikudos,
    /// Why it failed or what it waits for.
    pub note: Option<String>,
    /// What it gave.
    pub report: Option<Box<JobReport>>,
}

/// A balance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BalanceView {
    /// Whose.
    pub node: NodeId,
    /// All effective moves.
    pub balance: Balance,
    /// The part not yet spendable.
    pub pending: Balance,
}

/// An entry as shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerView {
    /// Its name.
    pub entry: EntryHash,
    /// Who wrote it.
    pub author: NodeId,
    /// Its place.
    pub seq: u64,
    /// Its date.
    pub time: Timestamp,
    /// `join`, `order`, `receipt`, ...
    pub kind: String,
    /// What it says, in words.
    pub text: String,
    /// The kudos it names.
    pub amount: Option<Millikudos>,
    /// `effective`, `pending`, or why it has no effect.
    pub state: String,
}

/// One line of log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogLine {
    /// When.
    pub time: Timestamp,
    /// `ERROR`, `WARN`, `INFO`.
    pub level: String,
    /// What.
    pub text: String,
}

/// What just changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Notice {
    /// A job.
    Job {
        /// As it is now.
        job: Box<JobView>,
        /// What it looks like.
        preview: Option<Preview>,
    },
    /// Something else: read the snapshot again.
    Changed,
}
