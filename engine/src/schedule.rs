//! Noise schedules: where the steps of a sampler lie, as noise levels (sigmas) and timesteps.
//!
//! Formulas are those of k-diffusion, `ComfyUI`, A1111 and diffusers; which one counts where they
//! differ is the job's `compat`. [`NoiseTable`] is what the model was trained on, [`NoiseTable::plan`]
//! lays out one run. Latents are always in sigma space (picture + level * noise), also for samplers
//! that are published in another: [`Plan::end_scale`] takes the last ones home.

mod beta;
mod curve;
mod spacing;
mod table;

use candle_core::Tensor;
use hearth_protocol::job::{Compat, NoiseSchedule, Sampler};

use spacing::{Family, a1111_timesteps};
use table::Spacing;
pub(crate) use table::{Levels, NoiseTable, Prediction, ScheduleConfig, single};

/// The family whose published levels `align_your_steps` uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Aligned {
    /// Stable Diffusion 1 and 2.
    Sd1,
    /// SDXL.
    Sdxl,
}

/// What decides where the steps of a run lie.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PlanRequest {
    pub(crate) sampler: Sampler,
    pub(crate) schedule: NoiseSchedule,
    pub(crate) compat: Compat,
    /// Steps asked for; at least one.
    pub(crate) steps: usize,
    /// Leaves out the last level above zero, as A1111's setting does. Samplers that always do in their
    /// program (`dpm_2` and others) need no asking.
    pub(crate) discard_penultimate: bool,
    /// How much of a given picture is made anew, in 0..=1; nothing where there is none.
    pub(crate) strength: Option<f64>,
    pub(crate) aligned: Aligned,
}

/// The steps of one run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plan {
    /// Noise levels, falling; one more than there are steps, the last one where the run ends.
    pub(crate) sigmas: Vec<f64>,
    /// What the network is told at each step.
    pub(crate) timesteps: Vec<f64>,
    /// What unit noise is multiplied by to begin with.
    pub(crate) noise_scale: f64,
    /// What the last latents are multiplied by: not one where a program leaves them noisy and scaled.
    pub(crate) end_scale: f64,
    /// Lowest and highest level a Brownian path is laid over.
    pub(crate) span: (f64, f64),
    levels: Levels,
}

impl Plan {
    /// How many steps there are; at most as many as were asked for, and none only where a picture is to
    /// be left as it is.
    pub(crate) fn steps(&self) -> usize {
        self.timesteps.len()
    }

    /// The timestep the network is told at a level that is not one of the plan's.
    pub(crate) fn timestep(&self, sigma: f64) -> f64 {
        self.levels.timestep(sigma)
    }

    /// Returns the latents a run begins with: noise, over a picture's latents if there are some.
    pub(crate) fn begin(
        &self,
        noise: &Tensor,
        picture: Option<&Tensor>,
    ) -> candle_core::Result<Tensor> {
        let noise = (noise * self.noise_scale)?;
        match picture {
            Some(latents) => latents + noise,
            None => Ok(noise),
        }
    }
}

/// A schedule before it is cut: levels and timesteps of all steps, and the level behind the last.
struct Course {
    sigmas: Vec<f64>,
    timesteps: Vec<f64>,
    end: f64,
}

/// More steps than this are never laid out, however weak a strength stretches them.
const LAID_OUT_MAX: usize = 20_000;

impl NoiseTable {
    /// Lays out a run.
    pub(crate) fn plan(&self, request: &PlanRequest) -> Plan {
        assert!(request.steps > 0, "a run has at least one step");
        let levels = self.levels(request.compat);
        let strength = request
            .strength
            .filter(|s| request.compat != Compat::Comfy || *s <= 0.9999);
        let steps = match (request.compat, strength) {
            (Compat::Comfy, Some(strength)) => {
                let stretched = whole(request.steps as f64 / strength.max(1e-6));
                stretched.clamp(request.steps, LAID_OUT_MAX.max(request.steps))
            }
            (_, _) => request.steps,
        };
        let dropped = usize::from(request.discard_penultimate || discards(request));
        let mut course = self.course(request, &levels, steps + dropped).falling();
        if dropped == 1 && course.sigmas.len() > 1 {
            course.sigmas.pop();
            course.timesteps.pop();
        }
        let span = course.span();
        let skipped = strength.map_or(0, |s| skipped(request, course.sigmas.len(), s));
        course.sigmas.drain(..skipped);
        course.timesteps.drain(..skipped);
        let span = if request.compat == Compat::Comfy {
            course.span()
        } else {
            span
        };
        let highest = course.sigmas.iter().copied().fold(0.0, f64::max);
        let scaled = strength.is_none() && self.begins_scaled(request);
        Plan {
            noise_scale: if scaled { highest.hypot(1.0) } else { highest },
            end_scale: if is_scaled(request) {
                1.0 / course.end.hypot(1.0)
            } else {
                1.0
            },
            sigmas: course.sigmas.into_iter().chain([course.end]).collect(),
            timesteps: course.timesteps,
            span,
            levels,
        }
    }

    /// Lays out a run again whose levels and timesteps were saved.
    pub(crate) fn saved_plan(
        &self,
        compat: Compat,
        (sigmas, timesteps): (Vec<f64>, Vec<f64>),
        end_scale: f64,
        span: (f64, f64),
    ) -> Plan {
        Plan {
            sigmas,
            timesteps,
            noise_scale: 1.0,
            end_scale,
            span,
            levels: self.levels(compat),
        }
    }

    fn course(&self, request: &PlanRequest, levels: &Levels, steps: usize) -> Course {
        if let Some(timesteps) = self.timesteps(request, levels, steps) {
            return timesteps;
        }
        let sigmas = self.sigmas(request, levels, steps);
        let family = Family::of(request.sampler);
        let timesteps = sigmas.iter().map(|sigma| {
            let timestep = levels.timestep(*sigma);
            match (request.compat, request.schedule, family, request.sampler) {
                (Compat::Diffusers, NoiseSchedule::Karras, Family::Solver, _)
                | (Compat::Diffusers, NoiseSchedule::Karras, _, Sampler::Dpm2 | Sampler::Dpm2A) => {
                    timestep.round_ties_even()
                }
                (Compat::Diffusers, _, Family::Solver, _) => timestep.trunc(),
                (_, _, _, _) => timestep,
            }
        });
        let end = match (request.compat, request.schedule, request.sampler) {
            (Compat::A1111, NoiseSchedule::KlOptimal, _) => levels.low(),
            (Compat::Comfy, _, Sampler::Unipc) => 0.001,
            (_, _, _) => 0.0,
        };
        Course {
            timesteps: timesteps.collect(),
            sigmas,
            end,
        }
    }

    /// The schedules that are made of timesteps, not of levels.
    fn timesteps(&self, request: &PlanRequest, levels: &Levels, steps: usize) -> Option<Course> {
        let (timesteps, end) = if is_a1111_timesteps(request) {
            let mut timesteps = if request.sampler == Sampler::Unipc {
                curve::ramp(steps + 1, steps)
                    .map(|x| levels.last() * (1.0 - x))
                    .collect()
            } else {
                a1111_timesteps(levels.count(), steps)
            };
            let end = timesteps.pop().map_or(0.0, |t| levels.sigma(t));
            (timesteps, end)
        } else if request.schedule == NoiseSchedule::Model {
            let timesteps = self.own_timesteps(request.sampler, levels.count(), steps);
            let noisy = !self.ends_clean
                && request.compat == Compat::Diffusers
                && matches!(request.sampler, Sampler::Ddim | Sampler::Plms);
            let end = if noisy { levels.low() } else { 0.0 };
            (timesteps, end)
        } else {
            return None;
        };
        Some(Course {
            sigmas: timesteps.iter().map(|t| levels.linear(*t)).collect(),
            timesteps,
            end,
        })
    }

    fn sigmas(&self, request: &PlanRequest, levels: &Levels, steps: usize) -> Vec<f64> {
        let compat = request.compat;
        let (mut low, mut high) = (levels.low(), levels.high());
        if compat == Compat::Diffusers && Family::of(request.sampler) == Family::Continuous {
            // diffusers stretches a curve over the sampler's own first choice.
            let own = self.own_timesteps(request.sampler, levels.count(), steps);
            (high, low) = (levels.linear(own[0]), levels.linear(own[steps - 1]));
        }
        match request.schedule {
            NoiseSchedule::Karras => curve::karras(low, high, steps),
            NoiseSchedule::Exponential => curve::exponential(low, high, steps),
            NoiseSchedule::Normal | NoiseSchedule::Model => {
                curve::uniform(levels, steps, steps - 1)
            }
            NoiseSchedule::SgmUniform => curve::uniform(levels, steps, steps),
            NoiseSchedule::Simple => curve::simple(levels, steps),
            NoiseSchedule::DdimUniform => curve::ddim_uniform(levels, steps),
            NoiseSchedule::Beta => curve::beta(levels, (low, high), compat, steps),
            NoiseSchedule::AlignYourSteps => match request.aligned {
                Aligned::Sd1 => curve::aligned(&curve::ALIGNED_SD1, compat, steps),
                Aligned::Sdxl => curve::aligned(&curve::ALIGNED_SDXL, compat, steps),
            },
            NoiseSchedule::KlOptimal => {
                let whole = if compat == Compat::A1111 {
                    steps
                } else {
                    steps - 1
                };
                curve::kl_optimal(levels.low(), levels.high(), steps, whole)
            }
        }
    }

    /// Whether unit noise becomes the first latents of a run times `sqrt(1 + sigma^2)`, not sigma.
    fn begins_scaled(&self, request: &PlanRequest) -> bool {
        match request.compat {
            Compat::Comfy => true,
            Compat::A1111 => is_scaled(request),
            Compat::Diffusers => {
                self.spacing == Spacing::Leading
                    || Family::of(request.sampler) != Family::Continuous
            }
        }
    }
}

impl Course {
    /// Leaves out steps that go nowhere: spacings may name a timestep twice.
    fn falling(self) -> Self {
        let next = self.sigmas.iter().skip(1).chain([&self.end]);
        let falls: Vec<bool> = self.sigmas.iter().zip(next).map(|(a, b)| a > b).collect();
        let keep = |values: Vec<f64>| {
            let kept = values.into_iter().zip(&falls).filter(|(_, falls)| **falls);
            kept.map(|(value, _)| value).collect()
        };
        Self {
            sigmas: keep(self.sigmas),
            timesteps: keep(self.timesteps),
            end: self.end,
        }
    }

    fn span(&self) -> (f64, f64) {
        let all = self.sigmas.iter().copied().chain([self.end]);
        let high = all.clone().fold(0.0, f64::max);
        let low = all.filter(|sigma| *sigma > 0.0).fold(high, f64::min);
        (low, high)
    }
}

/// The samplers that leave out the last level above zero in their program.
fn discards(request: &PlanRequest) -> bool {
    match request.compat {
        Compat::A1111 => matches!(
            request.sampler,
            Sampler::Dpm2 | Sampler::Dpm2A | Sampler::Dpmpp3mSde
        ),
        Compat::Comfy => matches!(
            request.sampler,
            Sampler::Dpm2 | Sampler::Dpm2A | Sampler::Unipc
        ),
        Compat::Diffusers => false,
    }
}

/// A1111 runs three samplers over timesteps and offers no schedule for them; one that is asked for by
/// name is followed here all the same.
fn is_a1111_timesteps(request: &PlanRequest) -> bool {
    request.compat == Compat::A1111
        && matches!(
            request.sampler,
            Sampler::Ddim | Sampler::Plms | Sampler::Unipc
        )
        && matches!(
            request.schedule,
            NoiseSchedule::Model | NoiseSchedule::Normal | NoiseSchedule::DdimUniform
        )
}

/// Whether the program's own latents are those of sigma space over `sqrt(1 + sigma^2)`.
fn is_scaled(request: &PlanRequest) -> bool {
    match request.compat {
        Compat::A1111 => is_a1111_timesteps(request),
        Compat::Comfy => false,
        Compat::Diffusers => Family::of(request.sampler) != Family::Continuous,
    }
}

/// How many of a plan's steps a picture to begin with saves (`Compat::steps_of` says how many are left).
fn skipped(request: &PlanRequest, laid_out: usize, strength: f64) -> usize {
    let steps = request.steps as f64;
    let taken = match request.compat {
        Compat::A1111 if is_a1111_timesteps(request) => whole(strength.min(0.999) * steps),
        Compat::A1111 => whole(strength.min(0.999) * steps) + 1,
        Compat::Comfy if strength == 0.0 => 0,
        Compat::Comfy => request.steps,
        Compat::Diffusers => whole(steps * strength),
    };
    laid_out.saturating_sub(taken)
}

/// The whole part of what is not negative.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "as casts saturate, and no run is that long"
)]
fn whole(x: f64) -> usize {
    x as usize
}

#[cfg(test)]
mod tests;
