//! One step of a run, seen by the formulas: where it begins and ends, and arithmetic on latents.

use candle_core::{Result, Tensor};

/// From one noise level to the next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stage {
    /// Number of the step, from 0.
    pub(super) number: usize,
    /// Level it begins at; above zero.
    pub(super) sigma: f64,
    /// Level it ends at; zero, mostly, for the last step.
    pub(super) next: f64,
    /// Whether no step follows.
    pub(super) is_last: bool,
}

impl Stage {
    /// Its length in `-ln(sigma)`.
    pub(super) fn length(self) -> f64 {
        libm::log(self.sigma) - libm::log(self.next)
    }
}

/// Splits the way down to `to` into a noiseless one to `.0` and fresh noise of level `.1`.
pub(super) fn ancestral(from: f64, to: f64, eta: f64) -> (f64, f64) {
    let up = (eta * (to * to * (from * from - to * to) / (from * from)).sqrt()).min(to);
    ((to * to - up * up).sqrt(), up)
}

/// The direction latents move in as noise is added: `(x - denoised) / sigma`.
pub(super) fn slope(x: &Tensor, denoised: &Tensor, sigma: f64) -> Result<Tensor> {
    (x - denoised)? / sigma
}

/// A weighted sum of tensors; weights of zero cost nothing.
pub(super) fn sum<const N: usize>(terms: [(f64, &Tensor); N]) -> Result<Tensor> {
    sum_of(&terms)
}

/// The same of a list that is not empty.
pub(super) fn sum_of(terms: &[(f64, &Tensor)]) -> Result<Tensor> {
    let mut total: Option<Tensor> = None;
    for (weight, tensor) in terms {
        if *weight == 0.0 {
            continue;
        }
        let term = (*tensor * *weight)?;
        total = Some(match total {
            Some(total) => (total + term)?,
            None => term,
        });
    }
    match (total, terms.first()) {
        (Some(total), _) => Ok(total),
        (None, Some((_, tensor))) => tensor.zeros_like(),
        (None, None) => candle_core::bail!("a sum of nothing"),
    }
}
