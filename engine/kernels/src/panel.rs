//! Weights rearranged once into panels that the products read in order.
//!
//! A panel holds 64 outputs: for every input and every tap of the kernel, 64 neighbouring weights. What
//! a file stores as half floats may stay so in memory; the products widen a block at a time.

#![expect(
    unsafe_code,
    reason = "hands raw blocks to the products; each block says why it is sound"
)]

use std::ops::Range;

use candle_core::{CpuStorage, DType, Device, Result, Storage, Tensor, bail};
use half::{bf16, f16};
use rayon::prelude::*;

use crate::simd::{LANES, Simd};

/// Outputs side by side in a panel.
pub(crate) const PANEL: usize = 64;

/// In which order a weight's outputs are laid side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// As they are.
    Plain,
    /// Thirty-two of the first half beside their thirty-two of the second half, so that both halves of a
    /// gated unit end in one panel. Needs a multiple of 64 outputs.
    Gated,
}

impl Order {
    /// Returns which output lies at `lane` (counted over all panels).
    pub(crate) fn output(self, lane: usize, outer: usize) -> usize {
        match self {
            Self::Plain => lane,
            Self::Gated => {
                let half = lane % PANEL / (PANEL / 2);
                lane / PANEL * (PANEL / 2) + lane % (PANEL / 2) + half * (outer / 2)
            }
        }
    }
}

/// The panels' values, in the type they are kept in.
pub(crate) enum Store {
    F32(Vec<f32>),
    F16(Vec<f16>),
    Bf16(Vec<bf16>),
}

/// A type weights are kept in.
pub(crate) trait Stored: Copy + Default + Send + Sync {
    /// Returns sixteen values as `f32`.
    fn read<S: Simd>(s: S, from: &[Self; LANES]) -> S::V;
}

impl Stored for f32 {
    #[inline(always)]
    fn read<S: Simd>(s: S, from: &[Self; LANES]) -> S::V {
        s.load(from)
    }
}

impl Stored for f16 {
    #[inline(always)]
    fn read<S: Simd>(s: S, from: &[Self; LANES]) -> S::V {
        // SAFETY: the array holds sixteen values, which are `u16` underneath.
        unsafe { s.read_f16(from.as_ptr().cast()) }
    }
}

impl Stored for bf16 {
    #[inline(always)]
    fn read<S: Simd>(s: S, from: &[Self; LANES]) -> S::V {
        // SAFETY: the array holds sixteen values, which are `u16` underneath.
        unsafe { s.read_bf16(from.as_ptr().cast()) }
    }
}

/// A weight of `[outer, inner, taps]`, in panels.
pub(crate) struct Panels {
    store: Store,
    order: Order,
    pub(crate) outer: usize,
    pub(crate) inner: usize,
    pub(crate) taps: usize,
}

impl std::fmt::Debug for Panels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shape = [self.outer, self.inner, self.taps];
        f.debug_struct("Panels")
            .field("shape", &shape)
            .finish_non_exhaustive()
    }
}

impl Panels {
    /// Returns whether a weight can be rearranged: on a CPU, in `f32`, `f16` or `bf16`, and no view.
    pub(crate) fn take(weight: &Tensor) -> bool {
        matches!(weight.dtype(), DType::F32 | DType::F16 | DType::BF16)
            && weight.device().is_cpu()
            && weight.is_contiguous()
    }

    /// Rearranges a weight of `[outer, inner]` or `[outer, inner, side, side]`.
    pub(crate) fn new(weight: &Tensor, order: Order) -> Result<Self> {
        let (outer, inner, taps) = match weight.dims() {
            [outer, inner] => (*outer, *inner, 1),
            [outer, inner, height, width] => (*outer, *inner, height * width),
            dims => bail!("weights are [out, in] or [out, in, k, k], got {dims:?}"),
        };
        if order == Order::Gated && outer % PANEL != 0 {
            bail!("{outer} outputs do not gate each other in panels of {PANEL}");
        }
        let places = (outer, inner * taps);
        let (storage, layout) = weight.storage_and_layout();
        let Some((start, end)) = layout.contiguous_offsets() else {
            bail!("weights must be contiguous, got {layout:?}");
        };
        let store = if let Storage::Cpu(CpuStorage::F32(v)) = &*storage {
            Store::F32(arrange(&v[start..end], places, order))
        } else if let Storage::Cpu(CpuStorage::F16(v)) = &*storage {
            Store::F16(arrange(&v[start..end], places, order))
        } else if let Storage::Cpu(CpuStorage::BF16(v)) = &*storage {
            Store::Bf16(arrange(&v[start..end], places, order))
        } else {
            bail!(
                "weights in {:?} on {:?} are not for panels",
                weight.dtype(),
                weight.device()
            );
        };
        Ok(Self {
            store,
            order,
            outer,
            inner,
            taps,
        })
    }

    /// Returns the weight as it was given, in the type it is stored in, flattened.
    pub(crate) fn to_tensor(&self) -> Result<Tensor> {
        let places = (self.outer, self.inner * self.taps);
        let device = &Device::Cpu;
        match &self.store {
            Store::F32(v) => Tensor::from_vec(restore(v, places, self.order), self.len(), device),
            Store::F16(v) => Tensor::from_vec(restore(v, places, self.order), self.len(), device),
            Store::Bf16(v) => Tensor::from_vec(restore(v, places, self.order), self.len(), device),
        }
    }

    fn len(&self) -> usize {
        self.outer * self.inner * self.taps
    }

    pub(crate) fn count(&self) -> usize {
        self.outer.div_ceil(PANEL)
    }

    /// Returns how many lanes a panel has: 64, fewer but a multiple of 16 in the last.
    #[inline]
    pub(crate) fn width(&self, panel: usize) -> usize {
        width(self.outer, panel)
    }

    /// Returns the weights of a panel from `inputs` at a tap: the first of them, and the distance from
    /// one input to the next. Half floats are widened into `scratch`.
    ///
    /// The result is valid for as long as both borrows are.
    #[inline(always)]
    pub(crate) fn block<S: Simd>(
        &self,
        s: S,
        panel: usize,
        tap: usize,
        inputs: Range<usize>,
        scratch: &mut [f32],
    ) -> (*const f32, usize) {
        assert!(
            panel < self.count() && tap < self.taps && inputs.end <= self.inner,
            "the block lies inside the weights"
        );
        let width = self.width(panel);
        let start = self.start(panel) + (inputs.start * self.taps + tap) * width;
        let step = self.taps * width;
        match &self.store {
            Store::F32(values) => (values[start..].as_ptr(), step),
            Store::F16(values) => {
                widen(s, &values[start..], (width, step), inputs.len(), scratch);
                (scratch.as_ptr(), width)
            }
            Store::Bf16(values) => {
                widen(s, &values[start..], (width, step), inputs.len(), scratch);
                (scratch.as_ptr(), width)
            }
        }
    }

    /// Returns the order of the outputs.
    pub(crate) fn order(&self) -> Order {
        self.order
    }

    /// Returns where a panel begins.
    #[inline]
    pub(crate) fn start(&self, panel: usize) -> usize {
        panel * PANEL * self.inner * self.taps
    }

    /// Returns all values; a panel is `[inner, taps, width]`.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }
}

/// Widens `count` runs of `width` values, `step` apart, and writes them one after another.
#[inline(always)]
fn widen<S: Simd, T: Stored>(
    s: S,
    from: &[T],
    (width, step): (usize, usize),
    count: usize,
    to: &mut [f32],
) {
    for (i, to) in to[..count * width].chunks_exact_mut(width).enumerate() {
        let from = from[i * step..][..width].as_chunks::<LANES>().0;
        for (to, from) in to.as_chunks_mut::<LANES>().0.iter_mut().zip(from) {
            s.store(to, T::read(s, from));
        }
    }
}

fn width(outer: usize, panel: usize) -> usize {
    (outer - panel * PANEL).min(PANEL).next_multiple_of(LANES)
}

/// Calls `f` with lane over all panels and output for the outputs of one panel.
fn lanes(outer: usize, panel: usize, order: Order) -> impl Iterator<Item = (usize, usize)> {
    let first = panel * PANEL;
    let here = (outer - first).min(PANEL);
    (0..here).map(move |lane| (lane, order.output(first + lane, outer)))
}

fn arrange<T: Copy + Default + Send + Sync>(
    from: &[T],
    (outer, depth): (usize, usize),
    order: Order,
) -> Vec<T> {
    let mut to = vec![T::default(); outer.next_multiple_of(LANES) * depth];
    to.par_chunks_mut((PANEL * depth).max(1))
        .enumerate()
        .for_each(|(panel, to)| {
            let width = width(outer, panel);
            for first in (0..depth).step_by(LANES) {
                let last = (first + LANES).min(depth);
                for (lane, output) in lanes(outer, panel, order) {
                    let row = &from[output * depth..][first..last];
                    let column = to[first * width + lane..].iter_mut().step_by(width);
                    column.zip(row).for_each(|(to, from)| *to = *from);
                }
            }
        });
    to
}

fn restore<T: Copy + Default>(from: &[T], (outer, depth): (usize, usize), order: Order) -> Vec<T> {
    let mut to = vec![T::default(); outer * depth];
    for (panel, from) in from.chunks((PANEL * depth).max(1)).enumerate() {
        let width = width(outer, panel);
        // A few rows of the panel at a time, which stay in the cache while every lane takes its own.
        for first in (0..depth).step_by(LANES) {
            let last = (first + LANES).min(depth);
            for (lane, output) in lanes(outer, panel, order) {
                let column = from[first * width + lane..].iter().step_by(width);
                let row = &mut to[output * depth..][first..last];
                row.iter_mut()
                    .zip(column)
                    .for_each(|(to, from)| *to = *from);
            }
        }
    }
    to
}
