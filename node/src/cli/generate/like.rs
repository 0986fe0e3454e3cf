//! Requests from what was made before: a saved step, or a picture with its story.

use std::path::Path;

use anyhow::{Context, bail};
use hearth_engine::picture::{self, Mention, Recovered, Settings};
use hearth_protocol::control::{GenerateRequest, LoraAsk, StartAsk};
use hearth_protocol::job::{Compat, JobSpec, Micro, Rng, Start, Tiling};

use super::ask;
use crate::cli::session::Session;
use crate::cli::wording::printable;

/// Returns the request that goes on from a saved step as it would have gone on.
pub(super) fn step(path: &Path) -> anyhow::Result<GenerateRequest> {
    let state = ask::file(path)?;
    let saved = hearth_engine::saved_step(path)
        .with_context(|| format!("cannot go on from {}", path.display()))?;
    let mut request = of_spec(&saved.spec);
    request.start = StartAsk::Step {
        state,
        done: saved.done,
    };
    Ok(request)
}

/// Returns the request a picture's metadata tells of: exactly, where Hearth made it; else as far as it was
/// understood.
pub(super) fn picture(path: &Path, session: &Session) -> anyhow::Result<GenerateRequest> {
    let info = picture::info(path).with_context(|| format!("cannot read {}", path.display()))?;
    for oddity in &info.request.warnings {
        session
            .printer
            .note(format!("warning: {}", printable(&oddity.to_string())));
    }
    let spec = info.hearth.as_ref().and_then(|story| story.get("spec"));
    if let Some(spec) = spec
        && let Ok(spec) = serde_json::from_value::<JobSpec>(spec.clone())
    {
        if spec.start != Start::Noise {
            session.printer.note(
                "warning: it began with another picture, which is not in it; give that with --image",
            );
        }
        return Ok(of_spec(&spec));
    }
    if info.request.settings == Settings::default() {
        bail!("{} does not tell what it was made with", path.display());
    }
    of_settings(info.request)
}

fn of_settings(recovered: Recovered) -> anyhow::Result<GenerateRequest> {
    let settings = recovered.settings;
    let name = |mention: Mention| mention.hash.or(mention.name);
    let loras = settings.loras.into_iter().map(|lora| {
        Ok(LoraAsk {
            model: lora.hash.unwrap_or(lora.name),
            unet: micro(lora.unet)?,
            text: micro(lora.text)?,
        })
    });
    Ok(GenerateRequest {
        negative: settings.negative,
        model: settings.model.and_then(name),
        vae: settings.vae.and_then(name),
        loras: loras.collect::<anyhow::Result<_>>()?,
        embeddings: settings.embeddings.into_iter().filter_map(name).collect(),
        size: settings.size,
        steps: settings.steps,
        guidance: settings.guidance.map(micro).transpose()?,
        sampler: settings.sampler,
        schedule: settings.schedule,
        clip_skip: settings.clip_skip,
        seed: settings.seed,
        rng: settings.rng.unwrap_or(Rng::TorchCpu),
        compat: recovered.compat.unwrap_or(Compat::A1111),
        tiling: if settings.tiling {
            Tiling::Seamless
        } else {
            Tiling::None
        },
        ..GenerateRequest::of(&settings.prompt)
    })
}

fn micro(value: f64) -> anyhow::Result<Micro> {
    let text = format!("{value:.6}");
    text.parse().with_context(|| format!("cannot use {value}"))
}

/// Returns the request that leads to a spec again; what it started from is not in it.
pub(super) fn of_spec(spec: &JobSpec) -> GenerateRequest {
    let loras = spec.loras.iter().map(|lora| LoraAsk {
        model: lora.card.to_string(),
        unet: lora.unet,
        text: lora.text,
    });
    let embeddings = spec.embeddings.iter().map(|it| it.card.to_string());
    GenerateRequest {
        negative: spec.negative.clone(),
        model: Some(spec.checkpoint.to_string()),
        vae: spec.vae.map(|vae| vae.to_string()),
        loras: loras.collect(),
        embeddings: embeddings.collect(),
        size: Some((spec.width, spec.height)),
        steps: Some(spec.steps),
        guidance: Some(spec.guidance),
        sampler: Some(spec.sampler),
        schedule: Some(spec.schedule),
        penultimate: spec.penultimate,
        clip_skip: Some(spec.clip_skip),
        seed: Some(spec.seed),
        variation: spec.variation,
        eta_seed_delta: spec.eta_seed_delta,
        rng: spec.rng,
        compat: spec.compat,
        blend: spec.blend.clone(),
        hires: spec.hires,
        tiling: spec.tiling,
        format: Some(spec.format),
        ..GenerateRequest::of(&spec.prompt)
    }
}
