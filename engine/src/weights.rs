//! Reads a part's weights from its files by the names the module table asks for.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};

use crate::load::LoadError;
use crate::modules::{Bias, Module, Source};
use crate::tensor_file::{TensorEntry, TensorFile};

/// Most files one part may be split into.
const SHARDS_MAX: usize = 64;

/// One part's tensors by canonical name, read when they are asked for.
#[derive(Debug)]
pub(crate) struct Weights {
    part: &'static str,
    files: Vec<TensorFile>,
    /// Canonical name to file, name in the file, and place.
    index: BTreeMap<String, (usize, String, TensorEntry)>,
}

impl Weights {
    /// Opens a part's files.
    pub(crate) fn open(part: &'static str, paths: &[&Path]) -> Result<Self, LoadError> {
        if paths.len() > SHARDS_MAX {
            let what = format!("weights in {} files", paths.len());
            return Err(LoadError::Unsupported { part, what });
        }
        let mut files = Vec::new();
        let mut index = BTreeMap::new();
        for path in paths {
            let file = TensorFile::open(path)?;
            for (name, entry) in &file.header().tensors {
                index.insert(canonical(name), (files.len(), name.clone(), entry.clone()));
            }
            files.push(file);
        }
        Ok(Self { part, files, index })
    }

    /// Checks that every module's tensors are there, in shape and in a type that is read.
    pub(crate) fn check(&self, modules: &[Module]) -> Result<(), LoadError> {
        for module in modules {
            let (file, stored, entry) =
                self.find(&format!("{}.weight", module.path), &module.shape)?;
            self.files[file].check_readable(stored, entry)?;
            if module.bias == Bias::Present {
                let name = format!("{}.bias", module.path);
                let (file, stored, entry) = self.find(&name, &module.shape[..1])?;
                self.files[file].check_readable(stored, entry)?;
            }
        }
        Ok(())
    }

    fn find(&self, name: &str, shape: &[usize]) -> Result<(usize, &str, &TensorEntry), LoadError> {
        let Some((file, stored, entry)) = self.index.get(name) else {
            return Err(LoadError::MissingTensor {
                part: self.part,
                tensor: name.to_owned(),
            });
        };
        if significant(&entry.shape) != significant(shape) {
            return Err(LoadError::WrongShape {
                part: self.part,
                tensor: name.to_owned(),
                expected: shape.to_vec(),
                got: entry.shape.clone(),
            });
        }
        Ok((*file, stored, entry))
    }

    fn read(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, LoadError> {
        let (file, stored, entry) = self.find(name, shape)?;
        let (stored, entry) = (stored.to_owned(), entry.clone());
        Ok(self.files[file].read(&stored, &entry)?)
    }
}

impl Source for Weights {
    fn module(&mut self, module: Module) -> Result<(Tensor, Tensor), LoadError> {
        let device = &Device::Cpu;
        let weight = self.read(&format!("{}.weight", module.path), &module.shape)?;
        let weight = Tensor::from_vec(weight, module.shape.as_slice(), device)?;
        let bias = match module.bias {
            Bias::Present => {
                let bias = self.read(&format!("{}.bias", module.path), &module.shape[..1])?;
                Tensor::from_vec(bias, module.shape[0], device)?
            }
            Bias::Absent => Tensor::zeros(module.shape[0], DType::F32, device)?,
        };
        Ok((weight, bias))
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

/// Returns the name the module table uses for a stored name: transformers' optional prefix dropped,
/// the autoencoder's old attention names replaced.
fn canonical(stored: &str) -> String {
    let name = stored.strip_prefix("text_model.").unwrap_or(stored);
    if name.contains("mid_block.attentions.0.") {
        return name
            .replace(".query.", ".to_q.")
            .replace(".key.", ".to_k.")
            .replace(".value.", ".to_v.")
            .replace(".proj_attn.", ".to_out.0.");
    }
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_and_prefixed_names_become_canonical() {
        let q = "decoder.mid_block.attentions.0.query.weight";
        assert_eq!(canonical(q), "decoder.mid_block.attentions.0.to_q.weight");
        assert_eq!(
            canonical("text_model.final_layer_norm.bias"),
            "final_layer_norm.bias"
        );
        assert_eq!(canonical("conv_in.weight"), "conv_in.weight");
    }

    #[test]
    fn one_by_one_convolution_is_as_wide_as_its_linear_layer() {
        assert_eq!(significant(&[8, 4, 1, 1]), significant(&[8, 4]));
        assert_ne!(significant(&[8, 4, 3, 3]), significant(&[8, 4]));
        assert_eq!(significant(&[1]), &[1]);
        assert_eq!(significant(&[8, 1, 1, 1]), &[8, 1]);
    }
}
