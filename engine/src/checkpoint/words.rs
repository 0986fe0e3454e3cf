//! Textual inversions at hand: their names, and their vectors for each text encoder.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use hearth_protocol::engine::{AssetFile, Assets};
use hearth_protocol::job::EmbeddingUse;

use crate::clip::ClipText;
use crate::embedding::Embedding;
use crate::load::LoadError;
use crate::modules::Part;
use crate::prompt::EmbeddingNames;
use crate::tokenizer::PromptTokenizer;

/// The encoders in the order a checkpoint has them.
const ENCODERS: [Part; 2] = [Part::Text, Part::Text2];

/// The embeddings of a job.
#[derive(Debug, Default)]
pub(super) struct Words {
    pub(super) names: EmbeddingNames,
    /// By encoder, then by embedding, then row.
    vectors: Vec<Vec<Vec<Arc<[f32]>>>>,
}

impl Words {
    /// Reads the embeddings a job uses, and those its adapters bring along.
    pub(super) fn read(
        assets: &Assets,
        uses: &[EmbeddingUse],
        tokenizer: &PromptTokenizer,
        encoders: &[ClipText],
    ) -> Result<Self, LoadError> {
        let mut widths = BTreeMap::new();
        for (part, encoder) in ENCODERS.into_iter().zip(encoders) {
            widths.insert(part, encoder.width()?);
        }
        let mut found = Vec::new();
        for (asset, used) in assets.embeddings.iter().zip(uses) {
            for path in weights(&asset.files) {
                found.push(Embedding::open(path, &used.name, &widths)?);
            }
        }
        for path in assets.loras.iter().flat_map(|lora| weights(&lora.files)) {
            found.extend(Embedding::open_bundled(path, &widths)?);
        }
        let names = found.iter().map(|it| (it.name.clone(), it.rows()));
        let names = EmbeddingNames::new(names, tokenizer)?;
        let rows = |part| {
            let of = |it: &Embedding| it.vectors.get(&part).cloned().unwrap_or_default();
            found.iter().map(of).collect()
        };
        let vectors = ENCODERS.into_iter().take(encoders.len()).map(rows);
        Ok(Self {
            names,
            vectors: vectors.collect(),
        })
    }

    /// Returns the vectors of each embedding for an encoder.
    pub(super) fn vectors(&self, encoder: usize) -> &[Vec<Arc<[f32]>>] {
        self.vectors.get(encoder).map_or(&[], Vec::as_slice)
    }
}

fn weights(files: &[AssetFile]) -> impl Iterator<Item = &Path> {
    files
        .iter()
        .filter(|file| file.name.ends_with(".safetensors"))
        .map(|file| Path::new(&file.path))
}
