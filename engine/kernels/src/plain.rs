//! The same operations out of candle's own, for every device and type; the oracle of the tests too.
//!
//! Statistics and softmax are computed in `f32` whatever the type.

use candle_core::{D, DType, Result, Tensor};

use crate::attention::Mask;
use crate::geometry::{Axis, Edge, Geometry, Padding};
use crate::norm::Then;

/// Most scores held at once, over all heads: 256 MiB in `f32`.
const SCORES: usize = 64 * 1024 * 1024;

pub(crate) fn conv2d(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    geometry: Geometry,
) -> Result<Tensor> {
    let mut x = x.contiguous()?;
    if let Some((height, width)) = geometry.stretch {
        x = x.upsample_nearest2d(height, width)?;
    }
    let Padding {
        top,
        bottom,
        left,
        right,
    } = geometry.padding;
    let even = [bottom, left, right].iter().all(|side| *side == top);
    let built_in = if even && geometry.edge == Edge::Zero {
        top
    } else {
        0
    };
    if built_in == 0 && geometry.padding != Padding::all(0) {
        x = pad(&x, 2, (top, bottom), geometry.edge)?;
        x = pad(&x, 3, (left, right), geometry.edge)?;
    }
    let weight = weight.to_dtype(x.dtype())?;
    let out = x.conv2d(&weight, built_in, geometry.stride, 1, 1)?;
    let bias = bias.to_dtype(x.dtype())?.unsqueeze(2)?.unsqueeze(3)?;
    out.broadcast_add(&bias)
}

fn pad(x: &Tensor, dim: usize, (before, after): (usize, usize), edge: Edge) -> Result<Tensor> {
    match edge {
        Edge::Zero => x.pad_with_zeros(dim, before, after),
        Edge::Wrap => {
            let sources = Axis::wrapped(x.dim(dim)?, before, after);
            let index = Tensor::new(sources, x.device())?;
            x.contiguous()?.index_select(&index, dim)
        }
    }
}

pub(crate) fn linear(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let (batch, tokens, inner) = x.dims3()?;
    let weight = weight.to_dtype(x.dtype())?;
    let rows = x.contiguous()?.reshape((batch * tokens, inner))?;
    let out = rows.matmul(&weight.t()?)?;
    let out = out.broadcast_add(&bias.to_dtype(x.dtype())?)?;
    out.reshape((batch, tokens, weight.dim(0)?))
}

pub(crate) fn attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    heads: usize,
    mask: Mask,
) -> Result<Tensor> {
    let (batch, queries, channels) = q.dims3()?;
    let keys = k.dim(1)?;
    let split = |x: &Tensor| {
        let tokens = x.dim(1)?;
        x.contiguous()?
            .reshape((batch, tokens, heads, channels / heads))?
            .transpose(1, 2)?
            .contiguous()
    };
    let (q, k, v) = (split(q)?, split(k)?.t()?.contiguous()?, split(v)?);
    let scale = ((channels / heads) as f64).sqrt().recip();
    let at_once = (SCORES / (batch * heads * keys).max(1)).clamp(1, queries.max(1));
    let mut blocks = Vec::new();
    for first in (0..queries).step_by(at_once) {
        let count = at_once.min(queries - first);
        let block = q.narrow(2, first, count)?.contiguous()?;
        let mut scores = (block.matmul(&k)? * scale)?.to_dtype(DType::F32)?;
        if mask == Mask::Causal {
            let hidden = hidden_keys(first, count, keys);
            let hidden = Tensor::from_vec(hidden, (1, 1, count, keys), q.device())?;
            scores = scores.broadcast_add(&hidden)?;
        }
        let highest = scores.max_keepdim(D::Minus1)?;
        let e = scores.broadcast_sub(&highest)?.exp()?;
        let softmax = e.broadcast_div(&e.sum_keepdim(D::Minus1)?)?;
        blocks.push(softmax.to_dtype(v.dtype())?.matmul(&v)?);
    }
    let out = Tensor::cat(&blocks, 2)?;
    out.transpose(1, 2)?.reshape((batch, queries, channels))
}

/// Returns minus infinity for each key behind its query, zero for the others.
fn hidden_keys(first: usize, count: usize, keys: usize) -> Vec<f32> {
    let hidden = |query: usize, key: usize| if key > query { f32::NEG_INFINITY } else { 0.0 };
    (first..first + count)
        .flat_map(|query| (0..keys).map(move |key| hidden(query, key)))
        .collect()
}

pub(crate) fn group_norm(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    groups: usize,
    eps: f64,
    then: Then,
) -> Result<Tensor> {
    let (batch, channels) = (x.dim(0)?, x.dim(1)?);
    let wide = x.contiguous()?.to_dtype(DType::F32)?;
    let rows = wide.reshape((batch, groups, ()))?;
    let mut shape = vec![1; x.rank()];
    shape[1] = channels;
    let normal = standardise(&rows, eps)?.reshape(x.shape())?;
    let weight = weight.to_dtype(DType::F32)?.reshape(shape.as_slice())?;
    let bias = bias.to_dtype(DType::F32)?.reshape(shape.as_slice())?;
    let out = normal.broadcast_mul(&weight)?.broadcast_add(&bias)?;
    match then {
        Then::Nothing => out,
        Then::Silu => out.silu()?,
    }
    .to_dtype(x.dtype())
}

pub(crate) fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    let wide = x.to_dtype(DType::F32)?;
    standardise(&wide, eps)?
        .broadcast_mul(&weight.to_dtype(DType::F32)?)?
        .broadcast_add(&bias.to_dtype(DType::F32)?)?
        .to_dtype(x.dtype())
}

/// Returns every row of the last dimension with its mean removed and its deviation divided out.
fn standardise(x: &Tensor, eps: f64) -> Result<Tensor> {
    let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
    centred.broadcast_div(&(variance + eps)?.sqrt()?)
}

pub(crate) fn geglu(x: &Tensor) -> Result<Tensor> {
    let halves = x.chunk(2, D::Minus1)?;
    &halves[0] * halves[1].contiguous()?.gelu_erf()?
}
