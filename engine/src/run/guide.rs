//! The network as a sampler sees it: guidance, conditioning, inpainting channels and masks around one
//! evaluation, and the count of evaluations.

use candle_core::{DType, Tensor};

use super::step_file::Keep;
use super::{Cancel, RunError};
use crate::layers::Pass;
use crate::prompt::{Batch, Script};
use crate::sampler::Level;
use crate::schedule::Prediction;
use crate::unet::{Conditioning, Unet};

/// What the network hears.
#[derive(Debug)]
pub(super) struct Voice {
    pub(super) script: Script,
    /// Another script, and how far towards it.
    pub(super) towards: Option<(Script, f64)>,
    pub(super) guidance: f64,
}

impl Voice {
    fn batch(&self, evaluation: u32) -> candle_core::Result<Batch> {
        let batch = self.script.batch(evaluation, self.guidance)?;
        match &self.towards {
            Some((other, amount)) => {
                batch.towards(&other.batch(evaluation, self.guidance)?, *amount)
            }
            None => Ok(batch),
        }
    }
}

/// One pass's network.
#[derive(Debug)]
pub(super) struct Guide<'a> {
    pub(super) unet: &'a Unet,
    /// The type the network computes in.
    pub(super) dtype: DType,
    pub(super) prediction: Prediction,
    pub(super) voice: &'a Voice,
    /// SDXL's original size, crop and target size in pixels.
    pub(super) numbers: [f64; 6],
    /// Channels an inpainting network wants behind the latents, `[1, 5, h, w]`.
    pub(super) extra: Option<Tensor>,
    pub(super) keep: Option<Keep>,
    pub(super) pass: Pass,
    pub(super) cancel: &'a Cancel,
    /// Evaluations done.
    pub(super) calls: u32,
    /// Evaluations that were done before this run went on.
    pub(super) earlier: u32,
}

impl Guide<'_> {
    /// Returns the clean latents the network sees in noisy ones.
    pub(super) fn denoised(&mut self, x: &Tensor, level: Level) -> Result<Tensor, RunError> {
        if self.cancel.is_cancelled() {
            // The job knows what the calls of both passes count.
            return Err(RunError::Cancelled { evaluations: 0 });
        }
        let heard = self.voice.batch(self.earlier + self.calls)?;
        self.calls += 1;
        let input = level.input(x)?;
        let input = match &self.extra {
            Some(extra) => Tensor::cat(&[&input, extra], 1)?,
            None => input,
        };
        let inputs = Tensor::cat(&vec![&input; heard.rows()], 0)?.to_dtype(self.dtype)?;
        let text = heard.context.to_dtype(self.dtype)?;
        let added = match &heard.pooled {
            Some(pooled) => self
                .unet
                .added(&pooled.to_dtype(self.dtype)?, &self.numbers)?,
            None => None,
        };
        let listen = Conditioning {
            added: added.as_ref(),
            guidance: Some(self.voice.guidance),
            ..Conditioning::text(&text)
        };
        let outputs = self
            .unet
            .forward(&inputs, level.timestep, &listen, self.pass)?;
        let output = heard.compose(&outputs.to_dtype(DType::F32)?)?;
        let denoised = level.denoised(x, &output, self.prediction)?;
        match &self.keep {
            Some(Keep { latents, mask }) => {
                // Where nothing may change, the network is told it saw what is there.
                let change = (denoised - latents)?.broadcast_mul(mask)?;
                Ok((latents + change)?)
            }
            None => Ok(denoised),
        }
    }
}
