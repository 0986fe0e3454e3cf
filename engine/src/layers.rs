//! The layers all three models are made of, over the fused kernels.
//!
//! Weights are arranged for the processor once, when a layer is built, in the type they come in. On a
//! CPU all computing is in `f32`; on other devices in the weights' own type.

use std::sync::Arc;

use candle_core::{D, DType, Result, Tensor};

use crate::adapter::Runtime;
use crate::load::LoadError;
use crate::modules::{Bias, Kind, Packed, Scope};
use hearth_kernels::activation::geglu;
use hearth_kernels::conv::{Edge, Geometry, PackedConv};
use hearth_kernels::linear::{Out, PackedLinear};
use hearth_kernels::norm::{self, Then};

/// How a forward pass treats every layer it comes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pass {
    /// What convolutions see beyond the picture's edge: [`Edge::Wrap`] makes pictures that tile.
    pub(crate) edge: Edge,
}

impl Pass {
    /// An ordinary picture.
    pub(crate) const PLAIN: Self = Self { edge: Edge::Zero };
    /// A picture without seams when it is laid beside itself.
    pub(crate) const SEAMLESS: Self = Self { edge: Edge::Wrap };
}

/// Returns a tensor in the type its device computes in.
pub(crate) fn computing(tensor: &Tensor) -> Result<Tensor> {
    if tensor.device().is_cpu() {
        tensor.to_dtype(DType::F32)
    } else {
        Ok(tensor.clone())
    }
}

/// `x * weight^T + bias` over `[batch, tokens, channels]`.
#[derive(Debug)]
pub(crate) struct Linear {
    packed: Arc<PackedLinear>,
    adapters: Option<Runtime>,
}

impl Linear {
    pub(crate) fn new(
        mut scope: Scope<'_>,
        shape: (usize, usize),
    ) -> std::result::Result<Self, LoadError> {
        Self::with(&mut scope, &[shape.1, shape.0], Bias::Present)
    }

    pub(crate) fn without_bias(
        mut scope: Scope<'_>,
        shape: (usize, usize),
    ) -> std::result::Result<Self, LoadError> {
        Self::with(&mut scope, &[shape.1, shape.0], Bias::Absent)
    }

    /// A 1x1 convolution, used as a linear layer over pixels.
    pub(crate) fn point(
        mut scope: Scope<'_>,
        shape: (usize, usize),
    ) -> std::result::Result<Self, LoadError> {
        Self::with(&mut scope, &[shape.1, shape.0, 1, 1], Bias::Present)
    }

    fn with(
        scope: &mut Scope<'_>,
        shape: &[usize],
        bias: Bias,
    ) -> std::result::Result<Self, LoadError> {
        let module = (Kind::Linear, shape, bias);
        let (packed, _) =
            scope.packed(module, Packed::linear, Packed::Linear, |weight, bias| {
                PackedLinear::new(&matrix(weight)?, bias)
            })?;
        Ok(Self {
            packed,
            adapters: scope.runtime(),
        })
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.adapt(x, self.packed.forward(x)?)
    }

    /// As [`forward`](Self::forward), with a residual of the result's shape added at no cost.
    pub(crate) fn forward_plus(&self, x: &Tensor, residual: &Tensor) -> Result<Tensor> {
        self.adapt(x, self.packed.forward_plus(x, residual)?)
    }

    fn adapt(&self, x: &Tensor, y: Tensor) -> Result<Tensor> {
        match &self.adapters {
            Some(adapters) => adapters.add_linear(x, &y, Out::Tokens),
            None => Ok(y),
        }
    }
}

/// Returns a linear layer's weight as `[out, in]`, which a file may call a 1x1 convolution.
fn matrix(weight: &Tensor) -> Result<Tensor> {
    let mut weight = weight.clone();
    // Not reshaped: that would fill a recorder's zeros, which take no memory as they are.
    while weight.rank() > 2 {
        weight = weight.squeeze(D::Minus1)?;
    }
    Ok(weight)
}

/// A linear layer whose result is the first half of its outputs times the exact GELU of the second.
#[derive(Debug)]
pub(crate) enum Gated {
    /// All in one.
    Fused(Arc<PackedLinear>),
    /// Adapters come between the product and the gate.
    Adapted(Linear),
}

impl Gated {
    /// `shape` counts both halves.
    pub(crate) fn new(
        mut scope: Scope<'_>,
        shape: (usize, usize),
    ) -> std::result::Result<Self, LoadError> {
        if scope.runtime().is_some() {
            return Ok(Self::Adapted(Linear::new(scope, shape)?));
        }
        let shape = [shape.1, shape.0];
        let module = (Kind::Linear, shape.as_slice(), Bias::Present);
        let (packed, _) = scope.packed(module, Packed::gated, Packed::Gated, |weight, bias| {
            PackedLinear::gated(&matrix(weight)?, bias)
        })?;
        Ok(Self::Fused(packed))
    }

    /// Takes and gives `[batch, tokens, channels]`.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Fused(packed) => packed.forward(x),
            Self::Adapted(linear) => geglu(&linear.forward(x)?),
        }
    }
}

/// A convolution over `[batch, channels, height, width]`.
#[derive(Debug)]
pub(crate) struct Conv {
    packed: Arc<PackedConv>,
    /// `[1, out]`.
    bias: Tensor,
    geometry: Geometry,
    adapters: Option<Runtime>,
}

impl Conv {
    pub(crate) fn new(
        mut scope: Scope<'_>,
        (inner, outer): (usize, usize),
        side: usize,
        geometry: Geometry,
    ) -> std::result::Result<Self, LoadError> {
        let shape = [outer, inner, side, side];
        let module = (Kind::Conv, shape.as_slice(), Bias::Present);
        let (packed, bias) = scope.packed(module, Packed::conv, Packed::Conv, |weight, _| {
            PackedConv::new(weight)
        })?;
        Ok(Self {
            packed,
            bias: computing(&bias)?.unsqueeze(0)?,
            geometry,
            adapters: scope.runtime(),
        })
    }

    pub(crate) fn forward(&self, x: &Tensor, pass: Pass) -> Result<Tensor> {
        self.apply(x, &self.bias, self.geometry(pass), None)
    }

    /// Adds `[1 or batch, out]` to every pixel at no cost.
    pub(crate) fn forward_plus(&self, x: &Tensor, addend: &Tensor, pass: Pass) -> Result<Tensor> {
        let bias = self.bias.broadcast_add(addend)?;
        self.apply(x, &bias, self.geometry(pass), None)
    }

    /// Adds a residual of the result's shape at no cost.
    pub(crate) fn forward_onto(&self, x: &Tensor, residual: &Tensor, pass: Pass) -> Result<Tensor> {
        self.apply(x, &self.bias, self.geometry(pass), Some(residual))
    }

    /// Stretches the input to `size` by nearest neighbour first.
    pub(crate) fn forward_stretched(
        &self,
        x: &Tensor,
        size: (usize, usize),
        pass: Pass,
    ) -> Result<Tensor> {
        let geometry = self.geometry(pass).stretched(size);
        self.apply(x, &self.bias, geometry, None)
    }

    fn apply(
        &self,
        x: &Tensor,
        bias: &Tensor,
        geometry: Geometry,
        residual: Option<&Tensor>,
    ) -> Result<Tensor> {
        let y = self.packed.forward(x, bias, geometry, residual)?;
        match &self.adapters {
            Some(adapters) => adapters.add_conv(x, &y, geometry),
            None => Ok(y),
        }
    }

    fn geometry(&self, pass: Pass) -> Geometry {
        self.geometry.with_edge(pass.edge)
    }
}

/// Group normalisation.
#[derive(Debug)]
pub(crate) struct GroupNorm {
    weight: Tensor,
    bias: Tensor,
    groups: usize,
    eps: f64,
}

impl GroupNorm {
    pub(crate) fn new(
        mut scope: Scope<'_>,
        channels: usize,
        groups: usize,
        eps: f64,
    ) -> std::result::Result<Self, LoadError> {
        let (weight, bias) = scope.module(Kind::Norm, &[channels], Bias::Present)?;
        Ok(Self {
            weight: computing(&weight)?,
            bias: computing(&bias)?,
            groups,
            eps,
        })
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        norm::group_norm(
            x,
            &self.weight,
            &self.bias,
            self.groups,
            self.eps,
            Then::Nothing,
        )
    }

    pub(crate) fn forward_silu(&self, x: &Tensor) -> Result<Tensor> {
        norm::group_norm(
            x,
            &self.weight,
            &self.bias,
            self.groups,
            self.eps,
            Then::Silu,
        )
    }
}

/// Layer normalisation over the last dimension.
#[derive(Debug)]
pub(crate) struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    eps: f64,
}

impl LayerNorm {
    pub(crate) fn new(
        mut scope: Scope<'_>,
        width: usize,
        eps: f64,
    ) -> std::result::Result<Self, LoadError> {
        let (weight, bias) = scope.module(Kind::Norm, &[width], Bias::Present)?;
        Ok(Self {
            weight: computing(&weight)?,
            bias: computing(&bias)?,
            eps,
        })
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        norm::layer_norm(x, &self.weight, &self.bias, self.eps)
    }
}
