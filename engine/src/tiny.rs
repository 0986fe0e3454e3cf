//! A tiny Stable Diffusion with random weights, written as a real diffusers folder, and a LoRA for it.
//!
//! It draws coloured nonsense in about a second, deterministically from its seed: what tests run on, and
//! the demonstration as long as there is no trained model. [`Layout`] says which family it imitates.

mod layout;
mod vocabulary;

pub use layout::Layout;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use hearth_protocol::job::Rng;
use serde_json::Value;
use thiserror::Error;

use crate::load::LoadError;
use crate::modules::{Bias, Kind, Module};
use crate::noise;
use crate::tensor_file::{OwnedTensor, write};
use layout::{Kin, Model, Network};

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

/// Words that call up the LoRA of [`write_lora`].
pub const TRIGGER: &str = "ember glow";

/// Writes a checkpoint of about 3 MB below `dir`, which is made if need be.
pub fn write_checkpoint(dir: &Path, seed: u64) -> Result<(), TinyError> {
    write_checkpoint_as(dir, seed, Layout::Classic)
}

/// Writes a checkpoint of some layout.
pub fn write_checkpoint_as(dir: &Path, seed: u64, layout: Layout) -> Result<(), TinyError> {
    let Model {
        index,
        schedule,
        networks,
    } = Model::new(layout)?;
    write_json(dir, "model_index.json", &index)?;
    write_json(dir, "scheduler/scheduler_config.json", &schedule)?;
    for network in networks {
        let folder = network.folder;
        write_json(dir, &format!("{folder}/config.json"), &network.config)?;
        write_weights(&dir.join(folder).join(network.file), seed, &network)?;
        if let Kin::Text { tokenizer, pad, .. } = network.kin {
            write_tokenizer(&dir.join(tokenizer), pad)?;
        }
    }
    Ok(())
}

fn write_tokenizer(dir: &Path, pad: &str) -> Result<(), TinyError> {
    write_json(dir, "vocab.json", &serde_json::json!(vocabulary::vocab()))?;
    write_json(dir, "tokenizer_config.json", &vocabulary::config(pad))?;
    write_file(&dir.join("merges.txt"), |out| {
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
    let model = Model::new(layout)?;
    let mut tensors = BTreeMap::new();
    for (prefix, module) in model.networks.iter().flat_map(trained) {
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
    let (architecture, base) = layout.names();
    let metadata = [
        ("modelspec.architecture", architecture),
        ("modelspec.title", "Tiny ember"),
        ("modelspec.trigger_phrase", TRIGGER),
        ("ss_base_model_version", base),
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

/// Returns the modules kohya trains, with the beginning of their names: attention and feed-forward.
fn trained(network: &Network) -> impl Iterator<Item = (&'static str, &Module)> {
    let (prefix, place) = match network.kin {
        Kin::Unet => ("lora_unet_", "attentions"),
        Kin::Text { lora, .. } => (lora, "encoder"),
        Kin::Vae => ("", "nothing"),
    };
    let trained = move |m: &&Module| m.adaptable() && m.path.contains(place);
    network
        .modules
        .iter()
        .filter(trained)
        .map(move |m| (prefix, m))
}

fn write_weights(path: &Path, seed: u64, network: &Network) -> Result<(), TinyError> {
    let mut tensors = BTreeMap::new();
    for module in &network.modules {
        let Module {
            path: inner,
            kind,
            shape,
            bias,
        } = module;
        let stored = network.stored(inner);
        let random = |name: &str, count, scale| {
            random(seed, &format!("{}{name}", network.salt), count, scale)
        };
        let elements: usize = shape.iter().product();
        let fan_in = (elements / shape[0]) as f32;
        let scale = match kind {
            Kind::Linear | Kind::Conv => gain(inner) / fan_in.sqrt(),
            Kind::Norm => 0.1,
            Kind::Embedding => 0.5,
        };
        let name = format!("{stored}.weight");
        let mut values = random(&name, elements, scale);
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
            let name = format!("{stored}.bias");
            let values = random(&name, shape[0], 0.1);
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
