//! One part's tensors by canonical name: found under whatever name its files have, checked, and read
//! when they are asked for.
//!
//! Where the files come from is decided in [`crate::folder`] and [`crate::single_file`]; what they are
//! called in [`crate::names`].

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use candle_core::{DType, Device, Tensor};

use crate::load::LoadError;
use crate::modules::{Bias, Kind, Module, Source};
use crate::names::{Naming, Part, View};
use crate::tensor_file::{Dtype, TensorEntry, TensorFile};

/// Where a part's tensors are, and what they are called there.
#[derive(Clone, Debug)]
pub(crate) struct PartFiles {
    part: Part,
    files: Vec<Arc<TensorFile>>,
    naming: Naming,
}

/// A canonical tensor as it lies in a file.
#[derive(Debug)]
pub(crate) struct Found<'a> {
    part: Part,
    file: &'a TensorFile,
    name: String,
    entry: &'a TensorEntry,
    view: View,
}

impl Found<'_> {
    /// Returns its canonical shape.
    pub(crate) fn shape(&self) -> Vec<usize> {
        let mut shape = self.entry.shape.clone();
        match (self.view, shape.first_mut()) {
            (View::Third(_), Some(rows)) => *rows /= 3,
            (View::Transposed, Some(_)) => shape.reverse(),
            (View::Whole | View::Third(_) | View::Transposed, _) => {}
        }
        shape
    }

    fn elements(&self) -> Range<usize> {
        let all = self.entry.elements();
        match self.view {
            View::Whole | View::Transposed => 0..all,
            View::Third(n) => n * (all / 3)..(n + 1) * (all / 3),
        }
    }

    /// Returns its values in canonical order, an eight-bit float's scale applied.
    fn values(&self) -> Result<Vec<f32>, LoadError> {
        let elements = self.elements();
        let mut values = self
            .file
            .read_elements(&self.name, self.entry, elements.clone())?;
        if let Some((name, scale)) = self.scale() {
            self.check_scale(&name, scale)?;
            let scales = self.file.read(&name, scale)?;
            multiply(&mut values, elements.start, self.entry.elements(), &scales);
        }
        if let (View::Transposed, [rows, columns]) = (self.view, self.entry.shape.as_slice()) {
            values = transpose(&values, *rows, *columns);
        }
        Ok(values)
    }

    /// Finds the tensor that says by what to multiply, which scaled eight-bit files have: one number, or
    /// one for each row.
    fn scale(&self) -> Option<(String, &TensorEntry)> {
        let base = self.name.strip_suffix("weight")?;
        let tensors = &self.file.header().tensors;
        ["scale_weight", "weight_scale"].iter().find_map(|end| {
            let name = format!("{base}{end}");
            let entry = tensors.get(&name)?;
            Some((name, entry))
        })
    }

    /// Checks that its type is read and its scale is one that is understood.
    fn check(&self) -> Result<(), LoadError> {
        self.file.check_readable(&self.name, self.entry)?;
        match self.scale() {
            Some((name, scale)) => self.check_scale(&name, scale),
            None => Ok(()),
        }
    }

    fn check_scale(&self, name: &str, scale: &TensorEntry) -> Result<(), LoadError> {
        self.file.check_readable(name, scale)?;
        let rows = self.entry.shape.first().copied().unwrap_or(1);
        if [1, rows].contains(&scale.elements()) {
            return Ok(());
        }
        Err(LoadError::WrongShape {
            part: self.part.name(),
            tensor: name.to_owned(),
            expected: vec![rows],
            got: scale.shape.clone(),
        })
    }

    /// Returns how halves can be kept as they are.
    fn half(&self) -> Option<DType> {
        let halves = [(Dtype::F16, DType::F16), (Dtype::Bf16, DType::BF16)];
        let (_, half) = halves.into_iter().find(|(d, _)| *d == self.entry.dtype)?;
        (self.view != View::Transposed && self.scale().is_none()).then_some(half)
    }
}

/// Multiplies the run of a tensor that begins at element `start` by its scales.
fn multiply(values: &mut [f32], start: usize, all: usize, scales: &[f32]) {
    let row = (all / scales.len().max(1)).max(1);
    for (i, value) in values.iter_mut().enumerate() {
        *value *= scales[(start + i) / row];
    }
}

pub(crate) fn transpose(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let at = |i: usize| values[i % rows * columns + i / rows];
    (0..values.len()).map(at).collect()
}

impl PartFiles {
    pub(crate) fn new(part: Part, files: Vec<Arc<TensorFile>>, naming: Naming) -> Self {
        Self {
            part,
            files,
            naming,
        }
    }

    /// Returns the same files for another part.
    pub(crate) fn with_part(self, part: Part) -> Self {
        Self { part, ..self }
    }

    pub(crate) fn naming(&self) -> &Naming {
        &self.naming
    }

    /// Returns the files.
    pub(crate) fn files(&self) -> &[Arc<TensorFile>] {
        &self.files
    }

    /// Finds a canonical tensor, `path.weight` or `path.bias`.
    pub(crate) fn find(&self, tensor: &str) -> Option<Found<'_>> {
        self.naming.stored(tensor).into_iter().find_map(|stored| {
            self.files.iter().find_map(|file| {
                let entry = file.header().tensors.get(&stored.name)?;
                Some(Found {
                    part: self.part,
                    file,
                    name: stored.name.clone(),
                    entry,
                    view: stored.view,
                })
            })
        })
    }

    /// Returns the shape of a canonical tensor, if it is there.
    pub(crate) fn shape(&self, tensor: &str) -> Option<Vec<usize>> {
        self.find(tensor).map(|found| found.shape())
    }

    /// Reads a canonical tensor, whatever its shape.
    pub(crate) fn read(&self, tensor: &str) -> Result<Vec<f32>, LoadError> {
        self.find(tensor)
            .ok_or_else(|| self.missing(tensor))?
            .values()
    }

    fn missing(&self, tensor: &str) -> LoadError {
        let stored = self.naming.stored(tensor).into_iter().next();
        LoadError::MissingTensor {
            part: self.part.name(),
            tensor: stored.map_or_else(|| tensor.to_owned(), |stored| stored.name),
        }
    }

    fn of_shape(&self, tensor: &str, shape: &[usize]) -> Result<Found<'_>, LoadError> {
        let found = self.find(tensor).ok_or_else(|| self.missing(tensor))?;
        let got = found.shape();
        let third = matches!(found.view, View::Third(_));
        let divides = !third || found.entry.elements().is_multiple_of(3);
        if significant(&got) != significant(shape) || !divides {
            return Err(LoadError::WrongShape {
                part: self.part.name(),
                tensor: found.name,
                expected: shape.to_vec(),
                got,
            });
        }
        Ok(found)
    }

    /// Checks that every module's tensors are there, in shape and in a type that is read, and that a UNet
    /// has no layers besides.
    pub(crate) fn check(&self, modules: &[Module]) -> Result<(), LoadError> {
        let mut known = BTreeSet::new();
        for module in modules {
            for (tensor, shape) in tensors(module) {
                let found = self.of_shape(&tensor, shape)?;
                found.check()?;
                known.insert(found.name);
            }
        }
        match self.part {
            Part::Unet => self.check_strangers(&known),
            // Text encoders and autoencoders come with leftovers nobody reads.
            Part::Vae | Part::Text | Part::Text2 => Ok(()),
        }
    }

    fn check_strangers(&self, known: &BTreeSet<String>) -> Result<(), LoadError> {
        const SCALES: [&str; 5] = [
            "scale_weight",
            "weight_scale",
            "scale_input",
            "input_scale",
            "scaled_fp8",
        ];
        const ROOTS: [&str; 6] = [
            "input_blocks",
            "output_blocks",
            "middle_block",
            "down_blocks",
            "up_blocks",
            "mid_block",
        ];
        let prefix = self.naming.prefix;
        let stranger = |name: &&String| {
            let root = name.strip_prefix(prefix).and_then(|n| n.split('.').next());
            root.is_some_and(|root| ROOTS.contains(&root))
                && !known.contains(*name)
                && !SCALES.iter().any(|end| name.ends_with(end))
        };
        let names = self.files.iter().flat_map(|f| f.header().tensors.keys());
        let mut strangers = names.filter(stranger);
        match strangers.next() {
            None => Ok(()),
            Some(first) => Err(LoadError::UnknownTensors {
                part: self.part.name(),
                tensor: first.clone(),
                more: strangers.count(),
            }),
        }
    }
}

/// Returns a module's canonical tensors with their shapes.
pub(crate) fn tensors(module: &Module) -> impl Iterator<Item = (String, &[usize])> {
    let weight = (format!("{}.weight", module.path), module.shape.as_slice());
    let bias = match module.bias {
        Bias::Present => Some((format!("{}.bias", module.path), &module.shape[..1])),
        Bias::Absent => None,
    };
    std::iter::once(weight).chain(bias)
}

/// How tensors are kept in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Precision {
    /// All as `f32`.
    #[default]
    Full,
    /// Linear and convolution weights as 16-bit floats, as the file has them; the rest, which is small, as
    /// `f32`.
    Half,
    /// All in one type, as graphics cards want it.
    All(DType),
}

/// Where tensors are put and how they are kept.
#[derive(Clone, Debug)]
pub(crate) struct Placement {
    pub(crate) device: Device,
    pub(crate) precision: Precision,
}

impl Placement {
    /// Returns the type the network computes in.
    pub(crate) fn compute(&self) -> DType {
        match self.precision {
            Precision::Full | Precision::Half => DType::F32,
            Precision::All(dtype) => dtype,
        }
    }
}

impl Default for Placement {
    fn default() -> Self {
        Self {
            device: Device::Cpu,
            precision: Precision::Full,
        }
    }
}

/// A part's tensors, read when they are asked for.
#[derive(Debug)]
pub(crate) struct Weights {
    files: PartFiles,
    placement: Placement,
}

impl Weights {
    pub(crate) fn new(files: PartFiles, placement: Placement) -> Self {
        Self { files, placement }
    }

    fn weight(&self, module: &Module) -> Result<Tensor, LoadError> {
        let found = self
            .files
            .of_shape(&format!("{}.weight", module.path), &module.shape)?;
        if let Some(half) = found.half()
            && self.keeps_halves(module.kind)
        {
            let bytes = found
                .file
                .read_stored(&found.name, found.entry, found.elements())?;
            let device = &self.placement.device;
            let tensor = Tensor::from_raw_buffer(&bytes, half, &module.shape, device)?;
            return Ok(match self.placement.precision {
                Precision::All(dtype) => tensor.to_dtype(dtype)?,
                Precision::Full | Precision::Half => tensor,
            });
        }
        self.place(module.kind, found.values()?, &module.shape)
    }

    /// Whether a module's halves go into memory without a detour over `f32`.
    fn keeps_halves(&self, kind: Kind) -> bool {
        match self.placement.precision {
            Precision::Full => false,
            Precision::Half => matches!(kind, Kind::Linear | Kind::Conv),
            Precision::All(_) => true,
        }
    }

    fn place(&self, kind: Kind, values: Vec<f32>, shape: &[usize]) -> Result<Tensor, LoadError> {
        // The largest finite IEEE half.
        let fits = |values: &[f32]| values.iter().all(|value| value.abs() <= 65504.0);
        let dtype = match self.placement.precision {
            Precision::All(dtype) => dtype,
            Precision::Half if self.keeps_halves(kind) && fits(&values) => DType::F16,
            Precision::Half if self.keeps_halves(kind) => DType::BF16,
            Precision::Full | Precision::Half => DType::F32,
        };
        let tensor = Tensor::from_vec(values, shape, &Device::Cpu)?.to_dtype(dtype)?;
        Ok(tensor.to_device(&self.placement.device)?)
    }
}

impl Source for Weights {
    fn module(&mut self, module: Module) -> Result<(Tensor, Tensor), LoadError> {
        let weight = self.weight(&module)?;
        let rows = &module.shape[..1];
        let bias = match module.bias {
            Bias::Present => {
                let name = format!("{}.bias", module.path);
                self.files.of_shape(&name, rows)?.values()?
            }
            Bias::Absent => vec![0.0; module.shape[0]],
        };
        Ok((weight, self.place(Kind::Norm, bias, rows)?))
    }
}

/// Returns a shape without the trailing ones that tell a 1x1 convolution from a linear layer.
fn significant(shape: &[usize]) -> &[usize] {
    let mut shape = shape;
    while let [rest @ .., 1] = shape
        && shape.len() > 2
    {
        shape = rest;
    }
    shape
}

#[cfg(test)]
mod tests;
