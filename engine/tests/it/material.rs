//! What the stories need: tiny models on disk, specs and assets for them, committed vectors.

use std::path::{Path, PathBuf};

use hearth_engine::tiny::{Layout, write_checkpoint_as, write_lora_as};
use hearth_protocol::engine::{AssetFile, Assets, ModelAsset};
use hearth_protocol::id::CardId;
use hearth_protocol::job::{JobSpec, LoraUse, Micro, NoiseSchedule};
use tempfile::TempDir;

/// The seed the vectors' weights were made with.
pub(crate) const WEIGHTS_SEED: u64 = 7;

/// A tiny checkpoint and its LoRA in a folder that goes away.
pub(crate) struct Models {
    pub(crate) dir: TempDir,
}

impl Models {
    pub(crate) fn new(layout: Layout) -> Self {
        let dir = tempfile::tempdir().unwrap();
        write_checkpoint_as(&dir.path().join("model"), WEIGHTS_SEED, layout).unwrap();
        write_lora_as(&dir.path().join("lora.safetensors"), WEIGHTS_SEED, layout).unwrap();
        Self { dir }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn assets(&self, loras: usize) -> Assets {
        let lora = ModelAsset {
            title: "tiny-ember".to_owned(),
            hash: "0123456789ab".to_owned(),
            files: vec![asset("lora.safetensors", &self.path("lora.safetensors"))],
        };
        Assets {
            checkpoint: ModelAsset {
                title: "tiny".to_owned(),
                hash: "0123456789".to_owned(),
                files: folder(&self.path("model")),
            },
            loras: vec![lora; loras],
            embeddings: Vec::new(),
            vae: None,
            inputs: Vec::new(),
        }
    }
}

pub(crate) fn asset(name: &str, path: &Path) -> AssetFile {
    AssetFile {
        name: name.to_owned(),
        path: path.to_str().unwrap().to_owned(),
    }
}

/// Lists a folder's files by their names inside it.
pub(crate) fn folder(root: &Path) -> Vec<AssetFile> {
    let mut files = Vec::new();
    let parts = ["", "unet", "vae", "text_encoder", "text_encoder_2"];
    for part in parts
        .into_iter()
        .chain(["tokenizer", "tokenizer_2", "scheduler"])
    {
        // Only XL has a second of anything.
        for entry in std::fs::read_dir(root.join(part)).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_file() {
                let name = path
                    .strip_prefix(root)
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned();
                files.push(asset(&name, &path));
            }
        }
    }
    files
}

/// A small job.
pub(crate) fn spec() -> JobSpec {
    JobSpec {
        negative: "grey".to_owned(),
        width: 64,
        height: 64,
        steps: 4,
        guidance: Micro::from_millionths(7_500_000),
        schedule: NoiseSchedule::Karras,
        seed: 42,
        ..JobSpec::plain(CardId::from_bytes([1; 32]), "a red circle over the sea")
    }
}

/// The use of an adapter, in millionths.
pub(crate) fn lora(unet: i32, text: i32) -> LoraUse {
    LoraUse {
        card: CardId::from_bytes([2; 32]),
        unet: Micro::from_millionths(unet),
        text: Micro::from_millionths(text),
    }
}

/// The bytes of a committed vector file.
pub(crate) fn vector(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../specs/vectors/engine")
        .join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
