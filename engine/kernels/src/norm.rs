//! Group and layer normalisation, the former fused with the SiLU that nearly always follows it.

#![expect(unsafe_code, reason = "results are written into fresh memory")]

use std::ops::Range;

use candle_core::{Device, Result, Tensor, bail};
use rayon::prelude::*;

use crate::layout::{channels_first_view, channels_last};
use crate::shared::Fresh;
use crate::simd::{Kernel, LANES, Lanewise, Simd, dispatch, map, part, sum};
use crate::values::{Values, is_native};
use crate::{float, plain};

/// What follows a group normalisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Nothing.
    Nothing,
    /// The SiLU activation.
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
    let channels = match x.dims() {
        [_, channels, ..] => *channels,
        [] | [_] => bail!(
            "group norm wants [batch, channels, ...], got {:?}",
            x.dims()
        ),
    };
    let fits = [weight, bias].iter().all(|w| w.dims() == [channels]);
    if groups == 0 || channels % groups != 0 || !fits {
        bail!("{groups} groups do not fit {channels} channels");
    }
    if x.rank() != 4 || x.elem_count() == 0 || ![x, weight, bias].iter().all(|x| is_native(x)) {
        return plain::group_norm(x, weight, bias, groups, eps, then);
    }
    let last = channels_last(x)?;
    let (batch, height, width, _) = last.dims4()?;
    let (weight, bias) = (weight.contiguous()?, bias.contiguous()?);
    let x = Values::of(&last)?;
    let norm = GroupNorm {
        x: &x,
        weight: &Values::of(&weight)?,
        bias: &Values::of(&bias)?,
        batch,
        pixels: height * width,
        channels,
        groups,
        eps,
        then,
    };
    let out = Tensor::from_vec(norm.run(), (batch, height, width, channels), &Device::Cpu)?;
    channels_first_view(&out)
}

struct GroupNorm<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    bias: &'a [f32],
    batch: usize,
    pixels: usize,
    channels: usize,
    groups: usize,
    eps: f64,
    then: Then,
}

impl GroupNorm<'_> {
    fn run(&self) -> Vec<f32> {
        // From the shape alone, so that nothing else can change the order of the sums.
        let rows = (64 * 1024 / self.channels).clamp(16, 256).min(self.pixels);
        let chunk = rows * self.channels;
        let image = self.pixels * self.channels;
        let moments: Vec<Vec<Moments>> = (0..self.batch)
            .into_par_iter()
            .map(|b| {
                let x = &self.x[b * image..][..image];
                let chunks = x.par_chunks(chunk);
                chunks.map(|x| dispatch(Moment(x, self.channels))).collect()
            })
            .collect();
        let affine: Vec<_> = moments.iter().map(|moments| self.affine(moments)).collect();
        let mut fresh = Fresh::new(self.x.len());
        let out = fresh.share(self.x.len());
        let chunks = self.pixels.div_ceil(rows);
        (0..self.batch * chunks).into_par_iter().for_each(|i| {
            let (b, first) = (i / chunks, i % chunks * chunk);
            let start = b * image + first;
            let x = &self.x[start..][..chunk.min(image - first)];
            dispatch(Apply {
                x,
                to: out.place(start, x.len()),
                affine: &affine[b],
                then: self.then,
            });
        });
        // SAFETY: the tasks have written every chunk of every image.
        unsafe { fresh.into_vec(self.x.len()) }
    }

    /// Returns, for each channel of a picture, what to multiply by and what to add.
    fn affine(&self, moments: &[Moments]) -> Affine {
        let per_group = self.channels / self.groups;
        let mut affine = Affine {
            scale: vec![0.0; self.channels],
            shift: vec![0.0; self.channels],
        };
        for group in 0..self.groups {
            let channels = group * per_group..(group + 1) * per_group;
            let (mean, inverse) = self.merge(moments, channels.clone());
            for c in channels {
                affine.scale[c] = to_f32(inverse) * self.weight[c];
                affine.shift[c] = self.bias[c] - to_f32(mean) * affine.scale[c];
            }
        }
        affine
    }

    /// Returns the mean of some channels and one over the root of their variance plus `eps`.
    fn merge(&self, moments: &[Moments], channels: Range<usize>) -> (f64, f64) {
        let all = || {
            moments
                .iter()
                .flat_map(|m| channels.clone().map(move |c| (m, c)))
        };
        let count = (self.pixels * channels.len()) as f64;
        let weighted = all().map(|(m, c)| m.rows * f64::from(m.mean[c]));
        let mean = weighted.sum::<f64>() / count;
        let squares = all().map(|(m, c)| {
            let distance = f64::from(m.mean[c]) - mean;
            f64::from(m.squares[c]) + m.rows * distance * distance
        });
        let variance = squares.sum::<f64>() / count;
        (mean, 1.0 / (variance + self.eps).sqrt())
    }
}

struct Affine {
    scale: Vec<f32>,
    shift: Vec<f32>,
}

/// Of some rows: each channel's mean, and sum of squares around it.
struct Moments {
    rows: f64,
    mean: Vec<f32>,
    squares: Vec<f32>,
}

struct Moment<'a>(&'a [f32], usize);

impl Kernel for Moment<'_> {
    type Out = Moments;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Moments {
        let Self(x, channels) = self;
        let rows = (x.len() / channels) as f64;
        let mut mean = vec![0.0; channels];
        for row in x.chunks_exact(channels) {
            accumulate(s, &mut mean, row, row, Sum);
        }
        let inverse = to_f32(1.0 / rows);
        mean.iter_mut().for_each(|sum| *sum *= inverse);
        let mut squares = vec![0.0; channels];
        for row in x.chunks_exact(channels) {
            accumulate(s, &mut squares, row, &mean, Squares);
        }
        Moments {
            rows,
            mean,
            squares,
        }
    }
}

/// Replaces every sum by `f` of the value, the sum and `other`.
#[inline(always)]
fn accumulate<S: Simd, F: Lanewise>(s: S, sums: &mut [f32], x: &[f32], other: &[f32], f: F) {
    assert!(
        sums.len() == x.len() && other.len() == x.len(),
        "operands are as long"
    );
    let (x, x_rest) = x.as_chunks::<LANES>();
    let (other, other_rest) = other.as_chunks::<LANES>();
    let (sums, sums_rest) = sums.as_chunks_mut::<LANES>();
    for ((sum, x), other) in sums.iter_mut().zip(x).zip(other) {
        let value = f.of(s, s.load(x), s.load(sum), s.load(other));
        s.store(sum, value);
    }
    if !sums_rest.is_empty() {
        let (x, other) = (part(s, x_rest, 0.0), part(s, other_rest, 0.0));
        let value = s.array(f.of(s, x, part(s, sums_rest, 0.0), other));
        sums_rest.copy_from_slice(&value[..sums_rest.len()]);
    }
}

/// `a + x`.
#[derive(Clone, Copy)]
struct Sum;

impl Lanewise for Sum {
    #[inline(always)]
    fn of<S: Simd>(self, s: S, x: S::V, a: S::V, _: S::V) -> S::V {
        s.add(a, x)
    }
}

/// `a + (x - b)^2`.
#[derive(Clone, Copy)]
struct Squares;

impl Lanewise for Squares {
    #[inline(always)]
    fn of<S: Simd>(self, s: S, x: S::V, a: S::V, b: S::V) -> S::V {
        let distance = s.sub(x, b);
        s.fma(distance, distance, a)
    }
}

/// `x * a + b`.
#[derive(Clone, Copy)]
struct Affinely;

impl Lanewise for Affinely {
    #[inline(always)]
    fn of<S: Simd>(self, s: S, x: S::V, a: S::V, b: S::V) -> S::V {
        s.fma(x, a, b)
    }
}

/// The SiLU of `x * a + b`.
#[derive(Clone, Copy)]
struct AffinelySilu;

impl Lanewise for AffinelySilu {
    #[inline(always)]
    fn of<S: Simd>(self, s: S, x: S::V, a: S::V, b: S::V) -> S::V {
        float::silu(s, s.fma(x, a, b))
    }
}

struct Apply<'a> {
    x: &'a [f32],
    to: *mut f32,
    affine: &'a Affine,
    then: Then,
}

impl Kernel for Apply<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Affine { scale, shift } = self.affine;
        for (i, x) in self.x.chunks_exact(scale.len()).enumerate() {
            // SAFETY: whoever made this has room for all of `x`.
            unsafe {
                let to = self.to.add(i * scale.len());
                match self.then {
                    Then::Nothing => map(s, to, x, [scale, shift], Affinely),
                    Then::Silu => map(s, to, x, [scale, shift], AffinelySilu),
                }
            }
        }
    }
}

/// Rows a task normalises at once.
const ROWS: usize = 32;

/// Returns `x` with every row of its last dimension normalised.
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    let width = x.dims().last().copied().unwrap_or(0);
    if width == 0 || weight.dims() != [width] || bias.dims() != [width] {
        bail!(
            "layer norm of {:?} cannot take {:?}",
            weight.dims(),
            x.dims()
        );
    }
    if ![x, weight, bias].iter().all(|x| is_native(x)) {
        return plain::layer_norm(x, weight, bias, eps);
    }
    let (x, weight, bias) = (x.contiguous()?, weight.contiguous()?, bias.contiguous()?);
    let values = Values::of(&x)?;
    let (weight, bias) = (Values::of(&weight)?, Values::of(&bias)?);
    let (weight, bias): (&[f32], &[f32]) = (&weight, &bias);
    let mut fresh = Fresh::new(values.len());
    let out = fresh.share(values.len());
    let blocks = values.par_chunks(ROWS * width).enumerate();
    blocks.for_each(|(i, x)| {
        let to = out.place(i * ROWS * width, x.len());
        dispatch(LayerNorm(x, to, weight, bias, eps));
    });
    // SAFETY: the tasks have written every block of rows.
    let out = unsafe { fresh.into_vec(values.len()) };
    Tensor::from_vec(out, x.shape(), &Device::Cpu)
}

struct LayerNorm<'a>(&'a [f32], *mut f32, &'a [f32], &'a [f32], f64);

impl Kernel for LayerNorm<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self(x, to, weight, bias, eps) = self;
        let width = weight.len();
        let count = width as f64;
        for (i, x) in x.chunks_exact(width).enumerate() {
            let mean = to_f32(f64::from(total(s, x, Sum, 0.0)) / count);
            let squares = f64::from(total(s, x, Squares, mean));
            let inverse = to_f32(1.0 / (squares / count + eps).sqrt());
            // SAFETY: whoever made this has room for all rows.
            unsafe {
                map(
                    s,
                    to.add(i * width),
                    x,
                    [weight, bias],
                    Standardised { mean, inverse },
                );
            }
        }
    }
}

/// `(x - mean) * inverse * a + b`.
#[derive(Clone, Copy)]
struct Standardised {
    mean: f32,
    inverse: f32,
}

impl Lanewise for Standardised {
    #[inline(always)]
    fn of<S: Simd>(self, s: S, x: S::V, a: S::V, b: S::V) -> S::V {
        let centred = s.sub(x, s.splat(self.mean));
        s.fma(s.mul(centred, s.splat(self.inverse)), a, b)
    }
}

/// Returns the sum `f` gathers over a row whose last vector is filled up with `centre`.
#[inline(always)]
fn total<S: Simd, F: Lanewise>(s: S, x: &[f32], f: F, centre: f32) -> f32 {
    let around = s.splat(centre);
    let (whole, rest) = x.as_chunks::<LANES>();
    let mut lanes = [s.splat(0.0); 2];
    for (i, x) in whole.iter().enumerate() {
        lanes[i % 2] = f.of(s, s.load(x), lanes[i % 2], around);
    }
    if !rest.is_empty() {
        lanes[0] = f.of(s, part(s, rest, centre), lanes[0], around);
    }
    sum(s, s.add(lanes[0], lanes[1]))
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "rounding to f32 is the point"
)]
fn to_f32(x: f64) -> f32 {
    x as f32
}

#[cfg(test)]
mod tests;
