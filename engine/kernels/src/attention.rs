//! Multi-head attention without the score matrix of the whole image.
//!
//! A block of queries is scored against all keys, softened and applied to the values while the scores
//! are still in the cache. Heads are read in place by stride: no reshaping copies.

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use crate::matmul::{Mat, MatMut, Onto, Threads, matmul};
use crate::{contiguous, float};

/// Which keys a query may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mask {
    /// All of them.
    Nothing,
    /// Those at its own position and before.
    Causal,
}

/// Returns the attention of `[batch, tokens, channels]` queries over keys and values of the same
/// batch and channels, which are split evenly over `heads`.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, heads: usize, mask: Mask) -> Result<Tensor> {
    q.apply_op3_no_bwd(k, v, &Attention { heads, mask })
}

struct Attention {
    heads: usize,
    mask: Mask,
}

/// Most queries scored at once: 128 rows of 4096 keys are 2 MiB.
const QUERIES: usize = 128;

impl CustomOp3 for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(
        &self,
        q: &CpuStorage,
        q_layout: &Layout,
        k: &CpuStorage,
        k_layout: &Layout,
        v: &CpuStorage,
        v_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (batch, queries, channels) = q_layout.shape().dims3()?;
        let (k_batch, keys, k_channels) = k_layout.shape().dims3()?;
        if (k_batch, k_channels) != (batch, channels) || k_layout.dims() != v_layout.dims() {
            bail!(
                "attention of {:?} over {:?}",
                q_layout.dims(),
                k_layout.dims()
            );
        }
        if self.heads == 0 || channels % self.heads != 0 || keys == 0 {
            bail!("{channels} channels do not split into {} heads", self.heads);
        }
        let (q, k, v) = (
            contiguous(q, q_layout)?,
            contiguous(k, k_layout)?,
            contiguous(v, v_layout)?,
        );
        let mut out = vec![0.0; q.len()];
        let tasks = rayon::current_num_threads().saturating_mul(2);
        let block = queries
            .div_ceil(tasks.div_ceil(batch.max(1)))
            .clamp(1, QUERIES);
        let head = HeadLayout {
            width: channels / self.heads,
            channels,
        };
        out.par_chunks_mut((queries * channels).max(1))
            .enumerate()
            .for_each(|(b, out)| {
                let k = &k[b * keys * channels..(b + 1) * keys * channels];
                let v = &v[b * keys * channels..(b + 1) * keys * channels];
                out.par_chunks_mut(block * channels)
                    .enumerate()
                    .for_each_init(Vec::new, |scores, (i, out)| {
                        let first = i * block;
                        let start = (b * queries + first) * channels;
                        let q = &q[start..start + out.len()];
                        for h in 0..self.heads {
                            let at = h * head.width;
                            let limit = |row: usize| match self.mask {
                                Mask::Nothing => keys,
                                Mask::Causal => (first + row + 1).min(keys),
                            };
                            head.attend(
                                &mut out[at..],
                                &q[at..],
                                (&k[at..], &v[at..]),
                                keys,
                                scores,
                                limit,
                            );
                        }
                    });
            });
        Ok((CpuStorage::F32(out), q_layout.shape().clone()))
    }
}

/// Where one head lies in `[tokens, channels]`.
#[derive(Clone, Copy)]
struct HeadLayout {
    width: usize,
    channels: usize,
}

impl HeadLayout {
    fn attend(
        self,
        out: &mut [f32],
        q: &[f32],
        (k, v): (&[f32], &[f32]),
        keys: usize,
        scores: &mut Vec<f32>,
        limit: impl Fn(usize) -> usize,
    ) {
        let rows = q.len().div_ceil(self.channels);
        scores.resize(rows * keys, 0.0);
        let scale = 1.0 / (self.width as f32).sqrt();
        matmul(
            MatMut::new(scores, rows, keys, keys),
            Onto::Replace,
            Mat::new(q, rows, self.width, self.channels),
            Mat::new(k, keys, self.width, self.channels).transposed(),
            scale,
            Threads::One,
        );
        for (row, scores) in scores.chunks_mut(keys).enumerate() {
            soften(scores, limit(row));
        }
        matmul(
            MatMut::new(out, rows, self.width, self.channels),
            Onto::Replace,
            Mat::new(scores, rows, keys, keys),
            Mat::new(v, keys, self.width, self.channels),
            1.0,
            Threads::One,
        );
    }
}

/// Replaces the first `limit` scores by their softmax and the others by zero.
fn soften(scores: &mut [f32], limit: usize) {
    const LANES: usize = 16;
    let (seen, hidden) = scores.split_at_mut(limit);
    hidden.fill(0.0);
    let mut highest = [f32::NEG_INFINITY; LANES];
    for chunk in seen.chunks(LANES) {
        for (lane, score) in highest.iter_mut().zip(chunk) {
            *lane = lane.max(*score);
        }
    }
    let highest = highest.into_iter().fold(f32::NEG_INFINITY, f32::max);
    let mut sums = [0.0_f32; LANES];
    let mut chunks = seen.chunks_exact_mut(LANES);
    for chunk in &mut chunks {
        for (sum, score) in sums.iter_mut().zip(chunk) {
            *score = float::exp(*score - highest);
            *sum += *score;
        }
    }
    for (sum, score) in sums.iter_mut().zip(chunks.into_remainder()) {
        *score = float::exp(*score - highest);
        *sum += *score;
    }
    let inverse = 1.0 / sums.iter().sum::<f32>();
    seen.iter_mut().for_each(|score| *score *= inverse);
}

#[cfg(test)]
mod tests {
    use candle_core::{D, Device};

    use super::*;

    fn wave(shape: (usize, usize, usize), phase: f32) -> Tensor {
        let n = shape.0 * shape.1 * shape.2;
        let values: Vec<f32> = (0..n).map(|i| (i as f32 * 0.37 + phase).sin()).collect();
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    }

    fn plain(q: &Tensor, k: &Tensor, v: &Tensor, heads: usize, mask: Mask) -> Tensor {
        let (b, n, c) = q.dims3().unwrap();
        let m = k.dims3().unwrap().1;
        let split = |x: &Tensor, n| {
            let x = x.reshape((b, n, heads, c / heads)).unwrap();
            x.transpose(1, 2).unwrap().contiguous().unwrap()
        };
        let (q, k, v) = (split(q, n), split(k, m), split(v, m));
        let mut scores = q.matmul(&k.t().unwrap()).unwrap();
        scores = (scores / ((c / heads) as f64).sqrt()).unwrap();
        if mask == Mask::Causal {
            let hide: Vec<f32> = (0..n * m)
                .map(|i| {
                    if i % m > i / m {
                        f32::NEG_INFINITY
                    } else {
                        0.0
                    }
                })
                .collect();
            let hide = Tensor::from_vec(hide, (1, 1, n, m), &Device::Cpu).unwrap();
            scores = scores.broadcast_add(&hide).unwrap();
        }
        let max = scores.max_keepdim(D::Minus1).unwrap();
        let e = scores.broadcast_sub(&max).unwrap().exp().unwrap();
        let p = e.broadcast_div(&e.sum_keepdim(D::Minus1).unwrap()).unwrap();
        let out = p.matmul(&v).unwrap();
        out.transpose(1, 2).unwrap().reshape((b, n, c)).unwrap()
    }

    #[test]
    fn blocked_attention_equals_the_plain_formula() {
        let cases = [
            (2, 300, 77, 24, 3, Mask::Nothing),
            (1, 17, 17, 8, 1, Mask::Causal),
            (3, 77, 77, 32, 4, Mask::Causal),
        ];
        for (b, n, m, c, heads, mask) in cases {
            let (q, k, v) = (
                wave((b, n, c), 0.0),
                wave((b, m, c), 1.0),
                wave((b, m, c), 2.0),
            );
            let got = attention(&q, &k, &v, heads, mask).unwrap();
            let diff = (got - plain(&q, &k, &v, heads, mask))
                .unwrap()
                .abs()
                .unwrap();
            assert!(diff.max_all().unwrap().to_scalar::<f32>().unwrap() < 1e-5);
        }
    }
}
