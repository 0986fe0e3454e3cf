//! The UNet's blocks: down to lower resolution, the middle, and up again along the skips.

use candle_core::{Result, Tensor};

use super::UnetConfig;
use super::plan::{Level, Middle};
use super::resnet::{Resnet, ResnetStyle};
use super::transformer::Transformer;
use crate::layers::{Conv, Pass};
use crate::load::LoadError;
use crate::modules::Scope;
use hearth_kernels::conv::Geometry;
use hearth_kernels::layout::cat;

/// What every block sees beside the picture.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context<'a> {
    /// `[1 or batch, 1, channels]`.
    pub(super) time: &'a Tensor,
    /// `[batch, tokens, channels]`.
    pub(super) text: &'a Tensor,
    pub(super) pass: Pass,
}

/// A residual block with the transformer behind it, where the layer has one.
#[derive(Debug)]
struct Layer {
    resnet: Resnet,
    transformer: Option<Transformer>,
}

impl Layer {
    fn new(
        config: &UnetConfig,
        level: &Level,
        i: usize,
        inner: usize,
        scope: &mut Scope<'_>,
    ) -> std::result::Result<Self, LoadError> {
        let shape = (inner, level.channels);
        let resnet = Resnet::new(scope.at(format!("resnets.{i}")), shape, style(config))?;
        let transformer = match level.transformers[i] {
            Some(depth) => {
                let scope = scope.at(format!("attentions.{i}"));
                Some(Transformer::new(config, level, depth, scope)?)
            }
            None => None,
        };
        Ok(Self {
            resnet,
            transformer,
        })
    }

    fn forward(&self, x: &Tensor, context: Context<'_>) -> Result<Tensor> {
        let x = self.resnet.forward(x, Some(context.time), context.pass)?;
        match &self.transformer {
            Some(transformer) => transformer.forward(&x, context.text),
            None => Ok(x),
        }
    }
}

fn style(config: &UnetConfig) -> ResnetStyle {
    ResnetStyle {
        groups: config.norm_num_groups,
        eps: config.norm_eps,
        time: Some(4 * config.block_out_channels[0]),
    }
}

#[derive(Debug)]
pub(super) struct DownBlock {
    layers: Vec<Layer>,
    downsample: Option<Conv>,
}

impl DownBlock {
    /// Pushes the channels of every output that an up block will want back.
    pub(super) fn new(
        config: &UnetConfig,
        level: &Level,
        last: bool,
        inner: usize,
        skips: &mut Vec<usize>,
        mut scope: Scope<'_>,
    ) -> std::result::Result<Self, LoadError> {
        let outer = level.channels;
        let mut layers = Vec::new();
        for i in 0..level.transformers.len() {
            let inner = if i == 0 { inner } else { outer };
            layers.push(Layer::new(config, level, i, inner, &mut scope)?);
            skips.push(outer);
        }
        let downsample = if last {
            None
        } else {
            skips.push(outer);
            let scope = scope.at("downsamplers.0.conv");
            Some(Conv::new(scope, (outer, outer), 3, Geometry::HALF)?)
        };
        Ok(Self { layers, downsample })
    }

    pub(super) fn forward(
        &self,
        mut x: Tensor,
        context: Context<'_>,
        skips: &mut Vec<Tensor>,
    ) -> Result<Tensor> {
        for layer in &self.layers {
            x = layer.forward(&x, context)?;
            skips.push(x.clone());
        }
        if let Some(downsample) = &self.downsample {
            x = downsample.forward(&x, context.pass)?;
            skips.push(x.clone());
        }
        Ok(x)
    }
}

/// The middle: layers one after the other, none if the model has no middle.
#[derive(Debug)]
pub(super) struct MidBlock(Vec<Layer>);

impl MidBlock {
    pub(super) fn new(
        config: &UnetConfig,
        middle: &Middle,
        mut scope: Scope<'_>,
    ) -> std::result::Result<Self, LoadError> {
        let (level, transformers) = match middle {
            Middle::Nothing => return Ok(Self(Vec::new())),
            Middle::Resnet(level) => (level, vec![None]),
            Middle::Transformer(level) => (level, vec![level.transformers[0], None]),
        };
        let level = Level {
            transformers,
            ..level.clone()
        };
        (0..level.transformers.len())
            .map(|i| Layer::new(config, &level, i, level.channels, &mut scope))
            .collect::<std::result::Result<_, _>>()
            .map(Self)
    }

    pub(super) fn forward(&self, mut x: Tensor, context: Context<'_>) -> Result<Tensor> {
        for layer in &self.0 {
            x = layer.forward(&x, context)?;
        }
        Ok(x)
    }
}

#[derive(Debug)]
pub(super) struct UpBlock {
    layers: Vec<Layer>,
    upsample: Option<Conv>,
}

impl UpBlock {
    /// Pops the channels of the skips it takes.
    pub(super) fn new(
        config: &UnetConfig,
        level: &Level,
        last: bool,
        inner: usize,
        skips: &mut Vec<usize>,
        mut scope: Scope<'_>,
    ) -> std::result::Result<Self, LoadError> {
        let outer = level.channels;
        let mut layers = Vec::new();
        for i in 0..level.transformers.len() {
            let skip = skips
                .pop()
                .expect("down blocks push as many skips as up blocks pop");
            let inner = skip + if i == 0 { inner } else { outer };
            layers.push(Layer::new(config, level, i, inner, &mut scope)?);
        }
        let upsample = if last {
            None
        } else {
            let scope = scope.at("upsamplers.0.conv");
            Some(Conv::new(scope, (outer, outer), 3, Geometry::SAME)?)
        };
        Ok(Self { layers, upsample })
    }

    pub(super) fn forward(
        &self,
        mut x: Tensor,
        context: Context<'_>,
        skips: &mut Vec<Tensor>,
    ) -> Result<Tensor> {
        for layer in &self.layers {
            let skip = skips.pop().expect("as many skips as up layers");
            x = layer.forward(&cat(&x, &skip)?, context)?;
        }
        match (&self.upsample, skips.last()) {
            (Some(upsample), Some(next)) => {
                // Not simply doubled: an odd size was rounded up on the way down.
                let (_, _, height, width) = next.dims4()?;
                upsample.forward_stretched(&x, (height, width), context.pass)
            }
            (Some(_) | None, _) => Ok(x),
        }
    }
}
