//! What other programs call samplers and noise schedules: one table, read both ways.
//!
//! Names are those of `protocol::job` (mostly those of `ComfyUI`). A label of another program may name a
//! schedule along with the sampler: A1111's old `DPM++ 2M Karras`, `InvokeAI`'s `_k`, Draw Things'
//! `AYS` and `Trailing`.

/// One sampler: its name, A1111's label, the schedule A1111 takes for "Automatic", and the names
/// of other programs in lower case.
struct Row {
    name: &'static str,
    label: &'static str,
    automatic: &'static str,
    aliases: &'static [&'static str],
}

const SAMPLERS: [Row; 16] = [
    row(
        "euler",
        "Euler",
        "normal",
        &["k_euler", "eulerdiscretescheduler"],
    ),
    row(
        "euler_a",
        "Euler a",
        "normal",
        &[
            "k_euler_a",
            "euler_ancestral",
            "k_euler_ancestral",
            "euler ancestral",
            "eulerancestraldiscretescheduler",
        ],
    ),
    row(
        "heun",
        "Heun",
        "normal",
        &["k_heun", "heundiscretescheduler"],
    ),
    row(
        "dpm_2",
        "DPM2",
        "karras",
        &["k_dpm_2", "kdpm_2", "dpm2", "kdpm2discretescheduler"],
    ),
    row(
        "dpm_2_a",
        "DPM2 a",
        "karras",
        &[
            "k_dpm_2_a",
            "kdpm_2_a",
            "dpm_2_ancestral",
            "k_dpm_2_ancestral",
            "kdpm2ancestraldiscretescheduler",
        ],
    ),
    row(
        "dpmpp_2s_a",
        "DPM++ 2S a",
        "karras",
        &[
            "k_dpmpp_2s_a",
            "dpmpp_2s_ancestral",
            "k_dpmpp_2s_ancestral",
            "dpm++2s_a",
        ],
    ),
    row(
        "dpmpp_2m",
        "DPM++ 2M",
        "karras",
        &["k_dpmpp_2m", "dpm++2m", "dpmsolvermultistepscheduler"],
    ),
    row(
        "dpmpp_sde",
        "DPM++ SDE",
        "karras",
        &["k_dpmpp_sde", "dpmpp_sde_gpu", "dpmsolversdescheduler"],
    ),
    row(
        "dpmpp_2m_sde",
        "DPM++ 2M SDE",
        "exponential",
        &["k_dpmpp_2m_sde", "dpmpp_2m_sde_gpu", "dpm++2m_sde"],
    ),
    row(
        "dpmpp_3m_sde",
        "DPM++ 3M SDE",
        "exponential",
        &["k_dpmpp_3m_sde", "dpmpp_3m_sde_gpu"],
    ),
    row("lms", "LMS", "normal", &["k_lms", "lmsdiscretescheduler"]),
    row("ddim", "DDIM", "ddim_uniform", &["k_ddim", "ddimscheduler"]),
    row("plms", "PLMS", "ddim_uniform", &["pndm", "pndmscheduler"]),
    row(
        "unipc",
        "UniPC",
        "normal",
        &["uni_pc", "uni pc", "unipcmultistepscheduler"],
    ),
    row("lcm", "LCM", "normal", &["lcmscheduler"]),
    row("ddpm", "DDPM", "normal", &["ddpmscheduler"]),
];

/// Labels of samplers that Hearth does not have, and the nearest it has.
const NEAREST: [(&str, &str); 7] = [
    ("dpm++ 2m sde heun", "dpmpp_2m_sde"),
    ("dpmpp_2m_sde_heun", "dpmpp_2m_sde"),
    ("dpmpp_2m_sde_heun_gpu", "dpmpp_2m_sde"),
    ("uni_pc_bh2", "unipc"),
    ("dpmpp_2s", "dpmpp_2s_a"),
    ("dpmpp_3m", "dpmpp_2m"),
    ("dpmsolver", "dpmpp_2m"),
];

/// Schedules: name, A1111's label, other names in lower case.
const SCHEDULES: [(&str, &str, &[&str]); 10] = [
    // A1111's Uniform is evenly spaced over timesteps; the native one of `NovelAI` as well.
    ("normal", "Normal", &["uniform", "discrete", "native"]),
    ("karras", "Karras", &[]),
    // Polyexponential with A1111's rho of one is the same curve.
    ("exponential", "Exponential", &["polyexponential"]),
    ("sgm_uniform", "SGM Uniform", &["sgmuniform", "trailing"]),
    ("simple", "Simple", &[]),
    ("model", "Automatic", &[]),
    ("ddim_uniform", "DDIM", &["ddim uniform"]),
    ("beta", "Beta", &[]),
    (
        "align_your_steps",
        "Align Your Steps",
        &["ays", "align_your_steps_11", "align_your_steps_32"],
    ),
    ("kl_optimal", "KL Optimal", &[]),
];

/// Endings of a sampler's label that name a schedule.
const ENDINGS: [(&str, &str); 8] = [
    (" karras", "karras"),
    (" exponential", "exponential"),
    (" sgm uniform", "sgm_uniform"),
    (" trailing", "sgm_uniform"),
    ("_trailing", "sgm_uniform"),
    (" ays", "align_your_steps"),
    ("_ays", "align_your_steps"),
    ("_k", "karras"),
];

/// Draw Things' samplers in the order of its numbers; `TCD` and `Substep` have no counterpart.
const DRAW_THINGS: [Option<Label>; 20] = {
    const fn both(sampler: &'static str, schedule: &'static str) -> Label {
        Label {
            sampler,
            schedule: Some(schedule),
            exact: true,
        }
    }
    [
        Some(both("dpmpp_2m", "karras")),
        Some(both("euler_a", "normal")),
        Some(both("ddim", "ddim_uniform")),
        Some(both("plms", "ddim_uniform")),
        Some(both("dpmpp_sde", "karras")),
        Some(both("unipc", "normal")),
        Some(both("lcm", "normal")),
        None,
        None,
        None,
        Some(both("euler_a", "sgm_uniform")),
        Some(both("dpmpp_sde", "sgm_uniform")),
        Some(both("dpmpp_2m", "align_your_steps")),
        Some(both("euler_a", "align_your_steps")),
        Some(both("dpmpp_sde", "align_your_steps")),
        Some(both("dpmpp_2m", "sgm_uniform")),
        Some(both("ddim", "sgm_uniform")),
        Some(both("unipc", "sgm_uniform")),
        Some(both("unipc", "align_your_steps")),
        None,
    ]
};

const fn row(
    name: &'static str,
    label: &'static str,
    automatic: &'static str,
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
    pub sampler: &'static str,
    /// The schedule, where the label names one too.
    pub schedule: Option<&'static str>,
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
            sampler,
            schedule: None,
            exact: false,
        });
    }
    ENDINGS.iter().find_map(|(ending, schedule)| {
        let inner = sampler(label.strip_suffix(ending)?)?;
        Some(Label {
            schedule: Some(schedule),
            ..inner
        })
    })
}

fn exact(label: &str) -> Option<&'static str> {
    let is = |row: &&Row| {
        row.name == label || row.label.to_lowercase() == label || row.aliases.contains(&label)
    };
    SAMPLERS.iter().find(is).map(|row| row.name)
}

/// Reads Draw Things' number for a sampler.
pub(super) fn draw_things(number: u64) -> Option<Label> {
    *DRAW_THINGS.get(usize::try_from(number).ok()?)?
}

/// Reads the label or name of a noise schedule. "Automatic" depends on the sampler and is not one.
pub fn schedule(label: &str) -> Option<&'static str> {
    let label = label.trim().to_lowercase();
    SCHEDULES
        .iter()
        .filter(|(name, ..)| *name != "model")
        .find(|(name, shown, aliases)| {
            *name == label || shown.to_lowercase() == label || aliases.contains(&label.as_str())
        })
        .map(|(name, ..)| *name)
}

/// Returns the schedule that A1111 takes for "Automatic".
pub(super) fn automatic(sampler: &str) -> Option<&'static str> {
    let row = SAMPLERS.iter().find(|row| row.name == sampler)?;
    Some(row.automatic)
}

/// Returns A1111's label for a sampler's name; the name itself where there is none.
pub fn sampler_label(name: &str) -> &str {
    let row = SAMPLERS.iter().find(|row| row.name == name);
    row.map_or(name, |row| row.label)
}

/// Returns A1111's label for a schedule's name; the name itself where there is none.
pub fn schedule_label(name: &str) -> &str {
    let row = SCHEDULES.iter().find(|(known, ..)| *known == name);
    row.map_or(name, |(_, label, _)| label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e52_labels_of_other_programs_name_the_same_sampler() {
        let cases = [
            ("DPM++ 2M", "dpmpp_2m", None),
            ("DPM++ 2M Karras", "dpmpp_2m", Some("karras")),
            ("dpmpp_2m_sde_k", "dpmpp_2m_sde", Some("karras")),
            ("k_dpmpp_2m", "dpmpp_2m", None),
            ("DPMSolverMultistepScheduler", "dpmpp_2m", None),
            ("euler_ancestral", "euler_a", None),
            ("Euler A AYS", "euler_a", Some("align_your_steps")),
            ("DPM++ SDE Trailing", "dpmpp_sde", Some("sgm_uniform")),
            (
                "DPM++ 2M SDE Exponential",
                "dpmpp_2m_sde",
                Some("exponential"),
            ),
            ("k_lms", "lms", None),
            ("DDIM", "ddim", None),
            ("kdpm_2_a_k", "dpm_2_a", Some("karras")),
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
            assert!(schedule(row.automatic).is_some(), "{}", row.automatic);
            for alias in row.aliases {
                assert_eq!(*alias, alias.to_lowercase());
                assert_eq!(sampler(alias).map(|label| label.sampler), Some(row.name));
            }
        }
        for (name, label, _) in &SCHEDULES {
            let expected = (*name != "model").then_some(*name);
            assert_eq!(schedule(label), expected, "{label}");
        }
    }

    #[test]
    fn schedules_that_differ_in_name_only_are_one() {
        assert_eq!(schedule("Uniform"), Some("normal"));
        assert_eq!(schedule("sgm_uniform"), Some("sgm_uniform"));
        assert_eq!(schedule("KL Optimal"), Some("kl_optimal"));
        assert_eq!(schedule("Turbo"), None);
        assert_eq!(
            draw_things(12).map(|label| label.schedule),
            Some(Some("align_your_steps"))
        );
        assert_eq!(draw_things(200), None);
    }
}
