//! Carries out what dispatch decided, in order: what must be durable is so before the next begins.

mod engine;

use std::collections::BTreeSet;

use hearth_dispatch::{CallId, Effect, Event, OutputsFault, Recipient, StoreFault};
use hearth_protocol::engine::OutputFile;
use hearth_protocol::entry::{Body, Entry};
use hearth_protocol::id::{BlobHash, CardId, JobId, NodeId};
use hearth_protocol::job::JobSpec;
use hearth_protocol::wire::{JobMessage, Message, SyncMessage};

use super::Switchboard;
use super::errand::{self, Answer, Source};
use crate::clock::now;
use crate::meter::Reading;
use crate::network::{Channel, NetworkCommand};
use crate::store::{StoreError, Table};

/// An engine run under way or waiting for its outputs to be stored.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) spec: Option<Box<JobSpec>>,
    pub(super) outputs: Vec<OutputFile>,
    /// The requester's files that were fetched for it.
    pub(super) borrowed: Vec<BlobHash>,
    /// What the meters showed when it began.
    pub(super) meter: Reading,
    pub(super) cancelled: bool,
    /// It ended; its outputs are kept until the effects of that are carried out.
    pub(super) is_done: bool,
}

impl Switchboard {
    /// Carries out effects until there are none.
    pub(super) fn carry_out(&mut self) {
        let mut unsynced = false;
        while let Some(effect) = self.dispatcher.poll_effect() {
            let is_note = matches!(
                effect,
                Effect::PersistJob(_) | Effect::PersistWork(_) | Effect::ForgetWork { .. }
            );
            if unsynced && !is_note {
                self.stored("syncing notes", |board| board.store.flush());
                unsynced = false;
            }
            unsynced |= is_note;
            self.carry(effect);
        }
        if unsynced {
            self.stored("syncing notes", |board| board.store.flush());
        }
        // Outputs that dispatch did not ask to store, because nobody waits for them any more.
        self.runs.retain(|_, run| !run.is_done);
    }

    fn carry(&mut self, effect: Effect) {
        match effect {
            Effect::Send { to, message } => {
                self.open_inputs(to, &message);
                let bytes = message.to_bytes();
                self.command(NetworkCommand::Send {
                    peer: to,
                    channel: Channel::Job,
                    bytes,
                });
            }
            Effect::Sign { call, body } => self.sign_for_dispatch(call, &body),
            Effect::PersistJob(record) => self.persist_job(*record),
            Effect::PersistWork(record) => self.stored("noting work", |board| {
                board
                    .store
                    .put(Table::Work, record.order.as_bytes(), &*record)
            }),
            Effect::ForgetWork { order } => self.stored("forgetting work", |board| {
                board.store.remove(Table::Work, order.as_bytes())
            }),
            Effect::FetchOutputs {
                call,
                job,
                worker,
                outputs,
            } => {
                let places = self.jobs.places(&job, &self.facts);
                let (blobs, answers) = (self.rooms.blobs.clone(), self.rooms.answers.clone());
                let lost = Answer::Collected {
                    call,
                    result: Err(OutputsFault::Unreachable),
                };
                let back = answers.clone();
                let errand = errand::collect(blobs, call, worker, outputs, places, answers);
                errand::send_out(&back, lost, errand);
            }
            Effect::Progressed {
                job,
                phase,
                preview,
            } => self.job_went_on(job, phase, preview),
            Effect::FetchCards {
                call,
                job: _,
                cards,
            } => self.fetch_cards(call, &cards),
            Effect::StopFetch { call } => self.stop_fetch(call),
            Effect::RunEngine {
                call,
                job: _,
                requester,
                spec,
            } => self.run_engine(call, requester, spec),
            Effect::CancelEngine { call } => self.cancel_engine(call),
            Effect::StoreOutputs {
                call,
                run,
                job,
                recipient,
            } => {
                self.store_outputs(call, run, job, recipient);
            }
            Effect::DropOutputs { order, .. } => self.drop_outputs(order),
            Effect::CapacityChanged => self.advertise_soon(),
            Effect::Ignored { peer, why } => {
                let peer = peer.map(|peer| self.peers.name(&peer)).unwrap_or_default();
                tracing::debug!(peer, %why, "an event had no effect");
            }
        }
    }

    /// Lets the worker of an order fetch what its job starts from. Orders are repeated after a restart,
    /// so grants need not last.
    fn open_inputs(&self, worker: NodeId, message: &JobMessage) {
        if let JobMessage::Order { spec, .. } = message {
            for input in spec.start.inputs() {
                self.rooms.blobs.grant(input.blob, worker);
            }
        }
    }

    /// Drops the files a job started from, unless another open job or a delivery needs them.
    pub(super) fn drop_inputs(&self, over: JobId, spec: &JobSpec) {
        let needed = self.needed(Some(over));
        for input in spec.start.inputs() {
            if !needed.contains(&input.blob) {
                self.drop_job_blob(input.blob);
            }
        }
    }

    /// Returns the files that this node's jobs but one start from, and those it has yet to deliver.
    fn needed(&self, over: Option<JobId>) -> BTreeSet<BlobHash> {
        let open = self.dispatcher.jobs().filter(|job| Some(job.id()) != over);
        open.filter_map(|job| job.spec())
            .flat_map(|spec| spec.start.inputs())
            .map(|input| input.blob)
            .chain(self.outputs.values().flatten().copied())
            .collect()
    }

    pub(super) fn drop_job_blob(&self, hash: BlobHash) {
        let blobs = self.rooms.blobs.clone();
        tokio::spawn(async move {
            if let Err(error) = blobs.drop_job(hash).await {
                tracing::warn!(%error, "a file of a job that is over could not be dropped");
            }
        });
    }

    /// Writes into the own chain; the entry is on disk when this returns.
    pub(super) fn write(&mut self, body: &Body) -> Result<Entry, String> {
        let Some(ledger) = self.ledger.as_mut() else {
            return Err("this node is in no commons".into());
        };
        let entry = ledger
            .write(body.clone(), now())
            .map_err(|error| errand::causes(&error))?;
        self.outbox.push(entry.clone());
        if let Some(peer) = self.counterpart(body) {
            // Gossip reaches everybody in time; the other side should not have to wait for it.
            self.send_sync(
                peer,
                &SyncMessage::Entries {
                    entries: vec![entry.clone()],
                },
            );
        }
        self.after_entries();
        Ok(entry)
    }

    fn counterpart(&self, body: &Body) -> Option<NodeId> {
        let book = self.ledger.as_ref()?.book();
        match body {
            Body::Order { provider, .. } => Some(*provider),
            Body::Receipt { order, .. } | Body::Void { order, .. } => {
                let view = book.order(order)?;
                Some(if view.provider == self.me {
                    view.requester
                } else {
                    view.provider
                })
            }
            Body::Transfer { to, .. } => Some(*to),
            Body::Ack { receipt, .. } => Some(book.entry(receipt)?.header.trusted().author),
            Body::Trust { peer, .. } => Some(*peer),
            Body::Audit { receipt, .. } => Some(book.entry(receipt)?.header.trusted().author),
            Body::PairNet(net) => Some(net.peer),
            Body::Join { .. } | Body::Leave | Body::Amend { .. } | Body::Heal { .. } => None,
        }
    }

    fn sign_for_dispatch(&mut self, call: CallId, body: &Body) {
        let event = match self.write(body) {
            Ok(entry) => Event::Signed {
                call,
                entry: entry.hash(),
            },
            Err(cause) => {
                tracing::error!(cause, "an entry could not be written");
                Event::NotSigned { call, cause }
            }
        };
        self.dispatch(event);
    }

    fn fetch_cards(&mut self, call: CallId, cards: &[CardId]) {
        let mut sources = Vec::new();
        for id in cards {
            let Some(card) = self.shelf.card(id) else {
                let cause = "its card is not known here".into();
                return self.dispatch(Event::CardsFailed {
                    call,
                    card: *id,
                    cause,
                });
            };
            let card = card.trusted().clone();
            sources.push(Source {
                id: *id,
                card,
                seeders: self.peers.seeders(id),
            });
        }
        let (blobs, answers) = (self.rooms.blobs.clone(), self.rooms.answers.clone());
        let Some(first) = cards.first().copied() else {
            return self.dispatch(Event::CardsReady {
                call,
                bytes_from: std::collections::BTreeMap::new(),
                took: hearth_protocol::unit::Millis::ZERO,
            });
        };
        let cause = "the fetch ended in a fault of the node".into();
        let lost = Answer::CardsFailed {
            call,
            card: first,
            cause,
        };
        let back = answers.clone();
        let errand = errand::fetch_cards(blobs, call, sources, answers);
        let task = errand::send_out(&back, lost, errand);
        self.fetches.insert(call, (Some(first), task));
    }

    fn stop_fetch(&mut self, call: CallId) {
        let Some((card, task)) = self.fetches.remove(&call) else {
            return;
        };
        task.abort();
        if let Some(card) = card {
            self.transfers.remove(&card);
            self.dispatch(Event::CardsFailed {
                call,
                card,
                cause: "stopped".into(),
            });
        }
    }

    fn store_outputs(&mut self, call: CallId, run: CallId, job: JobId, recipient: Recipient) {
        let outputs = self
            .runs
            .remove(&run)
            .map(|run| run.outputs)
            .unwrap_or_default();
        let (blobs, answers) = (self.rooms.blobs.clone(), self.rooms.answers.clone());
        let lost = Answer::Stored {
            call,
            result: Err(StoreFault::Failed),
        };
        match recipient {
            Recipient::Own => {
                let places = self.jobs.places(&job, &self.facts);
                let errand = errand::save_own(call, outputs, places, answers.clone());
                errand::send_out(&answers, lost, errand);
            }
            Recipient::Peer { requester, order } => {
                self.storing.insert(call, order);
                let errand =
                    errand::keep_for_peer(blobs, call, requester, outputs, answers.clone());
                errand::send_out(&answers, lost, errand);
            }
        }
    }

    fn drop_outputs(&mut self, order: hearth_protocol::id::EntryHash) {
        let dropped = self.outputs.remove(&order).unwrap_or_default();
        // Equal specs give equal bytes: another order may still wait for the same blob.
        let awaited: BTreeSet<BlobHash> = self.outputs.values().flatten().copied().collect();
        for hash in dropped.into_iter().filter(|hash| !awaited.contains(hash)) {
            self.drop_job_blob(hash);
        }
    }

    /// Takes an errand's answer.
    pub(super) fn on_answer(&mut self, answer: Answer) {
        match answer {
            Answer::Fetching {
                call,
                card,
                have,
                total,
                from,
            } => {
                self.on_fetching(call, card, have, total, from);
            }
            Answer::CardHere { card } => self.card_is_here(card),
            Answer::CardsReady {
                call,
                bytes_from,
                took,
            } => {
                if self.fetches.remove(&call).is_some() {
                    self.dispatch(Event::CardsReady {
                        call,
                        bytes_from,
                        took,
                    });
                }
            }
            Answer::CardsFailed { call, card, cause } => {
                self.transfers.remove(&card);
                if self.fetches.remove(&call).is_some() {
                    self.dispatch(Event::CardsFailed { call, card, cause });
                }
            }
            Answer::Assets { call, assets } => self.start_engine(call, assets),
            Answer::Collected { call, result } => self.dispatch(match result {
                Ok(()) => Event::OutputsSaved { call },
                Err(fault) => Event::OutputsFailed { call, fault },
            }),
            Answer::Stored { call, result } => {
                if let (Some(order), Ok(outputs)) = (self.storing.remove(&call), &result) {
                    self.outputs
                        .insert(order, outputs.iter().map(|output| output.blob).collect());
                }
                self.dispatch(match result {
                    Ok(outputs) => Event::OutputsStored { call, outputs },
                    Err(fault) => Event::OutputsNotStored { call, fault },
                });
            }
        }
    }

    fn on_fetching(
        &mut self,
        call: Option<CallId>,
        card: CardId,
        have: hearth_protocol::unit::ByteCount,
        total: hearth_protocol::unit::ByteCount,
        from: Vec<NodeId>,
    ) {
        if call.is_some_and(|call| !self.fetches.contains_key(&call)) {
            return;
        }
        let title = self
            .shelf
            .card(&card)
            .map(|card| card.trusted().title.clone())
            .unwrap_or_default();
        let view = hearth_protocol::snapshot::TransferView {
            card,
            title,
            have,
            total,
            from,
        };
        self.transfers.insert(card, view);
        self.shelf.set_have(card, have);
        if let Some(call) = call {
            self.dispatch(Event::CardsProgress {
                call,
                card,
                have,
                total,
            });
        }
        self.notice(hearth_protocol::snapshot::Notice::Changed);
    }

    /// Notes that a card's files are here whole.
    pub(super) fn card_is_here(&mut self, card: CardId) {
        self.transfers.remove(&card);
        let mut note = self.shelf.note(&card);
        let new = !note.complete;
        note.complete = true;
        note.used = now();
        self.keep_note(card, note);
        if new {
            self.tell_shelf();
        }
    }

    /// Keeps a note about a card's files.
    pub(super) fn keep_note(&mut self, card: CardId, note: crate::store::ShelfNote) {
        self.shelf.set_note(card, note);
        self.stored("noting a card", |board| {
            board.store.put(Table::Shelf, card.as_bytes(), &note)
        });
        self.flush_soon();
    }

    /// Does something with the store; a failure is an operator's matter and never ends the node.
    pub(super) fn stored(
        &mut self,
        what: &str,
        act: impl FnOnce(&mut Self) -> Result<(), StoreError>,
    ) {
        if let Err(error) = act(self) {
            tracing::error!(what, error = errand::causes(&error), "the store failed");
        }
    }
}
