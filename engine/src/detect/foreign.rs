//! Models of other architectures, called by their names.

use crate::tensor_file::TensorHeader;

/// What is stripped off a backbone's names.
const PREFIXES: [&str; 3] = ["", "model.diffusion_model.", "diffusion_model."];

/// A telling tensor of each architecture; the first found decides.
const MARKS: [(&str, &str); 25] = [
    ("distilled_guidance_layer.in_proj.bias", "Chroma"),
    ("single_stream_modulation.lin.weight", "Flux.2"),
    ("double_blocks.0.img_attn.norm.key_norm.scale", "Flux.1"),
    ("single_transformer_blocks.0.attn.norm_q.weight", "Flux"),
    (
        "joint_blocks.0.context_block.adaLN_modulation.1.bias",
        "Stable Diffusion 3",
    ),
    ("transformer_blocks.0.img_mod.1.weight", "Qwen-Image"),
    ("cap_embedder.0.weight", "Z-Image or Lumina 2"),
    ("cap_embedder.1.weight", "Z-Image or Lumina 2"),
    ("head.modulation", "Wan"),
    (
        "txt_in.individual_token_refiner.blocks.0.norm1.weight",
        "Hunyuan Video",
    ),
    (
        "adaln_single.emb.timestep_embedder.linear_1.weight",
        "PixArt or LTX Video",
    ),
    ("t_block.1.weight", "PixArt"),
    ("double_layers.0.attn.w1q.weight", "AuraFlow"),
    ("down_blocks.1.0.channelwise.0.weight", "Stable Cascade"),
    ("clip_txt_mapper.weight", "Stable Cascade"),
    ("control_model.time_embed.0.weight", "a ControlNet"),
    ("controlnet_cond_embedding.conv_in.weight", "a ControlNet"),
    ("input_hint_block.0.weight", "a ControlNet"),
    ("image_proj.proj.weight", "an IP-Adapter"),
    ("image_proj.latents", "an IP-Adapter"),
    (
        "conditioner.embedders.0.model.transformer.resblocks.9.mlp.c_proj.bias",
        "the refiner of Stable Diffusion XL",
    ),
    (
        "down_blocks.0.motion_modules.0.temporal_transformer.norm.weight",
        "a motion module of AnimateDiff",
    ),
    ("edm_mean", "Playground 2.5"),
    ("edm_vpred.sigma_max", "an EDM model with velocity"),
    (
        "input_blocks.1.1.time_stack.0.attn1.to_k.weight",
        "Stable Video Diffusion",
    ),
];

/// Returns what a file is if its tensors are those of an architecture that is known but not run.
pub(crate) fn foreign(header: &TensorHeader) -> Option<&'static str> {
    let has = |mark: &str| {
        PREFIXES
            .iter()
            .any(|prefix| header.tensors.contains_key(&format!("{prefix}{mark}")))
    };
    let (_, name) = MARKS.iter().find(|(mark, _)| has(mark))?;
    Some(name)
}
