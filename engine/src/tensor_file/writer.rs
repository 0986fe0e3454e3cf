//! Writes safetensors files whose bytes depend on nothing but their content.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde_json::{Map, Value, json};

use super::{Dtype, decode};

/// An `f32` tensor to be written.
#[derive(Clone, Debug)]
pub(crate) struct OwnedTensor {
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Vec<f32>,
}

/// Writes `f32` tensors in the order of their names, with sorted metadata.
pub(crate) fn write(
    out: &mut impl Write,
    tensors: &BTreeMap<String, OwnedTensor>,
    metadata: &BTreeMap<String, String>,
) -> io::Result<()> {
    write_as(Dtype::F32, out, tensors, metadata)
}

/// Writes tensors in another type, rounded to the nearest.
pub(crate) fn write_as(
    dtype: Dtype,
    out: &mut impl Write,
    tensors: &BTreeMap<String, OwnedTensor>,
    metadata: &BTreeMap<String, String>,
) -> io::Result<()> {
    let mut header = Map::new();
    if !metadata.is_empty() {
        header.insert("__metadata__".to_owned(), json!(metadata));
    }
    let mut at = 0;
    for (name, tensor) in tensors {
        let end = at + dtype.width() * tensor.values.len();
        let (name, dtype) = (name.clone(), dtype.name());
        let entry = json!({"dtype": dtype, "shape": tensor.shape, "data_offsets": [at, end]});
        header.insert(name, entry);
        at = end;
    }
    let mut header = Value::Object(header).to_string();
    while !header.len().is_multiple_of(8) {
        header.push(' ');
    }
    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(header.as_bytes())?;
    let encode = decode::encoder(dtype).ok_or(io::ErrorKind::Unsupported)?;
    let mut bytes = Vec::new();
    for tensor in tensors.values() {
        bytes.clear();
        for value in &tensor.values {
            bytes.extend_from_slice(&encode(*value).to_le_bytes()[..dtype.width()]);
        }
        out.write_all(&bytes)?;
    }
    Ok(())
}
