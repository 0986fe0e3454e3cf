mod contents;
mod shapes;

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use serde_json::Map;
use tempfile::TempDir;

use super::*;
use crate::export::{Export, Metadata, export, naming};
use crate::modules::Source;
use crate::names::{Notation, UnetGrid, View};
use crate::tensor_file::{Dtype, TensorFileError};
use crate::tiny::{Layout, write_checkpoint_as, write_lora_as};
use crate::weights::{Precision, tensors};

/// Writes a file with a sound header and zeros that take no room on disk.
fn sparse(path: &Path, shapes: &BTreeMap<String, Vec<usize>>, metadata: &Value) {
    let mut header = Map::new();
    header.insert("__metadata__".to_owned(), metadata.clone());
    let mut at = 0;
    for (name, shape) in shapes {
        let end = at + 2 * shape.iter().product::<usize>();
        let entry = json!({"dtype": "F16", "shape": shape, "data_offsets": [at, end]});
        header.insert(name.clone(), entry);
        at = end;
    }
    let header = Value::Object(header).to_string();
    let mut file = File::create(path).unwrap();
    file.write_all(&(header.len() as u64).to_le_bytes())
        .unwrap();
    file.write_all(header.as_bytes()).unwrap();
    file.set_len((8 + header.len() + at) as u64).unwrap();
}

/// Names and shapes of a part's tensors in a notation.
fn shapes(modules: &[Module], naming: &Naming) -> BTreeMap<String, Vec<usize>> {
    let mut all = BTreeMap::new();
    for (tensor, shape) in modules.iter().flat_map(tensors) {
        let stored = naming.stored(&tensor).remove(0);
        let mut shape = shape.to_vec();
        match stored.view {
            View::Whole => {}
            View::Third(_) => shape[0] *= 3,
            View::Transposed => shape.reverse(),
        }
        all.insert(stored.name, shape);
    }
    all
}

fn named(prefix: &'static str, notation: Notation) -> Naming {
    Naming { prefix, notation }
}

/// A checkpoint's configurations, as its diffusers folder has them.
struct Known {
    unet: Value,
    text: Value,
    text2: Option<Value>,
}

const CROSS: [&str; 2] = ["CrossAttnDownBlock2D", "CrossAttnUpBlock2D"];

fn stable_diffusion_1() -> Known {
    let (down, up) = (CROSS[0], CROSS[1]);
    Known {
        unet: json!({
            "in_channels": 4, "out_channels": 4, "block_out_channels": [320, 640, 1280, 1280],
            "cross_attention_dim": 768, "attention_head_dim": 8, "layers_per_block": 2,
            "down_block_types": [down, down, down, "DownBlock2D"],
            "up_block_types": ["UpBlock2D", up, up, up],
            "mid_block_type": "UNetMidBlock2DCrossAttn", "use_linear_projection": false,
            "transformer_layers_per_block": [1, 1, 1, 1],
        }),
        text: json!({
            "vocab_size": 49408, "hidden_size": 768, "intermediate_size": 3072,
            "num_hidden_layers": 12, "num_attention_heads": 12, "hidden_act": "quick_gelu",
            "max_position_embeddings": 77, "eos_token_id": 49407,
            "architectures": ["CLIPTextModel"],
        }),
        text2: None,
    }
}

fn stable_diffusion_2() -> Known {
    let mut known = stable_diffusion_1();
    known.unet["cross_attention_dim"] = json!(1024);
    known.unet["attention_head_dim"] = json!([5, 10, 20, 20]);
    known.unet["use_linear_projection"] = json!(true);
    known.text["hidden_size"] = json!(1024);
    known.text["intermediate_size"] = json!(4096);
    known.text["num_attention_heads"] = json!(16);
    known.text["num_hidden_layers"] = json!(23);
    known.text["hidden_act"] = json!("gelu");
    known
}

fn sdxl() -> Known {
    let (down, up) = (CROSS[0], CROSS[1]);
    let mut known = stable_diffusion_1();
    known.unet = json!({
        "in_channels": 4, "out_channels": 4, "block_out_channels": [320, 640, 1280],
        "cross_attention_dim": 2048, "attention_head_dim": [5, 10, 20], "layers_per_block": 2,
        "down_block_types": ["DownBlock2D", down, down], "up_block_types": [up, up, "UpBlock2D"],
        "mid_block_type": "UNetMidBlock2DCrossAttn", "use_linear_projection": true,
        "transformer_layers_per_block": [1, 2, 10], "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256, "projection_class_embeddings_input_dim": 2816,
    });
    known.text2 = Some(json!({
        "vocab_size": 49408, "hidden_size": 1280, "intermediate_size": 5120,
        "num_hidden_layers": 32, "num_attention_heads": 20, "hidden_act": "gelu",
        "max_position_embeddings": 77, "eos_token_id": 49407, "projection_dim": 1280,
        "architectures": ["CLIPTextModelWithProjection"],
    }));
    known
}

fn of<T: DeserializeOwned>(config: &Value) -> T {
    serde_json::from_value(config.clone()).unwrap()
}

fn unet_modules(config: &Value) -> Vec<Module> {
    record(|scope| Unet::new(&of(config), scope)).unwrap()
}

fn text_modules(config: &Value) -> Vec<Module> {
    record(|scope| ClipText::new(&of(config), scope)).unwrap()
}

fn vae_modules() -> Vec<Module> {
    let config = json!({"block_out_channels": [128, 256, 512, 512], "layers_per_block": 2});
    record(|scope| Vae::new(&of(&config), scope)).unwrap()
}

impl Known {
    fn unet_naming(&self) -> Naming {
        let grid = UnetGrid::of(&unet_modules(&self.unet));
        named("model.diffusion_model.", Notation::Compvis(grid))
    }

    /// Names and shapes in the file people have of it.
    fn single_file(&self) -> BTreeMap<String, Vec<usize>> {
        let mut all = shapes(&unet_modules(&self.unet), &self.unet_naming());
        let vae = named("first_stage_model.", Notation::Autoencoder(4));
        all.extend(shapes(&vae_modules(), &vae));
        match (&self.text2, self.text["hidden_size"].as_u64()) {
            (Some(text2), _) => {
                let naming = named(
                    "conditioner.embedders.0.transformer.text_model.",
                    Notation::Diffusers,
                );
                all.extend(shapes(&text_modules(&self.text), &naming));
                let naming = named("conditioner.embedders.1.model.", Notation::OpenClip);
                all.extend(shapes(&text_modules(text2), &naming));
            }
            (None, Some(1024)) => {
                let mut text = self.text.clone();
                text["num_hidden_layers"] = json!(24);
                let naming = named("cond_stage_model.model.", Notation::OpenClip);
                all.extend(shapes(&text_modules(&text), &naming));
                let projection = "cond_stage_model.model.text_projection";
                all.insert(projection.to_owned(), vec![1024, 1024]);
            }
            (None, _) => {
                let naming = named(
                    "cond_stage_model.transformer.text_model.",
                    Notation::Diffusers,
                );
                all.extend(shapes(&text_modules(&self.text), &naming));
                let ids = "cond_stage_model.transformer.text_model.embeddings.position_ids";
                all.insert(ids.to_owned(), vec![1, 77]);
            }
        }
        all
    }
}

/// A folder with one file in it.
struct Written(TempDir);

impl Written {
    fn new(shapes: &BTreeMap<String, Vec<usize>>) -> Self {
        Self::with(shapes, &json!({}))
    }

    fn with(shapes: &BTreeMap<String, Vec<usize>>, metadata: &Value) -> Self {
        let written = Self(tempfile::tempdir().unwrap());
        sparse(&written.path(), shapes, metadata);
        written
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("model.safetensors")
    }

    fn files(&self) -> Vec<AssetFile> {
        vec![AssetFile {
            name: "model.safetensors".to_owned(),
            path: self.path().to_str().unwrap().to_owned(),
        }]
    }

    fn open(&self) -> Result<ModelFiles, LoadError> {
        ModelFiles::open(&self.files(), &Choice::default())
    }
}

/// Checks that everything a known configuration says was found out.
fn assert_found(model: &ModelFiles, part: Part, known: &Value) {
    let found: Value = model.folder().required(folder::config(part)).unwrap();
    for (key, value) in known.as_object().unwrap() {
        assert_eq!(&found[key], value, "{key} of {}", part.name());
    }
}

#[test]
fn e14_running_average_is_used_when_chosen_or_alone() {
    let known = stable_diffusion_1();
    let mut all = known.single_file();
    let grid = UnetGrid::of(&unet_modules(&known.unet));
    let average = named("model_ema.", Notation::Average(grid));
    all.extend(shapes(&unet_modules(&known.unet), &average));
    let both = Written::new(&all);
    let prefix = |average| {
        let choice = Choice {
            average,
            ..Choice::default()
        };
        let model = ModelFiles::open(&both.files(), &choice).unwrap();
        model.check().unwrap();
        model.part(Part::Unet).unwrap().naming().prefix
    };
    assert_eq!(prefix(Average::Plain), "model.diffusion_model.");
    assert_eq!(prefix(Average::Averaged), "model_ema.");

    all.retain(|name, _| !name.starts_with("model.diffusion_model."));
    let alone = Written::new(&all);
    let model = alone.open().unwrap();
    assert_eq!(
        model.part(Part::Unet).unwrap().naming().prefix,
        "model_ema."
    );
    assert_found(&model, Part::Unet, &known.unet);
    model.check().unwrap();
}

#[test]
fn e15_prediction_is_marked_stated_or_chosen() {
    let mut all = sdxl().single_file();
    let predicted = |all: &BTreeMap<_, _>, metadata: &Value, prediction| {
        let written = Written::with(all, metadata);
        let choice = Choice {
            prediction,
            ..Choice::default()
        };
        let model = ModelFiles::open(&written.files(), &choice).unwrap();
        let schedule: Value = model.folder().required(SCHEDULER).unwrap();
        assert_eq!(schedule["prediction_type"], model.prediction.name());
        (model.prediction, schedule["rescale_betas_zero_snr"] == true)
    };
    let nothing = json!({});
    assert_eq!(
        predicted(&all, &nothing, None),
        (Prediction::Epsilon, false)
    );
    let stated = json!({"modelspec.prediction_type": "v"});
    assert_eq!(
        predicted(&all, &stated, None),
        (Prediction::Velocity, false)
    );
    all.insert("v_pred".to_owned(), vec![0]);
    all.insert("ztsnr".to_owned(), vec![0]);
    assert_eq!(
        predicted(&all, &nothing, None),
        (Prediction::Velocity, true)
    );
    let chosen = Some(Prediction::Epsilon);
    assert_eq!(
        predicted(&all, &nothing, chosen),
        (Prediction::Epsilon, true)
    );
}

#[test]
fn e15_spread_biases_mean_velocity_in_stable_diffusion_2() {
    let known = stable_diffusion_2();
    let written = Written::new(&known.single_file());
    assert_eq!(written.open().unwrap().prediction, Prediction::Epsilon);
    // The very bytes that decide: 320 halves between -0.25 and 0.25.
    let name = "model.diffusion_model.output_blocks.11.1.transformer_blocks.0.norm1.bias";
    let file = TensorFile::open(&written.path()).unwrap();
    let at = file.position_of(&file.header().tensors[name]);
    let mut bytes = std::fs::OpenOptions::new()
        .write(true)
        .open(written.path())
        .unwrap();
    std::io::Seek::seek(&mut bytes, std::io::SeekFrom::Start(at)).unwrap();
    bytes
        .write_all(&[0x00, 0x34, 0x00, 0xb4].repeat(160))
        .unwrap();
    let model = written.open().unwrap();
    assert_eq!(model.prediction, Prediction::Velocity);
    assert_eq!(model.family, Family::Sd2);
}

#[test]
fn e19_other_architectures_are_called_by_their_names() {
    for (tensor, name) in [
        ("double_blocks.0.img_attn.norm.key_norm.scale", "Flux.1"),
        (
            "model.diffusion_model.joint_blocks.0.context_block.adaLN_modulation.1.bias",
            "Stable Diffusion 3",
        ),
        ("control_model.time_embed.0.weight", "a ControlNet"),
        ("transformer_blocks.0.img_mod.1.weight", "Qwen-Image"),
    ] {
        let shapes = BTreeMap::from([(tensor.to_owned(), vec![4])]);
        let error = Written::new(&shapes).open().unwrap_err();
        assert!(
            matches!(error, LoadError::Foreign { name: got } if got == name),
            "{error}"
        );
    }
}

#[test]
fn e19_what_does_not_fit_is_named_before_anything_is_read() {
    type Shapes = BTreeMap<String, Vec<usize>>;
    let known = stable_diffusion_1();
    let all = known.single_file();
    let refused = |change: &dyn Fn(&mut Shapes)| {
        let mut all = all.clone();
        change(&mut all);
        let written = Written::new(&all);
        written.open().and_then(|model| model.check()).unwrap_err()
    };
    let norm = "model.diffusion_model.output_blocks.3.0.in_layers.0.weight";
    let error = refused(&|all| {
        all.remove(norm);
    });
    assert!(
        matches!(&error, LoadError::MissingTensor { part: "unet", tensor } if tensor == norm),
        "{error}"
    );
    let error = refused(&|all| {
        all.insert(norm.to_owned(), vec![7]);
    });
    assert!(
        matches!(&error, LoadError::WrongShape { tensor, got, .. } if tensor == norm && *got == [7]),
        "{error}"
    );
    let stranger = "model.diffusion_model.input_blocks.1.2.weight";
    let error = refused(&|all| {
        all.insert(stranger.to_owned(), vec![7]);
    });
    assert!(
        matches!(&error, LoadError::UnknownTensors { tensor, more: 0, .. } if tensor == stranger),
        "{error}"
    );
    // A text encoder of another width than the UNet listens to.
    let error = refused(&|all| {
        all.retain(|name, _| !name.starts_with("cond_stage_model."));
        let mut text = known.text.clone();
        text["hidden_size"] = json!(512);
        text["num_attention_heads"] = json!(8);
        let naming = named("cond_stage_model.transformer.", Notation::Diffusers);
        all.extend(shapes(&text_modules(&text), &naming));
    });
    assert!(error.to_string().contains("vectors of 768"), "{error}");
}

#[test]
fn e12_halves_stay_halves_where_they_are_asked_to() {
    let known = stable_diffusion_1();
    let written = Written::new(&known.single_file());
    let model = written.open().unwrap();
    let module = |path: &str| {
        let all = model.modules(Part::Unet).unwrap();
        all.into_iter().find(|module| module.path == path).unwrap()
    };
    let dtypes = |precision| {
        let placement = Placement {
            precision,
            ..Placement::default()
        };
        let mut weights = model.weights(Part::Unet, &placement).unwrap();
        ["conv_in", "conv_norm_out"].map(|path| {
            let (weight, bias) = weights.module(module(path)).unwrap();
            (weight.dtype(), bias.dtype())
        })
    };
    use candle_core::DType::{BF16, F16, F32};
    assert_eq!(dtypes(Precision::Full), [(F32, F32), (F32, F32)]);
    assert_eq!(dtypes(Precision::Half), [(F16, F32), (F32, F32)]);
    assert_eq!(dtypes(Precision::All(BF16)), [(BF16, BF16), (BF16, BF16)]);
}
