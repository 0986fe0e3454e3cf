//! The parts in one safetensors file: which are there, and what their tensors are called.
//!
//! Decided by looking for a few telling names under every prefix the field uses; nothing is taken
//! apart. What the parts' shapes say is [`crate::detect`]'s matter.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::names::{Naming, Notation, Part, UnetGrid, averaged};
use crate::tensor_file::{TensorFile, TensorHeader};
use crate::weights::PartFiles;

/// Which of two UNets a training checkpoint holds is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Average {
    /// The trained one, where both are there, as A1111 does.
    #[default]
    Plain,
    /// The running average of it (EMA), where both are there.
    Averaged,
}

/// Whose names a part has.
#[derive(Clone, Copy, Debug)]
enum Style {
    Diffusers,
    Compvis,
    OpenClip,
}

/// Where parts are in the files people have, likeliest first.
const PLACES: [(Part, &str, Style); 22] = [
    (Part::Unet, "model.diffusion_model.", Style::Compvis),
    (Part::Unet, "unet.", Style::Diffusers),
    (Part::Unet, "diffusion_model.", Style::Compvis),
    (Part::Unet, "", Style::Compvis),
    (Part::Unet, "", Style::Diffusers),
    (Part::Vae, "first_stage_model.", Style::Compvis),
    (Part::Vae, "vae.", Style::Diffusers),
    (Part::Vae, "vae.", Style::Compvis),
    (Part::Vae, "", Style::Compvis),
    (Part::Vae, "", Style::Diffusers),
    (
        Part::Text,
        "cond_stage_model.transformer.",
        Style::Diffusers,
    ),
    (Part::Text, "cond_stage_model.model.", Style::OpenClip),
    (
        Part::Text,
        "conditioner.embedders.0.transformer.",
        Style::Diffusers,
    ),
    (Part::Text, "text_encoder.", Style::Diffusers),
    (
        Part::Text,
        "text_encoders.clip_l.transformer.",
        Style::Diffusers,
    ),
    (
        Part::Text,
        "cond_stage_model.clip_l.transformer.",
        Style::Diffusers,
    ),
    (
        Part::Text2,
        "conditioner.embedders.1.model.",
        Style::OpenClip,
    ),
    (Part::Text2, "text_encoder_2.", Style::Diffusers),
    (
        Part::Text2,
        "text_encoders.clip_g.transformer.",
        Style::Diffusers,
    ),
    (
        Part::Text2,
        "cond_stage_model.clip_g.transformer.",
        Style::Diffusers,
    ),
    (Part::Text, "", Style::Diffusers),
    (Part::Text, "", Style::OpenClip),
];

/// Where a running average's UNet is.
const AVERAGE: &str = "model_ema.";

/// Width of the tokens of SDXL's second text encoder, by which a file that holds it alone is known.
const BIG_G: usize = 1280;

/// Most blocks looked for; SDXL has 9.
const BLOCKS_MAX: usize = 256;

/// Returns the parts a file holds.
pub(crate) fn parts(file: &Arc<TensorFile>, average: Average) -> BTreeMap<Part, PartFiles> {
    let header = file.header();
    let mut parts = BTreeMap::new();
    for (part, prefix, style) in PLACES {
        if parts.contains_key(&part) {
            continue;
        }
        if let Some(naming) = naming(header, part, prefix, style) {
            parts.insert(part, PartFiles::new(part, vec![file.clone()], naming));
        }
    }
    if average == Average::Averaged || !parts.contains_key(&Part::Unet) {
        let averaged = averaged_naming(header);
        let averaged = averaged.map(|n| PartFiles::new(Part::Unet, vec![file.clone()], n));
        parts.extend(averaged.map(|files| (Part::Unet, files)));
    }
    if let Some(text) = lone_big_g(&parts) {
        parts.remove(&Part::Text);
        parts.insert(Part::Text2, text);
    }
    parts
}

/// Returns the second text encoder where it is the only part of a file and so taken for the first.
fn lone_big_g(parts: &BTreeMap<Part, PartFiles>) -> Option<PartFiles> {
    let text = parts.get(&Part::Text).filter(|_| parts.len() == 1)?;
    let shape = text.shape("embeddings.token_embedding.weight")?;
    (shape.last() == Some(&BIG_G)).then(|| text.clone().with_part(Part::Text2))
}

/// Returns a tensor that every model has in this part and nothing else has.
fn probe(part: Part) -> &'static str {
    match part {
        Part::Unet => "conv_out.weight",
        Part::Vae => "decoder.mid_block.resnets.0.conv1.weight",
        Part::Text | Part::Text2 => "embeddings.token_embedding.weight",
    }
}

fn naming(header: &TensorHeader, part: Part, prefix: &'static str, style: Style) -> Option<Naming> {
    let has = |name: &str| header.tensors.contains_key(&format!("{prefix}{name}"));
    let notation = match (style, part) {
        (Style::Compvis, Part::Unet) => Notation::Compvis(grid(has)?),
        (Style::Compvis, Part::Vae | Part::Text | Part::Text2) => {
            let level = |k: &usize| has(&format!("decoder.up.{k}.block.0.conv1.weight"));
            Notation::Autoencoder((0..BLOCKS_MAX).take_while(level).count())
        }
        (Style::OpenClip, _) => Notation::OpenClip,
        (Style::Diffusers, _) => Notation::Diffusers,
    };
    let naming = Naming { prefix, notation };
    let stored = naming.stored(probe(part));
    let there = stored.iter().any(|s| header.tensors.contains_key(&s.name));
    there.then_some(naming)
}

fn averaged_naming(header: &TensorHeader) -> Option<Naming> {
    let has = |name: &str| {
        let name = format!("{AVERAGE}{}", averaged(name));
        header.tensors.contains_key(&name)
    };
    Some(Naming {
        prefix: AVERAGE,
        notation: Notation::Average(grid(has)?),
    })
}

/// Counts the blocks of a UNet of CompVis.
fn grid(has: impl Fn(&str) -> bool) -> Option<UnetGrid> {
    let layer = |i: &usize| has(&format!("input_blocks.{i}.0.in_layers.0.weight"));
    let down = |i: &usize| has(&format!("input_blocks.{i}.0.op.weight"));
    if !has("input_blocks.0.0.weight") {
        return None;
    }
    let count = 1 + (1..BLOCKS_MAX).take_while(|i| layer(i) || down(i)).count();
    let levels = 1 + (1..count).filter(down).count();
    let layers = (count / levels).checked_sub(1)?;
    let first = |block: usize| format!("output_blocks.{}.1.norm.weight", block * (layers + 1));
    let up_attends = (0..levels).map(|block| has(&first(block))).collect();
    count
        .is_multiple_of(levels)
        .then(|| UnetGrid::new(layers, up_attends))
}
