//! Every name a layer goes by: the canonical path in, the other tools' names out.
//!
//! The module table ([`crate::modules::record`]) has diffusers' and transformers' paths. From such a
//! path and a few counts this file derives the names of CompVis' and SGM's checkpoints and OpenCLIP's;
//! [`crate::adapter`] puts the prefixes of kohya's, PEFT's and `ComfyUI`'s adapters before them. Only
//! this direction exists: a name from a file is looked up among the derived ones and never taken apart.

mod notation;

use crate::modules::Module;

pub(crate) use notation::{Naming, Notation, averaged};

/// A network of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// The denoising network.
    Unet,
    /// The autoencoder.
    Vae,
    /// The first text encoder: CLIP-L, or `OpenCLIP` in Stable Diffusion 2.
    Text,
    /// SDXL's second one, `OpenCLIP` bigG.
    Text2,
}

impl Part {
    /// Returns its folder in diffusers' layout.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Unet => "unet",
            Self::Vae => "vae",
            Self::Text => "text_encoder",
            Self::Text2 => "text_encoder_2",
        }
    }
}

/// What places a UNet's layers in CompVis' one long count of blocks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct UnetGrid {
    /// Residual blocks of a level on the way down; there is one more on the way up.
    layers: usize,
    /// Whether each level has attention on the way up, lowest resolution first.
    up_attends: Vec<bool>,
}

impl UnetGrid {
    /// `up_attends` has the lowest resolution first.
    pub(crate) fn new(layers: usize, up_attends: Vec<bool>) -> Self {
        Self { layers, up_attends }
    }

    /// Reads the counts off a module list.
    pub(crate) fn of(modules: &[Module]) -> Self {
        let mut grid = Self::default();
        for module in modules {
            match segments(&module.path).as_slice() {
                ["down_blocks", _, "resnets", layer, ..] => {
                    grid.layers = grid.layers.max(number(layer).map_or(0, |n| n + 1));
                }
                ["up_blocks", block, kind, ..] => {
                    let block = number(block).unwrap_or(0);
                    if grid.up_attends.len() <= block {
                        grid.up_attends.resize(block + 1, false);
                    }
                    grid.up_attends[block] |= *kind == "attentions";
                }
                _ => {}
            }
        }
        grid
    }

    /// Returns the CompVis path of a layer, without `model.diffusion_model.`.
    pub(crate) fn compvis(&self, path: &str) -> Option<String> {
        let parts = segments(path);
        let stride = self.layers + 1;
        Some(match parts.as_slice() {
            ["conv_in"] => "input_blocks.0.0".to_owned(),
            ["conv_norm_out"] => "out.0".to_owned(),
            ["conv_out"] => "out.2".to_owned(),
            ["time_embedding", "cond_proj"] => "time_embed.cond_proj".to_owned(),
            ["time_embedding", layer] => format!("time_embed.{}", perceptron(layer)?),
            ["add_embedding" | "class_embedding", layer] => {
                format!("label_emb.0.{}", perceptron(layer)?)
            }
            ["down_blocks", block, "downsamplers", "0", "conv"] => {
                format!("input_blocks.{}.0.op", (number(block)? + 1) * stride)
            }
            ["down_blocks", block, kind, layer, rest @ ..] => {
                let at = 1 + number(block)? * stride + number(layer)?;
                format!("input_blocks.{at}.{}", unet_layer(kind, rest)?)
            }
            ["mid_block", "attentions", "0", rest @ ..] => {
                format!("middle_block.1.{}", rest.join("."))
            }
            ["mid_block", "resnets", at, rest @ ..] => {
                format!("middle_block.{}.{}", 2 * number(at)?, resnet(rest)?)
            }
            ["up_blocks", block, "upsamplers", "0", "conv"] => {
                let block = number(block)?;
                let at = block * stride + self.layers;
                let behind = if *self.up_attends.get(block)? { 2 } else { 1 };
                format!("output_blocks.{at}.{behind}.conv")
            }
            ["up_blocks", block, kind, layer, rest @ ..] => {
                let at = number(block)? * stride + number(layer)?;
                format!("output_blocks.{at}.{}", unet_layer(kind, rest)?)
            }
            _ => return None,
        })
    }
}

fn segments(path: &str) -> Vec<&str> {
    path.split('.').collect()
}

fn number(segment: &str) -> Option<usize> {
    segment.parse().ok()
}

/// Two linear layers with an activation, which CompVis counts, between them.
fn perceptron(layer: &str) -> Option<&'static str> {
    match layer {
        "linear_1" => Some("0"),
        "linear_2" => Some("2"),
        _ => None,
    }
}

fn unet_layer(kind: &str, rest: &[&str]) -> Option<String> {
    match kind {
        "resnets" => Some(format!("0.{}", resnet(rest)?)),
        "attentions" => Some(format!("1.{}", rest.join("."))),
        _ => None,
    }
}

fn resnet(rest: &[&str]) -> Option<&'static str> {
    Some(match rest {
        ["norm1"] => "in_layers.0",
        ["conv1"] => "in_layers.2",
        ["time_emb_proj"] => "emb_layers.1",
        ["norm2"] => "out_layers.0",
        ["conv2"] => "out_layers.3",
        ["conv_shortcut"] => "skip_connection",
        _ => return None,
    })
}

/// Returns the CompVis path of an autoencoder's layer, without `first_stage_model.`. The decoder of
/// `levels` resolutions counts from the other end.
pub(crate) fn vae_compvis(path: &str, levels: usize) -> Option<String> {
    let parts = segments(path);
    Some(match parts.as_slice() {
        ["quant_conv" | "post_quant_conv"] | [_, "conv_in" | "conv_out"] => path.to_owned(),
        [half, "conv_norm_out"] => format!("{half}.norm_out"),
        [half, "mid_block", "resnets", at, rest] => {
            format!("{half}.mid.block_{}.{}", number(at)? + 1, vae_resnet(rest))
        }
        [half, "mid_block", "attentions", "0", rest @ ..] => {
            format!("{half}.mid.attn_1.{}", vae_attention(rest)?)
        }
        ["encoder", "down_blocks", level, "downsamplers", "0", "conv"] => {
            format!("encoder.down.{level}.downsample.conv")
        }
        ["encoder", "down_blocks", level, "resnets", at, rest] => {
            format!("encoder.down.{level}.block.{at}.{}", vae_resnet(rest))
        }
        ["decoder", "up_blocks", block, "upsamplers", "0", "conv"] => {
            let level = levels.checked_sub(1 + number(block)?)?;
            format!("decoder.up.{level}.upsample.conv")
        }
        ["decoder", "up_blocks", block, "resnets", at, rest] => {
            let level = levels.checked_sub(1 + number(block)?)?;
            format!("decoder.up.{level}.block.{at}.{}", vae_resnet(rest))
        }
        _ => return None,
    })
}

fn vae_resnet(layer: &str) -> &str {
    match layer {
        "conv_shortcut" => "nin_shortcut",
        same => same,
    }
}

fn vae_attention(rest: &[&str]) -> Option<&'static str> {
    Some(match rest {
        ["group_norm"] => "norm",
        ["to_q"] => "q",
        ["to_k"] => "k",
        ["to_v"] => "v",
        ["to_out", "0"] => "proj_out",
        _ => return None,
    })
}

/// A tensor by its name in a file, and which part of it is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) name: String,
    pub(crate) view: View,
}

impl Stored {
    pub(crate) fn whole(name: impl Into<String>) -> Self {
        let name = name.into();
        Self {
            name,
            view: View::Whole,
        }
    }
}

/// How a stored tensor becomes the canonical one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    Whole,
    /// The n-th of three equal runs of rows: query, key and value, stored as one.
    Third(usize),
    /// Rows and columns exchanged.
    Transposed,
}

/// Returns where `OpenCLIP` keeps a text encoder's tensor, without `cond_stage_model.model.`.
pub(crate) fn open_clip(tensor: &str) -> Option<Stored> {
    let whole = |name: &str| Some(Stored::whole(name));
    let parts = segments(tensor);
    match parts.as_slice() {
        ["embeddings", "token_embedding", "weight"] => whole("token_embedding.weight"),
        ["embeddings", "position_embedding", "weight"] => whole("positional_embedding"),
        ["final_layer_norm", end] => whole(&format!("ln_final.{end}")),
        ["text_projection", "weight"] => Some(Stored {
            name: "text_projection".to_owned(),
            view: View::Transposed,
        }),
        ["encoder", "layers", layer, rest @ ..] => {
            let (name, view) = open_clip_layer(rest)?;
            let name = format!("transformer.resblocks.{layer}.{name}");
            Some(Stored { name, view })
        }
        _ => None,
    }
}

fn open_clip_layer(rest: &[&str]) -> Option<(String, View)> {
    let whole = |layer: &str, end: &str| Some((format!("{layer}.{end}"), View::Whole));
    match rest {
        ["layer_norm1", end] => whole("ln_1", end),
        ["layer_norm2", end] => whole("ln_2", end),
        ["mlp", "fc1", end] => whole("mlp.c_fc", end),
        ["mlp", "fc2", end] => whole("mlp.c_proj", end),
        ["self_attn", "out_proj", end] => whole("attn.out_proj", end),
        ["self_attn", third, end] => {
            let third = ["q_proj", "k_proj", "v_proj"]
                .iter()
                .position(|name| name == third)?;
            Some((format!("attn.in_proj_{end}"), View::Third(third)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
