//! Hearth's own models, noise and schedules against diffusers, transformers and torch.
//!
//! `specs/vectors/engine/make_vectors.py` made the values; they are for the tiny random models
//! that `hearth_engine::tiny` writes, so no weights are committed.

use hearth_engine::probe::{self, Probe, Values};
use hearth_engine::tiny::Layout;
use hearth_engine::{Cancel, Silent};
use hearth_protocol::engine::{Assets, OutputFile};
use hearth_protocol::job::{Compat, JobSpec, Latents, Micro, NoiseSchedule, Rng};
use safetensors::SafeTensors;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::material::{self, Models};

/// The difference allowed, in f32, everywhere.
const TOLERANCE: f32 = 1e-3;

fn floats(file: &SafeTensors<'_>, name: &str) -> Values {
    let view = file.tensor(name).unwrap();
    let values = view
        .data()
        .chunks_exact(4)
        .map(|b| f32::from_le_bytes(b.try_into().unwrap()));
    Values {
        shape: view.shape().to_vec(),
        values: values.collect(),
    }
}

fn assert_near(case: &str, what: &str, got: &Values, want: &Values) {
    assert_eq!(got.shape, want.shape, "{case}: {what}");
    let pairs = got.values.iter().zip(&want.values);
    let diff = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    let range = want.values.iter().fold(0.0_f32, |max, v| max.max(v.abs()));
    eprintln!("{case}: {what} differs by at most {diff:.2e} on a range of {range:.2}");
    assert!(diff < TOLERANCE, "{case}: {what} differs by {diff}");
}

/// The job a vector file was made for.
struct Case {
    models: Models,
    spec: JobSpec,
    timestep: f64,
}

impl Case {
    fn new(metadata: &std::collections::HashMap<String, String>) -> Self {
        let request: Value = serde_json::from_str(&metadata["request"]).unwrap();
        let number = |name: &str| u32::try_from(request[name].as_u64().unwrap()).unwrap();
        let classic = request["model"] == "classic";
        let models = Models::new(if classic {
            Layout::Classic
        } else {
            Layout::Varied
        });
        let micro = |v: &Value| v.to_string().parse::<Micro>().unwrap().millionths();
        let lora = request["lora"]
            .as_array()
            .map(|w| material::lora(micro(&w[0]), micro(&w[1])));
        let karras = request["schedule"] == "karras";
        let spec = JobSpec {
            loras: lora.into_iter().collect(),
            prompt: request["prompt"].as_str().unwrap().to_owned(),
            negative: request["negative"].as_str().unwrap().to_owned(),
            width: number("width"),
            height: number("height"),
            steps: number("steps"),
            guidance: request["guidance"].to_string().parse().unwrap(),
            schedule: if karras {
                NoiseSchedule::Karras
            } else {
                NoiseSchedule::Model
            },
            seed: u64::from(number("seed")),
            compat: Compat::Diffusers,
            latents: Latents::EveryStep,
            ..material::spec()
        };
        let case = Self {
            models,
            spec,
            timestep: request["timestep"].as_f64().unwrap(),
        };
        assert_eq!(
            case.weights_sha256(),
            metadata["weights_sha256"],
            "the vectors are for other weights"
        );
        case
    }

    fn assets(&self) -> Assets {
        self.models.assets(self.spec.loras.len())
    }

    fn weights_sha256(&self) -> String {
        let mut hasher = Sha256::new();
        let parts = [
            "text_encoder/model",
            "unet/diffusion_pytorch_model",
            "vae/diffusion_pytorch_model",
        ];
        for part in parts {
            hasher.update(
                std::fs::read(self.models.path(&format!("model/{part}.safetensors"))).unwrap(),
            );
        }
        if !self.spec.loras.is_empty() {
            hasher.update(std::fs::read(self.models.path("lora.safetensors")).unwrap());
        }
        hasher
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

fn check(name: &str) {
    let bytes = material::vector(&format!("{name}.safetensors"));
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let case = Case::new(header.metadata().as_ref().unwrap());
    let probe = Probe::load(&case.spec, &case.assets()).unwrap();
    assert!(probe.warnings().is_empty(), "{:?}", probe.warnings());

    let ids = probe.tokens(&case.spec.prompt, Compat::Diffusers).unwrap();
    let want: Vec<_> = floats(&file, "ids")
        .values
        .iter()
        .map(|id| f64::from(*id))
        .collect();
    assert_eq!(
        ids[0].iter().map(|id| f64::from(*id)).collect::<Vec<_>>(),
        want
    );

    let text = probe.text(&case.spec.prompt, Compat::Diffusers).unwrap();
    assert_near(name, "text", &text, &floats(&file, "text"));
    let unet = probe
        .unet(&floats(&file, "unet_in"), case.timestep, &text)
        .unwrap();
    assert_near(name, "unet", &unet, &floats(&file, "unet_out"));

    let output =
        hearth_engine::run(&case.spec, &case.assets(), &mut Silent, &Cancel::default()).unwrap();
    let is_last = |file: &&OutputFile| file.name == "step_019.safetensors";
    let last = output.files.iter().find(is_last).unwrap();
    let latents = floats(&SafeTensors::deserialize(&last.bytes).unwrap(), "latent");
    assert_near(name, "latents", &latents, &floats(&file, "latents"));
    let image = probe.decode(&latents).unwrap();
    assert_near(name, "image", &image, &floats(&file, "image"));
    check_png(name, &output.files[0].bytes, &floats(&file, "image"));
}

/// The delivered picture is the decoded one, one grey level at most away by rounding.
fn check_png(name: &str, bytes: &[u8], want: &Values) {
    let mut reader = png::Decoder::new(std::io::Cursor::new(bytes))
        .read_info()
        .unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    reader.next_frame(&mut pixels).unwrap();
    let plane = want.values.len() / 3;
    for (i, pixel) in pixels.iter().enumerate() {
        let want = want.values[i % 3 * plane + i / 3].clamp(-1.0, 1.0) * 127.5 + 127.5;
        assert!(
            (f32::from(*pixel) - want).abs() < 0.7,
            "{name}: {i}: {pixel} {want}"
        );
    }
}

#[test]
fn classic_layout_gives_what_diffusers_gives() {
    check("classic");
}

#[test]
fn classic_layout_with_a_lora_gives_what_diffusers_gives() {
    check("classic-lora");
}

#[test]
fn varied_layout_at_odd_latent_sizes_gives_what_diffusers_gives() {
    check("varied");
}

#[test]
fn varied_layout_with_a_lora_and_karras_steps_gives_what_diffusers_gives() {
    check("varied-lora");
}

#[test]
fn noise_is_torchs() {
    let bytes = material::vector("noise.safetensors");
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut worst = 0.0_f32;
    for name in file.names() {
        let (seed, count) = name.split_once('-').unwrap();
        let count = count.parse().unwrap();
        let got = probe::noise(Rng::TorchCpu, seed.parse().unwrap(), count);
        for (got, want) in got.iter().zip(floats(&file, name).values) {
            worst = worst.max((got - want).abs());
        }
    }
    eprintln!("noise differs from torch's by at most {worst:.2e}");
    assert!(worst < 2e-6, "{worst:e}");
}

#[test]
fn schedules_are_diffusers_own() {
    let bytes = material::vector("schedules.safetensors");
    let file = SafeTensors::deserialize(&bytes).unwrap();
    for name in file.names() {
        let parts: Vec<_> = name.split('-').collect();
        let [spacing, kind, steps, what] = parts[..] else {
            panic!("{name}")
        };
        let config = format!(r#"{{"timestep_spacing":"{spacing}","steps_offset":1}}"#);
        let (sigmas, timesteps) = probe::schedule(
            &config,
            kind.parse().unwrap(),
            Compat::Diffusers,
            steps.parse().unwrap(),
        )
        .unwrap();
        let got = if what == "sigmas" { sigmas } else { timesteps };
        let want = floats(&file, name).values;
        assert_eq!(got.len(), want.len(), "{name}");
        for (got, want) in got.iter().zip(want) {
            let want = f64::from(want);
            assert!(
                (got - want).abs() < 1e-3 * want.max(0.1),
                "{name}: {got} {want}"
            );
        }
    }
}
