//! Fused CPU kernels behind candle's custom operations.
//!
//! candle's own CPU convolution, attention and activations are several times slower than the machine
//! allows; these work on the raw `f32` slices with rayon and the `gemm` crate instead. They all take
//! and give ordinary candle tensors, so the model code above does not know about them.
//!
//! Not here: anything for other devices (a custom operation without a GPU version fails there with
//! candle's own message), gradients, and half precision: the CPU is no faster with it.

pub mod activation;
pub mod attention;
pub mod conv;
pub mod float;
pub mod geometry;
pub mod linear;
pub mod matmul;
pub mod norm;

use candle_core::{CpuStorage, Layout, Result, bail};

/// Returns the values of a contiguous `f32` tensor.
fn contiguous<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let values = storage.as_slice::<f32>()?;
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&values[start..end]),
        None => bail!("kernel wants a contiguous tensor, got {layout:?}"),
    }
}
