//! Configurations in diffusers' and transformers' words, read off shapes.

use serde_json::{Value, json};

use super::Prediction;
use crate::names::Notation;
use crate::weights::PartFiles;

/// Most levels, layers or blocks looked for; the largest real number is 32.
const COUNT_MAX: usize = 128;

/// Counts from 0 up as long as `there` says so.
fn count(there: impl Fn(usize) -> bool) -> usize {
    (0..COUNT_MAX).take_while(|i| there(*i)).count()
}

/// The shapes of a part's tensors.
struct Shapes<'a>(&'a PartFiles);

impl Shapes<'_> {
    fn has(&self, tensor: &str) -> bool {
        self.0.find(tensor).is_some()
    }

    /// Returns one dimension of a tensor.
    fn size(&self, tensor: &str, dimension: usize) -> Option<usize> {
        self.0.shape(tensor)?.get(dimension).copied()
    }

    /// Returns how many transformer blocks a layer's attention has: none is no attention.
    fn depth(&self, attention: &str) -> usize {
        count(|i| self.has(&format!("{attention}.transformer_blocks.{i}.norm1.weight")))
    }
}

/// Returns `unet/config.json`, or nothing where tensors are missing that every UNet has. `pooled` is the
/// width of the pooled text, where it is known.
pub(crate) fn unet(files: &PartFiles, pooled: Option<usize>) -> Option<Value> {
    let shapes = Shapes(files);
    let resnet = |b: usize, l: usize| format!("down_blocks.{b}.resnets.{l}.conv1.weight");
    let levels = count(|b| shapes.has(&resnet(b, 0)));
    let channels: Option<Vec<usize>> = (0..levels).map(|b| shapes.size(&resnet(b, 0), 0)).collect();
    let channels = channels?;
    let layers = count(|l| shapes.has(&resnet(0, l)));
    let depths = |half: &str, block: usize, layers: usize| -> Vec<usize> {
        let layer = |l| shapes.depth(&format!("{half}.{block}.attentions.{l}"));
        (0..layers).map(layer).collect()
    };
    let down: Vec<_> = (0..levels)
        .map(|b| depths("down_blocks", b, layers))
        .collect();
    let up: Vec<_> = (0..levels)
        .map(|b| depths("up_blocks", b, layers + 1))
        .collect();
    let middle = shapes.depth("mid_block.attentions.0");
    let attends = |depths: &[usize]| depths.iter().any(|depth| *depth > 0);
    let blocks = |all: &[Vec<usize>], cross: &str, plain: &str| -> Vec<String> {
        let kind = |depths: &Vec<usize>| if attends(depths) { cross } else { plain };
        all.iter().map(|depths| kind(depths).to_owned()).collect()
    };
    let (projection, text) = attention(&shapes, &down, middle)?;
    // Stable Diffusion 1 has eight heads at any width; its successors have heads of 64 channels.
    let heads = if projection == Projection::Linear {
        json!(channels.iter().map(|c| (c / 64).max(1)).collect::<Vec<_>>())
    } else {
        json!(8)
    };
    let mut config = json!({
        "_class_name": "UNet2DConditionModel", "act_fn": "silu", "attention_head_dim": heads,
        "block_out_channels": channels, "cross_attention_dim": text,
        "down_block_types": blocks(&down, "CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": blocks(&up, "CrossAttnUpBlock2D", "UpBlock2D"),
        "mid_block_type": middle_type(&shapes, middle),
        "in_channels": shapes.size("conv_in.weight", 1)?,
        "out_channels": shapes.size("conv_out.weight", 0)?,
        "layers_per_block": layers, "norm_num_groups": 32, "norm_eps": 1e-5,
        "flip_sin_to_cos": true, "freq_shift": 0,
        "use_linear_projection": projection == Projection::Linear,
    });
    set_depths(&mut config, &down, middle, &up);
    if let Some(waves) = shapes.size("time_embedding.cond_proj.weight", 1) {
        config["time_cond_proj_dim"] = json!(waves);
    }
    set_additions(
        &mut config,
        shapes.size("add_embedding.linear_1.weight", 1),
        text,
        pooled,
    );
    Some(config)
}

/// How attention's input is projected.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Projection {
    Linear,
    Convolution,
}

/// Returns how attention projects and the width of the text it listens to, from wherever there is some.
fn attention(
    shapes: &Shapes<'_>,
    down: &[Vec<usize>],
    middle: usize,
) -> Option<(Projection, usize)> {
    let of_level = |(b, depths): (usize, &Vec<usize>)| {
        let l = depths.iter().position(|depth| *depth > 0)?;
        Some(format!("down_blocks.{b}.attentions.{l}"))
    };
    let in_middle = (middle > 0).then(|| "mid_block.attentions.0".to_owned());
    let at = down.iter().enumerate().find_map(of_level).or(in_middle)?;
    let rank = shapes.0.shape(&format!("{at}.proj_in.weight"))?.len();
    let projection = if rank == 2 {
        Projection::Linear
    } else {
        Projection::Convolution
    };
    let text = format!("{at}.transformer_blocks.0.attn2.to_k.weight");
    Some((projection, shapes.size(&text, 1)?))
}

fn middle_type(shapes: &Shapes<'_>, depth: usize) -> Value {
    match (shapes.has("mid_block.resnets.0.conv1.weight"), depth) {
        (false, _) => Value::Null,
        (true, 0) => json!("UNetMidBlock2D"),
        (true, _) => json!("UNetMidBlock2DCrossAttn"),
    }
}

/// Sets the depths of the transformers: one number for each level where that says it all, else one for each
/// layer, and those on the way up only where they do not mirror the way down.
fn set_depths(config: &mut Value, down: &[Vec<usize>], middle: usize, up: &[Vec<usize>]) {
    let one = |depths: &[usize]| match depths {
        [first, rest @ ..] if rest.iter().all(|depth| depth == first) => Some(*first),
        _ => None,
    };
    let levels = down
        .iter()
        .enumerate()
        .map(|(b, depths)| match one(depths) {
            // The middle has the last level's depth.
            Some(0) if b + 1 == down.len() => json!(middle.max(1)),
            Some(depth) => json!(depth.max(1)),
            None => json!(depths),
        });
    config["transformer_layers_per_block"] = levels.collect();
    let mirrored = up
        .iter()
        .zip(down.iter().rev())
        .all(|(up, down)| one(up).is_some() && one(up) == one(down));
    if !mirrored {
        let levels = up.iter().map(|depths| match one(depths) {
            Some(depth) => json!(depth.max(1)),
            None => json!(depths),
        });
        config["reverse_transformer_layers_per_block"] = levels.collect();
    }
}

/// Sets what comes in beside timestep and text: SDXL's pooled text and six numbers, or the picture of
/// Stable Diffusion 2's unCLIP, which is refused later by its name.
fn set_additions(config: &mut Value, width: Option<usize>, text: usize, pooled: Option<usize>) {
    let Some(width) = width else {
        return;
    };
    config["projection_class_embeddings_input_dim"] = json!(width);
    if text == 1024 {
        config["class_embed_type"] = json!("projection");
        return;
    }
    let numbers = pooled.and_then(|pooled| width.checked_sub(pooled));
    config["addition_embed_type"] = json!("text_time");
    config["addition_time_embed_dim"] = json!(numbers.map_or(256, |n| n / 6));
}

/// Returns `vae/config.json`. `scale` is the family's, for shapes do not show it.
pub(crate) fn vae(files: &PartFiles, scale: f64) -> Option<Value> {
    let shapes = Shapes(files);
    let resnet = |b: usize, l: usize| format!("decoder.up_blocks.{b}.resnets.{l}.conv1.weight");
    let levels = count(|b| shapes.has(&resnet(b, 0)));
    let channels: Option<Vec<usize>> = (0..levels)
        .rev()
        .map(|b| shapes.size(&resnet(b, 0), 0))
        .collect();
    let blocks = |kind: &str| vec![kind.to_owned(); levels];
    Some(json!({
        "_class_name": "AutoencoderKL", "act_fn": "silu", "block_out_channels": channels?,
        "down_block_types": blocks("DownEncoderBlock2D"), "up_block_types": blocks("UpDecoderBlock2D"),
        "in_channels": shapes.size("encoder.conv_in.weight", 1)?,
        "out_channels": shapes.size("decoder.conv_out.weight", 0)?,
        "latent_channels": shapes.size("decoder.conv_in.weight", 1)?,
        "layers_per_block": count(|l| shapes.has(&resnet(0, l))).checked_sub(1)?,
        "norm_num_groups": 32, "scaling_factor": scale,
        "use_quant_conv": shapes.has("quant_conv.weight"),
        "use_post_quant_conv": shapes.has("post_quant_conv.weight"),
        "mid_block_add_attention": shapes.has("decoder.mid_block.attentions.0.to_q.weight"),
    }))
}

/// What is used of a text encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoder {
    /// Its layers.
    Layers,
    /// Its layers but for the last, which the reference never reads and diffusers leaves out: Stable
    /// Diffusion 2.
    LayersButLast,
    /// Its layers and the pooled text.
    Pooled,
}

/// Returns `text_encoder/config.json`.
pub(crate) fn text(files: &PartFiles, encoder: Encoder) -> Option<Value> {
    let shapes = Shapes(files);
    let width = shapes.size("embeddings.token_embedding.weight", 1)?;
    let vocabulary = shapes.size("embeddings.token_embedding.weight", 0)?;
    let layers = count(|i| shapes.has(&format!("encoder.layers.{i}.layer_norm1.weight")));
    let (layers, class) = match encoder {
        Encoder::Layers => (layers, "CLIPTextModel"),
        Encoder::LayersButLast => (layers.checked_sub(1)?, "CLIPTextModel"),
        Encoder::Pooled => (layers, "CLIPTextModelWithProjection"),
    };
    let open = files.naming().notation == Notation::OpenClip || width >= 1024;
    let end = vocabulary.saturating_sub(1);
    Some(json!({
        "architectures": [class], "model_type": "clip_text_model",
        "vocab_size": vocabulary, "hidden_size": width, "num_hidden_layers": layers,
        "intermediate_size": shapes.size("encoder.layers.0.mlp.fc1.weight", 0)?,
        // Heads of 64 channels in all of CLIP's sizes.
        "num_attention_heads": (width / 64).max(1),
        "max_position_embeddings": shapes.size("embeddings.position_embedding.weight", 0)?,
        "hidden_act": if open { "gelu" } else { "quick_gelu" }, "layer_norm_eps": 1e-5,
        "bos_token_id": vocabulary.saturating_sub(2), "eos_token_id": end,
        "pad_token_id": if open { 0 } else { end },
        "projection_dim": shapes.size("text_projection.weight", 0).unwrap_or(width),
    }))
}

/// Returns `scheduler/scheduler_config.json`: all of Stable Diffusion was trained on one table of noise.
pub(crate) fn schedule(prediction: Prediction, zero_end: bool) -> Value {
    json!({
        "_class_name": "EulerDiscreteScheduler", "beta_start": 0.00085, "beta_end": 0.012,
        "beta_schedule": "scaled_linear", "num_train_timesteps": 1000, "steps_offset": 1,
        "timestep_spacing": if zero_end { "trailing" } else { "leading" },
        "prediction_type": prediction.name(), "rescale_betas_zero_snr": zero_end,
    })
}
