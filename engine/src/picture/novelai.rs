//! `NovelAI`: a JSON object in the `Comment` text beside `Software: NovelAI`.

use hearth_protocol::job::Rng;
use serde_json::Value;

use super::loose_json::{decimal, object, small, text, whole};
use super::recovered::Recovered;
use super::settings::Mention;

/// What its web UI adds to the seed for later noise.
const NOISE_SEED_DELTA: i64 = 31_337;

/// Reads the comment; the prompt may stand in the description alone.
pub(super) fn read(comment: &str, description: &str, source: Option<&str>) -> Option<Recovered> {
    let map = object(comment)?;
    let mut recovered = Recovered::default();
    let settings = &mut recovered.settings;
    let prompt = text(map.get("prompt")).filter(|prompt| !prompt.is_empty());
    settings.prompt = prompt.unwrap_or_else(|| description.to_owned());
    settings.negative = text(map.get("uc")).unwrap_or_default();
    settings.steps = small(map.get("steps"));
    settings.guidance = decimal(map.get("scale"));
    settings.seed = whole(map.get("seed"));
    settings.size = small(map.get("width")).zip(small(map.get("height")));
    settings.model = source.map(Mention::named);
    settings.noise_seed_delta = Some(NOISE_SEED_DELTA);
    settings.clip_skip = Some(2);
    settings.rng = Some(Rng::Nv);
    settings.denoise = decimal(map.get("strength"));
    if let Some(label) = text(map.get("sampler")) {
        recovered.sampler(&label);
    }
    if let Some(label) = text(map.get("noise_schedule")) {
        recovered.schedule(&label);
    }
    if recovered.settings.denoise.is_some() {
        recovered.picture("the one it started from");
    }
    for key in ["sm", "sm_dyn", "dynamic_thresholding"] {
        if map.get(key) == Some(&Value::Bool(true)) {
            recovered.unknown(key, "true");
        }
    }
    for key in ["cfg_rescale", "uncond_scale"] {
        let value = decimal(map.get(key)).filter(|value| *value != 0.0 && *value != 1.0);
        if let Some(value) = value {
            recovered.unknown(key, &value.to_string());
        }
    }
    let characters = map
        .get("v4_prompt")
        .and_then(|prompt| prompt.get("caption")?.get("char_captions")?.as_array());
    for character in characters.into_iter().flatten() {
        let caption = text(character.get("char_caption")).unwrap_or_default();
        recovered.unknown("character prompt", &caption);
    }
    Some(recovered)
}
