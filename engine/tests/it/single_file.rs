//! Checkpoints in one file: the same pictures as from their folders, and what is said of them.

use std::path::Path;

use hearth_engine::tiny::Layout;
use hearth_engine::{
    Cancel, Dtype, Export, Input, Metadata, Network, Prediction, Silent, Variant, export, inspect,
    run,
};
use hearth_protocol::card::CardKind;
use hearth_protocol::job::Family;

use crate::material::{Models, asset, folder, spec};

fn write(models: &Models, name: &str, family: Option<Family>) {
    let how = Export {
        storage: Dtype::F32,
        metadata: Metadata::Configurations,
        family,
    };
    export(&folder(&models.path("model")), &models.path(name), how).unwrap();
}

#[test]
fn e16_one_file_draws_the_very_picture_of_the_folder() {
    let models = Models::new(Layout::Classic);
    write(&models, "single.safetensors", None);
    let mut assets = models.assets(0);
    let draw = |assets: &_| {
        let mut output = run(&spec(), assets, &mut Silent, &Cancel::default()).unwrap();
        output.files.remove(0).bytes
    };
    let wanted = draw(&assets);
    let single = models.path("single.safetensors");
    assets.checkpoint.files = vec![asset("single.safetensors", &single)];
    assert!(draw(&assets) == wanted, "the same bytes");
}

#[test]
fn e18_one_file_says_what_it_is() {
    for (layout, family, input, prediction) in [
        (
            Layout::Classic,
            Family::Sd15,
            Input::Plain,
            Prediction::Epsilon,
        ),
        (
            Layout::Inpaint,
            Family::Sd15,
            Input::Inpaint,
            Prediction::Epsilon,
        ),
        (
            Layout::Second,
            Family::Sd2,
            Input::Plain,
            Prediction::Velocity,
        ),
        (Layout::Xl, Family::Sdxl, Input::Plain, Prediction::Epsilon),
    ] {
        let models = Models::new(layout);
        write(&models, "some_turbo.safetensors", Some(family));
        let facts = inspect(&models.path("some_turbo.safetensors")).unwrap();
        assert_eq!((facts.kind, facts.family), (CardKind::Checkpoint, family));
        assert_eq!(facts.network, Some(Network { input, prediction }));
        assert_eq!(facts.variant, Some(Variant::Turbo));
        assert_eq!(facts.settings.unwrap().steps, 4, "a turbo wants few steps");
        assert_eq!(facts.files.len(), 1);
    }
}

#[test]
fn e18_kindling_is_known_as_our_own() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("kindling/kindling.safetensors");
    let facts = inspect(&path).unwrap();
    assert_eq!(
        (facts.kind, facts.family),
        (CardKind::Checkpoint, Family::Kindling)
    );
    assert_eq!(facts.settings.unwrap().width, 128);
}

#[test]
fn e18_lone_autoencoder_is_one() {
    let models = Models::new(Layout::Classic);
    let facts = inspect(&models.path("model/vae")).unwrap();
    assert_eq!((facts.kind, facts.files.len()), (CardKind::Vae, 2));
}

#[test]
fn e18_embedding_is_known_by_its_width() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("easynegative.safetensors");
    for (tensors, family) in [
        (vec![("emb_params", vec![2, 768])], Family::Sd15),
        (vec![("<cat>", vec![1024])], Family::Sd2),
        (
            vec![("clip_g", vec![1, 1280]), ("clip_l", vec![1, 768])],
            Family::Sdxl,
        ),
    ] {
        let mut header = serde_json::Map::new();
        let mut at = 0;
        for (name, shape) in tensors {
            let end = at + shape.iter().product::<usize>();
            let entry =
                serde_json::json!({"dtype": "F8_E4M3", "shape": shape, "data_offsets": [at, end]});
            header.insert(name.to_owned(), entry);
            at = end;
        }
        let header = serde_json::Value::Object(header).to_string();
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.resize(bytes.len() + at, 0);
        std::fs::write(&path, bytes).unwrap();
        let facts = inspect(&path).unwrap();
        assert_eq!((facts.kind, facts.family), (CardKind::Embedding, family));
        assert_eq!(facts.title, "easynegative");
    }
}
