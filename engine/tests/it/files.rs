//! What is refused at `model add`, each with its reason, and what is taken.

use std::fs;
use std::path::{Path, PathBuf};

use hearth_engine::tiny::{Layout, TRIGGER};
use hearth_engine::{HeaderError, InspectError, LoadError, TensorFileError, hash_file, inspect};
use hearth_protocol::card::CardKind;

use crate::material::Models;

/// Writes a safetensors file of a header text and data bytes.
fn raw(dir: &Path, name: &str, header: &str, data: usize) -> PathBuf {
    let path = dir.join(name);
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.resize(bytes.len() + data, 0);
    fs::write(&path, bytes).unwrap();
    path
}

fn header_error(path: &Path) -> HeaderError {
    match inspect(path).unwrap_err() {
        InspectError::TensorFile(TensorFileError::Header { source, .. }) => source,
        other => panic!("{other:?}"),
    }
}

#[test]
fn lora_says_what_it_is() {
    let models = Models::new(Layout::Classic);
    let facts = inspect(&models.path("lora.safetensors")).unwrap();
    assert_eq!(
        (facts.kind, facts.title.as_str()),
        (CardKind::Lora, "Tiny ember")
    );
    assert_eq!(facts.triggers, [TRIGGER]);
    assert_eq!((facts.dtype, facts.files.len()), ("f32", 1));
}

#[test]
fn trigger_words_are_the_most_frequent_tags() {
    let dir = tempfile::tempdir().unwrap();
    let header = r#"{"__metadata__":{"ss_tag_frequency":"{\"9_a\":{\"cat\":3,\"dog\":9},\"1_b\":{\"cat\":8}}"},
        "lora_unet_mid_block_x.lora_down.weight":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
    let facts = inspect(&raw(dir.path(), "tags.safetensors", header, 4)).unwrap();
    assert_eq!(facts.triggers, ["cat", "dog"]);
    assert_eq!(facts.title, "tags");
}

#[test]
fn folder_lists_its_files_with_the_unet_first() {
    for layout in [Layout::Classic, Layout::Varied] {
        let models = Models::new(layout);
        let facts = inspect(&models.path("model")).unwrap();
        assert_eq!(facts.kind, CardKind::Checkpoint);
        assert_eq!(
            facts.files[0].name,
            "unet/diffusion_pytorch_model.safetensors"
        );
        let names: Vec<_> = facts.files.iter().map(|file| file.name.as_str()).collect();
        for name in [
            "vae/config.json",
            "tokenizer/merges.txt",
            "scheduler/scheduler_config.json",
        ] {
            assert!(names.contains(&name), "{name}");
        }
    }
}

#[test]
fn every_damage_to_a_file_is_named() {
    let models = Models::new(Layout::Classic);
    let good = fs::read(models.path("lora.safetensors")).unwrap();
    let path = models.path("bad.safetensors");
    let damaged = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        header_error(&path)
    };
    assert!(matches!(damaged(&[]), HeaderError::TooShort { size: 0 }));
    assert!(matches!(
        damaged(&good[..100]),
        HeaderError::HeaderCut { .. }
    ));
    assert!(matches!(
        damaged(&good[..good.len() - 1]),
        HeaderError::DataCut { .. }
    ));
    let mut long = good.clone();
    long.push(0);
    assert!(matches!(damaged(&long), HeaderError::Hole { .. }));
    let mut huge = good.clone();
    huge[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    assert!(matches!(damaged(&huge), HeaderError::HeaderTooLong { .. }));
    let mut garbled = good;
    garbled[9] = b'!';
    assert!(matches!(damaged(&garbled), HeaderError::NotJson { .. }));

    let dir = models.dir.path();
    let unknown = r#"{"x":{"dtype":"Q4","shape":[4],"data_offsets":[0,4]}}"#;
    let overlap = r#"{"x":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},
        "y":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}}"#;
    let size = r#"{"x":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}"#;
    let of = |header: &str, data| header_error(&raw(dir, "raw.safetensors", header, data));
    assert!(matches!(of(unknown, 4), HeaderError::UnknownDtype { .. }));
    assert!(matches!(of(overlap, 6), HeaderError::Overlap { .. }));
    assert!(matches!(of(size, 4), HeaderError::WrongSize { .. }));
}

#[test]
fn pickle_is_refused_whatever_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let cases: [(&str, &[u8]); 3] = [
        ("model.safetensors", b"\x80\x02}q\x00X\x05\x00\x00\x00state"),
        ("archive.safetensors", b"PK\x03\x04rest"),
        ("model.ckpt", b"anything at all"),
    ];
    for (name, bytes) in cases {
        let path = dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        let error = inspect(&path).unwrap_err();
        assert!(
            matches!(error, InspectError::Pickle { .. }),
            "{name}: {error}"
        );
        assert!(
            error.to_string().contains("convert it to safetensors"),
            "{error}"
        );
    }
}

#[test]
fn other_things_are_called_by_their_name() {
    let dir = tempfile::tempdir().unwrap();
    let missing = inspect(&dir.path().join("nothing.safetensors")).unwrap_err();
    assert!(matches!(missing, InspectError::Io { .. }));

    let gguf = dir.path().join("model.gguf");
    fs::write(&gguf, b"GGUF\x03\x00\x00\x00").unwrap();
    assert!(inspect(&gguf).unwrap_err().to_string().contains("GGUF"));

    let tensor = |name: &str, shape: &str, bytes: usize| {
        let header =
            format!(r#"{{"{name}":{{"dtype":"F32","shape":{shape},"data_offsets":[0,{bytes}]}}}}"#);
        inspect(&raw(dir.path(), "x.safetensors", &header, bytes)).unwrap_err()
    };
    let flux = tensor(
        "lora_unet_double_blocks_0_img_attn_qkv.lora_up.weight",
        "[1]",
        4,
    );
    assert!(matches!(
        flux,
        InspectError::OtherArchitecture { base: "Flux", .. }
    ));
    let control = tensor("control_model.time_embed.0.weight", "[1]", 4);
    assert!(matches!(
        control,
        InspectError::OtherArchitecture {
            base: "a ControlNet",
            ..
        }
    ));
    let glora = tensor("lora_unet_down_blocks_x.a1.weight", "[1]", 4);
    assert!(matches!(glora, InspectError::OtherAdapter { .. }));
    let nothing = tensor("weight", "[1]", 4);
    assert!(matches!(nothing, InspectError::Unknown { .. }));
}

#[test]
fn folder_that_cannot_run_says_why() {
    let cause = |models: &Models| match inspect(&models.path("model")).unwrap_err() {
        InspectError::Checkpoint { source, .. } => source,
        other => panic!("{other:?}"),
    };
    let models = Models::new(Layout::Classic);
    fs::remove_file(models.path("model/vae/config.json")).unwrap();
    assert!(matches!(
        cause(&models),
        LoadError::MissingFile {
            name: "vae/config.json"
        }
    ));

    let models = Models::new(Layout::Classic);
    let config = models.path("model/unet/config.json");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(
        &config,
        text.replacen('{', r#"{"class_embed_type":"projection","#, 1),
    )
    .unwrap();
    let error = cause(&models);
    assert!(
        matches!(error, LoadError::Unsupported { part: "unet", .. }),
        "{error}"
    );

    fs::write(&config, text.replace("64", "128")).unwrap();
    let error = cause(&models);
    assert!(
        matches!(error, LoadError::WrongShape { part: "unet", .. }),
        "{error}"
    );

    fs::write(&config, "{").unwrap();
    assert!(matches!(cause(&models), LoadError::Config { .. }));

    let models = Models::new(Layout::Classic);
    let unet = models.path("model/unet");
    fs::remove_file(unet.join("diffusion_pytorch_model.safetensors")).unwrap();
    fs::write(unet.join("diffusion_pytorch_model.bin"), b"PK\x03\x04").unwrap();
    let error = inspect(&models.path("model")).unwrap_err();
    assert!(matches!(error, InspectError::Pickle { .. }), "{error}");
}

#[test]
fn hashes_of_a_lora_are_those_people_quote() {
    let models = Models::new(Layout::Classic);
    let path = models.path("lora.safetensors");
    let hashes = hash_file(&path).unwrap();
    let bytes = fs::read(&path).unwrap();
    assert_eq!(hashes.blake3.as_bytes(), blake3::hash(&bytes).as_bytes());
    assert_eq!(hashes.size, bytes.len() as u64);
    assert_eq!(hashes.autov2().len(), 10);
    assert_eq!(hashes.autov3().unwrap().len(), 12);
    assert!(hash_file(&models.path("nothing")).is_err());
}
