//! Fooocus' own scheme: a JSON object under `parameters`.

use serde_json::{Map, Value};

use super::loose_json::{decimal, object, small, text, whole};
use super::recovered::Recovered;
use super::settings::{LoraMention, Mention};

/// Returns whether a JSON object is one of Fooocus'.
pub(super) fn is(map: &Map<String, Value>) -> bool {
    map.contains_key("base_model") && map.contains_key("guidance_scale")
}

/// Reads the object.
pub(super) fn read(json: &str) -> Option<Recovered> {
    let map = object(json).filter(is)?;
    let mut recovered = Recovered::default();
    let settings = &mut recovered.settings;
    settings.prompt = text(map.get("prompt")).unwrap_or_default();
    settings.negative = text(map.get("negative_prompt")).unwrap_or_default();
    settings.steps = small(map.get("steps"));
    settings.guidance = decimal(map.get("guidance_scale"));
    settings.seed = whole(map.get("seed"));
    settings.size = text(map.get("resolution")).and_then(|size| pair(&size));
    settings.model = text(map.get("base_model")).map(|name| Mention {
        name: Some(name),
        hash: text(map.get("base_model_hash")),
    });
    let vae = text(map.get("vae")).filter(|name| !name.starts_with("Default"));
    settings.vae = vae.map(Mention::named);
    settings.clip_skip = small(map.get("clip_skip")).filter(|n| *n > 1);
    let loras = map.get("loras").and_then(Value::as_array);
    settings.loras = loras.into_iter().flatten().filter_map(lora).collect();
    if let Some(label) = text(map.get("sampler")) {
        recovered.sampler(&label);
    }
    if let Some(label) = text(map.get("scheduler")) {
        recovered.schedule(&label);
    }
    let styles = text(map.get("styles")).filter(|styles| styles != "[]");
    let refiner = text(map.get("refiner_model")).filter(|name| name != "None");
    for (key, value) in [("styles", styles), ("refiner model", refiner)] {
        if let Some(value) = value {
            recovered.unknown(key, &value);
        }
    }
    for key in ["sharpness", "adm_guidance"] {
        if let Some(value) = text(map.get(key)) {
            recovered.unknown(key, &value);
        }
    }
    Some(recovered)
}

/// Reads `(1024, 768)`.
fn pair(text: &str) -> Option<(u32, u32)> {
    let inner = text.trim().strip_prefix('(')?.strip_suffix(')')?;
    let (width, height) = inner.split_once(',')?;
    Some((width.trim().parse().ok()?, height.trim().parse().ok()?))
}

/// Reads `[name, weight, hash]`.
fn lora(value: &Value) -> Option<LoraMention> {
    let parts = value.as_array()?;
    let weight = decimal(parts.get(1)).unwrap_or(1.0);
    Some(LoraMention {
        name: text(parts.first())?,
        hash: text(parts.get(2)),
        unet: weight,
        text: weight,
    })
}
