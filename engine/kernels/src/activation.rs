//! Activations over whole tensors, sixteen elements at a time and on all threads.

#![expect(unsafe_code, reason = "results are written into fresh memory")]

use candle_core::{Device, Result, Tensor, bail};
use rayon::prelude::*;

use crate::shared::Fresh;
use crate::simd::{Kernel, Lanewise, Simd, dispatch, map};
use crate::values::{Values, is_native};
use crate::{float, plain};

/// Elements a task takes at once.
const CHUNK: usize = 16 * 1024;

/// An activation that maps each element on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// x times its logistic function.
    Silu,
    /// The exact GELU, with the error function.
    Gelu,
    /// x times the logistic function of 1.702 x, as CLIP-L has it.
    QuickGelu,
}

impl Activation {
    /// Returns the activation of every element of `x`.
    pub fn apply(self, x: &Tensor) -> Result<Tensor> {
        if !is_native(x) {
            return match self {
                Self::Silu => x.silu(),
                Self::Gelu => x.gelu_erf(),
                Self::QuickGelu => {
                    // 1 + tanh is twice the logistic function of the double.
                    let sigmoid = (((x * (1.702 / 2.0))?.tanh()? + 1.0)? * 0.5)?;
                    x * sigmoid
                }
            };
        }
        let x = x.contiguous()?;
        let values = Values::of(&x)?;
        let mut fresh = Fresh::new(values.len());
        let out = fresh.share(values.len());
        values.par_chunks(CHUNK).enumerate().for_each(|(i, x)| {
            let to = out.place(i * CHUNK, x.len());
            dispatch(Apply(self, x, to));
        });
        // SAFETY: the tasks have written every chunk.
        let out = unsafe { fresh.into_vec(values.len()) };
        Tensor::from_vec(out, x.shape(), &Device::Cpu)
    }
}

struct Apply<'a>(Activation, &'a [f32], *mut f32);

impl Kernel for Apply<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self(activation, x, to) = self;
        // SAFETY: whoever made this has room for all of `x`.
        unsafe {
            match activation {
                Activation::Silu => map(s, to, x, [x; 2], Silu),
                Activation::Gelu => map(s, to, x, [x; 2], Gelu),
                Activation::QuickGelu => map(s, to, x, [x; 2], QuickGelu),
            }
        }
    }
}

#[derive(Clone, Copy)]
struct Silu;

impl Lanewise for Silu {
    #[inline(always)]
    fn of<S: Simd>(self, s: S, x: S::V, _: S::V, _: S::V) -> S::V {
        float::silu(s, x)
    }
}

#[derive(Clone, Copy)]
struct Gelu;

impl Lanewise for Gelu {
    #[inline(always)]
    fn of<S: Simd>(self, s: S, x: S::V, _: S::V, _: S::V) -> S::V {
        float::gelu(s, x)
    }
}

#[derive(Clone, Copy)]
struct QuickGelu;

impl Lanewise for QuickGelu {
    #[inline(always)]
    fn of<S: Simd>(self, s: S, x: S::V, _: S::V, _: S::V) -> S::V {
        float::quick_gelu(s, x)
    }
}

/// A gated half: the GELU of `x` times `a`.
#[derive(Clone, Copy)]
struct Gate;

impl Lanewise for Gate {
    #[inline(always)]
    fn of<S: Simd>(self, s: S, x: S::V, a: S::V, _: S::V) -> S::V {
        s.mul(float::gelu(s, x), a)
    }
}

struct ApplyGate<'a>(&'a [f32], &'a [f32], *mut f32);

impl Kernel for ApplyGate<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self(value, gate, to) = self;
        // SAFETY: whoever made this has room for all of `gate`.
        unsafe { map(s, to, gate, [value; 2], Gate) };
    }
}

/// Returns the first half of each row times the exact GELU of its second half.
pub fn geglu(x: &Tensor) -> Result<Tensor> {
    let mut dims = x.dims().to_vec();
    let width = match dims.last_mut() {
        Some(last) if *last > 0 && *last % 2 == 0 => {
            *last /= 2;
            *last
        }
        Some(_) | None => bail!("geglu wants an even last dimension, got {:?}", x.dims()),
    };
    if !is_native(x) {
        return plain::geglu(x);
    }
    let x = x.contiguous()?;
    let values = Values::of(&x)?;
    let mut fresh = Fresh::new(values.len() / 2);
    let out = fresh.share(values.len() / 2);
    let rows = values.par_chunks(2 * width).enumerate();
    rows.with_min_len(CHUNK.div_ceil(width))
        .for_each(|(i, row)| {
            let (value, gate) = row.split_at(width);
            let to = out.place(i * width, width);
            dispatch(ApplyGate(value, gate, to));
        });
    // SAFETY: the tasks have written every row.
    let out = unsafe { fresh.into_vec(values.len() / 2) };
    Tensor::from_vec(out, dims, &Device::Cpu)
}

#[cfg(test)]
mod tests;
