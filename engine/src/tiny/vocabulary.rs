//! A small byte-pair vocabulary: every byte, and the words of simple scenes built up pair by pair.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

/// Words that become single tokens.
const WORDS: &str = "a an the of on in at to and with under over above below beside behind near left \
    right top bottom small big tiny huge red orange yellow green blue purple pink brown black white grey \
    gold silver dark bright light circle square triangle star ring cross moon sun sky sea lake river hill \
    mountain forest tree flower grass house castle tower bridge road boat cat dog bird fish horse fox owl \
    bear person face hand eye fire ember glow lamp candle night day morning evening winter summer rain snow \
    cloud storm photo painting drawing sketch portrait landscape style soft sharp quiet old new";

/// Returns tokens with their ids: bytes, bytes that end a word, merges in order, the two specials.
pub(super) fn vocab() -> BTreeMap<String, u32> {
    let bytes = alphabet();
    let ends = bytes.iter().map(|c| format!("{c}</w>"));
    let merged = merges().into_iter().map(|(a, b)| a + &b);
    let mut tokens: Vec<String> = bytes.iter().map(char::to_string).chain(ends).collect();
    tokens.extend(merged);
    tokens.extend(["<|startoftext|>".to_owned(), "<|endoftext|>".to_owned()]);
    (0_u32..)
        .zip(tokens)
        .map(|(id, token)| (token, id))
        .collect()
}

/// Returns `merges.txt`.
pub(super) fn merges_text() -> String {
    let lines: Vec<_> = merges()
        .into_iter()
        .map(|(a, b)| format!("{a} {b}\n"))
        .collect();
    format!("#version: 0.2\n{}", lines.concat())
}

/// Returns `tokenizer_config.json`; `pad` fills windows.
pub(super) fn config(pad: &str) -> Value {
    json!({
        "tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "do_lower_case": true,
        "bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>",
        "pad_token": pad, "unk_token": "<|endoftext|>",
    })
}

/// Builds each word from its left: `r e`, then `re d</w>`.
fn merges() -> Vec<(String, String)> {
    let mut seen = BTreeSet::new();
    let mut merges = Vec::new();
    for word in WORDS.split_whitespace() {
        let mut left = String::new();
        let mut letters = word.chars().peekable();
        while let Some(letter) = letters.next() {
            let end = if letters.peek().is_none() { "</w>" } else { "" };
            let right = format!("{letter}{end}");
            if !left.is_empty() && seen.insert(format!("{left}{right}")) {
                merges.push((left.clone(), right.clone()));
            }
            left.push_str(&right);
        }
    }
    merges
}

/// Returns the 256 characters byte-level tokenizers write bytes as, in the order of GPT-2: printable
/// ones stand for themselves, the others are moved beyond Latin-1.
fn alphabet() -> Vec<char> {
    let printable = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let own = (0..=255_u8).filter(printable).map(char::from);
    let hidden = (0..=255_u8).filter(|byte| !printable(byte)).count();
    let moved = (256_u32..).take(hidden).filter_map(char::from_u32);
    own.chain(moved).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_dense_and_every_merge_has_one() {
        let vocab = vocab();
        let ids: BTreeSet<_> = vocab.values().copied().collect();
        assert_eq!(ids.len(), vocab.len());
        assert_eq!(ids.last(), Some(&u32::try_from(vocab.len() - 1).unwrap()));
        assert!(
            merges()
                .iter()
                .all(|(a, b)| vocab.contains_key(&format!("{a}{b}")))
        );
        assert!(vocab.contains_key("circle</w>"));
    }
}
