//! One part of a warm model: its clean weights, and those a set of adapters changes.
//!
//! Copy on write: a module that no adapter touches shares its weights with the clean model; a touched
//! one gets weights of its own, made from the clean ones, which stay. So a set can be changed any number
//! of times without rounding adding up, and without reading the checkpoint again. At run time even
//! touched weights are shared and the products act on activations; what is no plain product is merged.
//!
//! Once a network has packed a module's weights for the kernels, that is the only copy: the tensor is let go
//! and had back from the packed form when a set needs it, bit for bit.

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

/// Weights in the one form they are kept in.
#[derive(Clone, Debug)]
enum Weight {
    /// As they were read or made.
    Tensor(Tensor),
    /// As the kernels want them.
    Packed(Packed),
}

/// A module's weights and bias.
#[derive(Clone, Debug)]
struct Held {
    weight: Weight,
    bias: Tensor,
}

#[derive(Debug)]
struct Layer {
    module: Module,
    held: Held,
}

/// What became of a touched module.
#[derive(Debug)]
struct Touched {
    /// What it has instead of the clean model's.
    own: Option<Held>,
    runtime: Option<Runtime>,
}

/// One part's weights, clean and as the current set has them.
#[derive(Debug)]
pub(crate) struct WarmPart {
    part: Part,
    clean: BTreeMap<String, Layer>,
    touched: BTreeMap<String, Touched>,
    mode: Mode,
}

impl WarmPart {
    /// Makes one that has no weights yet: a network built over [`reading`](Self::reading) brings them.
    pub(crate) fn new(part: Part) -> Self {
        Self {
            part,
            clean: BTreeMap::new(),
            touched: BTreeMap::new(),
            mode: Mode::Merged,
        }
    }

    /// Returns a source for the first network: it hands modules through from theirs and keeps them here,
    /// so that each is in memory as it was read only until it is packed.
    pub(crate) fn reading<'a>(&'a mut self, source: &'a mut dyn Source) -> Reading<'a> {
        Reading { warm: self, source }
    }

    /// Returns the mode that suits the weights as they are stored: half-width ones would have to be widened to
    /// be merged, and rounded again.
    pub(crate) fn mode(&self) -> Mode {
        self.mode
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

    /// Returns what a module has now: its own where adapters changed it, the clean model's otherwise.
    fn held(&mut self, path: &str) -> Option<&mut Held> {
        let own = self.touched.get_mut(path).and_then(|t| t.own.as_mut());
        own.or_else(|| Some(&mut self.clean.get_mut(path)?.held))
    }
}

/// Modules on their way from their source into a first network, see [`WarmPart::reading`].
pub(crate) struct Reading<'a> {
    warm: &'a mut WarmPart,
    source: &'a mut dyn Source,
}

impl Source for Reading<'_> {
    fn module(&mut self, module: Module) -> Result<(Tensor, Tensor), LoadError> {
        let (weight, bias) = self.source.module(module.clone())?;
        if weight.dtype() != DType::F32 {
            self.warm.mode = Mode::Runtime;
        }
        let held = Held {
            weight: Weight::Tensor(weight.clone()),
            bias: bias.clone(),
        };
        let path = module.path.clone();
        self.warm.clean.insert(path, Layer { module, held });
        Ok((weight, bias))
    }

    fn keep(&mut self, path: &str, packed: Packed) {
        self.warm.keep(path, packed);
    }
}

impl Source for WarmPart {
    fn module(&mut self, module: Module) -> Result<(Tensor, Tensor), LoadError> {
        let Some(held) = self.held(&module.path) else {
            return Err(LoadError::MissingTensor {
                part: self.part.name(),
                tensor: module.path,
            });
        };
        Ok((held.weight.tensor(&module.shape)?, held.bias.clone()))
    }

    fn packed(&mut self, path: &str) -> Option<(Packed, Tensor)> {
        let held = self.held(path)?;
        match &held.weight {
            Weight::Packed(packed) => Some((packed.clone(), held.bias.clone())),
            Weight::Tensor(_) => None,
        }
    }

    fn keep(&mut self, path: &str, packed: Packed) {
        if let Some(held) = self.held(path) {
            held.weight = Weight::Packed(packed);
        }
    }

    fn runtime(&mut self, path: &str) -> Option<Runtime> {
        self.touched.get(path)?.runtime.clone()
    }
}

impl Weight {
    fn tensor(&self, shape: &[usize]) -> candle_core::Result<Tensor> {
        match self {
            Self::Tensor(tensor) => Ok(tensor.clone()),
            // A 1x1 convolution is packed as the matrix it is.
            Self::Packed(packed) => packed.weight()?.reshape(shape),
        }
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
        let Held { weight, bias } = &self.held;
        let runtime = product
            .map(|product| Runtime::new(&product, &self.module, bias.device()))
            .transpose()?;
        let other_weight = if runtime.is_some() {
            None
        } else {
            changed(&weight.tensor(&self.module.shape)?, |clean| {
                effect.weight(clean, outer, Threads::One)
            })?
        };
        let other_bias = changed(bias, |clean| effect.bias(clean))?;
        if other_weight.is_none() && other_bias.is_none() {
            return Ok(Touched { own: None, runtime });
        }
        // Not shared as it is packed, since that may have the clean bias in it.
        let weight = match other_weight {
            Some(weight) => weight,
            None => weight.tensor(&self.module.shape)?,
        };
        let own = Some(Held {
            weight: Weight::Tensor(weight),
            bias: other_bias.unwrap_or_else(|| bias.clone()),
        });
        Ok(Touched { own, runtime })
    }
}

/// Returns a tensor of the same type, place and shape with changed values, if anything changes.
fn changed(
    clean: &Tensor,
    change: impl FnOnce(&[f32]) -> Option<Vec<f32>>,
) -> Result<Option<Tensor>, LoadError> {
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
        return Ok(None);
    };
    let changed = Tensor::from_vec(values, clean.dims(), &Device::Cpu)?;
    let changed = changed.to_dtype(clean.dtype())?;
    Ok(Some(changed.to_device(clean.device())?))
}
