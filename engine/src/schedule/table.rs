//! The noise levels a model was trained on: built from its configuration, read by timestep and back.
//!
//! A level (sigma) is noise over picture, `sqrt((1 - a) / a)` for the kept share `a` of the variance;
//! between whole timesteps k-diffusion interpolates its logarithm, diffusers the level itself, and
//! `ComfyUI` tells the network the nearest whole timestep. All in `f64` with `libm`, but rounded where a
//! program keeps single precision: Brownian noise feels the last digit of a level.

use std::sync::Arc;

use hearth_protocol::job::Compat;
use serde::Deserialize;

use crate::load::LoadError;

/// What `scheduler/scheduler_config.json` says, with the defaults of diffusers' Euler sampler.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub(crate) struct ScheduleConfig {
    pub(crate) beta_start: f64,
    pub(crate) beta_end: f64,
    pub(crate) beta_schedule: String,
    pub(crate) num_train_timesteps: usize,
    pub(crate) prediction_type: String,
    pub(crate) timestep_spacing: String,
    pub(crate) steps_offset: usize,
    pub(crate) set_alpha_to_one: bool,
    pub(crate) rescale_betas_zero_snr: bool,
    pub(crate) trained_betas: Option<Vec<f64>>,
}

/// The values of Stable Diffusion 1.
impl Default for ScheduleConfig {
    fn default() -> Self {
        Self {
            beta_start: 0.00085,
            beta_end: 0.012,
            beta_schedule: "scaled_linear".to_owned(),
            num_train_timesteps: 1000,
            prediction_type: "epsilon".to_owned(),
            timestep_spacing: "linspace".to_owned(),
            steps_offset: 0,
            set_alpha_to_one: true,
            rescale_betas_zero_snr: false,
            trained_betas: None,
        }
    }
}

/// What the network predicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Prediction {
    /// The noise.
    Epsilon,
    /// The velocity between noise and picture.
    Velocity,
}

/// How diffusers spreads the steps of a run over the training timesteps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spacing {
    Linspace,
    Leading,
    Trailing,
}

/// The noise levels a model was trained on, and how its steps are spaced.
#[derive(Clone, Debug)]
pub(crate) struct NoiseTable {
    /// Noise level by timestep, rising, as A1111, `ComfyUI` and diffusers compute it.
    a1111: Arc<[f64]>,
    comfy: Arc<[f64]>,
    diffusers: Arc<[f64]>,
    pub(super) spacing: Spacing,
    pub(super) steps_offset: usize,
    /// Whether diffusers' DDIM ends at no noise at all, not at the lowest level.
    pub(super) ends_clean: bool,
    pub(crate) prediction: Prediction,
}

/// The most training timesteps and the least kept variance: pure noise as `ComfyUI` and A1111 write it.
const COUNT_MAX: usize = 10_000;
const KEPT_MIN: f64 = 4.897_345_189_085_343_5e-8;

fn unsupported<T>(what: String) -> Result<T, LoadError> {
    Err(LoadError::Unsupported {
        part: "scheduler",
        what,
    })
}

impl NoiseTable {
    /// Builds the table a configuration describes.
    ///
    /// # Errors
    /// [`LoadError::Unsupported`] names what is not understood.
    pub(crate) fn new(config: &ScheduleConfig) -> Result<Self, LoadError> {
        let kept = kept(&betas(config)?, config.rescale_betas_zero_snr)?;
        let prediction = match config.prediction_type.as_str() {
            "epsilon" => Prediction::Epsilon,
            "v_prediction" => Prediction::Velocity,
            other => return unsupported(format!("prediction_type {other}")),
        };
        let spacing = match config.timestep_spacing.as_str() {
            "linspace" => Spacing::Linspace,
            "leading" => Spacing::Leading,
            "trailing" => Spacing::Trailing,
            other => return unsupported(format!("timestep_spacing {other}")),
        };
        let level = |kept: f64| ((1.0 - kept) / kept).sqrt();
        let own = |kept: &f64| {
            let kept = single(kept.max(KEPT_MIN));
            single(single(single(1.0 - kept) / kept).sqrt())
        };
        Ok(Self {
            a1111: kept.iter().map(own).collect(),
            comfy: kept
                .iter()
                .map(|a| single(level(a.max(KEPT_MIN))))
                .collect(),
            // 2^-24 is where diffusers' samplers stop short of pure noise.
            diffusers: kept
                .iter()
                .map(|a| level(a.max(1.0 / 16_777_216.0)))
                .collect(),
            spacing,
            steps_offset: config.steps_offset.min(kept.len() - 1),
            ends_clean: config.set_alpha_to_one,
            prediction,
        })
    }

    /// The levels as one program counts them.
    pub(crate) fn levels(&self, compat: Compat) -> Levels {
        let sigmas = match compat {
            Compat::A1111 => &self.a1111,
            Compat::Comfy => &self.comfy,
            Compat::Diffusers => &self.diffusers,
        };
        Levels {
            sigmas: Arc::clone(sigmas),
            compat,
        }
    }
}

/// Rounds as a single-precision tensor does.
#[expect(clippy::cast_possible_truncation, reason = "rounding is the point")]
pub(crate) fn single(x: f64) -> f64 {
    f64::from(x as f32)
}

/// The share of variance each training step adds.
fn betas(config: &ScheduleConfig) -> Result<Vec<f64>, LoadError> {
    if let Some(betas) = &config.trained_betas {
        let sound = betas.iter().all(|beta| *beta > 0.0 && *beta < 1.0);
        if !sound || !(2..=COUNT_MAX).contains(&betas.len()) {
            return unsupported("trained_betas".to_owned());
        }
        return Ok(betas.clone());
    }
    let count = config.num_train_timesteps;
    if !(2..=COUNT_MAX).contains(&count) {
        return unsupported(format!("num_train_timesteps {count}"));
    }
    let (start, end) = (config.beta_start, config.beta_end);
    if !(start > 0.0 && start <= end && end < 1.0) {
        return unsupported(format!("betas from {start} to {end}"));
    }
    let at = |from: f64, to: f64, i: usize| from + (to - from) * i as f64 / (count - 1) as f64;
    let cosine = |i: usize| {
        let part = i as f64 / count as f64;
        libm::cos((part + 0.008) / 1.008 * std::f64::consts::FRAC_PI_2).powi(2)
    };
    let beta = |i: usize| match config.beta_schedule.as_str() {
        "scaled_linear" => Ok(at(start.sqrt(), end.sqrt(), i).powi(2)),
        "linear" => Ok(at(start, end, i)),
        "squaredcos_cap_v2" => Ok((1.0 - cosine(i + 1) / cosine(i)).min(0.999)),
        other => unsupported(format!("beta_schedule {other}")),
    };
    (0..count).map(beta).collect()
}

/// The share of the picture's variance kept at each timestep. With `to_pure_noise` it is rescaled so
/// that nothing is kept at the last one (Lin et al. 2023, "Common diffusion noise schedules").
fn kept(betas: &[f64], to_pure_noise: bool) -> Result<Vec<f64>, LoadError> {
    let mut product = 1.0;
    let mut kept: Vec<f64> = betas
        .iter()
        .map(|beta| {
            product *= 1.0 - beta;
            product
        })
        .collect();
    if to_pure_noise {
        let (first, last) = (kept[0].sqrt(), product.sqrt());
        let stretch = first / (first - last);
        kept.iter_mut()
            .for_each(|a| *a = ((a.sqrt() - last) * stretch).powi(2));
    }
    if kept.windows(2).all(|pair| pair[0] > pair[1]) && kept[0] < 1.0 {
        return Ok(kept);
    }
    unsupported("a noise table that does not rise".to_owned())
}

/// Noise levels by timestep, rising, with one program's rule between them. Cheap to clone.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Levels {
    sigmas: Arc<[f64]>,
    compat: Compat,
}

impl Levels {
    /// How many training timesteps there are; at least two.
    pub(crate) fn count(&self) -> usize {
        self.sigmas.len()
    }

    /// The last timestep.
    pub(crate) fn last(&self) -> f64 {
        (self.count() - 1) as f64
    }

    /// The level at a whole timestep, the nearest in range.
    pub(crate) fn at(&self, timestep: usize) -> f64 {
        self.sigmas[timestep.min(self.count() - 1)]
    }

    /// The lowest level.
    pub(crate) fn low(&self) -> f64 {
        self.at(0)
    }

    /// The highest level.
    pub(crate) fn high(&self) -> f64 {
        self.at(self.count() - 1)
    }

    /// The level at a timestep, log-linear between whole ones (k-diffusion).
    pub(crate) fn sigma(&self, timestep: f64) -> f64 {
        let (i, part) = self.whole(timestep);
        let logs = (libm::log(self.at(i)), libm::log(self.at(i + 1)));
        libm::exp(logs.0 * (1.0 - part) + logs.1 * part)
    }

    /// The level at a timestep, linear between whole ones (diffusers).
    pub(crate) fn linear(&self, timestep: f64) -> f64 {
        let (i, part) = self.whole(timestep);
        self.at(i) * (1.0 - part) + self.at(i + 1) * part
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to the table, which is short"
    )]
    fn whole(&self, timestep: f64) -> (usize, f64) {
        let clamped = timestep.clamp(0.0, self.last());
        (clamped.floor() as usize, clamped.fract())
    }

    /// The timestep the network is told at a level: the nearest for `ComfyUI`, between two for the
    /// others.
    pub(crate) fn timestep(&self, sigma: f64) -> f64 {
        let log = libm::log(sigma);
        let above = self
            .sigmas
            .partition_point(|s| *s <= sigma)
            .clamp(1, self.count() - 1);
        let below = above - 1;
        let (low, high) = (libm::log(self.sigmas[below]), libm::log(self.sigmas[above]));
        let part = ((log - low) / (high - low)).clamp(0.0, 1.0);
        match self.compat {
            Compat::Comfy if part <= 0.5 => below as f64,
            Compat::Comfy => above as f64,
            Compat::A1111 | Compat::Diffusers => below as f64 + part,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> NoiseTable {
        NoiseTable::new(&ScheduleConfig::default()).unwrap()
    }

    #[test]
    fn table_has_the_known_ends() {
        let levels = table().levels(Compat::A1111);
        let known = [
            (0, 0.029_167_5),
            (1, 0.041_314),
            (500, 1.618_279),
            (999, 14.614_643),
        ];
        for (i, sigma) in known {
            assert!(
                (levels.at(i) - sigma).abs() < 1e-4 * sigma,
                "{i}: {}",
                levels.at(i)
            );
        }
    }

    #[test]
    fn timestep_of_a_level_is_its_inverse() {
        for t in [0.0, 0.3, 17.5, 500.0, 998.9, 999.0] {
            let levels = table().levels(Compat::A1111);
            let back = levels.timestep(levels.sigma(t));
            assert!((back - t).abs() < 1e-6, "{t} {back}");
            let comfy = table().levels(Compat::Comfy);
            assert_eq!(comfy.timestep(comfy.sigma(t)), t.round());
        }
    }

    #[test]
    fn e30_zero_terminal_snr_ends_at_nearly_pure_noise() {
        let config = ScheduleConfig {
            rescale_betas_zero_snr: true,
            ..ScheduleConfig::default()
        };
        let table = NoiseTable::new(&config).unwrap();
        assert!((table.levels(Compat::Comfy).high() - 4518.8).abs() < 0.2);
        assert!((table.levels(Compat::Diffusers).high() - 4096.0).abs() < 0.2);
        assert!((table.levels(Compat::A1111).low() - 0.029_167_5).abs() < 1e-5);
    }

    #[test]
    fn e30_betas_that_mean_nothing_are_refused() {
        let base = ScheduleConfig::default;
        let bad = [
            ScheduleConfig {
                beta_end: f64::NAN,
                ..base()
            },
            ScheduleConfig {
                beta_start: -1.0,
                ..base()
            },
            ScheduleConfig {
                num_train_timesteps: usize::MAX,
                ..base()
            },
            ScheduleConfig {
                trained_betas: Some(vec![0.1, 2.0]),
                ..base()
            },
            ScheduleConfig {
                trained_betas: Some(vec![1e-300; 3]),
                ..base()
            },
            ScheduleConfig {
                beta_schedule: "wavy".to_owned(),
                ..base()
            },
        ];
        for config in bad {
            assert!(NoiseTable::new(&config).is_err(), "{config:?}");
        }
    }
}
