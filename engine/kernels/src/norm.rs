//! Group and layer normalisation, the former fused with the SiLU that nearly always follows it.

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use crate::{contiguous, float};

/// What follows a group normalisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    Nothing,
    Silu,
}

/// Returns `x` of `[batch, channels, ...]` normalised over `groups` groups of channels.
pub fn group_norm(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    groups: usize,
    eps: f64,
    then: Then,
) -> Result<Tensor> {
    x.contiguous()?
        .apply_op3_no_bwd(weight, bias, &GroupNorm { groups, eps, then })
}

/// Returns `x` with every row of its last dimension normalised.
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    x.contiguous()?
        .apply_op3_no_bwd(weight, bias, &LayerNorm { eps })
}

struct GroupNorm {
    groups: usize,
    eps: f64,
    then: Then,
}

impl CustomOp3 for GroupNorm {
    fn name(&self) -> &'static str {
        "group-norm"
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
        let dims = x_layout.dims();
        let (batch, channels) = match dims {
            [batch, channels, ..] => (*batch, *channels),
            [] | [_] => bail!("group norm wants [batch, channels, ...], got {dims:?}"),
        };
        let (x, weight, bias) = (
            contiguous(x, x_layout)?,
            contiguous(weight, weight_layout)?,
            contiguous(bias, bias_layout)?,
        );
        if self.groups == 0 || channels % self.groups != 0 || weight.len() != channels {
            bail!("{} groups do not fit {channels} channels", self.groups);
        }
        let mut out = vec![0.0; x.len()];
        if out.is_empty() {
            return Ok((CpuStorage::F32(out), x_layout.shape().clone()));
        }
        let per_group = channels / self.groups;
        let plane = x.len() / (batch * channels);
        let chunk = per_group * plane;
        out.par_chunks_mut(chunk)
            .zip(x.par_chunks(chunk))
            .enumerate()
            .for_each(|(i, (out, x))| {
                let (mean, inverse) = mean_and_inverse_deviation(x, self.eps);
                let first = i % self.groups * per_group;
                let planes = out.chunks_mut(plane).zip(x.chunks(plane));
                for (c, (out, x)) in planes.enumerate() {
                    let scale = inverse * weight[first + c];
                    let shift = bias[first + c] - mean * scale;
                    let pairs = out.iter_mut().zip(x);
                    match self.then {
                        Then::Nothing => pairs.for_each(|(o, x)| *o = x * scale + shift),
                        Then::Silu => pairs.for_each(|(o, x)| *o = float::silu(x * scale + shift)),
                    }
                }
            });
        Ok((CpuStorage::F32(out), x_layout.shape().clone()))
    }
}

struct LayerNorm {
    eps: f64,
}

impl CustomOp3 for LayerNorm {
    fn name(&self) -> &'static str {
        "layer-norm"
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
        let (x, weight, bias) = (
            contiguous(x, x_layout)?,
            contiguous(weight, weight_layout)?,
            contiguous(bias, bias_layout)?,
        );
        let width = weight.len();
        if width == 0 || x_layout.dims().last() != Some(&width) || bias.len() != width {
            bail!("layer norm of {width} cannot take {:?}", x_layout.dims());
        }
        let mut out = vec![0.0; x.len()];
        let rows = out.par_chunks_mut(width).zip(x.par_chunks(width));
        rows.with_min_len(32).for_each(|(out, x)| {
            let (mean, inverse) = mean_and_inverse_deviation(x, self.eps);
            for (((o, x), w), b) in out.iter_mut().zip(x).zip(weight).zip(bias) {
                *o = (x - mean) * inverse * w + b;
            }
        });
        Ok((CpuStorage::F32(out), x_layout.shape().clone()))
    }
}

/// Returns the mean and one over the square root of the variance plus `eps`.
fn mean_and_inverse_deviation(x: &[f32], eps: f64) -> (f32, f32) {
    let count = x.len() as f64;
    let mean = sum(x, |x| x) / count;
    let centre = to_f32(mean);
    let variance = sum(x, |x| (x - centre) * (x - centre)) / count;
    (centre, to_f32(1.0 / (variance + eps).sqrt()))
}

/// Returns the sum of `f` over `x`: sixteen `f32` lanes a block, blocks added in `f64`.
#[inline(always)]
fn sum(x: &[f32], f: impl Fn(f32) -> f32) -> f64 {
    const LANES: usize = 16;
    x.chunks(4096)
        .map(|block| {
            let mut lanes = [0.0_f32; LANES];
            let whole = block.chunks_exact(LANES);
            let rest: f32 = whole.remainder().iter().map(|x| f(*x)).sum();
            for values in whole {
                for (lane, value) in lanes.iter_mut().zip(values) {
                    *lane += f(*value);
                }
            }
            lanes.iter().map(|lane| f64::from(*lane)).sum::<f64>() + f64::from(rest)
        })
        .sum()
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "rounding to f32 is the point"
)]
fn to_f32(x: f64) -> f32 {
    x as f32
}
