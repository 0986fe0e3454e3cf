//! The vocabulary of CLIP's tokenizer, which checkpoints in one file do without.
//!
//! OpenAI's, under the MIT licence (`engine/data/README.md`), packed as pairs of token numbers and
//! unfolded here into the two texts a diffusers folder has. Cutting prompts is not done here.

/// Two little-endian numbers for each merge.
const MERGES: &[u8] = include_bytes!("../data/clip_merges.bin");

/// How the specials are written; they follow the merged tokens.
const SPECIALS: [&str; 2] = ["<|startoftext|>", "<|endoftext|>"];

/// Returns the contents of `vocab.json` and `merges.txt`.
pub(crate) fn texts() -> (String, String) {
    let mut tokens = alphabet();
    tokens.extend(tokens.clone().iter().map(|byte| format!("{byte}</w>")));
    let mut merges = "#version: 0.2\n".to_owned();
    for pair in MERGES.as_chunks::<4>().0 {
        let [a, b, c, d] = *pair;
        let [first, second] = [[a, b], [c, d]].map(|n| &tokens[usize::from(u16::from_le_bytes(n))]);
        merges.extend([first, " ", second, "\n"]);
        tokens.push(format!("{first}{second}"));
    }
    tokens.extend(SPECIALS.map(str::to_owned));
    let ids = (0_u32..)
        .zip(tokens)
        .map(|(id, token)| (token, id.into()))
        .collect();
    (serde_json::Value::Object(ids).to_string(), merges)
}

/// Returns GPT-2's stand-ins for bytes in the order of their tokens: the printable ones of Latin-1 as
/// they are, then letters from U+0100 on for the others.
fn alphabet() -> Vec<String> {
    let printable = ('!'..='~').chain('¡'..='¬').chain('®'..='ÿ');
    let hidden = ('\u{100}'..).take(256 - printable.clone().count());
    printable.chain(hidden).map(String::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e17_vocabulary_is_clips() {
        let (vocab, merges) = texts();
        let vocab: std::collections::BTreeMap<String, u32> = serde_json::from_str(&vocab).unwrap();
        assert_eq!(vocab.len(), 49408);
        for (token, id) in [
            ("!", 0),
            ("a</w>", 320),
            ("cat</w>", 2368),
            ("photo</w>", 1125),
            (",</w>", 267),
            ("<|startoftext|>", 49406),
            ("<|endoftext|>", 49407),
        ] {
            assert_eq!(vocab[token], id, "{token}");
        }
        assert_eq!(merges.lines().count(), 48895);
        assert!(merges.starts_with("#version: 0.2\ni n\nt h\na n\n"));
    }
}
