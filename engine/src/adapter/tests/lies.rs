//! Adapters for other bases, partly unknown ones, and files that contradict themselves.

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::tensor_file::{OwnedTensor, write};

const TO_Q: &str = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q";
const CONV: &str = "lora_unet_down_blocks_0_resnets_0_conv1";

type Tensors = BTreeMap<String, OwnedTensor>;

fn tensors(list: &[(&str, &[usize])]) -> Tensors {
    let tensor = |shape: &[usize]| OwnedTensor {
        shape: shape.to_vec(),
        values: vec![0.5; shape.iter().product()],
    };
    let named = list.iter();
    named
        .map(|(name, shape)| ((*name).to_owned(), tensor(shape)))
        .collect()
}

fn open(tensors: &Tensors) -> Result<Adapter, AdapterError> {
    open_with(tensors, &BTreeMap::new())
}

fn open_with(
    tensors: &Tensors,
    metadata: &BTreeMap<String, String>,
) -> Result<Adapter, AdapterError> {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("x.safetensors");
    write(&mut fs::File::create(&path).unwrap(), tensors, metadata).unwrap();
    Adapter::open(&path, None, &Expected::open().names())
}

/// Opens a LoRA on the attention layer with these shapes of up and down.
fn lora(up: &[usize], down: &[usize]) -> Result<Adapter, AdapterError> {
    let (up_name, down_name) = (
        format!("{TO_Q}.lora_up.weight"),
        format!("{TO_Q}.lora_down.weight"),
    );
    open(&tensors(&[(&up_name, up), (&down_name, down)]))
}

#[test]
fn e44_unmatched_keys_are_all_listed() {
    let mut file = tensors(&[
        ("lora_unet_nowhere.lora_up.weight", &[24, 4]),
        ("lora_unet_nowhere.lora_down.weight", &[4, 16]),
        ("lora_unet_nowhere.alpha", &[1]),
        ("something.else", &[1]),
        (&format!("{CONV}.lora_up.weight"), &[16, 4, 1, 1]),
        (&format!("{CONV}.rescale"), &[16]),
    ]);
    file.extend(tensors(&[
        (&format!("{TO_Q}.lora_up.weight"), &[24, 4]),
        (&format!("{TO_Q}.lora_down.weight"), &[4, 16]),
    ]));
    let adapter = open(&file).unwrap();
    assert_eq!(adapter.paths(Part::Unet).count(), 1);
    assert_eq!(
        adapter.unmatched,
        [
            &format!("{CONV}.lora_up.weight"),
            &format!("{CONV}.rescale"),
            "lora_unet_nowhere.alpha",
            "lora_unet_nowhere.lora_down.weight",
            "lora_unet_nowhere.lora_up.weight",
            "something.else",
        ]
    );
}

#[test]
fn e44_module_under_two_names_is_changed_once() {
    let sgm = "lora_unet_input_blocks_1_1_transformer_blocks_0_attn1_to_q";
    let file = tensors(&[
        (&format!("{TO_Q}.lora_up.weight"), &[24, 4]),
        (&format!("{TO_Q}.lora_down.weight"), &[4, 16]),
        (&format!("{sgm}.lora_up.weight"), &[24, 2]),
        (&format!("{sgm}.lora_down.weight"), &[2, 16]),
    ]);
    let adapter = open(&file).unwrap();
    assert_eq!(adapter.unmatched.len(), 2);
    assert!(adapter.unmatched.iter().all(|key| key.starts_with(sgm)));
}

#[test]
fn e45_adapters_for_another_base_are_refused_by_name() {
    let to_k = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k";
    let cases: [(&str, &[usize], &str); 8] = [
        (&format!("{to_k}.lora_down.weight"), &[4, 128], "Kindling"),
        (
            &format!("{to_k}.lora_down.weight"),
            &[4, 1024],
            "Stable Diffusion 2",
        ),
        (
            &format!("{to_k}.lora_down.weight"),
            &[4, 2048],
            "Stable Diffusion XL",
        ),
        (
            &format!("{to_k}.hada_w1_b"),
            &[4, 2048],
            "Stable Diffusion XL",
        ),
        (
            "lora_te2_text_model_x.lora_up.weight",
            &[1],
            "Stable Diffusion XL",
        ),
        (
            "lora_unet_double_blocks_0_img_attn_qkv.lora_up.weight",
            &[1],
            "Flux",
        ),
        (
            "transformer.x.lora_A.weight",
            &[1],
            "a diffusion transformer",
        ),
        (
            "lora_te_text_model_encoder_layers_0_mlp_fc1.lora_down.weight",
            &[4, 1024],
            "Stable Diffusion 2",
        ),
    ];
    for (key, shape, base) in cases {
        let error = open(&tensors(&[(key, shape)])).unwrap_err();
        let AdapterError::OtherBase {
            found, expected, ..
        } = error
        else {
            panic!("{key}: {error}");
        };
        assert_eq!((&*found, &*expected), (base, "Stable Diffusion 1"), "{key}");
    }
    let stated = BTreeMap::from([("ss_base_model_version".to_owned(), "sd_v2_v".to_owned())]);
    let file = tensors(&[(&format!("{TO_Q}.lora_down.weight"), &[4, 16])]);
    let error = open_with(&file, &stated).unwrap_err();
    assert!(matches!(error, AdapterError::OtherBase { .. }), "{error}");
}

#[test]
fn e45_layers_of_another_size_are_refused_with_both_sizes() {
    let error = lora(&[24, 4], &[4, 20]).unwrap_err();
    let AdapterError::WrongBase { expected, got, .. } = error else {
        panic!("{error}");
    };
    assert_eq!((expected, got), (vec![24, 16], vec![24, 20]));
    let nothing = open(&tensors(&[("x.lora_up.weight", &[1])])).unwrap_err();
    assert!(matches!(nothing, AdapterError::NoneMatched { .. }));
}

#[test]
fn e46_contradicting_shapes_are_refused() {
    for (up, down) in [
        (&[24, 0][..], &[0, 16][..]),
        (&[24, 4], &[3, 16]),
        (&[24, 4], &[]),
        (&[], &[4, 16]),
        (&[24, 9000], &[9000, 16]),
    ] {
        let error = lora(up, down).unwrap_err();
        assert!(
            matches!(
                error,
                AdapterError::Malformed { .. } | AdapterError::WrongBase { .. }
            ),
            "{up:?} {down:?}: {error}"
        );
    }
}

#[test]
fn e46_middles_that_would_grow_are_refused_before_they_do() {
    // 4,000 x 1 kernels against one row of inputs: 24 kB in the file, megabytes multiplied out.
    let file = tensors(&[
        (&format!("{CONV}.lora_up.weight"), &[16, 4000, 1, 1]),
        (&format!("{CONV}.lora_mid.weight"), &[4000, 1, 3, 3]),
        (&format!("{CONV}.lora_down.weight"), &[1, 12, 1, 1]),
    ]);
    let error = open(&file).unwrap_err();
    assert!(matches!(error, AdapterError::Malformed { .. }), "{error}");
}

#[test]
fn e46_values_that_are_no_numbers_are_refused() {
    let mut file = tensors(&[
        (&format!("{TO_Q}.lora_up.weight"), &[24, 4]),
        (&format!("{TO_Q}.lora_down.weight"), &[4, 16]),
    ]);
    for value in [f32::NAN, f32::INFINITY] {
        let down = format!("{TO_Q}.lora_down.weight");
        file.get_mut(&down).unwrap().values[7] = value;
        let error = open(&file).unwrap_err();
        let AdapterError::NotFinite { tensor, .. } = error else {
            panic!("{error}");
        };
        assert_eq!(tensor, down);
    }
}

/// Endings of every kind, to be mixed at random.
const ENDINGS: [&str; 20] = [
    "lora_up.weight",
    "lora_down.weight",
    "lora_mid.weight",
    "alpha",
    "dora_scale",
    "hada_w1_a",
    "hada_w1_b",
    "hada_w2_a",
    "hada_w2_b",
    "hada_t1",
    "lokr_w1",
    "lokr_w1_a",
    "lokr_w1_b",
    "lokr_w2",
    "lokr_w2_a",
    "lokr_w2_b",
    "lokr_t2",
    "diff",
    "oft_blocks",
    "on_input",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    // E46: whatever shapes a file claims, opening and applying it ends in a change or an error.
    #[test]
    fn e46_any_mix_of_tensors_is_applied_or_refused(
        keys in prop::collection::btree_map(
            (0..2_usize, 0..ENDINGS.len()),
            prop::collection::vec(prop::sample::select(vec![0_usize, 1, 2, 3, 4, 6, 12, 16, 24, 48]), 0..5),
            1..8,
        ),
    ) {
        let mut file = Tensors::new();
        for ((module, ending), shape) in keys {
            if shape.iter().product::<usize>() > 1 << 16 {
                continue;
            }
            let name = format!("{}.{}", [TO_Q, CONV][module], ENDINGS[ending]);
            file.extend(tensors(&[(&name, &shape)]));
        }
        if let Ok(adapter) = open(&file) {
            for path in adapter.paths(Part::Unet) {
                let expected = Expected::open();
                let module = expected.layers.iter().find(|layer| layer.path == path).unwrap();
                let clean = vec![1.0; module.shape.iter().product()];
                let mut weight = clean.clone();
                let change = adapter.change(Part::Unet, path).unwrap();
                change.add_to(&clean, &mut weight, module.shape[0], 1.0, hearth_kernels::matmul::Threads::One);
            }
        }
    }

    // E46: a file damaged anywhere in its header is refused or read, never a panic.
    #[test]
    fn e46_damaged_headers_never_panic(place in 0.0_f64..1.0, byte: u8) {
        let mut bytes = fs::read(folder().join("lokr-both.safetensors")).unwrap();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place in a file")]
        let place = (place * bytes.len() as f64) as usize;
        bytes[place] = byte;
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("x.safetensors");
        fs::write(&path, bytes).unwrap();
        let _ = Adapter::open(&path, None, &Expected::open().names());
    }
}
