//! Asking for pictures: names become cards, wishes become specs, specs become jobs.

mod specs;

use std::path::Path;

use hearth_dispatch::{Event, Place as DispatchPlace, Submission};
use hearth_protocol::card::CardKind;
use hearth_protocol::control::{GenerateRequest, Place, Problem, Reply};
use hearth_protocol::id::{CardId, JobId, Salt};
use hearth_protocol::job::{Family, JobSpec, Start};
use hearth_protocol::limits;

use super::usage;
use crate::switchboard::Switchboard;
use crate::switchboard::jobs::Wishes;

impl Switchboard {
    pub(in crate::switchboard) fn generate(
        &mut self,
        request: &GenerateRequest,
        start: &Start,
    ) -> Result<Reply, Problem> {
        if request.count == 0 || request.count > limits::COUNT_MAX {
            return Err(usage(format!(
                "between 1 and {} pictures can be asked at once",
                limits::COUNT_MAX
            )));
        }
        let specs = self.specs(request, start)?;
        let place = self.place(&request.place)?;
        if request.dry_run {
            return Ok(self.estimate(&specs, place));
        }
        let mut jobs = Vec::new();
        for (index, spec) in specs.into_iter().enumerate() {
            let salt = Salt::from_bytes(crate::chance::bytes());
            let job = spec.job_id(&salt);
            self.jobs.wish(job, wishes(request, &spec, job, index));
            let sizes = spec
                .cards()
                .iter()
                .filter_map(|id| Some((*id, self.shelf.card(id)?.trusted().size())))
                .collect();
            let family = self.family(&spec);
            let (max, timeout) = (request.max, request.timeout);
            let submission = Submission {
                job,
                salt,
                spec,
                family,
                place,
                max,
                timeout,
                sizes,
            };
            self.dispatch(Event::Submit(Box::new(submission)));
            self.carry_out();
            jobs.push(job);
        }
        Ok(Reply::Submitted { jobs })
    }

    fn family(&self, spec: &JobSpec) -> Family {
        let card = self.shelf.card(&spec.checkpoint);
        card.map_or(Family::Sd15, |card| card.trusted().family)
    }

    pub(super) fn model_of_kind(&self, name: &str, kind: CardKind) -> Result<CardId, Problem> {
        let id = self.model(name)?;
        match self.shelf.card(&id).map(|card| card.trusted().kind) {
            Some(found) if found != kind => {
                let (found, flag) = match found {
                    CardKind::Checkpoint => ("a checkpoint", "--model"),
                    CardKind::Lora => ("a LoRA", "--lora"),
                    CardKind::Embedding => ("an embedding", "--embedding"),
                    CardKind::Vae => ("an autoencoder", "--vae"),
                };
                Err(usage(format!("'{}' is {found}", self.title(&id)))
                    .hint(format!("name it with {flag}")))
            }
            Some(_) | None => Ok(id),
        }
    }

    fn place(&self, place: &Place) -> Result<DispatchPlace, Problem> {
        Ok(match place {
            Place::Any => DispatchPlace::Anywhere,
            Place::Local => DispatchPlace::Local,
            Place::Peer(name) => {
                let node = self.peer(name)?;
                if node == self.me {
                    DispatchPlace::Local
                } else {
                    DispatchPlace::Peer(node)
                }
            }
        })
    }
}

fn wishes(request: &GenerateRequest, spec: &JobSpec, job: JobId, index: usize) -> Wishes {
    let numbered = |dir: &String| {
        let extension = spec.format.name();
        format!("{dir}/hearth-{}-{index:03}.{extension}", job.short())
    };
    let out = request.out.as_ref().map(|out| {
        let is_folder = request.count > 1 || Path::new(out).is_dir();
        if is_folder {
            numbered(out)
        } else {
            out.clone()
        }
    });
    let steps = request.save_steps.as_ref().map(|dir| {
        if request.count > 1 {
            format!("{dir}/{index:03}")
        } else {
            dir.clone()
        }
    });
    Wishes {
        out,
        steps,
        seed: spec.seed,
        size: (spec.width, spec.height),
        sampling: spec.steps,
    }
}
