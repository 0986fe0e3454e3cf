//! Samplers in sigma space: from noise to a picture's latents in a given number of steps.

use candle_core::Tensor;

use crate::schedule::{Plan, Prediction};

/// What a step gives.
#[derive(Debug)]
pub(crate) struct Step {
    /// Number of the step, from 0.
    pub(crate) number: usize,
    /// The latents behind it.
    pub(crate) latents: Tensor,
    /// The clean latents as the network saw them then.
    pub(crate) denoised: Tensor,
}

/// Takes explicit Euler steps along a plan.
///
/// `predict` is given the network's scaled input and the timestep; `after` sees every step and may
/// end the run with an error of its own.
pub(crate) fn euler<E: From<candle_core::Error>>(
    noise: &Tensor,
    plan: &Plan,
    prediction: Prediction,
    mut predict: impl FnMut(&Tensor, f64) -> Result<Tensor, E>,
    mut after: impl FnMut(&Step) -> Result<(), E>,
) -> Result<Tensor, E> {
    let mut x = (noise * plan.noise_scale)?;
    for (number, (pair, timestep)) in plan.sigmas.windows(2).zip(&plan.timesteps).enumerate() {
        let (sigma, next) = (pair[0], pair[1]);
        let input = (&x / sigma.hypot(1.0))?;
        let output = predict(&input, *timestep)?;
        let denoised = denoised(&x, &output, sigma, prediction)?;
        let slope = ((&x - &denoised)? / sigma)?;
        x = (x + (slope * (next - sigma))?)?;
        let step = Step {
            number,
            latents: x,
            denoised,
        };
        after(&step)?;
        x = step.latents;
    }
    Ok(x)
}

/// The clean latents a prediction implies.
fn denoised(
    x: &Tensor,
    output: &Tensor,
    sigma: f64,
    prediction: Prediction,
) -> candle_core::Result<Tensor> {
    match prediction {
        Prediction::Epsilon => x - (output * sigma)?,
        Prediction::Velocity => {
            let spread = sigma * sigma + 1.0;
            (x / spread)? - (output * (sigma / spread.sqrt()))?
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use hearth_protocol::job::{Compat, NoiseSchedule};

    use super::*;
    use crate::schedule::{NoiseTable, ScheduleConfig};

    #[test]
    fn perfect_noise_prediction_lands_on_the_picture() {
        let picture = Tensor::new(&[0.5_f32, -1.0, 2.0], &Device::Cpu).unwrap();
        let noise = Tensor::new(&[1.0_f32, 0.3, -0.7], &Device::Cpu).unwrap();
        let table = NoiseTable::new(&ScheduleConfig::default()).unwrap();
        let plan = table.plan(NoiseSchedule::Karras, Compat::A1111, 8);
        let mut sigmas = plan.sigmas.clone().into_iter();
        let predict = |input: &Tensor, _| {
            let sigma = sigmas.next().unwrap();
            let x = (input * sigma.hypot(1.0))?;
            (x - &picture)? / sigma
        };
        let mut seen = Vec::new();
        let after = |step: &Step| {
            seen.push(step.number);
            Ok::<_, candle_core::Error>(())
        };
        let end = euler(&noise, &plan, Prediction::Epsilon, predict, after).unwrap();
        let diff = (end - &picture).unwrap().abs().unwrap().max_all().unwrap();
        assert!(diff.to_scalar::<f32>().unwrap() < 1e-5);
        assert_eq!(seen, [0, 1, 2, 3, 4, 5, 6, 7]);
    }
}
