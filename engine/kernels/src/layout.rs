//! Channels-last pictures, and the few operations between kernels that must keep them so.
//!
//! On a CPU the convolutions and norms give `[batch, channels, height, width]` tensors whose
//! channels lie innermost in memory, as torch's `channels_last` does. Such a picture is a row of
//! tokens for a transformer without any copy, and sixteen channels are one vector. Every function here takes
//! either memory order; candle's own elementwise operations are correct on both but slow on this
//! one, so pictures are added and joined with [`add`] and [`cat`].

use candle_core::{Result, Tensor, bail};
use rayon::prelude::*;

use crate::shared::Fresh;
use crate::simd::{Kernel, LANES, Simd, dispatch};
use crate::values::{Values, is_native};

/// Elements a task takes at once.
const CHUNK: usize = 16 * 1024;

/// Returns `[batch, channels, height, width]` as contiguous `[batch, height, width, channels]`.
pub(crate) fn channels_last(x: &Tensor) -> Result<Tensor> {
    let last = x.permute((0, 2, 3, 1))?;
    if last.is_contiguous() || !is_native(x) || !x.is_contiguous() {
        return last.contiguous();
    }
    let (batch, channels, height, width) = x.dims4()?;
    let out = transposed(&Values::of(x)?, batch, channels, height * width);
    Tensor::from_vec(out, (batch, height, width, channels), x.device())
}

/// Returns contiguous `[batch, height, width, channels]` as `[batch, channels, height, width]`.
pub(crate) fn channels_first_view(x: &Tensor) -> Result<Tensor> {
    x.permute((0, 3, 1, 2))
}

/// Returns `[batch, rows, columns]` as `[batch, columns, rows]`.
#[expect(unsafe_code, reason = "fills fresh memory")]
pub(crate) fn transposed(x: &[f32], batch: usize, rows: usize, columns: usize) -> Vec<f32> {
    assert_eq!(x.len(), batch * rows * columns, "the input has its size");
    let mut fresh = Fresh::new(x.len());
    let out = fresh.share(x.len());
    let strips = columns.div_ceil(LANES);
    (0..batch * strips)
        .into_par_iter()
        .with_min_len(4)
        .for_each(|i| {
            let (image, first) = (i / strips, i % strips * LANES);
            let x = &x[image * rows * columns..][..rows * columns];
            for column in first..(first + LANES).min(columns) {
                let to = out.place((image * columns + column) * rows, rows);
                for row in 0..rows {
                    // SAFETY: `place` checked room for `rows` values; no other task has this column.
                    unsafe { to.add(row).write(x[row * columns + column]) };
                }
            }
        });
    // SAFETY: the tasks have written every column of every image.
    unsafe { fresh.into_vec(x.len()) }
}

/// Returns a picture `[batch, channels, height, width]` as tokens `[batch, height * width, channels]`.
pub fn tokens(x: &Tensor) -> Result<Tensor> {
    let (batch, channels, height, width) = x.dims4()?;
    channels_last(x)?.reshape((batch, height * width, channels))
}

/// Returns tokens `[batch, height * width, channels]` as a picture.
pub fn picture(tokens: &Tensor, height: usize, width: usize) -> Result<Tensor> {
    let (batch, count, channels) = tokens.dims3()?;
    if height.checked_mul(width) != Some(count) {
        bail!("{count} tokens are no picture of {height}x{width}");
    }
    channels_first_view(&tokens.reshape((batch, height, width, channels))?)
}

/// Returns the sum of two tensors of one shape.
pub fn add(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if a.dims() != b.dims() || !is_native(a) || !is_native(b) {
        return a.broadcast_add(b);
    }
    if a.rank() == 4 && !(a.is_contiguous() && b.is_contiguous()) {
        return channels_first_view(&add_contiguous(&channels_last(a)?, &channels_last(b)?)?);
    }
    add_contiguous(&a.contiguous()?, &b.contiguous()?)
}

#[expect(unsafe_code, reason = "fills fresh memory")]
fn add_contiguous(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let (x, y) = (Values::of(a)?, Values::of(b)?);
    let (x, y): (&[f32], &[f32]) = (&x, &y);
    let mut fresh = Fresh::new(x.len());
    let out = fresh.share(x.len());
    let tasks = x.par_chunks(CHUNK).zip(y.par_chunks(CHUNK)).enumerate();
    tasks.for_each(|(i, (a, b))| {
        let to = out.place(i * CHUNK, a.len());
        dispatch(Add(a, b, to));
    });
    // SAFETY: the tasks have written every chunk.
    let out = unsafe { fresh.into_vec(x.len()) };
    Tensor::from_vec(out, a.shape(), a.device())
}

struct Add<'a>(&'a [f32], &'a [f32], *mut f32);

impl Kernel for Add<'_> {
    type Out = ();

    #[inline(always)]
    #[expect(unsafe_code, reason = "fills fresh memory")]
    fn run<S: Simd>(self, s: S) {
        let Self(a, b, to) = self;
        let (whole, rest) = a.as_chunks::<LANES>();
        for (i, (a, b)) in whole.iter().zip(b.as_chunks::<LANES>().0).enumerate() {
            // SAFETY: the caller has room for as many values as `a` has.
            unsafe { s.write(to.add(i * LANES), s.add(s.load(a), s.load(b))) };
        }
        let start = whole.len() * LANES;
        for (i, (a, b)) in rest.iter().zip(&b[start..]).enumerate() {
            // SAFETY: as above.
            unsafe { to.add(start + i).write(a + b) };
        }
    }
}

/// Returns two pictures of one size joined along their channels.
#[expect(unsafe_code, reason = "fills fresh memory")]
pub fn cat(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let ((batch, inner, height, width), other) = (a.dims4()?, b.dims4()?);
    if (batch, height, width) != (other.0, other.2, other.3) {
        bail!("pictures {:?} and {:?} do not join", a.dims(), b.dims());
    }
    if !is_native(a) || !is_native(b) {
        return Tensor::cat(&[&a.contiguous()?, &b.contiguous()?], 1);
    }
    let outer = inner + other.1;
    let (a, b) = (channels_last(a)?, channels_last(b)?);
    let (x, y) = (Values::of(&a)?, Values::of(&b)?);
    let (x, y): (&[f32], &[f32]) = (&x, &y);
    let pixels = batch * height * width;
    let mut fresh = Fresh::new(pixels * outer);
    let out = fresh.share(pixels * outer);
    (0..pixels)
        .into_par_iter()
        .with_min_len(64)
        .for_each(|pixel| {
            let to = out.place(pixel * outer, outer);
            let (a, b) = (
                &x[pixel * inner..][..inner],
                &y[pixel * other.1..][..other.1],
            );
            // SAFETY: `place` checked room for both; no other task has this pixel.
            unsafe {
                to.copy_from_nonoverlapping(a.as_ptr(), inner);
                to.add(inner).copy_from_nonoverlapping(b.as_ptr(), other.1);
            }
        });
    // SAFETY: the tasks have written every pixel.
    let values = unsafe { fresh.into_vec(pixels * outer) };
    channels_first_view(&Tensor::from_vec(
        values,
        (batch, height, width, outer),
        a.device(),
    )?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Random, assert_near};

    #[test]
    fn e60_sums_joins_and_tokens_do_not_depend_on_the_memory_order() {
        let mut random = Random(51);
        for _ in 0..30 {
            let dims = [
                random.between(1, 3),
                random.between(1, 40),
                5,
                random.between(1, 20),
            ];
            let (a, b) = (random.strided(&dims), random.strided(&dims));
            assert_near(&add(&a, &b).unwrap(), &(&a + &b).unwrap(), 0.0, "sum");
            let other = random.strided(&[dims[0], 7, dims[2], dims[3]]);
            let want = Tensor::cat(&[&a, &other], 1).unwrap();
            assert_near(&cat(&a, &other).unwrap(), &want, 0.0, "join");
            let back = picture(&tokens(&a).unwrap(), dims[2], dims[3]).unwrap();
            assert_near(&back, &a, 0.0, "to tokens and back");
        }
    }

    #[test]
    fn pictures_of_different_sizes_are_refused() {
        let mut random = Random(52);
        let x = random.tensor(&[1, 2, 3, 4]);
        assert!(cat(&x, &random.tensor(&[1, 2, 4, 3])).is_err());
        assert!(add(&x, &random.tensor(&[1, 5, 3, 4])).is_err());
        assert!(picture(&random.tensor(&[1, 12, 2]), 5, 2).is_err());
    }
}
