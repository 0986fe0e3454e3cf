//! Fused CPU kernels for diffusion models, and the same operations in candle's own terms elsewhere.
//!
//! candle's CPU convolution, attention and activations are several times slower than the machine allows;
//! these work on the raw `f32` values with vector instructions chosen at run time and rayon. They take and
//! give ordinary candle tensors. On other devices and in other types every function falls back to a
//! composition of candle's operations, which is also what the tests hold the kernels against.
//!
//! Results do not depend on the number of threads, nor on the other pictures of a batch.
//!
//! Start with [`conv`], [`linear`] and [`attention`]; [`layout`] says how pictures lie in memory.
//! Not here: gradients, and half precision arithmetic: the CPU is no faster with it. Weights may
//! be kept in half precision, though.

pub mod activation;
pub mod attention;
pub mod cast;
pub mod conv;
mod float;
pub mod geometry;
pub mod layout;
pub mod linear;
pub mod matmul;
pub mod norm;
mod panel;
mod plain;
mod product;
mod shared;
mod simd;
#[cfg(test)]
mod testing;
mod values;
