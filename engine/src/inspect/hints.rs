//! What names hint at: that a model was distilled to few steps. A hint only proposes settings; it never
//! decides what a file is.

use std::path::Path;

use hearth_protocol::card::Settings;
use hearth_protocol::job::{Family, Micro, NoiseSchedule, Sampler};

use crate::detect::Prediction;
use crate::tensor_file::TensorHeader;

/// What a model was distilled to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// Adversarial distillation: one to four steps.
    Turbo,
    /// Progressive adversarial distillation: two to eight steps.
    Lightning,
    /// The same aim by trajectory segments.
    Hyper,
    /// Latent consistency, with a sampler of its own.
    Lcm,
}

/// Sides a model may propose.
const SIDES: std::ops::RangeInclusive<u32> = 64..=2048;

/// Returns the variant that a file's name or title speaks of.
pub(super) fn variant(path: &Path, header: &TensorHeader) -> Option<Variant> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let title = header.metadata.get("modelspec.title");
    let text = format!("{stem} {}", title.map_or("", String::as_str)).to_lowercase();
    let word = |word: &str| {
        let mut words = text.split(|c: char| !c.is_alphanumeric());
        words.any(|w| w == word)
    };
    if text.contains("lightning") {
        Some(Variant::Lightning)
    } else if text.contains("turbo") {
        Some(Variant::Turbo)
    } else if word("lcm") {
        Some(Variant::Lcm)
    } else if word("hyper") {
        Some(Variant::Hyper)
    } else {
        None
    }
}

/// Returns how a checkpoint likes to be asked: its family's way, the size its metadata speaks of, and the
/// few steps of its variant.
pub(super) fn settings(
    family: Family,
    prediction: Prediction,
    variant: Option<Variant>,
    header: &TensorHeader,
) -> Settings {
    let mut settings = Settings::of(family);
    if family == Family::Sd2 && prediction == Prediction::Epsilon {
        (settings.width, settings.height) = (512, 512);
    }
    if let Some((width, height)) = header
        .metadata
        .get("modelspec.resolution")
        .and_then(|text| resolution(text))
    {
        (settings.width, settings.height) = (width, height);
    }
    let (steps, guidance, sampler, schedule) = match variant {
        None => return settings,
        Some(Variant::Turbo) => (4, 1_000_000, Sampler::EulerA, NoiseSchedule::SgmUniform),
        Some(Variant::Lightning | Variant::Hyper) => {
            (8, 1_000_000, Sampler::Euler, NoiseSchedule::SgmUniform)
        }
        Some(Variant::Lcm) => (6, 1_500_000, Sampler::Lcm, NoiseSchedule::SgmUniform),
    };
    Settings {
        steps,
        guidance: Micro::from_millionths(guidance),
        sampler,
        schedule,
        ..settings
    }
}

/// Reads `1024x768`.
fn resolution(text: &str) -> Option<(u32, u32)> {
    let (width, height) = text.split_once('x')?;
    let side = |text: &str| {
        let side: u32 = text.trim().parse().ok()?;
        (SIDES.contains(&side) && side.is_multiple_of(8)).then_some(side)
    };
    Some((side(width)?, side(height)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e18_words_in_names_hint_at_a_variant() {
        let header = TensorHeader::default();
        for (name, expected) in [
            ("sd_xl_turbo_1.0_fp16.safetensors", Some(Variant::Turbo)),
            (
                "RealVisXL_V5.0_Lightning.safetensors",
                Some(Variant::Lightning),
            ),
            ("dreamshaper-8-LCM.safetensors", Some(Variant::Lcm)),
            ("sdxl_hyper.safetensors", Some(Variant::Hyper)),
            ("calcmodel.safetensors", None),
            ("hyperreal.safetensors", None),
        ] {
            assert_eq!(variant(Path::new(name), &header), expected, "{name}");
        }
    }

    #[test]
    fn e18_stated_size_is_taken_within_bounds() {
        assert_eq!(resolution("1024x768"), Some((1024, 768)));
        for text in ["1024", "100000x100000", "65x64", "-8x8", "0x0"] {
            assert_eq!(resolution(text), None, "{text}");
        }
    }
}
