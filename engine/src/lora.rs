//! LoRA adapters: found in a file, matched to modules, merged into weights.
//!
//! Every adapter comes down to "add this low-rank product to the weight of module M". Linear and
//! convolution LoRA are merged; a LoHa, `LoKr`, `DoRA` or Tucker key is listed as unmatched, never dropped
//! in silence. An adapter for another architecture is refused.

mod keys;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::modules::Module;
use crate::names::{AdapterNames, Part};
use crate::tensor_file::{TensorFile, TensorFileError};
use hearth_kernels::matmul::{Mat, MatMut, Onto, Threads, matmul};
pub(crate) use keys::{Base, Role, base, split};

/// Why an adapter cannot be applied to this checkpoint.
#[derive(Debug, Error)]
pub enum LoraError {
    /// The file cannot be read.
    #[error(transparent)]
    TensorFile(#[from] TensorFileError),
    /// No key of the file names a module of the checkpoint.
    #[error(
        "{path} names no layer of this checkpoint; its first key is {first_key}: it is for another architecture, or no LoRA"
    )]
    NoneMatched {
        /// The file.
        path: PathBuf,
        /// A key, to recognise it by.
        first_key: String,
    },
    /// Key names or shapes are those of another architecture.
    #[error(
        "{path} was made for {base}, this checkpoint is Stable Diffusion 1: choose a LoRA made for it"
    )]
    OtherArchitecture {
        /// The file.
        path: PathBuf,
        /// What it was made for.
        base: &'static str,
    },
    /// A matched layer has another size in the checkpoint.
    #[error(
        "{path} has {module} for a layer of {got:?}, this checkpoint's is {expected:?}: it was made for another base"
    )]
    WrongBase {
        /// The file.
        path: PathBuf,
        /// The module.
        module: String,
        /// Shape of the checkpoint's weight.
        expected: Vec<usize>,
        /// Output and input width the adapter has, as far as they can be told.
        got: Vec<usize>,
    },
}

/// A low-rank addition to one weight.
#[derive(Clone, Debug)]
pub(crate) struct Delta {
    /// `[out, rank]`.
    up: Vec<f32>,
    /// `[rank, in]`, with the kernel of a convolution flattened into `in`.
    down: Vec<f32>,
    rank: usize,
    scale: f32,
}

impl Delta {
    /// Adds the product to a weight of `[out, in...]`.
    pub(crate) fn add_to(&self, weight: &mut [f32]) {
        let (outer, inner) = (self.up.len() / self.rank, self.down.len() / self.rank);
        assert_eq!(weight.len(), outer * inner, "a delta was matched by shape");
        matmul(
            MatMut::new(weight, outer, inner, inner),
            Onto::Add,
            Mat::new(&self.up, outer, self.rank, self.rank),
            Mat::new(&self.down, self.rank, inner, inner),
            self.scale,
            Threads::All,
        );
    }
}

/// How strongly an adapter is applied to each part.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Strength {
    pub(crate) unet: f64,
    pub(crate) text: f64,
}

/// Deltas by part and module path, from all adapters of a job.
#[derive(Debug, Default)]
pub(crate) struct Deltas {
    by_part: BTreeMap<Part, BTreeMap<String, Vec<Delta>>>,
}

impl Deltas {
    /// Takes out what is meant for one part.
    pub(crate) fn take(&mut self, part: Part) -> BTreeMap<String, Vec<Delta>> {
        self.by_part.remove(&part).unwrap_or_default()
    }

    /// Adds an adapter's deltas and returns the keys that matched nothing.
    pub(crate) fn add_file(
        &mut self,
        path: &Path,
        names: &AdapterNames,
        strength: Strength,
    ) -> Result<Vec<String>, LoraError> {
        let mut file = TensorFile::open(path)?;
        let adapter = Adapter::collect(&file);
        if let Base::Other(base) = base(file.header()) {
            return Err(LoraError::OtherArchitecture {
                path: path.to_path_buf(),
                base,
            });
        }
        let mut unmatched = adapter.foreign;
        let mut matched = 0_usize;
        for (name, keys) in adapter.modules {
            let (Some((part, module)), Some((up, down))) = (names.find(&name), keys.pair()) else {
                unmatched.extend(keys.all());
                continue;
            };
            let strength = match part {
                Part::Unet | Part::Vae => strength.unet,
                Part::Text | Part::Text2 => strength.text,
            };
            let alpha = keys.alpha.as_deref();
            let delta = read_delta(&mut file, module, (up, down, alpha), strength)?;
            let deltas = self.by_part.entry(*part).or_default();
            deltas.entry(module.path.clone()).or_default().push(delta);
            matched += 1;
        }
        if matched == 0 {
            let first_key = file
                .header()
                .tensors
                .keys()
                .next()
                .cloned()
                .unwrap_or_default();
            return Err(LoraError::NoneMatched {
                path: path.to_path_buf(),
                first_key,
            });
        }
        unmatched.sort();
        Ok(unmatched)
    }
}

/// The keys of one module in an adapter's file.
#[derive(Debug, Default)]
struct ModuleKeys {
    up: Option<String>,
    down: Option<String>,
    alpha: Option<String>,
}

impl ModuleKeys {
    fn pair(&self) -> Option<(&str, &str)> {
        self.up.as_deref().zip(self.down.as_deref())
    }

    fn all(self) -> impl Iterator<Item = String> {
        [self.up, self.down, self.alpha].into_iter().flatten()
    }
}

/// An adapter's keys grouped by module name.
#[derive(Debug, Default)]
struct Adapter {
    modules: BTreeMap<String, ModuleKeys>,
    /// Keys of no role known here.
    foreign: Vec<String>,
}

impl Adapter {
    fn collect(file: &TensorFile) -> Self {
        let mut adapter = Self::default();
        for key in file.header().tensors.keys() {
            let Some((name, role)) = split(key) else {
                adapter.foreign.push(key.clone());
                continue;
            };
            let keys = adapter.modules.entry(name).or_default();
            let place = match role {
                Role::Up => &mut keys.up,
                Role::Down => &mut keys.down,
                Role::Alpha => &mut keys.alpha,
            };
            if let Some(other) = place.replace(key.clone()) {
                adapter.foreign.push(other);
            }
        }
        adapter
    }
}

fn read_delta(
    file: &mut TensorFile,
    module: &Module,
    (up, down, alpha): (&str, &str, Option<&str>),
    strength: f64,
) -> Result<Delta, LoraError> {
    let entry = |key: &str| file.header().tensors[key].clone();
    let (up_entry, down_entry) = (entry(up), entry(down));
    let outer = module.shape[0];
    let inner: usize = module.shape[1..].iter().product();
    let rank = down_entry.shape.first().copied().unwrap_or(0);
    let fits = rank > 0
        && up_entry.shape.first() == Some(&outer)
        && up_entry.elements() == outer * rank
        && down_entry.elements() == rank * inner;
    if !fits {
        let width = |shape: &[usize], i: usize| shape.get(i).copied().unwrap_or(0);
        return Err(LoraError::WrongBase {
            path: file.path().to_path_buf(),
            module: module.path.clone(),
            expected: module.shape.clone(),
            got: vec![width(&up_entry.shape, 0), width(&down_entry.shape, 1)],
        });
    }
    let alpha = match alpha.map(|key| (key, entry(key))) {
        Some((key, entry)) if entry.elements() == 1 => file.read(key, &entry)?.first().copied(),
        Some(_) | None => None,
    };
    let factor = alpha.map_or(1.0, |alpha| f64::from(alpha) / rank as f64);
    Ok(Delta {
        up: file.read(up, &up_entry)?,
        down: file.read(down, &down_entry)?,
        rank,
        scale: rounded(factor * strength),
    })
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "rounding to f32 is the point"
)]
fn rounded(x: f64) -> f32 {
    x as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delta_is_up_times_down_scaled() {
        let delta = Delta {
            up: vec![1.0, 2.0],
            down: vec![3.0, 4.0, 5.0],
            rank: 1,
            scale: 0.5,
        };
        let mut weight = vec![1.0; 6];
        delta.add_to(&mut weight);
        assert_eq!(weight, [2.5, 3.0, 3.5, 4.0, 5.0, 6.0]);
    }
}
