//! Why an event had no effect: each illegal or late pair of state and event by name.
//!
//! Codes are for traces and tests; nothing here goes over the wire.

use hearth_protocol::id::{EntryHash, JobId};

use crate::event::CallId;

/// The outcome of an event that changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Ignored {
    /// A message or command about a job this node did not ask for.
    #[error("unknown job {}", .0.short())]
    UnknownJob(JobId),
    /// A submission under a name that is taken.
    #[error("job {} was submitted before", .0.short())]
    DuplicateJob(JobId),
    /// A message about a job by somebody who is not its worker.
    #[error("job {} is not with that peer", .0.short())]
    NotItsWorker(JobId),
    /// A message about an order that is not the job's present one.
    #[error("order {} is not the present one", .0.short())]
    OldOrder(EntryHash),
    /// A message that fits the job but not its state.
    #[error("{message} does not fit a job that is {state}")]
    OutOfPlace {
        /// What was said.
        message: &'static str,
        /// The job's state.
        state: &'static str,
    },
    /// A message about an order this node does not work on.
    #[error("no work under order {}", .0.short())]
    UnknownWork(EntryHash),
    /// A message about work by somebody who did not order it.
    #[error("order {} is another requester's", .0.short())]
    NotItsRequester(EntryHash),
    /// An answer to a call nobody waits for.
    #[error("nobody waits for call {}", .0.get())]
    LateAnswer(CallId),
    /// A message of somebody who is no member.
    #[error("the peer is not a member")]
    NotAMember,
    /// An advert that is older than the one known, expired, or too far ahead.
    #[error("the advert is not the newest or not of this time")]
    StaleAdvert,
    /// A table is full.
    #[error("{0} is full")]
    Full(&'static str),
    /// A job that is over already.
    #[error("job {} is over", .0.short())]
    Over(JobId),
}
