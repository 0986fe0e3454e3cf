//! Writes the tiny models that the scripts in `specs/vectors/engine` run with diffusers, each as a folder and
//! as one file: `cargo run -p hearth-engine --example tiny -- DIR`.

use std::error::Error;
use std::path::{Path, PathBuf};

use hearth_engine::tiny::{Layout, write_checkpoint_as, write_lora_as};
use hearth_engine::{Dtype, Export, Metadata, export};
use hearth_protocol::engine::AssetFile;
use hearth_protocol::job::Family;

/// The seed of every tiny model the vectors were made with.
const SEED: u64 = 7;

fn main() -> Result<(), Box<dyn Error>> {
    let dir = PathBuf::from(std::env::args_os().nth(1).unwrap_or_else(|| "tiny".into()));
    for (name, layout) in Layout::ALL {
        let folder = dir.join(name);
        write_checkpoint_as(&folder, SEED, layout)?;
        write_lora_as(&dir.join(format!("{name}-lora.safetensors")), SEED, layout)?;
        let how = Export {
            storage: Dtype::F32,
            metadata: Metadata::Configurations,
            family: (layout == Layout::Second).then_some(Family::Sd2),
        };
        export(
            &files(&folder)?,
            &dir.join(format!("{name}-single.safetensors")),
            how,
        )?;
    }
    Ok(())
}

/// Lists the files of a folder's parts.
fn files(root: &Path) -> Result<Vec<AssetFile>, Box<dyn Error>> {
    let mut files = Vec::new();
    for part in std::fs::read_dir(root)? {
        let part = part?.path();
        if !part.is_dir() {
            continue;
        }
        for file in std::fs::read_dir(part)? {
            let path = file?.path();
            let name = path.strip_prefix(root)?.to_string_lossy().into_owned();
            let path = path.to_string_lossy().into_owned();
            files.push(AssetFile { name, path });
        }
    }
    Ok(files)
}
