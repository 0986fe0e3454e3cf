//! Whole tiny models: what is read is what was written, whatever the layout and storage.

use super::*;

/// A tiny model's folder.
fn tiny(dir: &Path, seed: u64, layout: Layout) -> Vec<AssetFile> {
    write_checkpoint_as(dir, seed, layout).unwrap();
    let mut files = Vec::new();
    for place in std::fs::read_dir(dir).unwrap().flatten() {
        for file in std::fs::read_dir(place.path())
            .into_iter()
            .flatten()
            .flatten()
        {
            let path = file.path();
            let name = path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned();
            let path = path.to_str().unwrap().to_owned();
            files.push(AssetFile { name, path });
        }
    }
    files
}

/// The same model in one file.
fn exported(files: &[AssetFile], dir: &Path, storage: Dtype, layout: Layout) -> Vec<AssetFile> {
    let path = dir.join("model.safetensors");
    let family = (layout == Layout::Second).then_some(Family::Sd2);
    let metadata = Metadata::Configurations;
    let how = Export {
        storage,
        metadata,
        family,
    };
    export(files, &path, how).unwrap();
    let path = path.to_str().unwrap().to_owned();
    vec![AssetFile {
        name: "model.safetensors".to_owned(),
        path,
    }]
}

fn open(files: &[AssetFile]) -> ModelFiles {
    ModelFiles::open(files, &Choice::default()).unwrap()
}

fn all_tensors(model: &ModelFiles, part: Part) -> Vec<(String, Vec<f32>)> {
    let mut weights = model.weights(part, &Placement::default()).unwrap();
    let mut all = Vec::new();
    for module in model.modules(part).unwrap() {
        let (weight, bias) = weights.module(module.clone()).unwrap();
        for (end, tensor) in [("weight", weight), ("bias", bias)] {
            let values = tensor.flatten_all().unwrap().to_vec1().unwrap();
            all.push((format!("{}.{end}", module.path), values));
        }
    }
    all
}

#[test]
fn e16_one_file_has_the_very_tensors_of_the_folder() {
    for (name, layout) in Layout::ALL {
        let dir = tempfile::tempdir().unwrap();
        let files = tiny(&dir.path().join("folder"), 7, layout);
        let (folder, single) = (
            open(&files),
            open(&exported(&files, dir.path(), Dtype::F32, layout)),
        );
        single.check().unwrap();
        folder.check().unwrap();
        assert_eq!(folder.prediction, single.prediction, "{name}");
        for part in [Part::Unet, Part::Vae, Part::Text, Part::Text2] {
            assert_eq!(folder.part(part).is_some(), single.part(part).is_some());
            if folder.part(part).is_some() {
                let same = all_tensors(&folder, part) == all_tensors(&single, part);
                assert!(same, "{name} {}", part.name());
            }
        }
        for text in [SCHEDULER, "tokenizer/vocab.json", "tokenizer/merges.txt"] {
            let [a, b] = [&folder, &single].map(|model| model.folder().text(text).unwrap());
            assert_eq!(a, b, "{name} {text}");
        }
    }
}

/// Made by `specs/vectors/engine/make_names.py` with diffusers' converters.
#[test]
fn e10_names_are_those_that_diffusers_converts() {
    type Names = BTreeMap<String, BTreeMap<String, BTreeMap<String, String>>>;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../specs/vectors/engine/names.json");
    let known: Names = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let mut compared = 0;
    for (name, layout) in Layout::ALL {
        let Some(known) = known.get(name) else {
            continue;
        };
        let dir = tempfile::tempdir().unwrap();
        let model = open(&tiny(dir.path(), 7, layout));
        let family = if layout == Layout::Second {
            Family::Sd2
        } else {
            model.family
        };
        for part in [Part::Unet, Part::Vae, Part::Text, Part::Text2] {
            let Some(known) = known.get(part.name()) else {
                continue;
            };
            let modules = model.modules(part).unwrap();
            let naming = naming(part, family, &modules);
            let all = modules.iter().flat_map(tensors);
            let all: BTreeMap<_, _> = all
                .filter(|(tensor, _)| tensor.ends_with(".weight"))
                .map(|(tensor, _)| (tensor.clone(), naming.stored(&tensor).remove(0).name))
                .collect();
            assert_eq!(&all, known, "{name} {}", part.name());
            compared += all.len();
        }
    }
    assert!(compared > 1000, "{compared} names are compared");
}

#[test]
fn e12_every_storage_is_read_to_its_precision() {
    let dir = tempfile::tempdir().unwrap();
    let files = tiny(&dir.path().join("folder"), 7, Layout::Classic);
    let exact = all_tensors(&open(&files), Part::Unet);
    for (storage, relative) in [
        (Dtype::F16, 2_f32.powi(-11)),
        (Dtype::Bf16, 2_f32.powi(-8)),
        (Dtype::F8E4m3, 2_f32.powi(-4)),
        (Dtype::F8E5m2, 2_f32.powi(-3)),
    ] {
        let single = open(&exported(&files, dir.path(), storage, Layout::Classic));
        single.check().unwrap();
        let mut differences = 0;
        for ((name, exact), (_, read)) in exact.iter().zip(all_tensors(&single, Part::Unet)) {
            for (exact, read) in exact.iter().zip(read) {
                // The smallest step of eight bits near zero.
                let bound = relative * exact.abs().max(2_f32.powi(-6));
                assert!((exact - read).abs() <= bound, "{storage:?} {name}");
                differences += u32::from(*exact != read);
            }
        }
        assert!(differences > 0, "{storage:?} rounds");
    }
}

#[test]
fn e16_other_autoencoder_takes_the_place_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let own = tiny(&dir.path().join("own"), 7, Layout::Classic);
    let other = tiny(&dir.path().join("other"), 8, Layout::Classic);
    let wanted = all_tensors(&open(&other), Part::Vae);
    assert_ne!(wanted, all_tensors(&open(&own), Part::Vae));
    let single = exported(&other, dir.path(), Dtype::F32, Layout::Classic);
    let lone: Vec<_> = other
        .iter()
        .filter_map(|file| {
            let name = file.name.strip_prefix("vae/")?.to_owned();
            let path = file.path.clone();
            Some(AssetFile { name, path })
        })
        .collect();
    for files in [&other, &single, &lone] {
        let choice = Choice {
            vae: Some(files),
            ..Choice::default()
        };
        let model = ModelFiles::open(&own, &choice).unwrap();
        model.check().unwrap();
        assert!(all_tensors(&model, Part::Vae) == wanted);
        assert!(all_tensors(&model, Part::Unet) == all_tensors(&open(&own), Part::Unet));
        check_vae(files).unwrap();
    }
}

#[test]
fn e19_value_that_is_no_number_is_found_while_loading() {
    let dir = tempfile::tempdir().unwrap();
    let files = tiny(dir.path(), 7, Layout::Classic);
    let path = dir.path().join("unet/diffusion_pytorch_model.safetensors");
    let file = TensorFile::open(&path).unwrap();
    let name = "mid_block.resnets.1.conv2.weight";
    let at = usize::try_from(file.position_of(&file.header().tensors[name])).unwrap() + 40;
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    std::fs::write(&path, bytes).unwrap();
    let model = open(&files);
    let mut weights = model.weights(Part::Unet, &Placement::default()).unwrap();
    let mut modules = model.modules(Part::Unet).unwrap().into_iter();
    let error = modules
        .find_map(|module| weights.module(module).err())
        .unwrap();
    assert!(
        matches!(
            &error,
            LoadError::TensorFile(TensorFileError::NotFinite { tensor, .. }) if tensor == name
        ),
        "{error}"
    );
}

#[test]
fn e19_adapter_given_as_checkpoint_is_called_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    write_lora_as(&path, 7, Layout::Classic).unwrap();
    let file = AssetFile {
        name: "model.safetensors".to_owned(),
        path: path.to_str().unwrap().to_owned(),
    };
    let error = ModelFiles::open(&[file], &Choice::default()).unwrap_err();
    assert!(error.to_string().contains("but an adapter"), "{error}");
}
