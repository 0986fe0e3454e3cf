//! Looks inside a model: the values between a prompt and a picture, for comparison with other programs.
//!
//! [`crate::run`] is the way to draw; this is how the tests hold every part of it against diffusers.

mod full_size;
mod parts;

pub use full_size::{Family, FullSize, Storage};
pub use parts::{Edges, Listened, Parts};

pub use crate::adapter::swap::{Merging, Swap};
pub use crate::clip::{Finish, Layer, Piece};

use candle_core::{Device, Tensor};
use hearth_protocol::engine::Assets;
use hearth_protocol::job::{Compat, JobSpec, NoiseSchedule, Rng};

use crate::checkpoint::{Checkpoint, Texts};
use crate::layers::Pass;
use crate::load::LoadError;
use crate::prompt::{PromptError, Script, Stage};
use crate::schedule::{Aligned, NoiseTable, PlanRequest, ScheduleConfig};
use crate::unet::Conditioning;
use crate::warning::Warning;
use crate::weights::Placement;
use crate::{RunError, noise};

/// A tensor's dimensions and values, outermost first.
#[derive(Clone, Debug, PartialEq)]
pub struct Values {
    /// Its dimensions.
    pub shape: Vec<usize>,
    /// Its values.
    pub values: Vec<f32>,
}

impl Values {
    fn of(tensor: &Tensor) -> Result<Self, RunError> {
        Ok(Self {
            shape: tensor.dims().to_vec(),
            values: tensor.flatten_all()?.to_vec1()?,
        })
    }

    fn tensor(&self) -> Result<Tensor, RunError> {
        Ok(Tensor::from_slice(
            &self.values,
            self.shape.as_slice(),
            &Device::Cpu,
        )?)
    }
}

/// A loaded model whose parts can be run one by one.
#[derive(Debug)]
pub struct Probe(Checkpoint);

impl Probe {
    /// Loads a job's model with its adapters merged in.
    pub fn load(spec: &JobSpec, assets: &Assets) -> Result<Self, LoadError> {
        Checkpoint::load(assets, spec, &Placement::default()).map(Self)
    }

    /// Returns what a person should know about the adapters.
    pub fn warnings(&self) -> &[Warning] {
        &self.0.warnings
    }

    /// Returns the token ids of a prompt, framed and padded.
    pub fn tokens(&self, prompt: &str, compat: Compat) -> Result<Vec<Vec<u32>>, PromptError> {
        self.0.tokens(prompt, compat)
    }

    /// Returns the vectors of a prompt, `[subprompts, tokens, channels]`.
    pub fn text(&self, prompt: &str, compat: Compat) -> Result<Values, RunError> {
        let script = self.script(prompt, compat)?;
        let parts = script.at(0);
        let contexts: Vec<_> = parts.iter().map(|(_, part)| &part.context).collect();
        Values::of(&Tensor::cat(&contexts, 0)?)
    }

    fn script(&self, prompt: &str, compat: Compat) -> Result<Script, PromptError> {
        let texts = Texts {
            positive: prompt,
            negative: "",
            compat,
            clip_skip: 1,
        };
        self.0.script(&texts, Stage::Base { steps: 1 })
    }

    /// Returns the pooled vector of a prompt, `[1, channels]`, of models that have one.
    pub fn pooled(&self, prompt: &str, compat: Compat) -> Result<Option<Values>, RunError> {
        let script = self.script(prompt, compat)?;
        let pooled = script.batch(0, 1.0)?.pooled;
        pooled.as_ref().map(Values::of).transpose()
    }

    /// Returns the network's prediction for latents `[batch, 4, height, width]`.
    pub fn unet(&self, latents: &Values, timestep: f64, text: &Values) -> Result<Values, RunError> {
        let (latents, text) = (latents.tensor()?, text.tensor()?);
        let listen = Conditioning::text(&text);
        Values::of(
            &self
                .0
                .unet
                .forward(&latents, timestep, &listen, Pass::PLAIN)?,
        )
    }

    /// Returns the pixels of latents, `[batch, 3, height, width]`, nominally in -1..=1.
    pub fn decode(&self, latents: &Values) -> Result<Values, RunError> {
        Values::of(&self.0.decode(&latents.tensor()?, Pass::PLAIN)?)
    }
}

/// Returns the first `count` values a generator draws from a seed.
pub fn noise(rng: Rng, seed: u64, count: usize) -> Vec<f32> {
    noise::normal(rng, seed, count)
}

/// Returns noise levels and timesteps of a schedule under a `scheduler_config.json`.
pub fn schedule(
    config: &str,
    schedule: NoiseSchedule,
    compat: Compat,
    steps: usize,
) -> Result<(Vec<f64>, Vec<f64>), LoadError> {
    let config: ScheduleConfig =
        serde_json::from_str(config).map_err(|source| LoadError::Config {
            path: "scheduler_config.json".into(),
            source,
        })?;
    let plan = NoiseTable::new(&config)?.plan(&PlanRequest {
        sampler: hearth_protocol::job::Sampler::Euler,
        schedule,
        compat,
        steps: steps.max(1),
        discard_penultimate: false,
        strength: None,
        aligned: Aligned::Sd1,
    });
    Ok((plan.sigmas, plan.timesteps))
}
