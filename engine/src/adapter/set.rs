//! The adapters of a job with their weights, as one thing: what it does to a module, and its identity.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use hearth_kernels::matmul::Threads;
use hearth_protocol::job::Micro;

use super::delta::{Change, LowRank, rounded};
use super::scaling::CONFIG_BYTES_MAX;
use super::{Adapter, AdapterError, AdapterNames};
use crate::names::Part;
use crate::tensor_file::TensorFileError;

/// How strongly an adapter is applied to each part, zero leaving it as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Strength {
    pub(crate) unet: Micro,
    /// In the first text encoder.
    pub(crate) text: Micro,
    /// In the second one.
    pub(crate) text2: Micro,
}

impl Strength {
    /// Returns one weight for the UNet and one for every text encoder, as prompts give them.
    pub(crate) fn new(unet: Micro, text: Micro) -> Self {
        Self {
            unet,
            text,
            text2: text,
        }
    }

    fn of(self, part: Part) -> f32 {
        let micro = match part {
            Part::Unet => self.unet,
            Part::Text => self.text,
            Part::Text2 => self.text2,
            Part::Vae => return 0.0,
        };
        rounded(micro.value())
    }
}

/// An adapter to be applied.
#[derive(Clone, Debug)]
pub(crate) struct AdapterUse {
    pub(crate) path: PathBuf,
    /// PEFT's `adapter_config.json`, if the adapter came with one.
    pub(crate) config: Option<PathBuf>,
    pub(crate) strength: Strength,
}

/// Names a file's content as far as the file system tells.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct FileId {
    path: PathBuf,
    bytes: u64,
    modified: Option<SystemTime>,
}

impl FileId {
    fn of(path: &PathBuf) -> Result<Self, AdapterError> {
        let metadata = std::fs::metadata(path).map_err(|source| TensorFileError::Io {
            path: path.clone(),
            source,
        })?;
        Ok(Self {
            path: path.clone(),
            bytes: metadata.len(),
            modified: metadata.modified().ok(),
        })
    }
}

/// Names a set: sorted, so that the order in a prompt changes nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SetKey(Vec<(FileId, Option<FileId>, Strength)>);

impl SetKey {
    /// Names the set of these uses without opening anything.
    pub(crate) fn of(uses: &[AdapterUse]) -> Result<Self, AdapterError> {
        let mut key = uses
            .iter()
            .map(|adapter| {
                let config = adapter.config.as_ref().map(FileId::of).transpose()?;
                Ok((FileId::of(&adapter.path)?, config, adapter.strength))
            })
            .collect::<Result<Vec<_>, AdapterError>>()?;
        key.sort();
        Ok(Self(key))
    }
}

/// Adapters in memory with their weights, in the order of their key.
#[derive(Clone, Debug, Default)]
pub(crate) struct AdapterSet {
    key: SetKey,
    adapters: Vec<Arc<Adapter>>,
}

impl AdapterSet {
    /// Opens the adapters of a key, taking those that `previous` has already from there.
    pub(crate) fn open(
        key: SetKey,
        names: &AdapterNames,
        previous: &Self,
    ) -> Result<Self, AdapterError> {
        let adapters = key
            .0
            .iter()
            .map(|(file, config, _)| {
                let kept = previous.key.0.iter().zip(&previous.adapters);
                let same = |(other, other_config, _): &(FileId, Option<FileId>, Strength)| {
                    (other, other_config) == (file, config)
                };
                if let Some((_, adapter)) = kept.into_iter().find(|(key, _)| same(key)) {
                    return Ok(Arc::clone(adapter));
                }
                let config = config.as_ref().map(read_config).transpose()?;
                Adapter::open(&file.path, config.as_deref(), names).map(Arc::new)
            })
            .collect::<Result<_, AdapterError>>()?;
        Ok(Self { key, adapters })
    }

    /// Returns what names this set.
    pub(crate) fn key(&self) -> &SetKey {
        &self.key
    }

    /// Returns each adapter's path with its keys that have no effect.
    pub(crate) fn unmatched(&self) -> impl Iterator<Item = (&PathBuf, &[String])> {
        let uses = self.key.0.iter().zip(&self.adapters);
        uses.map(|((file, ..), adapter)| (&file.path, &*adapter.unmatched))
    }

    /// Returns the paths of a part's modules that change.
    pub(crate) fn touched(&self, part: Part) -> BTreeSet<&str> {
        self.strong(part)
            .flat_map(|(adapter, _)| adapter.paths(part))
            .collect()
    }

    /// Returns what is done to one module.
    pub(crate) fn effect(&self, part: Part, path: &str) -> Effect<'_> {
        let changes = self
            .strong(part)
            .filter_map(|(adapter, strength)| Some((adapter.change(part, path)?, strength)));
        Effect(changes.collect())
    }

    #[cfg(test)]
    pub(super) fn shares_with(&self, other: &Self) -> bool {
        let mut pairs = self.adapters.iter().zip(&other.adapters);
        pairs.all(|(a, b)| Arc::ptr_eq(a, b))
    }

    fn strong(&self, part: Part) -> impl Iterator<Item = (&Adapter, f32)> {
        let uses = self.key.0.iter().zip(&self.adapters);
        uses.map(move |((.., strength), adapter)| (&**adapter, strength.of(part)))
            .filter(|(_, strength)| *strength != 0.0)
    }
}

fn read_config(file: &FileId) -> Result<Vec<u8>, AdapterError> {
    if file.bytes > CONFIG_BYTES_MAX as u64 {
        return Err(AdapterError::ConfigTooLong {
            path: file.path.clone(),
        });
    }
    let read = std::fs::read(&file.path);
    Ok(read.map_err(|source| TensorFileError::Io {
        path: file.path.clone(),
        source,
    })?)
}

/// What a set does to one module: changes with their strengths. Each is relative to the clean weight, so
/// they add up.
#[derive(Debug)]
pub(crate) struct Effect<'a>(Vec<(&'a Change, f32)>);

impl Effect<'_> {
    /// Returns the module's weight, rows of `outer` outputs, with all changes added; nothing if none
    /// touches it.
    pub(crate) fn weight(&self, clean: &[f32], outer: usize, threads: Threads) -> Option<Vec<f32>> {
        self.0.iter().find(|(change, _)| change.weight.is_some())?;
        let mut weight = clean.to_vec();
        for (change, strength) in &self.0 {
            change.add_to(clean, &mut weight, outer, *strength, threads);
        }
        Some(weight)
    }

    /// Returns the module's bias with all changes added; nothing if none touches it.
    pub(crate) fn bias(&self, clean: &[f32]) -> Option<Vec<f32>> {
        self.0.iter().find(|(change, _)| change.bias.is_some())?;
        let mut bias = clean.to_vec();
        for (change, strength) in &self.0 {
            if let Some(delta) = &change.bias {
                delta.add_to(clean, &mut bias, *strength);
            }
        }
        Some(bias)
    }

    /// Returns all changes of the weight as one product with the scales multiplied into `up`, if they all
    /// are products.
    pub(crate) fn product(&self) -> Option<LowRank> {
        let weights = self.0.iter().filter(|(change, _)| change.weight.is_some());
        let products = weights
            .map(|(change, strength)| {
                let (product, scale) = change.low_rank()?;
                Some((product, scale * strength))
            })
            .collect::<Option<Vec<_>>>()?;
        LowRank::sum(&products)
    }
}
