//! Orthogonal fine-tuning: outputs rotated in blocks.

use hearth_kernels::matmul::{Mat, MatMut, Onto, Threads, matmul};

use super::rounded;

/// `W' = rescale * R^T W` for each block of outputs, with `R = (I + Q)(I - Q)^-1` and `Q = B - B^T`
/// (`LyCORIS`' Diag-OFT and kohya's).
#[derive(Clone, Debug)]
pub(crate) struct Rotation {
    /// `R^T - I` of each block, `[blocks, size, size]`.
    turns: Vec<f32>,
    size: usize,
    rescale: Option<Vec<f32>>,
}

impl Rotation {
    /// Takes the file's `oft_blocks`, rows of `size`; `constraint` bounds the norm of all `Q` unless zero.
    pub(crate) fn new(
        blocks: &[f32],
        size: usize,
        constraint: f64,
        rescale: Option<Vec<f32>>,
    ) -> Self {
        let area = size * size;
        let mut skew: Vec<f64> = blocks
            .chunks_exact(area)
            .flat_map(|b| (0..area).map(move |i| difference(b, i / size, i % size, size)))
            .collect();
        let norm = skew.iter().map(|q| q * q).sum::<f64>().sqrt();
        if constraint > 0.0 && norm > constraint {
            skew.iter_mut().for_each(|q| *q *= constraint / norm);
        }
        let turns = skew
            .chunks_exact(area)
            .flat_map(|q| turn(q, size))
            .collect();
        Self {
            turns,
            size,
            rescale,
        }
    }

    /// Adds `strength` times what the rotation changes.
    pub(super) fn add_to(
        &self,
        clean: &[f32],
        weight: &mut [f32],
        outer: usize,
        strength: f32,
        threads: Threads,
    ) {
        let (size, inner) = (self.size, clean.len() / outer);
        let mut turned = vec![0.0; clean.len()];
        let blocks = turned
            .chunks_exact_mut(size * inner)
            .zip(clean.chunks_exact(size * inner));
        for ((out, rows), turn) in blocks.zip(self.turns.chunks_exact(size * size)) {
            matmul(
                MatMut::new(out, size, inner, inner),
                Onto::Replace,
                Mat::new(turn, size, size, size),
                Mat::new(rows, size, inner, inner),
                1.0,
                threads,
            );
        }
        for (i, ((w, t), c)) in weight.iter_mut().zip(&turned).zip(clean).enumerate() {
            // rescale * (clean + turned) - clean
            let rescale = self.rescale.as_ref().map_or(1.0, |r| r[i / inner]);
            *w += strength * (rescale * t + (rescale - 1.0) * c);
        }
    }
}

fn difference(block: &[f32], row: usize, column: usize, size: usize) -> f64 {
    f64::from(block[row * size + column]) - f64::from(block[column * size + row])
}

/// Returns `R^T - I` of one skew-symmetric block: `R^T = (I + Q)^-1 (I - Q)`, hence
/// `R^T - I = -2 (I + Q)^-1 Q`. Gauss-Jordan with pivoting; `I + Q` is never singular.
fn turn(skew: &[f64], size: usize) -> Vec<f32> {
    let mut left = skew.to_vec();
    for i in 0..size {
        left[i * size + i] += 1.0;
    }
    let mut right: Vec<f64> = skew.iter().map(|q| -2.0 * q).collect();
    for column in 0..size {
        let pivot = (column..size)
            .max_by(|a, b| {
                let height = |row: &usize| left[row * size + column].abs();
                height(a).total_cmp(&height(b))
            })
            .unwrap_or(column);
        for k in 0..size {
            left.swap(pivot * size + k, column * size + k);
            right.swap(pivot * size + k, column * size + k);
        }
        let inverse = 1.0 / left[column * size + column];
        for k in 0..size {
            left[column * size + k] *= inverse;
            right[column * size + k] *= inverse;
        }
        for row in (0..size).filter(|row| *row != column) {
            let factor = left[row * size + column];
            for k in 0..size {
                left[row * size + k] -= factor * left[column * size + k];
                right[row * size + k] -= factor * right[column * size + k];
            }
        }
    }
    right.into_iter().map(rounded).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_of_two_turns_by_twice_the_arctangent() {
        let q = 0.5_f64;
        let turn = turn(&[0.0, q, -q, 0.0], 2);
        let (sin, cos) = (2.0 * q.atan()).sin_cos();
        for (got, expected) in turn.iter().zip([cos - 1.0, -sin, sin, cos - 1.0]) {
            assert!((f64::from(*got) - expected).abs() < 1e-6, "{turn:?}");
        }
    }
}
