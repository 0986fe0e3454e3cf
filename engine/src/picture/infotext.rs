//! Writing A1111's `parameters` text, in A1111's order and quoting.

use std::collections::BTreeMap;

use hearth_protocol::job::Rng;
use serde_json::json;

use super::labels::{mask_fill_label, sampler_label, schedule_label, upscaler_label};
use super::lora_tag::{plain_name, tag};
use super::settings::{Inpaint, Mention, Settings};

/// What stands behind `Version:`.
pub(super) const VERSION: &str = concat!("Hearth ", env!("CARGO_PKG_VERSION"));

type Fields = Vec<(&'static str, String)>;

impl Settings {
    /// Returns the text that A1111, Civitai and most galleries read: the prompt with a tag for each
    /// adapter, the negative prompt, and one line of fields.
    ///
    /// Reading it back gives the same settings, with three exceptions that lie in the format: a
    /// prompt with a line of its own that begins with `Negative prompt:`, a carriage return before
    /// a line feed, and names of adapters with the characters `: , < > " \`.
    pub fn infotext(&self) -> String {
        let mut text = self.prompt.clone();
        for tag in self.loras.iter().map(tag) {
            // A person may have typed it.
            if !text.contains(&tag) {
                let space = if text.is_empty() { "" } else { " " };
                text = format!("{text}{space}{tag}");
            }
        }
        if !self.negative.is_empty() {
            text = format!("{text}\nNegative prompt: {}", self.negative);
        }
        let fields: Vec<_> = self
            .fields()
            .iter()
            .map(|(key, value)| format!("{key}: {}", quote(value)))
            .collect();
        format!("{text}\n{}", fields.join(", "))
    }

    fn fields(&self) -> Fields {
        let mut fields = Fields::new();
        let mut add = |key, value: Option<String>| {
            fields.extend(
                value
                    .filter(|text| !text.is_empty())
                    .map(|text| (key, text)),
            );
        };
        add("Steps", text(self.steps));
        add("Sampler", self.sampler.map(|s| sampler_label(s).to_owned()));
        add(
            "Schedule type",
            self.schedule.map(|s| schedule_label(s).to_owned()),
        );
        add("CFG scale", text(self.guidance));
        add("Seed", text(self.seed));
        add("Size", self.size.map(sides));
        add("Model hash", part(self.model.as_ref(), |m| &m.hash));
        add("Model", part(self.model.as_ref(), |m| &m.name));
        add("VAE hash", part(self.vae.as_ref(), |m| &m.hash));
        add("VAE", part(self.vae.as_ref(), |m| &m.name));
        add("Variation seed", text(self.variation.map(|v| v.seed)));
        add(
            "Variation seed strength",
            text(self.variation.map(|v| v.strength)),
        );
        add("Denoising strength", text(self.denoise));
        add("Clip skip", text(self.clip_skip.filter(|n| *n > 1)));
        add("ENSD", text(self.noise_seed_delta));
        add("RNG", self.rng.map(|rng| rng_label(rng).to_owned()));
        let discards = self.discard_penultimate.then(|| "True".to_owned());
        add("Discard penultimate sigma", discards);
        add("Tiling", self.tiling.then(|| "True".to_owned()));
        if let Some(hires) = &self.hires {
            add("Hires upscale", text(hires.scale));
            add("Hires steps", text(hires.steps));
            add(
                "Hires upscaler",
                hires.upscaler.map(|u| upscaler_label(u).to_owned()),
            );
            add("Hires resize", hires.size.map(sides));
        }
        if let Some(inpaint) = &self.inpaint {
            for (key, value) in inpaint_fields(inpaint) {
                add(key, value);
            }
        }
        add("Lora hashes", self.lora_hashes());
        add("TI hashes", self.embedding_hashes());
        add("Version", Some(VERSION.to_owned()));
        add("Hashes", self.hashes());
        fields
    }

    fn lora_hashes(&self) -> Option<String> {
        let listed = self.loras.iter().filter_map(|lora| {
            Some(format!(
                "{}: {}",
                plain_name(&lora.name),
                lora.hash.as_ref()?
            ))
        });
        join(listed)
    }

    fn embedding_hashes(&self) -> Option<String> {
        let listed = self.embeddings.iter().filter_map(|embedding| {
            let name = plain_name(embedding.name.as_ref()?);
            // A1111 lists the ones whose hash it does not know without one.
            Some(match &embedding.hash {
                Some(hash) => format!("{name}: {hash}"),
                None => name,
            })
        });
        join(listed)
    }

    /// Returns every hash as Civitai reads them.
    fn hashes(&self) -> Option<String> {
        let mut hashes = BTreeMap::new();
        let single = [("model", &self.model), ("vae", &self.vae)];
        for (key, mention) in single {
            if let Some(hash) = mention.as_ref().and_then(|m| m.hash.clone()) {
                hashes.insert(key.to_owned(), hash);
            }
        }
        for lora in &self.loras {
            if let Some(hash) = lora.hash.clone() {
                hashes.insert(format!("lora:{}", plain_name(&lora.name)), hash);
            }
        }
        for embedding in &self.embeddings {
            if let (Some(name), Some(hash)) = (&embedding.name, embedding.hash.clone()) {
                hashes.insert(format!("embed:{}", plain_name(name)), hash);
            }
        }
        (!hashes.is_empty()).then(|| json!(hashes).to_string())
    }
}

fn inpaint_fields(inpaint: &Inpaint) -> [(&'static str, Option<String>); 4] {
    let padding = inpaint.only_masked_padding;
    let content = inpaint
        .masked_content
        .map(|fill| mask_fill_label(fill).to_owned());
    [
        ("Mask blur", text(inpaint.mask_blur)),
        ("Inpaint area", padding.map(|_| "Only masked".to_owned())),
        ("Masked area padding", text(padding)),
        ("Masked content", content),
    ]
}

fn text(value: Option<impl ToString>) -> Option<String> {
    value.map(|value| value.to_string())
}

fn part(mention: Option<&Mention>, pick: fn(&Mention) -> &Option<String>) -> Option<String> {
    pick(mention?).clone()
}

fn sides((width, height): (u32, u32)) -> String {
    format!("{width}x{height}")
}

fn join(listed: impl Iterator<Item = String>) -> Option<String> {
    let listed: Vec<_> = listed.collect();
    (!listed.is_empty()).then(|| listed.join(", "))
}

fn rng_label(rng: Rng) -> &'static str {
    match rng {
        Rng::TorchCpu => "CPU",
        Rng::Nv => "NV",
    }
}

/// Writes a value as A1111 does: as a JSON string if it holds what separates fields, or what a
/// reader would cut off or take for quoting. `Hashes` is JSON itself and stays as it is, as
/// Civitai expects it.
fn quote(value: &str) -> String {
    let is_json =
        value.starts_with('{') && serde_json::from_str::<serde_json::Value>(value).is_ok();
    let is_plain = !value.contains([',', '\n', ':'])
        && !value.starts_with(['"', '{', '['])
        && value.trim() == value;
    if is_json || is_plain {
        value.to_owned()
    } else {
        json!(value).to_string()
    }
}
