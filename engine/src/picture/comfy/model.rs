//! The model a sampler uses: its checkpoint and the adapters on the way to it.

use serde_json::Value;

use crate::picture::loose_json::decimal;
use crate::picture::settings::{LoraMention, Mention};

use super::graph::Node;
use super::{HOPS_MAX, Walk};

/// Nodes between a model and its sampler that change nothing Hearth does otherwise.
const PLAIN: [&str; 4] = [
    "Reroute",
    "ModelMergeSimple",
    "CLIPSetLastLayer",
    "TorchCompileModel",
];

impl<'a> Walk<'a> {
    /// Follows the `model` inputs from a sampler to a loader.
    pub(super) fn model(&mut self, sampler: Node<'a>) {
        let graph = self.graph;
        let guider = graph.source(sampler, "guider").unwrap_or(sampler);
        let mut loras = Vec::new();
        let mut next = graph.source(guider, "model");
        for _ in 0..HOPS_MAX {
            let Some(node) = next else { break };
            let name = ["ckpt_name", "unet_name", "base_ckpt_name"]
                .into_iter()
                .find_map(|key| graph.text(node, key));
            if let Some(name) = name {
                self.recovered.settings.model = Some(Mention::named(file_name(&name)));
                break;
            }
            let found = self.loras(node);
            if found.is_empty() && !PLAIN.contains(&node.class) && !is_lora_loader(node) {
                self.pass_over(node, "it changes the model");
            }
            // The chain is walked from its end.
            loras.extend(found.into_iter().rev());
            next = graph
                .source(node, "model")
                .or_else(|| graph.source(node, "model1"));
        }
        loras.reverse();
        self.recovered.settings.loras = loras;
    }

    /// Reads the adapters of one loader.
    fn loras(&self, node: Node<'a>) -> Vec<LoraMention> {
        let graph = self.graph;
        let number = |key| decimal(graph.literal(node, key).as_ref());
        if let Some(name) = graph.text(node, "lora_name") {
            let unet = number("strength_model").unwrap_or(1.0);
            let text = if node.class == "LoraLoaderModelOnly" {
                0.0
            } else {
                number("strength_clip").unwrap_or(unet)
            };
            return vec![mention(&name, unet, text)];
        }
        // rgthree's loader of many: objects with a switch.
        let entries = node.inputs.values().filter_map(|value| {
            let name = value.get("lora")?.as_str().filter(|name| *name != "None")?;
            let is_on = value.get("on") != Some(&Value::Bool(false));
            let unet = decimal(value.get("strength")).unwrap_or(1.0);
            let text = decimal(value.get("strengthTwo")).unwrap_or(unet);
            is_on.then(|| mention(name, unet, text))
        });
        entries.collect()
    }
}

fn is_lora_loader(node: Node<'_>) -> bool {
    node.class.to_lowercase().contains("lora")
}

fn mention(name: &str, unet: f64, text: f64) -> LoraMention {
    LoraMention {
        name: file_name(name).to_owned(),
        hash: None,
        unet,
        text,
    }
}

/// Returns a file's name without its folders and without `.safetensors` and the like.
pub(super) fn file_name(path: &str) -> &str {
    let name = path.rsplit(['/', '\\']).next().unwrap_or(path);
    [".safetensors", ".ckpt", ".pt", ".pth", ".gguf", ".sft"]
        .into_iter()
        .find_map(|ending| name.strip_suffix(ending))
        .unwrap_or(name)
}
