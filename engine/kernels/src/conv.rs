//! Two-dimensional convolution as tiles of an image matrix times the kernel.
//!
//! Rows of output are taken in tiles whose unfolded input stays near the cache size; padding, stride and
//! a nearest-neighbour enlargement of the input are folded into the unfolding, and the product is written
//! straight to its place in `[batch, channels, height, width]` on top of the bias.

use std::cell::RefCell;
use std::ops::Range;

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use crate::contiguous;
use crate::geometry::Axis;
pub use crate::geometry::{Edge, Geometry, Padding};
use crate::matmul::{Mat, MatMut, Onto, Threads, matmul};

/// Elements of unfolded input worked on at once: 8 MiB.
const TILE: usize = 2 * 1024 * 1024;

/// Returns the convolution of `x` `[batch, in, height, width]` with `weight` `[out, in, k, k]`; `bias`
/// is `[1, out]`, or `[batch, out]` when each picture has its own.
pub fn conv2d(x: &Tensor, weight: &Tensor, bias: &Tensor, geometry: Geometry) -> Result<Tensor> {
    x.contiguous()?
        .apply_op3_no_bwd(weight, bias, &Conv(geometry))
}

struct Conv(Geometry);

impl CustomOp3 for Conv {
    fn name(&self) -> &'static str {
        "conv2d"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (batch, inner, height, width) = x_layout.shape().dims4()?;
        let (outer, weight_inner, side, side_x) = weight_layout.shape().dims4()?;
        let (bias_batch, bias_outer) = bias_layout.shape().dims2()?;
        if weight_inner != inner || side != side_x || bias_outer != outer {
            bail!(
                "kernel {:?} cannot take {:?}",
                weight_layout.dims(),
                x_layout.dims()
            );
        }
        if bias_batch != 1 && bias_batch != batch {
            bail!("{bias_batch} biases for a batch of {batch}");
        }
        let Some(window) = Window::new(self.0, (height, width), side) else {
            bail!("kernel of {side} is larger than {height}x{width}");
        };
        let (x, bias) = (contiguous(x, x_layout)?, contiguous(bias, bias_layout)?);
        let taps = inner * side * side;
        let weight = Mat::new(contiguous(weight, weight_layout)?, outer, taps, taps);
        let plane = window.out_height * window.out_width;
        let mut out = vec![0.0; batch * outer * plane];
        for (b, out) in out.chunks_mut((outer * plane).max(1)).enumerate() {
            let bias = &bias[b % bias_batch * outer..][..outer];
            let fill = |(row, bias): (&mut [f32], &f32)| row.fill(*bias);
            out.par_chunks_mut(plane)
                .zip(bias)
                .with_min_len(16)
                .for_each(fill);
            let x = &x[b * inner * height * width..][..inner * height * width];
            convolve(out, x, weight, taps, outer, &window);
        }
        let dims = (batch, outer, window.out_height, window.out_width);
        Ok((CpuStorage::F32(out), Shape::from(dims)))
    }
}

thread_local! {
    /// The unfolded tile, kept so that its pages are not faulted in anew by every layer.
    static UNFOLDED: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

fn convolve(
    out: &mut [f32],
    x: &[f32],
    weight: Mat<'_>,
    taps: usize,
    outer: usize,
    window: &Window,
) {
    let plane = window.out_height * window.out_width;
    if window.point {
        let x = Mat::new(x, taps, plane, plane);
        matmul(
            MatMut::new(out, outer, plane, plane),
            Onto::Add,
            weight,
            x,
            1.0,
            Threads::All,
        );
        return;
    }
    let rows = (TILE / (taps * window.out_width).max(1)).clamp(1, window.out_height);
    // Taken out, not borrowed: the thread pool may run another layer on this thread meanwhile.
    let mut unfolded = UNFOLDED.take();
    for first in (0..window.out_height).step_by(rows) {
        let tile = first..(first + rows).min(window.out_height);
        let cols = tile.len() * window.out_width;
        if unfolded.len() < taps * cols {
            unfolded.resize(taps * cols, 0.0);
        }
        let unfolded = &mut unfolded[..taps * cols];
        unfolded
            .par_chunks_mut(cols)
            .enumerate()
            .with_min_len(8)
            .for_each(|(tap, row)| window.unfold(row, x, tap, tile.clone()));
        let start = first * window.out_width;
        let dst = MatMut::new(&mut out[start..], outer, cols, plane);
        matmul(
            dst,
            Onto::Add,
            weight,
            Mat::new(unfolded, taps, cols, cols),
            1.0,
            Threads::All,
        );
    }
    UNFOLDED.set(unfolded);
}

/// A kernel's geometry on an input of known size.
struct Window {
    point: bool,
    stride: usize,
    side: usize,
    height: usize,
    width: usize,
    rows: Axis,
    columns: Axis,
    out_height: usize,
    out_width: usize,
}

impl Window {
    fn new(geometry: Geometry, (height, width): (usize, usize), side: usize) -> Option<Self> {
        let (out_height, out_width) = geometry.output((height, width), side)?;
        let output = (out_height, out_width);
        let (rows, columns) = Axis::pair(&geometry, (height, width), side, output);
        Some(Self {
            point: side == 1 && geometry == Geometry::POINT,
            stride: geometry.stride,
            side,
            height,
            width,
            rows,
            columns,
            out_height,
            out_width,
        })
    }

    /// Writes what tap `tap` (channel, row and column of the kernel) sees from the outputs of `rows`.
    fn unfold(&self, out: &mut [f32], x: &[f32], tap: usize, rows: Range<usize>) {
        let (channel, ky, kx) = (
            tap / (self.side * self.side),
            tap / self.side % self.side,
            tap % self.side,
        );
        let plane = &x[channel * self.height * self.width..][..self.height * self.width];
        for (out, oy) in out.chunks_mut(self.out_width).zip(rows) {
            let Some(y) = self.rows.source(oy * self.stride + ky) else {
                out.fill(0.0);
                continue;
            };
            let row = &plane[y * self.width..][..self.width];
            for (ox, o) in out.iter_mut().enumerate() {
                let source = self.columns.source(ox * self.stride + kx);
                *o = source.map_or(0.0, |x| row[x]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    fn wave(dims: &[usize], phase: f32) -> Tensor {
        let n = dims.iter().product::<usize>();
        let values: Vec<f32> = (0..n).map(|i| (i as f32 * 0.61 + phase).sin()).collect();
        Tensor::from_vec(values, dims, &Device::Cpu).unwrap()
    }

    #[test]
    fn every_geometry_gives_what_candle_gives() {
        let kinds = [
            (3, Geometry::SAME),
            (1, Geometry::POINT),
            (3, Geometry::HALF),
        ];
        for (h, w) in [(8, 8), (7, 5), (1, 9)] {
            let stretched = |size| (3, Geometry::SAME.stretched(size));
            let cases = [stretched((2 * h, 2 * w)), stretched((2 * h - 1, 2 * w))];
            for (side, geometry) in kinds.into_iter().chain(cases) {
                let x = wave(&[2, 5, h, w], 0.0);
                let weight = wave(&[6, 5, side, side], 1.0);
                let bias = wave(&[2, 6], 2.0);
                let got = conv2d(&x, &weight, &bias, geometry).unwrap();
                let (seen_h, seen_w) = geometry.stretch.unwrap_or((h, w));
                let x = x.upsample_nearest2d(seen_h, seen_w).unwrap();
                let want = x
                    .conv2d(&weight, geometry.padding.top, geometry.stride, 1, 1)
                    .unwrap();
                let want = want
                    .broadcast_add(&bias.reshape((2, 6, 1, 1)).unwrap())
                    .unwrap();
                let diff = (got - want).unwrap().abs().unwrap().max_all().unwrap();
                assert!(
                    diff.to_scalar::<f32>().unwrap() < 1e-5,
                    "{h}x{w} {geometry:?}"
                );
            }
        }
    }
}
