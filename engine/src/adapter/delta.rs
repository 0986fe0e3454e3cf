//! What an adapter does to one weight, in the form its file has it.
//!
//! Every kind is a difference to the module's clean weight, so differences of several adapters add up
//! in any order. Weights are rows of outputs, `[out, in * kernel]`; formulas follow `LyCORIS` and PEFT.

mod kronecker;
mod low_rank;
mod rotation;

pub(crate) use kronecker::Kronecker;
pub(crate) use low_rank::LowRank;
pub(crate) use rotation::Rotation;

use hearth_kernels::matmul::Threads;

/// One weight's difference, before its scale.
#[derive(Clone, Debug)]
pub(crate) enum Delta {
    /// `LoRA`, `LoCon` with or without a middle: `up * down`.
    LowRank(LowRank),
    /// `LoHa`: the element-wise product of two low-rank products.
    Hadamard(LowRank, LowRank),
    /// `LoKr`: a Kronecker product.
    Kronecker(Kronecker),
    /// A full difference.
    Dense(Vec<f32>),
    /// IA3: every output or input times a factor, less the weight itself.
    Scaled(Axis, Vec<f32>),
    /// OFT: rotated outputs, less the weight itself.
    Rotation(Rotation),
}

/// Which way a vector lies along a weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Axis {
    Outputs,
    Inputs,
}

impl Delta {
    /// Adds `scale` times the difference to `weight`. `clean` is the module's own weight; both are rows
    /// of `out`.
    pub(crate) fn add_to(
        &self,
        clean: &[f32],
        weight: &mut [f32],
        outer: usize,
        scale: f32,
        threads: Threads,
    ) {
        assert_eq!(clean.len(), weight.len(), "both are the same module's");
        match self {
            Self::LowRank(product) => product.add_to(weight, scale, threads),
            Self::Hadamard(a, b) => {
                let (a, b) = (a.product(threads), b.product(threads));
                for ((w, a), b) in weight.iter_mut().zip(a).zip(b) {
                    *w += scale * a * b;
                }
            }
            Self::Kronecker(product) => product.add_to(weight, scale),
            Self::Dense(difference) => {
                assert_eq!(difference.len(), weight.len(), "matched by shape");
                for (w, d) in weight.iter_mut().zip(difference) {
                    *w += scale * d;
                }
            }
            Self::Scaled(Axis::Outputs, factors) => {
                let inner = weight.len() / outer;
                let rows = weight
                    .chunks_exact_mut(inner)
                    .zip(clean.chunks_exact(inner));
                for ((row, clean), factor) in rows.zip(factors) {
                    for (w, c) in row.iter_mut().zip(clean) {
                        *w += scale * factor * c;
                    }
                }
            }
            Self::Scaled(Axis::Inputs, factors) => {
                let kernel = weight.len() / outer / factors.len();
                for (i, (w, c)) in weight.iter_mut().zip(clean).enumerate() {
                    *w += scale * factors[i / kernel % factors.len()] * c;
                }
            }
            Self::Rotation(rotation) => rotation.add_to(clean, weight, outer, scale, threads),
        }
    }
}

/// The magnitudes `DoRA` gives a weight's outputs or inputs.
#[derive(Clone, Debug)]
pub(crate) struct Magnitude {
    pub(crate) axis: Axis,
    pub(crate) values: Vec<f32>,
}

impl Magnitude {
    /// Adds `strength * (m * v / |v| - clean)` to `weight`, where `v` is the clean weight with its
    /// difference added.
    fn add_to(&self, clean: &[f32], v: &[f32], weight: &mut [f32], outer: usize, strength: f32) {
        let inner = clean.len() / outer;
        let kernel = match self.axis {
            Axis::Outputs => inner,
            Axis::Inputs => inner / self.values.len(),
        };
        let place = |i: usize| match self.axis {
            Axis::Outputs => i / kernel,
            Axis::Inputs => i / kernel % self.values.len(),
        };
        let mut squares = vec![0.0_f64; self.values.len()];
        for (i, v) in v.iter().enumerate() {
            squares[place(i)] += f64::from(*v) * f64::from(*v);
        }
        let factors: Vec<f32> = squares
            .iter()
            .zip(&self.values)
            .map(|(square, m)| m / (rounded(square.sqrt()) + f32::EPSILON))
            .collect();
        for (i, ((w, v), c)) in weight.iter_mut().zip(v).zip(clean).enumerate() {
            *w += strength * (factors[place(i)] * v - c);
        }
    }
}

/// What is done to a module's bias.
#[derive(Clone, Debug)]
pub(crate) enum BiasDelta {
    /// Adds these.
    Added(Vec<f32>),
    /// Adds the bias times these.
    Scaled(Vec<f32>),
}

impl BiasDelta {
    /// Adds `strength` times the difference.
    pub(crate) fn add_to(&self, clean: &[f32], bias: &mut [f32], strength: f32) {
        match self {
            Self::Added(values) => {
                for (b, v) in bias.iter_mut().zip(values) {
                    *b += strength * v;
                }
            }
            Self::Scaled(factors) => {
                for ((b, f), c) in bias.iter_mut().zip(factors).zip(clean) {
                    *b += strength * f * c;
                }
            }
        }
    }
}

/// All that one adapter does to one module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Change {
    /// The weight's difference and its scale, `alpha / rank`.
    pub(crate) weight: Option<(Delta, f32)>,
    pub(crate) magnitude: Option<Magnitude>,
    pub(crate) bias: Option<BiasDelta>,
}

impl Change {
    /// Adds the weight's change at a strength. `clean` and `weight` are rows of `outer` outputs.
    pub(crate) fn add_to(
        &self,
        clean: &[f32],
        weight: &mut [f32],
        outer: usize,
        strength: f32,
        threads: Threads,
    ) {
        let Some((delta, scale)) = &self.weight else {
            return;
        };
        match &self.magnitude {
            None => delta.add_to(clean, weight, outer, scale * strength, threads),
            Some(magnitude) => {
                let mut v = clean.to_vec();
                delta.add_to(clean, &mut v, outer, *scale, threads);
                magnitude.add_to(clean, &v, weight, outer, strength);
            }
        }
    }

    /// Returns the product and its scale if that is all the weight's change: what can be applied to
    /// activations instead of weights.
    pub(crate) fn low_rank(&self) -> Option<(&LowRank, f32)> {
        match (&self.weight, &self.magnitude) {
            (Some((Delta::LowRank(product), scale)), None) => Some((product, *scale)),
            (Some(_) | None, _) => None,
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "rounding to f32 is the point"
)]
pub(super) fn rounded(x: f64) -> f32 {
    x as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn added(change: &Change, clean: &[f32], outer: usize, strength: f32) -> Vec<f32> {
        let mut weight = clean.to_vec();
        change.add_to(clean, &mut weight, outer, strength, Threads::One);
        weight
    }

    fn change(delta: Delta, scale: f32) -> Change {
        Change {
            weight: Some((delta, scale)),
            ..Change::default()
        }
    }

    #[test]
    fn product_is_scaled_and_added() {
        let product = LowRank::new(vec![1.0, 2.0], vec![3.0, 4.0, 5.0], 1);
        let change = change(Delta::LowRank(product), 0.5);
        let weight = added(&change, &[1.0; 6], 2, 1.0);
        assert_eq!(weight, [2.5, 3.0, 3.5, 4.0, 5.0, 6.0]);
        assert_eq!(added(&change, &[1.0; 6], 2, 0.0), [1.0; 6]);
    }

    #[test]
    fn factors_scale_whole_outputs_or_inputs() {
        let clean = [1.0, 2.0, 3.0, 4.0];
        let outputs = change(Delta::Scaled(Axis::Outputs, vec![1.0, -1.0]), 1.0);
        assert_eq!(added(&outputs, &clean, 2, 1.0), [2.0, 4.0, 0.0, 0.0]);
        let inputs = change(Delta::Scaled(Axis::Inputs, vec![1.0, -1.0]), 1.0);
        assert_eq!(added(&inputs, &clean, 2, 0.5), [1.5, 1.0, 4.5, 2.0]);
    }

    #[test]
    fn magnitude_is_what_each_output_has_at_full_strength() {
        let zero = LowRank::new(vec![0.0, 0.0], vec![1.0, 1.0], 1);
        let mut change = change(Delta::LowRank(zero), 1.0);
        change.magnitude = Some(Magnitude {
            axis: Axis::Outputs,
            values: vec![10.0, 1.0],
        });
        let weight = added(&change, &[3.0, 4.0, 0.0, 2.0], 2, 1.0);
        for (got, expected) in weight.iter().zip([6.0, 8.0, 0.0, 1.0]) {
            assert!((got - expected).abs() < 1e-5, "{weight:?}");
        }
    }
}
