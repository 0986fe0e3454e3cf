//! The CLIP text encoders: windows of tokens to the vectors the UNet listens to.
//!
//! CLIP-L, OpenCLIP-H and bigG, and any other size by `text_encoder/config.json`, in transformers'
//! layout: quick GELU or exact GELU as it says, pooled text where the model has a projection. What a
//! prompt means (its grammar, weights, windows) is not known here.

use std::sync::Arc;

use candle_core::{IndexOp, Result, Tensor, bail};
use serde::Deserialize;

use crate::layers::{LayerNorm, Linear, computing};
use crate::load::LoadError;
use crate::modules::{Bias, Kind, Scope};
use hearth_kernels::activation::Activation;
use hearth_kernels::attention::{Mask, attention};

/// What `text_encoder/config.json` says.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ClipConfig {
    pub(crate) vocab_size: usize,
    pub(crate) hidden_size: usize,
    pub(crate) intermediate_size: usize,
    pub(crate) num_hidden_layers: usize,
    pub(crate) num_attention_heads: usize,
    #[serde(default = "default_positions")]
    pub(crate) max_position_embeddings: usize,
    #[serde(default = "default_activation")]
    pub(crate) hidden_act: String,
    #[serde(default = "default_eps")]
    pub(crate) layer_norm_eps: f64,
    /// Names the class: only `CLIPTextModelWithProjection` has a projection.
    #[serde(default)]
    pub(crate) architectures: Vec<String>,
    /// Width of the pooled text.
    #[serde(default)]
    pub(crate) projection_dim: Option<usize>,
    /// Whose position is pooled. Old configurations say 2 and mean the highest id.
    #[serde(default = "default_eos")]
    pub(crate) eos_token_id: u32,
}

fn default_positions() -> usize {
    77
}

fn default_activation() -> String {
    "quick_gelu".to_owned()
}

fn default_eps() -> f64 {
    1e-5
}

fn default_eos() -> u32 {
    49407
}

impl ClipConfig {
    /// Returns the width of the pooled text, if the model has a projection.
    pub(crate) fn projection(&self) -> Option<usize> {
        let projects = self
            .architectures
            .iter()
            .any(|class| class == "CLIPTextModelWithProjection");
        self.projection_dim.filter(|_| projects)
    }

    /// Checks bounds, so that a hostile file cannot ask for absurd work.
    pub(crate) fn check(&self) -> std::result::Result<(), LoadError> {
        let unsupported = |what: String| {
            Err(LoadError::Unsupported {
                part: "text_encoder",
                what,
            })
        };
        self.activation()?;
        let heads = self.num_attention_heads;
        if heads == 0 || !self.hidden_size.is_multiple_of(heads) || self.hidden_size > 8192 {
            return unsupported(format!("{} channels in {heads} heads", self.hidden_size));
        }
        if !(1..=64).contains(&self.num_hidden_layers) || self.intermediate_size > 65_536 {
            return unsupported(format!("{} layers", self.num_hidden_layers));
        }
        if !(3..=4096).contains(&self.max_position_embeddings) || self.vocab_size > 1 << 20 {
            return unsupported(format!("{} positions", self.max_position_embeddings));
        }
        match self.projection() {
            Some(width) if !(1..=8192).contains(&width) => {
                return unsupported(format!("a projection to {width}"));
            }
            Some(_) | None => {}
        }
        Ok(())
    }

    fn activation(&self) -> std::result::Result<Activation, LoadError> {
        match self.hidden_act.as_str() {
            "quick_gelu" => Ok(Activation::QuickGelu),
            "gelu" => Ok(Activation::Gelu),
            other => Err(LoadError::Unsupported {
                part: "text_encoder",
                what: format!("hidden_act {other}; known are quick_gelu and gelu"),
            }),
        }
    }

    #[cfg(test)]
    pub(crate) fn clip_l() -> Self {
        Self {
            vocab_size: 49408,
            hidden_size: 768,
            intermediate_size: 3072,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            max_position_embeddings: 77,
            hidden_act: default_activation(),
            layer_norm_eps: default_eps(),
            architectures: Vec::new(),
            projection_dim: None,
            eos_token_id: default_eos(),
        }
    }

    /// The text encoder of Stable Diffusion 2, without the last layer nobody reads.
    #[cfg(test)]
    pub(crate) fn open_clip_h() -> Self {
        Self {
            hidden_size: 1024,
            intermediate_size: 4096,
            num_hidden_layers: 23,
            num_attention_heads: 16,
            hidden_act: "gelu".to_owned(),
            ..Self::clip_l()
        }
    }

    /// The second text encoder of Stable Diffusion XL.
    #[cfg(test)]
    pub(crate) fn big_g() -> Self {
        Self {
            hidden_size: 1280,
            intermediate_size: 5120,
            num_hidden_layers: 32,
            num_attention_heads: 20,
            hidden_act: "gelu".to_owned(),
            architectures: vec!["CLIPTextModelWithProjection".to_owned()],
            projection_dim: Some(1280),
            ..Self::clip_l()
        }
    }
}

/// One position of a window.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    /// A word of the vocabulary.
    Token(u32),
    /// A vector in place of a word's own, as long as the encoder is wide: textual inversion.
    Vector(Arc<[f32]>),
}

/// Which hidden state is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Layers left out, counted from the end: A1111's clip skip less one.
    pub skip: usize,
    /// Whether the final normalisation follows, as Stable Diffusion 1 and 2 want and XL does not.
    pub finish: Finish,
}

/// What follows the last layer run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// The encoder's final normalisation.
    Normalised,
    /// Nothing.
    Raw,
}

impl Layer {
    /// What Stable Diffusion 1 and 2 listen to.
    pub const LAST: Self = Self {
        skip: 0,
        finish: Finish::Normalised,
    };
    /// What Stable Diffusion XL listens to, of both its encoders.
    pub const PENULTIMATE: Self = Self {
        skip: 1,
        finish: Finish::Raw,
    };
}

/// Windows as the UNet listens to them.
#[derive(Clone, Debug)]
pub(crate) struct Encoded {
    /// `[windows, tokens, channels]`.
    pub(crate) hidden: Tensor,
    /// `[windows, width]`, of models with a projection.
    pub(crate) pooled: Option<Tensor>,
}

/// A CLIP text encoder.
#[derive(Debug)]
pub(crate) struct ClipText {
    tokens: Tensor,
    positions: Tensor,
    blocks: Vec<Block>,
    final_norm: LayerNorm,
    projection: Option<Linear>,
    eos: u32,
}

impl ClipText {
    /// Takes a scope without transformers' `text_model.`; the projection is beside the rest.
    pub(crate) fn new(
        config: &ClipConfig,
        mut scope: Scope<'_>,
    ) -> std::result::Result<Self, LoadError> {
        config.check()?;
        let width = config.hidden_size;
        let mut table = |name, rows| {
            let (table, _) =
                scope
                    .at(name)
                    .module(Kind::Embedding, &[rows, width], Bias::Absent)?;
            Ok::<_, LoadError>(table)
        };
        let tokens = table("embeddings.token_embedding", config.vocab_size)?;
        let positions = table(
            "embeddings.position_embedding",
            config.max_position_embeddings,
        )?;
        let blocks = (0..config.num_hidden_layers)
            .map(|i| Block::new(config, scope.at(format!("encoder.layers.{i}"))))
            .collect::<std::result::Result<_, _>>()?;
        let final_norm =
            LayerNorm::new(scope.at("final_layer_norm"), width, config.layer_norm_eps)?;
        let projection = match config.projection() {
            Some(pooled) => {
                let scope = scope.at("text_projection");
                Some(Linear::without_bias(scope, (width, pooled))?)
            }
            None => None,
        };
        Ok(Self {
            tokens,
            positions,
            blocks,
            final_norm,
            projection,
            eos: config.eos_token_id,
        })
    }

    /// Returns how many layers it has: clip skip stays below.
    pub(crate) fn layers(&self) -> usize {
        self.blocks.len()
    }

    /// Returns the length a vector in place of a word must have.
    pub(crate) fn width(&self) -> Result<usize> {
        self.tokens.dim(1)
    }

    /// Encodes windows of one length, each for itself. The pooled text is always of the last layer.
    pub(crate) fn encode<W: AsRef<[Piece]>>(&self, windows: &[W], layer: Layer) -> Result<Encoded> {
        let Some(wanted) = self.blocks.len().checked_sub(layer.skip).filter(|n| *n > 0) else {
            bail!("clip skip {} of {} layers", layer.skip, self.blocks.len());
        };
        let embedded: Result<Vec<_>> = windows.iter().map(|w| self.embed(w.as_ref())).collect();
        let mut x = Tensor::cat(&embedded?, 0)?;
        for block in &self.blocks[..wanted] {
            x = block.forward(&x)?;
        }
        let hidden = match layer.finish {
            Finish::Normalised => self.final_norm.forward(&x)?,
            Finish::Raw => x.clone(),
        };
        let pooled = match &self.projection {
            Some(projection) => {
                for block in &self.blocks[wanted..] {
                    x = block.forward(&x)?;
                }
                Some(projection.forward(&self.ends(&x, windows)?)?.squeeze(1)?)
            }
            None => None,
        };
        Ok(Encoded { hidden, pooled })
    }

    /// Returns `[1, pieces, channels]`: words and given vectors, each at its position.
    fn embed(&self, window: &[Piece]) -> Result<Tensor> {
        let device = self.tokens.device();
        let positions = computing(&self.positions.narrow(0, 0, window.len())?)?;
        let id = |piece: &Piece| match piece {
            Piece::Token(id) => *id,
            Piece::Vector(_) => 0,
        };
        let ids: Vec<u32> = window.iter().map(id).collect();
        let ids = Tensor::from_vec(ids, window.len(), device)?;
        let mut x = computing(&self.tokens.index_select(&ids, 0)?)?;
        for (i, piece) in window.iter().enumerate() {
            if let Piece::Vector(vector) = piece {
                let vector = Tensor::from_slice(vector, (1, vector.len()), device)?;
                x = x.slice_scatter(&vector.to_dtype(x.dtype())?, 0, i)?;
            }
        }
        (x + positions)?.unsqueeze(0)
    }

    /// Returns `[windows, 1, channels]`: the last layer's state at each window's end, normalised.
    fn ends<W: AsRef<[Piece]>>(&self, x: &Tensor, windows: &[W]) -> Result<Tensor> {
        let end = |(i, window): (usize, &W)| {
            let end = end(window.as_ref(), self.eos);
            x.i((i, end..=end))?.unsqueeze(0)
        };
        let ends: Result<Vec<_>> = windows.iter().enumerate().map(end).collect();
        self.final_norm.forward(&Tensor::cat(&ends?, 0)?)
    }
}

/// Returns where transformers pools: at the first end-of-text, or, where a configuration says 2, at the
/// first of the highest id. Vectors are not words and never the end.
fn end(window: &[Piece], eos: u32) -> usize {
    let ids = window.iter().map(|piece| match piece {
        Piece::Token(id) => Some(*id),
        Piece::Vector(_) => None,
    });
    let eos = if eos == 2 {
        ids.clone().max().flatten()
    } else {
        Some(eos)
    };
    ids.into_iter().position(|id| id == eos).unwrap_or(0)
}

#[derive(Debug)]
struct Block {
    norm1: LayerNorm,
    q: Linear,
    k: Linear,
    v: Linear,
    out: Linear,
    heads: usize,
    norm2: LayerNorm,
    fc1: Linear,
    activation: Activation,
    fc2: Linear,
}

impl Block {
    fn new(config: &ClipConfig, mut scope: Scope<'_>) -> std::result::Result<Self, LoadError> {
        let (width, inner) = (config.hidden_size, config.intermediate_size);
        let eps = config.layer_norm_eps;
        Ok(Self {
            norm1: LayerNorm::new(scope.at("layer_norm1"), width, eps)?,
            q: Linear::new(scope.at("self_attn.q_proj"), (width, width))?,
            k: Linear::new(scope.at("self_attn.k_proj"), (width, width))?,
            v: Linear::new(scope.at("self_attn.v_proj"), (width, width))?,
            out: Linear::new(scope.at("self_attn.out_proj"), (width, width))?,
            heads: config.num_attention_heads,
            norm2: LayerNorm::new(scope.at("layer_norm2"), width, eps)?,
            fc1: Linear::new(scope.at("mlp.fc1"), (width, inner))?,
            activation: config.activation()?,
            fc2: Linear::new(scope.at("mlp.fc2"), (inner, width))?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let n = self.norm1.forward(x)?;
        let (q, k, v) = (
            self.q.forward(&n)?,
            self.k.forward(&n)?,
            self.v.forward(&n)?,
        );
        let found = attention(&q, &k, &v, self.heads, Mask::Causal)?;
        let x = self.out.forward_plus(&found, x)?;
        let n = self.fc1.forward(&self.norm2.forward(&x)?)?;
        self.fc2.forward_plus(&self.activation.apply(&n)?, &x)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::{Module, Scattered, record};

    #[test]
    fn e4_end_is_the_first_end_of_text_or_the_highest_word() {
        let vector = Piece::Vector(Arc::from([0.5_f32; 4]));
        let window = [5, 9, 3, 9].map(Piece::Token);
        let window = [[vector].as_slice(), window.as_slice()].concat();
        assert_eq!(end(&window, 3), 3);
        assert_eq!(end(&window, 2), 2);
        assert_eq!(
            end(&window, 4),
            0,
            "transformers falls back to the first position"
        );
    }

    #[test]
    fn e1_published_encoders_have_their_numbers_of_parameters() {
        for (config, want) in [
            (ClipConfig::clip_l(), 123_060_480),
            (ClipConfig::open_clip_h(), 340_387_840),
            (ClipConfig::big_g(), 694_659_840),
        ] {
            let modules = record(|scope| ClipText::new(&config, scope)).unwrap();
            let got: usize = modules.iter().map(Module::parameters).sum();
            assert_eq!(got, want, "{} wide", config.hidden_size);
        }
    }

    fn tiny() -> ClipText {
        let config = ClipConfig {
            vocab_size: 50,
            hidden_size: 8,
            intermediate_size: 16,
            num_hidden_layers: 3,
            num_attention_heads: 2,
            eos_token_id: 49,
            ..ClipConfig::big_g()
        };
        ClipText::new(&config, Scope::root(&mut Scattered::in_f32())).unwrap()
    }

    #[test]
    fn e4_windows_are_encoded_each_for_itself() {
        let clip = tiny();
        let windows = [[48, 3, 5, 49, 0], [48, 7, 49, 0, 0]].map(|w| w.map(Piece::Token));
        let both = clip.encode(&windows, Layer::PENULTIMATE).unwrap();
        for (i, window) in windows.iter().enumerate() {
            let alone = clip.encode(&[window], Layer::PENULTIMATE).unwrap();
            let rows = |x: &Tensor, i| x.get(i).unwrap().flatten_all().unwrap();
            let values = |x: Tensor| x.to_vec1::<f32>().unwrap();
            assert_eq!(
                values(rows(&both.hidden, i)),
                values(rows(&alone.hidden, 0))
            );
            let pooled = |encoded: &Encoded, i| rows(encoded.pooled.as_ref().unwrap(), i);
            assert_eq!(values(pooled(&both, i)), values(pooled(&alone, 0)));
        }
    }

    #[test]
    fn e4_what_does_not_fit_the_encoder_is_refused() {
        let clip = tiny();
        let window = |piece| vec![Piece::Token(48), piece, Piece::Token(49)];
        let all = Layer {
            skip: 3,
            finish: Finish::Raw,
        };
        let wrong = [
            (window(Piece::Token(1)), all),
            (window(Piece::Token(50)), Layer::LAST),
            (window(Piece::Vector(Arc::from([0.5_f32; 7]))), Layer::LAST),
            (vec![Piece::Token(1); 78], Layer::LAST),
        ];
        for (window, layer) in wrong {
            assert!(
                clip.encode(&[&window], layer).is_err(),
                "{window:?} {layer:?}"
            );
        }
    }
}
