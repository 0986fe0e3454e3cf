//! Asking for pictures: names become cards, wishes become specs, specs become jobs.

use std::path::Path;

use hearth_dispatch::{Event, Place as DispatchPlace, Submission};
use hearth_protocol::card::{Card, CardKind, Settings};
use hearth_protocol::control::{GenerateRequest, Place, Problem, Reply};
use hearth_protocol::id::{CardId, JobId, Salt};
use hearth_protocol::job::{Family, ImageFormat, JobSpec, Latents, LoraUse};
use hearth_protocol::limits;

use super::{refused, usage};
use crate::switchboard::Switchboard;
use crate::switchboard::jobs::Wishes;

impl Switchboard {
    pub(in crate::switchboard) fn generate(
        &mut self,
        request: GenerateRequest,
    ) -> Result<Reply, Problem> {
        if request.count == 0 || request.count > limits::COUNT_MAX {
            return Err(usage(format!(
                "between 1 and {} pictures can be asked at once",
                limits::COUNT_MAX
            )));
        }
        let specs = self.specs(&request)?;
        let place = self.place(&request.place)?;
        if request.dry_run {
            return Ok(self.estimate(&specs, place));
        }
        let mut jobs = Vec::new();
        for (index, spec) in specs.into_iter().enumerate() {
            let salt = Salt::from_bytes(crate::chance::bytes());
            let job = spec.job_id(&salt);
            self.jobs.wish(job, wishes(&request, &spec, job, index));
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

    fn specs(&self, request: &GenerateRequest) -> Result<Vec<JobSpec>, Problem> {
        let checkpoint = self.checkpoint(request.model.as_deref())?;
        let mut loras = Vec::new();
        for ask in &request.loras {
            let card = self.model_of_kind(&ask.model, CardKind::Lora)?;
            loras.push(LoraUse {
                card,
                unet: ask.unet,
                text: ask.text,
            });
        }
        let settings = self.settings(&checkpoint);
        let (width, height) = request.size.unwrap_or((settings.width, settings.height));
        let first = request.seed.unwrap_or_else(drawn_seed);
        let spec = |index: u32| JobSpec {
            loras: loras.clone(),
            negative: request.negative.clone(),
            width,
            height,
            steps: request.steps.unwrap_or(settings.steps),
            guidance: request.guidance.unwrap_or(settings.guidance),
            sampler: request.sampler.unwrap_or(settings.sampler),
            schedule: request.schedule.unwrap_or(settings.schedule),
            penultimate: request.penultimate,
            clip_skip: request.clip_skip.unwrap_or(settings.clip_skip),
            seed: first.wrapping_add(u64::from(index)),
            variation: request.variation,
            eta_seed_delta: request.eta_seed_delta,
            rng: request.rng,
            compat: request.compat,
            hires: request.hires,
            tiling: request.tiling,
            format: request.format.unwrap_or(ImageFormat::Png),
            latents: if request.save_steps.is_some() {
                Latents::EveryStep
            } else {
                Latents::Dropped
            },
            ..JobSpec::plain(checkpoint, &request.prompt)
        };
        let specs: Vec<JobSpec> = (0..request.count).map(spec).collect();
        for spec in &specs {
            spec.check().map_err(|error| usage(error.to_string()))?;
        }
        Ok(specs)
    }

    fn settings(&self, checkpoint: &CardId) -> Settings {
        self.shelf
            .card(checkpoint)
            .map_or(Settings::of(Family::Sd15), |card| {
                let card = card.trusted();
                card.settings.unwrap_or(Settings::of(card.family))
            })
    }

    fn model_of_kind(&self, name: &str, kind: CardKind) -> Result<CardId, Problem> {
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

    fn checkpoint(&self, name: Option<&str>) -> Result<CardId, Problem> {
        if let Some(name) = name {
            return self.model_of_kind(name, CardKind::Checkpoint);
        }
        let checkpoint =
            |(id, card): (&CardId, &Card)| (card.kind == CardKind::Checkpoint).then_some(*id);
        let known: Vec<CardId> = self.shelf.cards().filter_map(checkpoint).collect();
        match known.as_slice() {
            [one] => Ok(*one),
            [] => {
                Err(refused("no checkpoint is known here").hint("add one: hearth model add PATH"))
            }
            _ => Err(usage("several checkpoints are known")
                .hint("name one with --model; 'hearth model list' shows them")),
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

fn drawn_seed() -> u64 {
    let bytes = crate::chance::bytes();
    // 32 bits, as people are used to: they read and type seeds.
    u64::from(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

fn wishes(request: &GenerateRequest, spec: &JobSpec, job: JobId, index: usize) -> Wishes {
    let numbered = |dir: &String| format!("{dir}/hearth-{}-{index:03}.png", job.short());
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
