//! The residual block of UNet and VAE.

use candle_core::{Result, Tensor};

use crate::layers::{Conv, GroupNorm, Linear, Pass};
use crate::load::LoadError;
use crate::modules::Scope;
use hearth_kernels::conv::Geometry;

/// Two normalised convolutions around a timestep, beside a shortcut.
#[derive(Debug)]
pub(crate) struct Resnet {
    norm1: GroupNorm,
    conv1: Conv,
    time: Option<Linear>,
    norm2: GroupNorm,
    conv2: Conv,
    shortcut: Option<Conv>,
}

/// How a residual block normalises, and the width of the timestep it takes, if any.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ResnetStyle {
    pub(crate) groups: usize,
    pub(crate) eps: f64,
    pub(crate) time: Option<usize>,
}

impl Resnet {
    pub(crate) fn new(
        mut scope: Scope<'_>,
        (inner, outer): (usize, usize),
        style: ResnetStyle,
    ) -> std::result::Result<Self, LoadError> {
        let ResnetStyle { groups, eps, time } = style;
        let time = match time {
            Some(width) => Some(Linear::new(scope.at("time_emb_proj"), (width, outer))?),
            None => None,
        };
        let shortcut = if inner == outer {
            None
        } else {
            Some(Conv::new(
                scope.at("conv_shortcut"),
                (inner, outer),
                1,
                Geometry::POINT,
            )?)
        };
        Ok(Self {
            norm1: GroupNorm::new(scope.at("norm1"), inner, groups, eps)?,
            conv1: Conv::new(scope.at("conv1"), (inner, outer), 3, Geometry::SAME)?,
            time,
            norm2: GroupNorm::new(scope.at("norm2"), outer, groups, eps)?,
            conv2: Conv::new(scope.at("conv2"), (outer, outer), 3, Geometry::SAME)?,
            shortcut,
        })
    }

    /// `time` is `[1 or batch, 1, width]` and must be there if the block takes one.
    pub(crate) fn forward(&self, x: &Tensor, time: Option<&Tensor>, pass: Pass) -> Result<Tensor> {
        let h = self.norm1.forward_silu(x)?;
        let h = match (&self.time, time) {
            (Some(project), Some(time)) => {
                let shift = project.forward(time)?.squeeze(1)?;
                self.conv1.forward_plus(&h, &shift, pass)?
            }
            (None, None) => self.conv1.forward(&h, pass)?,
            (Some(_), None) | (None, Some(_)) => candle_core::bail!("block and timestep disagree"),
        };
        let h = self.norm2.forward_silu(&h)?;
        match &self.shortcut {
            Some(shortcut) => self
                .conv2
                .forward_onto(&h, &shortcut.forward(x, pass)?, pass),
            None => self.conv2.forward_onto(&h, x, pass),
        }
    }
}
