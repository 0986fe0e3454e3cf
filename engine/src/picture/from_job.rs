//! A job as the settings its picture tells.

use hearth_protocol::engine::{Assets, ModelAsset};
use hearth_protocol::job::{
    Hires as SecondPass, ImageFormat, JobSpec, MaskArea, Penultimate, Start, Tiling,
};

use super::encode::Encoding;
use super::settings::{Hires, Inpaint, LoraMention, Mention, Settings, Variation};

impl From<ImageFormat> for Encoding {
    fn from(format: ImageFormat) -> Self {
        match format {
            ImageFormat::Png => Self::Png,
            ImageFormat::Webp => Self::WebpLossless,
            ImageFormat::Jpeg => Self::Jpeg { quality: 95 },
        }
    }
}

/// Returns the settings of a job. A blend towards another prompt has no counterpart; the `hearth`
/// text holds it.
pub(crate) fn settings(spec: &JobSpec, assets: &Assets) -> Settings {
    let loras = spec.loras.iter().zip(&assets.loras);
    let embeddings = spec.embeddings.iter().zip(&assets.embeddings);
    let delta = i64::from(spec.eta_seed_delta);
    Settings {
        prompt: spec.prompt.clone(),
        negative: spec.negative.clone(),
        steps: Some(spec.steps),
        sampler: Some(spec.sampler),
        schedule: Some(spec.schedule),
        discard_penultimate: spec.penultimate == Penultimate::Discarded,
        guidance: Some(spec.guidance.value()),
        seed: Some(spec.seed),
        size: Some((spec.width, spec.height)),
        model: Some(mention(&assets.checkpoint.title, &assets.checkpoint)),
        vae: assets.vae.as_ref().map(|vae| mention(&vae.title, vae)),
        loras: loras
            .map(|(lora, asset)| LoraMention {
                name: asset.title.clone(),
                hash: mention(&asset.title, asset).hash,
                unet: lora.unet.value(),
                text: lora.text.value(),
            })
            .collect(),
        embeddings: embeddings
            .map(|(embedding, asset)| mention(&embedding.name, asset))
            .collect(),
        variation: spec.variation.map(|variation| Variation {
            seed: variation.seed,
            strength: variation.strength.value(),
        }),
        denoise: strength(spec),
        clip_skip: Some(spec.clip_skip).filter(|skip| *skip > 1),
        noise_seed_delta: Some(delta).filter(|delta| *delta != 0),
        rng: Some(spec.rng),
        tiling: spec.tiling == Tiling::Seamless,
        hires: spec.hires.map(|pass| hires(spec, pass)),
        inpaint: inpaint(&spec.start),
    }
}

fn mention(name: &str, asset: &ModelAsset) -> Mention {
    Mention {
        name: Some(name.to_owned()),
        hash: Some(asset.hash.clone()).filter(|hash| !hash.is_empty()),
    }
}

/// A1111 has one field for both passes; the second one wins, as there.
fn strength(spec: &JobSpec) -> Option<f64> {
    if let Some(hires) = spec.hires {
        return Some(hires.strength.value());
    }
    match &spec.start {
        Start::Picture { strength, .. } => Some(strength.value()),
        Start::Noise | Start::Step { .. } => None,
    }
}

fn hires(spec: &JobSpec, pass: SecondPass) -> Hires {
    let scale = f64::from(pass.width) / f64::from(spec.width);
    let is_even = f64::from(pass.height) / f64::from(spec.height) == scale;
    // A factor that people would write: others are told as a size.
    let is_short = (scale * 1e4).fract() == 0.0;
    let told = is_even && is_short;
    Hires {
        scale: told.then_some(scale),
        size: (!told).then_some((pass.width, pass.height)),
        steps: Some(pass.steps).filter(|steps| *steps > 0),
        upscaler: Some(pass.upscaler),
    }
}

fn inpaint(start: &Start) -> Option<Inpaint> {
    let Start::Picture {
        mask: Some(mask), ..
    } = start
    else {
        return None;
    };
    Some(Inpaint {
        mask_blur: Some(f64::from(mask.blur)),
        only_masked_padding: match mask.area {
            MaskArea::Whole => None,
            MaskArea::OnlyMasked { padding } => Some(padding),
        },
        masked_content: Some(mask.fill),
    })
}
