//! Textual inversions: words that stand for vectors somebody trained.
//!
//! All safetensors layouts: `emb_params`, a token's own name with one vector or several, SDXL's `clip_l`
//! and `clip_g`, and those bundled in LoRA files. A vector's width says which text encoder it is for; it
//! is held against the model's own encoders, so an embedding for another base is refused. Pickles
//! (`.pt`, `.bin`) are refused with the way out: loading one can run code.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

use crate::names::Part;
use crate::tensor_file::{TensorEntry, TensorFile, TensorFileError, TensorHeader};

/// Most vectors of one embedding; a prompt's window has 75 places, real ones have up to 64.
const VECTORS_MAX: usize = 512;

/// Most embeddings bundled in one file.
const BUNDLED_MAX: usize = 64;

/// Widest vectors read: T5-XXL's are 4,096.
const WIDTH_MAX: usize = 8192;

/// Names that say which of SDXL's encoders a tensor is for.
const SDXL: [(&str, Part); 2] = [("clip_l", Part::Text), ("clip_g", Part::Text2)];

/// What embeddings in a LoRA file begin with.
const BUNDLE: &str = "bundle_emb.";

/// Why a file gives no embedding for this model.
#[derive(Debug, Error)]
pub enum EmbeddingError {
    /// The file cannot be read.
    #[error(transparent)]
    TensorFile(#[from] TensorFileError),
    /// A pickle can run code when it is loaded.
    #[error(
        "{path} is a pickle, which can run code when loaded: look for a safetensors version, or convert it where you would run it anyway (load with weights_only=True, save string_to_param['*'] as emb_params with safetensors)"
    )]
    Pickle {
        /// The file.
        path: PathBuf,
    },
    /// No tensor is laid out as an embedding.
    #[error("{path} holds no embedding: its first key is {first_key}")]
    NotAnEmbedding {
        /// The file.
        path: PathBuf,
        /// A key, to recognise it by.
        first_key: String,
    },
    /// The vectors are of another width than the model's text encoders.
    #[error(
        "{path} has vectors of {got} for {made_for}, this checkpoint's encoders take {expected:?}: choose one made for it"
    )]
    WrongBase {
        /// The file.
        path: PathBuf,
        /// The vectors' width.
        got: usize,
        /// Whom the width belongs to.
        made_for: &'static str,
        /// The widths this model takes.
        expected: Vec<usize>,
    },
    /// The tensors are of no use.
    #[error("{path} is damaged at {tensor}: {what}; get it again")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// What is wrong with it.
        what: &'static str,
    },
}

/// A word and its vectors, for each text encoder it was trained for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Embedding {
    /// The word: the file's name without its ending, or its name in a bundle.
    pub(crate) name: String,
    /// As many rows for each encoder, of that encoder's width.
    pub(crate) vectors: BTreeMap<Part, Vec<Arc<[f32]>>>,
}

impl Embedding {
    /// Returns how many places it takes in a prompt.
    pub(crate) fn rows(&self) -> usize {
        self.vectors.values().map(Vec::len).max().unwrap_or(0)
    }

    /// Reads the embedding of a file of its own, called `name`, for a model whose text encoders have
    /// these widths.
    pub(crate) fn open(
        path: &Path,
        name: &str,
        widths: &BTreeMap<Part, usize>,
    ) -> Result<Self, EmbeddingError> {
        refuse_pickle(path)?;
        let file = TensorFile::open(path)?;
        let tensors = layout(file.header()).ok_or_else(|| EmbeddingError::NotAnEmbedding {
            path: path.to_path_buf(),
            first_key: file
                .header()
                .tensors
                .keys()
                .next()
                .cloned()
                .unwrap_or_default(),
        })?;
        read(&file, name.to_owned(), tensors, widths)
    }

    /// Reads the embeddings bundled in an adapter's file; those for other encoders are refused like
    /// files of their own.
    pub(crate) fn open_bundled(
        path: &Path,
        widths: &BTreeMap<Part, usize>,
    ) -> Result<Vec<Self>, EmbeddingError> {
        let file = TensorFile::open(path)?;
        let mut bundled: BTreeMap<String, Vec<Named>> = BTreeMap::new();
        for (key, entry) in &file.header().tensors {
            let Some((name, part)) = bundled_name(key) else {
                continue;
            };
            let tensors = bundled.entry(name.to_owned()).or_default();
            tensors.push((key.clone(), entry.clone(), part));
        }
        if bundled.len() > BUNDLED_MAX {
            return Err(EmbeddingError::Malformed {
                path: path.to_path_buf(),
                tensor: BUNDLE.to_owned(),
                what: "more embeddings than any real bundle has",
            });
        }
        bundled
            .into_iter()
            .map(|(name, tensors)| read(&file, name, tensors, widths))
            .collect()
    }
}

/// A tensor, and the encoder it is for if its name says so.
type Named = (String, TensorEntry, Option<Part>);

/// Returns whether an adapter's key belongs to a bundled embedding.
pub(crate) fn is_bundled(key: &str) -> bool {
    bundled_name(key).is_some()
}

/// Splits `bundle_emb.NAME.string_to_param.*`, or SDXL's `bundle_emb.NAME.clip_l`.
fn bundled_name(key: &str) -> Option<(&str, Option<Part>)> {
    let (name, tensor) = key.strip_prefix(BUNDLE)?.split_once('.')?;
    let encoder = SDXL.iter().find(|(mark, _)| *mark == tensor);
    match encoder {
        Some((_, part)) => Some((name, Some(*part))),
        None => (tensor == "emb_params" || tensor.starts_with("string_to_param"))
            .then_some((name, None)),
    }
}

fn layout(header: &TensorHeader) -> Option<Vec<Named>> {
    let tensor = |key: &str, part| {
        let entry = header.tensors.get(key)?;
        Some((key.to_owned(), entry.clone(), part))
    };
    if let Some(named) = tensor("emb_params", None) {
        return Some(vec![named]);
    }
    let pair = SDXL
        .iter()
        .filter_map(|(key, part)| tensor(key, Some(*part)));
    let pair: Vec<_> = pair.collect();
    if !pair.is_empty() {
        return Some(pair);
    }
    // diffusers and webui conversions: a single tensor under the token's name.
    let mut tensors = header.tensors.iter();
    let ((key, entry), None) = (tensors.next()?, tensors.next()) else {
        return None;
    };
    let vectors = matches!(entry.shape.as_slice(), [_] | [1..=VECTORS_MAX, _]);
    let encoder = [768, 1024, 1280].contains(entry.shape.last()?);
    let token = key.starts_with('<') || key.starts_with("string_to_param") || !key.contains('.');
    (vectors && token && (encoder || key.starts_with('<')))
        .then(|| vec![(key.clone(), entry.clone(), None)])
}

fn read(
    file: &TensorFile,
    name: String,
    tensors: Vec<Named>,
    widths: &BTreeMap<Part, usize>,
) -> Result<Embedding, EmbeddingError> {
    let mut vectors = BTreeMap::new();
    let mut rows = None;
    for (tensor, entry, part) in tensors {
        let (count, width) = dimensions(file.path(), &tensor, &entry)?;
        if *rows.get_or_insert(count) != count {
            let what = "its encoders have different numbers of vectors";
            return Err(malformed(file.path(), &tensor, what));
        }
        let part = encoder(part, width, widths).ok_or_else(|| EmbeddingError::WrongBase {
            path: file.path().to_path_buf(),
            got: width,
            made_for: owner(width),
            expected: widths.values().copied().collect(),
        })?;
        let values = file.read(&tensor, &entry)?;
        vectors.insert(part, values.chunks_exact(width).map(Arc::from).collect());
    }
    Ok(Embedding { name, vectors })
}

/// Returns the number of vectors and their width.
fn dimensions(
    path: &Path,
    tensor: &str,
    entry: &TensorEntry,
) -> Result<(usize, usize), EmbeddingError> {
    let (count, width) = match *entry.shape.as_slice() {
        [width] => (1, width),
        [count, width] => (count, width),
        _ => return Err(malformed(path, tensor, "it is no list of vectors")),
    };
    if !(1..=VECTORS_MAX).contains(&count) || !(1..=WIDTH_MAX).contains(&width) {
        return Err(malformed(path, tensor, "its size is absurd"));
    }
    Ok((count, width))
}

fn malformed(path: &Path, tensor: &str, what: &'static str) -> EmbeddingError {
    EmbeddingError::Malformed {
        path: path.to_path_buf(),
        tensor: tensor.to_owned(),
        what,
    }
}

/// Returns the encoder that takes vectors of a width, the named one if there is a name.
fn encoder(named: Option<Part>, width: usize, widths: &BTreeMap<Part, usize>) -> Option<Part> {
    match named {
        Some(part) => (widths.get(&part) == Some(&width)).then_some(part),
        // For a single encoder of two, SDXL's users would see no effect of half an embedding.
        None if widths.len() > 1 => None,
        None => widths
            .iter()
            .find(|(_, own)| **own == width)
            .map(|(part, _)| *part),
    }
}

fn owner(width: usize) -> &'static str {
    match width {
        768 => "Stable Diffusion 1",
        1024 => "Stable Diffusion 2",
        1280 => "Stable Diffusion XL's second encoder",
        4096 => "T5, which Flux and Stable Diffusion 3 listen to",
        _ => "another text encoder",
    }
}

/// Tells a pickle by its first bytes: torch's zip files, and plain pickles of protocol 2 and later.
fn refuse_pickle(path: &Path) -> Result<(), EmbeddingError> {
    let io = |source| TensorFileError::Io {
        path: path.to_path_buf(),
        source,
    };
    let mut start = Vec::new();
    File::open(path)
        .map_err(io)?
        .take(4)
        .read_to_end(&mut start)
        .map_err(io)?;
    let pickle = matches!(start.as_slice(), [b'P', b'K', 3, 4] | [0x80, 2..=5, ..]);
    // A safetensors header of 0x..80 bytes begins alike; its eighth byte is zero and its ninth a brace.
    if pickle && TensorFile::open(path).is_err() {
        return Err(EmbeddingError::Pickle {
            path: path.to_path_buf(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
