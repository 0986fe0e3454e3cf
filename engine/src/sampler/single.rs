//! Samplers that look at one step alone: Euler's, Heun's, DPM-Solver-2, DPM-Solver++ (2S and SDE),
//! their ancestral forms, and consistency sampling.

use candle_core::{Result, Tensor};
use hearth_protocol::job::Sampler;

use super::stage::{Stage, ancestral, slope, sum};
use super::{Model, Stepper};
use crate::schedule::single;

/// An explicit Euler step: along the slope to the next level (Karras et al. 2022, algorithm 2).
pub(super) fn euler(stage: Stage, x: &Tensor, denoised: &Tensor) -> Result<Tensor> {
    towards(x, denoised, stage.next / stage.sigma)
}

/// Keeps a share of the noise in `x`.
fn towards(x: &Tensor, denoised: &Tensor, kept: f64) -> Result<Tensor> {
    sum([(kept, x), (1.0 - kept, denoised)])
}

impl Stepper {
    /// Euler below the next level, then fresh noise up to it. With `eta` 1 this is DDPM's posterior, with
    /// another DDIM's family (Song et al. 2021, equation 16), both written for sigma space.
    pub(super) fn euler_a(
        &mut self,
        stage: Stage,
        x: &Tensor,
        denoised: &Tensor,
    ) -> Result<Tensor> {
        let (down, up) = ancestral(stage.sigma, stage.next, self.tuning.eta);
        let x = towards(x, denoised, down / stage.sigma)?;
        self.add_noise(&x, (stage.sigma, stage.next), up)
    }

    /// Consistency sampling (Luo et al. 2023): the clean latents, made noisy again.
    pub(super) fn lcm(&mut self, stage: Stage, denoised: &Tensor) -> Result<Tensor> {
        self.add_noise(denoised, (stage.sigma, stage.next), stage.next)
    }

    /// The mean of the slopes at both ends (Karras et al. 2022, algorithm 2); the last step is Euler's.
    pub(super) fn heun<E: From<candle_core::Error>>(
        &self,
        stage: Stage,
        x: &Tensor,
        denoised: &Tensor,
        model: &mut Model<'_, E>,
    ) -> std::result::Result<Tensor, E> {
        let there = euler(stage, x, denoised)?;
        if stage.is_last {
            return Ok(there);
        }
        let next = model(&there, self.next_level(stage))?;
        let begin = slope(x, denoised, stage.sigma)?;
        let end = slope(&there, &next, stage.next)?;
        let half = (stage.next - stage.sigma) / 2.0;
        Ok(sum([(1.0, x), (half, &begin), (half, &end)])?)
    }

    /// The slope at the geometric middle (DPM-Solver-2), ancestral or not; the last step is Euler's.
    pub(super) fn dpm_2<E: From<candle_core::Error>>(
        &mut self,
        stage: Stage,
        x: &Tensor,
        denoised: &Tensor,
        model: &mut Model<'_, E>,
    ) -> std::result::Result<Tensor, E> {
        let is_ancestral = self.sampler == Sampler::Dpm2A;
        let eta = if is_ancestral { self.tuning.eta } else { 0.0 };
        let (down, up) = ancestral(stage.sigma, stage.next, eta);
        if stage.is_last || down == 0.0 {
            return Ok(euler(stage, x, denoised)?);
        }
        let middle = (stage.sigma * down).sqrt();
        let there = towards(x, denoised, middle / stage.sigma)?;
        let next = model(&there, self.level(middle))?;
        let slope = slope(&there, &next, middle)?;
        let x = sum([(1.0, x), (down - stage.sigma, &slope)])?;
        Ok(self.add_noise(&x, (stage.sigma, stage.next), up)?)
    }

    /// DPM-Solver++(2S), ancestral (Lu et al. 2022); the last step is Euler's.
    pub(super) fn dpmpp_2s_a<E: From<candle_core::Error>>(
        &mut self,
        stage: Stage,
        x: &Tensor,
        denoised: &Tensor,
        model: &mut Model<'_, E>,
    ) -> std::result::Result<Tensor, E> {
        let (down, up) = ancestral(stage.sigma, stage.next, self.tuning.eta);
        if stage.is_last || down == 0.0 {
            return Ok(euler(stage, x, denoised)?);
        }
        let middle = (stage.sigma * down).sqrt();
        let there = towards(x, denoised, middle / stage.sigma)?;
        let next = model(&there, self.level(middle))?;
        let x = towards(x, &next, down / stage.sigma)?;
        Ok(self.add_noise(&x, (stage.sigma, stage.next), up)?)
    }

    /// DPM-Solver++ SDE with its middle at half the way (k-diffusion's `dpmpp_sde`); the last step is
    /// Euler's.
    pub(super) fn dpmpp_sde<E: From<candle_core::Error>>(
        &mut self,
        stage: Stage,
        x: &Tensor,
        denoised: &Tensor,
        model: &mut Model<'_, E>,
    ) -> std::result::Result<Tensor, E> {
        if stage.is_last {
            return Ok(euler(stage, x, denoised)?);
        }
        let Stage { sigma, next, .. } = stage;
        let middle = (sigma * next).sqrt();
        let (down, up) = ancestral(sigma, middle, self.tuning.eta);
        let there = towards(x, denoised, down / sigma)?;
        let path = PathLevels::new(sigma, next);
        let there = self.add_noise(&there, (path.from, path.middle), up)?;
        let second = model(&there, self.level(middle))?;
        let (down, up) = ancestral(sigma, next, self.tuning.eta);
        let x = towards(x, &second, down / sigma)?;
        Ok(self.add_noise(&x, (path.from, path.to), up)?)
    }
}

/// Where `dpmpp_sde` asks its Brownian path. k-diffusion takes levels through a logarithm and back in
/// single precision first, and the path feels their last digits.
struct PathLevels {
    from: f64,
    middle: f64,
    to: f64,
}

impl PathLevels {
    fn new(from: f64, to: f64) -> Self {
        let place = |level: f64| single(-libm::log(single(level)));
        let level = |place: f64| single(libm::exp(-place));
        let (start, end) = (place(from), place(to));
        Self {
            from: level(start),
            middle: level(single(start + single(single(end - start) * 0.5))),
            to: level(end),
        }
    }
}
