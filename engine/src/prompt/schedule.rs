//! Texts that change over the steps: `[from:to:when]`, `[to:when]`, `[from::when]`, `[a|b]`.
//!
//! A1111's grammar. Brackets are matched on a stack in one pass, and what a pair means is written
//! into a program with one operation for each token; reading the text of a step runs it from left
//! to right. Nothing recurses, so no nesting is too deep.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

/// The evaluations a schedule is laid over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The only pass, or the first of two.
    Base {
        /// Evaluations it takes.
        steps: u32,
    },
    /// The second pass of a hires fix: numbers count on from the first pass, so that `when` is
    /// taken less `base` steps, or less 1 as a fraction.
    Hires {
        /// Evaluations of the first pass.
        base: u32,
        /// Evaluations it takes.
        steps: u32,
    },
}

/// A text up to a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Last step it holds for, from 1.
    pub until: u32,
    /// The text, weights still in it.
    pub text: Arc<str>,
}

/// A text over time.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    text: Arc<str>,
    /// One for each token of the text; empty if the text never changes.
    program: Vec<Op>,
}

/// What reading a token does.
#[derive(Clone, Debug, PartialEq)]
enum Op {
    /// Writes a piece of the text.
    Write(Range<usize>),
    /// Writes nothing.
    Skip,
    /// Goes on at a later token.
    Jump(usize),
    /// Goes on at one of two tokens, until a step or behind it.
    Switch {
        when: When,
        before: usize,
        after: usize,
    },
    /// Goes on at each in turn.
    Alternate(Vec<usize>),
}

/// The moment of a change.
#[derive(Clone, Copy, Debug, PartialEq)]
enum When {
    /// A part of all steps.
    Fraction(f64),
    /// A number of steps.
    Step(f64),
}

impl When {
    /// Parses a decimal number with sign and exponent; one with a point is a fraction.
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let decimal = |c: char| c.is_ascii_digit() || matches!(c, '.' | '+' | '-' | 'e' | 'E');
        let value: f64 = text
            .chars()
            .all(decimal)
            .then(|| text.parse().ok())
            .flatten()?;
        Some(if text.contains('.') {
            Self::Fraction(value)
        } else {
            Self::Step(value)
        })
    }

    /// Returns the last step before the change; 0 or less if it lies before the pass.
    fn step(self, stage: Stage) -> i64 {
        let (base, fraction, steps) = match stage {
            Stage::Base { steps } => (0, 0.0, steps),
            Stage::Hires { base, steps } => (base, 1.0, steps),
        };
        let step = match self {
            Self::Fraction(value) => (value - fraction) * f64::from(steps),
            Self::Step(value) => value - f64::from(base),
        };
        let bounded = step.clamp(-1.0, f64::from(steps)).trunc();
        #[expect(
            clippy::cast_possible_truncation,
            reason = "between -1 and a number of steps"
        )]
        let step = bounded as i64;
        step
    }
}

impl Stage {
    fn steps(self) -> u32 {
        match self {
            Self::Base { steps } | Self::Hires { steps, .. } => steps,
        }
    }
}

impl Schedule {
    /// Returns a text that never changes, whatever it looks like.
    pub fn constant(text: &str) -> Self {
        Self {
            text: text.into(),
            program: Vec::new(),
        }
    }

    /// Reads a text in A1111's grammar. Brackets that do not fit are text; a bar outside an
    /// alternation, or a backslash before nothing, makes all of it literal.
    pub fn parse(text: &str) -> Self {
        let program = program(text).filter(|ops| {
            let changes = |op: &Op| matches!(op, Op::Switch { .. } | Op::Alternate(_));
            ops.iter().any(changes)
        });
        Self {
            text: text.into(),
            program: program.unwrap_or_default(),
        }
    }

    /// Returns the texts of a pass in order; the last holds until its end. Equal texts share
    /// their memory.
    pub fn texts(&self, stage: Stage) -> Vec<Span> {
        let steps = stage.steps();
        let mut known = BTreeMap::new();
        let mut spans: Vec<Span> = Vec::new();
        for until in self.changes(stage) {
            let text = self.text_at(until, stage);
            let text: Arc<str> = match known.get(&text) {
                Some(known) => Arc::clone(known),
                None => Arc::clone(
                    known
                        .entry(text.clone())
                        .or_insert_with(|| Arc::from(text.as_str())),
                ),
            };
            match spans.last_mut() {
                Some(last) if last.text == text => last.until = until,
                Some(_) | None => spans.push(Span { until, text }),
            }
        }
        if let Some(last) = spans.last_mut() {
            last.until = steps;
        }
        spans
    }

    /// Returns the last steps of all texts.
    fn changes(&self, stage: Stage) -> BTreeSet<u32> {
        let steps = stage.steps();
        let mut changes = BTreeSet::from([steps]);
        for op in &self.program {
            match op {
                Op::Switch { when, .. } => {
                    changes.extend(
                        u32::try_from(when.step(stage))
                            .ok()
                            .filter(|step| *step > 0),
                    );
                }
                Op::Alternate(_) => changes.extend(1..=steps),
                Op::Write(_) | Op::Skip | Op::Jump(_) => {}
            }
        }
        changes
    }

    fn text_at(&self, step: u32, stage: Stage) -> String {
        if self.program.is_empty() {
            return self.text.to_string();
        }
        let mut text = String::new();
        let mut at = 0;
        // Every operation goes on at a later one.
        while let Some(op) = self.program.get(at) {
            at += 1;
            match op {
                Op::Write(range) => text.push_str(&self.text[range.clone()]),
                Op::Skip => {}
                Op::Jump(to) => at = *to,
                Op::Switch {
                    when,
                    before,
                    after,
                } => {
                    let early = i64::from(step) <= when.step(stage);
                    at = if early { *before } else { *after };
                }
                Op::Alternate(starts) => {
                    let turn = usize::try_from(step.saturating_sub(1)).unwrap_or(0);
                    at = starts[turn % starts.len()];
                }
            }
        }
        text
    }
}

/// A bracket that is still open, and the separators directly inside.
#[derive(Debug)]
struct Frame {
    open: usize,
    round: bool,
    colons: Vec<usize>,
    bars: Vec<usize>,
}

/// Returns the program of a text, or nothing if all of it is to be taken literally.
fn program(text: &str) -> Option<Vec<Op>> {
    let tokens = tokens(text)?;
    let mut ops: Vec<Op> = tokens.iter().cloned().map(Op::Write).collect();
    let mut frames: Vec<Frame> = Vec::new();
    let mut bars = 0_usize;
    for (at, token) in tokens.iter().enumerate() {
        match &text[token.clone()] {
            bracket @ ("[" | "(") => frames.push(Frame {
                open: at,
                round: bracket == "(",
                colons: Vec::new(),
                bars: Vec::new(),
            }),
            ":" => frames
                .last_mut()
                .into_iter()
                .for_each(|frame| frame.colons.push(at)),
            "|" => {
                bars += 1;
                frames
                    .last_mut()
                    .into_iter()
                    .for_each(|frame| frame.bars.push(at));
            }
            bracket @ ("]" | ")") => {
                let fits = frames
                    .pop()
                    .filter(|frame| frame.round == (bracket == ")"))
                    .and_then(|frame| close(&frame, at, text, &tokens, &mut ops));
                match fits {
                    Some(used) => bars -= used,
                    // What does not fit is text, and only the outermost level has such text.
                    None => frames.clear(),
                }
            }
            _ => {}
        }
    }
    (bars == 0).then_some(ops)
}

/// Writes what a pair of brackets means into the program. Returns how many bars that took, or
/// nothing if it means nothing.
fn close(
    frame: &Frame,
    at: usize,
    text: &str,
    tokens: &[Range<usize>],
    ops: &mut [Op],
) -> Option<usize> {
    let Frame {
        open,
        round,
        colons,
        bars,
    } = frame;
    if *round {
        return (bars.is_empty() && colons.len() < 2).then_some(0);
    }
    let (before, after) = match (colons.as_slice(), bars.as_slice()) {
        ([], []) => return Some(0),
        ([], _) => {
            let starts = [*open].into_iter().chain(bars.iter().copied());
            ops[*open] = Op::Alternate(starts.map(|start| start + 1).collect());
            bars.iter().for_each(|bar| ops[*bar] = Op::Jump(at));
            ops[at] = Op::Skip;
            return Some(bars.len());
        }
        ([_], []) => (at, open + 1),
        ([middle, _], []) => (open + 1, middle + 1),
        _ => return None,
    };
    let last = *colons.last()?;
    // Exactly one token may stand behind the last colon: the number.
    let when = (last + 2 == at).then(|| When::parse(&text[tokens[last + 1].clone()]))??;
    ops[*open] = Op::Switch {
        when,
        before,
        after,
    };
    colons.iter().for_each(|colon| ops[*colon] = Op::Jump(at));
    ops[at] = Op::Skip;
    Some(0)
}

/// Cuts a text into special characters and what is between them; a backslash takes the next
/// character along. Returns nothing if there is none for it on its line.
fn tokens(text: &str) -> Option<Vec<Range<usize>>> {
    let mut tokens = Vec::new();
    let mut from = 0;
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => {
                chars.next().filter(|(_, next)| *next != '\n')?;
            }
            '[' | ']' | '(' | ')' | ':' | '|' => {
                if from < at {
                    tokens.push(from..at);
                }
                from = at + 1;
                tokens.push(at..from);
            }
            _ => {}
        }
    }
    if from < text.len() {
        tokens.push(from..text.len());
    }
    Some(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str, stage: Stage) -> Vec<(u32, String)> {
        let spans = Schedule::parse(text).texts(stage);
        let texts = spans.iter().map(|span| (span.until, span.text.to_string()));
        texts.collect()
    }

    fn check(text: &str, want: &[(u32, &str)]) {
        let want: Vec<_> = want.iter().map(|(n, t)| (*n, (*t).to_owned())).collect();
        assert_eq!(texts(text, Stage::Base { steps: 10 }), want, "{text}");
    }

    #[test]
    fn e22_texts_change_at_their_steps() {
        check("a [b:3]", &[(3, "a "), (10, "a b")]);
        check("a [b : c : 1] d", &[(1, "a b  d"), (10, "a  c  d")]);
        check("a[b:[c:d:2]:1]e", &[(1, "abe"), (2, "ace"), (10, "ade")]);
        check("a [b:.5] c", &[(5, "a  c"), (10, "a b c")]);
        check("a [b::0.25]", &[(2, "a b"), (10, "a ")]);
        check("[(a:2):3]", &[(3, ""), (10, "(a:2)")]);
        check("[a:b:0]", &[(10, "b")]);
        check("[a:b:99]", &[(10, "a")]);
    }

    #[test]
    fn e22_alternatives_take_turns() {
        let turns = texts("[fe|]male", Stage::Base { steps: 3 });
        let want = [(1, "female"), (2, "male"), (3, "female")];
        assert_eq!(turns, want.map(|(n, t)| (n, t.to_owned())));
        let spans = Schedule::parse("[a|b]").texts(Stage::Base { steps: 1_000 });
        assert!(Arc::ptr_eq(&spans[0].text, &spans[998].text));
    }

    #[test]
    fn e22_brackets_that_do_not_fit_are_text() {
        check("a [unbalanced", &[(10, "a [unbalanced")]);
        check("((a][:b:c [d:3]", &[(3, "((a][:b:c "), (10, "((a][:b:c d")]);
        check("a | [b:3]", &[(10, "a | [b:3]")]);
        check("[b:3] \\", &[(10, "[b:3] \\")]);
        check("[a:b|c:3]", &[(10, "[a:b|c:3]")]);
    }

    #[test]
    fn e22_second_pass_counts_on() {
        let hires = Stage::Hires {
            base: 10,
            steps: 10,
        };
        assert_eq!(texts("a [b:.5] c", hires), [(10, "a b c".to_owned())]);
        let want = [(5, "a  c".to_owned()), (10, "a b c".to_owned())];
        assert_eq!(texts("a [b:1.5] c", hires), want);
        assert_eq!(texts("a [b:15] c", hires), want);
    }

    #[test]
    fn e29_nesting_has_no_depth_that_breaks() {
        let deep = format!("{}a{}", "[".repeat(400_000), ":3]".repeat(400_000));
        let spans = Schedule::parse(&deep).texts(Stage::Base { steps: 10 });
        assert_eq!(spans.len(), 2);
        assert_eq!(&*spans[1].text, "a");
        let open = "[(".repeat(400_000);
        assert_eq!(
            &*Schedule::parse(&open).texts(Stage::Base { steps: 1 })[0].text,
            open
        );
    }
}
