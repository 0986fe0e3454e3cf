//! Activations over whole tensors, several elements at a time and on all threads.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use crate::{contiguous, float};

/// Elements a thread takes at once.
const CHUNK: usize = 16 * 1024;

/// An activation that maps each element on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    Silu,
    Gelu,
    QuickGelu,
}

impl Activation {
    /// Returns the activation of every element of `x`.
    pub fn apply(self, x: &Tensor) -> Result<Tensor> {
        x.contiguous()?.apply_op1_no_bwd(&self)
    }
}

impl CustomOp1 for Activation {
    fn name(&self) -> &'static str {
        "activation"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = contiguous(storage, layout)?;
        let mut out = vec![0.0; x.len()];
        out.par_chunks_mut(CHUNK)
            .zip(x.par_chunks(CHUNK))
            .for_each(|(out, x)| {
                let pairs = out.iter_mut().zip(x);
                match self {
                    Self::Silu => pairs.for_each(|(o, x)| *o = float::silu(*x)),
                    Self::Gelu => pairs.for_each(|(o, x)| *o = float::gelu(*x)),
                    Self::QuickGelu => pairs.for_each(|(o, x)| *o = float::quick_gelu(*x)),
                }
            });
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }
}

/// Returns the first half of each row times the exact GELU of its second half.
pub fn geglu(x: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op1_no_bwd(&Geglu)
}

struct Geglu;

impl CustomOp1 for Geglu {
    fn name(&self) -> &'static str {
        "geglu"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = contiguous(storage, layout)?;
        let mut dims = layout.dims().to_vec();
        let width = match dims.last_mut() {
            Some(last) if *last > 0 && *last % 2 == 0 => {
                *last /= 2;
                *last
            }
            Some(_) | None => bail!(
                "geglu wants an even last dimension, got {:?}",
                layout.dims()
            ),
        };
        let mut out = vec![0.0; x.len() / 2];
        let rows = out.par_chunks_mut(width).zip(x.par_chunks(2 * width));
        rows.with_min_len(CHUNK.div_ceil(width))
            .for_each(|(out, row)| {
                let (value, gate) = row.split_at(width);
                for ((o, v), g) in out.iter_mut().zip(value).zip(gate) {
                    *o = v * float::gelu(*g);
                }
            });
        Ok((CpuStorage::F32(out), Shape::from(dims)))
    }
}
