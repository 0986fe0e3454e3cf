//! Kindling, the model in the binary: a small Stable Diffusion of our own, and a LoRA for it.
//!
//! Trained by `engine/kindling/` on scenes that it draws itself; `engine/kindling/MODEL_CARD.md` says
//! what it can and cannot draw.

/// The model: text encoder, UNet and autoencoder with their configurations, one safetensors file.
pub static WEIGHTS: &[u8] = include_bytes!("../kindling/kindling.safetensors");
/// What people call it.
pub const TITLE: &str = "Kindling";
/// A LoRA for it: the colours of a dying fire.
pub static LORA: &[u8] = include_bytes!("../kindling/emberglow.safetensors");
/// What people call the adapter, and the word that calls it up.
pub const LORA_TITLE: &str = "emberglow";
/// What it may be used for.
pub const LICENCE: &str = "CC0-1.0";
