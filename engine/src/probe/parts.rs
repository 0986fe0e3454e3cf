//! The networks of a diffusers folder one by one, whatever the family: text, noise, pixels.

use hearth_protocol::engine::AssetFile;

use super::Values;
use crate::RunError;
use crate::clip::{ClipConfig, ClipText, Layer, Piece};
use crate::folder::{Folder, Part, TEXT_ENCODER, TEXT_ENCODER_2, UNET, VAE};
use crate::layers::Pass;
use crate::load::LoadError;
use crate::modules::Scope;
use crate::unet::{Conditioning, Residuals, Unet, UnetConfig};
use crate::vae::{Tiles, Vae, VaeConfig};
use crate::weights::Weights;

/// The networks of a model.
#[derive(Debug)]
pub struct Parts {
    texts: Vec<ClipText>,
    unet: Unet,
    vae: Vae,
}

/// What convolutions see beyond the edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edges {
    /// Nothing.
    Plain,
    /// The other side.
    Seamless,
}

impl Edges {
    fn pass(self) -> Pass {
        match self {
            Self::Plain => Pass::PLAIN,
            Self::Seamless => Pass::SEAMLESS,
        }
    }
}

/// What the UNet listens to.
#[derive(Clone, Debug)]
pub struct Listened {
    /// `[batch, tokens, channels]`.
    pub text: Values,
    /// Pooled texts `[batch, channels]` and SDXL's numbers.
    pub pooled: Option<(Values, Vec<f64>)>,
    /// A distilled model's guidance scale.
    pub guidance: Option<f64>,
    /// A ControlNet's residuals: of the skips, and of the middle.
    pub control: Option<(Vec<Values>, Values)>,
}

impl Listened {
    /// A text alone.
    pub fn text(text: Values) -> Self {
        Self {
            text,
            pooled: None,
            guidance: None,
            control: None,
        }
    }
}

fn weights(folder: Folder<'_>, part: &'static Part) -> Result<Weights, LoadError> {
    Weights::open(part.name, &folder.weights(part)?)
}

impl Parts {
    /// Loads all networks of a folder.
    pub fn load(files: &[AssetFile]) -> Result<Self, LoadError> {
        let folder = Folder(files);
        let mut texts = Vec::new();
        for part in [&TEXT_ENCODER, &TEXT_ENCODER_2] {
            if let Some(config) = folder.config::<ClipConfig>(part.config)? {
                let mut weights = weights(folder, part)?;
                texts.push(ClipText::new(&config, Scope::root(&mut weights))?);
            }
        }
        let config: UnetConfig = folder.required(UNET.config)?;
        let unet = Unet::new(&config, Scope::root(&mut weights(folder, &UNET)?))?;
        let config: VaeConfig = folder.required(VAE.config)?;
        let vae = Vae::new(&config, Scope::root(&mut weights(folder, &VAE)?))?;
        Ok(Self { texts, unet, vae })
    }

    /// Returns how many layers, and how many channels each text encoder has.
    pub fn texts(&self) -> Result<Vec<(usize, usize)>, RunError> {
        let shape = |text: &ClipText| Ok((text.layers(), text.width()?));
        self.texts.iter().map(shape).collect()
    }

    /// Encodes windows: `[windows, tokens, channels]`, and the pooled `[windows, channels]`.
    pub fn text(
        &self,
        encoder: usize,
        windows: &[Vec<Piece>],
        layer: Layer,
    ) -> Result<(Values, Option<Values>), RunError> {
        let encoded = self.texts[encoder].encode(windows, layer)?;
        let pooled = encoded.pooled.as_ref().map(Values::of).transpose()?;
        Ok((Values::of(&encoded.hidden)?, pooled))
    }

    /// Returns the channels the UNet takes.
    pub fn channels(&self) -> usize {
        self.unet.in_channels()
    }

    /// Returns the prediction for latents `[batch, channels, height, width]`.
    pub fn unet(
        &self,
        latents: &Values,
        timestep: f64,
        listened: &Listened,
        edges: Edges,
    ) -> Result<Values, RunError> {
        let text = listened.text.tensor()?;
        let added = match &listened.pooled {
            Some((pooled, numbers)) => self.unet.added(&pooled.tensor()?, numbers)?,
            None => None,
        };
        let control = match &listened.control {
            Some((skips, middle)) => Some(Residuals {
                skips: skips.iter().map(Values::tensor).collect::<Result<_, _>>()?,
                middle: middle.tensor()?,
            }),
            None => None,
        };
        let conditioning = Conditioning {
            text: &text,
            added: added.as_ref(),
            guidance: listened.guidance,
            control: control.as_ref(),
        };
        let latents = latents.tensor()?;
        Values::of(
            &self
                .unet
                .forward(&latents, timestep, &conditioning, edges.pass())?,
        )
    }

    /// Returns mean and deviation of the latents of pixels `[batch, 3, height, width]` in -1..=1,
    /// before shift and scale.
    pub fn posterior(&self, pixels: &Values, edges: Edges) -> Result<(Values, Values), RunError> {
        let posterior = self.vae.posterior(&pixels.tensor()?, edges.pass())?;
        Ok((
            Values::of(&posterior.mean)?,
            Values::of(&posterior.deviation)?,
        ))
    }

    /// Returns latents for the UNet.
    pub fn encode(
        &self,
        pixels: &Values,
        noise: Option<&Values>,
        edges: Edges,
    ) -> Result<Values, RunError> {
        let noise = noise.map(Values::tensor).transpose()?;
        let latents = self
            .vae
            .encode(&pixels.tensor()?, noise.as_ref(), edges.pass())?;
        Values::of(&latents)
    }

    /// Returns pixels of the UNet's latents.
    pub fn decode(&self, latents: &Values, edges: Edges) -> Result<Values, RunError> {
        Values::of(&self.vae.decode(&latents.tensor()?, edges.pass())?)
    }

    /// As [`Self::decode`], in tiles of at most `side` latents that overlap by `overlap`.
    pub fn decode_tiled(
        &self,
        latents: &Values,
        (side, overlap): (usize, usize),
        edges: Edges,
    ) -> Result<Values, RunError> {
        let tiles = Tiles { side, overlap };
        let pixels = self
            .vae
            .decode_tiled(&latents.tensor()?, tiles, edges.pass())?;
        Values::of(&pixels)
    }

    /// Mean and deviation as [`Self::posterior`], in tiles.
    pub fn posterior_tiled(
        &self,
        pixels: &Values,
        (side, overlap): (usize, usize),
        edges: Edges,
    ) -> Result<(Values, Values), RunError> {
        let tiles = Tiles { side, overlap };
        let posterior = self
            .vae
            .posterior_tiled(&pixels.tensor()?, tiles, edges.pass())?;
        Ok((
            Values::of(&posterior.mean)?,
            Values::of(&posterior.deviation)?,
        ))
    }
}
