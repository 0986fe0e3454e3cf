//! Decides who runs which job: two pure machines, one for each side of an order.
//!
//! Events go in, effects come out ([`Event`], [`Effect`]); nothing here sends, sleeps, reads a
//! clock or draws a random number: time is an argument and randomness a seed. The requester's half
//! places a job, follows it and acks it; the worker's half quotes, accepts, runs and charges. The
//! rules are `specs/jobs.md`; start reading at [`Dispatcher`].

mod capacity;
mod config;
mod dispatcher;
mod effect;
mod event;
mod failure;
mod ignored;
mod ledger_view;
mod outbox;
mod price;
mod rank;
mod record;
mod requester;
mod view;
mod worker;

pub use capacity::CapacityTable;
pub use config::{Config, Engine, WorkerPolicy};
pub use dispatcher::{Dispatcher, Reason};
pub use effect::{Effect, Recipient};
pub use event::{CallId, EngineEnd, Event, OutputsFault, Place, ShelfCard, StoreFault, Submission};
pub use failure::{JobFailure, NoPlace, OwnEngine, dispute_text};
pub use ignored::Ignored;
pub use ledger_view::{HeldOrder, HoldState, LedgerView};
pub use record::{Attempt, Deliverable, Finish, JobRecord, JobStage, Wish, WorkRecord, WorkStage};
pub use requester::{Job, JobState};
pub use worker::work::{Farewell, Run};
pub use worker::{Stage, Work};

use hearth_protocol::unit::Millis;

/// How long a person waits for a job without saying so: an hour.
pub const JOB_TIMEOUT: Millis = Millis::from_secs(3600);

#[cfg(test)]
mod tests;
