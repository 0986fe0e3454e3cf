//! Strided `f32` matrix products: the one place that calls the `gemm` crate, and the crate's only
//! unsafe code. Bounds are asserted here, so the callers can be safe.

use gemm::Parallelism;

/// A read-only matrix over a slice, with strides counted in elements.
#[derive(Clone, Copy, Debug)]
pub struct Mat<'a> {
    data: &'a [f32],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<'a> Mat<'a> {
    pub fn new(data: &'a [f32], rows: usize, cols: usize, row_stride: usize) -> Self {
        assert_fits(data.len(), rows, cols, row_stride, 1);
        Self {
            data,
            rows,
            cols,
            row_stride,
            col_stride: 1,
        }
    }

    pub fn strided(
        data: &'a [f32],
        (rows, cols): (usize, usize),
        (row_stride, col_stride): (usize, usize),
    ) -> Self {
        assert_fits(data.len(), rows, cols, row_stride, col_stride);
        Self {
            data,
            rows,
            cols,
            row_stride,
            col_stride,
        }
    }

    pub fn transposed(self) -> Self {
        Self {
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
            ..self
        }
    }
}

/// What a product is written to: rows of consecutive elements, `row_stride` apart.
#[derive(Debug)]
pub struct MatMut<'a> {
    data: &'a mut [f32],
    rows: usize,
    cols: usize,
    row_stride: usize,
}

impl<'a> MatMut<'a> {
    pub fn new(data: &'a mut [f32], rows: usize, cols: usize, row_stride: usize) -> Self {
        assert_fits(data.len(), rows, cols, row_stride, 1);
        assert!(
            rows <= 1 || row_stride >= cols,
            "rows of a destination must not overlap"
        );
        Self {
            data,
            rows,
            cols,
            row_stride,
        }
    }
}

/// Whether a product replaces its destination or is added to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Onto {
    Replace,
    Add,
}

/// Whether a product may use the thread pool; inside a parallel loop it should not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threads {
    One,
    All,
}

/// Computes `dst = scale * lhs * rhs`, or adds it to `dst`.
#[expect(
    unsafe_code,
    reason = "gemm takes raw pointers; bounds are asserted by the constructors"
)]
pub fn matmul(
    dst: MatMut<'_>,
    onto: Onto,
    lhs: Mat<'_>,
    rhs: Mat<'_>,
    scale: f32,
    threads: Threads,
) {
    assert_eq!(lhs.cols, rhs.rows, "inner dimensions must agree");
    assert_eq!(
        (dst.rows, dst.cols),
        (lhs.rows, rhs.cols),
        "destination must have their shape"
    );
    let stride = |n: usize| isize::try_from(n).expect("strides fit isize, as slices do");
    let parallelism = match threads {
        Threads::One => Parallelism::None,
        Threads::All => Parallelism::Rayon(rayon::current_num_threads()),
    };
    // SAFETY: every matrix's last element was asserted to lie inside its slice when it was made,
    // `dst` is borrowed mutably and its rows do not overlap.
    unsafe {
        gemm::gemm(
            dst.rows,
            dst.cols,
            lhs.cols,
            dst.data.as_mut_ptr(),
            1,
            stride(dst.row_stride),
            onto == Onto::Add,
            lhs.data.as_ptr(),
            stride(lhs.col_stride),
            stride(lhs.row_stride),
            rhs.data.as_ptr(),
            stride(rhs.col_stride),
            stride(rhs.row_stride),
            1.0_f32,
            scale,
            false,
            false,
            false,
            parallelism,
        );
    }
}

fn assert_fits(len: usize, rows: usize, cols: usize, row_stride: usize, col_stride: usize) {
    let last = match (rows.checked_sub(1), cols.checked_sub(1)) {
        (Some(r), Some(c)) => r
            .checked_mul(row_stride)
            .zip(c.checked_mul(col_stride))
            .and_then(|(r, c)| r.checked_add(c)),
        (None, _) | (_, None) => return,
    };
    assert!(
        last.is_some_and(|last| last < len),
        "matrix must lie inside its slice"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn product_of_a_transposed_matrix_is_added_to_the_destination() {
        let (a, b) = ([1.0, 2.0, 3.0, 4.0], [1.0, 0.0, 1.0, 1.0]);
        let mut dst = [10.0; 4];
        matmul(
            MatMut::new(&mut dst, 2, 2, 2),
            Onto::Add,
            Mat::new(&a, 2, 2, 2),
            Mat::new(&b, 2, 2, 2).transposed(),
            2.0,
            Threads::One,
        );
        assert_eq!(dst, [12.0, 16.0, 16.0, 24.0]);
    }

    #[test]
    #[should_panic(expected = "inside its slice")]
    fn matrix_larger_than_its_slice_is_refused() {
        Mat::new(&[0.0; 5], 2, 3, 3);
    }
}
