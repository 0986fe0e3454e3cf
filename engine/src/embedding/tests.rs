//! Layouts found in the wild, each for the base it was made for and for another.

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::tensor_file::{OwnedTensor, write};

fn file(dir: &TempDir, tensors: &[(&str, &[usize])]) -> PathBuf {
    let tensor = |(name, shape): &(&str, &[usize])| {
        let count = shape.iter().product::<usize>();
        let values = (0..count).map(|i| i as f32).collect();
        let shape = shape.to_vec();
        ((*name).to_owned(), OwnedTensor { shape, values })
    };
    let path = dir.path().join("word.safetensors");
    let tensors = tensors.iter().map(tensor).collect();
    write(
        &mut File::create(&path).unwrap(),
        &tensors,
        &BTreeMap::new(),
    )
    .unwrap();
    path
}

fn sd1() -> BTreeMap<Part, usize> {
    BTreeMap::from([(Part::Text, 768)])
}

fn sdxl() -> BTreeMap<Part, usize> {
    BTreeMap::from([(Part::Text, 768), (Part::Text2, 1280)])
}

#[test]
fn e47_every_layout_gives_its_vectors() {
    let dir = TempDir::new().unwrap();
    for (tensors, widths, rows) in [
        (&[("emb_params", &[5_usize, 768][..])][..], sd1(), 5),
        (&[("<fox>", &[768])], sd1(), 1),
        (&[("<fox>", &[3, 768])], sd1(), 3),
        (&[("string_to_param.*", &[2, 768])], sd1(), 2),
        (
            &[("emb_params", &[2, 1024])],
            BTreeMap::from([(Part::Text, 1024)]),
            2,
        ),
        (&[("clip_l", &[4, 768]), ("clip_g", &[4, 1280])], sdxl(), 4),
        (
            &[("emb_params", &[2, 32])],
            BTreeMap::from([(Part::Text, 32)]),
            2,
        ),
    ] {
        let path = file(&dir, tensors);
        let embedding = Embedding::open(&path, "word", &widths).unwrap();
        assert_eq!((embedding.name.as_str(), embedding.rows()), ("word", rows));
        assert_eq!(embedding.vectors.len(), widths.len());
        for (part, vectors) in &embedding.vectors {
            assert!(vectors.iter().all(|vector| vector.len() == widths[part]));
            assert_eq!(vectors[rows - 1][0] as usize, (rows - 1) * widths[part]);
        }
    }
}

#[test]
fn e47_bundled_embeddings_are_read_from_a_lora() {
    let dir = TempDir::new().unwrap();
    let path = file(
        &dir,
        &[
            ("bundle_emb.ember.string_to_param.*", &[2, 768]),
            ("bundle_emb.ash.string_to_param.*", &[1, 768]),
            ("lora_unet_x.lora_up.weight", &[4, 4]),
        ],
    );
    let bundled = Embedding::open_bundled(&path, &sd1()).unwrap();
    let found: Vec<_> = bundled
        .iter()
        .map(|e| (e.name.as_str(), e.rows()))
        .collect();
    assert_eq!(found, [("ash", 1), ("ember", 2)]);
    assert!(is_bundled("bundle_emb.ember.string_to_param.*"));
}

#[test]
fn e48_embeddings_for_another_base_are_refused() {
    let dir = TempDir::new().unwrap();
    for (tensors, widths, width) in [
        (&[("emb_params", &[1_usize, 1024][..])][..], sd1(), 1024),
        (&[("emb_params", &[1, 768])], sdxl(), 768),
        (
            &[("clip_l", &[1, 768]), ("clip_g", &[1, 1280])],
            sd1(),
            1280,
        ),
    ] {
        let error = Embedding::open(&file(&dir, tensors), "word", &widths).unwrap_err();
        let EmbeddingError::WrongBase { got, expected, .. } = &error else {
            panic!("{error}");
        };
        assert_eq!((*got, expected.len()), (width, widths.len()), "{error}");
    }
}

#[test]
fn e48_pickles_are_refused_with_the_way_out() {
    let dir = TempDir::new().unwrap();
    for (name, bytes) in [
        ("a.pt", &b"PK\x03\x04rest"[..]),
        ("b.bin", b"\x80\x02}q\x00"),
    ] {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let error = Embedding::open(&path, "a", &sd1()).unwrap_err();
        assert!(matches!(error, EmbeddingError::Pickle { .. }), "{error}");
        assert!(error.to_string().contains("safetensors"), "{error}");
    }
}

#[test]
fn e48_damaged_and_absurd_embeddings_are_refused() {
    let dir = TempDir::new().unwrap();
    for tensors in [
        &[("emb_params", &[0_usize, 768][..])][..],
        &[("emb_params", &[1, 2, 768])],
        &[("emb_params", &[600, 768])],
        &[("clip_l", &[2, 768]), ("clip_g", &[3, 1280])],
    ] {
        let error = Embedding::open(&file(&dir, tensors), "word", &sdxl()).unwrap_err();
        let named = matches!(
            error,
            EmbeddingError::Malformed { .. } | EmbeddingError::WrongBase { .. }
        );
        assert!(named, "{error}");
    }
    let path = file(&dir, &[("conv_in.weight", &[4, 768])]);
    let error = Embedding::open(&path, "word", &sd1()).unwrap_err();
    assert!(
        matches!(error, EmbeddingError::NotAnEmbedding { .. }),
        "{error}"
    );
}

proptest! {
    // E48: any shape is read or refused.
    #[test]
    fn e48_any_shape_is_read_or_refused(
        key in prop::sample::select(vec!["emb_params", "clip_l", "<x>", "x.y"]),
        shape in prop::collection::vec(0_usize..70, 0..4),
    ) {
        let dir = TempDir::new().unwrap();
        let path = file(&dir, &[(key, &shape)]);
        let widths = BTreeMap::from([(Part::Text, 32)]);
        if let Ok(embedding) = Embedding::open(&path, "x", &widths) {
            prop_assert!(embedding.rows() >= 1);
        }
    }
}
