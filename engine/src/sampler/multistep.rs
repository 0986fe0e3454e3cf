//! Samplers that learn from earlier steps: DPM-Solver++ (2M, 2M SDE, 3M SDE), LMS and PLMS.

use candle_core::{Result, Tensor};
use hearth_protocol::job::Compat;

use super::stage::{Stage, slope, sum, sum_of};
use super::{Corrector, Model, Stepper};

/// How many slopes LMS and PLMS work with.
const SLOPES: usize = 4;

impl Stepper {
    /// Length in `-ln(sigma)` of a step before this one.
    fn length_back(&self, stage: Stage, back: usize) -> f64 {
        let at = |i: usize| libm::log(self.plan.sigmas[i]);
        at(stage.number - back) - at(stage.number - back + 1)
    }

    /// Predictions remembered from before this step, as many as there were steps.
    fn known(&self, stage: Stage) -> usize {
        self.history.past().len().min(stage.number)
    }

    /// DPM-Solver++(2M) (Lu et al. 2022).
    pub(super) fn dpmpp_2m(
        &mut self,
        stage: Stage,
        x: &Tensor,
        denoised: &Tensor,
    ) -> Result<Tensor> {
        let kept = stage.next / stage.sigma;
        let made = 1.0 - kept;
        let x = if self.known(stage) == 0 || stage.next == 0.0 {
            sum([(kept, x), (made, denoised)])?
        } else {
            let ratio = self.length_back(stage, 1) / stage.length();
            let back = made / (2.0 * ratio);
            let old = &self.history.past()[0];
            sum([(kept, x), (made + back, denoised), (-back, old)])?
        };
        self.history.push(denoised.clone(), 1);
        Ok(x)
    }

    /// DPM-Solver++(2M) SDE (k-diffusion).
    pub(super) fn dpmpp_2m_sde(
        &mut self,
        stage: Stage,
        x: &Tensor,
        denoised: &Tensor,
    ) -> Result<Tensor> {
        if stage.next == 0.0 {
            return Ok(denoised.clone());
        }
        let eta = self.tuning.eta;
        let length = stage.length();
        let stretched = length * (1.0 + eta);
        let made = -libm::expm1(-stretched);
        let second = if self.known(stage) == 0 {
            0.0
        } else {
            let ratio = self.length_back(stage, 1) / length;
            let weight = match self.tuning.corrector {
                Corrector::Midpoint => 0.5 * made,
                Corrector::Heun => 1.0 - made / stretched,
            };
            weight / ratio
        };
        let kept = (1.0 - made, x);
        let next = match self.history.past().first() {
            Some(old) if second != 0.0 => sum([kept, (made + second, denoised), (-second, old)])?,
            _ => sum([kept, (made, denoised)])?,
        };
        self.history.push(denoised.clone(), 1);
        self.add_sde_noise(stage, &next)
    }

    /// DPM-Solver++(3M) SDE (k-diffusion).
    pub(super) fn dpmpp_3m_sde(
        &mut self,
        stage: Stage,
        x: &Tensor,
        denoised: &Tensor,
    ) -> Result<Tensor> {
        if stage.next == 0.0 {
            return Ok(denoised.clone());
        }
        let length = stage.length();
        let stretched = length * (1.0 + self.tuning.eta);
        let made = -libm::expm1(-stretched);
        let phi_2 = 1.0 - made / stretched;
        let phi_3 = phi_2 / stretched - 0.5;
        let base = sum([(1.0 - made, x), (made, denoised)])?;
        let past = self.history.past();
        let next = match self.known(stage) {
            0 => base,
            1 => {
                let weight = phi_2 / (self.length_back(stage, 1) / length);
                sum([(1.0, &base), (weight, denoised), (-weight, &past[0])])?
            }
            _ => {
                let ratio_0 = self.length_back(stage, 1) / length;
                let ratio_1 = self.length_back(stage, 2) / length;
                let near = ((denoised - &past[0])? / ratio_0)?;
                let far = ((&past[0] - &past[1])? / ratio_1)?;
                let bend = (&near - far)?;
                let whole = ratio_0 + ratio_1;
                let weight = (phi_2 * ratio_0 - phi_3) / whole;
                sum([(1.0, &base), (phi_2, &near), (weight, &bend)])?
            }
        };
        self.history.push(denoised.clone(), 2);
        self.add_sde_noise(stage, &next)
    }

    fn add_sde_noise(&mut self, stage: Stage, x: &Tensor) -> Result<Tensor> {
        let spread = -libm::expm1(-2.0 * stage.length() * self.tuning.eta);
        self.add_noise(x, (stage.sigma, stage.next), stage.next * spread.sqrt())
    }

    /// Linear multistep: the polynomial through up to four slopes, integrated over the step.
    pub(super) fn lms(&mut self, stage: Stage, x: &Tensor, denoised: &Tensor) -> Result<Tensor> {
        if stage.next == 0.0 && self.tuning.compat == Compat::Comfy {
            return Ok(denoised.clone());
        }
        let known = self.known(stage);
        let slope = slope(x, denoised, stage.sigma)?;
        let levels = &self.plan.sigmas[stage.number - known..=stage.number];
        let weights = lms_weights(levels, stage.next);
        let past = weights[1..].iter().copied().zip(self.history.past());
        let terms: Vec<_> = [(1.0, x), (weights[0], &slope)]
            .into_iter()
            .chain(past)
            .collect();
        let next = sum_of(&terms)?;
        self.history.push(slope, SLOPES - 1);
        Ok(next)
    }

    /// Pseudo linear multistep (Liu et al. 2022, PNDM without Runge-Kutta steps): its first step is
    /// Heun's, later ones are Adams and Bashforth's of up to fourth order.
    pub(super) fn plms<E: From<candle_core::Error>>(
        &mut self,
        stage: Stage,
        x: &Tensor,
        denoised: &Tensor,
        model: &mut Model<'_, E>,
    ) -> std::result::Result<Tensor, E> {
        let known = self.known(stage);
        let slope = slope(x, denoised, stage.sigma)?;
        let length = stage.next - stage.sigma;
        let mut pseudo = None;
        let weights: &[f64] = match known {
            0 if stage.is_last => &[1.0],
            0 => {
                let there = sum([(1.0, x), (length, &slope)])?;
                let next = model(&there, self.next_level(stage))?;
                pseudo = Some(super::stage::slope(&there, &next, stage.next)?);
                &[0.5]
            }
            1 => &[3.0 / 2.0, -1.0 / 2.0],
            2 => &[23.0 / 12.0, -16.0 / 12.0, 5.0 / 12.0],
            _ => &[55.0 / 24.0, -59.0 / 24.0, 37.0 / 24.0, -9.0 / 24.0],
        };
        let slopes = std::iter::once(&slope).chain(self.history.past());
        let mut terms = vec![(1.0, x)];
        terms.extend(weights.iter().map(|weight| weight * length).zip(slopes));
        terms.extend(pseudo.as_ref().map(|slope| (0.5 * length, slope)));
        let next = sum_of(&terms)?;
        self.history.push(slope, SLOPES - 1);
        Ok(next)
    }
}

/// What each slope counts for over the way from the last of `levels` to `end`, the latest slope first:
/// the integrals of the Lagrange polynomials. Two Gauss points are exact up to their third degree.
fn lms_weights(levels: &[f64], end: f64) -> Vec<f64> {
    let start = levels[levels.len() - 1];
    let (middle, half) = ((start + end) / 2.0, (end - start) / 2.0);
    let offset = half / 3_f64.sqrt();
    let basis = |own: usize, at: f64| -> f64 {
        let others = levels.iter().enumerate().filter(|(i, _)| *i != own);
        others
            .map(|(_, level)| (at - level) / (levels[own] - level))
            .product()
    };
    let weight = |own| half * (basis(own, middle - offset) + basis(own, middle + offset));
    (0..levels.len()).rev().map(weight).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lms_weights_are_adams_and_bashforths_on_even_levels() {
        let weights = lms_weights(&[0.0, 1.0, 2.0, 3.0], 4.0);
        let known = [55.0 / 24.0, -59.0 / 24.0, 37.0 / 24.0, -9.0 / 24.0];
        for (weight, known) in weights.iter().zip(known) {
            assert!((weight - known).abs() < 1e-12, "{weight} {known}");
        }
    }
}
