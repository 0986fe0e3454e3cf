//! Levels that other programs print, and the rules of `specs/engine.md` about plans.

use super::*;

fn request(schedule: NoiseSchedule, compat: Compat, steps: usize) -> PlanRequest {
    PlanRequest {
        sampler: Sampler::Euler,
        schedule,
        compat,
        steps,
        discard_penultimate: false,
        strength: None,
        aligned: Aligned::Sd1,
    }
}

fn table() -> NoiseTable {
    NoiseTable::new(&ScheduleConfig::default()).unwrap()
}

#[test]
fn e31_ten_steps_lie_where_the_other_programs_put_them() {
    let published = "
        karras 14.6146 9.1029 5.4784 3.1686 1.7494 .9141 .4469 .2014 .0819 .0292
        exponential 14.6146 7.3249 3.6712 1.8400 .9222 .4622 .2317 .1161 .0582 .0292
        normal 14.6146 7.8399 4.6092 2.9183 1.9502 1.3449 .9324 .6250 .3687 .0292
        sgm_uniform 14.6146 8.3072 5.0924 3.3251 2.2797 1.6156 1.1629 .8319 .5712 .3437
        simple 14.6146 8.3028 5.0878 3.3211 2.2765 1.6129 1.1606 .8299 .5693 .3417
        ddim_uniform 8.3907 5.1344 3.3478 2.2929 1.6237 1.1682 .8357 .5741 .3462 .0413
        beta 14.6146 11.5428 7.3718 4.3728 2.6152 1.6183 1.0273 .6549 .3955 .1991
        align_your_steps 14.615 6.475 3.861 2.697 1.886 1.396 .963 .652 .399 .152";
    for line in published.trim().lines() {
        let mut words = line.split_whitespace();
        let schedule = words.next().unwrap().parse().unwrap();
        let plan = table().plan(&request(schedule, Compat::Comfy, 10));
        let want = words.map(|word| word.parse::<f64>().unwrap()).chain([0.0]);
        assert_eq!(plan.sigmas.len(), 11, "{schedule}");
        for (got, want) in plan.sigmas.iter().zip(want) {
            assert!((got - want).abs() < 1e-4, "{schedule}: {got} {want}");
        }
    }
}

#[test]
fn e31_a_plan_of_any_length_falls_and_is_finite() {
    // One of each family, and those with timesteps or ends of their own.
    let samplers = [
        Sampler::Euler,
        Sampler::Dpm2,
        Sampler::Ddim,
        Sampler::Unipc,
        Sampler::Lcm,
    ];
    for schedule in NoiseSchedule::ALL {
        for compat in Compat::ALL {
            for sampler in samplers {
                for steps in [1, 2, 3, 50, 1000] {
                    let request = PlanRequest {
                        sampler,
                        ..request(*schedule, *compat, steps)
                    };
                    let plan = table().plan(&request);
                    let what = format!("{schedule} {compat} {sampler} {steps}");
                    assert!((1..=steps).contains(&plan.steps()), "{what}");
                    assert_eq!(plan.sigmas.len(), plan.steps() + 1, "{what}");
                    assert!(
                        plan.sigmas.windows(2).all(|pair| pair[0] > pair[1]),
                        "{what}"
                    );
                    assert!(
                        plan.timesteps.iter().all(|t| (0.0..=999.0).contains(t)),
                        "{what}"
                    );
                    assert!(
                        plan.noise_scale.is_finite() && plan.end_scale <= 1.0,
                        "{what}"
                    );
                }
            }
        }
    }
}

#[test]
fn e31_one_step_begins_at_the_highest_level() {
    for schedule in NoiseSchedule::ALL {
        let plan = table().plan(&request(*schedule, Compat::Diffusers, 1));
        let lowest = *schedule == NoiseSchedule::DdimUniform;
        let want = if lowest { 0.0413 } else { 14.6146 };
        assert!(
            (plan.sigmas[0] - want).abs() < 1e-3,
            "{schedule}: {:?}",
            plan.sigmas
        );
    }
}

#[test]
fn e31_published_levels_are_the_models_own_and_log_linear_between() {
    let sdxl = PlanRequest {
        aligned: Aligned::Sdxl,
        ..request(NoiseSchedule::AlignYourSteps, Compat::A1111, 21)
    };
    let sigmas = table().plan(&sdxl).sigmas;
    assert!((sigmas[2] - 6.315).abs() < 1e-9 && (sigmas[20] - 0.029).abs() < 1e-9);
    assert!((sigmas[1] - (14.615_f64 * 6.315).sqrt()).abs() < 1e-9);
}

#[test]
fn e31_the_penultimate_level_is_left_out_where_asked_or_always_done() {
    let longer = table().plan(&request(NoiseSchedule::Karras, Compat::A1111, 8));
    let asked = PlanRequest {
        discard_penultimate: true,
        ..request(NoiseSchedule::Karras, Compat::A1111, 7)
    };
    let by_itself = PlanRequest {
        sampler: Sampler::Dpm2,
        ..request(NoiseSchedule::Karras, Compat::A1111, 7)
    };
    for request in [asked, by_itself] {
        let plan = table().plan(&request);
        assert_eq!(plan.sigmas[..7], longer.sigmas[..7]);
        assert_eq!(plan.sigmas[7..], [0.0]);
    }
}

#[test]
fn e39_a_picture_to_begin_with_saves_steps_as_each_program_counts() {
    let plan = |compat, strength| {
        table().plan(&PlanRequest {
            strength: Some(strength),
            ..request(NoiseSchedule::Karras, compat, 20)
        })
    };
    for (strength, millionths) in [(0.0, 0), (0.3, 300_000), (0.75, 750_000), (1.0, 1_000_000)] {
        for compat in Compat::ALL {
            let steps = plan(*compat, strength).steps();
            let counted = compat.steps_of(20, millionths);
            assert_eq!(
                steps,
                usize::try_from(counted).unwrap(),
                "{compat} {strength}"
            );
        }
    }
    let whole = table().plan(&request(NoiseSchedule::Karras, Compat::A1111, 20));
    let cut = plan(Compat::A1111, 0.75);
    assert_eq!(cut.sigmas, whole.sigmas[4..]);
    assert_eq!((cut.noise_scale, cut.span), (cut.sigmas[0], whole.span));
    // ComfyUI lays out 40 steps for half the strength and takes the last 20.
    let longer = table().plan(&request(NoiseSchedule::Karras, Compat::Comfy, 40));
    assert_eq!(plan(Compat::Comfy, 0.5).sigmas, longer.sigmas[20..]);
    assert_eq!(plan(Compat::Comfy, 1e-6).steps(), 20);
}

#[test]
fn e31_first_noise_is_scaled_as_each_program_does() {
    let scale = |sampler, schedule, compat, spacing: &str| {
        let config = ScheduleConfig {
            timestep_spacing: spacing.to_owned(),
            ..ScheduleConfig::default()
        };
        let request = PlanRequest {
            sampler,
            ..request(schedule, compat, 10)
        };
        let plan = NoiseTable::new(&config).unwrap().plan(&request);
        (plan.noise_scale.powi(2) - plan.sigmas[0].powi(2)).round()
    };
    let karras = NoiseSchedule::Karras;
    let model = NoiseSchedule::Model;
    assert_eq!(scale(Sampler::Euler, karras, Compat::A1111, "leading"), 0.0);
    assert_eq!(scale(Sampler::Ddim, model, Compat::A1111, "leading"), 1.0);
    assert_eq!(
        scale(Sampler::Euler, karras, Compat::Comfy, "linspace"),
        1.0
    );
    assert_eq!(
        scale(Sampler::Euler, model, Compat::Diffusers, "trailing"),
        0.0
    );
    assert_eq!(
        scale(Sampler::Euler, model, Compat::Diffusers, "leading"),
        1.0
    );
    assert_eq!(
        scale(Sampler::Dpmpp2m, model, Compat::Diffusers, "trailing"),
        1.0
    );
}
