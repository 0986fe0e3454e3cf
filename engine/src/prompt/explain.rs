//! Prompts read back to a person: what holds when, how much it weighs, how much room it takes.

use std::fmt::Write as _;

use super::{EmbeddingNames, Prompt, PromptError, Reading, Run, Span, Stage, runs, windows};
use crate::tokenizer::PromptTokenizer;

/// Returns lines that say how a prompt is read: one for each subprompt whose weight is not 1 or that
/// is not alone, one for each text with its steps and tokens, one for each run of words.
///
/// # Errors
/// As [`windows`].
pub fn explain(
    prompt: &Prompt,
    stage: Stage,
    tokenizer: &PromptTokenizer,
    embeddings: &EmbeddingNames,
) -> Result<String, PromptError> {
    let mut lines = String::new();
    let alone = prompt.subprompts.len() == 1;
    for (number, part) in (1..).zip(&prompt.subprompts) {
        if !alone || part.weight != 1.0 {
            line(
                &mut lines,
                0,
                &format!("prompt {number}, weight {}", part.weight),
            );
        }
        let mut from = 1;
        for Span { until, text } in part.schedule.texts(stage) {
            let runs = runs(&text, prompt.compat);
            let reading = windows(&runs, tokenizer, embeddings, prompt.compat)?;
            line(
                &mut lines,
                1,
                &format!("steps {from} to {until}: {}", room(&reading)),
            );
            runs.iter().for_each(|run| line(&mut lines, 2, &shown(run)));
            from = until + 1;
        }
    }
    Ok(lines)
}

fn line(lines: &mut String, depth: usize, text: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(lines, "{:width$}{text}", "", width = 2 * depth);
}

/// Says how many tokens there are in each window, and what was left out.
fn room(reading: &Reading) -> String {
    let counts = reading
        .windows
        .iter()
        .map(|window| window.pieces.len().to_string());
    let mut text = format!("{} tokens", counts.collect::<Vec<_>>().join(" + "));
    if reading.dropped > 0 {
        let _ = write!(text, ", {} left out", reading.dropped);
    }
    if !reading.missing.is_empty() {
        let _ = write!(text, ", no embedding {}", reading.missing.join(", "));
    }
    text
}

fn shown(run: &Run) -> String {
    match run {
        Run::Break => "BREAK".to_owned(),
        Run::Text { text, weight } => {
            let rounded = (weight * 1e4).round() / 1e4;
            format!("{rounded:<7}{:?}", text.trim())
        }
    }
}

#[cfg(test)]
mod tests {
    use hearth_protocol::job::Compat;

    use super::super::parse;
    use super::*;

    #[test]
    fn e25_prompt_is_explained_with_steps_weights_and_tokens() {
        let vocab = include_str!("../../kindling/vocab.json");
        let merges = include_str!("../../kindling/merges.txt");
        let tokenizer = PromptTokenizer::from_vocabulary(vocab, merges, 77).unwrap();
        let prompt = parse("a (red:1.2) [circle:square:.5] AND sky:0.5", Compat::A1111).unwrap();
        let none = EmbeddingNames::default();
        let stage = Stage::Base { steps: 10 };
        let want = "\
prompt 1, weight 1
  steps 1 to 5: 3 tokens
    1      \"a\"
    1.2    \"red\"
    1      \"circle\"
  steps 6 to 10: 3 tokens
    1      \"a\"
    1.2    \"red\"
    1      \"square\"
prompt 2, weight 0.5
  steps 1 to 10: 1 tokens
    1      \"sky\"
";
        assert_eq!(explain(&prompt, stage, &tokenizer, &none).unwrap(), want);
    }
}
