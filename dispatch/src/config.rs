//! What a dispatcher is told once, at construction.

use hearth_protocol::capacity::{Accepting, Speed};
use hearth_protocol::id::NodeId;
use hearth_protocol::limits;

/// Everything that is fixed for a run of the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// This node.
    pub me: NodeId,
    /// Unguessable and new at every start: salts of receipts are drawn from it.
    pub seed: [u8; 32],
    /// What the worker half does.
    pub worker: WorkerPolicy,
}

/// What this node computes, and for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerPolicy {
    /// Whether there is an engine at all; own jobs need nothing more.
    pub engine: Engine,
    /// Whether it takes jobs of others at start; `Never` stays so.
    pub accepting: Accepting,
    /// Percent of the table price it asks for evaluations.
    pub price_percent: u16,
    /// Most pixels of one picture for others.
    pub pixels_max: u64,
    /// Most guided evaluations of one job for others.
    pub evaluations_max: u32,
    /// Most jobs it keeps waiting, at most [`limits::QUEUE_MAX`].
    pub queue_max: usize,
    /// Speeds measured before.
    pub speeds: Vec<Speed>,
}

/// Whether a node can compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// It cannot.
    Absent,
    /// It can, one job at a time.
    Present,
}

impl WorkerPolicy {
    /// A node that computes for everybody at the table price.
    pub fn open() -> Self {
        Self {
            engine: Engine::Present,
            accepting: Accepting::Yes,
            price_percent: 100,
            pixels_max: u64::from(limits::SIDE_MAX) * u64::from(limits::SIDE_MAX),
            evaluations_max: limits::STEPS_MAX,
            queue_max: limits::QUEUE_MAX,
            speeds: Vec::new(),
        }
    }

    /// A node that only asks.
    pub fn none() -> Self {
        Self {
            engine: Engine::Absent,
            accepting: Accepting::Never,
            ..Self::open()
        }
    }
}
