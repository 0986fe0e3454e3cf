//! Nodes and their links.

use std::collections::{BTreeSet, VecDeque};

use serde_json::{Map, Value};

use super::HOPS_MAX;

/// Inputs under which nodes of one value keep it.
const VALUES: [&str; 11] = [
    "value",
    "Value",
    "seed",
    "noise_seed",
    "int",
    "float",
    "number",
    "text",
    "Text",
    "string",
    "String",
];

/// A graph in API form: node id to class and inputs.
#[derive(Clone, Copy)]
pub(super) struct Graph<'a> {
    nodes: &'a Map<String, Value>,
}

/// One node.
#[derive(Clone, Copy)]
pub(super) struct Node<'a> {
    pub(super) id: &'a str,
    pub(super) class: &'a str,
    pub(super) inputs: &'a Map<String, Value>,
}

impl<'a> Graph<'a> {
    /// Wraps a graph; without a single node it is none.
    pub(super) fn new(nodes: &'a Map<String, Value>) -> Option<Self> {
        let graph = Self { nodes };
        graph.nodes().next().is_some().then_some(graph)
    }

    pub(super) fn nodes(self) -> impl Iterator<Item = Node<'a>> {
        self.nodes.iter().filter_map(|(id, value)| node(id, value))
    }

    fn node(self, id: &str) -> Option<Node<'a>> {
        let (id, value) = self.nodes.get_key_value(id)?;
        node(id, value)
    }

    /// Follows a link: an input of the form `[node, output]`.
    pub(super) fn link(self, value: &Value) -> Option<(Node<'a>, u64)> {
        let [id, output] = value.as_array()?.as_slice() else {
            return None;
        };
        let id = match id {
            Value::String(id) => self.node(id)?,
            Value::Number(id) => self.node(&id.to_string())?,
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
        };
        Some((id, output.as_u64().unwrap_or(0)))
    }

    /// Returns the node behind an input.
    pub(super) fn source(self, node: Node<'a>, input: &str) -> Option<Node<'a>> {
        self.link(node.inputs.get(input)?).map(|(node, _)| node)
    }

    /// Returns an input's value, fetched through nodes that hold one.
    pub(super) fn literal(self, node: Node<'a>, input: &str) -> Option<Value> {
        let mut value = node.inputs.get(input)?;
        for _ in 0..HOPS_MAX {
            let Some((node, _)) = self.link(value) else {
                let is_plain =
                    matches!(value, Value::String(_) | Value::Number(_) | Value::Bool(_));
                return is_plain.then(|| value.clone());
            };
            value = VALUES.iter().find_map(|key| node.inputs.get(*key))?;
        }
        None
    }

    /// Returns an input that is a text.
    pub(super) fn text(self, node: Node<'a>, input: &str) -> Option<String> {
        match self.literal(node, input)? {
            Value::String(text) => Some(text),
            Value::Number(number) => Some(number.to_string()),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        }
    }

    /// Returns the sampler nearest to a saved picture; without one, the last by number.
    pub(super) fn last_sampler(self) -> Option<Node<'a>> {
        let is_output = |node: &Node<'_>| {
            let class = node.class.to_lowercase();
            class.contains("saveimage")
                || class.contains("previewimage")
                || class.contains("image save")
        };
        let saved = self
            .nodes()
            .filter(is_output)
            .find_map(|node| self.nearest_sampler(node));
        saved.or_else(|| {
            let number = |node: &Node<'a>| (node.id.parse::<u64>().ok(), node.id);
            self.nodes().filter(Node::is_sampler).max_by_key(number)
        })
    }

    fn nearest_sampler(self, from: Node<'a>) -> Option<Node<'a>> {
        let mut seen = BTreeSet::from([from.id]);
        let mut queue = VecDeque::from([from]);
        while let Some(node) = queue.pop_front() {
            if node.is_sampler() {
                return Some(node);
            }
            for (before, _) in node.inputs.values().filter_map(|value| self.link(value)) {
                if seen.insert(before.id) {
                    queue.push_back(before);
                }
            }
        }
        None
    }
}

impl Node<'_> {
    /// Returns whether a node makes latents from noise and conditioning, whatever its class is
    /// called: many packs have samplers of their own with `ComfyUI`'s inputs.
    pub(super) fn is_sampler(&self) -> bool {
        let has = |input: &str| self.inputs.contains_key(input);
        has("latent_image") && (has("positive") || has("guider"))
    }
}

fn node<'a>(id: &'a str, value: &'a Value) -> Option<Node<'a>> {
    Some(Node {
        id,
        class: value.get("class_type")?.as_str()?,
        inputs: value.get("inputs")?.as_object()?,
    })
}
