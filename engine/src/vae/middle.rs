//! The middle of encoder and decoder: two residual blocks, and one head of attention over all pixels.

use candle_core::{Result, Tensor};

use super::VaeConfig;
use crate::layers::{GroupNorm, Linear, Pass};
use crate::load::LoadError;
use crate::modules::Scope;
use crate::unet::Resnet;
use hearth_kernels::attention::{Mask, attention};
use hearth_kernels::layout::{picture, tokens};

#[derive(Debug)]
pub(super) struct Middle {
    first: Resnet,
    attention: Option<Attention>,
    second: Resnet,
}

impl Middle {
    pub(super) fn new(
        config: &VaeConfig,
        mut scope: Scope<'_>,
    ) -> std::result::Result<Self, LoadError> {
        let (width, style) = (config.deepest(), config.style());
        let attention = if config.mid_block_add_attention {
            let scope = scope.at("attentions.0");
            Some(Attention::new(scope, width, style.groups)?)
        } else {
            None
        };
        Ok(Self {
            first: Resnet::new(scope.at("resnets.0"), (width, width), style)?,
            attention,
            second: Resnet::new(scope.at("resnets.1"), (width, width), style)?,
        })
    }

    pub(super) fn forward(&self, x: &Tensor, pass: Pass) -> Result<Tensor> {
        let mut x = self.first.forward(x, None, pass)?;
        if let Some(attention) = &self.attention {
            x = attention.forward(&x)?;
        }
        self.second.forward(&x, None, pass)
    }
}

#[derive(Debug)]
struct Attention {
    norm: GroupNorm,
    q: Linear,
    k: Linear,
    v: Linear,
    out: Linear,
}

impl Attention {
    fn new(
        mut scope: Scope<'_>,
        width: usize,
        groups: usize,
    ) -> std::result::Result<Self, LoadError> {
        Ok(Self {
            norm: GroupNorm::new(scope.at("group_norm"), width, groups, 1e-6)?,
            q: Linear::new(scope.at("to_q"), (width, width))?,
            k: Linear::new(scope.at("to_k"), (width, width))?,
            v: Linear::new(scope.at("to_v"), (width, width))?,
            out: Linear::new(scope.at("to_out.0"), (width, width))?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (_, _, height, width) = x.dims4()?;
        let n = tokens(&self.norm.forward(x)?)?;
        let (q, k, v) = (
            self.q.forward(&n)?,
            self.k.forward(&n)?,
            self.v.forward(&n)?,
        );
        let found = attention(&q, &k, &v, 1, Mask::Nothing)?;
        picture(&self.out.forward_plus(&found, &tokens(x)?)?, height, width)
    }
}
