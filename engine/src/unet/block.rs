//! The UNet's blocks: down to lower resolution, the middle, and up again along the skips.

use candle_core::{Result, Tensor};

use super::UnetConfig;
use super::config::Level;
use super::resnet::{Resnet, ResnetStyle};
use super::transformer::Transformer;
use crate::layers::Conv;
use crate::load::LoadError;
use crate::modules::Scope;
use hearth_kernels::conv::Geometry;

/// A residual block with the transformer behind it, where the level has one.
#[derive(Debug)]
struct Layer {
    resnet: Resnet,
    transformer: Option<Transformer>,
}

impl Layer {
    fn forward(&self, x: &Tensor, time: &Tensor, text: &Tensor) -> Result<Tensor> {
        let x = self.resnet.forward(x, Some(time))?;
        match &self.transformer {
            Some(transformer) => transformer.forward(&x, text),
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

fn transformer(
    config: &UnetConfig,
    level: &Level,
    attends: bool,
    scope: Scope<'_>,
) -> std::result::Result<Option<Transformer>, LoadError> {
    if attends {
        Transformer::new(config, level, scope).map(Some)
    } else {
        Ok(None)
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
        for i in 0..config.layers_per_block {
            let inner = if i == 0 { inner } else { outer };
            let resnet = Resnet::new(
                scope.at(format!("resnets.{i}")),
                (inner, outer),
                style(config),
            )?;
            let attention = scope.at(format!("attentions.{i}"));
            let transformer = transformer(config, level, level.attends_down, attention)?;
            layers.push(Layer {
                resnet,
                transformer,
            });
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
        time: &Tensor,
        text: &Tensor,
        skips: &mut Vec<Tensor>,
    ) -> Result<Tensor> {
        for layer in &self.layers {
            x = layer.forward(&x, time, text)?;
            skips.push(x.clone());
        }
        if let Some(downsample) = &self.downsample {
            x = downsample.forward(&x)?;
            skips.push(x.clone());
        }
        Ok(x)
    }
}

#[derive(Debug)]
pub(super) struct MidBlock {
    first: Layer,
    second: Resnet,
}

impl MidBlock {
    pub(super) fn new(
        config: &UnetConfig,
        level: &Level,
        mut scope: Scope<'_>,
    ) -> std::result::Result<Self, LoadError> {
        let shape = (level.channels, level.channels);
        let resnet = Resnet::new(scope.at("resnets.0"), shape, style(config))?;
        let transformer = transformer(config, level, true, scope.at("attentions.0"))?;
        let second = Resnet::new(scope.at("resnets.1"), shape, style(config))?;
        Ok(Self {
            first: Layer {
                resnet,
                transformer,
            },
            second,
        })
    }

    pub(super) fn forward(&self, x: &Tensor, time: &Tensor, text: &Tensor) -> Result<Tensor> {
        self.second
            .forward(&self.first.forward(x, time, text)?, Some(time))
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
        for i in 0..=config.layers_per_block {
            let skip = skips
                .pop()
                .expect("down blocks push as many skips as up blocks pop");
            let inner = skip + if i == 0 { inner } else { outer };
            let resnet = Resnet::new(
                scope.at(format!("resnets.{i}")),
                (inner, outer),
                style(config),
            )?;
            let attention = scope.at(format!("attentions.{i}"));
            let transformer = transformer(config, level, level.attends_up, attention)?;
            layers.push(Layer {
                resnet,
                transformer,
            });
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
        time: &Tensor,
        text: &Tensor,
        skips: &mut Vec<Tensor>,
    ) -> Result<Tensor> {
        for layer in &self.layers {
            let skip = skips.pop().expect("as many skips as up layers");
            x = layer.forward(&Tensor::cat(&[&x, &skip], 1)?, time, text)?;
        }
        match (&self.upsample, skips.last()) {
            (Some(upsample), Some(next)) => {
                // Not simply doubled: an odd size was rounded up on the way down.
                let (_, _, height, width) = next.dims4()?;
                upsample.forward_stretched(&x, (height, width))
            }
            (Some(_) | None, _) => Ok(x),
        }
    }
}
