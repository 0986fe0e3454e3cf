//! CLIP's byte-pair tokenizer: words to token ids, and the frame that an encoder wants around them.
//!
//! Reads `tokenizer.json`, or `vocab.json` and `merges.txt`, and gives the ids that transformers'
//! `CLIPTokenizer` gives. What weights and tags mean is [`crate::prompt`]'s business.

use serde::Deserialize;
use serde_json::{Value, json};
use tokenizers::Tokenizer;

use crate::clip_vocabulary;
use crate::folder::Folder;
use crate::load::LoadError;

/// Words to token ids.
#[derive(Debug)]
pub struct PromptTokenizer {
    tokenizer: Tokenizer,
    frame: Frame,
    comma: Option<u32>,
}

/// What a text encoder wants around the ids of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The id in front of them.
    pub begin: u32,
    /// The id behind them.
    pub end: u32,
    /// The id that fills the rest: the end again for CLIP-L, 0 for `OpenCLIP`.
    pub pad: u32,
    /// Positions the encoder takes at once, 77 for CLIP.
    pub length: usize,
}

impl Frame {
    /// Returns how many ids fit between begin and end.
    pub fn room(self) -> usize {
        self.length.saturating_sub(2)
    }

    /// Puts content between begin, end and padding.
    pub fn around<T: Copy>(self, content: &[T], id: impl Fn(u32) -> T) -> Vec<T> {
        let mut window = Vec::with_capacity(self.length);
        window.push(id(self.begin));
        window.extend_from_slice(content);
        window.push(id(self.end));
        window.resize(self.length, id(self.pad));
        window
    }
}

#[derive(Debug, Default, Deserialize)]
struct Names {
    bos_token: Option<Name>,
    eos_token: Option<Name>,
    pad_token: Option<Name>,
}

/// A special token, plain or with its settings.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Name {
    Plain(String),
    Settings { content: String },
}

impl Name {
    fn text(&self) -> &str {
        match self {
            Self::Plain(text) | Self::Settings { content: text } => text,
        }
    }
}

/// How CLIP's vocabularies write begin and end.
const BEGIN: &str = "<|startoftext|>";
const END: &str = "<|endoftext|>";

fn fault(reason: impl ToString) -> LoadError {
    LoadError::Tokenizer {
        reason: reason.to_string(),
    }
}

impl PromptTokenizer {
    /// Builds the tokenizer of a folder for an encoder of `window` positions.
    pub(crate) fn load(folder: Folder<'_>, window: usize) -> Result<Self, LoadError> {
        let description = match folder.text("tokenizer/tokenizer.json")? {
            Some(json) => json,
            None => {
                let vocab: Value = folder.required("tokenizer/vocab.json")?;
                let name = "tokenizer/merges.txt";
                let merges = folder.text(name)?.ok_or(LoadError::MissingFile { name })?;
                describe(&vocab, &merges).to_string()
            }
        };
        let names: Names = folder
            .config("tokenizer/tokenizer_config.json")?
            .unwrap_or_default();
        Self::build(&description, &names, window)
    }

    /// Builds a tokenizer from a vocabulary (`vocab.json`) and merges (`merges.txt`) for an encoder
    /// of `window` positions, padded with its end.
    ///
    /// # Errors
    /// [`LoadError::Tokenizer`].
    pub fn from_vocabulary(vocab: &str, merges: &str, window: usize) -> Result<Self, LoadError> {
        let vocab: Value = serde_json::from_str(vocab).map_err(fault)?;
        let description = describe(&vocab, merges).to_string();
        Self::build(&description, &Names::default(), window)
    }

    /// Builds the tokenizer that every Stable Diffusion was trained with.
    ///
    /// # Errors
    /// [`LoadError::Tokenizer`].
    pub fn clip() -> Result<Self, LoadError> {
        let (vocab, merges) = clip_vocabulary::texts();
        Self::from_vocabulary(&vocab, &merges, 77)
    }

    /// Builds a tokenizer from a `tokenizer.json` alone.
    ///
    /// # Errors
    /// [`LoadError::Tokenizer`].
    pub fn from_description(json: &str, window: usize) -> Result<Self, LoadError> {
        Self::build(json, &Names::default(), window)
    }

    fn build(description: &str, names: &Names, window: usize) -> Result<Self, LoadError> {
        let mut tokenizer: Tokenizer = description.parse().map_err(fault)?;
        tokenizer
            .with_padding(None)
            .with_truncation(None)
            .map_err(fault)?;
        let id = |name: &Option<Name>, default: &str| {
            let text = name.as_ref().map_or(default, Name::text);
            tokenizer
                .token_to_id(text)
                .ok_or_else(|| fault(format!("no token {text}")))
        };
        let pad = names.eos_token.as_ref().map_or(END, Name::text);
        let frame = Frame {
            begin: id(&names.bos_token, BEGIN)?,
            end: id(&names.eos_token, END)?,
            pad: id(&names.pad_token, pad)?,
            length: window,
        };
        let comma = tokenizer.token_to_id(",</w>");
        Ok(Self {
            tokenizer,
            frame,
            comma,
        })
    }

    /// Returns the ids of a text, without begin, end and padding, however many there are.
    ///
    /// # Errors
    /// [`LoadError::Tokenizer`].
    pub fn ids(&self, text: &str) -> Result<Vec<u32>, LoadError> {
        let encoding = self.tokenizer.encode(text, false).map_err(fault)?;
        Ok(encoding.get_ids().to_vec())
    }

    /// Returns what stands around the ids of a window.
    pub fn frame(&self) -> Frame {
        self.frame
    }

    /// Returns the id of a comma.
    pub(crate) fn comma(&self) -> Option<u32> {
        self.comma
    }
}

/// Describes CLIP's tokenizer over a vocabulary and merges, in `tokenizer.json`'s words.
fn describe(vocab: &Value, merges: &str) -> Value {
    let merges: Vec<_> = merges
        .lines()
        .filter(|l| !l.starts_with("#version") && l.contains(' '))
        .collect();
    let words = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";
    let special = |content: &str| {
        json!({"id": vocab.get(content), "content": content, "single_word": false, "lstrip": false,
            "rstrip": false, "normalized": false, "special": true})
    };
    let specials = [BEGIN, END].into_iter();
    let specials: Vec<_> = specials
        .filter(|content| vocab.get(content).is_some())
        .map(special)
        .collect();
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": specials,
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "NFC"},
            {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "},
            {"type": "Lowercase"}]},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": words}, "behavior": "Removed", "invert": true},
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true}]},
        "post_processor": null, "decoder": null,
        "model": {"type": "BPE", "dropout": null, "unk_token": END,
            "continuing_subword_prefix": "", "end_of_word_suffix": "</w>", "fuse_unk": false,
            "vocab": vocab, "merges": merges}})
}
