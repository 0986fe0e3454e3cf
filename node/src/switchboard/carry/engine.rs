//! Running the engine for dispatch: files first, then the process, then its word.

use hearth_dispatch::{CallId, EngineEnd, Event};
use hearth_protocol::card::Card;
use hearth_protocol::engine::{Assets, EngineCall, EngineEvent, FailedEnd, OutputFile};
use hearth_protocol::entry::{Energy, EnergyMethod};
use hearth_protocol::id::{BlobHash, NodeId};
use hearth_protocol::job::{JobSpec, Timings};

use super::Run;
use crate::engine::{Choice, EngineReport};
use crate::meter::Reading;
use crate::switchboard::Switchboard;
use crate::switchboard::errand::{self, Answer};

impl Switchboard {
    pub(in crate::switchboard) fn run_engine(
        &mut self,
        call: CallId,
        requester: NodeId,
        spec: Box<JobSpec>,
    ) {
        let cards: Vec<Card> = spec
            .cards()
            .iter()
            .filter_map(|id| Some(self.shelf.card(id)?.trusted().clone()))
            .collect();
        let whole = cards.len() == spec.cards().len();
        let spec_inputs = spec.start.inputs();
        let (embeddings, vae) = (spec.embeddings.len(), spec.vae.is_some());
        let borrowed = if requester == self.me {
            Vec::new()
        } else {
            spec_inputs.iter().map(|input| input.blob).collect()
        };
        self.runs.insert(
            call,
            Run {
                spec: Some(spec),
                outputs: Vec::new(),
                borrowed,
                meter: Reading::default(),
                cancelled: false,
                is_done: false,
            },
        );
        if !whole {
            return self.engine_failed(
                call,
                0,
                EngineEnd::Refused("a card is not known here".into()),
            );
        }
        let needs = errand::Needs {
            cards,
            inputs: spec_inputs,
            vae,
            embeddings,
            from: (requester != self.me).then_some(requester),
        };
        let (blobs, answers) = (self.rooms.blobs.clone(), self.rooms.answers.clone());
        let fault = "looking for the files ended in a fault of the node";
        let lost = Answer::Assets {
            call,
            assets: Err(fault.into()),
        };
        let errand = errand::assets(blobs, call, needs, answers.clone());
        errand::send_out(&answers, lost, errand);
    }

    pub(in crate::switchboard) fn start_engine(
        &mut self,
        call: CallId,
        assets: Result<Assets, String>,
    ) {
        let Some(run) = self.runs.get_mut(&call) else {
            return;
        };
        let Some(spec) = run.spec.take() else { return };
        if let Some(meter) = &self.facts.meter {
            run.meter = meter.read();
        }
        if run.cancelled {
            return self.engine_failed(call, 0, EngineEnd::Cancelled);
        }
        let assets = match assets {
            Ok(assets) => assets,
            Err(cause) => return self.engine_failed(call, 0, EngineEnd::Refused(cause)),
        };
        if !self.rooms.engine.call(EngineCall::Run {
            run: call.get(),
            spec,
            assets: Box::new(assets),
            memory_max: crate::device::memory_available(),
        }) {
            self.engine_failed(
                call,
                0,
                EngineEnd::Refused("too many jobs wait for it".into()),
            );
        }
    }

    pub(in crate::switchboard) fn cancel_engine(&mut self, call: CallId) {
        let Some(run) = self.runs.get_mut(&call) else {
            return;
        };
        run.cancelled = true;
        if run.spec.is_none()
            && !self
                .rooms
                .engine
                .call(EngineCall::Cancel { run: call.get() })
        {
            tracing::warn!("the engine did not take a cancellation");
        }
    }

    /// Drops what was fetched from a requester for a run, unless another run, a job of this node or a
    /// delivery needs it.
    fn drop_borrowed(&self, borrowed: &[BlobHash]) {
        let kept = self.needed(None);
        let runs = |hash: &BlobHash| self.runs.values().any(|run| run.borrowed.contains(hash));
        let needed = |hash: &BlobHash| kept.contains(hash) || runs(hash);
        for hash in borrowed.iter().filter(|hash| !needed(hash)) {
            self.drop_job_blob(*hash);
        }
    }

    fn engine_failed(&mut self, call: CallId, evaluations: u32, end: EngineEnd) {
        if let Some(run) = self.runs.remove(&call) {
            self.drop_borrowed(&run.borrowed);
        }
        if matches!(end, EngineEnd::Died) {
            self.dispatch(Event::EngineUnloaded);
        }
        self.dispatch(Event::EngineFailed {
            call,
            evaluations,
            energy: Energy::default(),
            end,
        });
    }

    /// Takes a report of the engine process.
    pub(in crate::switchboard) fn on_engine(&mut self, report: EngineReport) {
        match report {
            EngineReport::Chosen(choice) => self.engine_chosen(*choice),
            EngineReport::Retrying { how } => {
                tracing::warn!(
                    how,
                    "the engine process died during a job, which is tried once more"
                );
                self.dispatch(Event::EngineUnloaded);
            }
            EngineReport::Said(event) => self.engine_said(event),
            EngineReport::Unloaded => self.dispatch(Event::EngineUnloaded),
            EngineReport::Died { run, how } => {
                tracing::warn!(how, "the engine process died during a job");
                if let Some(call) = self.call_of(run) {
                    self.engine_failed(call, 0, EngineEnd::Died);
                }
            }
        }
    }

    fn call_of(&self, run: u64) -> Option<CallId> {
        self.runs.keys().find(|call| call.get() == run).copied()
    }

    fn engine_said(&mut self, event: EngineEvent) {
        match event {
            EngineEvent::Ready { device } => {
                tracing::debug!(
                    kind = device.kind,
                    name = device.name,
                    "the engine process is up"
                );
            }
            EngineEvent::Progress {
                run,
                phase,
                preview,
            } => {
                if let Some(call) = self.call_of(run) {
                    self.dispatch(Event::EngineProgress {
                        call,
                        phase,
                        preview,
                    });
                }
            }
            EngineEvent::Done {
                run,
                outputs,
                timings,
                evaluations,
                warnings,
            } => {
                let Some(call) = self.call_of(run) else {
                    return;
                };
                let energy = self.engine_done(call, outputs, &timings);
                self.dispatch(Event::EngineDone {
                    call,
                    evaluations,
                    timings,
                    energy,
                    warnings,
                });
            }
            EngineEvent::Failed {
                run,
                end,
                evaluations,
            } => {
                let Some(call) = self.call_of(run) else {
                    return;
                };
                let end = match end {
                    FailedEnd::Cancelled => EngineEnd::Cancelled,
                    FailedEnd::Refused(cause) => EngineEnd::Refused(cause),
                };
                self.engine_failed(call, evaluations, end);
            }
        }
    }

    /// Keeps what a run made, and returns what it took.
    fn engine_done(&mut self, call: CallId, outputs: Vec<OutputFile>, timings: &Timings) -> Energy {
        let mut began = Reading::default();
        if let Some(run) = self.runs.get_mut(&call) {
            began = std::mem::take(&mut run.meter);
            run.outputs = outputs;
            run.is_done = true;
            let borrowed = std::mem::take(&mut run.borrowed);
            self.drop_borrowed(&borrowed);
        }
        let energy = self.energy(timings, &began);
        self.pulse.energy_mj = self.pulse.energy_mj.saturating_add(energy.millijoules);
        energy
    }

    /// Tells what computes here from now on, and why a better program does not.
    fn engine_chosen(&mut self, choice: Choice) {
        if let Some(reason) = &choice.passed_over {
            tracing::warn!(reason, "a program for a card was found and is not used");
        }
        if let Some(card) = &choice.device {
            self.facts.device = crate::device::of_card(card, &self.facts.device);
            tracing::info!(
                kind = card.kind,
                name = card.name,
                "jobs are computed on a card"
            );
            self.advertise_soon();
        }
        self.facts.engine = Some(choice);
    }

    /// What the meters say, or compute time by the device's rated power: an upper bound that needs none.
    fn energy(&self, timings: &Timings, began: &Reading) -> Energy {
        let metered = self.facts.meter.as_ref().map(|meter| meter.since(began));
        if let Some(millijoules) = metered.filter(|millijoules| *millijoules > 0) {
            return Energy {
                millijoules,
                method: EnergyMethod::Metered,
            };
        }
        let watts = u64::from(self.facts.config.worker.rated_watts);
        if watts == 0 {
            return Energy::default();
        }
        let millijoules = timings.compute().get().saturating_mul(watts);
        Energy {
            millijoules,
            method: EnergyMethod::Rated,
        }
    }
}
