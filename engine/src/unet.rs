//! The conditional UNet of Stable Diffusion 1, at any size its `config.json` describes.
//!
//! Follows diffusers' `UNet2DConditionModel` to rounding, its quirks included: `attention_head_dim`
//! is the number of heads, GEGLU gates with the exact GELU, timestep embeddings start with cosines.
//! Extra inputs (SDXL's sizes, classes, control residuals) are refused, never ignored.

mod block;
mod config;
mod resnet;
mod timestep;
mod transformer;

pub(crate) use config::UnetConfig;

use candle_core::{Result, Tensor};

use crate::kernels::conv::Geometry;
use crate::layers::{Conv, GroupNorm};
use crate::load::LoadError;
use crate::modules::Scope;
use block::{DownBlock, MidBlock, UpBlock};
use timestep::TimestepEmbedding;

pub(crate) use resnet::{Resnet, ResnetStyle};

/// A denoising network: latents, a timestep and text vectors to predicted noise.
#[derive(Debug)]
pub(crate) struct Unet {
    time: TimestepEmbedding,
    conv_in: Conv,
    down: Vec<DownBlock>,
    mid: Option<MidBlock>,
    up: Vec<UpBlock>,
    norm_out: GroupNorm,
    conv_out: Conv,
}

impl Unet {
    pub(crate) fn new(
        config: &UnetConfig,
        mut scope: Scope<'_>,
    ) -> std::result::Result<Self, LoadError> {
        let levels = config.levels()?;
        let first = config.block_out_channels[0];
        let last_level = levels.len() - 1;
        let time = TimestepEmbedding::new(config, scope.at("time_embedding"))?;
        let conv_in = Conv::new(
            scope.at("conv_in"),
            (config.in_channels, first),
            3,
            Geometry::SAME,
        )?;
        let mut skips = vec![first];
        let mut channels = first;
        let mut down = Vec::new();
        for (i, level) in levels.iter().enumerate() {
            let scope = scope.at(format!("down_blocks.{i}"));
            down.push(DownBlock::new(
                config,
                level,
                i == last_level,
                channels,
                &mut skips,
                scope,
            )?);
            channels = level.channels;
        }
        let mid = match &config.mid_block_type {
            Some(_) => Some(MidBlock::new(
                config,
                &levels[last_level],
                scope.at("mid_block"),
            )?),
            None => None,
        };
        let mut up = Vec::new();
        for (i, level) in levels.iter().rev().enumerate() {
            let scope = scope.at(format!("up_blocks.{i}"));
            up.push(UpBlock::new(
                config,
                level,
                i == last_level,
                channels,
                &mut skips,
                scope,
            )?);
            channels = level.channels;
        }
        let norm = scope.at("conv_norm_out");
        let norm_out = GroupNorm::new(norm, channels, config.norm_num_groups, config.norm_eps)?;
        let conv_out = Conv::new(
            scope.at("conv_out"),
            (channels, config.out_channels),
            3,
            Geometry::SAME,
        )?;
        Ok(Self {
            time,
            conv_in,
            down,
            mid,
            up,
            norm_out,
            conv_out,
        })
    }

    /// Returns the prediction for latents `[batch, in, height, width]` at a (possibly fractional)
    /// timestep, listening to `[batch, tokens, channels]`.
    pub(crate) fn forward(&self, latents: &Tensor, timestep: f64, text: &Tensor) -> Result<Tensor> {
        let time = self.time.forward(timestep)?;
        let mut x = self.conv_in.forward(latents)?;
        let mut skips = vec![x.clone()];
        for block in &self.down {
            x = block.forward(x, &time, text, &mut skips)?;
        }
        if let Some(mid) = &self.mid {
            x = mid.forward(&x, &time, text)?;
        }
        for block in &self.up {
            x = block.forward(x, &time, text, &mut skips)?;
        }
        self.conv_out.forward(&self.norm_out.forward_silu(&x)?)
    }
}

#[cfg(test)]
mod speed {
    use super::*;
    use crate::modules::{Module, Source};
    use candle_core::Device;
    struct Fill;
    impl Source for Fill {
        fn module(&mut self, m: Module) -> std::result::Result<(Tensor, Tensor), LoadError> {
            let n: usize = m.shape.iter().product();
            let s = 1.0 / ((n / m.shape[0]) as f32).sqrt();
            let v: Vec<f32> = (0..n).map(|i| ((i * 7919 % 1009) as f32 / 504.5 - 1.0) * s).collect();
            let w = Tensor::from_vec(v, m.shape.as_slice(), &Device::Cpu)?;
            Ok((w, Tensor::zeros(m.shape[0], candle_core::DType::F32, &Device::Cpu)?))
        }
    }
    #[test]
    #[ignore]
    fn bench() {
        let cfg = UnetConfig::stable_diffusion_1();
        let mut f = Fill;
        let unet = Unet::new(&cfg, Scope::root(&mut f)).unwrap();
        let cpu = || { let t = std::fs::read_to_string("/proc/self/stat").unwrap(); let f: Vec<&str> = t.rsplit(')').next().unwrap().split_whitespace().collect(); (f[11].parse::<f64>().unwrap() / 100.0, f[12].parse::<f64>().unwrap() / 100.0) };
        let r = |d: &[usize]| Tensor::rand(-1f32, 1f32, d, &Device::Cpu).unwrap();
        for s in [32usize] {
            let (x, t) = (r(&[2, 4, s, s]), r(&[2, 77, 768]));
            for _ in 0..2 {
                let (a, c) = (std::time::Instant::now(), cpu());
                unet.forward(&x, 500.0, &t).unwrap();
                let d = cpu();
                eprintln!("{s}: {:?} cpu {:.2} sys {:.2}", a.elapsed(), d.0 - c.0, d.1 - c.1);
            }
        }
        let time = |name: &str, gflop: f64, f: &dyn Fn()| {
            f();
            let c = cpu();
            for _ in 0..3 { f() }
            let d = cpu();
            let t = (d.0 - c.0 + d.1 - c.1) / 3.0;
            eprintln!("32 {name}: cpu {t:.3}s {:.1} GFLOP/s sys {:.2}", gflop / t, d.1 - c.1);
        };
        use crate::kernels::{conv::*, linear::*, attention::*, activation::*, norm::*};
        let (x, w, b) = (r(&[2, 320, 64, 64]), r(&[320, 320, 3, 3]), r(&[1, 320]));
        time("conv320@64", 2.0 * 2.0 * 4096.0 * 320.0 * 2880.0 / 1e9, &|| { conv2d(&x, &w, &b, Geometry::SAME).unwrap(); });
        let (x, w, b) = (r(&[2, 1280, 8, 8]), r(&[1280, 1280, 3, 3]), r(&[1, 1280]));
        time("conv1280@8", 2.0 * 2.0 * 64.0 * 1280.0 * 11520.0 / 1e9, &|| { conv2d(&x, &w, &b, Geometry::SAME).unwrap(); });
        let (x, w, b) = (r(&[2, 4096, 320]), r(&[2560, 320]), r(&[2560]));
        time("linear320-2560@4096", 2.0 * 8192.0 * 320.0 * 2560.0 / 1e9, &|| { linear(&x, &w, &b, Out::Tokens).unwrap(); });
        let x = r(&[2, 4096, 2560]);
        time("geglu", 0.0, &|| { geglu(&x).unwrap(); });
        let x = r(&[2, 4096, 320]);
        time("attention4096x8", 2.0 * 2.0 * 2.0 * 4096.0 * 4096.0 * 320.0 / 1e9, &|| { attention(&x, &x, &x, 8, Mask::Nothing).unwrap(); });
        let (x, g) = (r(&[2, 320, 64, 64]), r(&[320]));
        time("groupnorm", 0.0, &|| { group_norm(&x, &g, &g, 32, 1e-5, Then::Silu).unwrap(); });
    }
}
