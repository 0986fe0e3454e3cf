//! Reading A1111's `parameters` text, also as Forge, SD.Next and Civitai write it.

use hearth_protocol::job::{NoiseSchedule, Rng, Sampler};
use serde_json::Value;

use super::labels;
use super::lora_tag;
use super::recovered::{Oddity, Recovered, quote};
use super::settings::{Hires, Inpaint, Mention, Variation};

/// Fields of the last line that make it a line of fields, and not of the prompt.
const FIELDS_MIN: usize = 3;
/// Fields that say nothing a job could ask for.
const IGNORED: [&str; 15] = [
    "Version",
    "User",
    "App",
    "Created Date",
    "Civitai resources",
    "Civitai metadata",
    "Size-1",
    "Size-2",
    "Init image hash",
    "Cache",
    "Parser",
    "Backend",
    "Operations",
    "Batch size",
    "Batch pos",
];

/// Reads a whole text.
pub(super) fn read(text: &str) -> Recovered {
    let mut recovered = Recovered::default();
    let (prompts, fields) = split(text, &mut recovered);
    let (prompt, negative) = prompt_and_negative(prompts);
    let (prompt, loras) = lora_tag::extract(&prompt);
    recovered.settings.prompt = prompt;
    recovered.settings.negative = negative;
    recovered.settings.loras = loras;
    for (key, value) in &fields {
        let known = core(&mut recovered, key, value)
            || models(&mut recovered, key, value)
            || passes(&mut recovered, key, value);
        if !known && !IGNORED.contains(&key.as_str()) {
            recovered.unknown(key, value);
        }
    }
    if !fields.is_empty() {
        defaults(&mut recovered, &fields);
    }
    recovered
}

type Fields = Vec<(String, String)>;

/// Splits off the line of fields: the last one, or the last that begins with `Steps:` where a tool
/// wrote lines of its own behind it.
fn split<'a>(text: &'a str, recovered: &mut Recovered) -> (Vec<&'a str>, Fields) {
    let text = text.trim_end().trim_end_matches('\0');
    let mut lines: Vec<&str> = text
        .split('\n')
        .map(|line| line.strip_suffix('\r').unwrap_or(line))
        .collect();
    let last = lines.len() - 1;
    let found = (0..lines.len()).rev().find_map(|i| {
        let may_be = i == last || lines[i].trim_start().starts_with("Steps:");
        let fields = may_be.then(|| scan(lines[i]))?;
        (fields.len() >= FIELDS_MIN).then_some((i, fields))
    });
    let Some((i, fields)) = found else {
        return (lines, Fields::new());
    };
    for line in lines.drain(i..).skip(1).filter(|line| !line.is_empty()) {
        recovered.unknown("line", line);
    }
    (lines, fields)
}

fn prompt_and_negative(lines: Vec<&str>) -> (String, String) {
    let mark = "Negative prompt:";
    let at = lines
        .iter()
        .position(|line| line.trim_start().starts_with(mark));
    let (prompt, negative) = lines.split_at(at.unwrap_or(lines.len()));
    let negative = negative.join("\n");
    let negative = negative.trim_start();
    let negative = negative.strip_prefix(mark).unwrap_or(negative);
    let negative = negative.strip_prefix(' ').unwrap_or(negative);
    (prompt.join("\n"), negative.to_owned())
}

/// Finds every `key: value` of a line. Keys are two or more of `\w`, space, `-` and `/`, starting
/// with `\w`; values end at a comma, or are JSON strings, or JSON objects and lists.
fn scan(line: &str) -> Fields {
    let mut fields = Fields::new();
    let mut from = 0;
    let mut colon_from = 0;
    while let Some(colon) = line[colon_from..].find(':').map(|at| colon_from + at) {
        colon_from = colon + 1;
        let Some(key) = key_before(&line[from..colon]) else {
            continue;
        };
        let rest = &line[colon + 1..];
        let tail = rest.trim_start();
        let value_at = colon + 1 + (rest.len() - tail.len());
        let (value, len) = value(tail);
        fields.push((key.to_owned(), value));
        from = value_at + len;
        colon_from = from;
    }
    fields
}

/// Returns the key that ends a text: as many key characters as there are, from the first `\w` on.
fn key_before(text: &str) -> Option<&str> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let start = text
        .char_indices()
        .rev()
        .take_while(|(_, c)| is_word(*c) || matches!(c, ' ' | '-' | '/'))
        .last()
        .map(|(i, _)| i)?;
    let key = text[start..].trim_start_matches(|c| !is_word(c));
    (key.chars().count() >= 2).then_some(key)
}

/// Reads a value and tells how long it is with the comma behind it.
fn value(text: &str) -> (String, usize) {
    if let Some((value, len)) = json_value(text) {
        let tail = &text[len..];
        let after = tail.len() - tail.trim_start().len();
        match tail[after..].chars().next() {
            None => return (value, text.len()),
            Some(',') => return (value, len + after + 1),
            // A quoted word inside a plain value.
            Some(_) => {}
        }
    }
    match text.find(',') {
        Some(at) => (text[..at].trim_end().to_owned(), at + 1),
        None => (text.trim_end().to_owned(), text.len()),
    }
}

/// Reads a JSON string, object or list at the start of a text.
fn json_value(text: &str) -> Option<(String, usize)> {
    if !text.starts_with(['"', '{', '[']) {
        return None;
    }
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    let value = values.next()?.ok()?;
    let len = values.byte_offset();
    match value {
        Value::String(inner) => Some((inner, len)),
        Value::Object(_) | Value::Array(_) => Some((text[..len].to_owned(), len)),
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

fn core(recovered: &mut Recovered, key: &str, value: &str) -> bool {
    let whole = "a whole number";
    match key {
        "Steps" => recovered.settings.steps = recovered.number(key, value, whole),
        "Sampler" => recovered.sampler(value),
        // Decided at the end, when the sampler is known.
        "Schedule type" if value == "Automatic" => {}
        "Schedule type" => recovered.schedule(value),
        "CFG scale" => recovered.settings.guidance = recovered.decimal(key, value),
        "Seed" => recovered.settings.seed = recovered.number(key, value, whole),
        "Size" => recovered.settings.size = size(recovered, key, value),
        "Clip skip" => recovered.settings.clip_skip = recovered.number(key, value, whole),
        "ENSD" | "Eta noise seed delta" => {
            recovered.settings.noise_seed_delta = recovered
                .number::<i64>(key, value, whole)
                .filter(|n| *n != 0);
        }
        "RNG" => match value {
            "CPU" => recovered.settings.rng = Some(Rng::TorchCpu),
            "NV" | "GPU" => recovered.settings.rng = Some(Rng::Nv),
            _ => recovered.unknown(key, value),
        },
        "Discard penultimate sigma" => {
            recovered.settings.discard_penultimate = value.eq_ignore_ascii_case("true");
        }
        "Tiling" => recovered.settings.tiling = value.eq_ignore_ascii_case("true"),
        "Variation seed" => {
            let seed = recovered.number(key, value, whole);
            variation(recovered).seed = seed.unwrap_or(0);
        }
        "Variation seed strength" => {
            let strength = recovered.decimal(key, value);
            variation(recovered).strength = strength.unwrap_or(0.0);
        }
        _ => return false,
    }
    true
}

fn variation(recovered: &mut Recovered) -> &mut Variation {
    recovered.settings.variation.get_or_insert(Variation {
        seed: 0,
        strength: 0.0,
    })
}

fn models(recovered: &mut Recovered, key: &str, value: &str) -> bool {
    let text = Some(value.to_owned());
    let settings = &mut recovered.settings;
    match key {
        "Model" => settings.model.get_or_insert_default().name = text,
        "Model hash" => settings.model.get_or_insert_default().hash = text,
        "VAE" => settings.vae.get_or_insert_default().name = text,
        "VAE hash" => settings.vae.get_or_insert_default().hash = text,
        "Lora hashes" => {
            for (name, hash) in named_hashes(value) {
                quote_lora(recovered, name, hash);
            }
        }
        "TI hashes" | "TI" => {
            for (name, hash) in named_hashes(value) {
                quote_embedding(recovered, name, hash);
            }
        }
        "Hashes" => hashes(recovered, value),
        _ => return false,
    }
    true
}

/// Cuts `name: hash, name: hash`; a name may stand alone.
fn named_hashes(list: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    list.split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
        .map(|item| match item.rsplit_once(':') {
            Some((name, hash)) => (name.trim(), Some(hash.trim())),
            None => (item, None),
        })
}

fn quote_lora(recovered: &mut Recovered, name: &str, hash: Option<&str>) {
    let same = |known: &&mut super::settings::LoraMention| known.name == name;
    let mut loras = recovered.settings.loras.iter_mut();
    if let Some(lora) = loras.find(same) {
        lora.hash = lora.hash.take().or_else(|| hash.map(str::to_owned));
    }
}

fn quote_embedding(recovered: &mut Recovered, name: &str, hash: Option<&str>) {
    let embeddings = &mut recovered.settings.embeddings;
    let hash = hash.map(str::to_owned);
    let known = embeddings
        .iter_mut()
        .find(|known| known.name.as_deref() == Some(name));
    match known {
        Some(known) => known.hash = known.hash.take().or(hash),
        None => embeddings.push(Mention {
            name: Some(name.to_owned()),
            hash,
        }),
    }
}

/// Fills in from Civitai's map what the single fields left open.
fn hashes(recovered: &mut Recovered, value: &str) {
    let Ok(Value::Object(hashes)) = serde_json::from_str(value) else {
        return recovered.malformed("Hashes", value, "a JSON object");
    };
    for (key, hash) in &hashes {
        let Some(hash) = hash.as_str() else { continue };
        let settings = &mut recovered.settings;
        match key.split_once(':') {
            Some(("lora", name)) => quote_lora(recovered, name, Some(hash)),
            Some(("embed", name)) => quote_embedding(recovered, name, Some(hash)),
            Some(_) => {}
            None if key == "model" => fill_hash(&mut settings.model, hash),
            None if key == "vae" => fill_hash(&mut settings.vae, hash),
            None => {}
        }
    }
}

fn fill_hash(mention: &mut Option<Mention>, hash: &str) {
    let mention = mention.get_or_insert_default();
    if mention.hash.is_none() {
        mention.hash = Some(hash.to_owned());
    }
}

fn passes(recovered: &mut Recovered, key: &str, value: &str) -> bool {
    let whole = "a whole number";
    match key {
        "Denoising strength" => recovered.settings.denoise = recovered.decimal(key, value),
        "Hires upscale" => hires(recovered).scale = recovered.decimal(key, value),
        "Hires steps" => {
            hires(recovered).steps = recovered.number(key, value, whole).filter(|n| *n > 0);
        }
        "Hires upscaler" => {
            let upscaler = recovered.upscaler(value);
            hires(recovered).upscaler = Some(upscaler);
        }
        "Hires resize" => {
            let size = size(recovered, key, value);
            hires(recovered).size = size;
        }
        "Mask blur" => inpaint(recovered).mask_blur = recovered.decimal(key, value),
        "Inpaint area" if value == "Whole picture" => {}
        "Inpaint area" => {
            inpaint(recovered).only_masked_padding.get_or_insert(32);
        }
        "Masked area padding" => {
            inpaint(recovered).only_masked_padding = recovered.number(key, value, whole);
        }
        "Masked content" => match labels::mask_fill(value) {
            Some(fill) => inpaint(recovered).masked_content = Some(fill),
            None => recovered.unknown(key, value),
        },
        _ => return false,
    }
    true
}

fn hires(recovered: &mut Recovered) -> &mut Hires {
    recovered.settings.hires.get_or_insert_default()
}

fn inpaint(recovered: &mut Recovered) -> &mut Inpaint {
    recovered.settings.inpaint.get_or_insert_default()
}

/// Reads `512x768`.
pub(super) fn size(recovered: &mut Recovered, key: &str, value: &str) -> Option<(u32, u32)> {
    let size = value.split_once(['x', 'X']).and_then(|(width, height)| {
        Some((width.trim().parse().ok()?, height.trim().parse().ok()?))
    });
    if size.is_none() {
        recovered.malformed(key, value, "a size such as 512x768");
    }
    size
}

/// Adds what A1111 leaves out because it is its default.
fn defaults(recovered: &mut Recovered, fields: &Fields) {
    let field = |name: &str| {
        let found = fields.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    };
    let version = field("Version").unwrap_or_default();
    let is_ours = version.starts_with("Hearth");
    let settings = &mut recovered.settings;
    if settings.schedule.is_none() {
        settings.schedule = match settings.sampler {
            Some(_) if is_ours && field("Schedule type").is_some() => Some(NoiseSchedule::Model),
            Some(Sampler::Ddim) => Some(NoiseSchedule::DdimUniform),
            Some(_) if !is_ours && had_no_schedules(version) => Some(NoiseSchedule::Normal),
            Some(sampler) if !is_ours => labels::automatic(sampler),
            Some(_) | None => None,
        };
    }
    if settings.rng.is_none() && !is_ours {
        settings.rng = Some(Rng::Nv);
    }
    let is_from_picture = settings.denoise.is_some() && settings.hires.is_none();
    if is_from_picture || settings.inpaint.is_some() {
        recovered.warn(Oddity::Picture {
            what: quote("the one it started from"),
        });
    }
}

/// Returns whether this A1111 named the schedule in the sampler alone: before 1.9, `DPM++ 2M` was
/// not `DPM++ 2M Karras`.
fn had_no_schedules(version: &str) -> bool {
    let mut numbers = version.strip_prefix('v').unwrap_or_default().split('.');
    let mut next = || numbers.next()?.parse::<u32>().ok();
    matches!((next(), next()), (Some(0), _) | (Some(1), Some(0..=8)))
}
