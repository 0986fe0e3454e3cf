//! Writes the tiny models that the scripts in `specs/vectors/engine` run with diffusers:
//! `cargo run -p hearth-engine --example tiny -- DIR`.

use std::path::PathBuf;

use hearth_engine::tiny::{Layout, TinyError, write_checkpoint_as, write_lora_as};

/// The seed of every tiny model the vectors were made with.
const SEED: u64 = 7;

fn main() -> Result<(), TinyError> {
    let dir = PathBuf::from(std::env::args_os().nth(1).unwrap_or_else(|| "tiny".into()));
    for (name, layout) in Layout::ALL {
        write_checkpoint_as(&dir.join(name), SEED, layout)?;
        write_lora_as(&dir.join(format!("{name}-lora.safetensors")), SEED, layout)?;
    }
    Ok(())
}
