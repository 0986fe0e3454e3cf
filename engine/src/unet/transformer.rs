//! The transformer between a UNet's residual blocks: pixels look at each other and at the text.

use candle_core::{Result, Tensor};

use super::UnetConfig;
use super::plan::Level;
use crate::layers::{Gated, GroupNorm, LayerNorm, Linear};
use crate::load::LoadError;
use crate::modules::Scope;
use hearth_kernels::attention::{Mask, attention};
use hearth_kernels::layout::{picture, tokens};

/// Normalisation, projection to tokens, transformer blocks, projection back, residual.
#[derive(Debug)]
pub(super) struct Transformer {
    norm: GroupNorm,
    proj_in: Linear,
    blocks: Vec<Block>,
    proj_out: Linear,
}

impl Transformer {
    pub(super) fn new(
        config: &UnetConfig,
        level: &Level,
        depth: usize,
        mut scope: Scope<'_>,
    ) -> std::result::Result<Self, LoadError> {
        let width = level.channels;
        let project = |scope: Scope<'_>| {
            if config.use_linear_projection {
                Linear::new(scope, (width, width))
            } else {
                Linear::point(scope, (width, width))
            }
        };
        let norm = GroupNorm::new(scope.at("norm"), width, config.norm_num_groups, 1e-6)?;
        let proj_in = project(scope.at("proj_in"))?;
        let blocks = (0..depth)
            .map(|i| {
                let scope = scope.at(format!("transformer_blocks.{i}"));
                Block::new(scope, width, level.heads, config.cross_attention_dim)
            })
            .collect::<std::result::Result<_, _>>()?;
        Ok(Self {
            norm,
            proj_in,
            blocks,
            proj_out: project(scope.at("proj_out"))?,
        })
    }

    pub(super) fn forward(&self, x: &Tensor, text: &Tensor) -> Result<Tensor> {
        let (_, _, height, width) = x.dims4()?;
        let mut h = self.proj_in.forward(&tokens(&self.norm.forward(x)?)?)?;
        for block in &self.blocks {
            h = block.forward(&h, text)?;
        }
        let h = self.proj_out.forward_plus(&h, &tokens(x)?)?;
        picture(&h, height, width)
    }
}

#[derive(Debug)]
struct Block {
    norm1: LayerNorm,
    own: Attention,
    norm2: LayerNorm,
    cross: Attention,
    norm3: LayerNorm,
    expand: Gated,
    contract: Linear,
}

impl Block {
    fn new(
        mut scope: Scope<'_>,
        width: usize,
        heads: usize,
        text: usize,
    ) -> std::result::Result<Self, LoadError> {
        Ok(Self {
            norm1: LayerNorm::new(scope.at("norm1"), width, 1e-5)?,
            own: Attention::new(scope.at("attn1"), width, width, heads)?,
            norm2: LayerNorm::new(scope.at("norm2"), width, 1e-5)?,
            cross: Attention::new(scope.at("attn2"), width, text, heads)?,
            norm3: LayerNorm::new(scope.at("norm3"), width, 1e-5)?,
            expand: Gated::new(scope.at("ff.net.0.proj"), (width, 8 * width))?,
            contract: Linear::new(scope.at("ff.net.2"), (4 * width, width))?,
        })
    }

    fn forward(&self, x: &Tensor, text: &Tensor) -> Result<Tensor> {
        let n = self.norm1.forward(x)?;
        let x = self.own.forward(&n, &n, x)?;
        let x = self.cross.forward(&self.norm2.forward(&x)?, text, &x)?;
        let h = self.expand.forward(&self.norm3.forward(&x)?)?;
        self.contract.forward_plus(&h, &x)
    }
}

#[derive(Debug)]
struct Attention {
    q: Linear,
    k: Linear,
    v: Linear,
    out: Linear,
    heads: usize,
}

impl Attention {
    fn new(
        mut scope: Scope<'_>,
        width: usize,
        context: usize,
        heads: usize,
    ) -> std::result::Result<Self, LoadError> {
        Ok(Self {
            q: Linear::without_bias(scope.at("to_q"), (width, width))?,
            k: Linear::without_bias(scope.at("to_k"), (context, width))?,
            v: Linear::without_bias(scope.at("to_v"), (context, width))?,
            out: Linear::new(scope.at("to_out.0"), (width, width))?,
            heads,
        })
    }

    /// Returns `residual` plus what `x` finds in `context`.
    fn forward(&self, x: &Tensor, context: &Tensor, residual: &Tensor) -> Result<Tensor> {
        let (k, v) = (self.k.forward(context)?, self.v.forward(context)?);
        let found = attention(&self.q.forward(x)?, &k, &v, self.heads, Mask::Nothing)?;
        self.out.forward_plus(&found, residual)
    }
}
