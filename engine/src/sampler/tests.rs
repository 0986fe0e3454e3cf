//! Every sampler over ten steps against k-diffusion, diffusers and published formulas
//! (`specs/vectors/engine/make_samplers.py`), and the promises a stepper makes.

use std::cell::Cell;
use std::collections::BTreeMap;

use candle_core::{Device, Error, Tensor};
use hearth_protocol::job::{Compat, NoiseSchedule, Rng};
use safetensors::SafeTensors;
use serde::Deserialize;

use super::*;
use crate::noise::Recipe;
use crate::schedule::{Aligned, Levels, NoiseTable, PlanRequest, ScheduleConfig};

impl Stepper {
    /// Takes all steps from number `from` on; `after` sees each, with what there is to save beside it,
    /// and may end the run.
    pub(crate) fn run<E: From<Error>>(
        &mut self,
        from: usize,
        mut x: Tensor,
        model: &mut Model<'_, E>,
        mut after: impl FnMut(&Step, &Self) -> Result<(), E>,
    ) -> Result<Tensor, E> {
        for number in from..self.plan.steps() {
            let step = self.step(number, &x, model)?;
            after(&step, self)?;
            x = step.latents;
        }
        Ok(x)
    }
}

const SHAPE: [usize; 3] = [4, 6, 5];

#[derive(Deserialize)]
struct About {
    cases: BTreeMap<String, Case>,
    steps: usize,
    seed: u64,
}

#[derive(Deserialize)]
struct Case {
    program: Compat,
    sampler: Sampler,
    schedule: NoiseSchedule,
    #[serde(default)]
    prediction: Option<String>,
    #[serde(default)]
    spacing: Option<String>,
    #[serde(default)]
    scaled: bool,
    #[serde(default)]
    zero: bool,
    #[serde(default)]
    noisy_end: bool,
    #[serde(default)]
    eta: Option<f64>,
    #[serde(default)]
    solver_type: Option<String>,
}

impl Case {
    fn table(&self) -> NoiseTable {
        let word =
            |word: &Option<String>, default: &str| word.as_deref().unwrap_or(default).to_owned();
        let config = ScheduleConfig {
            timestep_spacing: word(&self.spacing, "linspace"),
            steps_offset: 1,
            prediction_type: word(&self.prediction, "epsilon"),
            rescale_betas_zero_snr: self.zero,
            set_alpha_to_one: !self.noisy_end,
            ..ScheduleConfig::default()
        };
        NoiseTable::new(&config).unwrap()
    }

    fn tuning(&self) -> Tuning {
        let mut tuning = Tuning::of(self.sampler, self.program);
        tuning.eta = self.eta.unwrap_or(tuning.eta);
        if self.solver_type.as_deref() == Some("heun") {
            tuning.corrector = Corrector::Heun;
        }
        tuning
    }

    fn request(&self, steps: usize) -> PlanRequest {
        PlanRequest {
            sampler: self.sampler,
            schedule: self.schedule,
            compat: self.program,
            steps,
            discard_penultimate: false,
            strength: None,
            aligned: Aligned::Sd1,
        }
    }
}

/// The reference file.
struct Vectors(Vec<u8>);

impl Vectors {
    fn load(name: &str) -> Self {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../specs/vectors/engine/");
        Self(std::fs::read(format!("{folder}{name}")).unwrap())
    }

    fn about<T: for<'de> Deserialize<'de>>(&self, key: &str) -> T {
        let (_, header) = SafeTensors::read_metadata(&self.0).unwrap();
        serde_json::from_str(&header.metadata().as_ref().unwrap()[key]).unwrap()
    }

    fn doubles(&self, name: &str) -> Vec<f64> {
        let file = SafeTensors::deserialize(&self.0).unwrap();
        let data = file.tensor(name).unwrap().data().to_vec();
        data.chunks_exact(8)
            .map(|b| f64::from_le_bytes(b.try_into().unwrap()))
            .collect()
    }

    fn floats(&self, name: &str) -> Vec<f32> {
        let file = SafeTensors::deserialize(&self.0).unwrap();
        let data = file.tensor(name).unwrap().data().to_vec();
        data.chunks_exact(4)
            .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
            .collect()
    }
}

/// The script's network.
struct Network {
    levels: Levels,
    centre: Vec<f32>,
    spread: Vec<f32>,
    prediction: Prediction,
}

impl Network {
    fn new(vectors: &Vectors, prediction: Prediction) -> Self {
        let table = NoiseTable::new(&ScheduleConfig::default()).unwrap();
        Self {
            levels: table.levels(Compat::A1111),
            centre: vectors.floats("network.centre"),
            spread: vectors.floats("network.spread"),
            prediction,
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "networks answer in f32")]
    fn answer(&self, input: &Tensor, timestep: f64) -> candle_core::Result<Tensor> {
        let sigma = self.levels.sigma(timestep);
        let values: Vec<f32> = input.flatten_all()?.to_vec1()?;
        let known = self.centre.iter().zip(&self.spread);
        let out = values.iter().zip(known).map(|(x, (centre, spread))| {
            let (x, centre, spread) = (f64::from(*x), f64::from(*centre), f64::from(*spread));
            let distance = x * sigma.hypot(1.0) - centre;
            let eps = sigma * distance / (spread * spread + sigma * sigma)
                + 0.1 * (2.0 * x).sin() * (0.003 * timestep).cos();
            match self.prediction {
                Prediction::Epsilon => eps as f32,
                Prediction::Velocity => (eps * sigma.hypot(1.0) - sigma * x) as f32,
            }
        });
        Tensor::from_vec(out.collect(), input.shape(), input.device())
    }

    fn denoise(&self, x: &Tensor, level: Level) -> candle_core::Result<Tensor> {
        let output = self.answer(&level.input(x)?, level.timestep)?;
        level.denoised(x, &output, self.prediction)
    }
}

fn values(x: &Tensor) -> Vec<f32> {
    x.flatten_all().unwrap().to_vec1().unwrap()
}

/// A case's run: latents in the reference's scale, and the timesteps the network was told.
fn trajectory(case: &Case, plan: Plan, vectors: &Vectors, seed: u64) -> (Vec<Vec<f32>>, Vec<f64>) {
    let recipe = Recipe::new(Rng::TorchCpu, case.program, seed, SHAPE);
    let (noise, first) = Noise::begin(recipe);
    let first = Tensor::from_vec(first, (1, 4, 6, 5), &Device::Cpu).unwrap();
    let network = Network::new(vectors, case.table().prediction);
    let mut told = Vec::new();
    let mut model = |x: &Tensor, level: Level| {
        told.push(level.timestep);
        network.denoise(x, level)
    };
    let begin = plan.begin(&first, None).unwrap();
    let sigmas = plan.sigmas.clone();
    let own = |x: &Tensor, i: usize, last: bool| {
        let scale = if case.scaled && !last {
            sigmas[i].hypot(1.0)
        } else {
            1.0
        };
        values(&(x / scale).unwrap())
    };
    let mut all = vec![own(&begin, 0, false)];
    let steps = plan.steps();
    let mut stepper = Stepper::new(case.sampler, case.tuning(), plan, noise);
    stepper
        .run(0, begin, &mut model, |step, _| {
            all.push(own(
                &step.latents,
                step.number + 1,
                step.number + 1 == steps,
            ));
            Ok::<_, Error>(())
        })
        .unwrap();
    (all, told)
}

#[test]
fn e32_every_sampler_takes_the_reference_ten_steps() {
    let vectors = Vectors::load("samplers.safetensors");
    let about: About = vectors.about("about");
    let mut failed = Vec::new();
    for (name, case) in &about.cases {
        let sigmas = vectors.doubles(&format!("{name}.sigmas"));
        let mut plan = case.table().plan(&case.request(about.steps));
        let off = |got: &[f64], want: &[f64], least: f64| {
            let pairs = got.iter().zip(want);
            let worst = pairs.map(|(a, b)| (a - b).abs() / b.abs().max(least));
            worst.fold(0.0, f64::max)
        };
        let level = off(&plan.sigmas, &sigmas, 0.02);
        let count = plan.sigmas.len() == sigmas.len();
        if name.starts_with("diffusers-dpmpp_sde") {
            // A Brownian path feels the last digits of a level, and diffusers builds its table in f32.
            plan.span = (sigmas[sigmas.len() - 2], sigmas[0]);
            plan.sigmas = sigmas;
        }
        let (xs, told) = trajectory(case, plan, &vectors, about.seed);
        let want = vectors.floats(&format!("{name}.x"));
        let times = vectors.doubles(&format!("{name}.timesteps"));
        let timestep = off(&told, &times, 1.0);
        let xs = xs.concat();
        let worst = xs
            .iter()
            .zip(&want)
            .map(|(a, b)| f64::from((a - b).abs()) / f64::from(b.abs()).max(1.0));
        let worst = worst.fold(0.0, f64::max);
        let told_all = told.len() == times.len();
        if !count || !told_all || level > 1e-4 || timestep > 1e-3 || worst > 1e-4 {
            failed.push(format!(
                "{name}: {worst:.1e} {level:.1e} {timestep:.1e} {count} {told_all}"
            ));
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn e35_brownian_increments_are_torchsdes() {
    let vectors = Vectors::load("brownian.safetensors");
    let queries: Vec<(f64, f64)> = vectors.about("queries");
    let file = SafeTensors::deserialize(&vectors.0).unwrap();
    let mut worst = 0.0_f32;
    for name in file.names() {
        let (seed, shape) = name.split_once('-').unwrap();
        let shape: Vec<usize> = shape.split('x').map(|n| n.parse().unwrap()).collect();
        let shape: [usize; 3] = shape.try_into().unwrap();
        let recipe = Recipe::new(Rng::TorchCpu, Compat::A1111, seed.parse().unwrap(), shape);
        let (mut noise, _) = Noise::begin(recipe);
        noise.follow_path((0.029_167_5, 14.614_643));
        let got: Vec<f32> = queries
            .iter()
            .flat_map(|(a, b)| noise.between(*a, *b))
            .collect();
        let want = vectors.floats(name);
        assert_eq!(got.len(), want.len());
        for (a, b) in got.iter().zip(&want) {
            worst = worst.max((a - b).abs());
        }
    }
    assert!(worst < 1e-5, "{worst:e}");
}

fn plain(sampler: Sampler, program: Compat) -> Case {
    Case {
        program,
        sampler,
        schedule: NoiseSchedule::Karras,
        prediction: None,
        spacing: None,
        scaled: false,
        zero: false,
        noisy_end: false,
        eta: None,
        solver_type: None,
    }
}

#[test]
fn e33_evaluations_are_as_many_as_counted() {
    let vectors = Vectors::load("samplers.safetensors");
    for sampler in Sampler::ALL {
        for program in Compat::ALL {
            for steps in [1, 2, 3, 10] {
                let case = plain(*sampler, *program);
                let plan = case.table().plan(&case.request(steps));
                assert_eq!(plan.steps(), steps, "{sampler} {program}");
                let (_, told) = trajectory(&case, plan, &vectors, 5);
                let counted = sampler.evaluations(u32::try_from(steps).unwrap());
                assert_eq!(
                    told.len(),
                    usize::try_from(counted).unwrap(),
                    "{sampler} {program} {steps}"
                );
            }
        }
    }
}

#[test]
fn e37_a_run_saved_at_any_step_goes_on_to_the_same_bits() {
    let vectors = Vectors::load("samplers.safetensors");
    let network = Network::new(&vectors, Prediction::Epsilon);
    for sampler in Sampler::ALL {
        for (program, rng) in [
            (Compat::A1111, Rng::TorchCpu),
            (Compat::A1111, Rng::Nv),
            (Compat::Comfy, Rng::TorchCpu),
            (Compat::Diffusers, Rng::Nv),
        ] {
            let case = plain(*sampler, program);
            let plan = case.table().plan(&case.request(6));
            let begin = || Noise::begin(Recipe::new(rng, program, 11, SHAPE));
            let (noise, first) = begin();
            let first = Tensor::from_vec(first, (1, 4, 6, 5), &Device::Cpu).unwrap();
            let x = plan.begin(&first, None).unwrap();
            let mut model = |x: &Tensor, level: Level| network.denoise(x, level);
            let mut saved = Vec::new();
            let new = |noise| Stepper::new(*sampler, case.tuning(), plan.clone(), noise);
            let end = new(noise)
                .run(0, x, &mut model, |step, stepper| {
                    let history: Vec<_> = stepper
                        .history()
                        .named()
                        .map(|(name, tensor)| (name.to_owned(), tensor.copy().unwrap()))
                        .collect();
                    let state = stepper.noise().state();
                    saved.push((step.latents.copy()?, history, state));
                    Ok::<_, Error>(())
                })
                .unwrap();
            for (done, (latents, history, state)) in saved.into_iter().enumerate() {
                let (mut noise, _) = begin();
                noise.restore(&state).unwrap();
                let history = History::from_saved(history, latents.dims()).unwrap();
                let again = new(noise)
                    .with_history(history)
                    .run(done + 1, latents, &mut model, |_, _| Ok::<_, Error>(()))
                    .unwrap();
                assert_eq!(values(&again), values(&end), "{sampler} {program} {done}");
            }
        }
    }
}

#[test]
fn e33_a_model_that_stops_ends_the_run_within_an_evaluation() {
    for sampler in Sampler::ALL {
        let case = plain(*sampler, Compat::A1111);
        let plan = case.table().plan(&case.request(4));
        let (noise, first) = Noise::begin(Recipe::new(Rng::TorchCpu, Compat::A1111, 1, SHAPE));
        let x = Tensor::from_vec(first, (1, 4, 6, 5), &Device::Cpu).unwrap();
        for last in 1..=3 {
            let asked = Cell::new(0);
            let mut model = |x: &Tensor, _: Level| {
                asked.set(asked.get() + 1);
                if asked.get() == last {
                    Err(Error::Msg("stop".to_owned()))
                } else {
                    Ok(x.clone())
                }
            };
            let mut stepper = Stepper::new(*sampler, case.tuning(), plan.clone(), noise.clone());
            assert!(
                stepper
                    .run(0, x.clone(), &mut model, |_, _| Ok(()))
                    .is_err()
            );
            assert_eq!(asked.get(), last, "{sampler}");
        }
    }
}

#[test]
fn every_sampler_lands_on_the_picture_of_a_perfect_model() {
    let picture = Tensor::new(&[[[[0.5_f32, -1.0, 2.0, 0.1]; 4]]], &Device::Cpu).unwrap();
    for sampler in Sampler::ALL {
        let case = plain(*sampler, Compat::Comfy);
        let plan = case.table().plan(&case.request(8));
        let recipe = Recipe::new(Rng::TorchCpu, Compat::Comfy, 3, [1, 4, 4]);
        let (noise, first) = Noise::begin(recipe);
        let first = Tensor::from_vec(first, (1, 1, 4, 4), &Device::Cpu).unwrap();
        let x = plan.begin(&first, None).unwrap();
        let mut model = |_: &Tensor, _: Level| Ok::<_, Error>(picture.clone());
        let mut stepper = Stepper::new(*sampler, case.tuning(), plan, noise);
        let end = stepper.run(0, x, &mut model, |_, _| Ok(())).unwrap();
        let pairs = values(&end).into_iter().zip(values(&picture));
        let worst = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        // ComfyUI's UniPC ends at a noise level of 0.001.
        assert!(worst < 2e-3, "{sampler}: {worst}");
    }
}
