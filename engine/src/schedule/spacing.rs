//! Which training timesteps a run visits when the schedule is the model's own: diffusers' spacings,
//! which differ between its families of samplers, and A1111's.

use hearth_protocol::job::Sampler;

use super::curve::ramp;
use super::table::{NoiseTable, Spacing};

/// diffusers' families of samplers, by how they lay out timesteps and scale the first noise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// Those of k-diffusion: fractional timesteps, latents in sigma space.
    Continuous,
    /// DPM-Solver and `UniPC`: one more timestep than steps, without the last.
    Solver,
    /// DDPM's descendants: whole timesteps.
    Discrete,
}

impl Family {
    pub(super) fn of(sampler: Sampler) -> Self {
        match sampler {
            Sampler::Euler
            | Sampler::EulerA
            | Sampler::Heun
            | Sampler::Dpm2
            | Sampler::Dpm2A
            | Sampler::Dpmpp2sA
            | Sampler::DpmppSde
            | Sampler::Lms => Self::Continuous,
            Sampler::Dpmpp2m | Sampler::Dpmpp2mSde | Sampler::Dpmpp3mSde | Sampler::Unipc => {
                Self::Solver
            }
            Sampler::Ddim | Sampler::Plms | Sampler::Lcm | Sampler::Ddpm => Self::Discrete,
        }
    }
}

/// The training steps LCM was distilled from, as published with it.
const LCM_ORIGINAL: usize = 50;

impl NoiseTable {
    /// diffusers' timesteps for the model's own spacing, falling.
    pub(super) fn own_timesteps(&self, sampler: Sampler, count: usize, steps: usize) -> Vec<f64> {
        if sampler == Sampler::Lcm && steps <= LCM_ORIGINAL && count >= LCM_ORIGINAL {
            return distilled(count, steps);
        }
        let family = Family::of(sampler);
        let last = (count - 1) as f64;
        match (self.spacing, family) {
            (Spacing::Linspace, Family::Continuous) => {
                ramp(steps, steps - 1).map(|x| last * (1.0 - x)).collect()
            }
            (Spacing::Linspace, Family::Solver) => ramp(steps, steps)
                .map(|x| (last * (1.0 - x)).round_ties_even())
                .collect(),
            (Spacing::Linspace, Family::Discrete) => ramp(steps, steps - 1)
                .map(|x| (last * (1.0 - x)).round_ties_even())
                .collect(),
            (Spacing::Leading, Family::Continuous | Family::Discrete) => {
                self.leading(count, (count / steps).max(1), (0..steps).rev())
            }
            (Spacing::Leading, Family::Solver) => {
                self.leading(count, (count / (steps + 1)).max(1), (1..=steps).rev())
            }
            (Spacing::Trailing, _) => trailing(count, steps),
        }
    }

    fn leading(&self, count: usize, stride: usize, order: impl Iterator<Item = usize>) -> Vec<f64> {
        order
            .map(|i| (i * stride + self.steps_offset).min(count - 1) as f64)
            .collect()
    }
}

fn trailing(count: usize, steps: usize) -> Vec<f64> {
    let stride = count as f64 / steps as f64;
    let at = |i: usize| (count as f64 - i as f64 * stride).round_ties_even();
    (0..steps).map(|i| at(i).max(1.0) - 1.0).collect()
}

/// A run's share of the timesteps a consistency model was distilled on.
fn distilled(count: usize, steps: usize) -> Vec<f64> {
    let stride = count / LCM_ORIGINAL;
    (0..steps)
        .map(|i| LCM_ORIGINAL - i * LCM_ORIGINAL / steps)
        .map(|k| (k * stride - 1) as f64)
        .collect()
}

/// A1111's timesteps for DDIM and PLMS, falling; the last one is where the run ends, not a step. Its
/// stride may give more than were asked: those nearest to the picture are left out.
pub(super) fn a1111_timesteps(count: usize, steps: usize) -> Vec<f64> {
    let stride = (count / steps).max(1);
    let mut all: Vec<f64> = (0..count)
        .step_by(stride)
        .map(|t| (t + 1).min(count - 1) as f64)
        .rev()
        .collect();
    if all.len() == 1 {
        all.insert(0, (count - 1) as f64);
    }
    let end = all.pop().unwrap_or(0.0);
    all.truncate(steps);
    all.push(end);
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::ScheduleConfig;

    fn own(spacing: &str, sampler: Sampler, steps: usize) -> Vec<f64> {
        let config = ScheduleConfig {
            timestep_spacing: spacing.to_owned(),
            steps_offset: 1,
            ..ScheduleConfig::default()
        };
        NoiseTable::new(&config)
            .unwrap()
            .own_timesteps(sampler, 1000, steps)
    }

    #[test]
    fn leading_spacing_counts_up_from_its_offset() {
        let want = [751.0, 501.0, 251.0, 1.0];
        assert_eq!(own("leading", Sampler::Euler, 4), want);
        assert_eq!(
            own("leading", Sampler::Dpmpp2m, 4),
            [801.0, 601.0, 401.0, 201.0]
        );
    }

    #[test]
    fn trailing_spacing_counts_down_from_the_end() {
        assert_eq!(
            own("trailing", Sampler::Euler, 4),
            [999.0, 749.0, 499.0, 249.0]
        );
        assert_eq!(own("trailing", Sampler::Euler, 1), [999.0]);
    }

    #[test]
    fn e31_a1111_ddim_ends_at_its_lowest_timestep() {
        let timesteps = a1111_timesteps(1000, 20);
        assert_eq!(timesteps.len(), 20);
        assert_eq!((timesteps[0], timesteps[19]), (951.0, 1.0));
        assert_eq!(a1111_timesteps(1000, 1), [999.0, 1.0]);
        assert_eq!(a1111_timesteps(1000, 600).len(), 601);
    }
}
