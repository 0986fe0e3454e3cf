//! Why a job ended badly, in words a person can act on.

use hearth_protocol::entry::DisputeCode;
use hearth_protocol::id::{CardId, NodeId};
use hearth_protocol::job::{Failure, Refusal, SpecError};
use hearth_protocol::unit::Millikudos;
use serde::{Deserialize, Serialize};

/// Why a job of this node ended badly.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum JobFailure {
    /// The spec breaks a bound that holds everywhere.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// It was submitted under a name its spec does not have.
    #[error("the job's name is not the commitment to its spec")]
    WrongName,
    /// This node has as many unfinished jobs as it keeps.
    #[error("too many unfinished jobs; wait for some to end")]
    TooManyJobs,
    /// Nobody could take it.
    #[error(transparent)]
    NoPlace(#[from] NoPlace),
    /// Everybody who could take it tried; the last one said this.
    #[error("worker {} failed: {failure}", .worker.short())]
    Worker {
        /// The last worker.
        worker: NodeId,
        /// What it said.
        failure: Failure,
    },
    /// Everybody who could take it refused the order; the last one said this.
    #[error("worker {} refused: {refusal}", .worker.short())]
    Refused {
        /// The last worker.
        worker: NodeId,
        /// What it said.
        refusal: Refusal,
    },
    /// The worker was lost and the order ran out without a receipt.
    #[error("worker {} was lost and nobody else can take the job", .0.short())]
    Lost(NodeId),
    /// Its person's time ran out.
    #[error("the timeout passed")]
    TimedOut,
    /// The result was not what the receipt commits to; the receipt is disputed.
    #[error("the result of worker {} is disputed: {}", .worker.short(), dispute_text(*.code))]
    Disputed {
        /// The worker.
        worker: NodeId,
        /// What is wrong.
        code: DisputeCode,
    },
    /// The own engine failed.
    #[error("on this node: {0}")]
    Local(Failure),
    /// The own chain could not be written.
    #[error("the ledger could not be written: {cause}")]
    Ledger {
        /// The cause in words.
        cause: String,
    },
    /// The outputs are paid for and cannot be written here.
    #[error("the outputs could not be saved on this node")]
    NotSaved,
    /// This node restarted and kept no prompt to place the job again.
    #[error("this node restarted before the job was done; ask again")]
    SpecLost,
}

/// Why no worker could be chosen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum NoPlace {
    /// No other member is connected.
    #[error("no other member is connected, and this node {own}")]
    NobodyConnected {
        /// Why not here.
        own: OwnEngine,
    },
    /// Members are connected and none takes jobs.
    #[error(
        "none of {connected} connected members takes jobs: {paused} paused, {never} never compute"
    )]
    NobodyAccepts {
        /// Members connected.
        connected: usize,
        /// Of them, paused.
        paused: usize,
        /// Of them, without a worker.
        never: usize,
    },
    /// No connected member has a card whole.
    #[error("no connected member has card {}{}", .card.short(), seeder_text(.last_seeder.as_ref()))]
    NobodyHasCard {
        /// The card.
        card: CardId,
        /// Who was last seen with it.
        last_seeder: Option<NodeId>,
    },
    /// The one member asked for is not connected.
    #[error("member {} is not connected", .0.short())]
    PeerAway(NodeId),
    /// The one member asked for takes no jobs.
    #[error("member {} takes no jobs", .0.short())]
    PeerAcceptsNot(NodeId),
    /// A local job on a node without an engine.
    #[error("this node has no engine")]
    NoEngine,
    /// Every worker that could take it is blocked here or no member.
    #[error("every worker that is connected is blocked here")]
    AllBlocked,
    /// Everybody asked refused; the first reason is the one shown.
    #[error("{}", refusals_text(.0))]
    Refused(Vec<(NodeId, Refusal)>),
    /// Everybody asked wants more than the person allows.
    #[error("the cheapest quote is {cheapest} kudos; at most {max} are allowed")]
    PriceAboveMax {
        /// The cheapest quote.
        cheapest: Millikudos,
        /// What is allowed.
        max: Millikudos,
    },
    /// Nobody who was asked answered in time.
    #[error("none of {asked} workers answered in time")]
    NobodyAnswered {
        /// How many were asked.
        asked: usize,
    },
}

/// Why the own engine is no place for a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum OwnEngine {
    /// There is none.
    #[error("has no engine")]
    Absent,
    /// It lacks a card.
    #[error("does not have all the cards")]
    CardsMissing,
    /// The person asked for others.
    #[error("was not asked")]
    NotAsked,
}

/// Says in words what is wrong with a result.
pub const fn dispute_text(code: DisputeCode) -> &'static str {
    match code {
        DisputeCode::Missing => "it never arrived",
        DisputeCode::Corrupt => "its bytes are not what the receipt commits to",
        DisputeCode::Wrong => "it is not the job that was asked",
        DisputeCode::Overcharged => "it costs more than was agreed",
    }
}

fn seeder_text(seeder: Option<&NodeId>) -> String {
    seeder.map_or_else(String::new, |node| {
        format!(", and its seeder {} is offline", node.short())
    })
}

fn refusals_text(refusals: &[(NodeId, Refusal)]) -> String {
    let each: Vec<String> = refusals
        .iter()
        .map(|(node, refusal)| format!("{}: {refusal}", node.short()))
        .collect();
    format!("every worker refused ({})", each.join("; "))
}
