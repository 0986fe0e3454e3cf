//! What waits to leave: effects, the calls they made, and words between the two halves.

use std::collections::{BTreeMap, VecDeque};

use hearth_protocol::entry::Body;
use hearth_protocol::id::{BlobHash, EntryHash, JobId, NodeId, Salt};
use hearth_protocol::job::{Failure, JobSpec, Phase, Preview};
use hearth_protocol::limits;
use hearth_protocol::unit::Millikudos;
use hearth_protocol::wire::JobMessage;

use crate::effect::Effect;
use crate::event::CallId;
use crate::ignored::Ignored;
use crate::record::Finish;

/// What one work is kept under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum WorkKey {
    /// The own person's job; before every order.
    Local(JobId),
    /// An order of a peer.
    Order(EntryHash),
}

/// Who waits for a call's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller {
    /// The requester's half, for this job.
    Job(JobId),
    /// The worker's half, for this work.
    Work(WorkKey),
    /// Nobody but the books: thanks on their way to a seeder.
    Thanks(NodeId, Millikudos),
}

/// A word from one half to the other.
#[derive(Debug)]
pub(crate) enum Word {
    /// Run an own job.
    RunLocal(JobId, Box<JobSpec>),
    /// Stop an own job.
    StopLocal(JobId),
    /// An own job went on.
    LocalProgress(JobId, Phase, Option<Preview>),
    /// An own job is over.
    LocalOver(JobId, Result<Box<Finish>, Failure>),
}

/// Effects in order, bounded: what merely informs is dropped once the queue is full.
#[derive(Debug)]
pub(crate) struct Outbox {
    effects: VecDeque<Effect>,
    calls: BTreeMap<CallId, Caller>,
    next: u64,
    words: VecDeque<Word>,
    seed: [u8; 32],
    drawn: u64,
}

impl Outbox {
    pub(crate) const fn new(seed: [u8; 32]) -> Self {
        Self {
            effects: VecDeque::new(),
            calls: BTreeMap::new(),
            next: 0,
            words: VecDeque::new(),
            seed,
            drawn: 0,
        }
    }

    /// Queues an effect. Those that only inform give way when the daemon is behind; the others
    /// are bounded by the jobs and works they belong to.
    pub(crate) fn push(&mut self, effect: Effect) {
        let informs = matches!(
            effect,
            Effect::Progressed { .. } | Effect::CapacityChanged | Effect::Ignored { .. }
        );
        if informs && self.effects.len() >= limits::ROOM_QUEUE_MAX {
            return;
        }
        self.effects.push_back(effect);
    }

    pub(crate) fn pop(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    pub(crate) fn len(&self) -> usize {
        self.effects.len()
    }

    pub(crate) fn send(&mut self, to: NodeId, message: JobMessage) {
        self.push(Effect::Send {
            to,
            message: Box::new(message),
        });
    }

    pub(crate) fn ignore(&mut self, peer: Option<NodeId>, why: Ignored) {
        self.push(Effect::Ignored { peer, why });
    }

    /// Opens a call whose answer goes to `caller`.
    pub(crate) fn call(&mut self, caller: Caller) -> CallId {
        let call = CallId(self.next);
        self.next += 1;
        self.calls.insert(call, caller);
        call
    }

    pub(crate) fn sign(&mut self, caller: Caller, body: Body) -> CallId {
        let call = self.call(caller);
        self.push(Effect::Sign { call, body });
        call
    }

    /// Returns who waits for a call that goes on.
    pub(crate) fn caller(&self, call: CallId) -> Option<Caller> {
        self.calls.get(&call).copied()
    }

    /// Closes a call and returns who waited for it.
    pub(crate) fn close(&mut self, call: CallId) -> Option<Caller> {
        self.calls.remove(&call)
    }

    /// Returns what is on its way to a seeder and not yet in the ledger.
    pub(crate) fn thanks_under_way(&self, seeder: &NodeId) -> u64 {
        let mine = |caller: &Caller| match caller {
            Caller::Thanks(to, amount) if to == seeder => amount.get(),
            Caller::Thanks(..) | Caller::Job(_) | Caller::Work(_) => 0,
        };
        self.calls.values().map(mine).sum()
    }

    pub(crate) fn tell(&mut self, word: Word) {
        self.words.push_back(word);
    }

    pub(crate) fn next_word(&mut self) -> Option<Word> {
        self.words.pop_front()
    }

    /// Draws a salt from the seed.
    pub(crate) fn salt(&mut self) -> Salt {
        self.drawn += 1;
        let input = [&self.seed[..], &self.drawn.to_le_bytes()].concat();
        Salt::from_bytes(*BlobHash::of(&input).as_bytes())
    }
}
