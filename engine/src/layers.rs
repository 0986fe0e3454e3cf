//! The layers all three models are made of, over the fused kernels.

use candle_core::{Result, Tensor};

use crate::load::LoadError;
use crate::modules::{Bias, Kind, Scope};
use hearth_kernels::conv::{Geometry, conv2d};
use hearth_kernels::linear::{self, Out};
use hearth_kernels::norm::{self, Then};

/// `x * weight^T + bias` over tokens.
#[derive(Debug)]
pub(crate) struct Linear {
    weight: Tensor,
    bias: Tensor,
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
        let (weight, bias) = scope.module(Kind::Linear, shape, bias)?;
        let weight = weight.reshape((shape[0], shape[1]))?;
        Ok(Self { weight, bias })
    }

    /// Takes and gives `[batch, tokens, channels]`.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        linear::linear(x, &self.weight, &self.bias, Out::Tokens)
    }

    /// Takes `[batch, tokens, channels]`, gives `[batch, channels, tokens]`.
    pub(crate) fn forward_to_channels(&self, x: &Tensor) -> Result<Tensor> {
        linear::linear(x, &self.weight, &self.bias, Out::Channels)
    }
}

/// A convolution over `[batch, channels, height, width]`.
#[derive(Debug)]
pub(crate) struct Conv {
    weight: Tensor,
    /// `[1, out]`.
    bias: Tensor,
    geometry: Geometry,
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
            bias: bias.reshape((1, outer))?,
            geometry,
        })
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        conv2d(x, &self.weight, &self.bias, self.geometry)
    }

    /// Adds `[1 or batch, out]` to every pixel at no cost.
    pub(crate) fn forward_plus(&self, x: &Tensor, addend: &Tensor) -> Result<Tensor> {
        conv2d(
            x,
            &self.weight,
            &self.bias.broadcast_add(addend)?,
            self.geometry,
        )
    }

    /// Stretches the input to `size` by nearest neighbour first.
    pub(crate) fn forward_stretched(&self, x: &Tensor, size: (usize, usize)) -> Result<Tensor> {
        let geometry = Geometry {
            stretch: Some(size),
            ..self.geometry
        };
        conv2d(x, &self.weight, &self.bias, geometry)
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
