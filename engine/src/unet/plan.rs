//! A UNet's blocks as its configuration orders them, bounds checked, before any weight is read.

use super::UnetConfig;
use super::config::unsupported;
use crate::load::LoadError;

/// A block: so many layers of one resolution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Level {
    pub(super) channels: usize,
    pub(super) heads: usize,
    /// For each layer, the depth of the transformer behind it, if there is one.
    pub(super) transformers: Vec<Option<usize>>,
}

/// What sits in the middle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Middle {
    /// Nothing (BK-SDM).
    Nothing,
    /// One residual block (SSD-1B).
    Resnet(Level),
    /// A layer and a residual block.
    Transformer(Level),
}

/// All blocks, in the order they are run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) down: Vec<Level>,
    pub(super) middle: Middle,
    pub(super) up: Vec<Level>,
}

/// Most layers of a block and most blocks of a transformer; SDXL has 3 and 10.
const LAYERS_MAX: usize = 16;
const DEPTH_MAX: usize = 32;

impl Plan {
    /// Checks everything a configuration says.
    pub(super) fn new(config: &UnetConfig) -> Result<Self, LoadError> {
        config.check_extras()?;
        config.check_bounds()?;
        let count = config.block_out_channels.len();
        let down = (0..count).map(|i| down(config, i));
        let up = (0..count).map(|i| up(config, i));
        Ok(Self {
            down: down.collect::<Result<_, _>>()?,
            middle: middle(config)?,
            up: up.collect::<Result<_, _>>()?,
        })
    }
}

fn down(config: &UnetConfig, i: usize) -> Result<Level, LoadError> {
    let attends = match config.down_block_types[i].as_str() {
        "CrossAttnDownBlock2D" => true,
        "DownBlock2D" => false,
        other => return unsupported(format!("block type {other}")),
    };
    let depth = |layer| config.transformer_layers_per_block.at(i, layer);
    level(config, i, 0, |layer| attends.then(|| depth(layer)))
}

/// Block `i` on the way up is on level `count - 1 - i`.
fn up(config: &UnetConfig, i: usize) -> Result<Level, LoadError> {
    let attends = match config.up_block_types[i].as_str() {
        "CrossAttnUpBlock2D" => true,
        "UpBlock2D" => false,
        other => return unsupported(format!("block type {other}")),
    };
    let mirrored = config.block_out_channels.len() - 1 - i;
    let depth = |layer| match &config.reverse_transformer_layers_per_block {
        Some(depths) => depths.at(i, layer),
        None => config.transformer_layers_per_block.at(mirrored, layer),
    };
    level(config, mirrored, 1, |layer| attends.then(|| depth(layer)))
}

fn middle(config: &UnetConfig) -> Result<Middle, LoadError> {
    let last = config.block_out_channels.len() - 1;
    let depth = |_| Some(config.transformer_layers_per_block.at(last, 0));
    match config.mid_block_type.as_deref() {
        None => Ok(Middle::Nothing),
        Some("UNetMidBlock2D") => level(config, last, 0, |_| None).map(Middle::Resnet),
        Some("UNetMidBlock2DCrossAttn") => level(config, last, 0, depth).map(Middle::Transformer),
        Some(other) => unsupported(format!("mid block {other}")),
    }
}

/// Returns resolution `i` with `more` layers than the configuration says. `depth` gives nothing for a
/// layer without transformer, and nothing inside for one whose depth the configuration lacks.
fn level(
    config: &UnetConfig,
    i: usize,
    more: usize,
    depth: impl Fn(usize) -> Option<Option<usize>>,
) -> Result<Level, LoadError> {
    let channels = config.block_out_channels[i];
    let heads = config
        .num_attention_heads
        .as_ref()
        .unwrap_or(&config.attention_head_dim)
        .at(i);
    let (Some(heads), Some(layers)) = (heads, config.layers_per_block.at(i)) else {
        return unsupported(format!("no heads or layers for level {i}"));
    };
    if !(1..=LAYERS_MAX).contains(&layers) {
        return unsupported(format!("{layers} layers per block"));
    }
    if heads == 0 || !channels.is_multiple_of(heads) {
        return unsupported(format!("{channels} channels in {heads} heads"));
    }
    let transformer = |layer| match depth(layer) {
        None => Ok(None),
        Some(Some(depth)) if depth <= DEPTH_MAX => Ok(Some(depth)),
        Some(Some(depth)) => unsupported(format!("transformers of depth {depth}")),
        Some(None) => unsupported(format!("no depth for layer {layer} of level {i}")),
    };
    Ok(Level {
        channels,
        heads,
        transformers: (0..layers + more)
            .map(transformer)
            .collect::<Result<_, _>>()?,
    })
}
