//! Requests from what was made before: a saved step, or a picture with its story.

use std::path::Path;

use anyhow::Context;
use hearth_protocol::control::{GenerateRequest, LoraAsk, StartAsk};
use hearth_protocol::job::JobSpec;

use super::ask;

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

/// Returns the request a picture's metadata tells of.
pub(super) fn picture(path: &Path) -> anyhow::Result<GenerateRequest> {
    anyhow::bail!("{} cannot be read yet", path.display())
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
