//! The order: from the requester's wish to the saved picture, with a time for each leg.

use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use hearth_protocol::control::{Command, GenerateRequest, JobReport, LoraAsk, Reply};
use hearth_protocol::id::{BlobHash, JobId};
use hearth_protocol::job::{Micro, Phase};
use hearth_protocol::limits;
use hearth_protocol::snapshot::{JobView, Notice};
use hearth_protocol::unit::Millis;

use super::{Cards, Stage};
use crate::cli::demo::actor::Part;
use crate::cli::demo::story::{Story, millis};
use crate::cli::jobs::phase_words;
use crate::cli::session::other;
use crate::client::Client;

const STEPS: u32 = 20;
/// Quick on any machine.
const SIZE: (u32, u32) = (128, 128);
const RENDER_MAX: Millis = Millis::from_secs(120);
const LOOK: Duration = Duration::from_millis(200);
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

/// When a job was first seen to have come so far.
#[derive(Debug, Clone, Copy)]
struct Legs {
    begun: Instant,
    /// The worker has it; it has the files; it has the picture; all is over.
    reached: [Option<Instant>; 4],
}

impl Legs {
    fn note(&mut self, view: &JobView) {
        let far = if view.over {
            4
        } else {
            match &view.phase {
                None | Some(Phase::Queued { .. }) => 0,
                Some(Phase::Fetching { .. }) => 1,
                Some(Phase::Loading | Phase::Encoding | Phase::Denoising { .. }) => 2,
                Some(Phase::Decoding | Phase::Delivering) => 3,
            }
        };
        let now = Instant::now();
        for reached in self.reached.iter_mut().take(far) {
            reached.get_or_insert(now);
        }
    }

    /// Returns how long a leg took; none is shorter than nothing.
    fn took(&self, leg: usize) -> Millis {
        let end = self.reached[leg].unwrap_or(self.begun);
        let start = match leg {
            0 => self.begun,
            _ => self.reached[leg - 1].unwrap_or(self.begun),
        };
        millis(end.saturating_duration_since(start))
    }
}

impl Stage<'_> {
    pub(super) fn order(
        &mut self,
        prompt: &str,
        cards: Cards,
        story: &mut Story,
    ) -> anyhow::Result<()> {
        story.begin("order", "ordering");
        let requester = self.actor(Part::Requester);
        let notices = listen(requester.client())?;
        let mut legs = Legs {
            begun: Instant::now(),
            reached: [None; 4],
        };
        let request = self.request(prompt, cards);
        let reply = self
            .actor(Part::Requester)
            .ask(Command::Generate(Box::new(request)))?;
        let Reply::Submitted { jobs } = reply else {
            return other();
        };
        let [job] = jobs[..] else {
            bail!("{} jobs came of one wish", jobs.len());
        };
        let view = self.follow(job, &notices, &mut legs, story)?;
        let Some(report) = view.report else {
            let why = view.note.unwrap_or(view.state);
            bail!("no picture came of it: {why}");
        };
        self.check_report(&report)?;
        tell(&legs, &report, story)
    }

    fn request(&self, prompt: &str, cards: Cards) -> GenerateRequest {
        GenerateRequest {
            model: Some(cards.checkpoint.to_string()),
            loras: vec![LoraAsk {
                model: cards.lora.to_string(),
                unet: Micro::ONE,
                text: Micro::ONE,
            }],
            size: Some(SIZE),
            steps: Some(STEPS),
            timeout: Some(RENDER_MAX),
            out: Some(self.picture.display().to_string()),
            ..GenerateRequest::of(prompt)
        }
    }

    fn follow(
        &mut self,
        job: JobId,
        notices: &Receiver<JobView>,
        legs: &mut Legs,
        story: &Story,
    ) -> anyhow::Result<JobView> {
        let mut looked = Instant::now();
        loop {
            self.check()?;
            let view = match notices.recv_timeout(LOOK) {
                Ok(view) if view.job == job => Some(view),
                Ok(_) | Err(_) => None,
            };
            // A lost notice is made up for by looking.
            let view = if view.is_none() || looked.elapsed() > LOOK {
                looked = Instant::now();
                let job = job.to_string();
                let reply = self.actor(Part::Requester).ask(Command::JobsShow { job })?;
                let Reply::Job(view) = reply else {
                    return other();
                };
                Some(*view)
            } else {
                view
            };
            if let Some(view) = view {
                legs.note(&view);
                draw(&view, story);
                if view.over {
                    return Ok(view);
                }
            }
            if legs.begun.elapsed() > Duration::from_millis(RENDER_MAX.get() + 5_000) {
                bail!("no picture after {} s", RENDER_MAX.get() / 1_000);
            }
        }
    }

    fn check_report(&self, report: &JobReport) -> anyhow::Result<()> {
        if report.worker != self.actor(Part::Worker).node() {
            bail!("another node than the worker computed it");
        }
        let path = &report.image.path;
        let bytes = std::fs::read(path).with_context(|| format!("cannot read {path}"))?;
        if !bytes.starts_with(PNG) || BlobHash::of(&bytes) != report.image.blake3 {
            bail!("{path} is not the picture that was reported");
        }
        Ok(())
    }
}

fn listen(client: &Client) -> anyhow::Result<Receiver<JobView>> {
    let notices = client.notices()?;
    let (sender, receiver) = sync_channel(limits::ROOM_QUEUE_MAX);
    std::thread::Builder::new()
        .name("notices".to_owned())
        .spawn(move || {
            for notice in notices.map_while(Result::ok) {
                if let Notice::Job { job, .. } = notice
                    && sender.send(*job).is_err()
                {
                    return;
                }
            }
        })
        .context("cannot start threads")?;
    Ok(receiver)
}

fn draw(view: &JobView, story: &Story) {
    let (done, doing) = match &view.phase {
        Some(phase) => (
            match phase {
                Phase::Denoising { step, .. } => *step,
                Phase::Decoding | Phase::Delivering => view.steps,
                Phase::Queued { .. }
                | Phase::Fetching { .. }
                | Phase::Loading
                | Phase::Encoding => 0,
            },
            phase_words(phase),
        ),
        None => (0, view.state.clone()),
    };
    story.progress(done, view.steps, &doing);
}

fn tell(legs: &Legs, report: &JobReport, story: &mut Story) -> anyhow::Result<()> {
    let picture = &report.image;
    story.told(
        "order",
        legs.took(0),
        "the requester asked for a quote and sent the worker a signed order",
    )?;
    story.told(
        "fetch",
        legs.took(1),
        "the worker fetched checkpoint and LoRA from the seeder",
    )?;
    story.told(
        "render",
        legs.took(2),
        &format!("the worker drew it in {STEPS} steps, seed {}", picture.seed),
    )?;
    story.told(
        "deliver",
        legs.took(3),
        &format!(
            "the picture came back and was saved, for {} kudos",
            report.kudos_mk
        ),
    )
}
