//! Yes or no: quotes, and whether an order is taken.
//!
//! A quote is a promise until it ends; without one the price is the present one. An order is held
//! against the ledger as this node sees it, and its job may come before its entry.

use hearth_protocol::capacity::Accepting;
use hearth_protocol::entry::{Body, VoidReason};
use hearth_protocol::id::{EntryHash, JobId, NodeId, Salt};
use hearth_protocol::job::{Failure, JobSpec, Quote, QuoteRequest, Refusal};
use hearth_protocol::limits;
use hearth_protocol::unit::{ByteCount, Millikudos, Millis};
use hearth_protocol::wire::JobMessage;

use crate::config::Engine;
use crate::effect::Effect;
use crate::ignored::Ignored;
use crate::ledger_view::{HeldOrder, HoldState};
use crate::outbox::{Caller, WorkKey};
use crate::price;
use crate::rank::{Scene, warmth};

use super::Worker;
use super::work::{Farewell, ORDER_WAIT, Stage, Work, demand_of};

/// How long a quote holds.
pub(crate) const QUOTE_LIFE: Millis = Millis::from_secs(60);
/// Most a deadline may be ahead: no job of one picture takes longer than a week.
const DEADLINE_MAX: Millis = Millis::from_secs(7 * 86_400);

/// An order as it came.
pub(crate) struct Asked {
    pub(crate) from: NodeId,
    pub(crate) job: JobId,
    pub(crate) order: EntryHash,
    pub(crate) salt: Salt,
    pub(crate) spec: Box<JobSpec>,
}

impl Worker {
    /// Answers a question for a price.
    pub(crate) fn quote(&mut self, cx: &mut Scene<'_>, from: NodeId, asked: &QuoteRequest) {
        let job = asked.job;
        let answer = self
            .willing(cx, from)
            .and_then(|()| self.able(cx, asked))
            .and_then(|demand| {
                let quote = self.price(cx, &demand);
                self.afford(cx, from, quote.total()).map(|()| quote)
            });
        match answer {
            Ok(quote) => {
                while self.quotes.len() >= limits::JOBS_OPEN_MAX {
                    let oldest = self
                        .quotes
                        .iter()
                        .min_by_key(|(_, quote)| quote.valid_until);
                    let Some(key) = oldest.map(|(key, _)| *key) else {
                        break;
                    };
                    self.quotes.remove(&key);
                }
                self.quotes.insert((from, job), quote.clone());
                cx.out.send(from, JobMessage::Quote(quote));
            }
            Err(refusal) => cx.out.send(from, JobMessage::QuoteRefused { job, refusal }),
        }
    }

    // J4
    fn willing(&self, cx: &Scene<'_>, from: NodeId) -> Result<(), Refusal> {
        if cx.view.is_blocked(&from) {
            return Err(Refusal::Blocked);
        }
        if self.policy.engine == Engine::Absent {
            return Err(Refusal::NotAWorker);
        }
        match self.accepting {
            Accepting::Yes => {}
            Accepting::Paused => return Err(Refusal::Paused),
            Accepting::Never => return Err(Refusal::NotAWorker),
        }
        if self.is_full(&from) {
            return Err(Refusal::QueueFull);
        }
        Ok(())
    }

    /// Checks sizes and cards, and returns the demand with the family its card really has.
    fn able(&self, cx: &Scene<'_>, asked: &QuoteRequest) -> Result<QuoteRequest, Refusal> {
        let sides = limits::SIDE_MIN..=limits::SIDE_MAX;
        if !sides.contains(&asked.width) || !sides.contains(&asked.height) || asked.evaluations == 0
        {
            return Err(Refusal::BadSpec);
        }
        let pixels = u64::from(asked.width) * u64::from(asked.height);
        if pixels > self.policy.pixels_max || asked.evaluations > self.policy.evaluations_max {
            return Err(Refusal::TooBig);
        }
        for card in &asked.cards {
            let known = cx.shelf.get(card).ok_or(Refusal::CardUnknown(*card))?;
            if known.missing != ByteCount::default() && !cx.peers.is_served(card) {
                return Err(Refusal::CardUnknown(*card));
            }
        }
        let checkpoint = asked.cards.first().ok_or(Refusal::BadSpec)?;
        let family = cx
            .shelf
            .get(checkpoint)
            .map_or(asked.family, |card| card.family);
        Ok(QuoteRequest {
            family,
            ..asked.clone()
        })
    }

    // J5
    fn price(&self, cx: &Scene<'_>, demand: &QuoteRequest) -> Quote {
        let prices = cx.view.prices();
        let missing = demand
            .cards
            .iter()
            .filter_map(|card| cx.shelf.get(card))
            .fold(ByteCount::default(), |sum, card| sum.plus(card.missing));
        let warmth = warmth(&self.warm, demand);
        let run = price::duration(&prices, demand, &self.speeds, warmth, missing);
        let ready = run.get().saturating_add(self.backlog(&prices).get());
        Quote {
            job: demand.job,
            work: price::work(&prices, demand, self.policy.price_percent, warmth),
            fetch: prices.fetch(missing),
            ready: Millis::new(ready),
            valid_until: cx.now.plus(QUOTE_LIFE),
        }
    }

    // J4
    fn afford(&self, cx: &Scene<'_>, from: NodeId, price: Millikudos) -> Result<(), Refusal> {
        let decision = cx.view.credit(&from, price, &self.taken(), cx.now);
        if decision.granted {
            Ok(())
        } else {
            Err(Refusal::NoCredit(Box::new(decision)))
        }
    }

    /// Takes or refuses an order; one that is known already is answered as a resumption.
    // J7
    pub(crate) fn order(&mut self, cx: &mut Scene<'_>, asked: Asked) {
        let key = WorkKey::Order(asked.order);
        if let Some(work) = self.works.get(&key) {
            if work.requester == asked.from && work.stage == Stage::Over(Farewell::Received) {
                return refuse_now(cx, &asked, Refusal::Replayed);
            }
            return self.resume(cx, asked.from, asked.job, asked.order);
        }
        let good = asked.spec.check().is_ok() && asked.spec.job_id(&asked.salt) == asked.job;
        let refusal = if good {
            self.willing(cx, asked.from).err()
        } else {
            Some(Refusal::BadSpec)
        };
        let held = cx.view.order(&asked.order);
        if let (None, Some(refusal)) = (held, &refusal) {
            return refuse_now(cx, &asked, refusal.clone());
        }
        let mut work = Work::local(cx.now, asked.from, asked.job, asked.spec, family_unset());
        work.order = Some(asked.order);
        work.stage = Stage::Awaiting {
            until: cx.now.plus(ORDER_WAIT),
            salt: asked.salt,
        };
        match held {
            Some(held) => self.admit(cx, key, work, &held, refusal),
            None => {
                self.works.insert(key, work);
            }
        }
    }

    /// Judges an order whose entry is here.
    // J7
    pub(crate) fn admit(
        &mut self,
        cx: &mut Scene<'_>,
        key: WorkKey,
        mut work: Work,
        held: &HeldOrder,
        refusal: Option<Refusal>,
    ) {
        let Some(order) = work.order else {
            return;
        };
        let mine = held.provider == cx.me
            && held.requester == work.requester
            && held.job == work.job
            && held.state == HoldState::Held;
        if !mine {
            let refusal = Refusal::OrderNotHeld;
            return cx.out.send(
                work.requester,
                JobMessage::Refused {
                    job: work.job,
                    order,
                    refusal,
                },
            );
        }
        work.deadline = held.deadline;
        let verdict = refusal.map_or_else(|| self.agree(cx, &mut work, held), Err);
        match verdict {
            Ok(()) => {
                let ahead = self.ahead();
                work.stage = Stage::Queued;
                if let Some(record) = work.record() {
                    cx.out.push(Effect::PersistWork(Box::new(record)));
                }
                let (job, to) = (work.job, work.requester);
                cx.out.send(to, JobMessage::Accepted { job, order, ahead });
                cx.out.push(Effect::CapacityChanged);
            }
            Err(refusal) => self.void(cx, &mut work, Farewell::Refused(refusal)),
        }
        self.put_back(cx, key, work);
    }

    fn agree(&mut self, cx: &Scene<'_>, work: &mut Work, held: &HeldOrder) -> Result<(), Refusal> {
        let spec = work.spec.as_ref().ok_or(Refusal::BadSpec)?;
        let asked = demand_of(work.job, family_unset(), spec);
        let demand = self.able(cx, &asked)?;
        work.family = demand.family;
        let issued = self.quotes.remove(&(work.requester, work.job));
        let quote = issued
            .filter(|quote| quote.valid_until > cx.now)
            .unwrap_or_else(|| self.price(cx, &demand));
        let total = quote.total();
        if held.max < total {
            return Err(Refusal::Price { price: total });
        }
        if held.deadline <= cx.now.plus(quote.ready) || held.deadline > cx.now.plus(DEADLINE_MAX) {
            return Err(Refusal::Deadline);
        }
        self.afford(cx, work.requester, total)?;
        work.max = total;
        work.work_price = quote.work;
        Ok(())
    }

    /// Writes the void of an order, and says farewell once it is written.
    pub(crate) fn void(&self, cx: &mut Scene<'_>, work: &mut Work, farewell: Farewell) {
        let Some(order) = work.order else {
            return;
        };
        let state = cx.view.order(&order).map(|held| held.state);
        let open = matches!(state, Some(HoldState::Held) | None);
        if !open {
            return Self::part(cx, work, farewell);
        }
        let reason = match &farewell {
            Farewell::Refused(_) | Farewell::Received => VoidReason::Refused,
            Farewell::Failed(Failure::Cancelled) => VoidReason::Cancelled,
            Farewell::Failed(Failure::Late) => VoidReason::Late,
            Farewell::Failed(Failure::Restarted) => VoidReason::Lost,
            Farewell::Failed(
                Failure::Fetch { .. }
                | Failure::Engine { .. }
                | Failure::EngineDied
                | Failure::DiskFull,
            ) => VoidReason::Failed,
        };
        let body = Body::Void { order, reason };
        let call = cx.out.sign(Caller::Work(WorkKey::Order(order)), body);
        work.stage = Stage::Voiding {
            call: Some(call),
            farewell,
            again: cx.now,
        };
    }

    /// Ends a work whose order cannot be charged any more.
    pub(crate) fn part(cx: &mut Scene<'_>, work: &mut Work, farewell: Farewell) {
        let message = work.farewell_message(&farewell);
        work.stage = Stage::Over(farewell);
        work.spec = None;
        if let Some(record) = work.record() {
            cx.out.push(Effect::PersistWork(Box::new(record)));
        }
        if let Some(message) = message {
            cx.out.send(work.requester, message);
        }
        cx.out.push(Effect::CapacityChanged);
    }

    /// A word about an order this node does not work on: if it could be charged here, it never
    /// will be.
    pub(crate) fn release_unknown(
        &mut self,
        cx: &mut Scene<'_>,
        from: NodeId,
        job: JobId,
        order: EntryHash,
        failure: Failure,
    ) {
        let held = cx
            .view
            .order(&order)
            .filter(|held| held.provider == cx.me && held.requester == from && held.job == job);
        let Some(held) = held else {
            return cx.out.ignore(Some(from), Ignored::UnknownWork(order));
        };
        match held.state {
            HoldState::Held if self.works.len() < super::NOTES_MAX => {
                let mut work = Work::stub(cx.now, from, job, &held, order);
                self.void(cx, &mut work, Farewell::Failed(failure));
                self.put_back(cx, WorkKey::Order(order), work);
            }
            HoldState::Held | HoldState::Settled { .. } => {
                cx.out.ignore(Some(from), Ignored::UnknownWork(order));
            }
            HoldState::VoidedByProvider | HoldState::VoidedByRequester | HoldState::Expired => {
                let message = JobMessage::Failed {
                    job,
                    order,
                    failure,
                };
                cx.out.send(from, message);
            }
        }
    }
}

fn refuse_now(cx: &mut Scene<'_>, asked: &Asked, refusal: Refusal) {
    let (job, order) = (asked.job, asked.order);
    let message = JobMessage::Refused {
        job,
        order,
        refusal,
    };
    cx.out.send(asked.from, message);
}

/// The family before the card is looked up; a spec does not carry one.
const fn family_unset() -> hearth_protocol::job::Family {
    hearth_protocol::job::Family::Sd15
}
