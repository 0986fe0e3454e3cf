//! The CLIP text encoder: token ids to the vectors the UNet listens to.
//!
//! Any size by `text_encoder/config.json`; quick GELU or exact GELU as it says. No pooled output
//! and no projection: Stable Diffusion 1 uses neither.

use candle_core::{Device, Result, Tensor};
use serde::Deserialize;

use crate::layers::{LayerNorm, Linear};
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

impl ClipConfig {
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
        }
    }
}

/// A CLIP text encoder.
#[derive(Debug)]
pub(crate) struct ClipText {
    tokens: Tensor,
    positions: Tensor,
    layers: Vec<Layer>,
    final_norm: LayerNorm,
}

impl ClipText {
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
        let layers = (0..config.num_hidden_layers)
            .map(|i| Layer::new(config, scope.at(format!("encoder.layers.{i}"))))
            .collect::<std::result::Result<_, _>>()?;
        let final_norm =
            LayerNorm::new(scope.at("final_layer_norm"), width, config.layer_norm_eps)?;
        Ok(Self {
            tokens,
            positions,
            layers,
            final_norm,
        })
    }

    /// Returns `[1, ids, channels]`: the last hidden state behind the final normalisation.
    pub(crate) fn encode(&self, ids: &[u32]) -> Result<Tensor> {
        let ids = Tensor::new(ids, &Device::Cpu)?;
        let positions = self.positions.narrow(0, 0, ids.dim(0)?)?;
        let mut x = (self.tokens.index_select(&ids, 0)? + positions)?.unsqueeze(0)?;
        for layer in &self.layers {
            x = layer.forward(&x)?;
        }
        self.final_norm.forward(&x)
    }
}

#[derive(Debug)]
struct Layer {
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

impl Layer {
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
        let x = (x + self
            .out
            .forward(&attention(&q, &k, &v, self.heads, Mask::Causal)?)?)?;
        let n = self.fc1.forward(&self.norm2.forward(&x)?)?;
        &x + self.fc2.forward(&self.activation.apply(&n)?)?
    }
}
