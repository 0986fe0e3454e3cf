//! Draw Things: a JSON object in the user comment of XMP or EXIF.

use hearth_protocol::job::{NoiseSchedule, Rng, Sampler};
use serde_json::{Map, Value};

use super::a1111;
use super::labels;
use super::loose_json::{decimal, object, small, text, whole};
use super::recovered::Recovered;
use super::settings::{Hires, Inpaint, LoraMention, Mention};

/// Keys that are read; `v2` repeats the others in full and tells Draw Things' numbers.
const KNOWN: [&str; 22] = [
    "c",
    "uc",
    "steps",
    "sampler",
    "scale",
    "seed",
    "size",
    "model",
    "strength",
    "seed_mode",
    "lora",
    "v2",
    "mask_blur",
    "mask_blur_outset",
    "hires_fix",
    "first_stage_size",
    "second_stage_strength",
    "clip_skip",
    "profile",
    "shift",
    "tiled_decoding",
    "tiled_diffusion",
];

/// Returns whether a JSON object is one of Draw Things'.
pub(super) fn is(map: &Map<String, Value>) -> bool {
    map.contains_key("c") && map.contains_key("uc") && map.contains_key("sampler")
}

/// Reads the object.
pub(super) fn read(json: &str) -> Option<Recovered> {
    let map = object(json).filter(is)?;
    let mut recovered = Recovered::default();
    let settings = &mut recovered.settings;
    settings.prompt = text(map.get("c")).unwrap_or_default();
    settings.negative = text(map.get("uc")).unwrap_or_default();
    settings.steps = small(map.get("steps"));
    settings.guidance = decimal(map.get("scale"));
    settings.seed = whole(map.get("seed"));
    settings.model = text(map.get("model")).map(Mention::named);
    settings.denoise = decimal(map.get("strength")).filter(|strength| *strength < 1.0);
    let loras = map.get("lora").and_then(Value::as_array);
    settings.loras = loras.into_iter().flatten().filter_map(lora).collect();
    settings.inpaint = settings
        .denoise
        .and_then(|_| decimal(map.get("mask_blur")))
        .map(|blur| Inpaint {
            mask_blur: Some(blur),
            ..Inpaint::default()
        });
    if let Some(value) = text(map.get("size")) {
        recovered.settings.size = a1111::size(&mut recovered, "size", &value);
    }
    sampler(&mut recovered, &map);
    passes(&mut recovered, &map);
    for (key, value) in &map {
        let is_off = matches!(value, Value::Null | Value::Bool(false));
        if !KNOWN.contains(&key.as_str()) && !is_off {
            recovered.unknown(key, &value.to_string());
        }
    }
    Some(recovered)
}

fn lora(value: &Value) -> Option<LoraMention> {
    // Draw Things has one weight; its mode names base and refiner, not encoders.
    let weight = decimal(value.get("weight")).unwrap_or(0.6);
    Some(LoraMention {
        name: text(value.get("model").or_else(|| value.get("file")))?,
        hash: None,
        unet: weight,
        text: weight,
    })
}

fn sampler(recovered: &mut Recovered, map: &Map<String, Value>) {
    let number = map.get("v2").and_then(|full| whole(full.get("sampler")));
    let label = text(map.get("sampler")).unwrap_or_default();
    match number.and_then(labels::draw_things) {
        Some(found) => recovered.take(&label, found),
        None => recovered.sampler(&label),
    }
    // Draw Things' names fix the schedule even where they do not say so.
    if let Some(sampler) = recovered.settings.sampler
        && recovered.settings.schedule.is_none()
    {
        let is_ddim = matches!(sampler, Sampler::Ddim | Sampler::Plms);
        recovered.settings.schedule = Some(if is_ddim {
            NoiseSchedule::DdimUniform
        } else {
            NoiseSchedule::Normal
        });
    }
    match text(map.get("seed_mode")).as_deref() {
        Some("Torch CPU Compatible") => recovered.settings.rng = Some(Rng::TorchCpu),
        Some("NVIDIA GPU Compatible") => recovered.settings.rng = Some(Rng::Nv),
        Some(other) => recovered.unknown("seed mode", other),
        None => {}
    }
}

fn passes(recovered: &mut Recovered, map: &Map<String, Value>) {
    if map.get("hires_fix") == Some(&Value::Bool(true)) {
        let whole_size = recovered.settings.size;
        let first = text(map.get("first_stage_size"));
        let first = first.and_then(|value| a1111::size(recovered, "first_stage_size", &value));
        recovered.settings.size = first.or(whole_size);
        recovered.settings.denoise = decimal(map.get("second_stage_strength"));
        recovered.settings.hires = Some(Hires {
            size: whole_size,
            ..Hires::default()
        });
    } else if recovered.settings.denoise.is_some() {
        recovered.picture("the one it started from");
    }
    let skip = map.get("v2").and_then(|full| small(full.get("clipSkip")));
    recovered.settings.clip_skip = skip
        .or_else(|| small(map.get("clip_skip")))
        .filter(|n| *n > 1);
}
