//! The prompts behind a sampler's conditioning.

use serde_json::Value;

use crate::picture::loose_json::small;
use crate::picture::settings::Mention;

use super::graph::Node;
use super::{HOPS_MAX, Walk};

/// Deepest nesting of nodes that combine conditionings.
const DEPTH_MAX: usize = 32;

/// Which of a node's outputs is wanted where it has one for each side.
#[derive(Clone, Copy, PartialEq)]
enum Side {
    Positive,
    Negative,
}

impl<'a> Walk<'a> {
    /// Reads both prompts of a sampler.
    pub(super) fn prompts(&mut self, sampler: Node<'a>) {
        let guider = self.graph.source(sampler, "guider").unwrap_or(sampler);
        let has_one = guider.inputs.contains_key("conditioning");
        let positive = if has_one { "conditioning" } else { "positive" };
        // Combining nodes may double the work at each of their levels.
        let mut hops = HOPS_MAX;
        let prompt = self.input(guider, positive, Side::Positive, 0, &mut hops);
        let negative = self.input(guider, "negative", Side::Negative, 0, &mut hops);
        self.embeddings(&prompt);
        self.embeddings(&negative);
        self.recovered.settings.prompt = prompt;
        self.recovered.settings.negative = negative;
    }

    fn input(
        &mut self,
        node: Node<'a>,
        input: &str,
        side: Side,
        depth: usize,
        hops: &mut usize,
    ) -> String {
        let Some((source, output)) = node.inputs.get(input).and_then(|v| self.graph.link(v)) else {
            return String::new();
        };
        if depth > DEPTH_MAX || *hops == 0 {
            return String::new();
        }
        *hops -= 1;
        // Nodes with both conditionings give the positive first.
        let side = match (source.inputs.contains_key("negative"), output) {
            (true, 0) => Side::Positive,
            (true, _) => Side::Negative,
            (false, _) => side,
        };
        self.conditioning(source, side, depth + 1, hops)
    }

    fn conditioning(
        &mut self,
        node: Node<'a>,
        side: Side,
        depth: usize,
        hops: &mut usize,
    ) -> String {
        if let Some(text) = self.encoded(node) {
            return text;
        }
        let both = |walk: &mut Self, inputs: [&str; 2], between: &str, hops: &mut usize| {
            let texts = inputs.map(|input| walk.input(node, input, side, depth, hops));
            let texts: Vec<_> = texts.into_iter().filter(|text| !text.is_empty()).collect();
            texts.join(between)
        };
        match node.class {
            "ConditioningCombine" => {
                both(self, ["conditioning_1", "conditioning_2"], " AND ", hops)
            }
            "ConditioningConcat" => both(
                self,
                ["conditioning_to", "conditioning_from"],
                " BREAK ",
                hops,
            ),
            "ConditioningAverage" => {
                self.pass_over(node, "prompts are averaged; both stand in the prompt");
                both(
                    self,
                    ["conditioning_to", "conditioning_from"],
                    " AND ",
                    hops,
                )
            }
            "ConditioningZeroOut" => String::new(),
            _ => {
                if !matches!(node.class, "Reroute" | "FluxGuidance") {
                    self.pass_over(node, "it changes the conditioning");
                }
                let own = match side {
                    Side::Positive => "positive",
                    Side::Negative => "negative",
                };
                let input = [own, "conditioning", ""]
                    .into_iter()
                    .find(|input| node.inputs.contains_key(*input));
                self.input(node, input.unwrap_or_default(), side, depth, hops)
            }
        }
    }

    /// Reads a node that encodes text: one prompt, or one for each of two encoders.
    fn encoded(&mut self, node: Node<'a>) -> Option<String> {
        let graph = self.graph;
        let text = graph.text(node, "text").or_else(|| {
            let first = ["text_g", "t5xxl", "prompt"]
                .into_iter()
                .find_map(|key| graph.text(node, key))?;
            let second = graph
                .text(node, "text_l")
                .or_else(|| graph.text(node, "clip_l"));
            match second.filter(|second| !second.is_empty() && *second != first) {
                Some(second) if first.is_empty() => Some(second),
                Some(second) => {
                    self.pass_over(
                        node,
                        "its encoders got two prompts; both stand in the prompt",
                    );
                    Some(format!("{first} {second}"))
                }
                None => Some(first),
            }
        });
        if text.is_some() {
            self.clip_skip(node);
        }
        text
    }

    fn clip_skip(&mut self, encoder: Node<'a>) {
        let mut next = self.graph.source(encoder, "clip");
        for _ in 0..HOPS_MAX {
            let Some(node) = next else { return };
            // -1 is the last layer, -2 the one before.
            if let Some(layer) = node
                .inputs
                .get("stop_at_clip_layer")
                .and_then(Value::as_i64)
            {
                let skip = Value::from(layer.unsigned_abs());
                let skip = small(Some(&skip)).filter(|n| *n > 1);
                self.recovered.settings.clip_skip = skip;
                return;
            }
            next = self.graph.source(node, "clip");
        }
    }

    /// Notes textual inversions: `embedding:name` anywhere in a prompt.
    fn embeddings(&mut self, prompt: &str) {
        for tail in prompt.split("embedding:").skip(1) {
            let ends = |c: char| c.is_whitespace() || matches!(c, ',' | ':' | ')' | '(');
            let name = tail.split(ends).next().unwrap_or_default();
            let mention = Mention::named(super::model::file_name(name));
            let embeddings = &mut self.recovered.settings.embeddings;
            if !name.is_empty() && embeddings.len() < 64 && !embeddings.contains(&mention) {
                embeddings.push(mention);
            }
        }
    }
}
