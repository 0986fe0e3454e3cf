//! One run over a loaded model: read the prompts, prepare the start, sample once or twice, decode.

use candle_core::{DType, Tensor};
use hearth_protocol::engine::{Assets, OutputFile};
use hearth_protocol::job::{Hires, JobSpec, Latents, Phase, Tiling, Upscaler};
use hearth_protocol::limits;

use super::begin::{Begun, Shape};
use super::canvas::{Canvas, InputError};
use super::guide::{Guide, Voice};
use super::step_file::{Keep, Place, State};
use super::{Cancel, Output, Progress, RunError, latent, stop_if, story};
use crate::checkpoint::{Checkpoint, Texts};
use crate::layers::Pass;
use crate::picture::{self, Encoding, Filter, Picture};
use crate::preview;
use crate::prompt::Stage;
use crate::sampler::{Step, Stepper};
use crate::warning::Warning;

/// A run under way.
pub(super) struct Job<'a> {
    pub(super) spec: &'a JobSpec,
    pub(super) assets: &'a Assets,
    pub(super) model: &'a Checkpoint,
    pub(super) cancel: &'a Cancel,
    pub(super) progress: &'a mut dyn Progress,
    /// Evaluations of the first and the second pass.
    calls: [u32; 2],
    steps_done: u32,
    steps_all: u32,
    files: Vec<OutputFile>,
    warnings: Vec<Warning>,
}

/// One of the two passes of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    First,
    Second,
}

impl<'a> Job<'a> {
    pub(super) fn new(
        spec: &'a JobSpec,
        assets: &'a Assets,
        model: &'a Checkpoint,
        cancel: &'a Cancel,
        progress: &'a mut dyn Progress,
    ) -> Self {
        Self {
            spec,
            assets,
            model,
            cancel,
            progress,
            calls: [0; 2],
            steps_done: 0,
            steps_all: 0,
            files: Vec::new(),
            warnings: model.warnings.clone(),
        }
    }

    pub(super) fn run(mut self) -> Result<Output, RunError> {
        let made = self.make();
        let evaluations = self.spec.priced(self.calls[0], self.calls[1]);
        let picture = made.map_err(|error| {
            if matches!(error, RunError::Cancelled { .. }) {
                RunError::Cancelled { evaluations }
            } else {
                error
            }
        })?;
        let story = story::story(self.spec, self.assets);
        let encoding = Encoding::from(self.spec.format);
        let bytes = picture::encode(&picture, encoding, Some(&story))?;
        let name = self.spec.format.file_name().to_owned();
        self.files.insert(0, OutputFile { name, bytes });
        self.progress.phase(Phase::Delivering, None);
        Ok(Output {
            files: self.files,
            evaluations,
            warnings: self.warnings,
        })
    }

    fn make(&mut self) -> Result<Picture, RunError> {
        let spec = self.spec;
        let shape = self.shape(spec.width, spec.height)?;
        if let Some(hires) = &spec.hires {
            self.shape(hires.width, hires.height)?;
        }
        self.check_outputs(shape)?;
        stop_if(self.cancel, 0)?;
        self.progress.phase(Phase::Encoding, None);
        let canvas = Canvas::of(&spec.start, &self.assets.inputs, (spec.width, spec.height))?;
        if spec.hires.is_some() && canvas.as_ref().is_some_and(|canvas| canvas.mask.is_some()) {
            return Err(RunError::HiresOverMask);
        }
        let begun = self.begin(shape, canvas.as_ref())?;
        self.steps_all = begun.steps_left() + spec.steps_second();
        let mut latents = self.sample(begun, shape, Turn::First)?;
        if let Some(hires) = spec.hires {
            latents = self.second(&latents, hires)?;
        }
        stop_if(self.cancel, 0)?;
        self.progress.phase(Phase::Decoding, None);
        let picture = self.decode(&latents)?;
        match canvas {
            Some(canvas) => Ok(canvas.put_back(picture)?),
            None => Ok(picture),
        }
    }

    fn second(&mut self, latents: &Tensor, hires: Hires) -> Result<Tensor, RunError> {
        let shape = self.shape(hires.width, hires.height)?;
        let enlarged = if hires.upscaler == Upscaler::Lanczos {
            let small = self.decode(latents)?;
            let large = picture::resize(&small, hires.width, hires.height, Filter::Lanczos3);
            let large = large.map_err(|source| InputError::Picture {
                role: "first pass",
                source,
            })?;
            self.encode(&large, None)?
        } else {
            latent::resized(latents, (shape.height, shape.width), hires.upscaler)?
        };
        if self.spec.steps_second() == 0 {
            return Ok(enlarged);
        }
        let begun = self.begin_second(shape, &enlarged, hires)?;
        self.sample(begun, shape, Turn::Second)
    }

    fn sample(&mut self, begun: Begun, shape: Shape, turn: Turn) -> Result<Tensor, RunError> {
        let Some(stepper) = begun.stepper else {
            return Ok(begun.latents);
        };
        let voice = self.voice(turn)?;
        let earlier = self.spec.sampler.evaluations(as_u32(begun.from));
        let steps = self.steps_all;
        self.progress.phase(
            Phase::Denoising {
                step: self.steps_done,
                steps,
            },
            None,
        );
        let mut guide = Guide {
            unet: &self.model.unet,
            dtype: self.model.dtype,
            prediction: self.model.noise.prediction,
            voice: &voice,
            numbers: shape.numbers(self.model.factor),
            extra: begun.extra,
            keep: begun.keep.clone(),
            pass: self.pass(),
            cancel: self.cancel,
            calls: 0,
            earlier,
        };
        let mut stepper = stepper;
        let (mut x, mut outcome) = (begun.latents, Ok(()));
        for number in begun.from..stepper.plan().steps() {
            let step = stepper.step(number, &x, &mut |x, level| guide.denoised(x, level));
            let step = match step {
                Ok(step) => step,
                Err(error) => {
                    outcome = Err(error);
                    break;
                }
            };
            outcome = self.after(&step, &stepper, begun.keep.as_ref(), turn);
            x = step.latents;
            if outcome.is_err() {
                break;
            }
        }
        self.calls[usize::from(turn == Turn::Second)] = guide.calls;
        outcome?;
        match &begun.keep {
            Some(Keep { latents, mask }) => {
                let change = (x - latents)?.broadcast_mul(mask)?;
                Ok((latents + change)?)
            }
            None => Ok(x),
        }
    }

    /// Looks at a step, saves it if asked, and tells of it.
    fn after(
        &mut self,
        step: &Step,
        stepper: &Stepper,
        keep: Option<&Keep>,
        turn: Turn,
    ) -> Result<(), RunError> {
        let sum = step.latents.sum_all()?.to_scalar::<f32>()?;
        if !sum.is_finite() {
            return Err(RunError::NotFinite { step: step.number });
        }
        if self.spec.latents == Latents::EveryStep {
            self.save(step, stepper, keep, turn)?;
        }
        self.steps_done += 1;
        let preview = preview::preview(&step.denoised, self.model.scale)?;
        let (step, steps) = (self.steps_done, self.steps_all);
        self.progress
            .phase(Phase::Denoising { step, steps }, preview);
        Ok(())
    }

    fn save(
        &mut self,
        step: &Step,
        stepper: &Stepper,
        keep: Option<&Keep>,
        turn: Turn,
    ) -> Result<(), RunError> {
        let (plan, number) = (stepper.plan(), self.steps_done);
        let done = step.number + 1;
        let name = format!("step_{number:03}");
        let history = stepper.history().named();
        let state = State {
            latent: step.latents.clone(),
            history: history
                .map(|(name, x)| (name.to_owned(), x.clone()))
                .collect(),
            rng: stepper.noise().state(),
            seed: (self.spec.seed, self.spec.rng),
            place: Place {
                done: as_u32(done),
                sampler: self.spec.sampler,
                sigmas: plan.sigmas.clone(),
                timesteps: plan.timesteps.clone(),
                end_scale: plan.end_scale,
                span: plan.span,
            },
            keep: keep.cloned(),
        };
        let spec = self.spec_from_here(as_u32(plan.steps()), turn);
        let file = state.write(format!("{name}.safetensors"), &spec);
        self.files.push(file.map_err(RunError::Latent)?);
        let picture = self.decode(&step.denoised)?;
        let bytes = picture::encode(&picture, Encoding::Png, None)?;
        let name = format!("{name}.png");
        self.files.push(OutputFile { name, bytes });
        Ok(())
    }

    /// The job that goes on from a step of a pass as this one does.
    fn spec_from_here(&self, steps: u32, turn: Turn) -> JobSpec {
        let mut spec = JobSpec {
            steps,
            latents: Latents::Dropped,
            ..self.spec.clone()
        };
        if let (Turn::Second, Some(hires)) = (turn, spec.hires.take()) {
            (spec.width, spec.height) = (hires.width, hires.height);
        } else {
            spec.hires = self.spec.hires;
        }
        spec
    }

    fn voice(&mut self, turn: Turn) -> Result<Voice, RunError> {
        let spec = self.spec;
        let first = spec.sampler.evaluations(spec.steps);
        let stage = match turn {
            Turn::First => Stage::Base { steps: first },
            Turn::Second => Stage::Hires {
                base: first,
                steps: spec.sampler.evaluations(spec.steps_second()),
            },
        };
        let texts = |positive, negative| Texts {
            positive,
            negative,
            compat: spec.compat,
            clip_skip: spec.clip_skip,
        };
        let script = self
            .model
            .script(&texts(&spec.prompt, &spec.negative), stage)?;
        self.warnings.extend(script.warnings.iter().cloned());
        let towards = match &spec.blend {
            Some(blend) => {
                let other = self
                    .model
                    .script(&texts(&blend.prompt, &blend.negative), stage)?;
                Some((other, blend.amount.value()))
            }
            None => None,
        };
        Ok(Voice {
            script,
            towards,
            guidance: spec.guidance.value(),
        })
    }

    pub(super) fn pass(&self) -> Pass {
        match self.spec.tiling {
            Tiling::None => Pass::PLAIN,
            Tiling::Seamless => Pass::SEAMLESS,
        }
    }

    /// Returns the latents of a picture; without noise the middle of what the encoder thinks they may be.
    pub(super) fn encode(
        &self,
        picture: &Picture,
        noise: Option<&Tensor>,
    ) -> Result<Tensor, RunError> {
        let shape = (1, 3, as_usize(picture.height()), as_usize(picture.width()));
        let pixels = Tensor::from_vec(picture::planes(picture), shape, &self.model.device)?;
        let latents = self.model.encode(&pixels, noise, self.pass())?;
        Ok(latents.to_dtype(DType::F32)?)
    }

    fn decode(&self, latents: &Tensor) -> Result<Picture, RunError> {
        let pixels = self.model.decode(latents, self.pass())?;
        let (_, _, height, width) = pixels.dims4()?;
        let values = pixels
            .to_dtype(DType::F32)?
            .flatten_all()?
            .to_vec1::<f32>()?;
        let picture = picture::picture_from_planes(&values, as_u32(width), as_u32(height));
        picture.map_err(|source| {
            let role = "decoded picture";
            RunError::Input(InputError::Picture { role, source })
        })
    }

    fn shape(&self, width: u32, height: u32) -> Result<Shape, RunError> {
        let factor = self.model.factor;
        let side = |pixels: u32| {
            let pixels = as_usize(pixels);
            pixels.is_multiple_of(factor).then_some(pixels / factor)
        };
        match (side(height), side(width)) {
            (Some(height), Some(width)) => Ok(Shape { height, width }),
            (None, _) | (_, None) => Err(RunError::Size {
                width,
                height,
                factor,
            }),
        }
    }

    /// Checks that what every step leaves behind can be handed over.
    fn check_outputs(&self, shape: Shape) -> Result<(), RunError> {
        if self.spec.latents == Latents::Dropped {
            return Ok(());
        }
        let pass = |steps: u32, shape: Shape, width: u32, height: u32| {
            // Latents and up to four tensors of history, and a picture that may not compress at all.
            let each = 5 * shape.bytes() + 3 * u64::from(width) * u64::from(height);
            u64::from(steps) * each
        };
        let first = pass(
            self.spec.steps_first(),
            shape,
            self.spec.width,
            self.spec.height,
        );
        let second = match self.spec.hires {
            Some(Hires { width, height, .. }) => pass(
                self.spec.steps_second(),
                self.shape(width, height)?,
                width,
                height,
            ),
            None => 0,
        };
        let bytes = first + second;
        // Half of what a frame carries, so that the picture fits beside them.
        let max = limits::ENGINE_FRAME_LEN_MAX as u64 / 2;
        if bytes > max {
            return Err(RunError::TooManyLatents { bytes, max });
        }
        Ok(())
    }
}

pub(super) fn as_usize(n: u32) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

pub(super) fn as_u32(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
