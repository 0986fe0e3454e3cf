//! Seeded Gaussian noise, equal to what other programs draw from the same seed.
//!
//! [`Noise`] is all the noise of one picture in the order it is drawn: first the latents' own, then
//! that of stochastic samplers. Which generator draws what, from which seed, differs between programs
//! (`specs/engine.md`, E34); [`Noise::state`] is all it takes to go on from a step elsewhere.

mod blend;
mod brownian;
mod philox;
mod seed_sequence;
mod torch_cpu;

use hearth_protocol::job::{Compat, Rng};
use thiserror::Error;

use brownian::Brownian;
use philox::Philox;
use torch_cpu::TorchCpu;

/// Draws `count` standard normal values with the generator a job asks for.
pub(crate) fn normal(rng: Rng, seed: u64, count: usize) -> Vec<f32> {
    Generator::new(rng, seed).normal(count)
}

/// One of the generators.
#[derive(Clone, Debug)]
enum Generator {
    TorchCpu(Box<TorchCpu>),
    Nv(Philox),
}

impl Generator {
    fn new(rng: Rng, seed: u64) -> Self {
        match rng {
            Rng::TorchCpu => Self::TorchCpu(Box::new(TorchCpu::new(seed))),
            Rng::Nv => Self::Nv(Philox::new(seed)),
        }
    }

    fn normal(&mut self, count: usize) -> Vec<f32> {
        match self {
            Self::TorchCpu(generator) => generator.normal(count),
            Self::Nv(generator) => generator.normal(count),
        }
    }

    /// Appends its kind and its state.
    fn save(&self, out: &mut Vec<u8>) {
        match self {
            Self::TorchCpu(generator) => {
                out.push(0);
                generator.save(out);
            }
            Self::Nv(generator) => {
                out.push(1);
                generator.save(out);
            }
        }
    }

    /// Takes a state of its kind from the front of some bytes and returns the rest.
    fn restore<'a>(&mut self, state: &'a [u8]) -> Result<&'a [u8], StateError> {
        let (kind, state) = state.split_first().ok_or(StateError)?;
        let split = |len| state.split_at_checked(len).ok_or(StateError);
        match (*kind, self) {
            (0, Self::TorchCpu(generator)) => {
                let (own, rest) = split(TorchCpu::STATE_LEN)?;
                **generator = TorchCpu::load(own).ok_or(StateError)?;
                Ok(rest)
            }
            (1, Self::Nv(generator)) => {
                let (own, rest) = split(Philox::STATE_LEN)?;
                *generator = Philox::load(own).ok_or(StateError)?;
                Ok(rest)
            }
            (_, _) => Err(StateError),
        }
    }
}

/// A second seed mixed into the first noise (A1111's "variation seed").
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Variation {
    pub(crate) seed: u64,
    /// How much of it, in 0..=1.
    pub(crate) strength: f64,
}

/// Another seed on a walk, whose noise is gone towards in every draw.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Walk {
    pub(crate) seed: u64,
    /// How far: 0 is here, 1 is there.
    pub(crate) amount: f64,
}

/// What decides a picture's noise.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recipe {
    pub(crate) rng: Rng,
    pub(crate) compat: Compat,
    /// The job's seed: that of picture 0.
    pub(crate) seed: u64,
    /// Which picture of the batch this is, from 0.
    pub(crate) index: usize,
    /// Pictures in the batch.
    pub(crate) batch: usize,
    /// Channels, height and width of the latents.
    pub(crate) shape: [usize; 3],
    pub(crate) variation: Option<Variation>,
    pub(crate) walk: Option<Walk>,
    /// Added to the seed once the first noise is drawn (A1111's "eta noise seed delta").
    pub(crate) seed_delta: u64,
}

impl Recipe {
    /// The plain noise of a single picture.
    pub(crate) fn new(rng: Rng, compat: Compat, seed: u64, shape: [usize; 3]) -> Self {
        Self {
            rng,
            compat,
            seed,
            index: 0,
            batch: 1,
            shape,
            variation: None,
            walk: None,
            seed_delta: 0,
        }
    }

    fn count(&self) -> usize {
        self.shape.iter().product()
    }

    /// The seed of this picture's own generator; programs with one generator for the whole batch draw
    /// all its pictures at once.
    fn own_seed(&self) -> u64 {
        match self.compat {
            Compat::A1111 => self.seed.wrapping_add(self.index as u64),
            Compat::Comfy | Compat::Diffusers => self.seed,
        }
    }

    /// The generator of the first noise: `ComfyUI` draws it on the CPU whatever the device.
    fn first_rng(&self) -> Rng {
        match self.compat {
            Compat::Comfy => Rng::TorchCpu,
            Compat::A1111 | Compat::Diffusers => self.rng,
        }
    }

    /// Takes this picture's share of one draw.
    fn draw(&self, generator: &mut Generator) -> Vec<f32> {
        let count = self.count();
        match self.compat {
            Compat::A1111 => generator.normal(count),
            Compat::Comfy | Compat::Diffusers => {
                let mut all = generator.normal(count * self.batch.max(1));
                all.truncate((self.index + 1) * count);
                all.split_off(self.index * count)
            }
        }
    }
}

/// A saved state that does not belong to this job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the saved state of the noise is damaged or belongs to another generator")]
pub(crate) struct StateError;

/// The noise of one picture, drawn in order.
#[derive(Clone, Debug)]
pub(crate) struct Noise {
    recipe: Recipe,
    /// Draws the noise of stochastic samplers.
    generator: Generator,
    /// Replaces it for samplers that follow a Brownian path.
    path: Option<Brownian>,
    /// The noise a walk goes towards.
    there: Option<Box<Self>>,
}

impl Noise {
    /// Draws the first noise, in the order of the latents' elements, and keeps what draws the rest.
    pub(crate) fn begin(recipe: Recipe) -> (Self, Vec<f32>) {
        let mut generator = Generator::new(recipe.first_rng(), recipe.own_seed());
        let mut first = recipe.draw(&mut generator);
        if let Some(Variation { seed, strength }) = recipe.variation
            && strength != 0.0
        {
            let seed = match recipe.compat {
                Compat::A1111 => seed.wrapping_add(recipe.index as u64),
                Compat::Comfy | Compat::Diffusers => seed,
            };
            let other = recipe.draw(&mut Generator::new(recipe.first_rng(), seed));
            first = blend::variation(&first, &other, strength, recipe.shape);
        }
        let reseeded = match (recipe.compat, recipe.rng) {
            (Compat::A1111, _) if recipe.seed_delta != 0 => {
                Some(recipe.own_seed().wrapping_add(recipe.seed_delta))
            }
            (Compat::Comfy, Rng::TorchCpu) => Some(recipe.seed.wrapping_add(1)),
            (Compat::Comfy, Rng::Nv) => Some(recipe.seed),
            (Compat::A1111 | Compat::Diffusers, _) => None,
        };
        if let Some(seed) = reseeded {
            generator = Generator::new(recipe.rng, seed);
        }
        let mut noise = Self {
            recipe,
            generator,
            path: None,
            there: None,
        };
        if let Some(Walk { seed, amount }) = recipe.walk {
            let (there, other) = Self::begin(Recipe {
                seed,
                variation: None,
                walk: None,
                ..recipe
            });
            first = blend::slerp(&first, &other, amount);
            noise.there = Some(Box::new(there));
        }
        (noise, first)
    }

    /// Draws from a Brownian path over these levels from now on, as torchsde's `BrownianTree` does.
    pub(crate) fn follow_path(&mut self, span: (f64, f64)) {
        self.path = Some(Brownian::new(self.recipe, span));
        if let Some(there) = &mut self.there {
            there.follow_path(span);
        }
    }

    /// Draws the noise of one step between two levels.
    pub(crate) fn between(&mut self, from: f64, to: f64) -> Vec<f32> {
        let noise = match &mut self.path {
            Some(path) => path.between(from, to),
            None => self.recipe.draw(&mut self.generator),
        };
        match (&mut self.there, self.recipe.walk) {
            (Some(there), Some(walk)) => {
                blend::slerp(&noise, &there.between(from, to), walk.amount)
            }
            (_, _) => noise,
        }
    }

    /// What to save with a step: one byte for the kind of generator, then its state, then the same of what
    /// a walk goes towards. A Brownian path has none of its own.
    pub(crate) fn state(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(1 + TorchCpu::STATE_LEN);
        self.generator.save(&mut bytes);
        if let Some(there) = &self.there {
            there.generator.save(&mut bytes);
        }
        bytes
    }

    /// Goes on from a saved state.
    ///
    /// # Errors
    /// [`StateError`] if the state is damaged or another generator's.
    pub(crate) fn restore(&mut self, state: &[u8]) -> Result<(), StateError> {
        let mut rest = self.generator.restore(state)?;
        if let Some(there) = &mut self.there {
            rest = there.generator.restore(rest)?;
        }
        if rest.is_empty() {
            Ok(())
        } else {
            Err(StateError)
        }
    }
}

/// Returns the low and the high half.
fn halves(x: u64) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = x.to_le_bytes();
    [
        u32::from_le_bytes([a, b, c, d]),
        u32::from_le_bytes([e, f, g, h]),
    ]
}

#[cfg(test)]
fn assert_near(got: &[f32], want: &[f32]) {
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        assert!((got - want).abs() < 1e-4, "{i}: {got} {want}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: [usize; 3] = [4, 8, 8];
    const COUNT: usize = 256;

    fn recipe(compat: Compat, rng: Rng) -> Recipe {
        Recipe::new(rng, compat, 42, SHAPE)
    }

    #[test]
    fn e34_a1111_gives_each_picture_a_generator_of_its_own() {
        let second = Recipe {
            index: 1,
            batch: 2,
            ..recipe(Compat::A1111, Rng::TorchCpu)
        };
        let (mut noise, first) = Noise::begin(second);
        let mut alone = TorchCpu::new(43);
        assert_eq!(first, alone.normal(COUNT));
        assert_eq!(noise.between(1.0, 0.5), alone.normal(COUNT));
    }

    #[test]
    fn e34_a1111_reseeds_after_the_first_noise_when_told() {
        let delta = Recipe {
            seed_delta: 31337,
            ..recipe(Compat::A1111, Rng::Nv)
        };
        let (mut noise, first) = Noise::begin(delta);
        assert_eq!(first, Philox::new(42).normal(COUNT));
        assert_eq!(noise.between(1.0, 0.5), Philox::new(31379).normal(COUNT));
    }

    #[test]
    fn e34_diffusers_draws_the_whole_batch_from_one_generator() {
        let mut whole = TorchCpu::new(42);
        let (first, later) = (whole.normal(3 * COUNT), whole.normal(3 * COUNT));
        for index in 0..3 {
            let one = Recipe {
                index,
                batch: 3,
                ..recipe(Compat::Diffusers, Rng::TorchCpu)
            };
            let (mut noise, begin) = Noise::begin(one);
            assert_eq!(begin, first[index * COUNT..][..COUNT]);
            assert_eq!(noise.between(1.0, 0.5), later[index * COUNT..][..COUNT]);
        }
    }

    #[test]
    fn e34_comfy_begins_on_the_cpu_and_goes_on_from_a_generator_of_its_own() {
        let (mut cpu, first) = Noise::begin(recipe(Compat::Comfy, Rng::TorchCpu));
        assert_eq!(first, TorchCpu::new(42).normal(COUNT));
        assert_eq!(cpu.between(1.0, 0.5), TorchCpu::new(43).normal(COUNT));
        let (mut gpu, first) = Noise::begin(recipe(Compat::Comfy, Rng::Nv));
        assert_eq!(first, TorchCpu::new(42).normal(COUNT));
        assert_eq!(gpu.between(1.0, 0.5), Philox::new(42).normal(COUNT));
    }

    #[test]
    fn e36_saved_noise_goes_on_and_a_foreign_state_is_refused() {
        for rng in [Rng::TorchCpu, Rng::Nv] {
            let (mut noise, _) = Noise::begin(recipe(Compat::A1111, rng));
            noise.between(1.0, 0.5);
            let state = noise.state();
            let next = noise.between(0.5, 0.2);
            let (mut again, _) = Noise::begin(recipe(Compat::A1111, rng));
            again.restore(&state).unwrap();
            assert_eq!(again.between(0.5, 0.2), next);
            let other = if rng == Rng::Nv {
                Rng::TorchCpu
            } else {
                Rng::Nv
            };
            let (mut foreign, _) = Noise::begin(recipe(Compat::A1111, other));
            assert_eq!(foreign.restore(&state), Err(StateError));
            assert_eq!(again.restore(&state[..9]), Err(StateError));
            assert_eq!(again.restore(&[]), Err(StateError));
        }
    }

    #[test]
    fn e38_a_walk_begins_at_one_seed_and_ends_at_the_other() {
        let at = |seed, walk| {
            let recipe = Recipe {
                seed,
                walk,
                ..recipe(Compat::A1111, Rng::TorchCpu)
            };
            let (mut noise, first) = Noise::begin(recipe);
            let state = noise.state();
            let next = noise.between(1.0, 0.5);
            noise.restore(&state).unwrap();
            assert_eq!(noise.between(1.0, 0.5), next);
            assert_eq!(noise.restore(&state[..state.len() - 1]), Err(StateError));
            noise.follow_path((0.1, 10.0));
            (first, next, noise.between(5.0, 2.0))
        };
        let way = |amount| at(42, Some(Walk { seed: 7, amount }));
        assert_eq!(way(0.0), at(42, None));
        assert_eq!(way(1.0), at(7, None));
        assert_ne!(way(0.5), way(0.6));
    }

    #[test]
    fn e38_a_variation_of_full_strength_is_the_other_noise() {
        let varied = |strength| {
            let variation = Some(Variation { seed: 7, strength });
            let recipe = Recipe {
                variation,
                ..recipe(Compat::A1111, Rng::TorchCpu)
            };
            Noise::begin(recipe).1
        };
        let (here, there) = (
            TorchCpu::new(42).normal(COUNT),
            TorchCpu::new(7).normal(COUNT),
        );
        assert_eq!(varied(0.0), here);
        let off = |a: &[f32], b: &[f32]| {
            let pairs = a.iter().zip(b);
            pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
        };
        assert!(off(&varied(1.0), &there) < 1e-5);
        assert!(off(&varied(0.5), &here) > 0.1);
    }
}
