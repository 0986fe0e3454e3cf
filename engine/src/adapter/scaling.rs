//! How strong PEFT's adapters are: `alpha` and rank from their configuration, which kohya has in tensors.
//!
//! It comes in `adapter_config.json` beside the file, or in diffusers' metadata `lora_adapter_metadata`.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::names::Part;

/// Longest configuration parsed, in bytes; real ones are below a hundred thousand.
pub(super) const CONFIG_BYTES_MAX: usize = 1 << 20;

/// What a configuration says about one part.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PeftScale {
    alpha: f64,
    rank: f64,
    rank_stabilised: bool,
    /// Endings of module paths that have their own alpha.
    alpha_pattern: BTreeMap<String, f64>,
}

impl PeftScale {
    /// Reads the settings whose names begin with `prefix`, or nothing if there is no alpha among them.
    fn parse(settings: &Map<String, Value>, prefix: &str) -> Option<Self> {
        let value = |name: &str| settings.get(&format!("{prefix}{name}"));
        let number = |name: &str| value(name).and_then(Value::as_f64);
        let patterns = value("alpha_pattern").and_then(Value::as_object);
        let patterns = patterns.into_iter().flatten();
        Some(Self {
            alpha: number("lora_alpha").or_else(|| number("alpha"))?,
            rank: number("r").unwrap_or(1.0),
            rank_stabilised: value("use_rslora").and_then(Value::as_bool) == Some(true),
            alpha_pattern: patterns
                .filter_map(|(path, alpha)| Some((path.clone(), alpha.as_f64()?)))
                .collect(),
        })
    }

    /// Returns `alpha / rank`, or `alpha / sqrt(rank)` where the adapter is rank-stabilised, for a module
    /// of a known rank.
    pub(super) fn scale(&self, path: &str, rank: Option<usize>) -> f64 {
        let ends = |pattern: &str| {
            path.strip_suffix(pattern)
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        let own = self.alpha_pattern.iter().find(|(path, _)| ends(path));
        let alpha = own.map_or(self.alpha, |(_, alpha)| *alpha);
        let rank = rank.map_or(self.rank, |rank| rank as f64);
        if self.rank_stabilised {
            alpha / rank.sqrt()
        } else {
            alpha / rank
        }
    }
}

/// The configurations of an adapter's parts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scaling {
    /// For every part, from `adapter_config.json`.
    all: Option<PeftScale>,
    parts: BTreeMap<Part, PeftScale>,
}

impl Scaling {
    /// Reads metadata's `lora_adapter_metadata`; anything else than its JSON counts as absent.
    pub(super) fn from_metadata(metadata: &BTreeMap<String, String>) -> Self {
        let mut scaling = Self::default();
        let Some(Value::Object(settings)) = metadata
            .get("lora_adapter_metadata")
            .filter(|json| json.len() <= CONFIG_BYTES_MAX)
            .and_then(|json| serde_json::from_str(json).ok())
        else {
            return scaling;
        };
        for (part, prefix) in [
            (Part::Unet, "unet."),
            (Part::Text, "text_encoder."),
            (Part::Text2, "text_encoder_2."),
        ] {
            if let Some(scale) = PeftScale::parse(&settings, prefix) {
                scaling.parts.insert(part, scale);
            }
        }
        scaling.all = PeftScale::parse(&settings, "");
        scaling
    }

    /// Reads the text of an `adapter_config.json`.
    pub(super) fn add_config(&mut self, json: &[u8]) -> serde_json::Result<()> {
        let settings: Map<String, Value> = serde_json::from_slice(json)?;
        self.all = PeftScale::parse(&settings, "");
        Ok(())
    }

    /// Returns what a part's modules are scaled by.
    pub(super) fn part(&self, part: Part) -> Option<&PeftScale> {
        self.parts.get(&part).or(self.all.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e42_rank_stabilised_alpha_is_divided_by_the_root() {
        let json = r#"{"unet.lora_alpha": 8, "unet.r": 4, "unet.use_rslora": true,
            "unet.alpha_pattern": {"attn1.to_q": 2.0}, "text_encoder.lora_alpha": 3}"#;
        let metadata = BTreeMap::from([("lora_adapter_metadata".to_owned(), json.to_owned())]);
        let scaling = Scaling::from_metadata(&metadata);
        let unet = scaling.part(Part::Unet).unwrap();
        assert_eq!(unet.scale("a.attn1.to_k", Some(4)), 4.0);
        assert_eq!(unet.scale("a.attn1.to_q", Some(4)), 1.0);
        assert_eq!(unet.scale("a.xattn1.to_q", Some(16)), 2.0);
        assert_eq!(scaling.part(Part::Text).unwrap().scale("a", Some(6)), 0.5);
        assert!(scaling.part(Part::Text2).is_none());
    }

    #[test]
    fn e42_config_beside_the_file_counts_for_every_part() {
        let mut scaling = Scaling::default();
        scaling
            .add_config(br#"{"lora_alpha": 16, "r": 8, "peft_type": "LORA"}"#)
            .unwrap();
        assert_eq!(scaling.part(Part::Text2).unwrap().scale("a", None), 2.0);
        assert!(scaling.add_config(b"[").is_err());
    }
}
