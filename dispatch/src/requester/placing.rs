//! First act: find a worker, ask for quotes, have the order signed.
//!
//! A job that nobody can take fails with a reason within [`GRACE`]; only a full queue is worth
//! waiting for. Quotes compare by the worker's own promise plus what this node's other jobs put on
//! that worker since, so that a batch spreads.

use hearth_protocol::capacity::Accepting;
use hearth_protocol::entry::Body;
use hearth_protocol::id::NodeId;
use hearth_protocol::job::{Quote, QuoteRequest, Refusal};
use hearth_protocol::limits;
use hearth_protocol::unit::{ByteCount, Millis, Timestamp};
use hearth_protocol::wire::JobMessage;

use crate::event::Place;
use crate::failure::{JobFailure, NoPlace};
use crate::outbox::{Caller, Word};
use crate::price::{self, Warmth};
use crate::rank::{self, OwnChance, Scene, Search};
use crate::record::Wish;

use super::job::{Answer, Job, JobState};

/// How long after submission a missing worker, card or connection may still turn up.
pub(crate) const GRACE: Millis = Millis::new(1_500);
/// How long to wait before asking workers again whose queue was full.
const BUSY_WAIT: Millis = Millis::from_secs(3);
/// Most orders one job is given, so that a commons of failing workers costs a bounded number of
/// holds.
pub(crate) const ATTEMPTS_MAX: usize = 5;
/// What an order's deadline allows beyond three times the promised time.
const DEADLINE_ROOM: Millis = Millis::from_secs(60);

impl Job {
    fn search<'a>(&'a self, demand: &'a QuoteRequest) -> Search<'a> {
        Search {
            demand,
            place: self.place,
            sizes: &self.sizes,
            tried: &self.tried,
            failures: &self.failures,
        }
    }

    /// Starts a round of placing from nothing.
    pub(crate) fn place(&mut self, cx: &mut Scene<'_>) {
        self.answers.clear();
        self.asked_at = cx.now;
        self.ordered_at = None;
        self.phase = None;
        self.choose(cx);
        self.timer = self.due(cx);
    }

    /// Goes on with a round: own engine, next workers to ask, or an end.
    fn choose(&mut self, cx: &mut Scene<'_>) {
        let Some(demand) = self.demand() else {
            let why = self.last.take().unwrap_or(JobFailure::SpecLost);
            self.fail(cx, why);
            return;
        };
        let search = self.search(&demand);
        let own = rank::own_chance(cx, &search);
        if self.place == Place::Local {
            match own {
                OwnChance::No(crate::failure::OwnEngine::Absent) => {
                    self.fail(cx, NoPlace::NoEngine.into());
                }
                OwnChance::No(_) => self.no_local_card(cx, &demand),
                OwnChance::Ready(_) | OwnChance::AfterFetch => self.run_local(cx),
            }
            return;
        }
        let found = rank::candidates(cx, &search);
        let best = found.as_ref().ok().and_then(|found| found.first());
        let own_first = match own {
            OwnChance::Ready(finish) => {
                self.place == Place::Anywhere
                    && self.answers.is_empty()
                    && best.is_none_or(|best| {
                        cx.own.accepting == Accepting::Yes && finish <= best.finish
                    })
            }
            OwnChance::AfterFetch | OwnChance::No(_) => false,
        };
        if own_first {
            self.run_local(cx);
            return;
        }
        match found {
            Err(why) => self.nobody(cx, why),
            Ok(found) => {
                let next: Vec<NodeId> = found
                    .iter()
                    .map(|candidate| candidate.node)
                    .filter(|node| !self.answers.contains_key(node))
                    .take(limits::QUOTES_MAX)
                    .collect();
                if next.is_empty() {
                    let why = self.summary();
                    self.nobody(cx, why);
                } else {
                    self.ask(cx, &demand, next);
                }
            }
        }
    }

    fn ask(&mut self, cx: &mut Scene<'_>, demand: &QuoteRequest, workers: Vec<NodeId>) {
        for worker in workers {
            self.answers.insert(worker, Answer::Pending);
            cx.out
                .send(worker, JobMessage::QuoteRequest(demand.clone()));
        }
        self.state = JobState::Quoting {
            until: cx.now.plus(limits::QUOTE_TIMEOUT),
        };
    }

    fn run_local(&mut self, cx: &mut Scene<'_>) {
        let Some(spec) = self.spec.clone() else {
            return self.fail(cx, JobFailure::SpecLost);
        };
        self.state = JobState::Local;
        self.persist(cx);
        cx.out.tell(Word::RunLocal(self.id, spec));
    }

    fn no_local_card(&mut self, cx: &mut Scene<'_>, demand: &QuoteRequest) {
        let gone = |card: &&hearth_protocol::id::CardId| {
            let here = cx
                .shelf
                .get(card)
                .is_some_and(|known| known.missing == ByteCount::default());
            !here && !cx.peers.is_served(card)
        };
        let Some(card) = demand.cards.iter().find(gone).copied() else {
            return self.run_local(cx);
        };
        let last_seeder = cx.peers.last_seeder(&card);
        self.nobody(cx, NoPlace::NobodyHasCard { card, last_seeder });
    }

    /// Nobody else can take it now: wait a little, run it here after all, or say why.
    // J2
    fn nobody(&mut self, cx: &mut Scene<'_>, why: NoPlace) {
        if self.place == Place::Anywhere && self.fallback_local(cx) {
            self.run_local(cx);
            return;
        }
        let busy = matches!(&why, NoPlace::Refused(said)
            if said.iter().any(|(_, refusal)| *refusal == Refusal::QueueFull));
        let asked = matches!(
            why,
            NoPlace::Refused(_) | NoPlace::PriceAboveMax { .. } | NoPlace::NobodyAnswered { .. }
        );
        let grace_ends = self.submitted.plus(GRACE);
        let again = if busy {
            cx.now.plus(BUSY_WAIT)
        } else {
            grace_ends
        };
        if cx.now >= self.until {
            return self.fail(cx, JobFailure::TimedOut);
        }
        if busy || (!asked && self.tried.is_empty() && cx.now < grace_ends) {
            self.state = JobState::Waiting { why, again };
            return;
        }
        let why = self.last.take().unwrap_or(JobFailure::NoPlace(why));
        self.fail(cx, why);
    }

    fn fallback_local(&self, cx: &Scene<'_>) -> bool {
        let Some(demand) = self.demand() else {
            return false;
        };
        match rank::own_chance(cx, &self.search(&demand)) {
            OwnChance::Ready(_) | OwnChance::AfterFetch => true,
            OwnChance::No(_) => false,
        }
    }

    /// Sums up a round in which nobody's answer could be used.
    fn summary(&self) -> NoPlace {
        let mut refused = Vec::new();
        let mut cheapest = None;
        for (node, answer) in &self.answers {
            match answer {
                Answer::Refused(refusal) => refused.push((*node, refusal.clone())),
                Answer::Quoted(quote) => {
                    let total = quote.total();
                    cheapest = Some(cheapest.map_or(total, |known| total.min(known)));
                }
                Answer::Pending | Answer::Silent => {}
            }
        }
        match (cheapest, self.max) {
            (Some(cheapest), Some(max)) if cheapest > max => {
                NoPlace::PriceAboveMax { cheapest, max }
            }
            (Some(_) | None, Some(_) | None) if !refused.is_empty() => NoPlace::Refused(refused),
            (Some(_) | None, Some(_) | None) => NoPlace::NobodyAnswered {
                asked: self.answers.len(),
            },
        }
    }

    pub(crate) fn retry(&mut self, cx: &mut Scene<'_>) {
        if matches!(self.state, JobState::Waiting { .. }) {
            self.place(cx);
        }
    }

    pub(crate) fn look_placing(&mut self, cx: &mut Scene<'_>) {
        match &self.state {
            JobState::Waiting { why, again } => {
                let busy = matches!(why, NoPlace::Refused(_));
                if cx.now >= self.until {
                    self.fail(cx, JobFailure::TimedOut);
                } else if !busy || cx.now >= *again {
                    self.place(cx);
                }
            }
            JobState::Quoting { until } => {
                if cx.now >= *until {
                    for answer in self.answers.values_mut() {
                        if *answer == Answer::Pending {
                            *answer = Answer::Silent;
                        }
                    }
                }
                self.pick_when_answered(cx);
            }
            JobState::Signing { .. }
            | JobState::Ordered { .. }
            | JobState::Running { .. }
            | JobState::Releasing { .. }
            | JobState::Voiding { .. }
            | JobState::Settling { .. }
            | JobState::Saving { .. }
            | JobState::Acking { .. }
            | JobState::Cancelling { .. }
            | JobState::Local
            | JobState::Finished(_)
            | JobState::Failed(_)
            | JobState::Cancelled { .. } => {}
        }
    }

    pub(crate) fn quoted(&mut self, cx: &mut Scene<'_>, from: NodeId, answer: Answer) {
        let asked = matches!(self.answers.get(&from), Some(Answer::Pending));
        if !asked || !matches!(self.state, JobState::Quoting { .. }) {
            return self.out_of_place(cx, from, "quote");
        }
        self.answers.insert(from, answer);
        self.pick_when_answered(cx);
    }

    fn pick_when_answered(&mut self, cx: &mut Scene<'_>) {
        let mut answers = self.answers.values();
        if answers.any(|answer| *answer == Answer::Pending) {
            return;
        }
        for (node, count) in &self.orders_at {
            let full = *count >= limits::QUEUE_PER_PEER_MAX;
            if let Some(answer @ Answer::Quoted(_)) = self.answers.get_mut(node).filter(|_| full) {
                // It would refuse: its promise was made before our other orders came.
                *answer = Answer::Refused(Refusal::QueueFull);
            }
        }
        match self.best_quote(cx) {
            Some((worker, quote)) => self.sign_order(cx, worker, &quote),
            None => self.choose(cx),
        }
    }

    fn best_quote(&self, cx: &Scene<'_>) -> Option<(NodeId, Quote)> {
        let demand = self.demand()?;
        let search = self.search(&demand);
        let score = |(node, quote): &(NodeId, Quote)| {
            let one = cx.peers.advert(node).map_or(Millis::ZERO, |advert| {
                let none = ByteCount::default();
                let prices = cx.view.prices();
                price::duration(&prices, &demand, &advert.speeds, Warmth::Warm, none)
            });
            let siblings = u64::from(self.siblings.get(node).copied().unwrap_or(0));
            let ready = quote.ready.get();
            let finish = ready.saturating_add(one.get().max(1).saturating_mul(siblings));
            let finish = rank::weigh(cx, &search, node, finish);
            (finish, quote.total(), rank::draw(&demand, node))
        };
        self.answers
            .iter()
            .filter_map(|(node, answer)| match answer {
                Answer::Quoted(quote) => Some((*node, quote.clone())),
                Answer::Pending | Answer::Silent | Answer::Refused(_) => None,
            })
            .filter(|(node, quote)| {
                quote.valid_until > cx.now
                    && self.max.is_none_or(|max| quote.total() <= max)
                    && cx.peers.is_connected(node)
            })
            .min_by_key(score)
    }

    fn sign_order(&mut self, cx: &mut Scene<'_>, worker: NodeId, quote: &Quote) {
        let span = quote.ready.get().saturating_mul(3);
        let span = Millis::new(span.saturating_add(DEADLINE_ROOM.get()));
        let deadline: Timestamp = cx.now.plus(span).min(self.until);
        if deadline <= cx.now {
            return self.fail(cx, JobFailure::TimedOut);
        }
        let max = quote.total();
        let body = Body::Order {
            provider: worker,
            job: self.id.into(),
            max,
            deadline,
        };
        self.ordered_at = Some(cx.now);
        let call = cx.out.sign(Caller::Job(self.id), body);
        self.state = JobState::Signing {
            worker,
            max,
            deadline,
            call,
        };
    }

    /// Goes to the next worker after an attempt that can no longer be charged.
    // J8
    pub(crate) fn next(&mut self, cx: &mut Scene<'_>, worker: NodeId, why: JobFailure) {
        if let (JobFailure::Refused { refusal, .. }, Wish::Finish) = (&why, self.wish)
            && *refusal == Refusal::QueueFull
            && cx.now < self.until
        {
            // No fault of anybody: others were faster.
            self.state = JobState::Waiting {
                why: NoPlace::Refused(vec![(worker, Refusal::QueueFull)]),
                again: cx.now.plus(BUSY_WAIT),
            };
            self.ordered_at = None;
            return self.persist(cx);
        }
        self.tried.insert(worker);
        self.blamed = Some(worker);
        self.last = Some(why.clone());
        match self.wish {
            Wish::Cancel => self.end(
                cx,
                JobState::Cancelled {
                    paid: hearth_protocol::unit::Millikudos::ZERO,
                },
            ),
            Wish::Finish if self.tried.len() >= ATTEMPTS_MAX || cx.now >= self.until => {
                self.fail(cx, why);
            }
            Wish::Finish => {
                self.state = JobState::Waiting {
                    why: NoPlace::NobodyAnswered { asked: 0 },
                    again: cx.now,
                };
                self.persist(cx);
                self.place(cx);
            }
        }
    }
}
