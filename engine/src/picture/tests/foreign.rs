//! Files that Pillow and piexif wrote as other programs do, read back into jobs.

use std::path::PathBuf;

use hearth_protocol::job::{Compat, NoiseSchedule, Rng, Sampler, Upscaler};

use super::super::*;

pub(super) fn vector(name: &str) -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    root.join("../specs/vectors/pictures").join(name)
}

fn read(name: &str, source: Source) -> Recovered {
    let info = info(&vector(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(info.source, source, "{name}");
    assert_eq!((info.width, info.height), (24, 16), "{name}");
    info.request
}

fn warnings(recovered: &Recovered) -> Vec<String> {
    recovered.warnings.iter().map(ToString::to_string).collect()
}

fn named(name: &str, hash: Option<&str>) -> Mention {
    Mention {
        name: Some(name.to_owned()),
        hash: hash.map(str::to_owned),
    }
}

fn lora(name: &str, hash: Option<&str>, unet: f64, text: f64) -> LoraMention {
    LoraMention {
        name: name.to_owned(),
        hash: hash.map(str::to_owned),
        unet,
        text,
    }
}

#[test]
fn e52_a1111_in_every_format() {
    let expected = Settings {
        prompt: "portrait of a (red fox:1.2), \"quoted\", forest\nsecond line".to_owned(),
        negative: "EasyNegative, blurry\nworst quality".to_owned(),
        steps: Some(25),
        sampler: Some(Sampler::Dpmpp2m),
        schedule: Some(NoiseSchedule::Karras),
        discard_penultimate: false,
        guidance: Some(6.5),
        seed: Some(1_234_567_890),
        size: Some((512, 768)),
        model: Some(named("v1-5-pruned-emaonly", Some("6ce0161689"))),
        vae: Some(named(
            "vae-ft-mse-840000-ema-pruned.safetensors",
            Some("735e4c3a44"),
        )),
        loras: vec![lora("add_detail", Some("7c6bad76eb54"), 0.8, 0.8)],
        embeddings: vec![named("EasyNegative", Some("c74b4e810b03"))],
        variation: Some(Variation {
            seed: 99,
            strength: 0.1,
        }),
        denoise: Some(0.55),
        clip_skip: Some(2),
        noise_seed_delta: Some(31_337),
        rng: Some(Rng::Nv),
        tiling: false,
        hires: Some(Hires {
            scale: Some(1.5),
            size: None,
            steps: Some(12),
            upscaler: Some(Upscaler::LatentBicubic),
        }),
        inpaint: None,
    };
    for name in ["a1111.png", "a1111.jpg", "a1111_lossless.webp"] {
        let recovered = read(name, Source::A1111);
        assert_eq!(recovered.settings, expected, "{name}");
        assert_eq!(recovered.compat, Some(Compat::A1111));
        let left = ["ADetailer model 'face_yolov8n.pt' has no counterpart here and was left out"];
        assert_eq!(warnings(&recovered), left, "{name}");
    }
}

#[test]
fn e52_older_and_other_scripts_of_a1111() {
    let old = read("a1111_old_ztxt.png", Source::A1111).settings;
    assert_eq!(old.prompt, "a castle, größe");
    assert_eq!(
        (old.sampler, old.schedule),
        (Some(Sampler::Dpmpp2m), Some(NoiseSchedule::Karras))
    );
    assert_eq!(old.model, Some(named("sd-v1-4", Some("81761151"))));
    for name in ["a1111_cjk.png", "a1111_cjk.webp"] {
        let settings = read(name, Source::A1111).settings;
        assert_eq!(settings.prompt, "桜の木、昼", "{name}");
        assert_eq!(
            (settings.sampler, settings.schedule),
            (Some(Sampler::EulerA), Some(NoiseSchedule::Normal))
        );
        assert_eq!(settings.rng, Some(Rng::TorchCpu));
    }
}

#[test]
fn e56_comfys_default_graph() {
    for name in ["comfy_default.png", "comfy_default.webp"] {
        let recovered = read(name, Source::Comfy);
        let settings = recovered.settings.clone();
        assert_eq!(warnings(&recovered), [""; 0], "{name}");
        assert_eq!(recovered.compat, Some(Compat::Comfy));
        let expected = Settings {
            prompt: "beautiful scenery nature glass bottle landscape, embedding:glass:1.2"
                .to_owned(),
            negative: "text, watermark".to_owned(),
            steps: Some(20),
            sampler: Some(Sampler::Euler),
            schedule: Some(NoiseSchedule::Normal),
            guidance: Some(8.0),
            seed: Some(156_680_208_700_286),
            size: Some((512, 512)),
            model: Some(named("v1-5-pruned-emaonly", None)),
            embeddings: vec![Mention::named("glass")],
            rng: Some(Rng::TorchCpu),
            ..Settings::default()
        };
        assert_eq!(settings, expected, "{name}");
    }
}

#[test]
fn e56_a_comfy_graph_with_adapters_and_detours() {
    let recovered = read("comfy_loras.png", Source::Comfy);
    let settings = &recovered.settings;
    assert_eq!(settings.prompt, "a knight AND in snow");
    assert_eq!(settings.negative, "ugly");
    assert_eq!(settings.seed, Some(77));
    assert_eq!(settings.clip_skip, Some(2));
    assert_eq!(
        (settings.sampler, settings.schedule),
        (Some(Sampler::Dpmpp2mSde), Some(NoiseSchedule::Karras))
    );
    assert_eq!(settings.vae, Some(named("vae-ft-mse", None)));
    let loras = [lora("one", None, 0.8, 0.6), lora("two", None, -0.5, 0.0)];
    assert_eq!(settings.loras, loras);
    let expected = [
        "node 12 (ModelSamplingDiscrete) was passed over: it changes the model",
        "node 14 (ControlNetApply) was passed over: it changes the conditioning",
    ];
    assert_eq!(warnings(&recovered), expected);
}

#[test]
fn e56_two_passes_are_hires() {
    let settings = read("comfy_two_passes.png", Source::Comfy).settings;
    assert_eq!(
        (settings.steps, settings.seed),
        (Some(20), Some(156_680_208_700_286))
    );
    assert_eq!(settings.denoise, Some(0.5));
    assert_eq!(settings.size, Some((512, 512)));
    let hires = Hires {
        scale: Some(1.5),
        size: None,
        steps: Some(14),
        upscaler: Some(Upscaler::LatentBicubic),
    };
    assert_eq!(settings.hires, Some(hires));
}

#[test]
fn e56_sdxl_with_a_refiner_gives_the_base() {
    let recovered = read("comfy_sdxl.png", Source::Comfy);
    let settings = &recovered.settings;
    assert_eq!(settings.prompt, "evening sunset scenery");
    assert_eq!(settings.model, Some(named("sd_xl_base_1.0", None)));
    assert_eq!(
        (settings.steps, settings.size),
        (Some(25), Some((1024, 1024)))
    );
    assert_eq!(settings.seed, Some(721_897_303_308_196));
    let expected = [
        "node 11 (KSamplerAdvanced) was passed over: a second sampler goes on where the first ends",
    ];
    assert_eq!(warnings(&recovered), expected);
}

#[test]
fn e56_custom_samplers_are_put_together_from_their_parts() {
    let recovered = read("comfy_custom.png", Source::Comfy);
    let settings = &recovered.settings;
    assert_eq!(
        (settings.prompt.as_str(), settings.seed),
        ("a boat", Some(42))
    );
    assert_eq!((settings.guidance, settings.steps), (Some(3.5), Some(9)));
    assert_eq!(
        (settings.sampler, settings.schedule),
        (Some(Sampler::Unipc), Some(NoiseSchedule::Beta))
    );
    assert_eq!(settings.denoise, Some(0.6));
    let expected = [
        "it was made from another picture, which this file does not hold: start.png",
        "sampler 'uni_pc_bh2' was taken as unipc, the nearest there is",
    ];
    assert_eq!(warnings(&recovered), expected);
}

#[test]
fn e56_a_graph_may_be_a_circle() {
    let graph = r#"{
        "1": {"class_type": "KSampler", "inputs": {"model": ["2", 0], "positive": ["3", 0],
              "negative": ["3", 0], "latent_image": ["4", 0], "seed": ["5", 0]}},
        "2": {"class_type": "LoraLoader", "inputs": {"lora_name": "x", "model": ["2", 0]}},
        "3": {"class_type": "ConditioningCombine",
              "inputs": {"conditioning_1": ["3", 0], "conditioning_2": ["3", 0]}},
        "4": {"class_type": "LatentUpscaleBy", "inputs": {"samples": ["1", 0]}},
        "5": {"class_type": "PrimitiveInt", "inputs": {"value": ["5", 0]}}}"#;
    let recovered = comfy::read(graph).unwrap();
    assert_eq!(recovered.settings.seed, None);
    assert_eq!(recovered.settings.prompt, "");
}

#[test]
fn e57_invoke_of_three_ages() {
    let new = read("invoke.png", Source::Invoke);
    let settings = &new.settings;
    assert_eq!(
        (settings.prompt.as_str(), settings.negative.as_str()),
        ("landscape", "low quality")
    );
    assert_eq!(
        (settings.sampler, settings.schedule),
        (Some(Sampler::Dpmpp2mSde), Some(NoiseSchedule::Karras))
    );
    assert_eq!(settings.model, Some(named("dreamshaper-8", Some("7b0a1c"))));
    assert_eq!(settings.loras, [lora("ink", Some("99ff"), 0.75, 0.75)]);
    assert_eq!(
        (settings.clip_skip, settings.rng),
        (Some(2), Some(Rng::TorchCpu))
    );
    assert_eq!(settings.size, Some((768, 432)));
    assert_eq!(warnings(&new), [""; 0]);
    for name in ["invoke_old.png", "invoke_dream.png"] {
        let old = read(name, Source::Invoke).settings;
        assert_eq!(old.prompt, "mountains with a lake", "{name}");
        assert_eq!(old.negative, "fog, people");
        assert_eq!(
            (old.sampler, old.steps, old.guidance),
            (Some(Sampler::EulerA), Some(50), Some(12.0))
        );
        assert_eq!(
            (old.seed, old.size),
            (Some(2_502_935_700), Some((512, 768)))
        );
    }
}

#[test]
fn e57_draw_things_in_xmp_and_in_exif() {
    for name in ["draw_things.png", "draw_things.jpg"] {
        let recovered = read(name, Source::DrawThings);
        let settings = &recovered.settings;
        assert_eq!(settings.prompt, "a fox & <a> \"hen\"", "{name}");
        let labels = (settings.sampler, settings.schedule);
        assert_eq!(
            labels,
            (Some(Sampler::Dpmpp2m), Some(NoiseSchedule::AlignYourSteps))
        );
        assert_eq!((settings.clip_skip, settings.denoise), (Some(2), None));
        assert_eq!(
            (settings.rng, settings.size),
            (Some(Rng::Nv), Some((1024, 1024)))
        );
        assert_eq!(
            settings.loras,
            [lora("add_detail_lora_f16.ckpt", None, 0.7, 0.7)]
        );
        let left = warnings(&recovered);
        assert_eq!(left.len(), 1, "{left:?}");
        assert!(left[0].starts_with("refiner '"), "{left:?}");
    }
}

#[test]
fn e57_novelai_and_fooocus() {
    let recovered = read("novelai.png", Source::NovelAi);
    let settings = &recovered.settings;
    assert_eq!(
        (settings.prompt.as_str(), settings.negative.as_str()),
        ("1girl, rain", "lowres")
    );
    assert_eq!(
        (settings.sampler, settings.schedule),
        (Some(Sampler::EulerA), Some(NoiseSchedule::Karras))
    );
    assert_eq!(
        (settings.clip_skip, settings.noise_seed_delta),
        (Some(2), Some(31_337))
    );
    let left = ["character prompt 'girl, umbrella' has no counterpart here and was left out"];
    assert_eq!(warnings(&recovered), left);

    let settings = read("fooocus.png", Source::Fooocus).settings;
    assert_eq!(settings.prompt, "a car");
    assert_eq!(
        (settings.seed, settings.size),
        (Some(17), Some((1152, 896)))
    );
    assert_eq!(
        settings.model,
        Some(named("juggernautXL_v8Rundiffusion", Some("aeb7e9e689")))
    );
    let offset = lora(
        "sd_xl_offset_example-lora_1.0",
        Some("4852686128"),
        0.1,
        0.1,
    );
    assert_eq!(settings.loras, [offset]);
}

#[test]
fn a_picture_that_tells_nothing_says_so() {
    let info = info(&vector("plain.png")).unwrap();
    assert_eq!(info.source, Source::None);
    assert_eq!(info.request, Recovered::default());
    assert_eq!(info.texts.len(), 1);
    let json = serde_json::to_value(&info).unwrap();
    assert_eq!(json["format"], "png");
    assert_eq!(json["request"]["prompt"], "");
    assert_eq!(
        info.to_string(),
        "file       PNG, 24x16\nmade by    nothing known\n"
    );
}

#[test]
fn text_of_no_fields_is_a_prompt() {
    let settings = a1111::read("just words\nSteps: 3, Size: 4").settings;
    assert_eq!(settings.prompt, "just words\nSteps: 3, Size: 4");
    assert_eq!(settings.rng, None);
}
