//! Things that did not stop a run but that a person should know.

use std::fmt;

/// Most unmatched keys spelled out in one warning.
const KEYS_SHOWN: usize = 3;

/// Something a run did otherwise than asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    /// The prompt was longer than the text encoder takes and was cut.
    PromptCut {
        /// Tokens left out.
        dropped: usize,
    },
    /// The prompt names textual inversions that are not there; they were left out.
    MissingEmbeddings {
        /// Their names.
        names: Vec<String>,
    },
    /// Keys of an adapter had no place in the checkpoint and had no effect.
    UnmatchedKeys {
        /// The adapter's title.
        lora: String,
        /// The keys.
        keys: Vec<String>,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PromptCut { dropped } => {
                write!(
                    f,
                    "the prompt is too long: its last {dropped} tokens were left out"
                )
            }
            Self::MissingEmbeddings { names } => {
                write!(
                    f,
                    "no embedding {}: left out of the prompt; add the model that has it",
                    names.join(", ")
                )
            }
            Self::UnmatchedKeys { lora, keys } => {
                let shown = keys
                    .iter()
                    .take(KEYS_SHOWN)
                    .cloned()
                    .collect::<Vec<_>>()
                    .join(", ");
                let more = if keys.len() > KEYS_SHOWN { ", ..." } else { "" };
                write!(
                    f,
                    "LoRA {lora}: {} keys had no effect: {shown}{more}",
                    keys.len()
                )
            }
        }
    }
}
