//! The layers all three models are made of, over the fused kernels.

use candle_core::{D, Result, Tensor};

use crate::adapter::Runtime;
use crate::load::LoadError;
use crate::modules::{Bias, Kind, Scope};
use hearth_kernels::conv::{Edge, Geometry, conv2d};
use hearth_kernels::linear::{self, Out};
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

/// `x * weight^T + bias` over tokens.
#[derive(Debug)]
pub(crate) struct Linear {
    weight: Tensor,
    bias: Tensor,
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
        let (mut weight, bias) = scope.module(Kind::Linear, shape, bias)?;
        // Not reshaped: that would fill a recorder's zeros, which take no memory as they are.
        while weight.rank() > 2 {
            weight = weight.squeeze(D::Minus1)?;
        }
        Ok(Self {
            weight,
            bias,
            adapters: scope.runtime(),
        })
    }

    /// Takes and gives `[batch, tokens, channels]`.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.apply(x, Out::Tokens)
    }

    /// Takes `[batch, tokens, channels]`, gives `[batch, channels, tokens]`.
    pub(crate) fn forward_to_channels(&self, x: &Tensor) -> Result<Tensor> {
        self.apply(x, Out::Channels)
    }

    fn apply(&self, x: &Tensor, out: Out) -> Result<Tensor> {
        let y = linear::linear(x, &self.weight, &self.bias, out)?;
        match &self.adapters {
            Some(adapters) => adapters.add_linear(x, &y, out),
            None => Ok(y),
        }
    }
}

/// A convolution over `[batch, channels, height, width]`.
#[derive(Debug)]
pub(crate) struct Conv {
    weight: Tensor,
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
        let (weight, bias) = scope.module(Kind::Conv, &shape, Bias::Present)?;
        Ok(Self {
            weight,
            bias: bias.unsqueeze(0)?,
            geometry,
            adapters: scope.runtime(),
        })
    }

    pub(crate) fn forward(&self, x: &Tensor, pass: Pass) -> Result<Tensor> {
        self.apply(x, &self.bias, self.geometry(pass))
    }

    /// Adds `[1 or batch, out]` to every pixel at no cost.
    pub(crate) fn forward_plus(&self, x: &Tensor, addend: &Tensor, pass: Pass) -> Result<Tensor> {
        let bias = self.bias.broadcast_add(addend)?;
        self.apply(x, &bias, self.geometry(pass))
    }

    /// Stretches the input to `size` by nearest neighbour first.
    pub(crate) fn forward_stretched(
        &self,
        x: &Tensor,
        size: (usize, usize),
        pass: Pass,
    ) -> Result<Tensor> {
        let geometry = self.geometry(pass).stretched(size);
        self.apply(x, &self.bias, geometry)
    }

    fn apply(&self, x: &Tensor, bias: &Tensor, geometry: Geometry) -> Result<Tensor> {
        let y = conv2d(x, &self.weight, bias, geometry)?;
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
            weight,
            bias,
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
        Ok(Self { weight, bias, eps })
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        norm::layer_norm(x, &self.weight, &self.bias, self.eps)
    }
}
