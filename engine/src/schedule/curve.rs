//! The curves over noise levels: formulas of k-diffusion, `ComfyUI` and A1111.

use hearth_protocol::job::Compat;

use super::beta;
use super::table::{Levels, single};

/// Returns `0/whole, 1/whole, ...`, `count` values.
pub(super) fn ramp(count: usize, whole: usize) -> impl Iterator<Item = f64> {
    (0..count).map(move |i| i as f64 / whole.max(1) as f64)
}

/// `count` values from `start` to `end` as torch spaces them in single precision: from the nearer end.
fn linspace(start: f64, end: f64, count: usize) -> impl Iterator<Item = f64> {
    let (start, end) = (single(start), single(end));
    let step = single(single(end - start) / count.saturating_sub(1).max(1) as f64);
    (0..count).map(move |i| {
        if i < count / 2 || count == 1 {
            single(start + step * i as f64)
        } else {
            single(end - step * (count - 1 - i) as f64)
        }
    })
}

/// Karras et al. 2022 with rho 7, from `high` to `low`, in single precision as k-diffusion has it.
pub(super) fn karras(low: f64, high: f64, steps: usize) -> Vec<f64> {
    let root = |sigma: f64| libm::pow(sigma, 1.0 / 7.0);
    let (first, way) = (single(root(high)), single(root(low) - root(high)));
    linspace(0.0, 1.0, steps)
        .map(|x| single(single(first + single(x * way)).powi(7)))
        .collect()
}

/// Evenly over the logarithm, from `high` to `low`, in single precision as k-diffusion has it.
pub(super) fn exponential(low: f64, high: f64, steps: usize) -> Vec<f64> {
    linspace(libm::log(high), libm::log(low), steps)
        .map(|log| single(libm::exp(log)))
        .collect()
}

/// Evenly over timesteps, the last of all included or not.
pub(super) fn uniform(levels: &Levels, steps: usize, whole: usize) -> Vec<f64> {
    ramp(steps, whole)
        .map(|x| levels.sigma(levels.last() * (1.0 - x)))
        .collect()
}

/// Every so many entries of the table, from its end.
pub(super) fn simple(levels: &Levels, steps: usize) -> Vec<f64> {
    let count = levels.count();
    (0..steps)
        .map(|i| levels.at(count - 1 - (i * count / steps).min(count - 1)))
        .collect()
}

/// Every so many entries of the table, from its second. A stride that does not divide the table would
/// give more steps than asked: those nearest to the picture are left out.
pub(super) fn ddim_uniform(levels: &Levels, steps: usize) -> Vec<f64> {
    let stride = (levels.count() / steps).max(1);
    let every: Vec<f64> = (1..levels.count())
        .step_by(stride)
        .map(|i| levels.at(i))
        .collect();
    every.into_iter().rev().take(steps).collect()
}

/// Beta quantiles: over timesteps for `ComfyUI`, where equal ones are one step, and over levels between
/// `low` and `high` for the others.
pub(super) fn beta(
    levels: &Levels,
    (low, high): (f64, f64),
    compat: Compat,
    steps: usize,
) -> Vec<f64> {
    if compat != Compat::Comfy {
        return ramp(steps, steps - 1)
            .map(|x| low + beta::quantile(1.0 - x) * (high - low))
            .collect();
    }
    let mut sigmas: Vec<f64> = ramp(steps, steps)
        .map(|x| levels.sigma((beta::quantile(1.0 - x) * levels.last()).round_ties_even()))
        .collect();
    sigmas.dedup();
    sigmas
}

/// Sabour et al. 2024, "Align Your Steps": the published ten-step levels of each model family.
pub(super) const ALIGNED_SD1: [f64; 11] = [
    14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029,
];
pub(super) const ALIGNED_SDXL: [f64; 11] = [
    14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029,
];

/// The published levels, log-linear between them: `steps` points down to the last one, or for
/// `ComfyUI` `steps + 1` points of which the last makes room for zero.
pub(super) fn aligned(published: &[f64; 11], compat: Compat, steps: usize) -> Vec<f64> {
    let whole = match compat {
        Compat::Comfy => steps,
        Compat::A1111 | Compat::Diffusers => steps - 1,
    };
    ramp(steps, whole)
        .map(|x| {
            let place = x * 10.0;
            let i = (0..10).rev().find(|i| f64::from(*i) <= place).unwrap_or(0);
            let part = place - f64::from(i);
            let at = |i: u8| libm::log(published[usize::from(i)]);
            libm::exp(at(i) * (1.0 - part) + at(i + 1) * part)
        })
        .collect()
}

/// Evenly over the angle whose tangent is the level, `whole` steps from `high` to `low`.
pub(super) fn kl_optimal(low: f64, high: f64, points: usize, whole: usize) -> Vec<f64> {
    let (low, high) = (libm::atan(low), libm::atan(high));
    ramp(points, whole)
        .map(|x| libm::tan(x * low + (1.0 - x) * high))
        .collect()
}
