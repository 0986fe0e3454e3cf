//! What other programs call samplers and noise schedules: one table, read both ways.
//!
//! Names are those of `protocol::job` (mostly those of `ComfyUI`). A label of another program may name a
//! schedule along with the sampler: A1111's old `DPM++ 2M Karras`, `InvokeAI`'s `_k`, Draw Things'
//! `AYS` and `Trailing`.

use hearth_protocol::job::{MaskFill, NoiseSchedule, Sampler, Upscaler};

/// One sampler: its name, A1111's label, the schedule A1111 takes for "Automatic", and the names
/// of other programs in lower case.
struct Row {
    name: Sampler,
    label: &'static str,
    automatic: NoiseSchedule,
    aliases: &'static [&'static str],
}

const SAMPLERS: [Row; 16] = [
    row(
        Sampler::Euler,
        "Euler",
        NoiseSchedule::Normal,
        &["k_euler", "eulerdiscretescheduler"],
    ),
    row(
        Sampler::EulerA,
        "Euler a",
        NoiseSchedule::Normal,
        &[
            "k_euler_a",
            "euler_ancestral",
            "k_euler_ancestral",
            "euler ancestral",
            "eulerancestraldiscretescheduler",
        ],
    ),
    row(
        Sampler::Heun,
        "Heun",
        NoiseSchedule::Normal,
        &["k_heun", "heundiscretescheduler"],
    ),
    row(
        Sampler::Dpm2,
        "DPM2",
        NoiseSchedule::Karras,
        &["k_dpm_2", "kdpm_2", "dpm2", "kdpm2discretescheduler"],
    ),
    row(
        Sampler::Dpm2A,
        "DPM2 a",
        NoiseSchedule::Karras,
        &[
            "k_dpm_2_a",
            "kdpm_2_a",
            "dpm_2_ancestral",
            "k_dpm_2_ancestral",
            "kdpm2ancestraldiscretescheduler",
        ],
    ),
    row(
        Sampler::Dpmpp2sA,
        "DPM++ 2S a",
        NoiseSchedule::Karras,
        &[
            "k_dpmpp_2s_a",
            "dpmpp_2s_ancestral",
            "k_dpmpp_2s_ancestral",
            "dpm++2s_a",
        ],
    ),
    row(
        Sampler::Dpmpp2m,
        "DPM++ 2M",
        NoiseSchedule::Karras,
        &["k_dpmpp_2m", "dpm++2m", "dpmsolvermultistepscheduler"],
    ),
    row(
        Sampler::DpmppSde,
        "DPM++ SDE",
        NoiseSchedule::Karras,
        &["k_dpmpp_sde", "dpmpp_sde_gpu", "dpmsolversdescheduler"],
    ),
    row(
        Sampler::Dpmpp2mSde,
        "DPM++ 2M SDE",
        NoiseSchedule::Exponential,
        &["k_dpmpp_2m_sde", "dpmpp_2m_sde_gpu", "dpm++2m_sde"],
    ),
    row(
        Sampler::Dpmpp3mSde,
        "DPM++ 3M SDE",
        NoiseSchedule::Exponential,
        &["k_dpmpp_3m_sde", "dpmpp_3m_sde_gpu"],
    ),
    row(
        Sampler::Lms,
        "LMS",
        NoiseSchedule::Normal,
        &["k_lms", "lmsdiscretescheduler"],
    ),
    row(
        Sampler::Ddim,
        "DDIM",
        NoiseSchedule::DdimUniform,
        &["k_ddim", "ddimscheduler"],
    ),
    row(
        Sampler::Plms,
        "PLMS",
        NoiseSchedule::DdimUniform,
        &["pndm", "pndmscheduler"],
    ),
    row(
        Sampler::Unipc,
        "UniPC",
        NoiseSchedule::Normal,
        &["uni_pc", "uni pc", "unipcmultistepscheduler"],
    ),
    row(
        Sampler::Lcm,
        "LCM",
        NoiseSchedule::Normal,
        &["lcmscheduler"],
    ),
    row(
        Sampler::Ddpm,
        "DDPM",
        NoiseSchedule::Normal,
        &["ddpmscheduler"],
    ),
];

/// Labels of samplers that Hearth does not have, and the nearest it has.
const NEAREST: [(&str, Sampler); 7] = [
    ("dpm++ 2m sde heun", Sampler::Dpmpp2mSde),
    ("dpmpp_2m_sde_heun", Sampler::Dpmpp2mSde),
    ("dpmpp_2m_sde_heun_gpu", Sampler::Dpmpp2mSde),
    ("uni_pc_bh2", Sampler::Unipc),
    ("dpmpp_2s", Sampler::Dpmpp2sA),
    ("dpmpp_3m", Sampler::Dpmpp2m),
    ("dpmsolver", Sampler::Dpmpp2m),
];

/// Schedules: name, A1111's label, other names in lower case.
const SCHEDULES: [(NoiseSchedule, &str, &[&str]); 10] = [
    // A1111's Uniform is evenly spaced over timesteps; the native one of `NovelAI` as well.
    (
        NoiseSchedule::Normal,
        "Normal",
        &["uniform", "discrete", "native"],
    ),
    (NoiseSchedule::Karras, "Karras", &[]),
    // Polyexponential with A1111's rho of one is the same curve.
    (
        NoiseSchedule::Exponential,
        "Exponential",
        &["polyexponential"],
    ),
    (
        NoiseSchedule::SgmUniform,
        "SGM Uniform",
        &["sgmuniform", "trailing"],
    ),
    (NoiseSchedule::Simple, "Simple", &[]),
    (NoiseSchedule::Model, "Automatic", &[]),
    (NoiseSchedule::DdimUniform, "DDIM", &["ddim uniform"]),
    (NoiseSchedule::Beta, "Beta", &[]),
    (
        NoiseSchedule::AlignYourSteps,
        "Align Your Steps",
        &["ays", "align_your_steps_11", "align_your_steps_32"],
    ),
    (NoiseSchedule::KlOptimal, "KL Optimal", &[]),
];

/// Endings of a sampler's label that name a schedule.
const ENDINGS: [(&str, NoiseSchedule); 8] = [
    (" karras", NoiseSchedule::Karras),
    (" exponential", NoiseSchedule::Exponential),
    (" sgm uniform", NoiseSchedule::SgmUniform),
    (" trailing", NoiseSchedule::SgmUniform),
    ("_trailing", NoiseSchedule::SgmUniform),
    (" ays", NoiseSchedule::AlignYourSteps),
    ("_ays", NoiseSchedule::AlignYourSteps),
    ("_k", NoiseSchedule::Karras),
];

/// Draw Things' samplers in the order of its numbers; `TCD` and `Substep` have no counterpart.
const DRAW_THINGS: [Option<Label>; 20] = {
    const fn both(sampler: Sampler, schedule: NoiseSchedule) -> Label {
        Label {
            sampler,
            schedule: Some(schedule),
            exact: true,
        }
    }
    [
        Some(both(Sampler::Dpmpp2m, NoiseSchedule::Karras)),
        Some(both(Sampler::EulerA, NoiseSchedule::Normal)),
        Some(both(Sampler::Ddim, NoiseSchedule::DdimUniform)),
        Some(both(Sampler::Plms, NoiseSchedule::DdimUniform)),
        Some(both(Sampler::DpmppSde, NoiseSchedule::Karras)),
        Some(both(Sampler::Unipc, NoiseSchedule::Normal)),
        Some(both(Sampler::Lcm, NoiseSchedule::Normal)),
        None,
        None,
        None,
        Some(both(Sampler::EulerA, NoiseSchedule::SgmUniform)),
        Some(both(Sampler::DpmppSde, NoiseSchedule::SgmUniform)),
        Some(both(Sampler::Dpmpp2m, NoiseSchedule::AlignYourSteps)),
        Some(both(Sampler::EulerA, NoiseSchedule::AlignYourSteps)),
        Some(both(Sampler::DpmppSde, NoiseSchedule::AlignYourSteps)),
        Some(both(Sampler::Dpmpp2m, NoiseSchedule::SgmUniform)),
        Some(both(Sampler::Ddim, NoiseSchedule::SgmUniform)),
        Some(both(Sampler::Unipc, NoiseSchedule::SgmUniform)),
        Some(both(Sampler::Unipc, NoiseSchedule::AlignYourSteps)),
        None,
    ]
};

const fn row(
    name: Sampler,
    label: &'static str,
    automatic: NoiseSchedule,
    aliases: &'static [&'static str],
) -> Row {
    Row {
        name,
        label,
        automatic,
        aliases,
    }
}

/// What a sampler's label means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label {
    /// The sampler's name in `protocol::job`.
    pub sampler: Sampler,
    /// The schedule, where the label names one too.
    pub schedule: Option<NoiseSchedule>,
    /// Whether it is that sampler, and not just the nearest there is.
    pub exact: bool,
}

/// Reads the label of a sampler as A1111, `ComfyUI`, `InvokeAI`, AI Horde, Draw Things, `NovelAI` or
/// diffusers write it. Case does not matter.
pub fn sampler(label: &str) -> Option<Label> {
    let label = label.trim().to_lowercase();
    if let Some(sampler) = exact(&label) {
        return Some(Label {
            sampler,
            schedule: None,
            exact: true,
        });
    }
    if let Some((_, sampler)) = NEAREST.iter().find(|(name, _)| *name == label) {
        return Some(Label {
            sampler: *sampler,
            schedule: None,
            exact: false,
        });
    }
    ENDINGS.iter().find_map(|(ending, schedule)| {
        let inner = sampler(label.strip_suffix(ending)?)?;
        Some(Label {
            schedule: Some(*schedule),
            ..inner
        })
    })
}

fn exact(label: &str) -> Option<Sampler> {
    let is = |row: &&Row| {
        row.name.name() == label
            || row.label.to_lowercase() == label
            || row.aliases.contains(&label)
    };
    SAMPLERS.iter().find(is).map(|row| row.name)
}

/// Reads Draw Things' number for a sampler.
pub(super) fn draw_things(number: u64) -> Option<Label> {
    *DRAW_THINGS.get(usize::try_from(number).ok()?)?
}

/// Reads the label or name of a noise schedule. "Automatic" depends on the sampler and is not one.
pub fn schedule(label: &str) -> Option<NoiseSchedule> {
    let label = label.trim().to_lowercase();
    SCHEDULES
        .iter()
        .filter(|(name, ..)| *name != NoiseSchedule::Model)
        .find(|(name, shown, aliases)| {
            name.name() == label
                || shown.to_lowercase() == label
                || aliases.contains(&label.as_str())
        })
        .map(|(name, ..)| *name)
}

/// Returns the schedule that A1111 takes for "Automatic".
pub(super) fn automatic(sampler: Sampler) -> Option<NoiseSchedule> {
    let row = SAMPLERS.iter().find(|row| row.name == sampler)?;
    Some(row.automatic)
}

/// Returns A1111's label for a sampler.
pub fn sampler_label(name: Sampler) -> &'static str {
    let row = SAMPLERS.iter().find(|row| row.name == name);
    row.map_or_else(|| name.name(), |row| row.label)
}

/// Returns A1111's label for a schedule.
pub fn schedule_label(name: NoiseSchedule) -> &'static str {
    let row = SCHEDULES.iter().find(|(known, ..)| *known == name);
    row.map_or_else(|| name.name(), |(_, label, _)| label)
}

/// Ways of enlarging between two passes, with A1111's labels.
const UPSCALERS: [(Upscaler, &str); 4] = [
    (Upscaler::Latent, "Latent"),
    (Upscaler::LatentBicubic, "Latent (bicubic)"),
    (Upscaler::LatentNearest, "Latent (nearest)"),
    (Upscaler::Lanczos, "Lanczos"),
];

/// Reads A1111's label of an upscaler and tells whether it is exactly that one. All that work on
/// latents have a neighbour among the latent ones; for models that enlarge pixels it is Lanczos.
pub(super) fn upscaler(label: &str) -> (Upscaler, bool) {
    let exact = UPSCALERS.iter().find(|(_, known)| *known == label);
    if let Some((upscaler, _)) = exact {
        return (*upscaler, true);
    }
    let upscaler = match label {
        _ if !label.starts_with("Latent") => Upscaler::Lanczos,
        _ if label.contains("bicubic") => Upscaler::LatentBicubic,
        _ if label.contains("nearest") => Upscaler::LatentNearest,
        _ => Upscaler::Latent,
    };
    (upscaler, false)
}

/// Returns A1111's label for an upscaler.
pub(super) fn upscaler_label(name: Upscaler) -> &'static str {
    let row = UPSCALERS.iter().find(|(known, _)| *known == name);
    row.map_or_else(|| name.name(), |(_, label)| label)
}

/// What may lie under a mask at the start, with A1111's words.
const FILLS: [(MaskFill, &str); 4] = [
    (MaskFill::Fill, "fill"),
    (MaskFill::Original, "original"),
    (MaskFill::LatentNoise, "latent noise"),
    (MaskFill::LatentNothing, "latent nothing"),
];

/// Reads A1111's word for what lies under a mask.
pub(super) fn mask_fill(label: &str) -> Option<MaskFill> {
    let label = label.trim().to_lowercase();
    let found = FILLS.iter().find(|(_, known)| *known == label);
    found.map(|(fill, _)| *fill)
}

/// Returns A1111's word for what lies under a mask.
pub(super) fn mask_fill_label(fill: MaskFill) -> &'static str {
    let row = FILLS.iter().find(|(known, _)| *known == fill);
    row.map_or("", |(_, label)| label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e52_labels_of_other_programs_name_the_same_sampler() {
        let cases = [
            ("DPM++ 2M", Sampler::Dpmpp2m, None),
            (
                "DPM++ 2M Karras",
                Sampler::Dpmpp2m,
                Some(NoiseSchedule::Karras),
            ),
            (
                "dpmpp_2m_sde_k",
                Sampler::Dpmpp2mSde,
                Some(NoiseSchedule::Karras),
            ),
            ("k_dpmpp_2m", Sampler::Dpmpp2m, None),
            ("DPMSolverMultistepScheduler", Sampler::Dpmpp2m, None),
            ("euler_ancestral", Sampler::EulerA, None),
            (
                "Euler A AYS",
                Sampler::EulerA,
                Some(NoiseSchedule::AlignYourSteps),
            ),
            (
                "DPM++ SDE Trailing",
                Sampler::DpmppSde,
                Some(NoiseSchedule::SgmUniform),
            ),
            (
                "DPM++ 2M SDE Exponential",
                Sampler::Dpmpp2mSde,
                Some(NoiseSchedule::Exponential),
            ),
            ("k_lms", Sampler::Lms, None),
            ("DDIM", Sampler::Ddim, None),
            ("kdpm_2_a_k", Sampler::Dpm2A, Some(NoiseSchedule::Karras)),
        ];
        for (label, name, schedule) in cases {
            let expected = Label {
                sampler: name,
                schedule,
                exact: true,
            };
            assert_eq!(sampler(label), Some(expected), "{label}");
        }
        assert_eq!(sampler("uni_pc_bh2").map(|label| label.exact), Some(false));
        assert_eq!(sampler("Restart"), None);
    }

    #[test]
    fn every_label_leads_back_to_its_name() {
        for row in &SAMPLERS {
            assert_eq!(
                sampler(row.label).map(|label| label.sampler),
                Some(row.name)
            );
            assert_eq!(schedule(row.automatic.name()), Some(row.automatic));
            for alias in row.aliases {
                assert_eq!(*alias, alias.to_lowercase());
                assert_eq!(sampler(alias).map(|label| label.sampler), Some(row.name));
            }
        }
        for (name, label, _) in &SCHEDULES {
            let expected = (*name != NoiseSchedule::Model).then_some(*name);
            assert_eq!(schedule(label), expected, "{label}");
        }
    }

    #[test]
    fn the_tables_hold_every_name_once() {
        let known: Vec<_> = SAMPLERS.iter().map(|row| row.name).collect();
        assert_eq!(known, Sampler::ALL);
        for name in NoiseSchedule::ALL {
            assert_eq!(
                SCHEDULES.iter().filter(|(known, ..)| known == name).count(),
                1
            );
        }
        for name in Upscaler::ALL {
            assert_eq!(upscaler(upscaler_label(*name)), (*name, true));
        }
        for (fill, label) in FILLS {
            assert_eq!(mask_fill(label), Some(fill));
            assert_eq!(mask_fill_label(fill), label);
        }
        assert_eq!(upscaler("R-ESRGAN 4x+"), (Upscaler::Lanczos, false));
        assert_eq!(
            upscaler("Latent (nearest-exact)"),
            (Upscaler::LatentNearest, false)
        );
    }

    #[test]
    fn schedules_that_differ_in_name_only_are_one() {
        assert_eq!(schedule("Uniform"), Some(NoiseSchedule::Normal));
        assert_eq!(schedule("sgm_uniform"), Some(NoiseSchedule::SgmUniform));
        assert_eq!(schedule("KL Optimal"), Some(NoiseSchedule::KlOptimal));
        assert_eq!(schedule("Turbo"), None);
        assert_eq!(
            draw_things(12).map(|label| label.schedule),
            Some(Some(NoiseSchedule::AlignYourSteps))
        );
        assert_eq!(draw_things(200), None);
    }
}
