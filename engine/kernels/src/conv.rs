//! Two-dimensional convolution, channels innermost.
//!
//! A three by three kernel of stride one goes through Winograd's transform where there are tiles enough;
//! everything else is a product of rows gathered tap by tap. Padding, wrapping edges, stride and a
//! nearest-neighbour enlargement of the input cost nothing: they only decide where a row begins.

#![expect(unsafe_code, reason = "results are written into fresh memory")]

mod winograd;

use std::ops::Range;

use candle_core::{DType, Result, Tensor, bail};

use crate::geometry::Axis;
pub use crate::geometry::{Edge, Geometry, Padding};
use crate::layout::{add, channels_first_view, channels_last};
use crate::panel::{Order, Panels};
use crate::plain;
use crate::product::{Finish, NOWHERE, Product, Rows};
use crate::shared::Fresh;
use crate::simd::LANES;
use crate::values::{Values, is_native};
use winograd::Winograd;

/// Fewest tiles of four by four outputs in a picture for which Winograd's transform pays.
const TILES_MIN: usize = 4;
/// Fewest channels in and out for which it does.
const CHANNELS_MIN: usize = 32;

/// A convolution's weights, rearranged once for the processor that will use them.
#[derive(Debug)]
pub struct PackedConv {
    kind: Kind,
    side: usize,
}

#[derive(Debug)]
enum Kind {
    Panels(Panels),
    Plain(Tensor),
}

impl PackedConv {
    /// Prepares `[out, in, k, k]`: in `f32`, or in `f16` or `bf16`, which stay so in memory. On
    /// devices other than a CPU the tensor is kept as it is, and so is a view (which may stand for
    /// much more than it holds).
    pub fn new(weight: &Tensor) -> Result<Self> {
        let (_, _, side, side_x) = weight.dims4()?;
        if side != side_x {
            bail!("kernels are square, got {side}x{side_x}");
        }
        let kind = if Panels::take(weight) {
            Kind::Panels(Panels::new(weight, Order::Plain)?)
        } else {
            Kind::Plain(weight.clone())
        };
        Ok(Self { kind, side })
    }

    /// Returns the weights as they were given.
    pub fn weight(&self) -> Result<Tensor> {
        match &self.kind {
            Kind::Panels(panels) => {
                let shape = (panels.outer, panels.inner, self.side, self.side);
                panels.to_tensor()?.reshape(shape)
            }
            Kind::Plain(weight) => Ok(weight.clone()),
        }
    }

    /// Returns the convolution of `x` `[batch, in, height, width]`. `bias` is `[1, out]`, or
    /// `[batch, out]` when each picture has its own; `residual`, of the result's shape, is added.
    pub fn forward(
        &self,
        x: &Tensor,
        bias: &Tensor,
        geometry: Geometry,
        residual: Option<&Tensor>,
    ) -> Result<Tensor> {
        let panels = match &self.kind {
            Kind::Panels(panels) if x.device().is_cpu() => panels,
            Kind::Panels(_) | Kind::Plain(_) => {
                let out = plain::conv2d(x, &self.weight()?, bias, geometry)?;
                return residual.map_or(Ok(out.clone()), |r| add(&out, r));
            }
        };
        if is_native(x) {
            let window = Window::new(panels, self.side, x, geometry)?;
            return window.convolve(panels, x, bias, residual);
        }
        let wide = |x: &Tensor| x.to_dtype(DType::F32);
        let residual = residual.map(wide).transpose()?;
        self.forward(&wide(x)?, &wide(bias)?, geometry, residual.as_ref())?
            .to_dtype(x.dtype())
    }
}

/// Returns the convolution of `x` `[batch, in, height, width]` with `weight` `[out, in, k, k]`; `bias`
/// is `[1, out]`, or `[batch, out]` when each picture has its own.
///
/// Rearranges the weights on every call: layers that are used again keep a [`PackedConv`].
pub fn conv2d(x: &Tensor, weight: &Tensor, bias: &Tensor, geometry: Geometry) -> Result<Tensor> {
    if !is_native(x) {
        return plain::conv2d(x, weight, bias, geometry);
    }
    PackedConv::new(&weight.contiguous()?)?.forward(x, bias, geometry, None)
}

/// A kernel's geometry on an input of known size.
struct Window {
    geometry: Geometry,
    side: usize,
    batch: usize,
    input: (usize, usize, usize),
    output: (usize, usize),
}

impl Window {
    fn new(panels: &Panels, side: usize, x: &Tensor, geometry: Geometry) -> Result<Self> {
        let (batch, inner, height, width) = x.dims4()?;
        if inner != panels.inner {
            let shape = (panels.outer, panels.inner);
            bail!(
                "kernel {shape:?} of {side}x{side} cannot take {:?}",
                x.dims()
            );
        }
        let Some(output) = geometry.output((height, width), side) else {
            bail!("kernel of {side} is larger than {height}x{width}");
        };
        if height == 0 || width == 0 {
            bail!("a picture has pixels, got {height}x{width}");
        }
        Ok(Self {
            geometry,
            side,
            batch,
            input: (height, width, inner),
            output,
        })
    }

    /// Decided by one picture alone, so that the batch cannot change the result.
    fn suits_winograd(&self, panels: &Panels) -> bool {
        let tiles = self.output.0.div_ceil(4) * self.output.1.div_ceil(4);
        let channels = [panels.inner, panels.outer];
        (self.side, self.geometry.stride) == (3, 1)
            && tiles >= TILES_MIN
            && channels
                .iter()
                .all(|n| n % LANES == 0 && *n >= CHANNELS_MIN)
    }

    fn convolve(
        &self,
        panels: &Panels,
        x: &Tensor,
        bias: &Tensor,
        residual: Option<&Tensor>,
    ) -> Result<Tensor> {
        let (height, width) = self.output;
        let shape = (self.batch, height, width, panels.outer);
        let (bias_batch, bias_outer) = bias.dims2()?;
        if bias_outer != panels.outer || (bias_batch != 1 && bias_batch != self.batch) {
            bail!(
                "bias {:?} for {} of {} channels",
                bias.dims(),
                self.batch,
                panels.outer
            );
        }
        let sides = [shape.0, shape.1, shape.2, shape.3];
        let Some(len) = sides
            .iter()
            .try_fold(1_usize, |len, side| len.checked_mul(*side))
        else {
            bail!("a result of {shape:?} is too large");
        };
        let residual = residual.map(channels_last).transpose()?;
        if residual
            .as_ref()
            .is_some_and(|r| r.shape().dims4().ok() != Some(shape))
        {
            bail!("residual is not {shape:?}");
        }
        let (x, bias) = (channels_last(x)?, bias.contiguous()?);
        let (x, bias) = (Values::of(&x)?, Values::of(&bias)?);
        let residual = residual.as_ref().map(Values::of).transpose()?;
        let finish = Finish {
            bias: Some(&bias),
            residual: residual.as_deref(),
            gated: false,
        };
        let mut out = Fresh::new(len);
        self.compute(panels, &x, finish, &mut out, len);
        // SAFETY: both ways write every value of every picture.
        let out = unsafe { out.into_vec(len) };
        channels_first_view(&Tensor::from_vec(out, shape, &candle_core::Device::Cpu)?)
    }

    fn compute(&self, panels: &Panels, x: &[f32], finish: Finish<'_>, out: &mut Fresh, len: usize) {
        let (height, width, inner) = self.input;
        let axes = Axis::pair(&self.geometry, (height, width), self.side, self.output);
        let out = out.share(len);
        if self.suits_winograd(panels) {
            let winograd = Winograd {
                x,
                input: (height, width, inner),
                axes,
                images: self.batch,
                output: self.output,
                panels,
                finish,
            };
            return winograd.run(out);
        }
        let pixels = Pixels {
            axes,
            side: self.side,
            stride: self.geometry.stride,
            input: self.input,
            across: self.output.1,
        };
        let product = Product {
            x,
            rows: pixels,
            images: self.batch,
            rows_per_image: self.output.0 * self.output.1,
            panels,
            finish,
        };
        product.run(out);
    }
}

/// The pixels of pictures as a kernel sees them.
struct Pixels {
    axes: (Axis, Axis),
    side: usize,
    stride: usize,
    input: (usize, usize, usize),
    /// Outputs in a row.
    across: usize,
}

impl Rows for Pixels {
    fn starts(&self, image: usize, tap: usize, rows: Range<usize>, to: &mut Vec<usize>) {
        let (height, width, channels) = self.input;
        let (ky, kx) = (tap / self.side, tap % self.side);
        to.extend(rows.map(|output| {
            let (y, x) = (output / self.across, output % self.across);
            let row = self.axes.0.source(y * self.stride + ky);
            let column = self.axes.1.source(x * self.stride + kx);
            let start = |(row, column)| ((image * height + row) * width + column) * channels;
            row.zip(column).map_or(NOWHERE, start)
        }));
    }
}

#[cfg(test)]
mod tests;
