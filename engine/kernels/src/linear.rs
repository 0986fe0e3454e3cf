//! Linear layers in one matrix product, bias included, reading and writing either layout.
//!
//! A transformer inside a UNet sees an image as tokens: `[batch, tokens, channels]` instead of
//! `[batch, channels, tokens]`. The product takes strides, so both directions are free here where
//! they would otherwise cost a copy.

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use crate::contiguous;
use crate::matmul::{Mat, MatMut, Onto, Threads, matmul};

/// How the result is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Out {
    /// `[batch, tokens, channels]`.
    Tokens,
    /// `[batch, channels, tokens]`.
    Channels,
}

/// Returns `x * weight^T + bias` for `x` of `[batch, tokens, in]` with any strides, `weight` of
/// `[out, in]` and `bias` of `[out]`.
pub fn linear(x: &Tensor, weight: &Tensor, bias: &Tensor, out: Out) -> Result<Tensor> {
    x.apply_op3_no_bwd(weight, bias, &Linear(out))
}

struct Linear(Out);

impl CustomOp3 for Linear {
    fn name(&self) -> &'static str {
        "linear"
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
        let (batch, tokens, inner) = x_layout.shape().dims3()?;
        let (outer, weight_inner) = weight_layout.shape().dims2()?;
        if weight_inner != inner || bias_layout.dims() != [outer] {
            bail!(
                "linear [{outer}, {weight_inner}] cannot take {:?}",
                x_layout.dims()
            );
        }
        let bias = contiguous(bias, bias_layout)?;
        let weight = Mat::new(contiguous(weight, weight_layout)?, outer, inner, inner);
        let x = &x.as_slice::<f32>()?[x_layout.start_offset()..];
        let strides = x_layout.stride();
        // Contiguous batches are one taller matrix.
        let (batch, rows) = match self.0 {
            Out::Tokens if x_layout.is_contiguous() => (1, batch * tokens),
            Out::Tokens | Out::Channels => (batch, tokens),
        };
        let mut out = vec![0.0; x_layout.dims().iter().take(2).product::<usize>() * outer];
        for (b, out) in out
            .chunks_mut((rows * outer).max(1))
            .enumerate()
            .take(batch)
        {
            let x = Mat::strided(
                &x[b * strides[0]..],
                (rows, inner),
                (strides[1], strides[2]),
            );
            match self.0 {
                Out::Tokens => {
                    out.par_chunks_mut(outer)
                        .with_min_len(64)
                        .for_each(|row| row.copy_from_slice(bias));
                    let dst = MatMut::new(out, rows, outer, outer);
                    matmul(dst, Onto::Add, x, weight.transposed(), 1.0, Threads::All);
                }
                Out::Channels => {
                    for (row, bias) in out.chunks_mut(rows).zip(bias) {
                        row.fill(*bias);
                    }
                    let dst = MatMut::new(out, outer, rows, rows);
                    matmul(dst, Onto::Add, weight, x.transposed(), 1.0, Threads::All);
                }
            }
        }
        let shape = match self.0 {
            Out::Tokens => x_layout
                .dims()
                .iter()
                .take(2)
                .copied()
                .chain([outer])
                .collect(),
            Out::Channels => vec![x_layout.dims()[0], outer, tokens],
        };
        Ok((CpuStorage::F32(out), Shape::from(shape)))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;

    #[test]
    fn either_layout_gives_what_candle_gives() {
        let device = Device::Cpu;
        let x = Tensor::arange(0_f32, 2.0 * 6.0 * 5.0, &device)
            .unwrap()
            .reshape((2, 6, 5))
            .unwrap();
        let w = Tensor::arange(0_f32, 35.0, &device)
            .unwrap()
            .reshape((7, 5))
            .unwrap();
        let w = (w * 0.1).unwrap();
        let b = Tensor::arange(0_f32, 7.0, &device).unwrap();
        let want = x
            .broadcast_matmul(&w.t().unwrap())
            .unwrap()
            .broadcast_add(&b)
            .unwrap();
        let channels_first = x.transpose(1, 2).unwrap().contiguous().unwrap();
        let strided = channels_first.transpose(1, 2).unwrap();
        for (x, out) in [
            (&x, Out::Tokens),
            (&strided, Out::Tokens),
            (&x, Out::Channels),
        ] {
            let got = linear(x, &w, &b, out).unwrap();
            let got = if out == Out::Channels {
                got.transpose(1, 2).unwrap()
            } else {
                got
            };
            let diff = (got - &want).unwrap().abs().unwrap().max_all().unwrap();
            assert!(
                diff.to_dtype(DType::F32)
                    .unwrap()
                    .to_scalar::<f32>()
                    .unwrap()
                    < 1e-4
            );
        }
    }
}
