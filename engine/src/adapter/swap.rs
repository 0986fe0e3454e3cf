//! Adapter changes at full size, for measuring: random weights and random LoRAs of Stable Diffusion 1.5.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use hearth_protocol::job::Micro;

use super::warm::{Mode, WarmPart};
use super::{AdapterNames, AdapterSet, AdapterUse, Base, SetKey, Strength};
use crate::load::LoadError;
use crate::modules::{Module, Scope, Source, record};
use crate::names::Part;
use crate::tensor_file::{OwnedTensor, TensorFileError, write};
use crate::unet::{Unet, UnetConfig};

/// A warm UNet of Stable Diffusion 1.5's size whose adapters can be changed.
#[derive(Debug)]
pub struct Swap {
    config: UnetConfig,
    names: AdapterNames,
    warm: WarmPart,
    set: AdapterSet,
    files: Vec<PathBuf>,
    unet: Unet,
}

impl Swap {
    /// Fills the 192 layers that kohya trains with noise, and writes `count` LoRAs of a rank for them
    /// into `dir`.
    pub fn new(dir: &Path, rank: usize, count: usize) -> Result<Self, LoadError> {
        let config = UnetConfig::stable_diffusion_1();
        let modules = record(|scope| Unet::new(&config, scope))?;
        let trained: Vec<_> = modules.iter().filter(|m| is_trained(m)).cloned().collect();
        let mut files = Vec::new();
        for i in 0..count {
            let path = dir.join(format!("lora-{i}.safetensors"));
            write_lora(&path, &trained, rank, i as u64)?;
            files.push(path);
        }
        let mut names = AdapterNames::new(Base::Sd1);
        names.add(Part::Unet, modules);
        let (mut warm, mut noise) = (WarmPart::new(Part::Unet), Noise(Random(1)));
        let unet = Unet::new(&config, Scope::root(&mut warm.reading(&mut noise)))?;
        Ok(Self {
            config,
            names,
            warm,
            set: AdapterSet::default(),
            files,
            unet,
        })
    }

    /// Changes the set to these LoRAs with their weights, from opening files to a model that is ready
    /// to run; returns how many layers changed.
    pub fn change(&mut self, uses: &[(usize, Micro)], merged: Merging) -> Result<usize, LoadError> {
        let adapter = |(file, weight): &(usize, Micro)| AdapterUse {
            path: self.files[*file].clone(),
            config: None,
            strength: Strength::new(*weight, *weight),
        };
        let key = SetKey::of(&uses.iter().map(adapter).collect::<Vec<_>>())?;
        self.set = AdapterSet::open(key, &self.names, &self.set)?;
        let mode = match merged {
            Merging::IntoWeights => Mode::Merged,
            Merging::AtRunTime => Mode::Runtime,
        };
        self.warm.apply(&self.set, mode)?;
        self.unet = Unet::new(&self.config, Scope::root(&mut self.warm))?;
        Ok(self.set.touched(Part::Unet).len())
    }
}

/// How a measured set meets the weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merging {
    /// Added to them.
    IntoWeights,
    /// Applied to activations.
    AtRunTime,
}

/// Attention, feed-forward and their projections.
fn is_trained(module: &Module) -> bool {
    module.adaptable() && module.path.contains("attentions")
}

fn write_lora(path: &Path, modules: &[Module], rank: usize, seed: u64) -> Result<(), LoadError> {
    let mut random = Random(seed + 2);
    let mut tensors = BTreeMap::new();
    for module in modules {
        let name = format!("lora_unet_{}", module.path.replace('.', "_"));
        let inner = module.shape[1..].iter().product();
        let mut add = |ending: &str, shape: [usize; 2]| {
            let values = random.take(shape[0] * shape[1]);
            let shape = shape.to_vec();
            tensors.insert(format!("{name}.{ending}"), OwnedTensor { shape, values });
        };
        add("lora_up.weight", [module.shape[0], rank]);
        add("lora_down.weight", [rank, inner]);
    }
    let io = |source| TensorFileError::Io {
        path: path.to_path_buf(),
        source,
    };
    let mut out = BufWriter::new(File::create(path).map_err(io)?);
    write(&mut out, &tensors, &BTreeMap::new()).map_err(io)?;
    Ok(())
}

/// Noise for what is trained, and zeros that take no memory for the rest.
struct Noise(Random);

impl Source for Noise {
    fn module(&mut self, module: Module) -> Result<(Tensor, Tensor), LoadError> {
        let device = &Device::Cpu;
        let bias = Tensor::zeros(module.shape[0], DType::F32, device)?;
        let weight = if is_trained(&module) {
            let values = self.0.take(module.shape.iter().product());
            Tensor::from_vec(values, module.shape, device)?
        } else {
            Tensor::zeros(module.shape, DType::F32, device)?
        };
        Ok((weight, bias))
    }
}

/// A linear congruential generator: cheap, and good enough to keep values apart.
struct Random(u64);

impl Random {
    fn take(&mut self, count: usize) -> Vec<f32> {
        let mut next = || {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            // The upper 16 bits, centred: exact in f32.
            f32::from(u16::try_from(self.0 >> 48).expect("sixteen bits")) / 1e6 - 0.032
        };
        (0..count).map(|_| next()).collect()
    }
}
