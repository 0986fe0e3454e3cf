//! Runs: the same seed gives the same bytes, a cancelled run stops, adapters that do not fit say so.

use std::collections::BTreeMap;
use std::fs;
use std::sync::mpsc::channel;

use hearth_engine::tiny::{Layout, write_checkpoint, write_lora_as};
use hearth_engine::{
    AdapterError, Cancel, Engine, LoadError, PrecisionChoice, Progress, RunError, ServeOptions,
    Silent, Warning, picture, run,
};
use hearth_protocol::job::{Compat, JobSpec, Latents, Micro, NoiseSchedule, Phase, Preview, Rng};

use crate::material::{Models, WEIGHTS_SEED, lora, spec};

fn png(models: &Models, spec: &JobSpec) -> Vec<u8> {
    let assets = models.assets(spec.loras.len());
    run(spec, &assets, &mut Silent, &Cancel::default())
        .unwrap()
        .files
        .remove(0)
        .bytes
}

fn texts(png: &[u8]) -> BTreeMap<String, String> {
    let reader = png::Decoder::new(std::io::Cursor::new(png))
        .read_info()
        .unwrap();
    let info = reader.info();
    let plain = info
        .uncompressed_latin1_text
        .iter()
        .map(|t| (t.keyword.clone(), t.text.clone()));
    let wide = info
        .utf8_text
        .iter()
        .map(|t| (t.keyword.clone(), t.get_text().unwrap()));
    plain.chain(wide).collect()
}

fn failure(models: &Models, spec: &JobSpec) -> RunError {
    let assets = models.assets(spec.loras.len());
    run(spec, &assets, &mut Silent, &Cancel::default()).unwrap_err()
}

#[test]
fn e80_half_precision_draws_nearly_the_same_picture() {
    let models = Models::new(Layout::Classic);
    let half = ServeOptions {
        precision: PrecisionChoice::Half,
        ..ServeOptions::default()
    };
    let output = Engine::on(half)
        .unwrap()
        .run(&spec(), &models.assets(0), &mut Silent, &Cancel::default())
        .unwrap();
    let pixels = |png: &[u8]| picture::decode(png).unwrap().picture.into_rgb();
    let (full, half) = (
        pixels(&png(&models, &spec())),
        pixels(&output.files[0].bytes),
    );
    let off: u32 = full
        .iter()
        .zip(&half)
        .map(|(a, b)| u32::from(a.abs_diff(*b)))
        .sum();
    let mean = f64::from(off) / full.len() as f64;
    assert!(mean < 3.0, "the mean difference is {mean} of 255");
}

#[test]
fn same_seed_gives_the_same_bytes() {
    let models = Models::new(Layout::Classic);
    let first = png(&models, &spec());
    assert_eq!(first, png(&models, &spec()));
    assert_ne!(first, png(&models, &JobSpec { seed: 43, ..spec() }));
    assert_ne!(
        first,
        png(
            &models,
            &JobSpec {
                rng: Rng::Nv,
                ..spec()
            }
        )
    );
}

#[test]
fn warm_engine_gives_what_a_cold_one_gives() {
    let models = Models::new(Layout::Classic);
    let with_lora = JobSpec {
        loras: vec![lora(1_000_000, 1_000_000)],
        ..spec()
    };
    let mut engine = Engine::default();
    for spec in [spec(), spec(), with_lora, spec()] {
        let assets = models.assets(spec.loras.len());
        let output = engine
            .run(&spec, &assets, &mut Silent, &Cancel::default())
            .unwrap();
        assert_eq!(output.files[0].bytes, png(&models, &spec));
    }
}

#[test]
fn tiny_models_depend_on_their_seed_alone() {
    let (a, b) = (Models::new(Layout::Classic), Models::new(Layout::Classic));
    let other = tempfile::tempdir().unwrap();
    write_checkpoint(other.path(), WEIGHTS_SEED + 1).unwrap();
    let unet = "unet/diffusion_pytorch_model.safetensors";
    let read = |models: &Models| fs::read(models.path("model").join(unet)).unwrap();
    assert_eq!(read(&a), read(&b));
    assert_ne!(read(&a), fs::read(other.path().join(unet)).unwrap());
}

#[test]
fn prompt_weight_and_guidance_matter() {
    let models = Models::new(Layout::Classic);
    let base = png(&models, &spec());
    let changes = [
        JobSpec {
            prompt: "a blue square".to_owned(),
            ..spec()
        },
        JobSpec {
            negative: "red".to_owned(),
            ..spec()
        },
        JobSpec {
            guidance: Micro::ONE,
            ..spec()
        },
        JobSpec {
            schedule: NoiseSchedule::Normal,
            ..spec()
        },
        JobSpec {
            loras: vec![lora(500_000, 0)],
            ..spec()
        },
        JobSpec {
            loras: vec![lora(0, 500_000)],
            ..spec()
        },
        JobSpec {
            compat: Compat::Comfy,
            ..spec()
        },
    ];
    for change in changes {
        assert_ne!(base, png(&models, &change), "{change:?}");
    }
}

#[test]
fn long_prompt_is_read_in_windows_or_cut_with_a_warning() {
    let models = Models::new(Layout::Classic);
    let long = JobSpec {
        prompt: "red circle, ".repeat(40),
        ..spec()
    };
    let cut = JobSpec {
        compat: Compat::Diffusers,
        ..long.clone()
    };
    let assets = models.assets(0);
    let warnings = |spec: &JobSpec| {
        run(spec, &assets, &mut Silent, &Cancel::default())
            .unwrap()
            .warnings
    };
    assert_eq!(warnings(&long), []);
    assert_eq!(warnings(&cut), [Warning::PromptCut { dropped: 120 - 75 }]);
}

/// Cancels when a step is reached.
struct CancelAt(u32, Cancel, Vec<Phase>);

impl Progress for CancelAt {
    fn phase(&mut self, phase: Phase, _: Option<Preview>) {
        if matches!(phase, Phase::Denoising { step, .. } if step == self.0) {
            self.1.cancel();
        }
        self.2.push(phase);
    }
}

#[test]
fn e75_cancelled_run_stops_within_one_evaluation() {
    let models = Models::new(Layout::Classic);
    let cancel = Cancel::default();
    let mut progress = CancelAt(3, cancel.clone(), Vec::new());
    let spec = JobSpec {
        steps: 50,
        ..spec()
    };
    let error = run(&spec, &models.assets(0), &mut progress, &cancel).unwrap_err();
    assert!(
        matches!(error, RunError::Cancelled { evaluations: 3 }),
        "{error}"
    );
    assert_eq!(
        progress.2.last(),
        Some(&Phase::Denoising { step: 3, steps: 50 })
    );
}

#[test]
fn e75_run_is_cancelled_from_another_thread() {
    let models = Models::new(Layout::Classic);
    let (started, wait) = channel();
    struct Tell(std::sync::mpsc::Sender<()>);
    impl Progress for Tell {
        fn phase(&mut self, phase: Phase, _: Option<Preview>) {
            if matches!(phase, Phase::Denoising { step: 1, .. }) {
                self.0.send(()).unwrap();
            }
        }
    }
    let cancel = Cancel::default();
    let remote = cancel.clone();
    let stopper = std::thread::spawn(move || {
        wait.recv().unwrap();
        remote.cancel();
    });
    let spec = JobSpec {
        steps: 1000,
        ..spec()
    };
    let error = run(&spec, &models.assets(0), &mut Tell(started), &cancel).unwrap_err();
    assert!(matches!(error, RunError::Cancelled { evaluations } if evaluations < 1000));
    stopper.join().unwrap();
}

#[derive(Default)]
struct Listen(Vec<(Phase, Option<Preview>)>);

impl Progress for Listen {
    fn phase(&mut self, phase: Phase, preview: Option<Preview>) {
        self.0.push((phase, preview));
    }
}

#[test]
fn progress_tells_every_phase_and_shows_every_step() {
    let models = Models::new(Layout::Classic);
    let mut heard = Listen::default();
    let spec = JobSpec {
        steps: 2,
        width: 96,
        ..spec()
    };
    run(&spec, &models.assets(0), &mut heard, &Cancel::default()).unwrap();
    let phases: Vec<_> = heard.0.iter().map(|(phase, _)| phase.clone()).collect();
    let step = |step| Phase::Denoising { step, steps: 2 };
    let want = [
        Phase::Loading,
        Phase::Encoding,
        step(0),
        step(1),
        step(2),
        Phase::Decoding,
        Phase::Delivering,
    ];
    assert_eq!(phases, want);
    let preview = heard.0[4].1.as_ref().unwrap();
    assert_eq!(
        (preview.width, preview.height, preview.rgb.len()),
        (12, 8, 3 * 12 * 8)
    );
}

#[test]
fn picture_carries_a1111_parameters_with_all_hashes() {
    let models = Models::new(Layout::Classic);
    let spec = JobSpec {
        loras: vec![lora(800_000, 800_000)],
        ..spec()
    };
    let texts = texts(&png(&models, &spec));
    let version = env!("CARGO_PKG_VERSION");
    let want = format!(
        "a red circle over the sea <lora:tiny-ember:0.8>\n\
         Negative prompt: grey\n\
         Steps: 4, Sampler: Euler, Schedule type: Karras, CFG scale: 7.5, Seed: 42, Size: 64x64, \
         Model hash: 0123456789, Model: tiny, RNG: CPU, Lora hashes: \"tiny-ember: 0123456789ab\", \
         Version: Hearth {version}, \
         Hashes: {{\"lora:tiny-ember\":\"0123456789ab\",\"model\":\"0123456789\"}}"
    );
    assert_eq!(texts["parameters"], want);
    let story: serde_json::Value = serde_json::from_str(&texts["hearth"]).unwrap();
    assert_eq!(
        serde_json::from_value::<JobSpec>(story["spec"].clone()).unwrap(),
        spec
    );
}

#[test]
fn prompt_beyond_latin_1_survives_in_the_picture() {
    let models = Models::new(Layout::Classic);
    let spec = JobSpec {
        prompt: "ein Kreis, 赤い円".to_owned(),
        ..spec()
    };
    assert!(texts(&png(&models, &spec))["parameters"].starts_with("ein Kreis, 赤い円\n"));
}

#[test]
fn e73_every_step_is_given_back_when_asked_for() {
    let models = Models::new(Layout::Classic);
    let spec = JobSpec {
        latents: Latents::EveryStep,
        height: 72,
        ..spec()
    };
    let output = run(&spec, &models.assets(0), &mut Silent, &Cancel::default()).unwrap();
    let names: Vec<_> = output.files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names[0], "image.png");
    assert_eq!(names[1], "step_000.safetensors");
    // Latents and a picture for each step.
    assert_eq!(names.len(), 9);
    assert_eq!(names[7], "step_003.safetensors");
    let file = safetensors::SafeTensors::deserialize(&output.files[7].bytes).unwrap();
    assert_eq!(file.tensor("latent").unwrap().shape(), [1, 4, 9, 8]);
    assert_eq!(output.evaluations, 4);
}

#[test]
fn e77_too_many_latents_are_refused_before_the_work() {
    let models = Models::new(Layout::Classic);
    let spec = JobSpec {
        latents: Latents::EveryStep,
        steps: 1000,
        width: 1024,
        height: 1024,
        ..spec()
    };
    assert!(matches!(
        failure(&models, &spec),
        RunError::TooManyLatents { .. }
    ));
}

#[test]
fn lora_keys_without_a_place_are_reported() {
    let models = Models::new(Layout::Classic);
    let path = models.path("lora.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    // Renamed in place, to a name of the same length: a module this UNet does not have.
    let (from, to) = (
        b"mid_block_attentions_0_proj_in",
        b"mid_block_attentions_9_proj_in",
    );
    let places: Vec<_> = (0..bytes.len() - from.len())
        .filter(|i| bytes[*i..].starts_with(from))
        .collect();
    assert_eq!(places.len(), 3);
    for at in places {
        bytes[at..at + to.len()].copy_from_slice(to);
    }
    fs::write(&path, bytes).unwrap();
    let spec = JobSpec {
        loras: vec![lora(1_000_000, 1_000_000)],
        ..spec()
    };
    let output = run(&spec, &models.assets(1), &mut Silent, &Cancel::default()).unwrap();
    let [Warning::UnmatchedKeys { lora, keys }] = &output.warnings[..] else {
        panic!("{:?}", output.warnings)
    };
    assert_eq!((lora.as_str(), keys.len()), ("tiny-ember", 3));
    assert!(keys[0].contains("attentions_9_proj_in"));
}

#[test]
fn lora_for_another_base_is_refused() {
    let models = Models::new(Layout::Classic);
    write_lora_as(
        &models.path("lora.safetensors"),
        WEIGHTS_SEED,
        Layout::Varied,
    )
    .unwrap();
    let spec = JobSpec {
        loras: vec![lora(1_000_000, 1_000_000)],
        ..spec()
    };
    let error = failure(&models, &spec);
    assert!(
        matches!(
            error,
            RunError::Load(LoadError::Adapter(AdapterError::WrongBase { .. }))
        ),
        "{error}"
    );
}

#[test]
fn damaged_weights_end_a_run_with_the_reason() {
    let models = Models::new(Layout::Classic);
    let unet = models.path("model/unet/diffusion_pytorch_model.safetensors");
    let bytes = fs::read(&unet).unwrap();
    fs::write(&unet, &bytes[..bytes.len() / 2]).unwrap();
    let error = failure(&models, &spec());
    assert!(
        matches!(error, RunError::Load(LoadError::TensorFile(_))),
        "{error}"
    );

    let mut bytes = bytes;
    let end = bytes.len();
    bytes[end - 4000..].copy_from_slice(&f32::NAN.to_le_bytes().repeat(1000));
    fs::write(&unet, bytes).unwrap();
    let error = failure(&models, &spec());
    assert!(matches!(error, RunError::Load(_)), "{error}");
    assert!(error.to_string().contains("not numbers"), "{error}");
}

#[test]
fn spec_and_assets_must_agree() {
    let models = Models::new(Layout::Classic);
    let result = run(&spec(), &models.assets(1), &mut Silent, &Cancel::default());
    assert!(matches!(
        result,
        Err(RunError::Count {
            spec: 0,
            assets: 1,
            ..
        })
    ));
    assert!(matches!(
        failure(&models, &JobSpec { steps: 0, ..spec() }),
        RunError::Spec(_)
    ));
}
