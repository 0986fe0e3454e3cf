//! Linear layers over tokens: bias, residual and gate included.

#![expect(unsafe_code, reason = "results are written into fresh memory")]

use std::ops::Range;

use candle_core::{DType, Device, Result, Tensor, bail};

use crate::activation::geglu;
use crate::layout::add;
use crate::panel::{Order, PANEL, Panels};
use crate::plain;
use crate::product::{Finish, Product, Rows};
use crate::shared::Fresh;
use crate::values::{Values, is_native};

/// How the result is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Out {
    /// `[batch, tokens, channels]`.
    Tokens,
    /// `[batch, channels, tokens]`.
    Channels,
}

/// A linear layer's weights, rearranged once for the processor that will use them.
#[derive(Debug)]
pub struct PackedLinear {
    kind: Kind,
    gated: bool,
}

#[derive(Debug)]
enum Kind {
    Panels { panels: Panels, bias: Vec<f32> },
    Plain { weight: Tensor, bias: Tensor },
}

impl PackedLinear {
    /// Prepares `weight` `[out, in]` and `bias` `[out]`: in `f32`, or in `f16` or `bf16`, which stay so
    /// in memory. On devices other than a CPU both tensors are kept as they are, and so is a view
    /// (which may stand for much more than it holds).
    pub fn new(weight: &Tensor, bias: &Tensor) -> Result<Self> {
        Self::with(weight, bias, false)
    }

    /// Prepares a layer whose result is the first half of its outputs times the exact GELU of the
    /// second half.
    pub fn gated(weight: &Tensor, bias: &Tensor) -> Result<Self> {
        Self::with(weight, bias, true)
    }

    fn with(weight: &Tensor, bias: &Tensor, gated: bool) -> Result<Self> {
        let (outer, _) = weight.dims2()?;
        if bias.dims() != [outer] || (gated && outer % 2 != 0) {
            bail!("bias {:?} for {outer} outputs", bias.dims());
        }
        let kind = if Panels::take(weight) {
            let order = if gated && outer % PANEL == 0 {
                Order::Gated
            } else {
                Order::Plain
            };
            let bias = bias.to_dtype(DType::F32)?.to_vec1::<f32>()?;
            let lane = |lane| bias[order.output(lane, outer)];
            Kind::Panels {
                panels: Panels::new(weight, order)?,
                bias: (0..outer).map(lane).collect(),
            }
        } else {
            Kind::Plain {
                weight: weight.clone(),
                bias: bias.clone(),
            }
        };
        Ok(Self { kind, gated })
    }

    /// Returns the weights as they were given.
    pub fn weight(&self) -> Result<Tensor> {
        match &self.kind {
            Kind::Panels { panels, .. } => {
                panels.to_tensor()?.reshape((panels.outer, panels.inner))
            }
            Kind::Plain { weight, .. } => Ok(weight.clone()),
        }
    }

    /// Returns the layer's value for `x` of `[batch, tokens, in]` with any strides.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.forward_onto(x, None)
    }

    /// As [`forward`](Self::forward), with a `residual` of the result's shape added.
    pub fn forward_plus(&self, x: &Tensor, residual: &Tensor) -> Result<Tensor> {
        self.forward_onto(x, Some(residual))
    }

    fn forward_onto(&self, x: &Tensor, residual: Option<&Tensor>) -> Result<Tensor> {
        match &self.kind {
            Kind::Panels { panels, bias } => {
                let native = x.to_dtype(DType::F32)?;
                let residual = residual.map(|r| r.to_dtype(DType::F32)).transpose()?;
                let fused = self.gated && panels.order() == Order::Gated;
                if self.gated && !fused {
                    let out = geglu(&multiply(panels, bias, false, &native, None)?)?;
                    return residual.map_or(Ok(out.clone()), |r| add(&out, &r));
                }
                multiply(panels, bias, fused, &native, residual.as_ref())?.to_dtype(x.dtype())
            }
            Kind::Plain { weight, bias } => {
                let mut out = plain::linear(x, weight, bias)?;
                if self.gated {
                    out = plain::geglu(&out)?;
                }
                residual.map_or(Ok(out.clone()), |r| add(&out, r))
            }
        }
    }
}

/// Returns `x * weight^T + bias` for `x` of `[batch, tokens, in]` with any strides, `weight` of
/// `[out, in]` and `bias` of `[out]`.
///
/// Rearranges the weights on every call: layers that are used again keep a [`PackedLinear`].
pub fn linear(x: &Tensor, weight: &Tensor, bias: &Tensor, out: Out) -> Result<Tensor> {
    let tokens = if is_native(x) {
        PackedLinear::new(&weight.contiguous()?, bias)?.forward(x)?
    } else {
        plain::linear(x, weight, bias)?
    };
    match out {
        Out::Tokens => Ok(tokens),
        Out::Channels => tokens.transpose(1, 2),
    }
}

fn multiply(
    panels: &Panels,
    bias: &[f32],
    gated: bool,
    x: &Tensor,
    residual: Option<&Tensor>,
) -> Result<Tensor> {
    let (batch, tokens, inner) = x.dims3()?;
    if inner != panels.inner {
        let shape = (panels.outer, panels.inner);
        bail!("linear {shape:?} cannot take {:?}", x.dims());
    }
    let (x, residual) = (
        x.contiguous()?,
        residual.map(Tensor::contiguous).transpose()?,
    );
    let x = Values::of(&x)?;
    let residual = residual.as_ref().map(Values::of).transpose()?;
    let product = Product {
        x: &x,
        rows: Contiguous(inner),
        images: 1,
        rows_per_image: batch * tokens,
        panels,
        finish: Finish {
            bias: Some(bias),
            residual: residual.as_deref(),
            gated,
        },
    };
    let width = product.width();
    let len = batch * tokens * width;
    if residual.as_ref().is_some_and(|r| r.len() != len) {
        bail!("residual is not [{batch}, {tokens}, {width}]");
    }
    let mut out = Fresh::new(len);
    product.run(out.share(len));
    // SAFETY: the product writes every value.
    let out = unsafe { out.into_vec(len) };
    Tensor::from_vec(out, (batch, tokens, width), &Device::Cpu)
}

/// Rows one after another, so long.
struct Contiguous(usize);

impl Rows for Contiguous {
    fn starts(&self, _image: usize, _tap: usize, rows: Range<usize>, to: &mut Vec<usize>) {
        to.extend(rows.map(|row| row * self.0));
    }
}

#[cfg(test)]
mod tests;
