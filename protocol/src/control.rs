//! What people and programs ask of their own node: one `Command`, one `Reply`, one `Problem`.
//!
//! These travel as JSON over the loopback control API (`specs/control.md`), never between nodes.
//! Ids are full hex; amounts are millikudos; times are Unix milliseconds. Anything named by a
//! person ([`PeerRef`], [`ModelRef`]) is resolved by the node.

mod bounty;
mod fork;
mod generate;
mod ledger;
mod lending;
mod problem;

use serde::{Deserialize, Serialize};

use crate::charter::{Admission, Charter};
use crate::credit::PolicyTerms;
use crate::entry::{DisputeCode, Energy, EnergyMethod, HealReason};
use crate::id::{BlobHash, CardId, CommonsId, EntryHash, JobId, NodeId};
use crate::job::Timings;
use crate::snapshot::{
    BalanceView, CardView, JobView, LedgerView, PeerView, StatusView, TrustLevel,
};
use crate::unit::{Balance, Millikudos, Millis, Timestamp};

pub use bounty::{BountyCommand, BountyRequest, BountyState, BountyView, ClaimView, PledgeView};
pub use fork::{BranchView, ForkView};
pub use generate::{GenerateRequest, LoraAsk, MaskAsk, StartAsk};
pub use ledger::{
    AccountView, AuditReply, ChargeView, EntriesRequest, EntryDetail, EntryKind, ExportPage,
    ImportReply, Link, PairView, RefusedView, TermsView, Verbatim, WhyLine, WhyRequest,
};
pub use lending::{CreditLine, CreditReply};
pub use problem::{Problem, ProblemKind};

/// Version of this API, in every JSON object the command line prints.
pub const SCHEMA: u32 = 1;

/// A peer as a person names it: petname, nickname, short or full id.
pub type PeerRef = String;
/// A model as a person names it: card id, title, any hash, or a path.
pub type ModelRef = String;

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// How is the node? Answered by [`Reply::Status`].
    Status,
    /// What is wrong with it? [`Reply::Doctor`].
    Doctor,
    /// End, gracefully. [`Reply::Done`].
    Shutdown,
    /// Found a commons. [`Reply::Commons`].
    CommonsCreate {
        /// Its name.
        name: String,
        /// What it is for.
        purpose: String,
        /// Who may enter.
        admission: Admission,
        /// What each member lets every other owe it.
        member_line: Millikudos,
        /// Rules in words.
        rules: String,
    },
    /// Make a ticket. [`Reply::Ticket`].
    CommonsInvite {
        /// How many may use it.
        uses: u32,
        /// For how long.
        life: Millis,
    },
    /// Enter with a ticket. [`Reply::Commons`].
    CommonsJoin {
        /// The ticket's text.
        ticket: String,
    },
    /// Leave; debts and credits stand. [`Reply::Done`].
    CommonsLeave,
    /// Show charter and state. [`Reply::Commons`].
    CommonsShow,
    /// List members. [`Reply::Peers`].
    PeersList,
    /// Show one. [`Reply::Peer`].
    PeersShow {
        /// Which.
        peer: PeerRef,
    },
    /// Remember where a member is. [`Reply::Done`].
    PeersAdd {
        /// Full id.
        peer: NodeId,
        /// A multiaddress.
        addr: String,
    },
    /// Set a credit line and trust. [`Reply::Done`].
    PeersTrust {
        /// Whom.
        peer: PeerRef,
        /// How much it may owe; `None` leaves the line.
        limit: Option<Millikudos>,
        /// The level.
        level: TrustLevel,
    },
    /// Refuse everything of a peer. [`Reply::Done`].
    PeersBlock {
        /// Whom.
        peer: PeerRef,
    },
    /// Give a petname. [`Reply::Done`].
    PeersName {
        /// Whom.
        peer: PeerRef,
        /// The name; empty removes it.
        name: String,
    },
    /// Import a model by reference and publish its card. [`Reply::Model`].
    ModelAdd {
        /// Absolute path of a safetensors file or a diffusers folder.
        path: String,
        /// Title, if not the file's own.
        title: Option<String>,
        /// Trigger words, if not the file's own.
        triggers: Vec<String>,
        /// Licence, an SPDX name where there is one.
        licence: Option<String>,
        /// What it is, in words.
        description: Option<String>,
    },
    /// Stop serving a model and forget its local files' references. [`Reply::Done`].
    ModelRm {
        /// Which.
        model: ModelRef,
    },
    /// List cards. [`Reply::Models`].
    ModelList,
    /// Show one. [`Reply::Model`].
    ModelShow {
        /// Which.
        model: ModelRef,
    },
    /// Fetch a model's files now. [`Reply::Fetched`].
    ModelFetch {
        /// Which.
        model: ModelRef,
    },
    /// Keep and serve. [`Reply::Done`].
    ModelPin {
        /// Which.
        model: ModelRef,
    },
    /// Let garbage collection take it. [`Reply::Done`].
    ModelUnpin {
        /// Which.
        model: ModelRef,
    },
    /// Ask for pictures. [`Reply::Submitted`], or [`Reply::Estimate`] for a dry run.
    Generate(Box<GenerateRequest>),
    /// List jobs. [`Reply::Jobs`].
    JobsList,
    /// Show one. [`Reply::Job`].
    JobsShow {
        /// Full id or an unambiguous beginning.
        job: String,
    },
    /// Cancel one. [`Reply::Done`].
    JobsCancel {
        /// Full id or an unambiguous beginning.
        job: String,
    },
    /// Dispute a receipt. [`Reply::Wrote`].
    JobsDispute {
        /// Full id or an unambiguous beginning.
        job: String,
        /// What is wrong.
        code: DisputeCode,
    },
    /// Everybody's balance. [`Reply::Balances`].
    LedgerBalance,
    /// Entries, newest first. [`Reply::Entries`].
    LedgerEntries(Box<EntriesRequest>),
    /// Explain a balance line by line. [`Reply::Why`].
    LedgerWhy(WhyRequest),
    /// Check everything again from the signed bytes. [`Reply::Audit`].
    LedgerAudit,
    /// Give kudos. [`Reply::Wrote`].
    LedgerGive {
        /// To whom.
        peer: PeerRef,
        /// How much.
        amount: Millikudos,
    },
    /// One member's account. [`Reply::Account`].
    LedgerAccount {
        /// Whose; oneself if absent.
        peer: Option<PeerRef>,
    },
    /// Open one entry. [`Reply::Entry`].
    LedgerEntry {
        /// Its full hash or an unambiguous beginning.
        entry: String,
    },
    /// A page of everything, as it was signed. [`Reply::Export`].
    LedgerExport {
        /// The last entry of the page before; the first page if absent.
        after: Option<EntryHash>,
    },
    /// Take entries in as if a peer had sent them: everything is checked. [`Reply::Imported`].
    LedgerImport {
        /// Canonical entries, each chain's in order.
        entries: Vec<Verbatim>,
        /// Canonical fork proofs.
        forks: Vec<Verbatim>,
    },
    /// Throw the ledger's index away, build it from the segments, and ask members for what is
    /// missing. [`Reply::Done`].
    LedgerRebuild,
    /// Whether this node's own chain forked, and into what. [`Reply::Fork`].
    LedgerFork,
    /// Go on after a fork, on probation. [`Reply::Wrote`].
    LedgerHeal {
        /// How it came to it.
        reason: HealReason,
    },
    /// Something about bounties.
    Bounty(BountyCommand),
    /// Finish what runs, take nothing new. [`Reply::Done`].
    WorkerPause,
    /// Take jobs again. [`Reply::Done`].
    WorkerResume,
    /// Show how this node lends, and what it lets members owe. [`Reply::Credit`].
    CreditShow {
        /// Only this one.
        peer: Option<PeerRef>,
    },
    /// Choose how this node lends. [`Reply::Done`].
    CreditSet {
        /// Policy and bounds; what is `None` is the charter's or the policy's default.
        terms: PolicyTerms,
    },
}

/// Where a job may run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Place {
    /// Wherever it is done soonest.
    Any,
    /// On this machine, writing nothing to the ledger.
    Local,
    /// On one peer.
    Peer(PeerRef),
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Reply {
    /// It is done; in one line what changed.
    Done {
        /// The line.
        what: String,
    },
    /// The node's state.
    Status(Box<StatusView>),
    /// What was checked.
    Doctor {
        /// Each check.
        checks: Vec<Check>,
    },
    /// A commons.
    Commons(Box<CommonsReply>),
    /// A ticket.
    Ticket {
        /// The line to pass on.
        ticket: String,
        /// When it expires.
        expires: Timestamp,
        /// How many may use it.
        uses: u32,
    },
    /// Members.
    Peers {
        /// Each of them.
        peers: Vec<PeerView>,
    },
    /// One member.
    Peer(Box<PeerView>),
    /// Cards.
    Models {
        /// Each of them.
        models: Vec<CardView>,
    },
    /// One card.
    Model(Box<CardView>),
    /// Files are here.
    Fetched {
        /// The card.
        card: CardId,
        /// Bytes moved.
        bytes: u64,
        /// How long it took.
        took: Millis,
    },
    /// Jobs are under way.
    Submitted {
        /// Their ids, in order of pictures.
        jobs: Vec<JobId>,
    },
    /// What a dry run found.
    Estimate {
        /// Most it would cost, for all pictures.
        kudos_mk: Millikudos,
        /// Who would do it.
        workers: Vec<NodeId>,
        /// Why nobody could, if so.
        obstacle: Option<String>,
    },
    /// Jobs.
    Jobs {
        /// Each of them.
        jobs: Vec<JobView>,
    },
    /// One job.
    Job(Box<JobView>),
    /// Balances.
    Balances {
        /// This node.
        node: NodeId,
        /// Each member's.
        balances: Vec<BalanceView>,
        /// Digest of the whole state.
        digest: String,
    },
    /// Entries.
    Entries {
        /// Each of them.
        entries: Vec<LedgerView>,
        /// Where the next page goes on, if there is more.
        next: Option<EntryHash>,
    },
    /// A balance explained.
    Why {
        /// Whose.
        node: NodeId,
        /// The sum.
        balance: Balance,
        /// The part that cannot be spent yet.
        pending: Balance,
        /// What passed between it and each other member, on the first page; they sum to the balance.
        pairs: Vec<PairView>,
        /// The lines by date; all pages together sum to the balance, or to the pair's.
        lines: Vec<WhyLine>,
        /// Where the next page goes on, if there is more.
        next: Option<EntryHash>,
    },
    /// An audit.
    Audit(AuditReply),
    /// An entry was written.
    Wrote {
        /// Its name.
        entry: EntryHash,
        /// In one line what it says.
        what: String,
    },
    /// One member's account.
    Account(Box<AccountView>),
    /// One entry, opened.
    Entry(Box<EntryDetail>),
    /// A page of the ledger as it was signed.
    Export(Box<ExportPage>),
    /// Entries were taken in.
    Imported(ImportReply),
    /// How this node lends.
    Credit(CreditReply),
    /// The state of this node's own chain.
    Fork(Box<ForkView>),
    /// Bounties.
    Bounties {
        /// Each of them.
        bounties: Vec<BountyView>,
    },
    /// One bounty.
    Bounty(Box<BountyView>),
}

/// A commons as shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommonsReply {
    /// Its id.
    pub id: CommonsId,
    /// Its charter.
    pub charter: Charter,
    /// Members known.
    pub members: u32,
    /// Members connected.
    pub connected: u32,
}

/// One check of `doctor`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// What was looked at.
    pub name: String,
    /// How it is.
    pub health: Health,
    /// What was found.
    pub found: String,
    /// What to do.
    pub hint: Option<String>,
}

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// Well.
    Ok,
    /// Works, with a drawback.
    Warning,
    /// Does not work.
    Broken,
}

/// A picture as reported by `generate`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageReport {
    /// Where it was saved.
    pub path: String,
    /// Its noise seed.
    pub seed: u64,
    /// Hash of the file.
    pub blake3: BlobHash,
}

/// What a finished job reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobReport {
    /// Its picture.
    pub image: ImageReport,
    /// Who did it.
    pub worker: NodeId,
    /// What it cost.
    pub kudos_mk: Millikudos,
    /// How long its parts took.
    pub timings: Timings,
    /// From submission to the saved file.
    pub total: Millis,
    /// What it took.
    pub energy: Energy,
    /// Things a person should know.
    pub warnings: Vec<String>,
}

/// Energy as shown, in joules.
pub fn joules(energy: &Energy) -> Option<f64> {
    match energy.method {
        EnergyMethod::Unknown => None,
        EnergyMethod::Rated | EnergyMethod::Metered => {
            Some(f64::from(u32::try_from(energy.millijoules).unwrap_or(u32::MAX)) / 1000.0)
        }
    }
}
