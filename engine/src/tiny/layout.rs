//! The families and relatives a tiny model can imitate: their configurations, as diffusers writes them.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::vocabulary;
use crate::clip::{ClipConfig, ClipText};
use crate::load::LoadError;
use crate::modules::{Module, record};
use crate::unet::{Unet, UnetConfig};
use crate::vae::{Vae, VaeConfig};

/// Which of the layouts found in the wild the tiny model imitates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Stable Diffusion 1.5's own: 1x1 convolutions around attention, quick GELU.
    Classic,
    /// What its relatives vary: linear projections, other depths and heads, exact GELU, an
    /// autoencoder of factor four, weights without transformers' prefix.
    Varied,
    /// Stable Diffusion 1.5 for inpainting: nine channels.
    Inpaint,
    /// Stable Diffusion 2.1: OpenCLIP, linear projections, heads by level, velocity predicted.
    Second,
    /// Stable Diffusion XL: two text encoders, pooled text, sizes, uneven depths by level.
    Xl,
    /// A distilled XL as SSD-1B is one, with an LCM's guidance: a middle of one block, depths by layer.
    Distilled,
}

impl Layout {
    /// All of them, with the names of their folders.
    pub const ALL: [(&'static str, Self); 6] = [
        ("classic", Self::Classic),
        ("varied", Self::Varied),
        ("inpaint", Self::Inpaint),
        ("second", Self::Second),
        ("xl", Self::Xl),
        ("distilled", Self::Distilled),
    ];

    /// Returns what ModelSpec and kohya call a LoRA for it.
    pub(super) fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Classic | Self::Varied | Self::Inpaint => ("stable-diffusion-v1/lora", "sd_v1"),
            Self::Second => ("stable-diffusion-v2-768-v/lora", "sd_v2_v"),
            Self::Xl | Self::Distilled => ("stable-diffusion-xl-v1-base/lora", "sdxl_base_v1-0"),
        }
    }

    fn is_xl(self) -> bool {
        matches!(self, Self::Xl | Self::Distilled)
    }
}

/// What a network does in its model.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kin {
    Unet,
    Vae,
    Text {
        /// The folder of its tokenizer.
        tokenizer: &'static str,
        /// The word that fills windows.
        pad: &'static str,
        /// What kohya's names begin with.
        lora: &'static str,
    },
}

/// One network of a model: where it is, what its configuration says, what it is made of.
pub(super) struct Network {
    pub(super) kin: Kin,
    pub(super) folder: &'static str,
    pub(super) file: &'static str,
    pub(super) config: Value,
    pub(super) modules: Vec<Module>,
    /// What stored names begin with.
    prefix: &'static str,
    /// Tells networks with the same names apart where weights are drawn.
    pub(super) salt: &'static str,
}

impl Network {
    /// Returns a module's name in the file.
    pub(super) fn stored(&self, path: &str) -> String {
        match path {
            "text_projection" => path.to_owned(),
            path => format!("{}{path}", self.prefix),
        }
    }
}

/// A whole model, unwritten.
pub(super) struct Model {
    pub(super) index: Value,
    pub(super) schedule: Value,
    pub(super) networks: Vec<Network>,
}

impl Model {
    pub(super) fn new(layout: Layout) -> Result<Self, LoadError> {
        let (unet, vae) = match layout {
            Layout::Classic => (classic(), vae(&[16, 16, 32, 32], 0.18215)),
            Layout::Varied => (varied(), vae(&[16, 16, 32], 0.18215)),
            Layout::Inpaint => (inpaint(), vae(&[16, 16, 32, 32], 0.18215)),
            Layout::Second => (second(), vae(&[16, 16, 32, 32], 0.18215)),
            Layout::Xl => (xl(), vae(&[16, 16, 32, 32], 0.13025)),
            Layout::Distilled => (distilled(), vae(&[16, 16, 32, 32], 0.13025)),
        };
        let mut networks = texts(layout)?;
        networks.push(Network {
            kin: Kin::Unet,
            folder: "unet",
            file: "diffusion_pytorch_model.safetensors",
            modules: modules(&unet, |config: UnetConfig| {
                record(|scope| Unet::new(&config, scope))
            })?,
            config: unet,
            prefix: "",
            salt: "",
        });
        networks.push(Network {
            kin: Kin::Vae,
            folder: "vae",
            file: "diffusion_pytorch_model.safetensors",
            modules: modules(&vae, |config: VaeConfig| {
                record(|scope| Vae::new(&config, scope))
            })?,
            config: vae,
            prefix: "",
            salt: "",
        });
        Ok(Self {
            index: index(layout),
            schedule: schedule(layout),
            networks,
        })
    }
}

fn modules<C: serde::de::DeserializeOwned>(
    config: &Value,
    list: impl FnOnce(C) -> Result<Vec<Module>, LoadError>,
) -> Result<Vec<Module>, LoadError> {
    let config = serde_json::from_value(config.clone()).map_err(|source| LoadError::Config {
        path: PathBuf::from("config.json"),
        source,
    })?;
    list(config)
}

fn texts(layout: Layout) -> Result<Vec<Network>, LoadError> {
    const PAD: &str = "<|endoftext|>";
    let network = |second: bool, config: Value, pad, lora| {
        Ok::<_, LoadError>(Network {
            kin: Kin::Text {
                tokenizer: if second { "tokenizer_2" } else { "tokenizer" },
                pad,
                lora,
            },
            folder: if second {
                "text_encoder_2"
            } else {
                "text_encoder"
            },
            file: "model.safetensors",
            modules: modules(&config, |config: ClipConfig| {
                record(|scope| ClipText::new(&config, scope))
            })?,
            config,
            prefix: if layout == Layout::Varied {
                ""
            } else {
                "text_model."
            },
            salt: if second { "text_encoder_2/" } else { "" },
        })
    };
    let one = |activation, layers, pad| {
        network(
            false,
            text(activation, layers, 32, None),
            pad,
            "lora_te_text_model_",
        )
    };
    match layout {
        Layout::Classic | Layout::Inpaint => Ok(vec![one("quick_gelu", 2, PAD)?]),
        Layout::Varied => Ok(vec![one("gelu", 3, PAD)?]),
        Layout::Second => Ok(vec![one("gelu", 3, "!")?]),
        Layout::Xl | Layout::Distilled => Ok(vec![
            network(
                false,
                text("quick_gelu", 3, 32, None),
                PAD,
                "lora_te1_text_model_",
            )?,
            network(
                true,
                text("gelu", 4, 40, Some(24)),
                "!",
                "lora_te2_text_model_",
            )?,
        ]),
    }
}

fn text(activation: &str, layers: u32, width: u32, projection: Option<u32>) -> Value {
    let vocab = vocabulary::vocab().len();
    let class = match projection {
        Some(_) => "CLIPTextModelWithProjection",
        None => "CLIPTextModel",
    };
    json!({
        "architectures": [class], "model_type": "clip_text_model",
        "vocab_size": vocab, "hidden_size": width, "intermediate_size": 2 * width,
        "num_hidden_layers": layers, "num_attention_heads": 4, "max_position_embeddings": 77,
        "hidden_act": activation, "layer_norm_eps": 1e-5, "attention_dropout": 0.0,
        "bos_token_id": vocab - 2, "eos_token_id": vocab - 1, "pad_token_id": vocab - 1,
        "projection_dim": projection.unwrap_or(width), "torch_dtype": "float32",
    })
}

fn vae(channels: &[u32], scale: f64) -> Value {
    let blocks = |kind: &str| vec![kind.to_owned(); channels.len()];
    json!({
        "_class_name": "AutoencoderKL", "act_fn": "silu", "block_out_channels": channels,
        "down_block_types": blocks("DownEncoderBlock2D"), "up_block_types": blocks("UpDecoderBlock2D"),
        "in_channels": 3, "out_channels": 3, "latent_channels": 4, "layers_per_block": 1,
        "norm_num_groups": 8, "sample_size": 128, "scaling_factor": scale,
    })
}

fn index(layout: Layout) -> Value {
    let class = match layout {
        Layout::Classic | Layout::Varied | Layout::Second => "StableDiffusionPipeline",
        Layout::Inpaint => "StableDiffusionInpaintPipeline",
        Layout::Xl | Layout::Distilled => "StableDiffusionXLPipeline",
    };
    let library = |library: &str, class: &str| json!([library, class]);
    let mut index = json!({
        "_class_name": class, "_diffusers_version": "0.30.0", "feature_extractor": [null, null],
        "scheduler": library("diffusers", "EulerDiscreteScheduler"),
        "text_encoder": library("transformers", "CLIPTextModel"),
        "tokenizer": library("transformers", "CLIPTokenizer"),
        "unet": library("diffusers", "UNet2DConditionModel"),
        "vae": library("diffusers", "AutoencoderKL"),
    });
    let more = if layout.is_xl() {
        json!({
            "force_zeros_for_empty_prompt": true,
            "text_encoder_2": library("transformers", "CLIPTextModelWithProjection"),
            "tokenizer_2": library("transformers", "CLIPTokenizer"),
        })
    } else {
        json!({ "safety_checker": [null, null], "requires_safety_checker": false })
    };
    if let (Value::Object(index), Value::Object(more)) = (&mut index, more) {
        index.extend(more);
    }
    index
}

fn schedule(layout: Layout) -> Value {
    let prediction = match layout {
        Layout::Second => "v_prediction",
        Layout::Classic | Layout::Varied | Layout::Inpaint | Layout::Xl | Layout::Distilled => {
            "epsilon"
        }
    };
    json!({
        "_class_name": "EulerDiscreteScheduler", "beta_start": 0.00085, "beta_end": 0.012,
        "beta_schedule": "scaled_linear", "num_train_timesteps": 1000,
        "prediction_type": prediction, "steps_offset": 1, "timestep_spacing": "leading",
    })
}

const DOWN: &str = "CrossAttnDownBlock2D";
const UP: &str = "CrossAttnUpBlock2D";

fn classic() -> Value {
    json!({
        "_class_name": "UNet2DConditionModel", "act_fn": "silu", "attention_head_dim": 4,
        "block_out_channels": [32, 64], "center_input_sample": false, "cross_attention_dim": 32,
        "down_block_types": [DOWN, "DownBlock2D"], "downsample_padding": 1,
        "flip_sin_to_cos": true, "freq_shift": 0, "in_channels": 4, "layers_per_block": 1,
        "mid_block_scale_factor": 1, "norm_eps": 1e-5, "norm_num_groups": 8, "out_channels": 4,
        "sample_size": 16, "up_block_types": ["UpBlock2D", UP],
    })
}

fn inpaint() -> Value {
    let mut config = classic();
    config["in_channels"] = json!(9);
    config
}

fn varied() -> Value {
    json!({
        "_class_name": "UNet2DConditionModel", "act_fn": "silu", "attention_head_dim": [2, 3, 6],
        "block_out_channels": [16, 24, 48], "cross_attention_dim": 32,
        "down_block_types": [DOWN, DOWN, "DownBlock2D"], "up_block_types": ["UpBlock2D", UP, UP],
        "in_channels": 4, "out_channels": 4, "layers_per_block": 2, "norm_num_groups": 4,
        "norm_eps": 1e-5, "sample_size": 16, "transformer_layers_per_block": [1, 2, 1],
        "use_linear_projection": true,
    })
}

fn second() -> Value {
    json!({
        "_class_name": "UNet2DConditionModel", "act_fn": "silu", "attention_head_dim": [2, 4, 4],
        "block_out_channels": [16, 32, 32], "cross_attention_dim": 32,
        "down_block_types": [DOWN, DOWN, "DownBlock2D"], "up_block_types": ["UpBlock2D", UP, UP],
        "in_channels": 4, "out_channels": 4, "layers_per_block": 2, "norm_num_groups": 8,
        "norm_eps": 1e-5, "sample_size": 24, "use_linear_projection": true,
        "dual_cross_attention": false, "only_cross_attention": false, "upcast_attention": true,
        "num_class_embeds": null,
    })
}

fn xl() -> Value {
    json!({
        "_class_name": "UNet2DConditionModel", "act_fn": "silu", "attention_head_dim": [2, 4, 8],
        "block_out_channels": [16, 32, 64], "cross_attention_dim": 72,
        "down_block_types": ["DownBlock2D", DOWN, DOWN], "up_block_types": [UP, UP, "UpBlock2D"],
        "in_channels": 4, "out_channels": 4, "layers_per_block": 2, "norm_num_groups": 8,
        "norm_eps": 1e-5, "sample_size": 24, "transformer_layers_per_block": [1, 2, 3],
        "use_linear_projection": true, "addition_embed_type": "text_time",
        "addition_time_embed_dim": 8, "projection_class_embeddings_input_dim": 24 + 6 * 8,
        "class_embed_type": null, "encoder_hid_dim": null, "time_cond_proj_dim": null,
    })
}

fn distilled() -> Value {
    let mut config = xl();
    config["transformer_layers_per_block"] = json!([1, [2, 1], [2, 3]]);
    config["reverse_transformer_layers_per_block"] = json!([[3, 1, 2], [2, 1, 1], 1]);
    config["mid_block_type"] = json!("UNetMidBlock2D");
    config["time_cond_proj_dim"] = json!(32);
    config
}
