//! Models: shared where they lie, fetched whole, refused with the reason.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::commons::{ASKS, Commons};
use crate::node::Node;
use crate::weights;

fn hashes(model: &Value) -> Vec<(String, String, String)> {
    let text = |file: &Value, key: &str| file[key].as_str().expect("a text").to_owned();
    let files = model["files"].as_array().expect("files");
    let of = |file: &Value| {
        (
            text(file, "name"),
            text(file, "blake3"),
            text(file, "sha256"),
        )
    };
    files.iter().map(of).collect()
}

#[test]
fn a_model_added_by_path_arrives_with_the_same_hashes() {
    let commons = Commons::of(&[("seeder", ASKS), ("reader", ASKS)]);
    let lora = weights::lora(commons.dir());
    let folder = commons.share_checkpoint("seeder");
    let card = commons.share("seeder", &lora);
    let reader = commons.node("reader");
    for card in [&folder, &card] {
        let before = reader.json(&["model", "show", card]);
        assert_eq!(before["have"], 0);
        let fetched = reader.json(&["model", "fetch", card]);
        assert_eq!(fetched["card"], **card);
        assert_eq!(fetched["bytes"], before["size"], "every byte travels once");
        let after = reader.json(&["model", "show", card]);
        assert_eq!(after["have"], after["size"]);
        assert_eq!(
            hashes(&after),
            hashes(&commons.node("seeder").json(&["model", "show", card]))
        );
        let again = reader.json(&["model", "fetch", card]);
        assert_eq!(again["bytes"], 0, "what is here is not fetched again");
    }
    let bytes = fs::read(&lora).unwrap();
    let model = reader.json(&["model", "show", &card]);
    let [(name, blake3, sha256)] = &hashes(&model)[..] else {
        panic!("one file: {model}")
    };
    assert_eq!(name, "ember.safetensors");
    assert_eq!(*blake3, blake3::hash(&bytes).to_hex().as_str());
    assert_eq!(model["triggers"], json!(["ember glow"]));
    // Any of its names leads to it, and nothing was copied at the seeder.
    for name in ["Tiny ember", &card[..10], blake3, sha256, &sha256[..10]] {
        assert_eq!(
            reader.json(&["model", "show", name])["card"],
            *card,
            "by {name}"
        );
    }
    let kept: u64 = sizes(&commons.node("seeder").home().join("blobs").join("data"));
    assert!(
        kept < u64::try_from(bytes.len()).unwrap(),
        "{kept} bytes were copied"
    );
}

fn sizes(dir: &Path) -> u64 {
    let files = fs::read_dir(dir)
        .into_iter()
        .flatten()
        .map_while(Result::ok);
    files
        .filter(|file| file.path().extension().is_some_and(|ext| ext == "data"))
        .map(|file| file.metadata().map_or(0, |meta| meta.len()))
        .sum()
}

#[test]
fn files_that_are_no_model_are_refused_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), "alone", ASKS);
    let refused = |path: &Path, why: &str| {
        let path = path.display().to_string();
        let what = format!("error: cannot add {path}");
        node.run(&["model", "add", &path]).fails(1, &[&what, why]);
    };
    let write = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let lora = fs::read(weights::lora(dir.path())).unwrap();

    refused(
        &dir.path().join("nothing.safetensors"),
        "cause: No such file or directory",
    );
    refused(
        &write("a.ckpt", b"\x80\x02}q\x00."),
        "is a pickle, which can run code when loaded",
    );
    refused(
        &write("b.safetensors", b"PK\x03\x04archive/data.pkl"),
        "is a pickle",
    );
    refused(&write("c.safetensors", b""), "c.safetensors");
    refused(
        &write("d.safetensors", &lora[..lora.len() / 2]),
        "it was cut off: get it again",
    );
    refused(
        &write("e.safetensors", &[&lora[..], b"more"].concat()),
        "e.safetensors",
    );
    refused(&write("f.safetensors", &[0xff; 64]), "f.safetensors");
    refused(
        &write("g.safetensors", b"<!doctype html><title>404</title>"),
        "a web page",
    );
    refused(&write("h.gguf", b"GGUF\x03\0\0\0"), "is GGUF");

    is_empty(&node);
}

/// Nothing refused leaves a card behind.
fn is_empty(node: &Node) {
    let models = node.json(&["model", "list"]);
    assert_eq!(models["models"], json!([]));
}

#[test]
fn tensors_that_are_no_lora_of_this_family_are_refused_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), "alone", ASKS);
    let refused = |path: &Path, why: &str| {
        let path = path.display().to_string();
        node.run(&["model", "add", &path])
            .fails(1, &["error: cannot add", why]);
    };
    let lora = fs::read(weights::lora(dir.path())).unwrap();
    let (header, data) = weights::split(&lora);
    let with = |name: &str, change: &dyn Fn(&mut Value)| {
        let mut header = header.clone();
        change(&mut header);
        let path = dir.path().join(name);
        weights::join(&path, &header, data);
        path
    };
    let first = header
        .as_object()
        .unwrap()
        .keys()
        .find(|key| key.contains("lora"))
        .unwrap();
    let overlap = with("i.safetensors", &|header| {
        header["lora_unet_twice.alpha"] = header[first].clone();
    });
    refused(&overlap, "overlaps another one");
    let strange = with("j.safetensors", &|header| {
        header[first]["dtype"] = "F7".into();
    });
    refused(&strange, "has the unknown element type F7");
    // Names and shapes decide what a LoRA is for, not what its metadata claims.
    let other = dir.path().join("k.safetensors");
    let keys = header
        .to_string()
        .replace("_down_blocks_", "_double_blocks_");
    weights::join(&other, &serde_json::from_str(&keys).unwrap(), data);
    refused(&other, "belongs to Flux");
    let plain = dir.path().join("l.safetensors");
    let tensor = json!({"weight": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}});
    weights::join(&plain, &tensor, &[0; 4]);
    refused(
        &plain,
        "no model this version knows, neither checkpoint nor LoRA, embedding or autoencoder: its first key is weight",
    );
    is_empty(&node);
}

#[test]
fn folders_that_are_no_checkpoint_are_refused_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), "alone", ASKS);
    let refused = |path: &Path, why: &[&str]| {
        let path = path.display().to_string();
        node.run(&["model", "add", &path])
            .fails(1, &[&["cannot be used as a checkpoint"], why].concat());
    };
    let fresh = |name: &str| {
        let dir = dir.path().join(name);
        fs::create_dir(&dir).unwrap();
        weights::checkpoint(&dir)
    };
    let folder = fresh("missing");
    let unet = Path::new("unet/diffusion_pytorch_model.safetensors");
    fs::remove_file(folder.join(unet)).unwrap();
    refused(&folder, &["unet"]);

    let folder = fresh("truncated");
    let bytes = fs::read(folder.join(unet)).unwrap();
    fs::write(folder.join(unet), &bytes[..bytes.len() - 100]).unwrap();
    let path = folder.display().to_string();
    let why = [
        "diffusion_pytorch_model.safetensors",
        "it was cut off: get it again",
    ];
    node.run(&["model", "add", &path]).fails(1, &why);

    let folder = fresh("architecture");
    let path = folder.join("unet/config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    config["cross_attention_dim"] = 2048.into();
    fs::write(&path, config.to_string()).unwrap();
    refused(&folder, &["unet"]);

    let folder = fresh("pickle");
    let pickle = folder.join("unet/diffusion_pytorch_model.bin");
    fs::rename(folder.join(unet), &pickle).unwrap();
    let path = folder.display().to_string();
    let why = [
        "diffusion_pytorch_model.bin is a pickle",
        "convert it to safetensors",
    ];
    node.run(&["model", "add", &path]).fails(1, &why);

    let folder = fresh("larger");
    let path = folder.join("unet/config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    config["addition_embed_type"] = "text_time".into();
    fs::write(&path, config.to_string()).unwrap();
    refused(&folder, &["text_encoder_2/model.safetensors"]);

    refused(dir.path(), &["it should be a diffusers folder with unet"]);
    is_empty(&node);
}

#[test]
fn a_file_that_was_moved_away_is_no_longer_served() {
    let mut commons = Commons::of(&[("seeder", ASKS), ("reader", ASKS)]);
    let lora = weights::lora(commons.dir());
    let card = commons.share("seeder", &lora);
    fs::rename(&lora, lora.with_extension("moved")).unwrap();
    let refused = commons.node("reader").run(&["model", "fetch", &card]);
    refused.fails(1, &["error: cannot fetch 'Tiny ember'", "hint:"]);
    commons.node_mut("seeder").restart();
    commons.meet();
    let model = commons.node("seeder").json(&["model", "show", &card]);
    assert_eq!(model["have"], 0, "{model}");
}
