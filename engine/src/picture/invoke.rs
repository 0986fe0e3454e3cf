//! `InvokeAI`'s three ages: `invokeai_metadata`, `sd-metadata`, and the `Dream` command line.

use hearth_protocol::job::Rng;
use serde_json::{Map, Value};

use super::loose_json::{decimal, object, small, text, whole};
use super::recovered::Recovered;
use super::settings::{LoraMention, Mention};

type Object = Map<String, Value>;

/// Reads `invokeai_metadata` (version 3 and later).
pub(super) fn read(json: &str) -> Option<Recovered> {
    let map = object(json)?;
    let mut recovered = Recovered::default();
    let settings = &mut recovered.settings;
    settings.prompt = text(map.get("positive_prompt")).unwrap_or_default();
    settings.negative = text(map.get("negative_prompt")).unwrap_or_default();
    settings.steps = small(map.get("steps"));
    settings.guidance = decimal(map.get("cfg_scale"));
    settings.seed = whole(map.get("seed"));
    settings.size = small(map.get("width")).zip(small(map.get("height")));
    settings.model = map.get("model").and_then(mention);
    settings.vae = map.get("vae").and_then(mention);
    settings.loras = list(&map, "loras").filter_map(lora).collect();
    settings.denoise = decimal(map.get("strength"));
    // InvokeAI counts the layers left out; the last one is 1 here.
    let skipped = small(map.get("clip_skip")).filter(|n| *n > 0);
    settings.clip_skip = skipped.and_then(|n| n.checked_add(1));
    settings.tiling = is_true(&map, "seamless_x") && is_true(&map, "seamless_y");
    if text(map.get("rand_device")).as_deref() == Some("cpu") {
        settings.rng = Some(Rng::TorchCpu);
    } else if map.contains_key("rand_device") {
        settings.rng = Some(Rng::Nv);
    }
    if let Some(label) = text(map.get("scheduler")) {
        recovered.sampler(&label);
    }
    left_out(&mut recovered, &map);
    Some(recovered)
}

fn is_true(map: &Object, key: &str) -> bool {
    map.get(key) == Some(&Value::Bool(true))
}

fn list<'a>(map: &'a Object, key: &str) -> impl Iterator<Item = &'a Value> {
    map.get(key).and_then(Value::as_array).into_iter().flatten()
}

/// Reads a model of version 3 (`model_name`) or later (`name`, `hash`).
fn mention(value: &Value) -> Option<Mention> {
    let map = value.as_object()?;
    let name = text(map.get("name").or_else(|| map.get("model_name")));
    // Version 4 writes `blake3:` before it.
    let hash = text(map.get("hash")).map(|hash| match hash.split_once(':') {
        Some((_, digits)) => digits.to_owned(),
        None => hash,
    });
    name.is_some().then_some(Mention { name, hash })
}

fn lora(value: &Value) -> Option<LoraMention> {
    let model = value.get("model").or_else(|| value.get("lora"))?;
    let Mention { name, hash } = mention(model)?;
    let weight = decimal(value.get("weight")).unwrap_or(1.0);
    Some(LoraMention {
        name: name?,
        hash,
        unet: weight,
        text: weight,
    })
}

fn left_out(recovered: &mut Recovered, map: &Object) {
    for key in [
        "controlnets",
        "ipAdapters",
        "t2iAdapters",
        "controlLayers",
        "regions",
    ] {
        if let Some(first) = list(map, key).next() {
            recovered.unknown(key, &first.to_string());
        }
    }
    for key in ["positive_style_prompt", "negative_style_prompt"] {
        let plain = key.replace("_style", "");
        let style = text(map.get(key)).filter(|style| !style.is_empty());
        if let Some(style) = style.filter(|style| Some(style) != text(map.get(&plain)).as_ref()) {
            recovered.unknown(key, &style);
        }
    }
    for key in ["refiner_model", "hrf_enabled", "cfg_rescale_multiplier"] {
        let value = map.get(key);
        if value.is_some_and(|value| !matches!(value, Value::Null | Value::Bool(false)))
            && decimal(value) != Some(0.0)
        {
            recovered.unknown(key, &value.map(Value::to_string).unwrap_or_default());
        }
    }
    if let Some(image) = text(map.get("init_image")) {
        recovered.picture(&image);
    }
}

/// Reads `sd-metadata` (version 2).
pub(super) fn read_old(json: &str) -> Option<Recovered> {
    let map = object(json)?;
    let image = map.get("image")?.as_object()?;
    let mut recovered = Recovered::default();
    let settings = &mut recovered.settings;
    let prompt = match image.get("prompt") {
        // One prompt, or several with weights.
        Some(Value::Array(parts)) => {
            let parts = parts.iter().filter_map(|part| text(part.get("prompt")));
            parts.collect::<Vec<_>>().join(" AND ")
        }
        other => text(other).unwrap_or_default(),
    };
    (settings.prompt, settings.negative) = bracketed(&prompt);
    settings.steps = small(image.get("steps"));
    settings.guidance = decimal(image.get("cfg_scale"));
    settings.seed = whole(image.get("seed"));
    settings.size = small(image.get("width")).zip(small(image.get("height")));
    settings.denoise = decimal(image.get("strength"));
    settings.tiling = is_true(image, "seamless");
    let hash = text(map.get("model_hash"));
    let name = text(map.get("model_weights"));
    settings.model = (name.is_some() || hash.is_some()).then_some(Mention { name, hash });
    if let Some(label) = text(image.get("sampler")) {
        recovered.sampler(&label);
    }
    for key in ["threshold", "perlin"] {
        if let Some(value) = decimal(image.get(key)).filter(|value| *value != 0.0) {
            recovered.unknown(key, &value.to_string());
        }
    }
    if is_true(image, "hires_fix") {
        recovered.unknown("hires_fix", "true");
    }
    Some(recovered)
}

/// Splits version 2's prompt: what stands in square brackets is the negative.
fn bracketed(prompt: &str) -> (String, String) {
    let (mut positive, mut negative) = (String::new(), Vec::new());
    let mut rest = prompt;
    while let Some((before, (inside, after))) = rest
        .split_once('[')
        .and_then(|(before, tail)| Some((before, tail.split_once(']')?)))
    {
        positive.push_str(before);
        negative.push(inside.trim());
        rest = after;
    }
    positive.push_str(rest);
    (positive.trim().to_owned(), negative.join(", "))
}

/// Reads `Dream`: a quoted prompt and options of one letter.
pub(super) fn read_dream(line: &str) -> Option<Recovered> {
    let quoted = line.trim().strip_prefix('"')?;
    let (prompt, options) = quoted.rsplit_once('"')?;
    let mut recovered = Recovered::default();
    let settings = &mut recovered.settings;
    (settings.prompt, settings.negative) = bracketed(prompt);
    let (mut width, mut height) = (None, None);
    let mut words = options.split_whitespace();
    while let Some(option) = words.next() {
        let Some((flag, joined)) = option.strip_prefix('-').and_then(|o| o.split_at_checked(1))
        else {
            recovered.unknown("option", option);
            continue;
        };
        // `-s50` and `-s 50` are the same.
        let value = if joined.is_empty() {
            words.next().unwrap_or_default()
        } else {
            joined
        };
        let whole = "a whole number";
        match flag {
            "s" => recovered.settings.steps = recovered.number("steps", value, whole),
            "S" => recovered.settings.seed = recovered.number("seed", value, whole),
            "W" => width = recovered.number("width", value, whole),
            "H" => height = recovered.number("height", value, whole),
            "C" => recovered.settings.guidance = recovered.decimal("guidance", value),
            "f" => recovered.settings.denoise = recovered.decimal("strength", value),
            "A" => recovered.sampler(value),
            "I" => recovered.picture(value),
            _ => recovered.unknown(option, value),
        }
    }
    recovered.settings.size = width.zip(height);
    Some(recovered)
}
