//! Prompts: from what a person wrote to what the network hears at each step.
//!
//! ```text
//! text ─ network_tags ─ parse ─ Schedule::texts ─ runs ─ windows ─ encode, weigh ─ Script
//!        <lora:…> out   AND     [a:b:0.5]         (x:1.2)  ids     tensors
//! ```
//!
//! Everything up to [`windows`] is pure: text in, text or numbers out, no model. [`Compat`] says
//! whose conventions hold: A1111 knows all of it, `ComfyUI` round brackets and `embedding:name`,
//! diffusers takes a prompt literally. The rules are E20 to E29 of `specs/engine.md`; the facts
//! come from AUTOMATIC1111's and `ComfyUI`'s behaviour, held by `specs/vectors/engine/prompts.json`.
mod conditioner;
mod emphasis;
mod encoder;
mod explain;
pub(crate) mod network;
mod schedule;
mod weigh;
mod windows;

pub use emphasis::{Run, runs};
pub use explain::explain;
pub use network::{NetworkKind, NetworkTag, TagError, network_tags};
pub use schedule::{Schedule, Span, Stage};
pub use windows::{EmbeddingNames, Piece, Reading, Window, windows};

pub(crate) use conditioner::{Batch, Conditioner, Conventions, EmptyNegative, Script};
pub(crate) use encoder::{ClipEncoder, Encoder};

use hearth_protocol::job::Compat;
use hearth_protocol::limits;
use thiserror::Error;

use crate::load::LoadError;

/// Most subprompts joined by `AND`: each is an evaluation of the network at every step.
const SUBPROMPTS_MAX: usize = 16;
/// Most windows one text may take: what [`limits::PROMPT_LEN_MAX`] bytes can be without breaks.
const WINDOWS_MAX: usize = 160;
/// Most windows all texts of a stage may take together, padding included: about half a gigabyte of
/// SDXL's vectors.
const STAGE_WINDOWS_MAX: usize = 1_024;
/// Largest weight of words or subprompts in either direction.
const WEIGHT_MAX: f64 = 100.0;

/// Why a prompt cannot be read.
#[derive(Debug, Error)]
pub enum PromptError {
    /// It is longer than any prompt may be.
    #[error("a prompt of {0} bytes: at most {max} are allowed", max = limits::PROMPT_LEN_MAX)]
    TooLong(usize),
    /// Too many subprompts.
    #[error("{0} prompts joined by AND: at most {SUBPROMPTS_MAX} are allowed")]
    Subprompts(usize),
    /// Too many windows.
    #[error(
        "the prompt takes {count} windows of the text encoder, at most {max} are allowed: use fewer words, BREAKs or alternations"
    )]
    Windows {
        /// Windows it would take.
        count: usize,
        /// Windows it may take.
        max: usize,
    },
    /// The tokenizer failed.
    #[error(transparent)]
    Tokenizer(#[from] LoadError),
    /// A tensor operation failed.
    #[error("computing failed while reading the prompt")]
    Compute(#[from] candle_core::Error),
}

/// A prompt taken apart.
#[derive(Clone, Debug, PartialEq)]
pub struct Prompt {
    /// Whose conventions its texts follow.
    pub compat: Compat,
    /// One, or as many as `AND` joins.
    pub subprompts: Vec<Subprompt>,
}

/// One of the prompts that `AND` joins.
#[derive(Clone, Debug, PartialEq)]
pub struct Subprompt {
    /// How far the network follows it: `uncond + sum(weight (cond - uncond)) guidance`.
    pub weight: f64,
    /// Its text over time.
    pub schedule: Schedule,
}

/// Takes a positive prompt apart: in A1111's grammar subprompts joined by `AND`, each weighted by
/// a number behind a last colon, each a schedule; elsewhere one text.
///
/// # Errors
/// [`PromptError::TooLong`] and [`PromptError::Subprompts`].
pub fn parse(text: &str, compat: Compat) -> Result<Prompt, PromptError> {
    bounded(text)?;
    if compat != Compat::A1111 {
        return Ok(single(text, compat));
    }
    let parts = split_at_word(text, "AND");
    if parts.len() > SUBPROMPTS_MAX {
        return Err(PromptError::Subprompts(parts.len()));
    }
    let subprompts = parts.into_iter().map(|part| {
        let (text, weight) = split_weight(part);
        let schedule = Schedule::parse(text);
        Subprompt { weight, schedule }
    });
    Ok(Prompt {
        compat,
        subprompts: subprompts.collect(),
    })
}

/// Takes a negative prompt apart: as [`parse`], but `AND` is a word like any other there.
///
/// # Errors
/// [`PromptError::TooLong`].
pub fn parse_negative(text: &str, compat: Compat) -> Result<Prompt, PromptError> {
    bounded(text)?;
    Ok(single(text, compat))
}

fn bounded(text: &str) -> Result<(), PromptError> {
    if text.len() > limits::PROMPT_LEN_MAX {
        return Err(PromptError::TooLong(text.len()));
    }
    Ok(())
}

fn single(text: &str, compat: Compat) -> Prompt {
    let schedule = match compat {
        Compat::A1111 => Schedule::parse(text),
        Compat::Comfy | Compat::Diffusers => Schedule::constant(text),
    };
    let weight = 1.0;
    Prompt {
        compat,
        subprompts: vec![Subprompt { weight, schedule }],
    }
}

/// Splits at a word that stands alone, as a regular expression's `\bWORD\b` does.
fn split_at_word<'a>(text: &'a str, word: &str) -> Vec<&'a str> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut parts = Vec::new();
    let mut from = 0;
    for (at, found) in text.match_indices(word) {
        let end = at + found.len();
        let before = text[..at].chars().next_back();
        let after = text[end..].chars().next();
        if !before.is_some_and(is_word) && !after.is_some_and(is_word) {
            parts.push(&text[from..at]);
            from = end;
        }
    }
    parts.push(&text[from..]);
    parts
}

/// Returns a subprompt's text and weight: `a cat :1.2` is `a cat` at 1.2.
fn split_weight(text: &str) -> (&str, f64) {
    let text = text.trim_end();
    let weighted = text.rsplit_once(':').and_then(|(head, number)| {
        let weight = plain_number(number.trim_start())?;
        Some((head.trim_end(), weight))
    });
    weighted.unwrap_or((text, 1.0))
}

/// Parses digits with a point and a sign, without exponent, and keeps the value in bounds.
fn plain_number(text: &str) -> Option<f64> {
    let plain = |c: char| c.is_ascii_digit() || matches!(c, '.' | '+' | '-');
    let value: f64 = text
        .chars()
        .all(plain)
        .then(|| text.parse().ok())
        .flatten()?;
    Some(clamp(value))
}

/// Keeps a weight finite and within [`WEIGHT_MAX`].
fn clamp(weight: f64) -> f64 {
    weight.clamp(-WEIGHT_MAX, WEIGHT_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subprompts(text: &str) -> Vec<(f64, String)> {
        let prompt = parse(text, Compat::A1111).unwrap();
        let parts = prompt.subprompts.iter().map(|part| {
            let texts = part.schedule.texts(Stage::Base { steps: 1 });
            (part.weight, texts[0].text.to_string())
        });
        parts.collect()
    }

    #[test]
    fn e20_and_joins_prompts_with_weights() {
        let want = vec![(1.2, "a".to_owned()), (0.8, " b".to_owned())];
        assert_eq!(subprompts("a :1.2 AND b :0.8"), want);
        assert_eq!(
            subprompts("BAND AND_ a"),
            [(1.0, "BAND AND_ a".to_owned())],
            "only whole words join"
        );
        assert_eq!(subprompts("(a:1.2) : -.5 "), [(-0.5, "(a:1.2)".to_owned())]);
        assert_eq!(subprompts("a:b:2"), [(2.0, "a:b".to_owned())]);
        assert_eq!(subprompts("a:1e9"), [(1.0, "a:1e9".to_owned())]);
        assert_eq!(subprompts("a:999999"), [(100.0, "a".to_owned())]);
    }

    #[test]
    fn e20_and_is_a_word_in_negatives_and_elsewhere() {
        for prompt in [
            parse_negative("a AND b:2", Compat::A1111).unwrap(),
            parse("a AND b:2", Compat::Comfy).unwrap(),
            parse("a AND b:2", Compat::Diffusers).unwrap(),
        ] {
            assert_eq!(prompt.subprompts.len(), 1);
            assert_eq!(prompt.subprompts[0].weight, 1.0);
            let texts = prompt.subprompts[0]
                .schedule
                .texts(Stage::Base { steps: 3 });
            assert_eq!(&*texts[0].text, "a AND b:2");
        }
    }

    #[test]
    fn e29_long_prompts_and_many_subprompts_are_refused() {
        let long = "a".repeat(1 << 20);
        for compat in [Compat::A1111, Compat::Comfy, Compat::Diffusers] {
            assert!(matches!(
                parse(&long, compat),
                Err(PromptError::TooLong(1_048_576))
            ));
            assert!(matches!(
                parse_negative(&long, compat),
                Err(PromptError::TooLong(_))
            ));
        }
        assert!(matches!(
            parse(&"a AND ".repeat(20), Compat::A1111),
            Err(PromptError::Subprompts(21))
        ));
    }
}
