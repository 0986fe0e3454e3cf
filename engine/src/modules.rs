//! The canonical module table: which layers an architecture has, by name, for any configuration.
//!
//! A model is built by walking a [`Scope`] that hands out weights by path and shape. Built over real
//! files it loads ([`crate::weights`]); built over a [`Recorder`] it lists its modules without
//! touching a file. So loading, the names adapters use, folder checks and the tiny model's writer
//! all come from the one walk and cannot disagree.

use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use hearth_kernels::conv::PackedConv;
use hearth_kernels::linear::PackedLinear;

use crate::adapter::Runtime;
use crate::load::LoadError;
pub(crate) use crate::names::Part;

/// What a module's weight does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `[out, in]`, or a 1x1 convolution's `[out, in, 1, 1]`.
    Linear,
    /// `[out, in, k, k]`.
    Conv,
    /// Scale and shift of a normalisation.
    Norm,
    /// A table of vectors.
    Embedding,
}

/// A layer with weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Module {
    /// Path in diffusers' (or transformers') dotted notation, without a part's prefix.
    pub(crate) path: String,
    pub(crate) kind: Kind,
    /// Shape of `weight`.
    pub(crate) shape: Vec<usize>,
    /// Whether there is a `bias` of the first dimension's length.
    pub(crate) bias: Bias,
}

/// Whether a module has a bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bias {
    Present,
    Absent,
}

impl Module {
    /// Returns whether an adapter may change it.
    pub(crate) fn adaptable(&self) -> bool {
        matches!(self.kind, Kind::Linear | Kind::Conv)
    }

    /// Returns how many numbers its weight and bias are.
    #[cfg(test)]
    pub(crate) fn parameters(&self) -> usize {
        let bias = match self.bias {
            Bias::Present => self.shape[0],
            Bias::Absent => 0,
        };
        self.shape.iter().product::<usize>() + bias
    }
}

/// A layer's weights as the kernels rearrange them: made once, shared by every model built over them.
#[derive(Clone, Debug)]
pub(crate) enum Packed {
    Linear(Arc<PackedLinear>),
    /// With the gate fused in, which orders outputs differently.
    Gated(Arc<PackedLinear>),
    Conv(Arc<PackedConv>),
}

impl Packed {
    pub(crate) fn linear(self) -> Option<Arc<PackedLinear>> {
        match self {
            Self::Linear(packed) => Some(packed),
            Self::Gated(_) | Self::Conv(_) => None,
        }
    }

    pub(crate) fn gated(self) -> Option<Arc<PackedLinear>> {
        match self {
            Self::Gated(packed) => Some(packed),
            Self::Linear(_) | Self::Conv(_) => None,
        }
    }

    pub(crate) fn conv(self) -> Option<Arc<PackedConv>> {
        match self {
            Self::Conv(packed) => Some(packed),
            Self::Linear(_) | Self::Gated(_) => None,
        }
    }

    /// Returns the weights that were packed, bit for bit.
    pub(crate) fn weight(&self) -> candle_core::Result<Tensor> {
        match self {
            Self::Linear(packed) | Self::Gated(packed) => packed.weight(),
            Self::Conv(packed) => packed.weight(),
        }
    }
}

/// Where a model's weights come from.
pub(crate) trait Source {
    /// Returns a module's weight, and its bias as zeros where it has none.
    fn module(&mut self, module: Module) -> Result<(Tensor, Tensor), LoadError>;

    /// Returns a module's weights as they were packed for an earlier model, if they are the same still,
    /// and its bias.
    fn packed(&mut self, _path: &str) -> Option<(Packed, Tensor)> {
        None
    }

    /// Is told what a module's weights were packed into: to keep that instead of the weights, which can
    /// be had back from it, and to return it when the model is built again.
    fn keep(&mut self, _path: &str, _packed: Packed) {}

    /// Returns what adapters add to a module's output at run time.
    fn runtime(&mut self, _path: &str) -> Option<Runtime> {
        None
    }
}

/// A place in the tree of modules.
pub(crate) struct Scope<'a> {
    source: &'a mut dyn Source,
    path: String,
}

impl<'a> Scope<'a> {
    pub(crate) fn root(source: &'a mut dyn Source) -> Self {
        Self {
            source,
            path: String::new(),
        }
    }

    /// Returns the scope `name` (dots allowed) below this one.
    pub(crate) fn at(&mut self, name: impl AsRef<str>) -> Scope<'_> {
        let path = match self.path.as_str() {
            "" => name.as_ref().to_owned(),
            path => format!("{path}.{}", name.as_ref()),
        };
        Scope {
            source: self.source,
            path,
        }
    }

    /// Returns weight and bias of the module at this very path.
    pub(crate) fn module(
        &mut self,
        kind: Kind,
        shape: &[usize],
        bias: Bias,
    ) -> Result<(Tensor, Tensor), LoadError> {
        let module = Module {
            path: self.path.clone(),
            kind,
            shape: shape.to_vec(),
            bias,
        };
        self.source.module(module)
    }

    /// Returns this module's bias, and its weights packed: as an earlier model's are, if `pick` takes
    /// those, or by `pack`.
    pub(crate) fn packed<T>(
        &mut self,
        (kind, shape, bias): (Kind, &[usize], Bias),
        pick: impl FnOnce(Packed) -> Option<Arc<T>>,
        wrap: impl FnOnce(Arc<T>) -> Packed,
        pack: impl FnOnce(&Tensor, &Tensor) -> candle_core::Result<T>,
    ) -> Result<(Arc<T>, Tensor), LoadError> {
        if let Some((packed, bias)) = self.source.packed(&self.path)
            && let Some(packed) = pick(packed)
        {
            return Ok((packed, bias));
        }
        let (weight, bias) = self.module(kind, shape, bias)?;
        let packed = Arc::new(pack(&weight, &bias)?);
        self.source.keep(&self.path, wrap(Arc::clone(&packed)));
        Ok((packed, bias))
    }

    /// Returns what adapters add to this module's output at run time.
    pub(crate) fn runtime(&mut self) -> Option<Runtime> {
        self.source.runtime(&self.path)
    }
}

/// A source that notes what is asked for and gives stand-ins of the right rank, which cost nothing to
/// arrange.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    modules: Vec<Module>,
}

impl Source for Recorder {
    fn module(&mut self, module: Module) -> Result<(Tensor, Tensor), LoadError> {
        // Two outputs, since a gated layer's are halved.
        let mut shape = vec![1; module.shape.len()];
        shape[0] = 2;
        let weight = Tensor::zeros(shape, DType::F32, &Device::Cpu)?;
        let bias = Tensor::zeros(2, DType::F32, &Device::Cpu)?;
        self.modules.push(module);
        Ok((weight, bias))
    }
}

/// A source of small weights that differ everywhere, each a function of its module's path.
#[cfg(test)]
#[derive(Debug)]
pub(crate) struct Scattered {
    /// What the weights are rounded to.
    pub(crate) dtype: DType,
    /// Whether rounded weights are given as `f32` again.
    pub(crate) widened: bool,
}

#[cfg(test)]
impl Source for Scattered {
    fn module(&mut self, module: Module) -> Result<(Tensor, Tensor), LoadError> {
        let seed = module.path.bytes().fold(1_u64, |seed, byte| {
            seed.wrapping_mul(0x0100_0000_01b3) ^ u64::from(byte)
        });
        let count = module.shape.iter().product::<usize>();
        let fan_in = (count / module.shape[0]).max(1) as f32;
        let normed = module.kind == Kind::Norm;
        let value = |i: usize| {
            let mixed = (seed ^ i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
            mixed as f32 / (1 << 23) as f32 - 1.0
        };
        let weight = (0..count).map(|i| match normed {
            true => 1.0 + 0.1 * value(i),
            false => value(i) * (3.0 / fan_in).sqrt(),
        });
        let weight: Vec<f32> = weight.collect();
        let bias: Vec<f32> = match module.bias {
            Bias::Present => (0..module.shape[0]).map(|i| 0.1 * value(!i)).collect(),
            Bias::Absent => vec![0.0; module.shape[0]],
        };
        let stored = |values: Vec<f32>, shape: &[usize]| {
            let tensor = Tensor::from_vec(values, shape, &Device::Cpu)?.to_dtype(self.dtype)?;
            if self.widened {
                tensor.to_dtype(DType::F32)
            } else {
                Ok(tensor)
            }
        };
        Ok((
            stored(weight, &module.shape)?,
            stored(bias, &module.shape[..1])?,
        ))
    }
}

#[cfg(test)]
impl Scattered {
    pub(crate) fn in_f32() -> Self {
        Self {
            dtype: DType::F32,
            widened: false,
        }
    }
}

/// Lists the modules that `build` asks for.
pub(crate) fn record<T>(
    build: impl FnOnce(Scope<'_>) -> Result<T, LoadError>,
) -> Result<Vec<Module>, LoadError> {
    let mut recorder = Recorder::default();
    build(Scope::root(&mut recorder))?;
    Ok(recorder.modules)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clip::{ClipConfig, ClipText};
    use crate::unet::{Unet, UnetConfig};

    #[test]
    fn stable_diffusion_1_has_the_modules_kohya_trains() {
        // Attention and feed-forward layers with their projections: 192 in the UNet, 72 in CLIP-L.
        let unet = record(|scope| Unet::new(&UnetConfig::stable_diffusion_1(), scope)).unwrap();
        let trained = |m: &&Module| m.adaptable() && m.path.contains("attentions");
        assert_eq!(unet.iter().filter(trained).count(), 192);
        let text = record(|scope| ClipText::new(&ClipConfig::clip_l(), scope)).unwrap();
        assert_eq!(text.iter().filter(|m| m.adaptable()).count(), 72);
        let parameters: usize = unet.iter().map(Module::parameters).sum();
        assert_eq!(parameters, 859_520_964);
    }
}
