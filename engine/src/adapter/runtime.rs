//! Adapters applied to activations: `y + up(down(x))` beside the layer's own product.

use candle_core::{DType, Device, Result, Tensor};

use super::delta::LowRank;
use crate::modules::Module;
use hearth_kernels::conv::{Geometry, conv2d};
use hearth_kernels::layout::add;
use hearth_kernels::linear::{Out, linear};

/// The products of one layer's adapters, scales included.
#[derive(Clone, Debug)]
pub(crate) struct Runtime {
    /// `[rank, in]`, or `[rank, in, k, k]` for a convolution.
    down: Tensor,
    /// `[out, rank]`.
    up: Tensor,
    /// Zeros, `[rank]` and `[out]`: neither product has a bias.
    biases: (Tensor, Tensor),
}

impl Runtime {
    /// Puts a product onto a device in the module's shape.
    pub(super) fn new(product: &LowRank, module: &Module, device: &Device) -> Result<Self> {
        let (up, down, rank) = product.factors();
        let outer = module.shape[0];
        let mut shape = vec![rank];
        shape.extend(&module.shape[1..]);
        Ok(Self {
            down: Tensor::from_slice(down, shape, device)?,
            up: Tensor::from_slice(up, (outer, rank), device)?,
            biases: (
                Tensor::zeros(rank, DType::F32, device)?,
                Tensor::zeros(outer, DType::F32, device)?,
            ),
        })
    }

    /// Adds to a linear layer's output `y`, which is laid out as `out` says, what its input
    /// `[batch, tokens, channels]` calls for.
    pub(crate) fn add_linear(&self, x: &Tensor, y: &Tensor, out: Out) -> Result<Tensor> {
        let rank = self.up.dim(1)?;
        let inner = self.down.elem_count() / rank;
        let like = |tensor: &Tensor| tensor.to_dtype(x.dtype());
        let down = like(&self.down)?.reshape((rank, inner))?;
        let h = linear(x, &down, &like(&self.biases.0)?, Out::Tokens)?;
        let addend = linear(&h, &like(&self.up)?, &like(&self.biases.1)?, out)?;
        add(y, &addend)
    }

    /// Adds to a convolution's output what its input `[batch, channels, height, width]` calls for.
    pub(crate) fn add_conv(&self, x: &Tensor, y: &Tensor, geometry: Geometry) -> Result<Tensor> {
        let (outer, rank) = self.up.dims2()?;
        let like = |tensor: &Tensor| tensor.to_dtype(x.dtype());
        let row = |bias: &Tensor| like(bias)?.reshape((1, bias.elem_count()));
        let h = conv2d(x, &like(&self.down)?, &row(&self.biases.0)?, geometry)?;
        let up = like(&self.up)?.reshape((outer, rank, 1, 1))?;
        let addend = conv2d(&h, &up, &row(&self.biases.1)?, Geometry::POINT)?;
        add(y, &addend)
    }
}
