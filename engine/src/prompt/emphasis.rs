//! Weights inside a text: `(more)`, `(much more:1.4)`, `[less]`, and `BREAK`.
//!
//! Two dialects: A1111's, where nested weights multiply and an open bracket reaches to the end,
//! and `ComfyUI`'s, with round brackets only, where a number stands for itself wherever it is.
mod a1111;
mod comfy;

use hearth_protocol::job::Compat;

/// Brackets nested deeper than this weigh nothing more: by then any weight is at its bound.
const DEPTH_MAX: usize = 64;
/// What a round bracket without a number multiplies by, and a square one divides by.
const BRACKET: f64 = 1.1;

/// A stretch of a text.
#[derive(Clone, Debug, PartialEq)]
pub enum Run {
    /// Words of one weight.
    Text {
        /// The words, without brackets and escapes.
        text: String,
        /// How much they weigh; 1 is as they are.
        weight: f64,
    },
    /// `BREAK`: what follows begins a new window.
    Break,
}

/// Takes a text apart into runs of one weight, in their order. Weights are finite and at most 100
/// in either direction.
pub fn runs(text: &str, compat: Compat) -> Vec<Run> {
    match compat {
        Compat::A1111 => a1111::runs(text),
        Compat::Comfy => comfy::runs(text),
        Compat::Diffusers => vec![Run::Text {
            text: text.to_owned(),
            weight: 1.0,
        }],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes runs as `text*weight`, breaks as `/`.
    fn shown(text: &str, compat: Compat) -> String {
        let parts = runs(text, compat).into_iter().map(|run| match run {
            Run::Break => "/".to_owned(),
            Run::Text { text, weight } => format!("{text}*{}", (weight * 1e4).round() / 1e4),
        });
        parts.collect::<Vec<_>>().join("|")
    }

    fn a1111(text: &str, want: &str) {
        assert_eq!(shown(text, Compat::A1111), want, "{text}");
    }

    fn comfy(text: &str, want: &str) {
        assert_eq!(shown(text, Compat::Comfy), want, "{text}");
    }

    #[test]
    fn e23_a1111_brackets_weigh() {
        a1111("normal text", "normal text*1");
        a1111("an (important) word", "an *1|important*1.1| word*1");
        a1111("(unbalanced", "unbalanced*1.1");
        a1111("[a", "a*0.9091");
        a1111("\\(literal\\]", "(literal]*1");
        a1111("(unnecessary)(parens)", "unnecessaryparens*1.1");
        a1111(
            "a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).",
            "a *1|house*1.573| *1.1|on*1| a *1.1|hill*0.55|, sun, *1.1|sky*1.4641|.*1.1",
        );
        a1111("(a: 1.5 )b)", "a*1.5|b)*1");
        a1111("a:1.5)", "a:1.5)*1");
        a1111("(a:1.2.3)", "a:1.2.3*1.1");
        a1111("(a:b:2)", "a:b*2");
        a1111("", "*1");
    }

    #[test]
    fn e23_break_splits_wherever_it_stands() {
        a1111("a BREAK b", "a*1|/|b*1");
        a1111("aBREAK BREAKb", "aBREAK BREAKb*1");
        a1111("(a BREAK b:1.2)", "a*1.2|/|b*1.2");
        comfy("a BREAK b", "a BREAK b*1");
    }

    #[test]
    fn e23_comfy_numbers_stand_for_themselves() {
        comfy("a (b) ((c))", "a *1|b*1.1| *1|c*1.21");
        comfy("((a:1.3) b:2)", "a*1.3| b*2");
        comfy("(a:b)", "a:b*1.1");
        comfy("(a \\(b\\):0.5) [c]", "a (b)*0.5| [c]*1");
        comfy("(open", "(open*1");
        comfy("a) (b)", "a) (b)*1");
    }

    #[test]
    fn e23_diffusers_has_no_weights() {
        assert_eq!(shown("((a:1.3) [b])", Compat::Diffusers), "((a:1.3) [b])*1");
    }

    #[test]
    fn e29_weights_stay_in_bounds_at_any_depth() {
        for bracket in ["(", "[", "(a", "((x:9e9)"] {
            for compat in [Compat::A1111, Compat::Comfy] {
                let text = bracket.repeat(10_000) + &"z:99999.9)".repeat(10_000);
                for run in runs(&text, compat) {
                    if let Run::Text { weight, .. } = run {
                        assert!(weight.abs() <= 100.0, "{bracket}: {weight}");
                    }
                }
            }
        }
        a1111(&"(a:9999)".repeat(3), "aaa*100");
    }
}
