//! Multi-head attention without the score matrix of the whole image.
//!
//! Sixty-four queries meet the keys a tile at a time. Queries lie side by side in the vectors, so that the
//! running maximum, the exponentials and the sums of the softmax need no step across lanes; both
//! products are the ones linear layers use. Heads of any width are read in place.

#![expect(unsafe_code, reason = "results are written into fresh memory")]

use std::cell::RefCell;

use candle_core::{Device, Result, Tensor, bail};
use rayon::prelude::*;

use crate::float::exp2;
use crate::layout::transposed;
use crate::panel::PANEL;
use crate::plain;
use crate::product::{TILE, multiply};
use crate::shared::{Fresh, Shared};
use crate::simd::{Kernel, LANES, Simd, dispatch};
use crate::values::{Values, is_native};

/// Which keys a query may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mask {
    /// All of them.
    Nothing,
    /// Those at its own position and before.
    Causal,
}

/// Queries worked on at once, side by side.
const QUERIES: usize = PANEL;
/// Keys scored at once: their scores take 16 KiB, so that they stay in the first cache with the queries.
const KEYS: usize = 64;
/// Channels multiplied at once.
const DEPTH: usize = 128;

/// Returns the attention of `[batch, tokens, channels]` queries over keys and values of the same
/// batch and channels, which are split evenly over `heads`.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, heads: usize, mask: Mask) -> Result<Tensor> {
    let (batch, queries, channels) = q.dims3()?;
    let (k_batch, keys, k_channels) = k.dims3()?;
    if (k_batch, k_channels) != (batch, channels) || k.dims() != v.dims() {
        bail!(
            "attention of {:?} over {:?} and {:?}",
            q.dims(),
            k.dims(),
            v.dims()
        );
    }
    if heads == 0 || channels % heads != 0 || keys == 0 {
        bail!("{channels} channels do not split into {heads} heads over {keys} keys");
    }
    if !(is_native(q) && is_native(k) && is_native(v)) {
        return plain::attention(q, k, v, heads, mask);
    }
    let (q, k, v) = (q.contiguous()?, k.contiguous()?, v.contiguous()?);
    let (q, k, v) = (Values::of(&q)?, Values::of(&k)?, Values::of(&v)?);
    let task = Attention {
        q: &q,
        k: &k,
        v: &transposed(&v, batch, keys, channels),
        batch,
        queries,
        keys,
        channels,
        heads,
        mask,
    };
    let mut out = Fresh::new(q.len());
    task.run(out.share(q.len()));
    // SAFETY: the tasks write every head of every query.
    let out = unsafe { out.into_vec(q.len()) };
    Tensor::from_vec(out, (batch, queries, channels), &Device::Cpu)
}

struct Attention<'a> {
    q: &'a [f32],
    k: &'a [f32],
    /// `[batch, channels, keys]`.
    v: &'a [f32],
    batch: usize,
    queries: usize,
    keys: usize,
    channels: usize,
    heads: usize,
    mask: Mask,
}

impl Attention<'_> {
    fn run(&self, out: Shared<'_>) {
        let blocks = self.queries.div_ceil(QUERIES);
        let tasks = self.batch * self.heads * blocks;
        (0..tasks).into_par_iter().for_each(|i| {
            let (head, block) = (i / blocks, i % blocks);
            dispatch(Block {
                whole: self,
                image: head / self.heads,
                first_channel: head % self.heads * (self.channels / self.heads),
                first: block * QUERIES,
                count: (self.queries - block * QUERIES).min(QUERIES),
                out,
            });
        });
    }

    fn width(&self) -> usize {
        self.channels / self.heads
    }
}

/// One head of a block of queries.
struct Block<'a, 'b> {
    whole: &'a Attention<'a>,
    image: usize,
    first_channel: usize,
    first: usize,
    count: usize,
    out: Shared<'b>,
}

#[derive(Default)]
struct Scratch {
    /// `[channel, query]`, scaled for powers of two.
    queries: Vec<f32>,
    /// `[key, query]`.
    scores: Vec<f32>,
    /// `[channel, query]`.
    sums: Vec<f32>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Largest score so far and sum of the weights so far, for each query.
struct Running<V> {
    highest: [V; QUERIES / LANES],
    total: [V; QUERIES / LANES],
}

impl Kernel for Block<'_, '_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let width = self.whole.width();
        let mut scratch = SCRATCH.take();
        scratch.queries.resize(width * QUERIES, 0.0);
        scratch.scores.resize(KEYS * QUERIES, 0.0);
        scratch.sums.clear();
        scratch.sums.resize(width * QUERIES, 0.0);
        self.load_queries(&mut scratch.queries);
        let mut running = Running {
            highest: [s.splat(f32::NEG_INFINITY); QUERIES / LANES],
            total: [s.splat(0.0); QUERIES / LANES],
        };
        let seen = match self.whole.mask {
            Mask::Nothing => self.whole.keys,
            Mask::Causal => self.whole.keys.min(self.first + self.count),
        };
        for key in (0..seen).step_by(KEYS) {
            let count = (seen - key).min(KEYS);
            let scores = &mut scratch.scores[..count * QUERIES];
            self.score(s, key, &scratch.queries, scores);
            if self.whole.mask == Mask::Causal {
                self.hide(key, scores);
            }
            soften(s, &mut running, scores, &mut scratch.sums);
            self.gather(s, key, scores, &mut scratch.sums);
        }
        self.write(s, &running, &scratch.sums);
        SCRATCH.set(scratch);
    }
}

impl Block<'_, '_> {
    fn load_queries(&self, to: &mut [f32]) {
        let Attention { q, channels, .. } = *self.whole;
        let scale = std::f32::consts::LOG2_E / (self.whole.width() as f32).sqrt();
        for lane in 0..QUERIES {
            // Lanes behind the last query repeat it; their results are dropped.
            let query = self.first + lane.min(self.count - 1);
            let start = (self.image * self.whole.queries + query) * channels + self.first_channel;
            let column = to[lane..].iter_mut().step_by(QUERIES);
            column.zip(&q[start..]).for_each(|(to, q)| *to = q * scale);
        }
    }

    /// Writes the scores of the keys from `first`.
    #[inline(always)]
    fn score<S: Simd>(&self, s: S, first: usize, queries: &[f32], scores: &mut [f32]) {
        let Attention {
            k, keys, channels, ..
        } = *self.whole;
        let width = self.whole.width();
        for (tile, scores) in scores.chunks_mut(TILE * QUERIES).enumerate() {
            let last = scores.len() / QUERIES - 1;
            for from in (0..width).step_by(DEPTH) {
                let depth = (width - from).min(DEPTH);
                let rows = std::array::from_fn(|i| {
                    let key = self.image * keys + first + tile * TILE + i.min(last);
                    k[key * channels + self.first_channel + from..][..depth].as_ptr()
                });
                let queries = queries[from * QUERIES..][..depth * QUERIES].as_ptr();
                // SAFETY: each key's row holds `depth` values, and so many rows of 64 queries follow.
                unsafe {
                    multiply(
                        s,
                        &rows,
                        (queries, QUERIES),
                        depth,
                        QUERIES,
                        scores,
                        from == 0,
                    );
                }
            }
        }
    }

    /// Hides from each query the keys behind it.
    fn hide(&self, first: usize, scores: &mut [f32]) {
        for (i, scores) in scores.as_chunks_mut::<QUERIES>().0.iter_mut().enumerate() {
            let hidden = (first + i).saturating_sub(self.first).min(QUERIES);
            scores[..hidden].fill(f32::NEG_INFINITY);
        }
    }

    /// Adds the weighted values of the keys from `first` to the sums.
    #[inline(always)]
    fn gather<S: Simd>(&self, s: S, first: usize, weights: &[f32], sums: &mut [f32]) {
        let Attention {
            v, keys, channels, ..
        } = *self.whole;
        let depth = weights.len() / QUERIES;
        for (tile, sums) in sums.chunks_mut(TILE * QUERIES).enumerate() {
            let last = sums.len() / QUERIES - 1;
            let rows = std::array::from_fn(|i| {
                let channel = self.first_channel + tile * TILE + i.min(last);
                v[(self.image * channels + channel) * keys + first..][..depth].as_ptr()
            });
            // SAFETY: each channel's row holds `depth` values, and so many rows of 64 weights follow.
            unsafe {
                multiply(
                    s,
                    &rows,
                    (weights.as_ptr(), QUERIES),
                    depth,
                    QUERIES,
                    sums,
                    false,
                );
            }
        }
    }

    /// Divides the sums by the totals and writes them where they belong.
    #[inline(always)]
    fn write<S: Simd>(&self, s: S, running: &Running<S::V>, sums: &[f32]) {
        let width = self.whole.width();
        let mut inverse = [0.0; QUERIES];
        for (to, total) in inverse.as_chunks_mut().0.iter_mut().zip(&running.total) {
            s.store(to, s.div(s.splat(1.0), *total));
        }
        for (lane, inverse) in inverse.iter().enumerate().take(self.count) {
            let query = self.image * self.whole.queries + self.first + lane;
            let to = self
                .out
                .place(query * self.whole.channels + self.first_channel, width);
            let column = sums[lane..].iter().step_by(QUERIES);
            for (i, sum) in column.enumerate().take(width) {
                // SAFETY: `place` checked the bounds; no other task has this head of this query.
                unsafe { to.add(i).write(sum * inverse) };
            }
        }
    }
}

/// Replaces scores by powers of two relative to the running maximum, which they may raise: then
/// what was summed under the old one shrinks.
#[inline(always)]
fn soften<S: Simd>(s: S, running: &mut Running<S::V>, scores: &mut [f32], sums: &mut [f32]) {
    const VECTORS: usize = QUERIES / LANES;
    let scores = scores.as_chunks_mut::<QUERIES>().0;
    let mut highest = running.highest;
    for row in scores.iter() {
        for (highest, score) in highest.iter_mut().zip(row.as_chunks().0) {
            *highest = s.max(*highest, s.load(score));
        }
    }
    let mut shrink = [s.splat(0.0); VECTORS];
    let mut total = running.total;
    for v in 0..VECTORS {
        shrink[v] = exp2(s, s.sub(running.highest[v], highest[v]));
        total[v] = s.mul(total[v], shrink[v]);
    }
    for row in sums.as_chunks_mut::<QUERIES>().0 {
        for (sum, shrink) in row.as_chunks_mut().0.iter_mut().zip(&shrink) {
            let shrunk = s.mul(s.load(sum), *shrink);
            s.store(sum, shrunk);
        }
    }
    for row in scores {
        for (v, score) in row.as_chunks_mut().0.iter_mut().enumerate() {
            let weight = exp2(s, s.sub(s.load(score), highest[v]));
            total[v] = s.add(total[v], weight);
            s.store(score, weight);
        }
    }
    *running = Running { highest, total };
}

#[cfg(test)]
mod tests;
