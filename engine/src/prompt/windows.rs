//! Runs of text to windows: what the text encoder takes at once, with a weight for each position.
//!
//! A window here is its content; begin, end and padding differ between encoders and are put around
//! it by [`Frame`](crate::tokenizer::Frame).

use std::collections::BTreeMap;

use hearth_protocol::job::Compat;

use super::{PromptError, Run, WINDOWS_MAX, clamp};
use crate::load::LoadError;
use crate::tokenizer::PromptTokenizer;

/// How far back from a full window A1111 looks for a comma to break behind.
const COMMA_BACKTRACK: usize = 20;
/// Words of so many tokens may be cut by `ComfyUI` at the end of a window; shorter ones move on.
const WORD_CUT: usize = 8;
/// What `ComfyUI` names embeddings with.
const COMFY_EMBEDDING: &str = "embedding:";

/// What stands at one position of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Piece {
    /// A token of the vocabulary.
    Token(u32),
    /// A vector of a textual inversion.
    Embedding {
        /// Which, as they were given to [`EmbeddingNames::new`].
        index: usize,
        /// Which of its vectors.
        row: usize,
    },
}

impl Piece {
    /// Returns the id of a token.
    pub fn token(&self) -> Option<u32> {
        match self {
            Self::Token(id) => Some(*id),
            Self::Embedding { .. } => None,
        }
    }
}

/// The content of one window, at most as long as there is room between begin and end.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Window {
    /// What stands at each position.
    pub pieces: Vec<Piece>,
    /// How much each position weighs.
    pub weights: Vec<f32>,
}

impl Window {
    fn push(&mut self, piece: Piece, weight: f32) {
        self.pieces.push(piece);
        self.weights.push(weight);
    }

    fn len(&self) -> usize {
        self.pieces.len()
    }

    /// Moves everything from a position on into a new window.
    fn split_off(&mut self, at: usize) -> Self {
        Self {
            pieces: self.pieces.split_off(at),
            weights: self.weights.split_off(at),
        }
    }
}

/// What became of a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// One window at least.
    pub windows: Vec<Window>,
    /// Tokens that did not fit and were left out; only diffusers cuts.
    pub dropped: usize,
    /// Embeddings the text names (`embedding:name`) that are not there; they were left out.
    pub missing: Vec<String>,
}

/// Names of textual inversions, ready to be found in a prompt.
#[derive(Clone, Debug, Default)]
pub struct EmbeddingNames {
    names: Vec<(String, usize)>,
    /// By first token: the name's tokens and its place, the longest first.
    by_token: BTreeMap<u32, Vec<(Vec<u32>, usize)>>,
}

impl EmbeddingNames {
    /// Takes names, each with its number of vectors. A prompt means an embedding where its tokens
    /// are those of the name, so letter case does not matter.
    ///
    /// # Errors
    /// [`LoadError::Tokenizer`].
    pub fn new(
        names: impl IntoIterator<Item = (String, usize)>,
        tokenizer: &PromptTokenizer,
    ) -> Result<Self, LoadError> {
        let names: Vec<_> = names.into_iter().collect();
        let mut by_token: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (index, (name, _)) in names.iter().enumerate() {
            let ids = tokenizer.ids(name)?;
            if let Some(first) = ids.first() {
                by_token.entry(*first).or_default().push((ids, index));
            }
        }
        for found in by_token.values_mut() {
            found.sort_by_key(|(ids, index)| (std::cmp::Reverse(ids.len()), *index));
        }
        Ok(Self { names, by_token })
    }

    /// Returns the embedding whose name these tokens begin with, and how many tokens that is.
    fn at(&self, ids: &[u32]) -> Option<(usize, usize)> {
        let found = self.by_token.get(ids.first()?)?;
        let (name, index) = found.iter().find(|(name, _)| ids.starts_with(name))?;
        Some((*index, name.len()))
    }

    /// Returns the embedding of a name: as written, else in any letter case.
    fn named(&self, name: &str) -> Option<usize> {
        let stem = [".safetensors", ".pt", ".bin"]
            .iter()
            .find_map(|end| name.strip_suffix(end))
            .unwrap_or(name);
        let exact = self.names.iter().position(|(known, _)| known == stem);
        exact.or_else(|| {
            let same = |known: &str| known.to_lowercase() == stem.to_lowercase();
            self.names.iter().position(|(known, _)| same(known))
        })
    }

    fn pieces(&self, index: usize) -> impl Iterator<Item = Piece> {
        let rows = self.names.get(index).map_or(0, |(_, vectors)| *vectors);
        (0..rows).map(move |row| Piece::Embedding { index, row })
    }

    /// Replaces names among tokens by their vectors, and keeps what belongs together together.
    fn groups(&self, ids: &[u32]) -> Vec<Vec<Piece>> {
        let mut groups = Vec::new();
        let mut rest = ids;
        while let Some(id) = rest.first() {
            let (group, len) = match self.at(rest) {
                Some((index, len)) => (self.pieces(index).collect(), len),
                None => (vec![Piece::Token(*id)], 1),
            };
            groups.push(group);
            rest = &rest[len..];
        }
        groups
    }
}

/// Lays a text's runs out over windows.
///
/// # Errors
/// [`PromptError::Windows`] for a text that takes too many, [`PromptError::Tokenizer`].
pub fn windows(
    runs: &[Run],
    tokenizer: &PromptTokenizer,
    embeddings: &EmbeddingNames,
    compat: Compat,
) -> Result<Reading, PromptError> {
    let mut packer = Packer {
        room: tokenizer.frame().room(),
        comma: tokenizer.comma(),
        ..Packer::default()
    };
    for run in runs {
        let Run::Text { text, weight } = run else {
            packer.close();
            continue;
        };
        #[expect(clippy::cast_possible_truncation, reason = "at most 100")]
        let weight = *weight as f32;
        match compat {
            Compat::A1111 => {
                for group in embeddings.groups(&tokenizer.ids(text)?) {
                    packer.push_behind_comma(&group, weight);
                }
            }
            Compat::Comfy => packer.push_words(text, weight, tokenizer, embeddings)?,
            Compat::Diffusers => {
                let groups = embeddings.groups(&tokenizer.ids(text)?);
                packer.push_what_fits(groups.into_iter().flatten(), weight);
            }
        }
        packer.check()?;
    }
    packer.finish()
}

/// Windows being filled.
#[derive(Debug, Default)]
struct Packer {
    room: usize,
    comma: Option<u32>,
    full: Vec<Window>,
    open: Window,
    /// Where the last comma of the open window is.
    last_comma: Option<usize>,
    dropped: usize,
    missing: Vec<String>,
}

impl Packer {
    fn close(&mut self) {
        self.full.push(std::mem::take(&mut self.open));
        self.last_comma = None;
    }

    fn check(&self) -> Result<(), PromptError> {
        let (count, max) = (self.full.len(), WINDOWS_MAX);
        if count > max {
            return Err(PromptError::Windows { count, max });
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Reading, PromptError> {
        if self.full.is_empty() || self.open.len() > 0 {
            self.close();
        }
        self.check()?;
        Ok(Reading {
            windows: self.full,
            dropped: self.dropped,
            missing: self.missing,
        })
    }

    /// A1111: a full window is broken behind its last comma if that is near, and an embedding
    /// stays whole.
    fn push_behind_comma(&mut self, group: &[Piece], weight: f32) {
        let is_comma =
            matches!(group, [Piece::Token(id)] if self.comma.is_some_and(|comma| comma == *id));
        let is_full = self.open.len() == self.room;
        if is_full && !is_comma {
            let near = |at: &usize| self.room - at <= COMMA_BACKTRACK;
            let moved = self
                .last_comma
                .filter(near)
                .map(|at| self.open.split_off(at + 1));
            self.close();
            self.open = moved.unwrap_or_default();
        } else if is_full {
            self.close();
        } else if is_comma {
            self.last_comma = Some(self.open.len());
        }
        let fits = self.open.len() + group.len() <= self.room;
        if !fits && self.open.len() > 0 {
            self.close();
        }
        self.push_cut(group, weight);
    }

    /// Fills windows to the brim. An embedding larger than a window goes over several.
    fn push_cut(&mut self, group: &[Piece], weight: f32) {
        for piece in group {
            if self.open.len() == self.room {
                self.close();
            }
            self.open.push(*piece, weight);
        }
    }

    /// diffusers: the first window takes what fits.
    fn push_what_fits(&mut self, pieces: impl Iterator<Item = Piece>, weight: f32) {
        for piece in pieces {
            if self.open.len() < self.room {
                self.open.push(piece, weight);
            } else {
                self.dropped += 1;
            }
        }
    }

    /// `ComfyUI`: words stay whole unless they are long, and `embedding:name` is a word.
    fn push_words(
        &mut self,
        text: &str,
        weight: f32,
        tokenizer: &PromptTokenizer,
        embeddings: &EmbeddingNames,
    ) -> Result<(), PromptError> {
        for word in text.split([' ', '\n']).filter(|word| !word.is_empty()) {
            let mut word = word;
            if let Some(name) = word.strip_prefix(COMFY_EMBEDDING) {
                let (found, own, rest) = comfy_embedding(name, embeddings);
                match found {
                    Some(index) => {
                        let pieces: Vec<_> = embeddings.pieces(index).collect();
                        self.push_word(&pieces, own.map_or(weight, |own| product(own, weight)));
                    }
                    None => self.missing.push(name.to_owned()),
                }
                word = rest;
            }
            let ids = tokenizer.ids(word)?;
            let pieces: Vec<_> = ids.into_iter().map(Piece::Token).collect();
            self.push_word(&pieces, weight);
        }
        Ok(())
    }

    fn push_word(&mut self, word: &[Piece], weight: f32) {
        if word.len() < WORD_CUT && self.open.len() + word.len() > self.room {
            self.close();
        }
        self.push_cut(word, weight);
    }
}

/// Returns the product of two weights, no further from zero than a weight may be.
fn product(a: f32, b: f32) -> f32 {
    #[expect(clippy::cast_possible_truncation, reason = "at most 100")]
    let weight = clamp(f64::from(a) * f64::from(b)) as f32;
    weight
}

/// Reads `name`, `name,` or `name:weight`: the embedding if there is one, the weight if there is
/// one, and the commas left over.
fn comfy_embedding<'a>(
    name: &'a str,
    embeddings: &EmbeddingNames,
) -> (Option<usize>, Option<f32>, &'a str) {
    let stripped = name.trim_matches(',');
    if let Some(index) = embeddings.named(name) {
        return (Some(index), None, "");
    }
    let rest = &name[name.trim_end_matches(',').len()..];
    let weighted = stripped.rsplit_once(':').and_then(|(stem, weight)| {
        let weight: f64 = weight.parse().ok()?;
        #[expect(clippy::cast_possible_truncation, reason = "at most 100")]
        let weight = weight.is_finite().then(|| clamp(weight) as f32)?;
        Some((embeddings.named(stem)?, weight))
    });
    match (embeddings.named(stripped), weighted) {
        (Some(index), _) => (Some(index), None, rest),
        (None, Some((index, weight))) => (Some(index), Some(weight), rest),
        (None, None) => (None, None, rest),
    }
}
