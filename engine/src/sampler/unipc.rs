//! `UniPC` (Zhao et al. 2023): a multistep predictor whose result the next evaluation corrects, in its
//! data-prediction form.

use candle_core::{Result, Tensor};
use hearth_protocol::job::Compat;

use super::stage::{Stage, sum_of};
use super::{StepFunction, Stepper};

/// The highest order there are formulas for here.
const ORDER_MAX: usize = 3;

/// A step as `UniPC` sees it: earlier predictions' places in units of its length, and what they count.
struct Weights {
    /// Place of each earlier prediction, the latest first, in units of the step; negative.
    places: Vec<f64>,
    /// `exp(-h) - 1`.
    made: f64,
    /// The step function's value.
    scale: f64,
    /// Right-hand sides of the order conditions.
    moments: Vec<f64>,
}

impl Weights {
    fn new(places: Vec<f64>, length: f64, function: StepFunction) -> Self {
        let h = -length;
        let made = libm::expm1(h);
        let scale = match function {
            StepFunction::Bh1 => h,
            StepFunction::Bh2 => made,
        };
        let mut phi = made / h - 1.0;
        let mut factorial = 1.0;
        let mut moments = Vec::with_capacity(ORDER_MAX);
        for i in 1..=ORDER_MAX {
            moments.push(phi * factorial / scale);
            factorial *= i as f64 + 1.0;
            phi = phi / h - 1.0 / factorial;
        }
        Self {
            places,
            made,
            scale,
            moments,
        }
    }

    /// What the differences to earlier predictions count, and with `with_end` the one at the end, last.
    fn solve(&self, with_end: bool) -> Vec<f64> {
        let mut places = self.places.clone();
        if with_end {
            places.push(1.0);
        }
        if places.len() == 1 {
            return vec![0.5];
        }
        vandermonde(&places, &self.moments)
    }
}

impl Stepper {
    /// Corrects the latents by what the model says at them, then predicts the next ones.
    pub(super) fn unipc(&mut self, stage: Stage, x: &Tensor, denoised: &Tensor) -> Result<Tensor> {
        let corrected = match self.history.sample().cloned() {
            Some(sample) if stage.number > 0 && !self.history.past().is_empty() => {
                self.correct(stage, &sample, denoised)?
            }
            _ => x.clone(),
        };
        self.history.push(denoised.clone(), ORDER_MAX);
        self.history.keep_sample(corrected.clone());
        let order = self.order(stage.number, self.history.past().len());
        if stage.next == 0.0 {
            return Ok(denoised.clone());
        }
        let weights = self.weights(stage.number, order);
        let mut terms = self.base(stage.number, &corrected, &weights);
        if !weights.places.is_empty() {
            let solved = weights.solve(false);
            self.add_differences(&mut terms, &weights, &solved);
        }
        sum_of(&terms)
    }

    fn correct(&self, stage: Stage, sample: &Tensor, denoised: &Tensor) -> Result<Tensor> {
        let before = stage.number - 1;
        let order = self.order(before, self.history.past().len());
        let weights = self.weights(before, order);
        let solved = weights.solve(true);
        let mut terms = self.base(before, sample, &weights);
        self.add_differences(&mut terms, &weights, &solved);
        let end = -weights.scale * solved[solved.len() - 1];
        terms.push((end, denoised));
        terms[1].0 -= end;
        sum_of(&terms)
    }

    /// The order of a step: as many predictions as there are, fewer towards the end of the run.
    fn order(&self, number: usize, known: usize) -> usize {
        let steps = self.plan.steps();
        let most = match self.tuning.compat {
            Compat::Comfy => self.tuning.unipc_order.min(steps.saturating_sub(1).max(1)),
            Compat::A1111 | Compat::Diffusers => self.tuning.unipc_order,
        };
        most.min(ORDER_MAX)
            .min(known)
            .min(steps - number)
            .min(number + 1)
    }

    fn weights(&self, number: usize, order: usize) -> Weights {
        let place = |i: usize| -libm::log(self.plan.sigmas[i]);
        let length = place(number + 1) - place(number);
        let places = (1..order).map(|back| (place(number - back) - place(number)) / length);
        Weights::new(places.collect(), length, self.tuning.unipc_function)
    }

    /// The first-order step: latents and the latest prediction, in this order.
    fn base<'a>(
        &'a self,
        number: usize,
        x: &'a Tensor,
        weights: &Weights,
    ) -> Vec<(f64, &'a Tensor)> {
        let kept = self.plan.sigmas[number + 1] / self.plan.sigmas[number];
        vec![(kept, x), (-weights.made, &self.history.past()[0])]
    }

    /// Adds the weighted differences of earlier predictions to the latest.
    fn add_differences<'a>(
        &'a self,
        terms: &mut Vec<(f64, &'a Tensor)>,
        weights: &Weights,
        solved: &[f64],
    ) {
        let earlier = self.history.past()[1..].iter();
        for ((place, solved), earlier) in weights.places.iter().zip(solved).zip(earlier) {
            let weight = -weights.scale * solved / place;
            terms.push((weight, earlier));
            terms[1].0 -= weight;
        }
    }
}

/// Solves `sum over k of places[k]^i * x[k] = values[i]` by elimination.
fn vandermonde(places: &[f64], values: &[f64]) -> Vec<f64> {
    let n = places.len();
    let mut rows: Vec<Vec<f64>> = (0..n)
        .map(|i| {
            let powers = places.iter().map(|place| libm::pow(*place, i as f64));
            powers.chain([values[i]]).collect()
        })
        .collect();
    for pivot in 0..n {
        let own = rows[pivot].clone();
        for row in &mut rows[pivot + 1..] {
            let factor = row[pivot] / own[pivot];
            row.iter_mut()
                .zip(&own)
                .for_each(|(value, own)| *value -= factor * own);
        }
    }
    let mut solved = vec![0.0; n];
    for row in (0..n).rev() {
        let rest: f64 = (row + 1..n).map(|k| rows[row][k] * solved[k]).sum();
        solved[row] = (rows[row][n] - rest) / rows[row][row];
    }
    solved
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn solved_systems_hold() {
        let places = [-0.9, -2.1, 1.0];
        let values = [0.4, 0.3, 0.2];
        let solved = vandermonde(&places, &values);
        for (i, value) in values.iter().enumerate() {
            let sum: f64 = places
                .iter()
                .zip(&solved)
                .map(|(place, x)| libm::pow(*place, i as f64) * x)
                .sum();
            assert!((sum - value).abs() < 1e-12);
        }
    }
}
