//! A step on disk: everything it takes to go on from it, in one safetensors file.
//!
//! Tensors: `latent` `[1, 4, h, w]`, the sampler's `history.*` of the same shape, and where a picture
//! was painted over `start.latents` and `start.mask`. Metadata: `hearth` (the spec that goes on from
//! here), `step` (which one, and the levels of the whole run), `rng` (the noise generator's state in
//! hex digits).

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use hearth_protocol::engine::OutputFile;
use hearth_protocol::job::{JobSpec, Rng, Sampler, Start};
use hearth_protocol::limits;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::tensor_file::{OwnedTensor, TensorFile, TensorFileError, write};

/// No schedule begins higher.
const SIGMA_MAX: f64 = 1e6;
const LATENT: &str = "latent";
const START_LATENTS: &str = "start.latents";
const START_MASK: &str = "start.mask";
const HISTORY: &str = "history.";

/// What is wrong with a saved step.
#[derive(Debug, Error)]
pub enum StepFileError {
    /// It cannot be read as a tensor file.
    #[error(transparent)]
    TensorFile(#[from] TensorFileError),
    /// It lacks something every saved step has.
    #[error("{path} is no saved step of Hearth: it has no {what}")]
    Missing {
        /// The file.
        path: PathBuf,
        /// What is missing.
        what: &'static str,
    },
    /// A part of it does not parse or does not fit the others.
    #[error("{path} is damaged: its {what} cannot be understood")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Which part.
        what: &'static str,
    },
    /// More of it is left than was ordered, and so paid for.
    #[error(
        "the saved step has {left} steps left and the job orders {ordered}: order {steps} steps in all"
    )]
    Longer {
        /// Steps left in the file.
        left: u32,
        /// Steps the job does.
        ordered: u32,
        /// Steps a job that goes on from it has.
        steps: u32,
    },
    /// It belongs to another model or size.
    #[error("the saved step's latents are {found:?}; this job's are {expected:?}")]
    Shape {
        /// Shape in the file.
        found: Vec<usize>,
        /// Shape of the job.
        expected: Vec<usize>,
    },
}

/// A saved step as a person goes on from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedStep {
    /// The job that goes on from it as it would have gone on.
    pub spec: JobSpec,
    /// Steps it has behind it.
    pub done: u32,
}

/// Reads what a saved step says of itself, not its tensors.
///
/// # Errors
/// [`StepFileError`] if it is none.
pub fn saved_step(path: &Path) -> Result<SavedStep, StepFileError> {
    let file = TensorFile::open(path)?;
    let (story, place) = about(&file)?;
    Ok(SavedStep {
        spec: story.spec,
        done: place.done,
    })
}

/// Where in a run a step is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Place {
    /// Steps behind it.
    pub(super) done: u32,
    /// The sampler that made the history.
    pub(super) sampler: Sampler,
    /// Noise levels of the whole run, one more than there are steps.
    pub(super) sigmas: Vec<f64>,
    /// What the network is told at each step.
    pub(super) timesteps: Vec<f64>,
    /// What the last latents are multiplied by.
    pub(super) end_scale: f64,
    /// Levels a Brownian path is laid over.
    pub(super) span: (f64, f64),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Story {
    spec: JobSpec,
}

/// Latents that stay where the mask is zero.
#[derive(Clone, Debug)]
pub(super) struct Keep {
    /// `[1, 4, h, w]`.
    pub(super) latents: Tensor,
    /// `[1, 1, h, w]`: one where the picture may change.
    pub(super) mask: Tensor,
}

impl Keep {
    /// Returns the same on a device.
    pub(super) fn on(self, device: &Device) -> candle_core::Result<Self> {
        Ok(Self {
            latents: self.latents.to_device(device)?,
            mask: self.mask.to_device(device)?,
        })
    }
}

/// A step to go on from.
#[derive(Debug)]
pub(super) struct State {
    pub(super) latent: Tensor,
    pub(super) history: Vec<(String, Tensor)>,
    /// State of the noise generator.
    pub(super) rng: Vec<u8>,
    /// The seed and the generator it is the state of.
    pub(super) seed: (u64, Rng),
    pub(super) place: Place,
    pub(super) keep: Option<Keep>,
}

impl State {
    /// Writes the file of a step. `spec` is the job it belongs to, at the size and of the steps of its pass.
    pub(super) fn write(&self, name: String, spec: &JobSpec) -> io::Result<OutputFile> {
        let mut tensors = BTreeMap::new();
        let mut add = |name: &str, tensor: &Tensor| {
            let values = tensor
                .flatten_all()
                .and_then(|flat| flat.to_vec1::<f32>())
                .map_err(io::Error::other)?;
            let shape = tensor.dims().to_vec();
            tensors.insert(name.to_owned(), OwnedTensor { shape, values });
            io::Result::Ok(())
        };
        add(LATENT, &self.latent)?;
        for (name, tensor) in &self.history {
            add(name, tensor)?;
        }
        if let Some(keep) = &self.keep {
            add(START_LATENTS, &keep.latents)?;
            add(START_MASK, &keep.mask)?;
        }
        let spec = JobSpec {
            start: Start::Noise,
            ..spec.clone()
        };
        let text = |value: serde_json::Result<String>| value.map_err(io::Error::other);
        let metadata = [
            ("hearth", text(serde_json::to_string(&Story { spec }))?),
            ("step", text(serde_json::to_string(&self.place))?),
            ("rng", hex(&self.rng)),
        ];
        let metadata = metadata.map(|(key, value)| (key.to_owned(), value)).into();
        let mut bytes = Vec::new();
        write(&mut bytes, &tensors, &metadata)?;
        Ok(OutputFile { name, bytes })
    }

    /// Reads a step whose latents must be of some shape.
    pub(super) fn read(path: &Path, shape: &[usize]) -> Result<Self, StepFileError> {
        let file = TensorFile::open(path)?;
        let (story, place) = about(&file)?;
        let damaged = |what| StepFileError::Damaged {
            path: path.to_path_buf(),
            what,
        };
        let steps = place.timesteps.len();
        let levels = place.sigmas.iter().chain(&place.timesteps);
        let sound = levels
            .clone()
            .all(|level| level.is_finite() && *level >= 0.0)
            && place.end_scale.is_finite()
            && (0.0..=place.span.1).contains(&place.span.0)
            && place.span.1 <= SIGMA_MAX
            && u32::try_from(steps).is_ok_and(|steps| steps <= limits::STEPS_MAX)
            && place.sigmas.len() == steps + 1
            && usize::try_from(place.done).is_ok_and(|done| done < steps);
        if !sound {
            return Err(damaged("step"));
        }
        let rng = file.header().metadata.get("rng").and_then(|hex| unhex(hex));
        let rng = rng.ok_or_else(|| damaged("rng"))?;
        let latent = tensor(&file, LATENT)?.ok_or_else(|| StepFileError::Missing {
            path: path.to_path_buf(),
            what: LATENT,
        })?;
        if latent.dims() != shape {
            return Err(StepFileError::Shape {
                found: latent.dims().to_vec(),
                expected: shape.to_vec(),
            });
        }
        let names: Vec<String> = file.header().tensors.keys().cloned().collect();
        let mut history = Vec::new();
        for name in names.into_iter().filter(|name| name.starts_with(HISTORY)) {
            if let Some(tensor) = tensor(&file, &name)? {
                history.push((name, tensor));
            }
        }
        let start = tensor(&file, START_LATENTS)?.zip(tensor(&file, START_MASK)?);
        let keep = start.map(|(latents, mask)| Keep { latents, mask });
        if let Some(keep) = &keep
            && (keep.latents.dims() != shape || keep.mask.dims() != [1, 1, shape[2], shape[3]])
        {
            return Err(damaged("start"));
        }
        Ok(Self {
            latent,
            history,
            rng,
            seed: (story.spec.seed, story.spec.rng),
            place,
            keep,
        })
    }
}

fn about(file: &TensorFile) -> Result<(Story, Place), StepFileError> {
    let text = |what: &'static str| {
        let found = file.header().metadata.get(what);
        found.ok_or_else(|| StepFileError::Missing {
            path: file.path().to_path_buf(),
            what,
        })
    };
    let damaged = |what| StepFileError::Damaged {
        path: file.path().to_path_buf(),
        what,
    };
    let story = serde_json::from_str(text("hearth")?).map_err(|_| damaged("hearth"))?;
    let place = serde_json::from_str(text("step")?).map_err(|_| damaged("step"))?;
    Ok((story, place))
}

fn tensor(file: &TensorFile, name: &str) -> Result<Option<Tensor>, StepFileError> {
    let Some(entry) = file.header().tensors.get(name).cloned() else {
        return Ok(None);
    };
    let values = file.read(name, &entry)?;
    let damaged = |_| StepFileError::Damaged {
        path: file.path().to_path_buf(),
        what: "tensors",
    };
    let tensor = Tensor::from_vec(values, entry.shape.as_slice(), &Device::Cpu);
    tensor.map(Some).map_err(damaged)
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |four: u8| char::from(DIGITS[usize::from(four)]);
    let digits = bytes.iter().flat_map(|b| [digit(b >> 4), digit(b & 15)]);
    digits.collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |c: u8| {
        char::from(c)
            .to_digit(16)
            .and_then(|d| u8::try_from(d).ok())
    };
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            [] | [_] | [_, _, ..] => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_digits_come_back() {
        let bytes: Vec<u8> = (0..=255).collect();
        assert_eq!(unhex(&hex(&bytes)), Some(bytes));
        assert_eq!(unhex("abc"), None);
        assert_eq!(unhex("zz"), None);
    }
}
