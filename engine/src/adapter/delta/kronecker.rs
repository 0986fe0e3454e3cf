//! A Kronecker product of a small and a larger matrix.

/// `left (x) right`: every element of `left` times the whole of `right`.
#[derive(Clone, Debug)]
pub(crate) struct Kronecker {
    /// `[a, b]`.
    left: Vec<f32>,
    /// `[c, d]`, with a convolution's kernel flattened into `d`.
    right: Vec<f32>,
    /// `b` and `d`.
    columns: (usize, usize),
}

impl Kronecker {
    /// Takes rows of `columns.0` and of `columns.1`.
    pub(crate) fn new(left: Vec<f32>, right: Vec<f32>, columns: (usize, usize)) -> Self {
        assert!(
            left.len().is_multiple_of(columns.0) && right.len().is_multiple_of(columns.1),
            "rows are whole"
        );
        Self {
            left,
            right,
            columns,
        }
    }

    /// Returns outputs and inputs, the kernel counted into the latter.
    pub(crate) fn shape(&self) -> (usize, usize) {
        let (b, d) = self.columns;
        ((self.left.len() / b) * (self.right.len() / d), b * d)
    }

    /// Adds `scale` times the product.
    pub(crate) fn add_to(&self, weight: &mut [f32], scale: f32) {
        let (outer, inner) = self.shape();
        assert_eq!(weight.len(), outer * inner, "matched by shape");
        let (b, d) = self.columns;
        let mut rows = weight.chunks_exact_mut(inner);
        for left in self.left.chunks_exact(b) {
            for (right, row) in self.right.chunks_exact(d).zip(rows.by_ref()) {
                for (factor, part) in left.iter().zip(row.chunks_exact_mut(d)) {
                    for (w, r) in part.iter_mut().zip(right) {
                        *w += scale * factor * r;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_element_of_the_left_scales_the_right() {
        let product = Kronecker::new(vec![1.0, 2.0], vec![3.0, 4.0], (2, 1));
        let mut weight = [0.0; 4];
        product.add_to(&mut weight, 1.0);
        assert_eq!(product.shape(), (2, 2));
        assert_eq!(weight, [3.0, 6.0, 4.0, 8.0]);
    }
}
