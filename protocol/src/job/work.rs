//! How much work a spec is: steps really done, evaluations counted for the price.
//!
//! One evaluation is one guided step at the job's own size. A second pass at another size counts by
//! its area, prompts joined by `AND` by the passes they add.

use super::{Compat, JobSpec, Sampler, Start};

impl Sampler {
    /// Returns how often the network is asked over some steps that end at zero noise.
    pub const fn evaluations(self, steps: u32) -> u32 {
        match self {
            Self::Heun | Self::Dpm2 | Self::Dpm2A | Self::Dpmpp2sA | Self::DpmppSde => {
                // The last step, to zero, is Euler's.
                (2 * steps).saturating_sub(1)
            }
            Self::Plms => {
                // The first step is taken twice, as no older predictions are there.
                if steps > 1 { steps + 1 } else { steps }
            }
            Self::Euler
            | Self::EulerA
            | Self::Dpmpp2m
            | Self::Dpmpp2mSde
            | Self::Dpmpp3mSde
            | Self::Lms
            | Self::Ddim
            | Self::Unipc
            | Self::Lcm
            | Self::Ddpm => steps,
        }
    }
}

impl Compat {
    /// Returns how many of a full schedule's steps are done when a picture is redone by `strength`
    /// millionths.
    ///
    /// A1111 does at least one and counts up to, not including, `strength`; `ComfyUI` stretches the schedule so that all
    /// steps fall into the redone part; diffusers rounds down.
    pub fn steps_of(self, steps: u32, strength: u32) -> u32 {
        let share = |millionths: u32| {
            let done = u64::from(steps) * u64::from(millionths) / 1_000_000;
            u32::try_from(done).unwrap_or(u32::MAX)
        };
        match self {
            Self::A1111 => (share(strength.min(999_000)) + 1).min(steps),
            Self::Comfy if strength == 0 => 0,
            Self::Comfy => steps,
            Self::Diffusers => share(strength).min(steps),
        }
    }
}

impl JobSpec {
    /// Returns how many steps the first pass does.
    pub fn steps_first(&self) -> u32 {
        match &self.start {
            Start::Noise => self.steps,
            Start::Picture { strength, .. } => self
                .compat
                .steps_of(self.steps, strength.share_millionths()),
            Start::Step { done, .. } => self.steps.saturating_sub(*done),
        }
    }

    /// Returns how many steps the second pass does; none without one.
    pub fn steps_second(&self) -> u32 {
        self.hires.map_or(0, |hires| {
            let steps = if hires.steps == 0 {
                self.steps
            } else {
                hires.steps
            };
            self.compat
                .steps_of(steps, hires.strength.share_millionths())
        })
    }

    /// Returns how many guided evaluations the job takes, as the price counts them.
    pub fn evaluations(&self) -> u32 {
        let first = match self.start {
            // Only the run knows what of a step in two halves is left.
            Start::Step { .. } | Start::Picture { .. } | Start::Noise => {
                self.sampler.evaluations(self.steps_first())
            }
        };
        self.priced(first, self.sampler.evaluations(self.steps_second()))
    }

    /// Returns what some calls of the network in the first and in the second pass count.
    pub fn priced(&self, first: u32, second: u32) -> u32 {
        let second = match &self.hires {
            Some(hires) => {
                let area = |width: u32, height: u32| u64::from(width) * u64::from(height);
                let own = area(self.width, self.height).max(1);
                (u64::from(second) * area(hires.width, hires.height)).div_ceil(own)
            }
            None => 0,
        };
        let calls = u64::from(first) + second;
        u32::try_from(calls * u64::from(self.passes())).unwrap_or(u32::MAX)
    }

    /// Returns how many pairs of passes one evaluation is: one, and more for prompts joined by `AND`. Of two
    /// blended prompts with different joins only the nearer one is followed, so it is what counts.
    fn passes(&self) -> u32 {
        let followed = match &self.blend {
            Some(blend) if blend.amount.share_millionths() >= 500_000 => &blend.prompt,
            Some(_) | None => &self.prompt,
        };
        let joined = followed.split_whitespace().filter(|word| *word == "AND");
        let prompts = u32::try_from(joined.count())
            .unwrap_or(u32::MAX)
            .saturating_add(1);
        // One pass for each prompt and one for the negative, two to a pair.
        prompts.saturating_add(1).div_ceil(2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::CardId;
    use crate::job::{Blend, Micro};

    #[test]
    fn second_order_samplers_count_two_a_step_but_the_last() {
        assert_eq!(Sampler::Heun.evaluations(20), 39);
        assert_eq!(Sampler::Heun.evaluations(0), 0);
        assert_eq!(Sampler::Dpmpp2m.evaluations(20), 20);
        assert_eq!(Sampler::Plms.evaluations(20), 21);
    }

    #[test]
    fn e74_of_blended_prompts_the_nearer_one_counts() {
        let plain = JobSpec::plain(CardId::from_bytes([0; 32]), "a kite");
        let blended = |millionths| JobSpec {
            blend: Some(Blend {
                prompt: "a kite AND a hill AND a sun".to_owned(),
                negative: String::new(),
                amount: Micro::from_millionths(millionths),
                seed: 2,
            }),
            ..plain.clone()
        };
        assert_eq!(blended(499_999).evaluations(), plain.evaluations());
        assert_eq!(blended(500_000).evaluations(), 2 * plain.evaluations());
    }

    #[test]
    fn strength_becomes_steps_as_each_convention_does() {
        assert_eq!(Compat::A1111.steps_of(20, 750_000), 16);
        assert_eq!(Compat::A1111.steps_of(20, 1_000_000), 20);
        assert_eq!(Compat::A1111.steps_of(20, 0), 1);
        assert_eq!(Compat::Comfy.steps_of(20, 750_000), 20);
        assert_eq!(Compat::Diffusers.steps_of(20, 760_000), 15);
    }
}
