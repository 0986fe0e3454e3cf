//! The one door: a job spec and its files in, a picture out.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::{Device, Tensor};
use hearth_protocol::engine::{Assets, OutputFile};
use hearth_protocol::job::{JobSpec, Latents, Penultimate, Phase, Preview, SpecError};
use hearth_protocol::limits;
use thiserror::Error;

use crate::checkpoint::Checkpoint;
use crate::layers::Pass;
use crate::load::LoadError;
use crate::noise::{Noise, Recipe, Variation, Walk};
use crate::prompt::{PromptError, Script, Stage};
use crate::sampler::{Level, Step, Stepper, Tuning};
use crate::schedule::{Aligned, PlanRequest};
use crate::tensor_file::{OwnedTensor, write};
use crate::unet::Conditioning;
use crate::warning::Warning;
use crate::{picture, preview};

/// Hears how a run goes on.
pub trait Progress {
    /// A phase began or went on. A preview comes with denoising steps.
    fn phase(&mut self, phase: Phase, preview: Option<Preview>);
}

/// Hears nothing.
#[derive(Clone, Copy, Debug)]
pub struct Silent;

impl Progress for Silent {
    fn phase(&mut self, _: Phase, _: Option<Preview>) {}
}

/// Stops a run from another thread, at the next evaluation.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Asks the run to stop.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Returns whether it was asked to.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a run made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// `image.png` first, then `step_000.safetensors` and so on if they were asked for.
    pub files: Vec<OutputFile>,
    /// Guided evaluations done.
    pub evaluations: u32,
    /// What was done otherwise than asked.
    pub warnings: Vec<Warning>,
}

/// Why a run made nothing.
#[derive(Debug, Error)]
pub enum RunError {
    /// It was told to stop.
    #[error("cancelled after {evaluations} evaluations")]
    Cancelled {
        /// Guided evaluations done before.
        evaluations: u32,
    },
    /// The spec is out of bounds.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// Spec and assets are not about the same adapters.
    #[error("the spec has {spec} LoRAs, {assets} were given")]
    LoraCount {
        /// Adapters in the spec.
        spec: usize,
        /// Adapters among the assets.
        assets: usize,
    },
    /// A prompt cannot be read.
    #[error(transparent)]
    Prompt(#[from] PromptError),
    /// The model cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The size does not divide into this model's latents.
    #[error("{width}x{height}: this model's sides are multiples of {factor}")]
    Size {
        /// Width asked.
        width: u32,
        /// Height asked.
        height: u32,
        /// Pixels of a latent.
        factor: usize,
    },
    /// Saving every step would make more than may be handed over.
    #[error(
        "the latents of every step are {bytes} bytes, more than the {max} a job may give back: ask for fewer steps or a smaller picture"
    )]
    TooManyLatents {
        /// What they would take.
        bytes: u64,
        /// What they may take.
        max: u64,
    },
    /// The network gave values that are no numbers.
    #[error(
        "the model gave no picture: its latents are not finite at step {step}; its weights are damaged or overflow"
    )]
    NotFinite {
        /// The step, from 0.
        step: usize,
    },
    /// A tensor operation failed.
    #[error("computing failed")]
    Compute(#[from] candle_core::Error),
    /// The picture cannot be encoded.
    #[error("the picture cannot be encoded")]
    Encode(#[from] png::EncodingError),
    /// A latent cannot be encoded.
    #[error("a latent cannot be encoded")]
    Latent(#[source] std::io::Error),
}

/// Runs a job, loading its model for this one time.
pub fn run(
    spec: &JobSpec,
    assets: &Assets,
    progress: &mut dyn Progress,
    cancel: &Cancel,
) -> Result<Output, RunError> {
    Engine::default().run(spec, assets, progress, cancel)
}

/// Runs jobs and keeps the last model loaded.
#[derive(Debug, Default)]
pub struct Engine {
    warm: Option<(Identity, Checkpoint)>,
}

/// What decides which checkpoint is loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Identity {
    files: Vec<(String, PathBuf)>,
}

impl Identity {
    fn of(assets: &Assets) -> Self {
        let files = &assets.checkpoint.files;
        Self {
            files: files
                .iter()
                .map(|file| (file.name.clone(), PathBuf::from(&file.path)))
                .collect(),
        }
    }
}

impl Engine {
    /// Runs a job; the model is loaded if it is not the last one used.
    pub fn run(
        &mut self,
        spec: &JobSpec,
        assets: &Assets,
        progress: &mut dyn Progress,
        cancel: &Cancel,
    ) -> Result<Output, RunError> {
        spec.check()?;
        if spec.loras.len() != assets.loras.len() {
            let (spec, assets) = (spec.loras.len(), assets.loras.len());
            return Err(RunError::LoraCount { spec, assets });
        }
        progress.phase(Phase::Loading, None);
        stop_if(cancel, 0)?;
        let identity = Identity::of(assets);
        let checkpoint = match self.warm.take() {
            Some((warm, mut checkpoint)) if warm == identity => {
                checkpoint.adapt(&assets.loras, &spec.loras)?;
                checkpoint
            }
            // The old model is dropped before the new one is read: both may not fit.
            Some(_) | None => Checkpoint::load(assets, &spec.loras)?,
        };
        let (_, checkpoint) = self.warm.insert((identity, checkpoint));
        Job {
            spec,
            assets,
            checkpoint,
            cancel,
        }
        .run(progress)
    }
}

fn stop_if(cancel: &Cancel, evaluations: u32) -> Result<(), RunError> {
    if cancel.is_cancelled() {
        Err(RunError::Cancelled { evaluations })
    } else {
        Ok(())
    }
}

/// One run over a loaded model.
struct Job<'a> {
    spec: &'a JobSpec,
    assets: &'a Assets,
    checkpoint: &'a Checkpoint,
    cancel: &'a Cancel,
}

impl Job<'_> {
    fn run(&self, progress: &mut dyn Progress) -> Result<Output, RunError> {
        let spec = self.spec;
        let shape = self.latent_shape()?;
        let mut warnings = self.checkpoint.warnings.clone();
        stop_if(self.cancel, 0)?;
        progress.phase(Phase::Encoding, None);
        let prompts = [spec.prompt.as_str(), spec.negative.as_str()];
        let stage = Stage::Base {
            steps: spec.evaluations(),
        };
        let script = self.checkpoint.condition(prompts, spec.compat, stage)?;
        warnings.extend(script.warnings.iter().cloned());
        let mut steps = Vec::new();
        let latents = self.denoise(shape, &script, progress, &mut steps)?;
        let evaluations = spec.evaluations();
        stop_if(self.cancel, evaluations)?;
        progress.phase(Phase::Decoding, None);
        let rgb = picture::rgb(&self.checkpoint.vae.decode(&latents, Pass::PLAIN)?)?;
        let texts = [
            ("parameters", picture::parameters(spec, self.assets)),
            ("hearth", picture::story(spec)),
        ];
        let png = picture::png(&rgb, (spec.width, spec.height), &texts)?;
        let mut files = vec![OutputFile {
            name: "image.png".to_owned(),
            bytes: png,
        }];
        files.append(&mut steps);
        progress.phase(Phase::Delivering, None);
        Ok(Output {
            files,
            evaluations,
            warnings,
        })
    }

    fn denoise(
        &self,
        shape: (usize, usize, usize, usize),
        script: &Script,
        progress: &mut dyn Progress,
        files: &mut Vec<OutputFile>,
    ) -> Result<Tensor, RunError> {
        let spec = self.spec;
        let steps = spec.steps;
        let variation = spec.variation.map(|variation| Variation {
            seed: variation.seed,
            strength: variation.strength.value(),
        });
        let walk = spec.blend.as_ref().map(|blend| Walk {
            seed: blend.seed,
            amount: blend.amount.value(),
        });
        let recipe = Recipe {
            variation,
            walk,
            seed_delta: u64::from(spec.eta_seed_delta),
            ..Recipe::new(
                spec.rng,
                spec.compat,
                spec.seed,
                [shape.1, shape.2, shape.3],
            )
        };
        let (noise, first) = Noise::begin(recipe);
        let first = Tensor::from_vec(first, shape, &Device::Cpu)?;
        let table = &self.checkpoint.noise;
        let plan = table.plan(&PlanRequest {
            sampler: spec.sampler,
            schedule: spec.schedule,
            compat: spec.compat,
            steps: as_usize(steps),
            discard_penultimate: spec.penultimate == Penultimate::Discarded,
            strength: None,
            aligned: Aligned::Sd1,
        });
        let guidance = spec.guidance.value();
        progress.phase(Phase::Denoising { step: 0, steps }, None);
        let mut evaluations = 0;
        let mut predict = |input: &Tensor, timestep: f64| {
            stop_if(self.cancel, evaluations)?;
            evaluations += 1;
            let heard = script.batch(evaluations - 1, guidance)?;
            let inputs = Tensor::cat(&vec![input; heard.rows()], 0)?;
            let listen = Conditioning::text(&heard.context);
            let unet = &self.checkpoint.unet;
            let outputs = unet.forward(&inputs, timestep, &listen, Pass::PLAIN)?;
            Ok::<_, RunError>(heard.compose(&outputs)?)
        };
        let after = |step: &Step, _: &Stepper| {
            let sum = step.latents.sum_all()?.to_scalar::<f32>()?;
            if !sum.is_finite() {
                return Err(RunError::NotFinite { step: step.number });
            }
            if spec.latents == Latents::EveryStep {
                files.push(latent_file(step).map_err(RunError::Latent)?);
            }
            let done = u32::try_from(step.number + 1).unwrap_or(steps);
            let preview = preview::preview(&step.denoised, self.checkpoint.vae.scale())?;
            progress.phase(Phase::Denoising { step: done, steps }, preview);
            Ok(())
        };
        let mut model = |x: &Tensor, level: Level| {
            let output = predict(&level.input(x)?, level.timestep)?;
            Ok::<_, RunError>(level.denoised(x, &output, table.prediction)?)
        };
        let begin = plan.begin(&first, None)?;
        let tuning = Tuning::of(spec.sampler, spec.compat);
        Stepper::new(spec.sampler, tuning, plan, noise).run(0, begin, &mut model, after)
    }

    fn latent_shape(&self) -> Result<(usize, usize, usize, usize), RunError> {
        let JobSpec { width, height, .. } = *self.spec;
        let factor = self.checkpoint.factor;
        let side = |pixels: u32| {
            let pixels = as_usize(pixels);
            pixels.is_multiple_of(factor).then_some(pixels / factor)
        };
        let (Some(h), Some(w)) = (side(height), side(width)) else {
            return Err(RunError::Size {
                width,
                height,
                factor,
            });
        };
        if self.spec.latents == Latents::EveryStep {
            let bytes = u64::from(self.spec.steps) * 4 * 4 * h as u64 * w as u64;
            // Half of what a frame carries, so that the picture fits beside them.
            let max = limits::ENGINE_FRAME_LEN_MAX as u64 / 2;
            if bytes > max {
                return Err(RunError::TooManyLatents { bytes, max });
            }
        }
        Ok((1, 4, h, w))
    }
}

fn latent_file(step: &Step) -> std::io::Result<OutputFile> {
    let values = step
        .latents
        .flatten_all()
        .and_then(|x| x.to_vec1())
        .map_err(std::io::Error::other)?;
    let tensor = OwnedTensor {
        shape: step.latents.dims().to_vec(),
        values,
    };
    let mut bytes = Vec::new();
    write(
        &mut bytes,
        &[("latent".to_owned(), tensor)].into(),
        &[].into(),
    )?;
    Ok(OutputFile {
        name: format!("step_{:03}.safetensors", step.number),
        bytes,
    })
}

fn as_usize(n: u32) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}
