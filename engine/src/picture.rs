//! Pixels to PNG, with the text that other programs read a picture's settings from.

use std::collections::BTreeMap;

use candle_core::Tensor;
use hearth_protocol::engine::Assets;
use hearth_protocol::job::{JobSpec, NoiseSchedule, Rng, Sampler};
use serde_json::json;

use crate::preview::byte;

/// Returns `[1, 3, height, width]` pixels in -1..=1 as rows of RGB bytes.
pub(crate) fn rgb(pixels: &Tensor) -> candle_core::Result<Vec<u8>> {
    let (_, channels, height, width) = pixels.dims4()?;
    let values = pixels.flatten_all()?.to_vec1::<f32>()?;
    let plane = height * width;
    let pixel = |i: usize| (0..channels).map(move |c| (c, i));
    Ok((0..plane)
        .flat_map(pixel)
        .map(|(c, i)| byte(values[c * plane + i]))
        .collect())
}

/// Encodes RGB rows as a PNG that tells its story.
pub(crate) fn png(
    rgb: &[u8],
    (width, height): (u32, u32),
    texts: &[(&str, String)],
) -> Result<Vec<u8>, png::EncodingError> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    for (keyword, text) in texts {
        // Latin-1 where it suffices, as A1111 writes it; UTF-8 otherwise.
        if text.chars().all(|c| u32::from(c) < 256) {
            encoder.add_text_chunk((*keyword).to_owned(), text.clone())?;
        } else {
            encoder.add_itxt_chunk((*keyword).to_owned(), text.clone())?;
        }
    }
    let mut writer = encoder.write_header()?;
    writer.write_image_data(rgb)?;
    writer.finish()?;
    Ok(bytes)
}

/// Returns A1111's `parameters` text for a job.
pub(crate) fn parameters(spec: &JobSpec, assets: &Assets) -> String {
    let mut text = spec.prompt.clone();
    for (lora, asset) in spec.loras.iter().zip(&assets.loras) {
        let weights = if lora.unet == lora.text {
            lora.unet.to_string()
        } else {
            format!("{}:{}", lora.text, lora.unet)
        };
        let tag = format!("<lora:{}:{weights}>", asset.title);
        if !text.contains(&tag) {
            text = format!("{text} {tag}");
        }
    }
    if !spec.negative.is_empty() {
        text = format!("{text}\nNegative prompt: {}", spec.negative);
    }
    let fields = fields(spec, assets);
    let fields: Vec<_> = fields
        .iter()
        .map(|(key, value)| format!("{key}: {}", quote(value)))
        .collect();
    format!("{text}\n{}", fields.join(", "))
}

fn fields(spec: &JobSpec, assets: &Assets) -> Vec<(&'static str, String)> {
    let checkpoint = &assets.checkpoint;
    let mut fields = vec![
        ("Steps", spec.steps.to_string()),
        ("Sampler", sampler_label(spec.sampler).to_owned()),
        ("Schedule type", schedule_label(spec.schedule).to_owned()),
        ("CFG scale", spec.guidance.to_string()),
        ("Seed", spec.seed.to_string()),
        ("Size", format!("{}x{}", spec.width, spec.height)),
        ("Model hash", checkpoint.hash.clone()),
        ("Model", checkpoint.title.clone()),
        ("RNG", rng_label(spec.rng).to_owned()),
    ];
    let mut hashes = BTreeMap::from([("model".to_owned(), checkpoint.hash.clone())]);
    if !assets.loras.is_empty() {
        let list: Vec<_> = assets
            .loras
            .iter()
            .map(|l| format!("{}: {}", l.title, l.hash))
            .collect();
        fields.push(("Lora hashes", list.join(", ")));
        hashes.extend(
            assets
                .loras
                .iter()
                .map(|l| (format!("lora:{}", l.title), l.hash.clone())),
        );
    }
    fields.push((
        "Version",
        concat!("Hearth ", env!("CARGO_PKG_VERSION")).to_owned(),
    ));
    fields.push(("Hashes", json!(hashes).to_string()));
    fields
}

/// Returns the `hearth` text: the job as asked, for exact repetition.
pub(crate) fn story(spec: &JobSpec) -> String {
    json!({"version": 1, "spec": spec}).to_string()
}

/// Writes a value as A1111 does: as a JSON string if it holds what separates fields. `Hashes` is
/// JSON itself and stays as it is, as Civitai expects it.
fn quote(value: &str) -> String {
    if value.starts_with('{') || !value.contains([',', '\n', ':']) {
        return value.to_owned();
    }
    json!(value).to_string()
}

fn sampler_label(sampler: Sampler) -> &'static str {
    match sampler {
        Sampler::Euler => "Euler",
        other => other.name(),
    }
}

fn schedule_label(schedule: NoiseSchedule) -> &'static str {
    match schedule {
        NoiseSchedule::Normal => "Normal",
        NoiseSchedule::Karras => "Karras",
        NoiseSchedule::Exponential => "Exponential",
        NoiseSchedule::SgmUniform => "SGM Uniform",
        NoiseSchedule::Simple => "Simple",
        NoiseSchedule::Model => "Automatic",
        other => other.name(),
    }
}

fn rng_label(rng: Rng) -> &'static str {
    match rng {
        Rng::TorchCpu => "CPU",
        Rng::Nv => "NV",
    }
}
