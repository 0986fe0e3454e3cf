//! The KL autoencoder: pixels to latents and back, whole or in tiles.
//!
//! diffusers' `AutoencoderKL` with four latent channels (Stable Diffusion 1, 2, XL). Latents go in and
//! come out as the UNet sees them: shifted and scaled.

mod config;
mod decoder;
mod encoder;
mod middle;
mod tiles;

pub(crate) use config::VaeConfig;
pub(crate) use tiles::Tiles;

use candle_core::{Result, Tensor, bail};

use crate::layers::{Conv, Pass};
use crate::load::LoadError;
use crate::modules::Scope;
use decoder::Decoder;
use encoder::Encoder;
use hearth_kernels::conv::Geometry;

/// An autoencoder.
#[derive(Debug)]
pub(crate) struct Vae {
    scale: f64,
    shift: f64,
    factor: usize,
    encoder: Encoder,
    quant: Option<Conv>,
    decoder: Decoder,
    post_quant: Option<Conv>,
}

/// What the encoder says of a picture: where its latents lie and how surely, before shift and scale.
#[derive(Clone, Debug)]
pub(crate) struct Posterior {
    pub(crate) mean: Tensor,
    pub(crate) deviation: Tensor,
}

impl Vae {
    pub(crate) fn new(
        config: &VaeConfig,
        mut scope: Scope<'_>,
    ) -> std::result::Result<Self, LoadError> {
        config.check()?;
        let latent = config.latent_channels;
        let mut point = |used: bool, name, channels: usize| {
            let conv = || Conv::new(scope.at(name), (channels, channels), 1, Geometry::POINT);
            used.then(conv).transpose()
        };
        let quant = point(config.use_quant_conv, "quant_conv", 2 * latent)?;
        let post_quant = point(config.use_post_quant_conv, "post_quant_conv", latent)?;
        Ok(Self {
            scale: config.scaling_factor,
            shift: config.shift_factor.unwrap_or(0.0),
            factor: config.factor(),
            encoder: Encoder::new(config, scope.at("encoder"))?,
            quant,
            decoder: Decoder::new(config, scope.at("decoder"))?,
            post_quant,
        })
    }

    /// Returns how many pixels a latent covers in each direction.
    pub(crate) fn factor(&self) -> usize {
        self.factor
    }

    /// Returns pixels `[batch, 3, height, width]`, nominally in -1..=1, of the UNet's latents.
    pub(crate) fn decode(&self, latents: &Tensor, pass: Pass) -> Result<Tensor> {
        let x = latents.affine(1.0 / self.scale, self.shift)?;
        let x = match &self.post_quant {
            Some(post_quant) => post_quant.forward(&x, pass)?,
            None => x,
        };
        self.decoder.forward(&x, pass)?.contiguous()
    }

    /// Returns the latents of pixels `[batch, 3, height, width]` in -1..=1, whose sides are multiples
    /// of [`Self::factor`]: the most likely ones, or drawn with `noise` of the latents' shape.
    pub(crate) fn encode(
        &self,
        pixels: &Tensor,
        noise: Option<&Tensor>,
        pass: Pass,
    ) -> Result<Tensor> {
        self.latents(&self.posterior(pixels, pass)?, noise)
    }

    /// Returns what the encoder says of pixels `[batch, 3, height, width]` in -1..=1.
    pub(crate) fn posterior(&self, pixels: &Tensor, pass: Pass) -> Result<Posterior> {
        Posterior::of(&self.moments(pixels, pass)?)
    }

    /// Draws latents, shifted and scaled for the UNet.
    pub(crate) fn latents(&self, posterior: &Posterior, noise: Option<&Tensor>) -> Result<Tensor> {
        let z = match noise {
            Some(noise) => (&posterior.mean + (&posterior.deviation * noise)?)?,
            None => posterior.mean.clone(),
        };
        z.affine(self.scale, -self.shift * self.scale)
    }

    fn moments(&self, pixels: &Tensor, pass: Pass) -> Result<Tensor> {
        let (_, _, height, width) = pixels.dims4()?;
        let factor = self.factor;
        if !height.is_multiple_of(factor) || !width.is_multiple_of(factor) {
            bail!("{width}x{height} pixels do not divide into latents of {factor}");
        }
        let x = self.encoder.forward(pixels, pass)?;
        match &self.quant {
            Some(quant) => quant.forward(&x, pass),
            None => Ok(x),
        }
    }
}

impl Posterior {
    /// Splits the encoder's output; the bounds of the logarithm are diffusers'.
    fn of(moments: &Tensor) -> Result<Self> {
        let halves = moments.chunk(2, 1)?;
        let [mean, log_variance] = halves.as_slice() else {
            bail!("moments {:?} do not halve", moments.dims());
        };
        let deviation = (log_variance.clamp(-30.0, 20.0)? * 0.5)?.exp()?;
        Ok(Self {
            mean: mean.contiguous()?,
            deviation,
        })
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::modules::{Module, Scattered, record};

    #[test]
    fn e1_autoencoder_has_its_number_of_parameters() {
        let modules = record(|scope| Vae::new(&VaeConfig::stable_diffusion(), scope)).unwrap();
        let got: usize = modules.iter().map(Module::parameters).sum();
        assert_eq!(got, 83_653_863);
    }

    fn tiny() -> Vae {
        let config = VaeConfig {
            block_out_channels: vec![8, 16],
            norm_num_groups: 4,
            ..VaeConfig::default()
        };
        Vae::new(&config, Scope::root(&mut Scattered::in_f32())).unwrap()
    }

    fn random(shape: &[usize]) -> Tensor {
        let count = shape.iter().product::<usize>();
        let values: Vec<f32> = (0..count).map(|i| (i as f32 * 1.7).sin()).collect();
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    }

    fn difference(a: &Tensor, b: &Tensor) -> f32 {
        let diff = (a - b).unwrap().abs().unwrap().max_all().unwrap();
        diff.to_scalar().unwrap()
    }

    #[test]
    fn e5_seamless_pictures_move_with_their_latents() {
        let vae = tiny();
        let (latents, pixels) = (random(&[1, 4, 6, 8]), random(&[1, 3, 12, 16]));
        for (pass, seamless) in [(Pass::SEAMLESS, true), (Pass::PLAIN, false)] {
            let moved = vae.decode(&latents.roll(3, 3).unwrap(), pass).unwrap();
            let want = vae.decode(&latents, pass).unwrap().roll(6, 3).unwrap();
            assert_eq!(
                difference(&moved, &want) < 1e-4,
                seamless,
                "decode {pass:?}"
            );
            let moved = vae.encode(&pixels.roll(6, 2).unwrap(), None, pass).unwrap();
            let want = vae.encode(&pixels, None, pass).unwrap().roll(3, 2).unwrap();
            assert_eq!(
                difference(&moved, &want) < 1e-4,
                seamless,
                "encode {pass:?}"
            );
        }
    }

    #[test]
    fn e7_one_tile_is_the_whole() {
        let vae = tiny();
        let (latents, pixels) = (random(&[2, 4, 6, 8]), random(&[2, 3, 12, 16]));
        let tiles = Tiles {
            side: 8,
            overlap: 2,
        };
        for pass in [Pass::PLAIN, Pass::SEAMLESS] {
            let whole = vae.decode(&latents, pass).unwrap();
            let tiled = vae.decode_tiled(&latents, tiles, pass).unwrap();
            assert_eq!(difference(&whole, &tiled), 0.0);
            let whole = vae.encode(&pixels, None, pass).unwrap();
            let tiled = vae.encode_tiled(&pixels, None, tiles, pass).unwrap();
            assert_eq!(difference(&whole, &tiled), 0.0);
        }
    }

    #[test]
    fn e7_sizes_come_out_right_in_many_tiles() {
        let vae = tiny();
        let tiles = Tiles {
            side: 5,
            overlap: 2,
        };
        for pass in [Pass::PLAIN, Pass::SEAMLESS] {
            let pixels = vae
                .decode_tiled(&random(&[2, 4, 11, 4]), tiles, pass)
                .unwrap();
            assert_eq!(pixels.dims(), [2, 3, 22, 8]);
            let latents = vae.encode_tiled(&pixels, None, tiles, pass).unwrap();
            assert_eq!(latents.dims(), [2, 4, 11, 4]);
        }
        assert!(
            vae.encode_tiled(&random(&[1, 3, 23, 8]), None, tiles, Pass::PLAIN)
                .is_err()
        );
    }
}
