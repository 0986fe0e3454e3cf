//! Adapters: what is found in a file, matched to a model's modules, as changes of their weights.
//!
//! Every kind comes down to "this change of module M" ([`delta`]): LoRA and `LoCon`, with a middle or
//! without, `LoHa`, `LoKr`, any of them under `DoRA`, IA3, OFT and full differences, by the names of
//! every tool ([`key`], [`names`]). A key without a place is listed, never dropped in silence; an adapter
//! for another base is refused. How changes meet weights is in [`set`] and [`warm`].
//!
//! Not read: `GLoRA`, butterfly OFT, `.set_weight`; their keys are listed as unmatched.

mod base;
mod delta;
mod key;
mod kind;
mod names;
mod read;
mod runtime;
mod scaling;
mod set;
pub(crate) mod swap;
mod warm;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::embedding;
use crate::modules::Module;
use crate::names::Part;
use crate::tensor_file::{TensorFile, TensorFileError, TensorHeader};
pub(crate) use base::{Base, base};
pub(crate) use kind::{AdapterKind, recognise};
pub(crate) use names::AdapterNames;
pub(crate) use runtime::Runtime;
pub(crate) use set::{AdapterSet, AdapterUse, SetKey, Strength};
pub(crate) use warm::WarmPart;

use delta::Change;
use names::Spelling;
use read::{Fault, Keys};
use scaling::Scaling;

/// Why an adapter cannot be applied to this checkpoint.
#[derive(Debug, Error)]
pub enum AdapterError {
    /// The file cannot be read.
    #[error(transparent)]
    TensorFile(#[from] TensorFileError),
    /// The `adapter_config.json` beside it is damaged.
    #[error("cannot understand {path}, which says how strong the adapter is")]
    Config {
        /// The file.
        path: PathBuf,
        /// The JSON parser's finding.
        #[source]
        source: serde_json::Error,
    },
    /// The `adapter_config.json` beside it is longer than any real one.
    #[error("{path} is too long for an adapter's configuration")]
    ConfigTooLong {
        /// The file.
        path: PathBuf,
    },
    /// No key of the file names a module of the checkpoint.
    #[error(
        "{path} names no layer of this checkpoint; its first key is {first_key}: it is for another architecture, or no adapter"
    )]
    NoneMatched {
        /// The file.
        path: PathBuf,
        /// A key, to recognise it by.
        first_key: String,
    },
    /// Key names or shapes are those of another architecture.
    #[error("{path} was made for {found}, this checkpoint is {expected}: choose one made for it")]
    OtherBase {
        /// The file.
        path: PathBuf,
        /// What it was made for.
        found: String,
        /// What the checkpoint is.
        expected: String,
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
        /// Outputs and inputs the adapter has, 0 where they cannot be told.
        got: Vec<usize>,
    },
    /// The tensors of a module contradict each other.
    #[error("{path} is damaged at {module}: {what}; get it again")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The module.
        module: String,
        /// The contradiction.
        what: &'static str,
    },
    /// A value is infinite or no number.
    #[error(
        "tensor {tensor} of {path} has a value that is not finite; its training failed: get another version"
    )]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
    },
}

/// An adapter's changes by part and module path, in memory.
#[derive(Debug)]
pub(crate) struct Adapter {
    changes: BTreeMap<(Part, String), Change>,
    /// Keys that have no effect, sorted.
    pub(crate) unmatched: Vec<String>,
}

impl Adapter {
    /// Reads an adapter for the model whose modules `names` has; `config` is the text of PEFT's
    /// `adapter_config.json`, if there is one.
    pub(crate) fn open(
        path: &Path,
        config: Option<&[u8]>,
        names: &AdapterNames,
    ) -> Result<Self, AdapterError> {
        let mut file = TensorFile::open(path)?;
        check_base(&file, names)?;
        let mut scaling = Scaling::from_metadata(&file.header().metadata);
        if let Some(config) = config {
            scaling
                .add_config(config)
                .map_err(|source| AdapterError::Config {
                    path: path.to_path_buf(),
                    source,
                })?;
        }
        let Matched {
            modules,
            mut unmatched,
        } = Matched::of(file.header(), names);
        let mut changes = BTreeMap::new();
        for ((part, module_path), (module, mut keys)) in modules {
            let all: Vec<_> = keys.values().map(|(key, _)| key.clone()).collect();
            let change = read::change(&mut file, module, &mut keys, scaling.part(part));
            match change {
                Ok(change) => {
                    unmatched.extend(keys.into_values().map(|(key, _)| key));
                    if let Some(change) = change {
                        changes.insert((part, module_path), change);
                    }
                }
                // An inpainting model's first layer has more channels than the model it came from.
                Err(Fault::Shape(_)) if module.path == "conv_in" => unmatched.extend(all),
                Err(fault) => return Err(fault.at(path, module)),
            }
        }
        if changes.is_empty() {
            let first_key = file.header().tensors.keys().next();
            return Err(AdapterError::NoneMatched {
                path: path.to_path_buf(),
                first_key: first_key.cloned().unwrap_or_default(),
            });
        }
        unmatched.sort();
        Ok(Self { changes, unmatched })
    }

    /// Returns the change of a module, if there is one.
    pub(crate) fn change(&self, part: Part, path: &str) -> Option<&Change> {
        self.changes.get(&(part, path.to_owned()))
    }

    /// Returns the paths of a part's modules that it changes.
    pub(crate) fn paths(&self, part: Part) -> impl Iterator<Item = &str> {
        let of_part = self.changes.keys().filter(move |(of, _)| *of == part);
        of_part.map(|(_, path)| path.as_str())
    }
}

impl Fault {
    fn at(self, path: &Path, module: &Module) -> AdapterError {
        let (path, name) = (path.to_path_buf(), module.path.clone());
        match self {
            Self::File(error) => error.into(),
            Self::Shape(got) => AdapterError::WrongBase {
                path,
                module: name,
                expected: module.shape.clone(),
                got: got.to_vec(),
            },
            Self::Malformed(what) => AdapterError::Malformed {
                path,
                module: name,
                what,
            },
            Self::NotFinite(tensor) => AdapterError::NotFinite { path, tensor },
        }
    }
}

fn check_base(file: &TensorFile, names: &AdapterNames) -> Result<(), AdapterError> {
    match base(file.header()) {
        Some(found) if found != names.base() => Err(AdapterError::OtherBase {
            path: file.path().to_path_buf(),
            found: found.to_string(),
            expected: names.base().to_string(),
        }),
        Some(_) | None => Ok(()),
    }
}

/// A file's keys by the modules they belong to.
#[derive(Debug)]
struct Matched<'a> {
    modules: BTreeMap<(Part, String), (&'a Module, Keys)>,
    unmatched: Vec<String>,
}

impl<'a> Matched<'a> {
    fn of(header: &TensorHeader, names: &'a AdapterNames) -> Self {
        let mut unmatched = Vec::new();
        let mut by_name: BTreeMap<String, Keys> = BTreeMap::new();
        for (key, entry) in &header.tensors {
            // Textual inversions travelling along; crate::embedding reads them.
            if embedding::is_bundled(key) {
                continue;
            }
            let Some((name, role)) = key::split(key) else {
                unmatched.push(key.clone());
                continue;
            };
            let keys = by_name.entry(name).or_default();
            if let Some((twin, _)) = keys.insert(role, (key.clone(), entry.clone())) {
                unmatched.push(twin);
            }
        }
        let mut found: BTreeMap<(Part, String), (Spelling, &Module, Keys)> = BTreeMap::new();
        let keys_of = |keys: Keys| keys.into_values().map(|(key, _)| key);
        for (name, keys) in by_name {
            let Some((spelling, part, module)) = names.find(&name) else {
                unmatched.extend(keys_of(keys));
                continue;
            };
            let place = (part, module.path.clone());
            let loser = match found.get(&place) {
                Some((taken, ..)) if *taken <= spelling => keys,
                Some(_) | None => match found.insert(place, (spelling, module, keys)) {
                    Some((.., loser)) => loser,
                    None => continue,
                },
            };
            unmatched.extend(keys_of(loser));
        }
        let modules = found
            .into_iter()
            .map(|(place, (_, module, keys))| (place, (module, keys)))
            .collect();
        Self { modules, unmatched }
    }
}

#[cfg(test)]
mod tests;
