//! One part of a warm model: its clean weights, and those a set of adapters changes.
//!
//! Copy on write: a module that no adapter touches shares its tensors with the clean model; a touched
//! one gets tensors of its own, made from the clean ones, which stay. So a set can be changed any number
//! of times without rounding adding up, and without reading the checkpoint again. At run time even
//! touched weights are shared and the products act on activations; what is no plain product is merged.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use hearth_kernels::matmul::Threads;
use rayon::prelude::*;

use super::runtime::Runtime;
use super::set::AdapterSet;
use crate::load::LoadError;
use crate::modules::{Kind, Module, Packed, Source};
use crate::names::Part;

/// How adapters meet weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Added to weights: no cost while drawing, memory for every touched module.
    Merged,
    /// Applied to activations where possible: some cost while drawing, no copies, sets change at once.
    Runtime,
}

impl Mode {
    /// Returns what suits weights stored as they are: half-width ones would have to be widened to be
    /// merged, and rounded again.
    pub(crate) fn for_weights(dtype: DType) -> Self {
        if dtype == DType::F32 {
            Self::Merged
        } else {
            Self::Runtime
        }
    }
}

/// A module's tensors.
#[derive(Clone, Debug)]
struct Layer {
    module: Module,
    weight: Tensor,
    bias: Tensor,
}

/// What became of a touched module.
#[derive(Clone, Debug)]
struct Touched {
    weight: Tensor,
    bias: Tensor,
    runtime: Option<Runtime>,
}

/// One part's weights, clean and as the current set has them.
#[derive(Debug)]
pub(crate) struct WarmPart {
    part: Part,
    clean: BTreeMap<String, Layer>,
    /// The clean weights as the kernels have them, so that a model built again shares them.
    packed: BTreeMap<String, Packed>,
    touched: BTreeMap<String, Touched>,
}

impl WarmPart {
    /// Takes the modules of a part from their source.
    pub(crate) fn read(
        part: Part,
        modules: Vec<Module>,
        source: &mut dyn Source,
    ) -> Result<Self, LoadError> {
        let mut clean = BTreeMap::new();
        for module in modules {
            let (weight, bias) = source.module(module.clone())?;
            let path = module.path.clone();
            let layer = Layer {
                module,
                weight,
                bias,
            };
            clean.insert(path, layer);
        }
        Ok(Self {
            part,
            clean,
            packed: BTreeMap::new(),
            touched: BTreeMap::new(),
        })
    }

    /// Returns the mode that suits the weights as they are stored.
    pub(crate) fn mode(&self) -> Mode {
        let narrow = |layer: &&Layer| layer.weight.dtype() != DType::F32;
        let narrow = self.clean.values().find(narrow);
        Mode::for_weights(narrow.map_or(DType::F32, |layer| layer.weight.dtype()))
    }

    /// Makes the weights what a set wants them to be, forgetting the set before. Modules are done in
    /// parallel, each on one thread, so the result does not depend on how many there are.
    pub(crate) fn apply(&mut self, set: &AdapterSet, mode: Mode) -> Result<(), LoadError> {
        self.touched.clear();
        let layers: Vec<_> = set
            .touched(self.part)
            .into_iter()
            .filter_map(|path| self.clean.get_key_value(path))
            .collect();
        let touched: Result<BTreeMap<_, _>, LoadError> = layers
            .into_par_iter()
            .map(|(path, layer)| Ok((path.clone(), layer.touched(self.part, set, mode)?)))
            .collect();
        self.touched = touched?;
        Ok(())
    }
}

impl WarmPart {
    /// Returns whether a module's weight and bias are those of the clean model now.
    fn is_clean(&self, path: &str) -> bool {
        let (Some(touched), Some(clean)) = (self.touched.get(path), self.clean.get(path)) else {
            return true;
        };
        touched.weight.id() == clean.weight.id() && touched.bias.id() == clean.bias.id()
    }
}

impl Source for WarmPart {
    fn module(&mut self, module: Module) -> Result<(Tensor, Tensor), LoadError> {
        let touched = self.touched.get(&module.path);
        let touched = touched.map(|layer| (layer.weight.clone(), layer.bias.clone()));
        let clean = || {
            let layer = self.clean.get(&module.path)?;
            Some((layer.weight.clone(), layer.bias.clone()))
        };
        touched
            .or_else(clean)
            .ok_or_else(|| LoadError::MissingTensor {
                part: self.part.name(),
                tensor: module.path,
            })
    }

    fn packed(&mut self, path: &str) -> Option<Packed> {
        let kept = self.packed.get(path)?;
        self.is_clean(path).then(|| kept.clone())
    }

    fn keep(&mut self, path: &str, packed: Packed) {
        if self.is_clean(path) {
            self.packed.insert(path.to_owned(), packed);
        }
    }

    fn runtime(&mut self, path: &str) -> Option<Runtime> {
        self.touched.get(path)?.runtime.clone()
    }
}

impl Layer {
    fn touched(&self, part: Part, set: &AdapterSet, mode: Mode) -> Result<Touched, LoadError> {
        let effect = set.effect(part, &self.module.path);
        let outer = self.module.shape[0];
        let product = match (mode, self.module.kind) {
            (Mode::Runtime, Kind::Linear | Kind::Conv) => effect.product(),
            (Mode::Merged | Mode::Runtime, _) => None,
        };
        let runtime = product
            .map(|product| Runtime::new(&product, &self.module, self.weight.device()))
            .transpose()?;
        let weight = if runtime.is_some() {
            self.weight.clone()
        } else {
            changed(&self.weight, |clean| {
                effect.weight(clean, outer, Threads::One)
            })?
        };
        let bias = changed(&self.bias, |clean| effect.bias(clean))?;
        Ok(Touched {
            weight,
            bias,
            runtime,
        })
    }
}

/// Returns a tensor of the same type, place and shape with changed values, or itself if nothing changes.
fn changed(
    clean: &Tensor,
    change: impl FnOnce(&[f32]) -> Option<Vec<f32>>,
) -> Result<Tensor, LoadError> {
    let plain = clean
        .to_device(&Device::Cpu)?
        .to_dtype(DType::F32)?
        .contiguous()?;
    let values = {
        let (storage, layout) = plain.storage_and_layout();
        let candle_core::Storage::Cpu(storage) = &*storage else {
            unreachable!("it was brought to the CPU");
        };
        let (start, end) = layout.contiguous_offsets().expect("it was made contiguous");
        change(&storage.as_slice::<f32>()?[start..end])
    };
    let Some(values) = values else {
        return Ok(clean.clone());
    };
    let changed = Tensor::from_vec(values, clean.dims(), &Device::Cpu)?;
    Ok(changed.to_dtype(clean.dtype())?.to_device(clean.device())?)
}
