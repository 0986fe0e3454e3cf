//! A checkpoint on disk: its parts wherever they are, its configurations whoever wrote them.
//!
//! A diffusers folder is taken as it is. Weights files without a folder are searched for parts, and the
//! folder's configurations and tokenizer are made up for them, from metadata where a file has them and
//! from shapes where not. So whoever builds a model reads a folder either way. Only headers are read
//! here, and one small tensor.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use hearth_protocol::engine::AssetFile;
use hearth_protocol::job::Family;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::adapter;
use crate::clip::{ClipConfig, ClipText};
use crate::clip_vocabulary;
use crate::detect::{self, Encoder, Prediction};
use crate::folder::{self, Folder, SCHEDULER, Texts};
use crate::load::LoadError;
use crate::modules::{Module, record};
use crate::names::{Naming, Notation, Part};
use crate::single_file::{self, Average};
use crate::tensor_file::TensorFile;
use crate::unet::{Unet, UnetConfig};
use crate::vae::{Vae, VaeConfig};
use crate::weights::{PartFiles, Placement, Weights};

/// Most weights files of one model, and of one part.
const FILES_MAX: usize = 64;

/// What can be chosen about a checkpoint.
#[derive(Clone, Debug, Default)]
pub(crate) struct Choice<'a> {
    /// Which UNet, where a file has two.
    pub(crate) average: Average,
    /// What the UNet predicts, if not what the files say.
    pub(crate) prediction: Option<Prediction>,
    /// The autoencoder used instead of the checkpoint's own.
    pub(crate) vae: Option<&'a [AssetFile]>,
}

/// A checkpoint's parts and texts.
#[derive(Debug)]
pub(crate) struct ModelFiles {
    files: Vec<AssetFile>,
    /// Texts that stand for files or replace them.
    texts: Texts,
    parts: BTreeMap<Part, PartFiles>,
    /// What it is, decided from shapes.
    pub(crate) family: Family,
    /// What its UNet predicts.
    pub(crate) prediction: Prediction,
}

impl ModelFiles {
    /// Opens a checkpoint: headers and small texts.
    pub(crate) fn open(files: &[AssetFile], choice: &Choice<'_>) -> Result<Self, LoadError> {
        let mut model = if Folder::new(files).has_parts() {
            Self::open_folder(files)?
        } else {
            Self::open_files(files, choice.average)?
        };
        if let Some(vae) = choice.vae {
            model.replace_vae(vae)?;
        }
        if let Some(prediction) = choice.prediction {
            model.predict(prediction)?;
        }
        Ok(model)
    }

    fn open_folder(files: &[AssetFile]) -> Result<Self, LoadError> {
        let folder = Folder::new(files);
        let unet: UnetConfig = folder.required(folder::config(Part::Unet))?;
        let schedule: Value = folder.config(SCHEDULER)?.unwrap_or_default();
        let prediction = schedule["prediction_type"]
            .as_str()
            .and_then(Prediction::of);
        let mut parts = vec![Part::Text, Part::Unet, Part::Vae];
        if unet.addition_embed_type.is_some() {
            parts.push(Part::Text2);
        }
        let open = |part| Ok((part, open_part(folder, part)?));
        let parts: BTreeMap<_, _> = parts
            .into_iter()
            .map(open)
            .collect::<Result<_, LoadError>>()?;
        Ok(Self {
            family: detect::family(&unet, &parts[&Part::Text]),
            parts,
            files: files.to_vec(),
            texts: Texts::new(),
            prediction: prediction.unwrap_or(Prediction::Epsilon),
        })
    }

    fn open_files(files: &[AssetFile], average: Average) -> Result<Self, LoadError> {
        let opened = open_weights(files)?;
        let mut parts = BTreeMap::new();
        for file in &opened {
            for (part, found) in single_file::parts(file, average) {
                parts.entry(part).or_insert(found);
            }
        }
        for part in [Part::Unet, Part::Vae, Part::Text] {
            if !parts.contains_key(&part) {
                return Err(missing_part(&opened, &parts, part));
            }
        }
        let (texts, family, prediction) = describe(&parts)?;
        if family == Family::Sdxl && !parts.contains_key(&Part::Text2) {
            return Err(missing_part(&opened, &parts, Part::Text2));
        }
        Ok(Self {
            files: Vec::new(),
            texts,
            parts,
            family,
            prediction,
        })
    }

    /// Takes the autoencoder of other files instead.
    fn replace_vae(&mut self, files: &[AssetFile]) -> Result<(), LoadError> {
        let (vae, config) = open_vae(files, self.family)?;
        self.texts.insert(folder::config(Part::Vae), config);
        self.parts.insert(Part::Vae, vae);
        Ok(())
    }

    fn predict(&mut self, prediction: Prediction) -> Result<(), LoadError> {
        let mut schedule = self
            .folder()
            .config(SCHEDULER)?
            .unwrap_or_else(|| detect::schedule(prediction, false));
        schedule["prediction_type"] = json!(prediction.name());
        self.texts.insert(SCHEDULER, schedule.to_string());
        self.prediction = prediction;
        Ok(())
    }

    /// Returns the folder it is or seems to be: configurations and tokenizer.
    pub(crate) fn folder(&self) -> Folder<'_> {
        Folder::new(&self.files).with(&self.texts)
    }

    /// Returns a part's files.
    pub(crate) fn part(&self, part: Part) -> Option<&PartFiles> {
        self.parts.get(&part)
    }

    /// Returns a part's tensors, to be read when they are asked for.
    pub(crate) fn weights(&self, part: Part, placement: &Placement) -> Result<Weights, LoadError> {
        let files = self.part(part).ok_or_else(|| strange(part))?;
        Ok(Weights::new(files.clone(), placement.clone()))
    }

    /// Returns the layers a part has by its configuration.
    pub(crate) fn modules(&self, part: Part) -> Result<Vec<Module>, LoadError> {
        let (folder, name) = (self.folder(), folder::config(part));
        match part {
            Part::Unet => {
                let config: UnetConfig = folder.required(name)?;
                record(|scope| Unet::new(&config, scope))
            }
            Part::Vae => {
                let config: VaeConfig = folder.required(name)?;
                record(|scope| Vae::new(&config, scope))
            }
            Part::Text | Part::Text2 => {
                let config: ClipConfig = folder.required(name)?;
                record(|scope| ClipText::new(&config, scope))
            }
        }
    }

    /// Checks that every part has every tensor its configuration asks for, in shape and in a type that
    /// is read, and that the parts fit each other. Reads no weights.
    pub(crate) fn check(&self) -> Result<(), LoadError> {
        self.check_agreement()?;
        for (part, files) in &self.parts {
            files.check(&self.modules(*part)?)?;
        }
        Ok(())
    }

    fn check_agreement(&self) -> Result<(), LoadError> {
        let folder = self.folder();
        let unet: UnetConfig = folder.required(folder::config(Part::Unet))?;
        let text: ClipConfig = folder.required(folder::config(Part::Text))?;
        let mut given = text.hidden_size;
        if self.parts.contains_key(&Part::Text2) {
            let second: ClipConfig = folder.required(folder::config(Part::Text2))?;
            given += second.hidden_size;
        }
        let wanted = unet.cross_attention_dim;
        if given == wanted {
            return Ok(());
        }
        let what =
            format!("it listens to vectors of {wanted}, the text encoders give {given} together");
        Err(LoadError::Unsupported { part: "unet", what })
    }
}

/// Opens an autoencoder, in a diffusers folder, in a whole checkpoint or alone, and its configuration.
fn open_vae(files: &[AssetFile], family: Family) -> Result<(PartFiles, String), LoadError> {
    let folder = Folder::new(files);
    let name = folder::config(Part::Vae);
    if folder.has_parts() {
        let config = folder.text(name)?.ok_or(LoadError::MissingFile { name })?;
        return Ok((open_part(folder, Part::Vae)?, config));
    }
    let opened = open_weights(files)?;
    let vae = opened
        .iter()
        .find_map(|file| single_file::parts(file, Average::Plain).remove(&Part::Vae))
        .ok_or_else(|| missing_part(&opened, &BTreeMap::new(), Part::Vae))?;
    let beside = folder.text("config.json")?;
    let config = match beside.or_else(|| written(&vae, "config.vae")) {
        Some(config) => config,
        None => detect::vae(&vae, scale(family))
            .ok_or_else(|| strange(Part::Vae))?
            .to_string(),
    };
    Ok((vae, config))
}

/// Checks that files hold an autoencoder that could be used instead of a checkpoint's own.
pub(crate) fn check_vae(files: &[AssetFile]) -> Result<(), LoadError> {
    let (vae, config) = open_vae(files, Family::Sd15)?;
    let config: VaeConfig = parse(Part::Vae, &config)?;
    vae.check(&record(|scope| Vae::new(&config, scope))?)
}

fn parse<T: DeserializeOwned>(part: Part, config: &str) -> Result<T, LoadError> {
    serde_json::from_str(config).map_err(|source| LoadError::Config {
        path: folder::config(part).into(),
        source,
    })
}

/// Returns by what the latents of a family's autoencoder are multiplied.
fn scale(family: Family) -> f64 {
    match family {
        Family::Sdxl => 0.13025,
        Family::Sd15 | Family::Sd2 | Family::Kindling => 0.18215,
    }
}

fn open_part(folder: Folder<'_>, part: Part) -> Result<PartFiles, LoadError> {
    let paths = folder.weights(part)?;
    let files = open_all(paths.into_iter())?;
    Ok(PartFiles::new(part, files, Naming::FOLDER))
}

fn open_weights(files: &[AssetFile]) -> Result<Vec<Arc<TensorFile>>, LoadError> {
    let weights = files
        .iter()
        .filter(|file| file.name.ends_with(".safetensors"));
    open_all(weights.map(|file| Path::new(&file.path)))
}

fn open_all<'a>(paths: impl Iterator<Item = &'a Path>) -> Result<Vec<Arc<TensorFile>>, LoadError> {
    let open = |path| Ok(Arc::new(TensorFile::open(path)?));
    let files: Vec<_> = paths
        .take(FILES_MAX + 1)
        .map(open)
        .collect::<Result<_, LoadError>>()?;
    if files.len() > FILES_MAX {
        let what = format!("in more than {FILES_MAX} files");
        return Err(LoadError::Unsupported {
            part: "model",
            what,
        });
    }
    Ok(files)
}

/// Says what is there instead of a part.
fn missing_part(
    files: &[Arc<TensorFile>],
    parts: &BTreeMap<Part, PartFiles>,
    part: Part,
) -> LoadError {
    if let Some(name) = files.iter().find_map(|file| detect::foreign(file.header())) {
        return LoadError::Foreign { name };
    }
    let found: Vec<_> = parts.keys().map(|part| part.name()).collect();
    LoadError::MissingPart {
        part: part.name(),
        found: if !found.is_empty() {
            format!("only {}", found.join(", "))
        } else if files
            .iter()
            .any(|file| adapter::recognise(file.header()).is_some())
        {
            "but an adapter, which changes a checkpoint and is none".to_owned()
        } else {
            "and no other part of a Stable Diffusion model".to_owned()
        },
    }
}

fn strange(part: Part) -> LoadError {
    LoadError::Unsupported {
        part: part.name(),
        what: "its tensors have names of a model but not its shapes".to_owned(),
    }
}

/// Returns a text that a file's metadata has.
fn written(files: &PartFiles, key: &str) -> Option<String> {
    let mut files = files.files().iter();
    files.find_map(|file| file.header().metadata.get(key).cloned())
}

/// Makes up a folder's texts.
fn describe(parts: &BTreeMap<Part, PartFiles>) -> Result<(Texts, Family, Prediction), LoadError> {
    let mut texts = Texts::new();
    let pooled = parts
        .get(&Part::Text2)
        .and_then(|files| files.shape("text_projection.weight")?.first().copied());
    let unet = config(parts, Part::Unet, |files| detect::unet(files, pooled))?;
    let parsed: UnetConfig = parse(Part::Unet, &unet)?;
    // Only our own model ships as diffusers' parts in one file, with a tokenizer.
    let unet_files = &parts[&Part::Unet];
    let bundled = unet_files.naming().notation == Notation::Diffusers
        && written(unet_files, "tokenizer.vocab").is_some();
    let family = if bundled {
        Family::Kindling
    } else {
        detect::family(&parsed, &parts[&Part::Text])
    };
    texts.insert(folder::config(Part::Unet), unet);
    let vae = config(parts, Part::Vae, |files| detect::vae(files, scale(family)))?;
    texts.insert(folder::config(Part::Vae), vae);
    let first = match family {
        Family::Sd2 => Encoder::LayersButLast,
        Family::Sd15 | Family::Sdxl | Family::Kindling => Encoder::Layers,
    };
    for (part, encoder) in [(Part::Text, first), (Part::Text2, Encoder::Pooled)] {
        if parts.contains_key(&part) {
            let text = config(parts, part, |files| detect::text(files, encoder))?;
            texts.insert(folder::config(part), text);
        }
    }
    let prediction = describe_schedule(&parts[&Part::Unet], family, &mut texts)?;
    describe_tokenizers(parts, family, &mut texts);
    Ok((texts, family, prediction))
}

/// Returns a part's configuration: the one written into its file, or what its shapes say.
fn config(
    parts: &BTreeMap<Part, PartFiles>,
    part: Part,
    detect: impl Fn(&PartFiles) -> Option<Value>,
) -> Result<String, LoadError> {
    let files = &parts[&part];
    let key = format!("config.{}", part.name());
    match written(files, &key) {
        Some(text) => Ok(text),
        None => Ok(detect(files).ok_or_else(|| strange(part))?.to_string()),
    }
}

/// A tensor that marks a model that predicts velocity, and one that marks noise that ends in pure noise.
const VELOCITY: &str = "v_pred";
const ZERO_END: &str = "ztsnr";

fn describe_schedule(
    unet: &PartFiles,
    family: Family,
    texts: &mut Texts,
) -> Result<Prediction, LoadError> {
    if let Some(text) = written(unet, "config.scheduler") {
        let schedule: Value = serde_json::from_str(&text).unwrap_or_default();
        texts.insert(SCHEDULER, text);
        let prediction = schedule["prediction_type"]
            .as_str()
            .and_then(Prediction::of);
        return Ok(prediction.unwrap_or(Prediction::Epsilon));
    }
    let marked = |mark: &str| {
        let mut files = unet.files().iter();
        files.any(|file| file.header().tensors.contains_key(mark))
    };
    let said = written(unet, "modelspec.prediction_type").and_then(|word| Prediction::of(&word));
    let velocity = marked(VELOCITY)
        || said == Some(Prediction::Velocity)
        || (family == Family::Sd2 && detect::predicts_velocity(unet)?);
    let prediction = if velocity {
        Prediction::Velocity
    } else {
        Prediction::Epsilon
    };
    let schedule = detect::schedule(prediction, marked(ZERO_END));
    texts.insert(SCHEDULER, schedule.to_string());
    Ok(prediction)
}

/// `OpenCLIP` fills its windows with its first token, CLIP-L with its end.
const OPEN_CLIP_PADS: &str = r#"{"pad_token":"!"}"#;

fn describe_tokenizers(parts: &BTreeMap<Part, PartFiles>, family: Family, texts: &mut Texts) {
    let written = |key| written(&parts[&Part::Text], key);
    let own = written("tokenizer.vocab").zip(written("tokenizer.merges"));
    let (vocab, merges) = own.unwrap_or_else(clip_vocabulary::texts);
    let open = || OPEN_CLIP_PADS.to_owned();
    if parts.contains_key(&Part::Text2) {
        let config = written("tokenizer_2.config").unwrap_or_else(open);
        texts.insert("tokenizer_2/tokenizer_config.json", config);
        texts.insert("tokenizer_2/vocab.json", vocab.clone());
        texts.insert("tokenizer_2/merges.txt", merges.clone());
    }
    let pads = (family == Family::Sd2).then(open);
    if let Some(config) = written("tokenizer.config").or(pads) {
        texts.insert("tokenizer/tokenizer_config.json", config);
    }
    texts.insert("tokenizer/vocab.json", vocab);
    texts.insert("tokenizer/merges.txt", merges);
}

#[cfg(test)]
mod tests;
