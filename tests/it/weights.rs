//! Model files for the stories: tiny ones that compute, a large one that only travels, broken ones.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use serde_json::Value;

/// Writes the tiny checkpoint.
pub(crate) fn checkpoint(dir: &Path) -> PathBuf {
    let path = dir.join("tiny");
    hearth_engine::tiny::write_checkpoint(&path, 7).expect("the tiny model can be written");
    path
}

/// Writes out the model in the binary.
pub(crate) fn kindling(dir: &Path) -> PathBuf {
    let path = dir.join("kindling.safetensors");
    fs::write(&path, hearth_engine::kindling::WEIGHTS).expect("Kindling can be written");
    path
}

/// Writes the LoRA for the tiny one.
pub(crate) fn lora(dir: &Path) -> PathBuf {
    let path = dir.join("ember.safetensors");
    hearth_engine::tiny::write_lora(&path, 7).expect("the tiny LoRA can be written");
    path
}

/// Splits a safetensors file into its header and its data.
pub(crate) fn split(bytes: &[u8]) -> (Value, &[u8]) {
    let (len, rest) = bytes.split_at(8);
    let len = u64::from_le_bytes(len.try_into().expect("eight bytes"));
    let (header, data) = rest.split_at(usize::try_from(len).expect("a small header"));
    (serde_json::from_slice(header).expect("a header"), data)
}

/// Writes a safetensors file of a header and data.
pub(crate) fn join(path: &Path, header: &Value, data: &[u8]) {
    let header = header.to_string();
    let len = u64::try_from(header.len()).expect("a small header");
    let bytes = [&len.to_le_bytes(), header.as_bytes(), data].concat();
    fs::write(path, bytes).expect("a file can be written");
}

/// Writes a valid LoRA with so many MiB of ballast, none like another.
pub(crate) fn large_lora(dir: &Path, mib: usize) -> PathBuf {
    let small = fs::read(lora(dir)).expect("the LoRA was written");
    let (mut header, data) = split(&small);
    let ballast = mib << 20;
    header["lora_unet_ballast.lora_up.weight"] = serde_json::json!({
        "dtype": "F32", "shape": [ballast / 4], "data_offsets": [data.len(), data.len() + ballast],
    });
    let path = dir.join("large.safetensors");
    join(&path, &header, data);
    let file = File::options()
        .append(true)
        .open(&path)
        .expect("it was written");
    let mut file = BufWriter::with_capacity(1 << 20, file);
    let mut state = 1_u64;
    for _ in 0..ballast / 8 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        file.write_all(&state.to_le_bytes())
            .expect("the disk has room");
    }
    file.flush().expect("the disk has room");
    path
}
