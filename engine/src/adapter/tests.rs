//! Every kind of adapter against what `LyCORIS` and PEFT compute with it, and files that lie.

mod lies;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use hearth_protocol::job::Micro;
use serde::Deserialize;

use super::warm::Mode;
use super::*;
use crate::layers::{Conv, GroupNorm, Linear, Pass};
use crate::load::LoadError;
use crate::modules::{Bias, Kind, Scope, Source};
use hearth_kernels::conv::Geometry;

const TOLERANCE: f32 = 1e-4;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../specs/vectors/engine/adapters")
}

/// A layer of the host, as the vectors' metadata has it.
#[derive(Debug, Deserialize)]
struct Listed {
    part: String,
    path: String,
    kind: String,
    shape: Vec<usize>,
    bias: bool,
}

impl Listed {
    fn part(&self) -> Part {
        match self.part.as_str() {
            "unet" => Part::Unet,
            _ => Part::Text,
        }
    }

    fn module(&self) -> Module {
        let kind = match self.kind.as_str() {
            "linear" => Kind::Linear,
            "conv" if self.shape[2] == 1 => Kind::Linear,
            "conv" => Kind::Conv,
            _ => Kind::Norm,
        };
        Module {
            path: self.path.clone(),
            kind,
            shape: self.shape.clone(),
            bias: if self.bias {
                Bias::Present
            } else {
                Bias::Absent
            },
        }
    }
}

/// The vectors' host layers, inputs and outputs.
struct Expected {
    file: TensorFile,
    layers: Vec<Listed>,
    strengths: BTreeMap<String, (f64, f64)>,
}

impl Expected {
    fn open() -> Self {
        let file = TensorFile::open(&folder().join("expected.safetensors")).unwrap();
        let metadata = &file.header().metadata;
        let layers = serde_json::from_str(&metadata["layers"]).unwrap();
        let strengths = serde_json::from_str(&metadata["strengths"]).unwrap();
        Self {
            file,
            layers,
            strengths,
        }
    }

    fn tensor(&self, name: &str) -> Option<Tensor> {
        let entry = self.file.header().tensors.get(name)?.clone();
        let values = self.file.read(name, &entry).unwrap();
        Some(Tensor::from_vec(values, entry.shape, &Device::Cpu).unwrap())
    }

    fn modules(&self, part: Part) -> Vec<Module> {
        let of_part = self.layers.iter().filter(|layer| layer.part() == part);
        of_part.map(Listed::module).collect()
    }

    fn names(&self) -> AdapterNames {
        let mut names = AdapterNames::new(Base::Sd1);
        for part in [Part::Unet, Part::Text] {
            names.add(part, self.modules(part));
        }
        names
    }

    fn warm(&mut self, part: Part) -> WarmPart {
        let modules = self.modules(part);
        let prefix = if part == Part::Unet { "unet" } else { "text" };
        let (mut warm, mut host) = (WarmPart::new(part), Host(self, prefix));
        for module in modules {
            warm.reading(&mut host).module(module).unwrap();
        }
        warm
    }

    fn set(&self, case: &str) -> AdapterSet {
        let (unet, text) = self.strengths[case];
        let config = folder().join(format!("{case}.json"));
        let adapter = AdapterUse {
            path: folder().join(format!("{case}.safetensors")),
            config: config.exists().then_some(config),
            strength: Strength::new(micro(unet), micro(text)),
        };
        let key = SetKey::of(&[adapter]).unwrap();
        AdapterSet::open(key, &self.names(), &AdapterSet::default()).unwrap()
    }
}

struct Host<'a>(&'a mut Expected, &'a str);

impl Source for Host<'_> {
    fn module(&mut self, module: Module) -> Result<(Tensor, Tensor), LoadError> {
        let name = format!("base.{}.{}", self.1, module.path);
        let weight = self.0.tensor(&format!("{name}.weight")).unwrap();
        let bias = self.0.tensor(&format!("{name}.bias"));
        let zeros = || Tensor::zeros(module.shape[0], weight.dtype(), &Device::Cpu).unwrap();
        Ok((weight.clone(), bias.unwrap_or_else(zeros)))
    }
}

fn micro(weight: f64) -> Micro {
    #[expect(clippy::cast_possible_truncation, reason = "small test numbers")]
    Micro::from_millionths((weight * 1e6).round() as i32)
}

/// Runs one layer over the weights a warm part has now.
fn output(warm: &mut WarmPart, layer: &Listed, x: &Tensor) -> Tensor {
    let mut root = Scope::root(warm);
    let scope = root.at(&layer.path);
    let shape = &layer.shape;
    match (layer.kind.as_str(), shape.get(2)) {
        ("norm", _) => {
            let norm = GroupNorm::new(scope, shape[0], 4, 1e-5).unwrap();
            norm.forward(x).unwrap()
        }
        ("conv", Some(3)) => {
            let conv = Conv::new(scope, (shape[1], shape[0]), 3, Geometry::SAME).unwrap();
            conv.forward(x, Pass::PLAIN).unwrap()
        }
        ("conv", _) => {
            let point = Linear::point(scope, (shape[1], shape[0])).unwrap();
            let tokens = x.flatten_from(2).unwrap().transpose(1, 2).unwrap();
            let y = point.forward(&tokens).unwrap().transpose(1, 2).unwrap();
            let (_, _, height, width) = x.dims4().unwrap();
            y.reshape((1, shape[0], height, width)).unwrap()
        }
        (_, _) => {
            let linear = if layer.bias {
                Linear::new(scope, (shape[1], shape[0]))
            } else {
                Linear::without_bias(scope, (shape[1], shape[0]))
            };
            linear.unwrap().forward(x).unwrap()
        }
    }
}

fn difference(a: &Tensor, b: &Tensor) -> f32 {
    let difference = (a - b).unwrap().abs().unwrap().flatten_all().unwrap();
    difference.max(0).unwrap().to_scalar().unwrap()
}

/// Checks a case in both modes, and that it matters; returns how many layers it covered.
fn check(expected: &mut Expected, case: &str) -> usize {
    let set = expected.set(case);
    let unmatched: Vec<_> = set.unmatched().flat_map(|(_, keys)| keys).collect();
    assert!(unmatched.is_empty(), "{case} leaves {unmatched:?}");
    let mut covered = 0;
    for part in [Part::Unet, Part::Text] {
        let mut warm = expected.warm(part);
        for i in 0..expected.layers.len() {
            let name = format!(
                "{case}.{}.{}",
                expected.layers[i].part, expected.layers[i].path
            );
            if expected.layers[i].part() != part {
                continue;
            }
            let Some(x) = expected.tensor(&format!("{name}.x")) else {
                continue;
            };
            let y = expected.tensor(&format!("{name}.y")).unwrap();
            let layer = &expected.layers[i];
            warm.apply(&AdapterSet::default(), Mode::Merged).unwrap();
            let plain = output(&mut warm, layer, &x);
            assert!(difference(&plain, &y) > 0.01, "{name} changes something");
            for mode in [Mode::Merged, Mode::Runtime] {
                warm.apply(&set, mode).unwrap();
                let off = difference(&output(&mut warm, layer, &x), &y);
                assert!(off < TOLERANCE, "{name} {mode:?} is off by {off}");
            }
            covered += 1;
        }
    }
    covered
}

#[test]
fn e41_every_kind_computes_what_its_reference_does() {
    let mut expected = Expected::open();
    let cases: Vec<_> = expected.strengths.keys().cloned().collect();
    assert_eq!(cases.len(), 27);
    let layers: usize = cases.iter().map(|case| check(&mut expected, case)).sum();
    assert!(layers > 80, "{layers} layers compared");
}

#[test]
fn e43_sets_add_up_in_any_order_and_leave_no_trace() {
    let mut expected = Expected::open();
    let names = expected.names();
    let adapter = |case: &str, weight| AdapterUse {
        path: folder().join(format!("{case}.safetensors")),
        config: None,
        strength: Strength::new(micro(weight), micro(weight)),
    };
    let open = |uses: &[AdapterUse]| {
        AdapterSet::open(SetKey::of(uses).unwrap(), &names, &AdapterSet::default()).unwrap()
    };
    let (a, b, c) = (
        adapter("lora", 0.5),
        adapter("dora-loha", 0.8),
        adapter("lora", -0.2),
    );
    let forth = open(&[a.clone(), b.clone(), c.clone()]);
    let back = open(&[c, b, a]);
    assert_eq!(forth.key(), back.key());
    let mut warm = expected.warm(Part::Unet);
    let layer = expected.layers[0].module();
    let weight = |warm: &mut WarmPart| {
        let (weight, _) = warm.module(layer.clone()).unwrap();
        weight.flatten_all().unwrap().to_vec1::<f32>().unwrap()
    };
    let clean = weight(&mut warm);
    warm.apply(&forth, Mode::Merged).unwrap();
    let adapted = weight(&mut warm);
    warm.apply(&back, Mode::Merged).unwrap();
    assert_eq!(weight(&mut warm), adapted);
    assert_ne!(adapted, clean);
    warm.apply(&AdapterSet::default(), Mode::Merged).unwrap();
    assert_eq!(weight(&mut warm), clean, "bit for bit");
}

#[test]
fn e43_untouched_modules_and_run_time_weights_are_shared() {
    let mut expected = Expected::open();
    let set = expected.set("locon-tucker");
    let mut warm = expected.warm(Part::Unet);
    let modules = expected.modules(Part::Unet);
    let ids = |warm: &mut WarmPart| -> Vec<_> {
        let id = |module: &Module| warm.module(module.clone()).unwrap().0.id();
        modules.iter().map(id).collect()
    };
    let clean = ids(&mut warm);
    warm.apply(&set, Mode::Merged).unwrap();
    let merged = ids(&mut warm);
    let changed = clean.iter().zip(&merged).filter(|(a, b)| a != b).count();
    assert_eq!(changed, 1, "only the convolution has a copy");
    warm.apply(&set, Mode::Runtime).unwrap();
    assert_eq!(ids(&mut warm), clean);
}

#[test]
fn e43_a_built_network_holds_the_only_copy_and_clean_weights_come_back_from_it() {
    let mut expected = Expected::open();
    let (mut warm, mut before) = (expected.warm(Part::Unet), expected.warm(Part::Unet));
    let bits = |warm: &mut WarmPart, layer: &Listed| {
        let (weight, _) = warm.module(layer.module()).unwrap();
        (
            weight.dims().to_vec(),
            weight.flatten_all().unwrap().to_vec1::<f32>().unwrap(),
        )
    };
    let mut packed = 0;
    for layer in &expected.layers {
        if layer.part() != Part::Unet || layer.kind == "norm" {
            continue;
        }
        let (first, _) = warm.module(layer.module()).unwrap();
        let mut root = Scope::root(&mut warm);
        let scope = root.at(&layer.path);
        match layer.shape.as_slice() {
            [outer, inner, side, _] if *side > 1 => {
                drop(Conv::new(scope, (*inner, *outer), *side, Geometry::SAME).unwrap());
            }
            [outer, inner, _, _] => drop(Linear::point(scope, (*inner, *outer)).unwrap()),
            [outer, inner] => drop(Linear::without_bias(scope, (*inner, *outer)).unwrap()),
            shape => panic!("{shape:?}"),
        }
        let (again, _) = warm.module(layer.module()).unwrap();
        assert_ne!(
            first.id(),
            again.id(),
            "{} is still kept as a tensor",
            layer.path
        );
        assert_eq!(
            bits(&mut warm, layer),
            bits(&mut before, layer),
            "{}",
            layer.path
        );
        packed += 1;
    }
    assert_eq!(packed, 3);
}

#[test]
fn e43_zero_strength_touches_nothing_and_known_files_are_not_read_again() {
    let expected = Expected::open();
    let names = expected.names();
    let adapter = |unet: f64| AdapterUse {
        path: folder().join("lora.safetensors"),
        config: None,
        strength: Strength::new(micro(unet), micro(1.0)),
    };
    let open = |unet, previous: &AdapterSet| {
        AdapterSet::open(SetKey::of(&[adapter(unet)]).unwrap(), &names, previous).unwrap()
    };
    let zero = open(0.0, &AdapterSet::default());
    assert!(zero.touched(Part::Unet).is_empty());
    assert_eq!(zero.touched(Part::Text).len(), 1);
    let stronger = open(1.0, &zero);
    assert!(stronger.shares_with(&zero));
    assert_eq!(stronger.touched(Part::Unet).len(), 3);
}
