//! CLIP's byte-pair tokenizer, and prompts cut into what the text encoder takes at once.
//!
//! Reads `tokenizer.json`, or `vocab.json` and `merges.txt`. Prompt weights, scheduling and tags are
//! text like any other here.

use hearth_protocol::job::Compat;
use serde::Deserialize;
use serde_json::{Value, json};
use tokenizers::Tokenizer;

use crate::folder::Folder;
use crate::load::LoadError;

/// How far back A1111 looks for a comma to cut a long prompt at.
const COMMA_BACKTRACK: usize = 20;

/// Words to token ids.
#[derive(Debug)]
pub(crate) struct PromptTokenizer {
    tokenizer: Tokenizer,
    begin: u32,
    end: u32,
    pad: u32,
    comma: Option<u32>,
    /// Ids the text encoder takes at once, 77 for CLIP.
    window: usize,
}

/// What became of a prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tokens {
    /// Windows of ids, each begun, ended and padded.
    pub(crate) windows: Vec<Vec<u32>>,
    /// Tokens that did not fit and were left out.
    pub(crate) dropped: usize,
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
            None => Self::describe(folder)?.to_string(),
        };
        let mut tokenizer = Tokenizer::from_bytes(description).map_err(fault)?;
        tokenizer
            .with_padding(None)
            .with_truncation(None)
            .map_err(fault)?;
        let names: Names = folder
            .config("tokenizer/tokenizer_config.json")?
            .unwrap_or_default();
        let id = |name: &Option<Name>, default: &str| {
            let text = name.as_ref().map_or(default, Name::text);
            tokenizer
                .token_to_id(text)
                .ok_or_else(|| fault(format!("no token {text}")))
        };
        let begin = id(&names.bos_token, "<|startoftext|>")?;
        let end = id(&names.eos_token, "<|endoftext|>")?;
        let pad = id(
            &names.pad_token,
            names.eos_token.as_ref().map_or("<|endoftext|>", Name::text),
        )?;
        let comma = tokenizer.token_to_id(",</w>");
        Ok(Self {
            tokenizer,
            begin,
            end,
            pad,
            comma,
            window,
        })
    }

    /// Describes CLIP's tokenizer over a vocabulary and merges, in `tokenizer.json`'s words.
    fn describe(folder: Folder<'_>) -> Result<Value, LoadError> {
        let vocab: Value = folder.required("tokenizer/vocab.json")?;
        let name = "tokenizer/merges.txt";
        let merges = folder.text(name)?.ok_or(LoadError::MissingFile { name })?;
        let merges: Vec<_> = merges
            .lines()
            .filter(|l| !l.starts_with("#version") && l.contains(' '))
            .collect();
        let words = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";
        Ok(json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
            "normalizer": {"type": "Sequence", "normalizers": [
                {"type": "NFC"},
                {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "},
                {"type": "Lowercase"}]},
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": words}, "behavior": "Removed", "invert": true},
                {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true}]},
            "post_processor": null, "decoder": null,
            "model": {"type": "BPE", "dropout": null, "unk_token": "<|endoftext|>",
                "continuing_subword_prefix": "", "end_of_word_suffix": "</w>", "fuse_unk": false,
                "vocab": vocab, "merges": merges}}))
    }

    /// Returns a prompt's windows: cut off behind the first for diffusers, as many as it takes for
    /// the others.
    pub(crate) fn encode(&self, prompt: &str, compat: Compat) -> Result<Tokens, LoadError> {
        let encoding = self.tokenizer.encode(prompt, false).map_err(fault)?;
        let ids = encoding.get_ids();
        let room = self.window - 2;
        if compat == Compat::Diffusers {
            let kept = &ids[..ids.len().min(room)];
            return Ok(Tokens {
                windows: vec![self.frame(kept)],
                dropped: ids.len() - kept.len(),
            });
        }
        let mut windows = Vec::new();
        let mut rest = ids;
        while rest.len() > room {
            let (chunk, later) = rest.split_at(self.cut(rest, room, compat));
            windows.push(self.frame(chunk));
            rest = later;
        }
        if windows.is_empty() || !rest.is_empty() {
            windows.push(self.frame(rest));
        }
        Ok(Tokens {
            windows,
            dropped: 0,
        })
    }

    /// Returns where to cut: A1111 behind the last comma near the end, if there is one.
    fn cut(&self, ids: &[u32], room: usize, compat: Compat) -> usize {
        let comma = match compat {
            Compat::A1111 => self.comma,
            Compat::Comfy | Compat::Diffusers => None,
        };
        let near = &ids[room.saturating_sub(COMMA_BACKTRACK)..room];
        match comma.and_then(|comma| near.iter().rposition(|id| *id == comma)) {
            Some(at) => room - near.len() + at + 1,
            None => room,
        }
    }

    /// Returns a window that says nothing.
    pub(crate) fn empty_window(&self) -> Vec<u32> {
        self.frame(&[])
    }

    fn frame(&self, ids: &[u32]) -> Vec<u32> {
        let mut window = vec![self.begin];
        window.extend_from_slice(ids);
        window.push(self.end);
        window.resize(self.window, self.pad);
        window
    }
}
