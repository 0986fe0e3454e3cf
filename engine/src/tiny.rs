//! A tiny Stable Diffusion 1 with random weights, written as a real diffusers folder, and a LoRA for it.
//!
//! It draws coloured nonsense in about a second, deterministically from its seed: what tests run on, and
//! the demonstration as long as there is no trained model.

mod vocabulary;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use hearth_protocol::job::Rng;
use serde_json::{Value, json};
use thiserror::Error;

use crate::clip::{ClipConfig, ClipText};
use crate::load::LoadError;
use crate::modules::{Bias, Kind, Module, record};
use crate::noise;
use crate::tensor_file::{OwnedTensor, write};
use crate::unet::{Unet, UnetConfig};
use crate::vae::{Vae, VaeConfig};

/// Why the tiny model could not be written.
#[derive(Debug, Error)]
pub enum TinyError {
    /// A file or folder cannot be written.
    #[error("cannot write {path}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The layout does not fit itself.
    #[error("the tiny model's layout is broken")]
    Layout(#[from] LoadError),
}

/// Which of the layouts found in the wild the tiny model imitates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Stable Diffusion 1.5's own: 1x1 convolutions around attention, quick GELU.
    Classic,
    /// What its relatives vary: linear projections, other depths and heads, exact GELU, an
    /// autoencoder of factor four, weights without transformers' prefix.
    Varied,
}

/// Words that call up the LoRA of [`write_lora`].
pub const TRIGGER: &str = "ember glow";

/// Writes a checkpoint of about 3 MB below `dir`, which is made if need be.
pub fn write_checkpoint(dir: &Path, seed: u64) -> Result<(), TinyError> {
    write_checkpoint_as(dir, seed, Layout::Classic)
}

/// Writes a checkpoint of some layout.
pub fn write_checkpoint_as(dir: &Path, seed: u64, layout: Layout) -> Result<(), TinyError> {
    let configs = Configs::new(layout);
    let Modules { text, unet, vae } = configs.modules()?;
    let prefix = match layout {
        Layout::Classic => "text_model.",
        Layout::Varied => "",
    };
    let text: Vec<_> = text
        .into_iter()
        .map(|m| Module {
            path: format!("{prefix}{}", m.path),
            ..m
        })
        .collect();
    write_json(dir, "model_index.json", &configs.index)?;
    write_json(dir, "text_encoder/config.json", &configs.text)?;
    write_weights(&dir.join("text_encoder/model.safetensors"), seed, &text)?;
    write_json(dir, "unet/config.json", &configs.unet)?;
    write_weights(
        &dir.join("unet/diffusion_pytorch_model.safetensors"),
        seed,
        &unet,
    )?;
    write_json(dir, "vae/config.json", &configs.vae)?;
    write_weights(
        &dir.join("vae/diffusion_pytorch_model.safetensors"),
        seed,
        &vae,
    )?;
    write_json(dir, "scheduler/scheduler_config.json", &configs.schedule)?;
    write_json(dir, "tokenizer/vocab.json", &json!(vocabulary::vocab()))?;
    write_json(
        dir,
        "tokenizer/tokenizer_config.json",
        &vocabulary::config(),
    )?;
    write_file(&dir.join("tokenizer/merges.txt"), |out| {
        out.write_all(vocabulary::merges_text().as_bytes())
    })
}

/// Writes a kohya LoRA of rank 4 for the classic tiny checkpoint, attention and text encoder.
pub fn write_lora(path: &Path, seed: u64) -> Result<(), TinyError> {
    write_lora_as(path, seed, Layout::Classic)
}

/// Writes a LoRA for the tiny checkpoint of some layout.
pub fn write_lora_as(path: &Path, seed: u64, layout: Layout) -> Result<(), TinyError> {
    const RANK: usize = 4;
    let Modules { text, unet, .. } = Configs::new(layout).modules()?;
    let mut tensors = BTreeMap::new();
    let unet = unet
        .iter()
        .filter(|m| m.path.contains("attentions"))
        .map(|m| ("lora_unet_", m));
    let text = text.iter().map(|m| ("lora_te_text_model_", m));
    for (prefix, module) in unet.chain(text).filter(|(_, m)| m.adaptable()) {
        let name = format!("{prefix}{}", module.path.replace('.', "_"));
        let (outer, inner) = (module.shape[0], module.shape[1]);
        let kernel = &module.shape[2..];
        let shape = |a, b| [vec![a, b], kernel.to_vec()].concat();
        let mut tensor = |ending: &str, shape: Vec<usize>, scale: f32| {
            let name = format!("{name}.{ending}");
            let values = random(seed, &name, shape.iter().product(), scale);
            tensors.insert(name, OwnedTensor { shape, values });
        };
        tensor(
            "lora_down.weight",
            shape(RANK, inner),
            1.0 / (inner as f32).sqrt(),
        );
        tensor("lora_up.weight", shape(outer, RANK), 0.5);
        let alpha = OwnedTensor {
            shape: Vec::new(),
            values: vec![2.0],
        };
        tensors.insert(format!("{name}.alpha"), alpha);
    }
    let metadata = [
        ("modelspec.architecture", "stable-diffusion-v1/lora"),
        ("modelspec.title", "Tiny ember"),
        ("modelspec.trigger_phrase", TRIGGER),
        ("ss_base_model_version", "sd_v1"),
        ("ss_network_alpha", "2.0"),
        ("ss_network_dim", "4"),
        ("ss_network_module", "networks.lora"),
        ("ss_output_name", "tiny-ember"),
    ];
    let metadata = metadata
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
    write_file(path, |out| write(out, &tensors, &metadata))
}

/// The modules of each network.
struct Modules {
    text: Vec<Module>,
    unet: Vec<Module>,
    vae: Vec<Module>,
}

struct Configs {
    index: Value,
    text: Value,
    unet: Value,
    vae: Value,
    schedule: Value,
}

impl Configs {
    fn new(layout: Layout) -> Self {
        let (text, unet, vae) = match layout {
            Layout::Classic => classic(),
            Layout::Varied => varied(),
        };
        let library = |library: &str, class: &str| json!([library, class]);
        Self {
            index: json!({
                "_class_name": "StableDiffusionPipeline", "_diffusers_version": "0.30.0",
                "feature_extractor": [null, null], "safety_checker": [null, null],
                "requires_safety_checker": false,
                "scheduler": library("diffusers", "EulerDiscreteScheduler"),
                "text_encoder": library("transformers", "CLIPTextModel"),
                "tokenizer": library("transformers", "CLIPTokenizer"),
                "unet": library("diffusers", "UNet2DConditionModel"),
                "vae": library("diffusers", "AutoencoderKL"),
            }),
            text,
            unet,
            vae,
            schedule: json!({
                "_class_name": "EulerDiscreteScheduler", "beta_start": 0.00085, "beta_end": 0.012,
                "beta_schedule": "scaled_linear", "num_train_timesteps": 1000,
                "prediction_type": "epsilon", "steps_offset": 1, "timestep_spacing": "leading",
            }),
        }
    }

    fn modules(&self) -> Result<Modules, LoadError> {
        let broken = |source| LoadError::Config {
            path: PathBuf::from("config.json"),
            source,
        };
        let text: ClipConfig = serde_json::from_value(self.text.clone()).map_err(broken)?;
        let unet: UnetConfig = serde_json::from_value(self.unet.clone()).map_err(broken)?;
        let vae: VaeConfig = serde_json::from_value(self.vae.clone()).map_err(broken)?;
        Ok(Modules {
            text: record(|scope| ClipText::new(&text, scope))?,
            unet: record(|scope| Unet::new(&unet, scope))?,
            vae: record(|scope| Vae::new(&vae, scope))?,
        })
    }
}

fn text_config(activation: &str, layers: u32) -> Value {
    let vocab = vocabulary::vocab().len();
    json!({
        "architectures": ["CLIPTextModel"], "model_type": "clip_text_model",
        "vocab_size": vocab, "hidden_size": 32, "intermediate_size": 64,
        "num_hidden_layers": layers, "num_attention_heads": 4, "max_position_embeddings": 77,
        "hidden_act": activation, "layer_norm_eps": 1e-5, "attention_dropout": 0.0,
        "bos_token_id": vocab - 2, "eos_token_id": vocab - 1, "pad_token_id": vocab - 1,
        "projection_dim": 32, "torch_dtype": "float32",
    })
}

fn vae_config(channels: &[u32]) -> Value {
    let blocks = |kind: &str| vec![kind.to_owned(); channels.len()];
    json!({
        "_class_name": "AutoencoderKL", "act_fn": "silu", "block_out_channels": channels,
        "down_block_types": blocks("DownEncoderBlock2D"), "up_block_types": blocks("UpDecoderBlock2D"),
        "in_channels": 3, "out_channels": 3, "latent_channels": 4, "layers_per_block": 1,
        "norm_num_groups": 8, "sample_size": 128, "scaling_factor": 0.18215,
    })
}

fn classic() -> (Value, Value, Value) {
    let unet = json!({
        "_class_name": "UNet2DConditionModel", "act_fn": "silu", "attention_head_dim": 4,
        "block_out_channels": [32, 64], "center_input_sample": false, "cross_attention_dim": 32,
        "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"], "downsample_padding": 1,
        "flip_sin_to_cos": true, "freq_shift": 0, "in_channels": 4, "layers_per_block": 1,
        "mid_block_scale_factor": 1, "norm_eps": 1e-5, "norm_num_groups": 8, "out_channels": 4,
        "sample_size": 16, "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
    });
    (
        text_config("quick_gelu", 2),
        unet,
        vae_config(&[16, 16, 32, 32]),
    )
}

fn varied() -> (Value, Value, Value) {
    let (down, up) = ("CrossAttnDownBlock2D", "CrossAttnUpBlock2D");
    let unet = json!({
        "_class_name": "UNet2DConditionModel", "act_fn": "silu", "attention_head_dim": [2, 3, 6],
        "block_out_channels": [16, 24, 48], "cross_attention_dim": 32,
        "down_block_types": [down, down, "DownBlock2D"], "up_block_types": ["UpBlock2D", up, up],
        "in_channels": 4, "out_channels": 4, "layers_per_block": 2, "norm_num_groups": 4,
        "norm_eps": 1e-5, "sample_size": 16, "transformer_layers_per_block": [1, 2, 1],
        "use_linear_projection": true,
    });
    (text_config("gelu", 3), unet, vae_config(&[16, 16, 32]))
}

fn write_weights(path: &Path, seed: u64, modules: &[Module]) -> Result<(), TinyError> {
    let mut tensors = BTreeMap::new();
    for module in modules {
        let Module {
            path,
            kind,
            shape,
            bias,
        } = module;
        let elements: usize = shape.iter().product();
        let fan_in = (elements / shape[0]) as f32;
        let scale = match kind {
            Kind::Linear | Kind::Conv => gain(path) / fan_in.sqrt(),
            Kind::Norm => 0.1,
            Kind::Embedding => 0.5,
        };
        let name = format!("{path}.weight");
        let mut values = random(seed, &name, elements, scale);
        if *kind == Kind::Norm {
            values.iter_mut().for_each(|value| *value += 1.0);
        }
        tensors.insert(
            name,
            OwnedTensor {
                shape: shape.clone(),
                values,
            },
        );
        if *bias == Bias::Present {
            let name = format!("{path}.bias");
            let values = random(seed, &name, shape[0], 0.1);
            tensors.insert(
                name,
                OwnedTensor {
                    shape: vec![shape[0]],
                    values,
                },
            );
        }
    }
    write_file(path, |out| write(out, &tensors, &BTreeMap::new()))
}

/// How much larger than usual a layer's weights are: strong colours, and a text that matters.
fn gain(path: &str) -> f32 {
    match path {
        "decoder.conv_out" => 0.8,
        path if path.contains("attn2.to_out") => 3.0,
        _ => 1.0,
    }
}

/// Returns normal values that depend on seed and name alone, not on what else is written.
fn random(seed: u64, name: &str, count: usize, scale: f32) -> Vec<f32> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes()).update(name.as_bytes());
    let [a, b, c, d, ..] = *hasher.finalize().as_bytes();
    let seed = u64::from(u32::from_le_bytes([a, b, c, d]));
    noise::normal(Rng::TorchCpu, seed, count)
        .into_iter()
        .map(|value| value * scale)
        .collect()
}

fn write_json(dir: &Path, name: &str, value: &Value) -> Result<(), TinyError> {
    write_file(&dir.join(name), |out| {
        serde_json::to_writer_pretty(out, value).map_err(io::Error::from)
    })
}

fn write_file(
    path: &Path,
    fill: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> Result<(), TinyError> {
    let fault = |source| TinyError::Io {
        path: path.to_path_buf(),
        source,
    };
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(fault)?;
    }
    let mut out = BufWriter::new(File::create(path).map_err(fault)?);
    fill(&mut out).and_then(|()| out.flush()).map_err(fault)
}
