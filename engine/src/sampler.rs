//! Samplers in sigma space: from noise to a picture's latents in a given number of steps.
//!
//! One [`Stepper`] takes any sampler along a [`Plan`], one [`Stepper::step`] at a time. All it carries
//! between steps is the latents, its [`History`] and the noise's state, so a run can be saved behind
//! any step and go on from there to the same bits. The model is a callback from noisy latents to clean
//! ones; guidance, masks and cancelling are the caller's, inside it. Formulas: k-diffusion, diffusers,
//! and the papers named at each; all methods work on `x = picture + sigma * noise`, into which those of
//! variance-preserving form (DDIM, PLMS, `UniPC`, DDPM) are rewritten.

mod history;
mod multistep;
mod single;
mod stage;
mod unipc;

use candle_core::Tensor;
use hearth_protocol::job::{Compat, Sampler};

pub(crate) use history::History;

use crate::noise::Noise;
use crate::schedule::{Plan, Prediction};
use stage::Stage;

/// Where the model is asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Level {
    /// Noise level of the latents.
    pub(crate) sigma: f64,
    /// What the network is told.
    pub(crate) timestep: f64,
}

impl Level {
    /// Scales latents to what the network was trained on.
    pub(crate) fn input(self, x: &Tensor) -> candle_core::Result<Tensor> {
        x / self.sigma.hypot(1.0)
    }

    /// The clean latents that the network's output implies.
    pub(crate) fn denoised(
        self,
        x: &Tensor,
        output: &Tensor,
        prediction: Prediction,
    ) -> candle_core::Result<Tensor> {
        let sigma = self.sigma;
        match prediction {
            Prediction::Epsilon => x - (output * sigma)?,
            Prediction::Velocity => {
                let spread = sigma * sigma + 1.0;
                (x / spread)? - (output * (sigma / spread.sqrt()))?
            }
        }
    }
}

/// The model: clean latents from noisy ones at a level. Its error ends the step.
pub(crate) type Model<'a, E> = dyn FnMut(&Tensor, Level) -> Result<Tensor, E> + 'a;

/// What a step gives.
#[derive(Debug)]
pub(crate) struct Step {
    /// Number of the step, from 0.
    pub(crate) number: usize,
    /// The latents behind it.
    pub(crate) latents: Tensor,
    /// The clean latents as the network saw them at its beginning.
    pub(crate) denoised: Tensor,
}

/// Which second-order term DPM-Solver++(2M) SDE uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Corrector {
    Midpoint,
    #[cfg_attr(
        not(test),
        expect(
            dead_code,
            reason = "held to its vectors; no sampler's name asks for it yet"
        )
    )]
    Heun,
}

/// The function that stands for the step's length in `UniPC`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StepFunction {
    /// `h`.
    Bh1,
    /// `exp(h) - 1`.
    Bh2,
}

/// What may be set about a sampler; programs differ in some of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Tuning {
    /// Share of fresh noise in stochastic samplers, in 0..=1.
    pub(crate) eta: f64,
    pub(crate) corrector: Corrector,
    pub(crate) unipc_order: usize,
    pub(crate) unipc_function: StepFunction,
    compat: Compat,
}

impl Tuning {
    /// What a program does when told nothing.
    pub(crate) fn of(sampler: Sampler, compat: Compat) -> Self {
        let (unipc_order, unipc_function) = match compat {
            Compat::A1111 | Compat::Comfy => (3, StepFunction::Bh1),
            Compat::Diffusers => (2, StepFunction::Bh2),
        };
        Self {
            eta: if sampler == Sampler::Ddim { 0.0 } else { 1.0 },
            corrector: Corrector::Midpoint,
            unipc_order,
            unipc_function,
            compat,
        }
    }
}

/// Whether a sampler's noise comes from a Brownian path: diffusers' DPM-Solver draws it afresh.
fn follows_path(sampler: Sampler, compat: Compat) -> bool {
    match sampler {
        Sampler::DpmppSde => true,
        Sampler::Dpmpp2mSde | Sampler::Dpmpp3mSde => compat != Compat::Diffusers,
        Sampler::Euler
        | Sampler::EulerA
        | Sampler::Heun
        | Sampler::Dpm2
        | Sampler::Dpm2A
        | Sampler::Dpmpp2sA
        | Sampler::Dpmpp2m
        | Sampler::Lms
        | Sampler::Ddim
        | Sampler::Plms
        | Sampler::Unipc
        | Sampler::Lcm
        | Sampler::Ddpm => false,
    }
}

/// A sampler on its way along a plan.
#[derive(Clone, Debug)]
pub(crate) struct Stepper {
    sampler: Sampler,
    tuning: Tuning,
    plan: Plan,
    noise: Noise,
    history: History,
}

impl Stepper {
    /// Begins at the first step of a plan. `noise` is what is left behind the first draw.
    pub(crate) fn new(sampler: Sampler, tuning: Tuning, plan: Plan, mut noise: Noise) -> Self {
        if follows_path(sampler, tuning.compat) {
            noise.follow_path(plan.span);
        }
        Self {
            sampler,
            tuning,
            plan,
            noise,
            history: History::default(),
        }
    }

    /// Goes on with what was remembered behind an earlier step; the noise must be restored, too.
    pub(crate) fn with_history(self, history: History) -> Self {
        Self { history, ..self }
    }

    /// Where the steps lie.
    pub(crate) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What to save with the latents.
    pub(crate) fn history(&self) -> &History {
        &self.history
    }

    /// Whose state to save with the latents.
    pub(crate) fn noise(&self) -> &Noise {
        &self.noise
    }

    /// Takes step `number` from latents `x`, which the model may end by an error.
    pub(crate) fn step<E: From<candle_core::Error>>(
        &mut self,
        number: usize,
        x: &Tensor,
        model: &mut Model<'_, E>,
    ) -> Result<Step, E> {
        let stage = Stage {
            number,
            sigma: self.plan.sigmas[number],
            next: self.plan.sigmas[number + 1],
            is_last: number + 1 == self.plan.steps(),
        };
        let level = Level {
            sigma: stage.sigma,
            timestep: self.plan.timesteps[number],
        };
        let denoised = model(x, level)?;
        let latents = self.advance(stage, x, &denoised, model)?;
        let latents = if stage.is_last && self.plan.end_scale != 1.0 {
            (latents * self.plan.end_scale)?
        } else {
            latents
        };
        Ok(Step {
            number,
            latents,
            denoised,
        })
    }

    fn advance<E: From<candle_core::Error>>(
        &mut self,
        stage: Stage,
        x: &Tensor,
        denoised: &Tensor,
        model: &mut Model<'_, E>,
    ) -> Result<Tensor, E> {
        Ok(match self.sampler {
            Sampler::Euler => single::euler(stage, x, denoised)?,
            Sampler::EulerA | Sampler::Ddpm | Sampler::Ddim => self.euler_a(stage, x, denoised)?,
            Sampler::Lcm => self.lcm(stage, denoised)?,
            Sampler::Heun => self.heun(stage, x, denoised, model)?,
            Sampler::Dpm2 | Sampler::Dpm2A => self.dpm_2(stage, x, denoised, model)?,
            Sampler::Dpmpp2sA => self.dpmpp_2s_a(stage, x, denoised, model)?,
            Sampler::DpmppSde => self.dpmpp_sde(stage, x, denoised, model)?,
            Sampler::Dpmpp2m => self.dpmpp_2m(stage, x, denoised)?,
            Sampler::Dpmpp2mSde => self.dpmpp_2m_sde(stage, x, denoised)?,
            Sampler::Dpmpp3mSde => self.dpmpp_3m_sde(stage, x, denoised)?,
            Sampler::Lms => self.lms(stage, x, denoised)?,
            Sampler::Plms => self.plms(stage, x, denoised, model)?,
            Sampler::Unipc => self.unipc(stage, x, denoised)?,
        })
    }

    /// The plan's level behind a step.
    fn next_level(&self, stage: Stage) -> Level {
        let timestep = self.plan.timesteps.get(stage.number + 1);
        Level {
            sigma: stage.next,
            timestep: timestep
                .copied()
                .unwrap_or_else(|| self.plan.timestep(stage.next)),
        }
    }

    /// A level between two of the plan's.
    fn level(&self, sigma: f64) -> Level {
        Level {
            sigma,
            timestep: self.plan.timestep(sigma),
        }
    }

    /// Adds the noise of the way between two levels to latents.
    fn add_noise(
        &mut self,
        x: &Tensor,
        (from, to): (f64, f64),
        strength: f64,
    ) -> candle_core::Result<Tensor> {
        if strength == 0.0 {
            return Ok(x.clone());
        }
        let noise = self.noise.between(from, to);
        let noise = Tensor::from_vec(noise, x.shape(), x.device())?.to_dtype(x.dtype())?;
        x + (noise * strength)?
    }
}

#[cfg(test)]
mod tests;
