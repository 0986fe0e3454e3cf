//! A1111's weights.

use super::super::{clamp, split_at_word};
use super::{BRACKET, DEPTH_MAX, Run};

/// Runs so far, and where the open brackets of each kind began.
#[derive(Debug, Default)]
struct Reader {
    runs: Vec<Run>,
    round: Stack,
    square: Stack,
}

/// Where open brackets began, the outermost first. Those deeper than [`DEPTH_MAX`] are counted and
/// weigh nothing, which also bounds how often a run is weighed.
#[derive(Debug, Default)]
struct Stack {
    starts: Vec<usize>,
    deeper: usize,
}

impl Stack {
    fn open(&mut self, start: usize) {
        if self.starts.len() < DEPTH_MAX {
            self.starts.push(start);
        } else {
            self.deeper += 1;
        }
    }

    fn is_open(&self) -> bool {
        !self.starts.is_empty()
    }

    /// Closes the innermost; returns where it began if it weighs.
    fn close(&mut self) -> Option<usize> {
        if self.deeper > 0 {
            self.deeper -= 1;
            return None;
        }
        self.starts.pop()
    }
}

/// See [`super::runs`].
pub(super) fn runs(text: &str) -> Vec<Run> {
    let mut reader = Reader::default();
    let mut rest = text;
    while !rest.is_empty() {
        rest = reader.token(rest);
    }
    reader.finish()
}

impl Reader {
    /// Reads one token and returns what is behind it.
    fn token<'a>(&mut self, rest: &'a str) -> &'a str {
        let special = |c: char| matches!(c, '\\' | '(' | ')' | '[' | ']' | ':');
        let plain = rest.find(special).unwrap_or(rest.len());
        if plain > 0 {
            self.words(&rest[..plain]);
            return &rest[plain..];
        }
        let tail = &rest[1..];
        match &rest[..1] {
            "\\" => {
                let escaped = tail.starts_with(|c| special(c) && c != ':');
                let len = usize::from(escaped);
                self.push(&tail[..len]);
                return &tail[len..];
            }
            "(" => self.round.open(self.runs.len()),
            "[" => self.square.open(self.runs.len()),
            ")" if self.round.is_open() => {
                let start = self.round.close();
                self.weigh(start, BRACKET);
            }
            "]" if self.square.is_open() => {
                let start = self.square.close();
                self.weigh(start, 1.0 / BRACKET);
            }
            ":" if self.round.is_open() => {
                if let Some((weight, tail)) = weight_and_close(tail) {
                    let start = self.round.close();
                    self.weigh(start, weight);
                    return tail;
                }
                self.push(":");
            }
            other => self.push(other),
        }
        tail
    }

    /// Takes plain text, and the breaks in it with the spaces around them.
    fn words(&mut self, text: &str) {
        let parts = split_at_word(text, "BREAK");
        let last = parts.len() - 1;
        for (i, mut part) in parts.into_iter().enumerate() {
            if i > 0 {
                self.runs.push(Run::Break);
                part = part.trim_start();
            }
            if i < last {
                part = part.trim_end();
            }
            self.push(part);
        }
    }

    fn push(&mut self, text: &str) {
        self.runs.push(Run::Text {
            text: text.to_owned(),
            weight: 1.0,
        });
    }

    fn weigh(&mut self, start: Option<usize>, factor: f64) {
        let start = start.unwrap_or(self.runs.len());
        for run in &mut self.runs[start..] {
            if let Run::Text { weight, .. } = run {
                *weight = clamp(*weight * factor);
            }
        }
    }

    /// Closes what is still open and joins neighbours of one weight.
    fn finish(mut self) -> Vec<Run> {
        for start in std::mem::take(&mut self.round.starts) {
            self.weigh(Some(start), BRACKET);
        }
        for start in std::mem::take(&mut self.square.starts) {
            self.weigh(Some(start), 1.0 / BRACKET);
        }
        if self.runs.is_empty() {
            self.push("");
        }
        let mut joined: Vec<Run> = Vec::with_capacity(self.runs.len());
        for run in self.runs {
            match (joined.last_mut(), run) {
                (
                    Some(Run::Text { text, weight }),
                    Run::Text {
                        text: more,
                        weight: same,
                    },
                ) if *weight == same => text.push_str(&more),
                (_, run) => joined.push(run),
            }
        }
        joined
    }
}

/// Reads a number and a closing bracket, spaces around the number allowed.
fn weight_and_close(text: &str) -> Option<(f64, &str)> {
    let text = text.trim_start();
    let signed = text.strip_prefix(['+', '-']).unwrap_or(text);
    let digits = signed.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
    let len = text.len() - signed.len() + digits;
    let weight: f64 = text[..len].parse().ok()?;
    let tail = text[len..].trim_start().strip_prefix(')')?;
    Some((clamp(weight), tail))
}
