//! `ComfyUI`'s weights.

use super::super::clamp;
use super::{BRACKET, DEPTH_MAX, Run};

/// What stands for an escaped bracket while brackets are matched.
const CLOSED: &str = "\0\u{1}";
const OPENED: &str = "\0\u{2}";

/// See [`super::runs`].
pub(super) fn runs(text: &str) -> Vec<Run> {
    let text = text.replace("\\)", CLOSED).replace("\\(", OPENED);
    let mut runs = Vec::new();
    // A stack instead of recursion: what is on top comes next in the text.
    let outermost = parts(&text).into_iter().rev();
    let mut waiting: Vec<_> = outermost.map(|part| (part, 1.0, 0)).collect();
    while let Some((text, weight, depth)) = waiting.pop() {
        let inner = text
            .strip_prefix('(')
            .and_then(|text| text.strip_suffix(')'));
        match inner.filter(|_| depth < DEPTH_MAX) {
            Some(inner) => {
                let (inner, weight) = weighted(inner, weight);
                let parts = parts(inner).into_iter().rev();
                waiting.extend(parts.map(|part| (part, weight, depth + 1)));
            }
            None => runs.push(Run::Text {
                text: text.replace(CLOSED, ")").replace(OPENED, "("),
                weight,
            }),
        }
    }
    runs
}

/// Returns the content of a pair of brackets without its number, and the weight it has: that
/// number, or a bracket more than outside.
fn weighted(text: &str, outside: f64) -> (&str, f64) {
    let number = text.rsplit_once(':').and_then(|(text, number)| {
        let number: f64 = number.trim().parse().ok()?;
        (number.is_finite() && !text.is_empty()).then_some((text, clamp(number)))
    });
    number.unwrap_or_else(|| (text, clamp(outside * BRACKET)))
}

/// Splits a text into its outermost pairs of brackets and what is between them. Behind a bracket
/// that closes nothing, and from one that is never closed, all is plain.
fn parts(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut from, mut level) = (0, 0_i64);
    for (at, bracket) in text.match_indices(['(', ')']) {
        let cut = match bracket {
            "(" => {
                level += 1;
                (level == 1).then_some(at)
            }
            _ => {
                level -= 1;
                (level == 0).then_some(at + 1)
            }
        };
        if let Some(cut) = cut.filter(|cut| *cut > from) {
            parts.push(&text[from..cut]);
            from = cut;
        }
    }
    if from < text.len() {
        parts.push(&text[from..]);
    }
    parts
}
