//! Writes a checkpoint as one file in CompVis' layout, the way most people have theirs.
//!
//! Names come from the same table that finds them again, fused and turned around where `OpenCLIP` does
//! that. Everything is held in memory at once: it serves tests and small models.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use hearth_protocol::engine::AssetFile;
use hearth_protocol::job::Family;

use crate::Dtype;
use crate::folder::{self, SCHEDULER};
use crate::load::LoadError;
use crate::model_files::{Choice, ModelFiles};
use crate::modules::Module;
use crate::names::{Naming, Notation, Part, UnetGrid, View};
use crate::tensor_file::{OwnedTensor, write_as};
use crate::weights::{PartFiles, tensors, transpose};

/// What goes into a file's metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metadata {
    /// Nothing: shapes must do, and CLIP's vocabulary.
    Nothing,
    /// Configurations and tokenizer, for models that do not follow their family's sizes.
    Configurations,
}

/// How a file is to be written.
#[derive(Clone, Copy, Debug)]
pub struct Export {
    /// Type of its tensors.
    pub storage: Dtype,
    /// What its metadata has.
    pub metadata: Metadata,
    /// Whose layout it has, if not the family's that the checkpoint seems to be.
    pub family: Option<Family>,
}

/// Writes the checkpoint of a folder's files to `path`.
///
/// # Errors
/// [`LoadError`] where the folder is no sound checkpoint or the file cannot be written.
pub fn export(files: &[AssetFile], path: &Path, export: Export) -> Result<(), LoadError> {
    let model = ModelFiles::open(files, &Choice::default())?;
    model.check()?;
    let family = export.family.unwrap_or(model.family);
    let mut out = BTreeMap::new();
    for part in [Part::Unet, Part::Vae, Part::Text, Part::Text2] {
        let Some(files) = model.part(part) else {
            continue;
        };
        let modules = model.modules(part)?;
        let naming = naming(part, family, &modules);
        for module in &modules {
            for (tensor, shape) in tensors(module) {
                put(&mut out, files, &naming, &tensor, shape)?;
            }
        }
        if (part, family) == (Part::Text, Family::Sd2) {
            repeat_last_layer(&mut out);
        }
    }
    let texts = match export.metadata {
        Metadata::Nothing => BTreeMap::new(),
        Metadata::Configurations => texts(&model)?,
    };
    let fault = |source| LoadError::Io {
        path: path.to_path_buf(),
        source,
    };
    let mut file = BufWriter::new(File::create(path).map_err(fault)?);
    write_as(export.storage, &mut file, &out, &texts)
        .and_then(|()| file.flush())
        .map_err(fault)
}

/// Returns what a part's tensors are called in its family's files.
pub(crate) fn naming(part: Part, family: Family, modules: &[Module]) -> Naming {
    let xl = family == Family::Sdxl;
    let (prefix, notation) = match part {
        Part::Unet => (
            "model.diffusion_model.",
            Notation::Compvis(UnetGrid::of(modules)),
        ),
        Part::Vae => {
            let ups = modules.iter().filter(|module| {
                let path = module.path.strip_prefix("decoder.up_blocks.");
                path.is_some_and(|rest| rest.ends_with(".resnets.0.conv1"))
            });
            ("first_stage_model.", Notation::Autoencoder(ups.count()))
        }
        Part::Text if xl => (
            "conditioner.embedders.0.transformer.text_model.",
            Notation::Diffusers,
        ),
        Part::Text if family == Family::Sd2 => ("cond_stage_model.model.", Notation::OpenClip),
        Part::Text => (
            "cond_stage_model.transformer.text_model.",
            Notation::Diffusers,
        ),
        Part::Text2 => ("conditioner.embedders.1.model.", Notation::OpenClip),
    };
    Naming { prefix, notation }
}

fn put(
    out: &mut BTreeMap<String, OwnedTensor>,
    files: &PartFiles,
    naming: &Naming,
    tensor: &str,
    shape: &[usize],
) -> Result<(), LoadError> {
    let values = files.read(tensor)?;
    let Some(stored) = naming.stored(tensor).into_iter().next() else {
        let what = format!("{tensor} has no name in one file");
        return Err(LoadError::Unsupported {
            part: "model",
            what,
        });
    };
    let mut shape = shape.to_vec();
    match stored.view {
        View::Whole => {
            // CompVis' autoencoder attends by 1x1 convolutions.
            if tensor.ends_with(".weight")
                && stored.name.contains(".mid.attn_1.")
                && shape.len() == 2
            {
                shape.extend([1, 1]);
            }
            out.insert(stored.name, OwnedTensor { shape, values });
        }
        View::Transposed => {
            let values = transpose(&values, shape[0], shape[1]);
            shape.reverse();
            out.insert(stored.name, OwnedTensor { shape, values });
        }
        View::Third(n) => {
            let count = values.len();
            shape[0] *= 3;
            let fused = out.entry(stored.name).or_insert_with(|| OwnedTensor {
                shape,
                values: vec![0.0; 3 * count],
            });
            fused.values[n * count..(n + 1) * count].copy_from_slice(&values);
        }
    }
    Ok(())
}

/// Adds the last layer that files of Stable Diffusion 2 have and nobody reads.
fn repeat_last_layer(out: &mut BTreeMap<String, OwnedTensor>) {
    let layer = |i: usize| format!("cond_stage_model.model.transformer.resblocks.{i}.");
    let has = |i: &usize| out.keys().any(|name| name.starts_with(&layer(*i)));
    let count = (0..).take_while(has).count();
    let last = layer(count.saturating_sub(1));
    let copies: Vec<_> = out
        .iter()
        .filter_map(|(name, tensor)| {
            let end = name.strip_prefix(&last)?;
            Some((format!("{}{end}", layer(count)), tensor.clone()))
        })
        .collect();
    out.extend(copies);
}

fn texts(model: &ModelFiles) -> Result<BTreeMap<String, String>, LoadError> {
    let names = [
        ("config.unet", folder::config(Part::Unet)),
        ("config.vae", folder::config(Part::Vae)),
        ("config.text_encoder", folder::config(Part::Text)),
        ("config.text_encoder_2", folder::config(Part::Text2)),
        ("config.scheduler", SCHEDULER),
        ("tokenizer.vocab", "tokenizer/vocab.json"),
        ("tokenizer.merges", "tokenizer/merges.txt"),
        ("tokenizer.config", "tokenizer/tokenizer_config.json"),
        ("tokenizer_2.config", "tokenizer_2/tokenizer_config.json"),
    ];
    let mut texts = BTreeMap::new();
    for (key, name) in names {
        if let Some(text) = model.folder().text(name)? {
            texts.insert(key.to_owned(), text);
        }
    }
    Ok(texts)
}
