//! Where sampling begins: noise, a picture under noise, or a step saved before.

use candle_core::{DType, Tensor};
use hearth_protocol::job::{Compat, Hires, MaskFill, Penultimate, Start};

use super::RunError;
use super::canvas::{Canvas, input_path};
use super::job::{Job, as_u32, as_usize};
use super::step_file::{Keep, State, StepFileError};
use crate::noise::{Noise, Recipe, Variation};
use crate::picture::{self, Filter};
use crate::sampler::{History, Stepper, Tuning};
use crate::schedule::{Aligned, Plan, PlanRequest};

/// Channels of an ordinary network's latents, and of one for inpainting.
const CHANNELS: usize = 4;
const CHANNELS_INPAINT: usize = 9;

/// Sides of latents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) height: usize,
    pub(super) width: usize,
}

impl Shape {
    fn latents(self) -> [usize; 4] {
        [1, CHANNELS, self.height, self.width]
    }

    /// Bytes of one tensor of latents.
    pub(super) fn bytes(self) -> u64 {
        4 * (CHANNELS * self.height * self.width) as u64
    }

    /// SDXL's numbers for a whole picture: original size, no crop, target size, in pixels.
    pub(super) fn numbers(self, factor: usize) -> [f64; 6] {
        let (height, width) = ((self.height * factor) as f64, (self.width * factor) as f64);
        [height, width, 0.0, 0.0, height, width]
    }
}

/// A pass about to begin.
#[derive(Debug)]
pub(super) struct Begun {
    /// The way to go; nothing where no step is to be done.
    pub(super) stepper: Option<Stepper>,
    pub(super) latents: Tensor,
    /// The first step to do.
    pub(super) from: usize,
    pub(super) keep: Option<Keep>,
    pub(super) extra: Option<Tensor>,
}

impl Begun {
    pub(super) fn steps_left(&self) -> u32 {
        let steps = self.stepper.as_ref().map_or(0, |it| it.plan().steps());
        as_u32(steps.saturating_sub(self.from))
    }
}

impl Job<'_> {
    /// Prepares the first pass.
    pub(super) fn begin(&self, shape: Shape, canvas: Option<&Canvas>) -> Result<Begun, RunError> {
        match (&self.spec.start, canvas) {
            (Start::Step { .. }, _) => self.go_on(shape),
            (Start::Picture { strength, .. }, Some(canvas)) => {
                self.over(shape, canvas, strength.value())
            }
            (Start::Noise | Start::Picture { .. }, _) => {
                let (noise, first) = self.noise(shape)?;
                let plan = self.plan(self.spec.steps, None);
                let latents = plan.begin(&first, None)?;
                Ok(Begun {
                    stepper: Some(self.stepper(plan, noise)),
                    latents,
                    from: 0,
                    keep: None,
                    extra: self.extra(shape, None)?,
                })
            }
        }
    }

    /// Prepares the second pass, over enlarged latents.
    pub(super) fn begin_second(
        &self,
        shape: Shape,
        enlarged: &Tensor,
        hires: Hires,
    ) -> Result<Begun, RunError> {
        let steps = if hires.steps == 0 {
            self.spec.steps
        } else {
            hires.steps
        };
        let (noise, first) = self.noise(shape)?;
        let plan = self.plan(steps, Some(hires.strength.value()));
        let latents = plan.begin(&first, Some(enlarged))?;
        Ok(Begun {
            stepper: Some(self.stepper(plan, noise)),
            latents,
            from: 0,
            keep: None,
            extra: self.extra(shape, None)?,
        })
    }

    fn over(&self, shape: Shape, canvas: &Canvas, strength: f64) -> Result<Begun, RunError> {
        let (mut noise, mut first) = self.noise(shape)?;
        let picture = if self.spec.compat == Compat::Diffusers {
            // diffusers draws the encoder's sample before the noise.
            let latents = self.encode(&canvas.picture, Some(&first))?;
            first = self.tensor(noise.between(0.0, 0.0), shape)?;
            latents
        } else {
            self.encode(&canvas.picture, None)?
        };
        let mask = canvas
            .mask
            .as_ref()
            .map(|_| self.latent_mask(canvas, shape))
            .transpose()?;
        let start = match (&mask, canvas.fill) {
            (Some(mask), MaskFill::LatentNothing) => covered(&picture, mask, None)?,
            (Some(mask), MaskFill::LatentNoise) => covered(&picture, mask, Some(&first))?,
            (Some(_), MaskFill::Fill | MaskFill::Original) | (None, _) => picture.clone(),
        };
        let keep = mask.map(|mask| Keep {
            latents: picture,
            mask,
        });
        let extra = self.extra(shape, Some((canvas, keep.as_ref())))?;
        if self.spec.steps_first() == 0 {
            return Ok(Begun {
                stepper: None,
                latents: start,
                from: 0,
                keep,
                extra,
            });
        }
        let plan = self.plan(self.spec.steps, Some(strength));
        let latents = plan.begin(&first, Some(&start))?;
        Ok(Begun {
            stepper: Some(self.stepper(plan, noise)),
            latents,
            from: 0,
            keep,
            extra,
        })
    }

    fn go_on(&self, shape: Shape) -> Result<Begun, RunError> {
        let path = input_path(self.assets.inputs.first(), "saved step")?;
        let state = State::read(&path, &shape.latents())?;
        let damaged = |what| StepFileError::Damaged {
            path: path.clone(),
            what,
        };
        let (mut noise, _) = self.noise(shape)?;
        if state.seed == (self.spec.seed, self.spec.rng) {
            noise.restore(&state.rng).map_err(|_| damaged("rng"))?;
        }
        let place = state.place;
        let plan = self.model.noise.saved_plan(
            self.spec.compat,
            (place.sigmas, place.timesteps),
            place.end_scale,
            place.span,
        );
        let (steps, ordered) = (as_u32(plan.steps()), self.spec.steps_first());
        let left = steps.saturating_sub(place.done);
        if left > ordered {
            return Err(StepFileError::Longer {
                left,
                ordered,
                steps,
            }
            .into());
        }
        let mut stepper = self.stepper(plan, noise);
        if place.sampler == self.spec.sampler {
            let device = &self.model.device;
            let placed = state.history.into_iter();
            let placed = placed.map(|(name, x)| Ok((name, x.to_device(device)?)));
            let placed = placed.collect::<candle_core::Result<Vec<_>>>()?;
            let history = History::from_saved(placed, &shape.latents());
            stepper = stepper.with_history(history.map_err(|_| damaged("history"))?);
        }
        Ok(Begun {
            stepper: Some(stepper),
            latents: state.latent.to_device(&self.model.device)?,
            from: as_usize(place.done),
            keep: state
                .keep
                .map(|keep| keep.on(&self.model.device))
                .transpose()?,
            extra: self.extra(shape, None)?,
        })
    }

    fn stepper(&self, plan: Plan, noise: Noise) -> Stepper {
        let tuning = Tuning::of(self.spec.sampler, self.spec.compat);
        Stepper::new(self.spec.sampler, tuning, plan, noise)
    }

    fn plan(&self, steps: u32, strength: Option<f64>) -> Plan {
        self.model.noise.plan(&PlanRequest {
            sampler: self.spec.sampler,
            schedule: self.spec.schedule,
            compat: self.spec.compat,
            steps: as_usize(steps).max(1),
            discard_penultimate: self.spec.penultimate == Penultimate::Discarded,
            strength,
            aligned: if self.model.is_xl() {
                Aligned::Sdxl
            } else {
                Aligned::Sd1
            },
        })
    }

    /// The job's noise and its first draw.
    fn noise(&self, shape: Shape) -> Result<(Noise, Tensor), RunError> {
        let spec = self.spec;
        let variation = match (&spec.blend, spec.variation) {
            (Some(blend), _) if blend.seed != spec.seed => Some(Variation {
                seed: blend.seed,
                strength: blend.amount.value(),
            }),
            (_, variation) => variation.map(|it| Variation {
                seed: it.seed,
                strength: it.strength.value(),
            }),
        };
        let recipe = Recipe {
            variation,
            seed_delta: u64::from(spec.eta_seed_delta),
            ..Recipe::new(
                spec.rng,
                spec.compat,
                spec.seed,
                [CHANNELS, shape.height, shape.width],
            )
        };
        let (noise, first) = Noise::begin(recipe);
        Ok((noise, self.tensor(first, shape)?))
    }

    fn tensor(&self, values: Vec<f32>, shape: Shape) -> Result<Tensor, RunError> {
        let shape = shape.latents();
        Ok(Tensor::from_vec(
            values,
            shape.as_slice(),
            &self.model.device,
        )?)
    }

    /// The canvas' mask over latents: one where more than half of it may change.
    fn latent_mask(&self, canvas: &Canvas, shape: Shape) -> Result<Tensor, RunError> {
        let (height, width) = (as_u32(shape.height), as_u32(shape.width));
        let mask = canvas.mask.as_ref();
        let small = mask.map(|mask| mask.resized(width, height, Filter::Bilinear));
        let values = match small {
            Some(Ok(mask)) => mask
                .values()
                .iter()
                .map(|value| if *value >= 128 { 1.0 } else { 0.0 })
                .collect(),
            Some(Err(_)) | None => vec![1.0_f32; shape.height * shape.width],
        };
        let shape = (1, 1, shape.height, shape.width);
        Ok(Tensor::from_vec(values, shape, &self.model.device)?)
    }

    /// The channels an inpainting network wants behind the latents: the mask, and the latents of the
    /// picture without what is under it.
    fn extra(
        &self,
        shape: Shape,
        canvas: Option<(&Canvas, Option<&Keep>)>,
    ) -> Result<Option<Tensor>, RunError> {
        match self.model.unet.in_channels() {
            CHANNELS => return Ok(None),
            CHANNELS_INPAINT => {}
            channels => return Err(RunError::Channels { channels }),
        }
        let factor = self.model.factor;
        let device = &self.model.device;
        let ones = || Tensor::ones((1, 1, shape.height, shape.width), DType::F32, device);
        let (mask, pixels) = match canvas {
            Some((canvas, Some(keep))) => {
                let visible = canvas.mask.as_ref().map(picture::mask_plane);
                let mut planes = picture::planes(&canvas.picture);
                if let Some(visible) = visible {
                    let covered = visible.iter().cycle();
                    for (value, share) in planes.iter_mut().zip(covered) {
                        if *share >= 0.5 {
                            *value = 0.0;
                        }
                    }
                }
                (keep.mask.clone(), planes)
            }
            Some((_, None)) | None => {
                let count = 3 * shape.height * shape.width * factor * factor;
                (ones()?, vec![0.0; count])
            }
        };
        let sides = (1, 3, shape.height * factor, shape.width * factor);
        let pixels = Tensor::from_vec(pixels, sides, device)?;
        let masked = self.model.encode(&pixels, None, self.pass())?;
        let masked = masked.to_dtype(DType::F32)?;
        Ok(Some(Tensor::cat(&[&mask, &masked], 1)?))
    }
}

/// Latents with what is under a mask replaced by zeros, or by noise.
fn covered(latents: &Tensor, mask: &Tensor, noise: Option<&Tensor>) -> Result<Tensor, RunError> {
    let kept = latents.broadcast_mul(&mask.affine(-1.0, 1.0)?)?;
    match noise {
        Some(noise) => Ok((kept + noise.broadcast_mul(mask)?)?),
        None => Ok(kept),
    }
}
