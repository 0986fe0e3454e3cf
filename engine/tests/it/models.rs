//! The architectures against diffusers and transformers, family by family: text, noise, pixels.
//!
//! `specs/vectors/engine/make_models.py` made the values; it says what each is.

use std::collections::HashMap;

use hearth_engine::probe::{Edges, Finish, Layer, Listened, Parts, Piece, Values, noise};
use hearth_engine::tiny::Layout;
use hearth_protocol::job::Rng;
use safetensors::SafeTensors;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::material::{self, Models};

/// The difference allowed in f32: of the values' range where that is over one, and never more than
/// `TOLERANCE_MAX`.
const TOLERANCE: f32 = 1e-4;
const TOLERANCE_MAX: f32 = 1e-3;

/// A family's model and its reference values.
struct Family {
    name: &'static str,
    xl: bool,
    prediction: Prediction,
    parts: Parts,
    facts: Value,
    wanted: HashMap<String, Values>,
}

#[derive(Clone, Copy)]
enum Prediction {
    Noise,
    Velocity,
}

impl Family {
    fn new(name: &'static str, layout: Layout) -> Self {
        let models = Models::new(layout);
        let bytes = material::vector(&format!("models-{name}.safetensors"));
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let facts: Value =
            serde_json::from_str(&header.metadata().as_ref().unwrap()["facts"]).unwrap();
        let files = material::folder(&models.path("model"));
        let mut weights: Vec<_> = files
            .iter()
            .filter(|file| file.name.ends_with(".safetensors"))
            .collect();
        weights.sort_by(|a, b| a.name.cmp(&b.name));
        let mut hasher = Sha256::new();
        for file in weights {
            hasher.update(std::fs::read(&file.path).unwrap());
        }
        let digest: String = hasher
            .finalize()
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        assert_eq!(
            facts["weights_sha256"], digest,
            "the vectors are for other weights"
        );
        Self {
            name,
            xl: matches!(layout, Layout::Xl | Layout::Distilled),
            prediction: match layout {
                Layout::Second => Prediction::Velocity,
                _ => Prediction::Noise,
            },
            parts: Parts::load(&files).unwrap(),
            facts,
            wanted: tensors(&bytes),
        }
    }

    fn want(&self, what: &str) -> &Values {
        self.wanted
            .get(what)
            .unwrap_or_else(|| panic!("{}: no {what}", self.name))
    }

    fn near(&self, what: &str, got: &Values) {
        let want = self.want(what);
        assert_eq!(got.shape, want.shape, "{}: {what}", self.name);
        let diff = difference(got, want);
        let range = want.values.iter().fold(0.0_f32, |max, v| max.max(v.abs()));
        eprintln!(
            "{}: {what} differs by at most {diff:.2e} on a range of {range:.2}",
            self.name
        );
        let allowed = (TOLERANCE * range.max(1.0)).min(TOLERANCE_MAX);
        assert!(diff < allowed, "{}: {what} differs by {diff}", self.name);
    }

    /// Windows of ids, as pieces.
    fn windows(&self, what: &str) -> Vec<Vec<Piece>> {
        let ids = self.want(what);
        let ids: Vec<_> = ids.values.chunks(ids.shape[1]).collect();
        ids.iter()
            .map(|row| row.iter().map(|id| Piece::Token(whole(*id))).collect())
            .collect()
    }

    fn layer(&self, skip: usize) -> Layer {
        let finish = if self.xl {
            Finish::Raw
        } else {
            Finish::Normalised
        };
        Layer { skip, finish }
    }

    fn number(&self, what: &str) -> f64 {
        self.facts[what].as_f64().unwrap()
    }

    fn size(&self) -> (usize, usize) {
        let side = |what| usize::try_from(self.facts[what].as_u64().unwrap()).unwrap();
        (side("height"), side("width"))
    }

    fn check_texts(&self) {
        for (i, (layers, width)) in self.parts.texts().unwrap().into_iter().enumerate() {
            let windows = self.windows(&format!("ids_{i}"));
            let layer = self.layer(usize::from(self.xl));
            let (text, pooled) = self.parts.text(i, &windows, layer).unwrap();
            self.near(&format!("text_{i}"), &text);
            if let Some(pooled) = pooled {
                self.near("pooled", &pooled);
            }
            if layers > 2 {
                let (skipped, _) = self.parts.text(i, &windows[..1], self.layer(2)).unwrap();
                self.near(&format!("skipped_{i}"), &skipped);
            }
            assert!(
                self.parts
                    .text(i, &windows[..1], self.layer(layers))
                    .is_err()
            );
            let mut window = windows[0].clone();
            let seed = 60 + u64::try_from(i).unwrap();
            let vectors = scaled(0.5, random(seed, &[2, width]));
            for (at, vector) in vectors.values.chunks(width).enumerate() {
                window[3 + at] = Piece::Vector(vector.into());
            }
            let (embedded, _) = self.parts.text(i, &[window], layer).unwrap();
            self.near(&format!("embedded_{i}"), &embedded);
        }
    }

    /// What the UNet listens to in the script: the negative first.
    fn listened(&self) -> Listened {
        let mut contexts = Vec::new();
        let mut pooled = None;
        for i in 0..self.parts.texts().unwrap().len() {
            let layer = self.layer(usize::from(self.xl));
            let encode = |what: &str| {
                let windows = self.windows(&format!("{what}_{i}"));
                self.parts.text(i, &windows, layer).unwrap()
            };
            let ((low, low_pool), (high, pool)) = (encode("negative_ids"), encode("ids"));
            if let (Some(low), Some(high)) = (low_pool, pool) {
                pooled = Some(join(&first(&low), &first(&high)));
            }
            contexts.push(join(&flat(&low), &flat(&high)));
        }
        let sizes: Vec<f64> = serde_json::from_value(self.facts["sizes"].clone()).unwrap();
        Listened {
            pooled: pooled.map(|pooled| (pooled, sizes)),
            guidance: Some(self.number("guidance")),
            ..Listened::text(beside(&contexts))
        }
    }

    fn check_unet(&self) {
        let (height, width) = self.size();
        let sample = random(1, &[2, self.parts.channels(), height, width]);
        let listened = self.listened();
        let timestep = self.number("timestep");
        let run = |listened: &Listened, edges| {
            self.parts.unet(&sample, timestep, listened, edges).unwrap()
        };
        self.near("unet", &run(&listened, Edges::Plain));
        self.near("unet_seamless", &run(&listened, Edges::Seamless));
        let skips: Vec<Vec<usize>> = serde_json::from_value(self.facts["skips"].clone()).unwrap();
        let residual = |seed, shape: &Vec<usize>| scaled(0.3, random(seed, shape));
        let control = Listened {
            control: Some((
                (100..)
                    .zip(&skips)
                    .map(|(seed, shape)| residual(seed, shape))
                    .collect(),
                residual(99, skips.last().unwrap()),
            )),
            ..listened
        };
        self.near("unet_control", &run(&control, Edges::Plain));
        let mut short = control;
        short.control.as_mut().unwrap().0.pop();
        assert!(
            self.parts
                .unet(&sample, timestep, &short, Edges::Plain)
                .is_err()
        );
    }

    fn check_vae(&self) {
        let pixels = random(3, &[1, 3, 40, 56]);
        let values = pixels.values.iter().map(|v| v.clamp(-1.0, 1.0)).collect();
        let pixels = Values { values, ..pixels };
        let small = random(4, &[1, 4, 5, 7]);
        for (edges, ending) in [(Edges::Plain, ""), (Edges::Seamless, "_seamless")] {
            let (mean, deviation) = self.parts.posterior(&pixels, edges).unwrap();
            self.near(&format!("mean{ending}"), &mean);
            self.near(&format!("deviation{ending}"), &deviation);
            let decoded = self.parts.decode(&small, edges).unwrap();
            self.near(&format!("decoded{ending}"), &decoded);
        }
        let noise = random(5, &[1, 4, 5, 7]);
        let drawn = self
            .parts
            .encode(&pixels, Some(&noise), Edges::Plain)
            .unwrap();
        self.near("drawn", &drawn);
    }

    /// Euler's method with guidance over the reference's own noise levels.
    fn check_picture(&self) {
        let (height, width) = self.size();
        let listened = self.listened();
        let sigmas = &self.want("sigmas").values;
        let guidance = self.number("guidance");
        let mut latents = random(6, &[1, 4, height, width]);
        let start = (f64::from(sigmas[0]).powi(2) + 1.0).sqrt();
        latents
            .values
            .iter_mut()
            .for_each(|x| *x = single(f64::from(*x) * start));
        let more = random(7, &[1, self.parts.channels() - 4, height, width]);
        for (levels, timestep) in sigmas.windows(2).zip(&self.want("timesteps").values) {
            let (sigma, next) = (f64::from(levels[0]), f64::from(levels[1]));
            let scale = (sigma * sigma + 1.0).sqrt();
            let mut sample: Vec<f32> = latents
                .values
                .iter()
                .map(|x| single(f64::from(*x) / scale))
                .collect();
            sample.extend(&more.values);
            let shape = vec![2, self.parts.channels(), height, width];
            let sample = Values {
                shape,
                values: [sample.clone(), sample].concat(),
            };
            let out = self
                .parts
                .unet(&sample, f64::from(*timestep), &listened, Edges::Plain)
                .unwrap();
            let (low, high) = out.values.split_at(out.values.len() / 2);
            for ((x, low), high) in latents.values.iter_mut().zip(low).zip(high) {
                let out = f64::from(*low) + guidance * f64::from(high - low);
                let at = f64::from(*x);
                let slope = match self.prediction {
                    Prediction::Noise => out,
                    Prediction::Velocity => {
                        (at - (at / (scale * scale) - out * sigma / scale)) / sigma
                    }
                };
                *x = single(at + slope * (next - sigma));
            }
        }
        self.near("latents", &latents);
        self.near("image", &self.parts.decode(&latents, Edges::Plain).unwrap());
    }
}

fn tensors(bytes: &[u8]) -> HashMap<String, Values> {
    let file = SafeTensors::deserialize(bytes).unwrap();
    let read = |name: &str| {
        let view = file.tensor(name).unwrap();
        let values = view.data().chunks_exact(4);
        Values {
            shape: view.shape().to_vec(),
            values: values
                .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
                .collect(),
        }
    };
    file.names()
        .into_iter()
        .map(|name| (name.to_owned(), read(name)))
        .collect()
}

fn random(seed: u64, shape: &[usize]) -> Values {
    Values {
        shape: shape.to_vec(),
        values: noise(Rng::TorchCpu, seed, shape.iter().product()),
    }
}

fn scaled(factor: f32, mut values: Values) -> Values {
    values.values.iter_mut().for_each(|v| *v *= factor);
    values
}

fn difference(a: &Values, b: &Values) -> f32 {
    let pairs = a.values.iter().zip(&b.values);
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// Windows side by side: `[1, windows * tokens, channels]`.
fn flat(windows: &Values) -> Values {
    let [count, tokens, channels] = windows.shape[..] else {
        panic!("{:?}", windows.shape)
    };
    Values {
        shape: vec![1, count * tokens, channels],
        values: windows.values.clone(),
    }
}

/// The first row alone.
fn first(rows: &Values) -> Values {
    let length = rows.values.len() / rows.shape[0];
    let shape = [vec![1], rows.shape[1..].to_vec()].concat();
    Values {
        shape,
        values: rows.values[..length].to_vec(),
    }
}

/// One batch after the other.
fn join(a: &Values, b: &Values) -> Values {
    let shape = [vec![a.shape[0] + b.shape[0]], a.shape[1..].to_vec()].concat();
    Values {
        shape,
        values: [a.values.clone(), b.values.clone()].concat(),
    }
}

/// The channels of both text encoders side by side.
fn beside(texts: &[Values]) -> Values {
    let rows = texts[0].shape[0] * texts[0].shape[1];
    let mut values = Vec::new();
    for row in 0..rows {
        for text in texts {
            let channels = text.shape[2];
            values.extend(&text.values[row * channels..][..channels]);
        }
    }
    let channels = texts.iter().map(|text| text.shape[2]).sum();
    Values {
        shape: vec![texts[0].shape[0], texts[0].shape[1], channels],
        values,
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "ids are small"
)]
fn whole(id: f32) -> u32 {
    id as u32
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "rounding to f32 is the point"
)]
fn single(x: f64) -> f32 {
    x as f32
}

fn check(name: &'static str, layout: Layout) {
    let family = Family::new(name, layout);
    family.check_texts();
    family.check_unet();
    family.check_vae();
    family.check_picture();
}

#[test]
fn e2_stable_diffusion_1_gives_what_diffusers_gives() {
    check("classic", Layout::Classic);
}

#[test]
fn e2_inpainting_gives_what_diffusers_gives() {
    check("inpaint", Layout::Inpaint);
}

#[test]
fn e2_stable_diffusion_2_gives_what_diffusers_gives() {
    check("second", Layout::Second);
}

#[test]
fn e2_stable_diffusion_xl_gives_what_diffusers_gives() {
    check("xl", Layout::Xl);
}

#[test]
fn e2_distilled_xl_gives_what_diffusers_gives() {
    check("distilled", Layout::Distilled);
}
