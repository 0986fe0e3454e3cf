//! Noise schedules: where the steps of a sampler lie, as noise levels (sigmas) and timesteps.
//!
//! Formulas are those of k-diffusion, `ComfyUI` and diffusers; which one counts where they differ is
//! the job's `compat`. All in `f64` with `libm`.

use hearth_protocol::job::{Compat, NoiseSchedule};
use serde::Deserialize;

use crate::load::LoadError;

/// What `scheduler/scheduler_config.json` says, with the defaults of diffusers' Euler sampler.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub(crate) struct ScheduleConfig {
    beta_start: f64,
    beta_end: f64,
    beta_schedule: String,
    num_train_timesteps: usize,
    prediction_type: String,
    timestep_spacing: String,
    steps_offset: usize,
    rescale_betas_zero_snr: bool,
    trained_betas: Option<Vec<f64>>,
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spacing {
    Linspace,
    Leading,
    Trailing,
}

/// The noise levels a model was trained on, and how its steps are spaced.
#[derive(Clone, Debug)]
pub(crate) struct NoiseTable {
    /// Noise level by timestep, rising.
    sigmas: Vec<f64>,
    spacing: Spacing,
    steps_offset: usize,
    pub(crate) prediction: Prediction,
}

/// The steps of one run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plan {
    /// Noise levels, falling; one more than there are steps, the last one 0.
    pub(crate) sigmas: Vec<f64>,
    /// What the network is told at each step.
    pub(crate) timesteps: Vec<f64>,
    /// What unit noise is multiplied by to begin with.
    pub(crate) noise_scale: f64,
}

fn unsupported<T>(what: String) -> Result<T, LoadError> {
    Err(LoadError::Unsupported {
        part: "scheduler",
        what,
    })
}

impl NoiseTable {
    pub(crate) fn new(config: &ScheduleConfig) -> Result<Self, LoadError> {
        let count = config.num_train_timesteps;
        if !(2..=10_000).contains(&count) {
            return unsupported(format!("num_train_timesteps {count}"));
        }
        if config.rescale_betas_zero_snr || config.trained_betas.is_some() {
            return unsupported("rescale_betas_zero_snr or trained_betas".to_owned());
        }
        let at = |from: f64, to: f64, i: usize| from + (to - from) * i as f64 / (count - 1) as f64;
        let (start, end) = (config.beta_start, config.beta_end);
        if !(start > 0.0 && start <= end && end < 1.0) {
            return unsupported(format!("betas from {start} to {end}"));
        }
        let beta = |i| match config.beta_schedule.as_str() {
            "scaled_linear" => Ok(at(start.sqrt(), end.sqrt(), i).powi(2)),
            "linear" => Ok(at(start, end, i)),
            other => unsupported(format!("beta_schedule {other}")),
        };
        let mut kept = 1.0;
        let sigmas = (0..count)
            .map(|i| {
                kept *= 1.0 - beta(i)?;
                Ok(((1.0 - kept) / kept).sqrt())
            })
            .collect::<Result<_, LoadError>>()?;
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
        let steps_offset = config.steps_offset.min(count - 1);
        Ok(Self {
            sigmas,
            spacing,
            steps_offset,
            prediction,
        })
    }

    /// Lays out `steps` steps.
    pub(crate) fn plan(&self, schedule: NoiseSchedule, compat: Compat, steps: usize) -> Plan {
        assert!(steps > 0, "a run has at least one step");
        let own = self.own_timesteps(steps);
        let last = (self.sigmas.len() - 1) as f64;
        let (mut low, mut high) = (self.sigmas[0], self.sigmas[self.sigmas.len() - 1]);
        if compat == Compat::Diffusers {
            // diffusers stretches Karras' and the exponential schedule over its own first choice.
            (high, low) = (self.linear(own[0]), self.linear(own[steps - 1]));
        }
        let sigmas: Vec<f64> = match schedule {
            NoiseSchedule::Model => own.iter().map(|t| self.linear(*t)).collect(),
            NoiseSchedule::Normal
            | NoiseSchedule::DdimUniform
            | NoiseSchedule::Beta
            | NoiseSchedule::AlignYourSteps
            | NoiseSchedule::KlOptimal => ramp(steps, steps - 1)
                .map(|x| self.sigma(last * (1.0 - x)))
                .collect(),
            NoiseSchedule::SgmUniform => ramp(steps, steps)
                .map(|x| self.sigma(last * (1.0 - x)))
                .collect(),
            NoiseSchedule::Simple => {
                let count = self.sigmas.len();
                (0..steps)
                    .map(|i| self.sigmas[count - 1 - i * count / steps])
                    .collect()
            }
            NoiseSchedule::Karras => {
                let root = |sigma: f64| libm::pow(sigma, 1.0 / 7.0);
                let between = |x: f64| root(high) + x * (root(low) - root(high));
                ramp(steps, steps - 1).map(|x| between(x).powi(7)).collect()
            }
            NoiseSchedule::Exponential => {
                let between = |x: f64| libm::log(high) + x * (libm::log(low) - libm::log(high));
                ramp(steps, steps - 1)
                    .map(|x| libm::exp(between(x)))
                    .collect()
            }
        };
        let timesteps = match schedule {
            NoiseSchedule::Model => own,
            NoiseSchedule::Normal
            | NoiseSchedule::DdimUniform
            | NoiseSchedule::Beta
            | NoiseSchedule::AlignYourSteps
            | NoiseSchedule::KlOptimal
            | NoiseSchedule::Karras
            | NoiseSchedule::Exponential
            | NoiseSchedule::SgmUniform
            | NoiseSchedule::Simple => sigmas.iter().map(|s| self.timestep(*s, compat)).collect(),
        };
        let noise_scale = self.noise_scale(&sigmas, compat);
        Plan {
            sigmas: sigmas.into_iter().chain([0.0]).collect(),
            timesteps,
            noise_scale,
        }
    }

    fn noise_scale(&self, sigmas: &[f64], compat: Compat) -> f64 {
        let highest = sigmas.iter().copied().fold(0.0, f64::max);
        match (compat, self.spacing) {
            (Compat::A1111, _) | (Compat::Diffusers, Spacing::Linspace | Spacing::Trailing) => {
                highest
            }
            (Compat::Comfy, _) | (Compat::Diffusers, Spacing::Leading) => highest.hypot(1.0),
        }
    }

    /// diffusers' timesteps for the model's own spacing, falling.
    fn own_timesteps(&self, steps: usize) -> Vec<f64> {
        let count = self.sigmas.len();
        match self.spacing {
            Spacing::Linspace => ramp(steps, steps - 1)
                .map(|x| (count - 1) as f64 * (1.0 - x))
                .collect(),
            Spacing::Leading => {
                let stride = (count / steps).max(1);
                let at = |i: usize| (i * stride + self.steps_offset).min(count - 1) as f64;
                (0..steps).rev().map(at).collect()
            }
            Spacing::Trailing => {
                let stride = count as f64 / steps as f64;
                (0..steps)
                    .map(|i| {
                        (count as f64 - i as f64 * stride)
                            .round_ties_even()
                            .max(1.0)
                            - 1.0
                    })
                    .collect()
            }
        }
    }

    /// The noise level at a timestep, log-linear between whole ones (k-diffusion).
    fn sigma(&self, timestep: f64) -> f64 {
        let (i, part) = self.whole(timestep);
        let next = (i + 1).min(self.sigmas.len() - 1);
        let logs = (libm::log(self.sigmas[i]), libm::log(self.sigmas[next]));
        libm::exp(logs.0 * (1.0 - part) + logs.1 * part)
    }

    /// The noise level at a timestep, linear between whole ones (diffusers).
    fn linear(&self, timestep: f64) -> f64 {
        let (i, part) = self.whole(timestep);
        let next = (i + 1).min(self.sigmas.len() - 1);
        self.sigmas[i] * (1.0 - part) + self.sigmas[next] * part
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to the table, which is short"
    )]
    fn whole(&self, timestep: f64) -> (usize, f64) {
        let clamped = timestep.clamp(0.0, (self.sigmas.len() - 1) as f64);
        (clamped.floor() as usize, clamped.fract())
    }

    /// The timestep of a noise level: the nearest for `ComfyUI`, between two for the others.
    fn timestep(&self, sigma: f64, compat: Compat) -> f64 {
        let log = libm::log(sigma);
        let above = self
            .sigmas
            .partition_point(|s| *s <= sigma)
            .clamp(1, self.sigmas.len() - 1);
        let below = above - 1;
        let (low, high) = (libm::log(self.sigmas[below]), libm::log(self.sigmas[above]));
        let part = ((log - low) / (high - low)).clamp(0.0, 1.0);
        match compat {
            Compat::Comfy if part <= 0.5 => below as f64,
            Compat::Comfy => above as f64,
            Compat::A1111 | Compat::Diffusers => below as f64 + part,
        }
    }
}

/// Returns `0/whole, 1/whole, ...`, `count` values.
fn ramp(count: usize, whole: usize) -> impl Iterator<Item = f64> {
    (0..count).map(move |i| i as f64 / whole.max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> NoiseTable {
        NoiseTable::new(&ScheduleConfig::default()).unwrap()
    }

    #[test]
    fn table_has_the_known_ends() {
        let table = table();
        let known = [
            (0, 0.029_167_5),
            (1, 0.041_314),
            (500, 1.618_279),
            (999, 14.614_643),
        ];
        for (i, sigma) in known {
            assert!(
                (table.sigmas[i] - sigma).abs() < 1e-4 * sigma,
                "{i}: {}",
                table.sigmas[i]
            );
        }
    }

    #[test]
    fn ten_steps_lie_where_the_other_programs_put_them() {
        let cases = [
            (
                NoiseSchedule::Karras,
                [
                    14.6146, 9.1029, 5.4784, 3.1686, 1.7494, 0.9141, 0.4469, 0.2014, 0.0819, 0.0292,
                ],
            ),
            (
                NoiseSchedule::Exponential,
                [
                    14.6146, 7.3249, 3.6712, 1.8400, 0.9222, 0.4622, 0.2317, 0.1161, 0.0582, 0.0292,
                ],
            ),
            (
                NoiseSchedule::Normal,
                [
                    14.6146, 7.8399, 4.6092, 2.9183, 1.9502, 1.3449, 0.9324, 0.6250, 0.3687, 0.0292,
                ],
            ),
            (
                NoiseSchedule::SgmUniform,
                [
                    14.6146, 8.3072, 5.0924, 3.3251, 2.2797, 1.6156, 1.1629, 0.8319, 0.5712, 0.3437,
                ],
            ),
            (
                NoiseSchedule::Simple,
                [
                    14.6146, 8.3028, 5.0878, 3.3211, 2.2765, 1.6129, 1.1606, 0.8299, 0.5693, 0.3417,
                ],
            ),
        ];
        for (schedule, want) in cases {
            let plan = table().plan(schedule, Compat::A1111, 10);
            for (got, want) in plan.sigmas.iter().zip(want.iter().chain(&[0.0])) {
                assert!((got - want).abs() < 1e-4, "{schedule}: {got} {want}");
            }
        }
    }

    #[test]
    fn timestep_of_a_level_is_its_inverse() {
        let table = table();
        for t in [0.0, 0.3, 17.5, 500.0, 998.9, 999.0] {
            let back = table.timestep(table.sigma(t), Compat::A1111);
            assert!((back - t).abs() < 1e-6, "{t} {back}");
            assert_eq!(table.timestep(table.sigma(t), Compat::Comfy), t.round());
        }
    }

    #[test]
    fn one_step_begins_at_the_highest_level() {
        for schedule in NoiseSchedule::ALL {
            let plan = table().plan(*schedule, Compat::Diffusers, 1);
            assert_eq!(plan.sigmas.len(), 2, "{schedule}");
            assert!(
                (plan.sigmas[0] - 14.6146).abs() < 1e-3,
                "{schedule}: {:?}",
                plan.sigmas
            );
        }
    }

    #[test]
    fn leading_spacing_counts_up_from_its_offset() {
        let config = ScheduleConfig {
            timestep_spacing: "leading".to_owned(),
            steps_offset: 1,
            ..ScheduleConfig::default()
        };
        let plan =
            NoiseTable::new(&config)
                .unwrap()
                .plan(NoiseSchedule::Model, Compat::Diffusers, 4);
        assert_eq!(plan.timesteps, [751.0, 501.0, 251.0, 1.0]);
    }
}
