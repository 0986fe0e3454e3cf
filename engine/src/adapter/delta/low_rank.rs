//! A product of a tall and a wide matrix.

use hearth_kernels::matmul::{Mat, MatMut, Onto, Threads, matmul};

/// `up * down`, with a convolution's kernel flattened into the inputs.
#[derive(Clone, Debug)]
pub(crate) struct LowRank {
    /// `[out, rank]`.
    up: Vec<f32>,
    /// `[rank, in]`.
    down: Vec<f32>,
    rank: usize,
}

impl LowRank {
    /// Takes `up` as rows of outputs and `down` as rows of the rank.
    pub(crate) fn new(up: Vec<f32>, down: Vec<f32>, rank: usize) -> Self {
        assert!(
            rank > 0 && up.len().is_multiple_of(rank) && down.len().is_multiple_of(rank),
            "both are checked to have the rank"
        );
        Self { up, down, rank }
    }

    /// Multiplies a Tucker core into `down`: `d[m, i, xy] = sum over n of core[m, n, xy] * down[n, i]`,
    /// where `core` is `[rank, n, kernel]`.
    pub(crate) fn tucker(up: Vec<f32>, core: &[f32], down: &[f32], rank: usize, n: usize) -> Self {
        let kernel = core.len() / rank / n;
        let inputs = down.len() / n;
        let mut product = vec![0.0; rank * inputs * kernel];
        for (core, product) in core
            .chunks_exact(n * kernel)
            .zip(product.chunks_exact_mut(inputs * kernel))
        {
            matmul(
                MatMut::new(product, inputs, kernel, kernel),
                Onto::Replace,
                Mat::new(down, n, inputs, inputs).transposed(),
                Mat::new(core, n, kernel, kernel),
                1.0,
                Threads::All,
            );
        }
        Self::new(up, product, rank)
    }

    /// Returns the sum of products of one shape, each times its factor, as one product.
    pub(crate) fn sum(products: &[(&Self, f32)]) -> Option<Self> {
        let outer = products.first()?.0.shape().0;
        let rank = products.iter().map(|(product, _)| product.rank).sum();
        let mut up = Vec::with_capacity(outer * rank);
        for row in 0..outer {
            for (product, factor) in products {
                let row = &product.up[row * product.rank..][..product.rank];
                up.extend(row.iter().map(|value| value * factor));
            }
        }
        let down = products
            .iter()
            .flat_map(|(product, _)| product.down.iter().copied())
            .collect();
        Some(Self::new(up, down, rank))
    }

    /// Returns `[out, rank]` and `[rank, in]` and the rank.
    pub(crate) fn factors(&self) -> (&[f32], &[f32], usize) {
        (&self.up, &self.down, self.rank)
    }

    /// Returns outputs and inputs, the kernel counted into the latter.
    pub(crate) fn shape(&self) -> (usize, usize) {
        (self.up.len() / self.rank, self.down.len() / self.rank)
    }

    /// Adds `scale` times the product.
    pub(crate) fn add_to(&self, weight: &mut [f32], scale: f32, threads: Threads) {
        self.write(weight, Onto::Add, scale, threads);
    }

    /// Returns the product, `[out, in]`.
    pub(crate) fn product(&self, threads: Threads) -> Vec<f32> {
        let (outer, inner) = self.shape();
        let mut product = vec![0.0; outer * inner];
        self.write(&mut product, Onto::Replace, 1.0, threads);
        product
    }

    fn write(&self, dst: &mut [f32], onto: Onto, scale: f32, threads: Threads) {
        let (outer, inner) = self.shape();
        assert_eq!(dst.len(), outer * inner, "matched by shape");
        matmul(
            MatMut::new(dst, outer, inner, inner),
            onto,
            Mat::new(&self.up, outer, self.rank, self.rank),
            Mat::new(&self.down, self.rank, inner, inner),
            scale,
            threads,
        );
    }
}
