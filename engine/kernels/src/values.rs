//! The `f32` values behind a contiguous CPU tensor.

use std::ops::Deref;

use candle_core::{CpuStorage, DType, Result, Storage, StorageRef, Tensor, bail};

/// Whether the kernels of this crate work on a tensor, or candle's operations must.
pub(crate) fn is_native(x: &Tensor) -> bool {
    x.device().is_cpu() && x.dtype() == DType::F32
}

/// A lock on a tensor's storage, seen as its values.
pub(crate) struct Values<'a> {
    storage: StorageRef<'a>,
    start: usize,
    end: usize,
}

impl<'a> Values<'a> {
    pub(crate) fn of(x: &'a Tensor) -> Result<Self> {
        let (storage, layout) = x.storage_and_layout();
        let Some((start, end)) = layout.contiguous_offsets() else {
            bail!("kernel wants a contiguous tensor, got {layout:?}");
        };
        let inside = matches!(&*storage, Storage::Cpu(CpuStorage::F32(v)) if end <= v.len());
        if !inside {
            bail!("kernel wants f32 on a CPU, got {:?}", x.dtype());
        }
        Ok(Self {
            storage,
            start,
            end,
        })
    }
}

impl Deref for Values<'_> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        if let Storage::Cpu(CpuStorage::F32(values)) = &*self.storage {
            &values[self.start..self.end]
        } else {
            &[]
        }
    }
}
