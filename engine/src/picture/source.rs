//! Which program made a picture, judged by the texts it left.

use std::fmt;

use serde::Serialize;

/// The program whose text was understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Hearth itself.
    Hearth,
    /// AUTOMATIC1111's web UI, or one that writes as it does: Forge, SD.Next, Civitai.
    A1111,
    /// `ComfyUI`: a graph of nodes.
    Comfy,
    /// `InvokeAI`, of any age.
    Invoke,
    /// Draw Things.
    DrawThings,
    /// `NovelAI`.
    NovelAi,
    /// Fooocus, in its own scheme.
    Fooocus,
    /// No text that tells.
    None,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Hearth => "Hearth",
            Self::A1111 => "A1111",
            Self::Comfy => "ComfyUI",
            Self::Invoke => "InvokeAI",
            Self::DrawThings => "Draw Things",
            Self::NovelAi => "NovelAI",
            Self::Fooocus => "Fooocus",
            Self::None => "nothing known",
        })
    }
}
