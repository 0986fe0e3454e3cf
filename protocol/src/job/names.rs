//! The closed lists people choose from, by the names they type.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A text that names no variant of an enum.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what} '{text}'; known: {known}")]
pub struct UnknownName {
    what: &'static str,
    text: String,
    known: String,
}

macro_rules! named {
    ($(#[$doc:meta])* $name:ident, $what:literal, { $($(#[$vdoc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$vdoc])* #[serde(rename = $text)] $variant),+
        }

        impl $name {
            /// Every value, in wire order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Returns the name people type.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }

        impl FromStr for $name {
            type Err = UnknownName;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::ALL.iter().copied().find(|value| value.name() == text).ok_or_else(|| UnknownName {
                    what: $what,
                    text: text.chars().take(64).collect(),
                    known: Self::ALL.iter().map(|value| value.name()).collect::<Vec<_>>().join(", "),
                })
            }
        }
    };
}

named!(
    /// A family of models: decides factor and layout.
    Family, "family", {
        /// Stable Diffusion 1.x, of any size.
        Sd15 = "sd15",
        /// Stable Diffusion 2.x.
        Sd2 = "sd2",
        /// Stable Diffusion XL.
        Sdxl = "sdxl",
        /// Hearth's own small model.
        Kindling = "kindling",
    }
);

impl Family {
    /// Returns the price factor of one evaluation.
    pub const fn factor(self) -> u32 {
        match self {
            Self::Sd15 | Self::Sd2 | Self::Kindling => 1,
            Self::Sdxl => 2,
        }
    }
}

named!(
    /// How each step is taken (`ComfyUI` names).
    Sampler, "sampler", {
        /// Explicit Euler in sigma space.
        Euler = "euler",
        /// Euler with fresh noise at each step.
        EulerA = "euler_a",
        /// Heun's second order.
        Heun = "heun",
        /// Midpoint in log sigma.
        Dpm2 = "dpm_2",
        /// The same with fresh noise.
        Dpm2A = "dpm_2_a",
        /// DPM-Solver++ 2S with fresh noise.
        Dpmpp2sA = "dpmpp_2s_a",
        /// DPM-Solver++ 2M.
        Dpmpp2m = "dpmpp_2m",
        /// DPM-Solver++ as a stochastic equation, two evaluations a step.
        DpmppSde = "dpmpp_sde",
        /// DPM-Solver++ 2M as a stochastic equation.
        Dpmpp2mSde = "dpmpp_2m_sde",
        /// DPM-Solver++ 3M as a stochastic equation.
        Dpmpp3mSde = "dpmpp_3m_sde",
        /// Linear multistep of order four.
        Lms = "lms",
        /// DDIM.
        Ddim = "ddim",
        /// PNDM without Runge-Kutta steps.
        Plms = "plms",
        /// Unified predictor-corrector.
        Unipc = "unipc",
        /// Latent consistency.
        Lcm = "lcm",
        /// Ancestral sampling of DDPM.
        Ddpm = "ddpm",
    }
);

named!(
    /// Where the steps are (`ComfyUI` and A1111 short names).
    NoiseSchedule, "noise schedule", {
        /// Evenly over timesteps.
        Normal = "normal",
        /// Karras et al., rho 7.
        Karras = "karras",
        /// Evenly over log sigma.
        Exponential = "exponential",
        /// Evenly over timesteps, without the last.
        SgmUniform = "sgm_uniform",
        /// Every so many table entries.
        Simple = "simple",
        /// What the checkpoint's own `scheduler_config.json` says.
        Model = "model",
        /// Every so many table entries, from the second.
        DdimUniform = "ddim_uniform",
        /// By the quantiles of a beta distribution.
        Beta = "beta",
        /// The published optima for few steps.
        AlignYourSteps = "align_your_steps",
        /// Evenly over the arc tangent of sigma.
        KlOptimal = "kl_optimal",
    }
);

named!(
    /// Which generator turns the seed into noise.
    Rng, "rng", {
        /// torch on a CPU: MT19937.
        TorchCpu = "torch-cpu",
        /// torch on an NVIDIA GPU: Philox.
        Nv = "nv",
    }
);

named!(
    /// Whose conventions to follow where they differ.
    Compat, "compat", {
        /// AUTOMATIC1111.
        A1111 = "a1111",
        /// `ComfyUI`.
        Comfy = "comfy",
        /// diffusers.
        Diffusers = "diffusers",
    }
);

named!(
    /// Whether a schedule's last but one sigma is left out.
    Penultimate, "penultimate sigma", {
        /// As the schedule says.
        Kept = "kept",
        /// One step more is planned and its end left out.
        Discarded = "discarded",
    }
);

named!(
    /// Whether the picture's edges meet.
    Tiling, "tiling", {
        /// They are edges.
        None = "none",
        /// Left meets right and top meets bottom.
        Seamless = "seamless",
    }
);

named!(
    /// What the picture is written as.
    ImageFormat, "picture format", {
        /// PNG.
        Png = "png",
        /// WebP without loss.
        Webp = "webp",
        /// JPEG of quality 95.
        Jpeg = "jpeg",
    }
);

impl ImageFormat {
    /// Returns the file name of a job's picture.
    pub const fn file_name(self) -> &'static str {
        match self {
            Self::Png => "image.png",
            Self::Webp => "image.webp",
            Self::Jpeg => "image.jpeg",
        }
    }
}

named!(
    /// How the second pass gets its larger start.
    Upscaler, "upscaler", {
        /// The latent, bilinear.
        Latent = "latent",
        /// The latent, bicubic.
        LatentBicubic = "latent-bicubic",
        /// The latent, nearest neighbour.
        LatentNearest = "latent-nearest",
        /// The picture, Lanczos of three lobes.
        Lanczos = "lanczos",
    }
);
