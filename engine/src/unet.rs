//! The conditional UNet of Stable Diffusion 1, 2 and XL, at any size its `config.json` describes.
//!
//! Follows diffusers' `UNet2DConditionModel` to rounding, its quirks included: `attention_head_dim`
//! is the number of heads, GEGLU gates with the exact GELU, timestep embeddings start with cosines.
//! Covers the relatives too: inpainting's 9 channels and instruct-pix2pix's 8, distilled models
//! without middle or with uneven blocks, guidance as an input (LCM), and residuals of a ControlNet.
//! Anything else a configuration asks for (classes, gated attention) is refused, never ignored.

mod block;
mod config;
mod plan;
mod resnet;
mod timestep;
mod transformer;

pub(crate) use config::UnetConfig;

use candle_core::{Result, Tensor, bail};

use crate::layers::{Conv, GroupNorm, Pass};
use crate::load::LoadError;
use crate::modules::Scope;
use block::{Context, DownBlock, MidBlock, UpBlock};
use hearth_kernels::conv::Geometry;
use hearth_kernels::layout::add;
use plan::Plan;
use timestep::TimestepEmbedding;

pub(crate) use resnet::{Resnet, ResnetStyle};

/// What a prediction listens to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Conditioning<'a> {
    /// `[batch, tokens, channels]`.
    pub(crate) text: &'a Tensor,
    /// What [`Unet::added`] makes of pooled text and sizes, `[batch, width]`: for SDXL and no other.
    pub(crate) added: Option<&'a Tensor>,
    /// The guidance scale, for models distilled to take it; others do not look at it.
    pub(crate) guidance: Option<f64>,
    /// What a ControlNet adds.
    pub(crate) control: Option<&'a Residuals>,
}

impl<'a> Conditioning<'a> {
    /// Text alone.
    pub(crate) fn text(text: &'a Tensor) -> Self {
        Self {
            text,
            added: None,
            guidance: None,
            control: None,
        }
    }
}

/// What a ControlNet adds to a UNet's skips and to its middle, all times its strength.
#[derive(Clone, Debug)]
pub(crate) struct Residuals {
    /// One for each skip, in the order they are made: `conv_in`'s output first. 12 in Stable
    /// Diffusion 1 and 2, 9 in XL.
    pub(crate) skips: Vec<Tensor>,
    /// For the output of the middle.
    pub(crate) middle: Tensor,
}

/// A denoising network: latents, a timestep and a conditioning to predicted noise (or velocity).
#[derive(Debug)]
pub(crate) struct Unet {
    in_channels: usize,
    time: TimestepEmbedding,
    conv_in: Conv,
    down: Vec<DownBlock>,
    mid: MidBlock,
    up: Vec<UpBlock>,
    norm_out: GroupNorm,
    conv_out: Conv,
}

impl Unet {
    pub(crate) fn new(
        config: &UnetConfig,
        mut scope: Scope<'_>,
    ) -> std::result::Result<Self, LoadError> {
        let plan = Plan::new(config)?;
        let first = config.block_out_channels[0];
        let time = TimestepEmbedding::new(config, &mut scope)?;
        let shape = (config.in_channels, first);
        let conv_in = Conv::new(scope.at("conv_in"), shape, 3, Geometry::SAME)?;
        let last = plan.down.len() - 1;
        let mut skips = vec![first];
        let mut channels = first;
        let mut down = Vec::new();
        for (i, level) in plan.down.iter().enumerate() {
            let scope = scope.at(format!("down_blocks.{i}"));
            let block = DownBlock::new(config, level, i == last, channels, &mut skips, scope)?;
            down.push(block);
            channels = level.channels;
        }
        let mid = MidBlock::new(config, &plan.middle, scope.at("mid_block"))?;
        let mut up = Vec::new();
        for (i, level) in plan.up.iter().enumerate() {
            let scope = scope.at(format!("up_blocks.{i}"));
            let block = UpBlock::new(config, level, i == last, channels, &mut skips, scope)?;
            up.push(block);
            channels = level.channels;
        }
        let norm = scope.at("conv_norm_out");
        let norm_out = GroupNorm::new(norm, channels, config.norm_num_groups, config.norm_eps)?;
        let shape = (channels, config.out_channels);
        Ok(Self {
            in_channels: config.in_channels,
            time,
            conv_in,
            down,
            mid,
            up,
            norm_out,
            conv_out: Conv::new(scope.at("conv_out"), shape, 3, Geometry::SAME)?,
        })
    }

    /// Returns how many channels it wants: 4 latents; 9 with a mask and masked latents behind them
    /// (inpainting), 8 with a picture's latents behind them (instruct-pix2pix).
    pub(crate) fn in_channels(&self) -> usize {
        self.in_channels
    }

    /// Returns the `[batch, width]` that goes into [`Conditioning::added`], or nothing if this UNet takes
    /// none. `pooled` is `[batch, channels]`; `numbers` are SDXL's original height and width, top and
    /// left of the crop, and target height and width; its refiner's: original height and width, top
    /// and left of the crop, and an aesthetic score.
    pub(crate) fn added(&self, pooled: &Tensor, numbers: &[f64]) -> Result<Option<Tensor>> {
        self.time.added(pooled, numbers)
    }

    /// Returns the prediction `[batch, 4, height, width]` for `[batch, in, height, width]` at a
    /// (possibly fractional) timestep.
    pub(crate) fn forward(
        &self,
        latents: &Tensor,
        timestep: f64,
        conditioning: &Conditioning<'_>,
        pass: Pass,
    ) -> Result<Tensor> {
        let time = self.time.forward(latents, timestep, conditioning)?;
        let context = Context {
            time: &time,
            text: conditioning.text,
            pass,
        };
        let mut x = self.conv_in.forward(latents, pass)?;
        let mut skips = vec![x.clone()];
        for block in &self.down {
            x = block.forward(x, context, &mut skips)?;
        }
        x = self.mid.forward(x, context)?;
        if let Some(residuals) = conditioning.control {
            x = residuals.add_to(&x, &mut skips)?;
        }
        for block in &self.up {
            x = block.forward(x, context, &mut skips)?;
        }
        let x = self.norm_out.forward_silu(&x)?;
        // Small, and read by code that does not know about channels innermost.
        self.conv_out.forward(&x, pass)?.contiguous()
    }
}

impl Residuals {
    /// Adds to all skips and returns the middle with its own added.
    fn add_to(&self, middle: &Tensor, skips: &mut [Tensor]) -> Result<Tensor> {
        if self.skips.len() != skips.len() {
            let (got, want) = (self.skips.len(), skips.len());
            bail!("{got} residuals for {want} skips: the ControlNet is for another model");
        }
        for (skip, residual) in skips.iter_mut().zip(&self.skips) {
            *skip = add(skip, residual)?;
        }
        add(middle, &self.middle)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::config::{Depths, PerLevel};
    use super::*;
    use crate::modules::{Module, Scattered, record};

    fn modules(config: &UnetConfig) -> Vec<Module> {
        record(|scope| Unet::new(config, scope)).unwrap()
    }

    fn parameters(config: &UnetConfig) -> usize {
        modules(config).iter().map(Module::parameters).sum()
    }

    /// As `stabilityai` and their distillers publish them; the sums are diffusers' own.
    #[test]
    fn e1_published_architectures_have_their_numbers_of_parameters() {
        let classic = UnetConfig::stable_diffusion_1;
        let with_inputs = |in_channels| UnetConfig {
            in_channels,
            ..classic()
        };
        let guided = UnetConfig {
            time_cond_proj_dim: Some(256),
            ..classic()
        };
        let without_middle = UnetConfig {
            layers_per_block: PerLevel::All(1),
            mid_block_type: None,
            ..classic()
        };
        let each = |depths: &[usize]| PerLevel::Each(depths.to_vec());
        let uneven = UnetConfig {
            mid_block_type: Some("UNetMidBlock2D".to_owned()),
            transformer_layers_per_block: Depths::Each(vec![
                PerLevel::All(1),
                each(&[2, 2]),
                each(&[4, 4]),
            ]),
            reverse_transformer_layers_per_block: Some(Depths::Each(vec![
                each(&[4, 4, 10]),
                each(&[2, 1, 1]),
                PerLevel::All(1),
            ])),
            ..UnetConfig::stable_diffusion_xl()
        };
        for (name, config, want) in [
            ("1.5", classic(), 859_520_964),
            ("2.1", UnetConfig::stable_diffusion_2(), 865_910_724),
            ("XL", UnetConfig::stable_diffusion_xl(), 2_567_463_684),
            ("XL refiner", UnetConfig::refiner(), 2_259_526_660),
            ("inpainting", with_inputs(9), 859_535_364),
            ("instruct-pix2pix", with_inputs(8), 859_532_484),
            ("LCM", guided, 859_602_884),
            ("BK-SDM small", without_middle, 482_346_884),
            ("SSD-1B", uneven, 1_331_334_404),
        ] {
            assert_eq!(parameters(&config), want, "{name}");
        }
    }

    #[test]
    fn e1_xl_has_the_722_modules_kohya_trains() {
        let trained = |m: &&Module| m.adaptable() && m.path.contains("attentions");
        let modules = modules(&UnetConfig::stable_diffusion_xl());
        assert_eq!(modules.iter().filter(trained).count(), 722);
    }

    #[test]
    fn e1_uneven_depths_need_their_way_up() {
        let config = UnetConfig {
            transformer_layers_per_block: Depths::Each(vec![
                PerLevel::All(1),
                PerLevel::Each(vec![2, 2]),
                PerLevel::All(4),
            ]),
            ..UnetConfig::stable_diffusion_xl()
        };
        let error = record(|scope| Unet::new(&config, scope)).unwrap_err();
        assert!(
            error.to_string().contains("no depth for layer 2"),
            "{error}"
        );
    }

    fn refusal(config: &UnetConfig) -> String {
        let error = record(|scope| Unet::new(config, scope)).unwrap_err();
        error.to_string()
    }

    #[test]
    fn e3_what_is_not_computed_is_refused_by_name() {
        let parse = |more: &str| {
            let text = format!(r#"{{"cross_attention_dim": 768, {more}}}"#);
            serde_json::from_str::<UnetConfig>(&text).unwrap()
        };
        for (more, named) in [
            (r#""class_embed_type": "timestep""#, "class_embed_type"),
            (r#""num_class_embeds": 1000"#, "num_class_embeds"),
            (r#""encoder_hid_dim": 4096"#, "encoder_hid_dim"),
            (r#""attention_type": "gated""#, "gated"),
            (r#""addition_embed_type": "image""#, "image"),
            (r#""addition_embed_type": "text_time""#, "text_time"),
            (
                r#""mid_block_type": "UNetMidBlock2DSimpleCrossAttn""#,
                "SimpleCrossAttn",
            ),
            (
                r#""only_cross_attention": [true, false, false, false]"#,
                "only cross",
            ),
            (r#""in_channels": 7"#, "7 channels"),
            (r#""time_cond_proj_dim": 3"#, "time_cond_proj_dim 3"),
            (r#""layers_per_block": 1000000"#, "1000000 layers"),
            (r#""transformer_layers_per_block": 1000"#, "depth 1000"),
            (r#""attention_head_dim": 0"#, "0 heads"),
            (r#""block_out_channels": [33, 64, 128, 128]"#, "33"),
            (
                r#""down_block_types": ["A", "B", "C", "D"]"#,
                "block type A",
            ),
            (r#""up_block_types": []"#, "4 levels"),
        ] {
            let said = refusal(&parse(more));
            assert!(said.contains(named), "{more}: {said}");
        }
    }

    fn tiny() -> UnetConfig {
        serde_json::from_value(serde_json::json!({
            "block_out_channels": [8, 16, 24], "attention_head_dim": 2, "norm_num_groups": 4,
            "down_block_types": ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
            "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"],
            "layers_per_block": 1, "cross_attention_dim": 12, "use_linear_projection": true,
        }))
        .unwrap()
    }

    fn unet(mut source: Scattered) -> Unet {
        Unet::new(&tiny(), Scope::root(&mut source)).unwrap()
    }

    fn random(seed: f64, shape: &[usize]) -> Tensor {
        let count = shape.iter().product::<usize>();
        let values: Vec<f64> = (0..count).map(|i| (i as f64 * 1.7 + seed).sin()).collect();
        let x = Tensor::from_vec(values, shape, &Device::Cpu).unwrap();
        x.to_dtype(DType::F32).unwrap()
    }

    fn predict(unet: &Unet, x: &Tensor, control: Option<&Residuals>, pass: Pass) -> Tensor {
        let text = random(0.3, &[x.dim(0).unwrap(), 5, 12]);
        let conditioning = Conditioning {
            control,
            ..Conditioning::text(&text)
        };
        unet.forward(x, 300.5, &conditioning, pass).unwrap()
    }

    fn difference(a: &Tensor, b: &Tensor) -> f32 {
        let diff = (a - b).unwrap().abs().unwrap().max_all().unwrap();
        diff.to_scalar().unwrap()
    }

    #[test]
    fn e5_seamless_prediction_moves_with_its_latents() {
        let unet = unet(Scattered::in_f32());
        let x = random(0.0, &[1, 4, 8, 12]);
        // Four latents are one at the lowest of the three resolutions.
        let moved = x.roll(4, 3).unwrap().roll(4, 2).unwrap();
        for (pass, seamless) in [(Pass::SEAMLESS, true), (Pass::PLAIN, false)] {
            let want = predict(&unet, &x, None, pass).roll(4, 3).unwrap();
            let want = want.roll(4, 2).unwrap();
            let diff = difference(&predict(&unet, &moved, None, pass), &want);
            assert_eq!(diff < 1e-4, seamless, "{pass:?}: {diff}");
        }
    }

    #[test]
    fn e6_residuals_reach_every_skip_and_the_middle() {
        let unet = unet(Scattered::in_f32());
        let x = random(0.0, &[1, 4, 8, 8]);
        let plain = predict(&unet, &x, None, Pass::PLAIN);
        let shapes = [[8, 8], [8, 8], [8, 4], [16, 4], [16, 2], [24, 2]];
        let zeros = |[channels, side]: [usize; 2]| {
            let shape = (1, channels, side, side);
            Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap()
        };
        let nothing = Residuals {
            skips: shapes.map(zeros).to_vec(),
            middle: zeros([24, 2]),
        };
        assert_eq!(
            difference(&predict(&unet, &x, Some(&nothing), Pass::PLAIN), &plain),
            0.0
        );
        for i in 0..=shapes.len() {
            let mut some = nothing.clone();
            let place = some.skips.get_mut(i).unwrap_or(&mut some.middle);
            *place = (&*place + 0.5).unwrap();
            let diff = difference(&predict(&unet, &x, Some(&some), Pass::PLAIN), &plain);
            assert!(diff > 1e-4, "residual {i} changes nothing");
        }
    }

    #[test]
    fn e6_residuals_of_another_model_are_refused() {
        let unet = unet(Scattered::in_f32());
        let (x, text) = (random(0.0, &[1, 4, 8, 8]), random(0.3, &[1, 5, 12]));
        let control = Residuals {
            skips: Vec::new(),
            middle: x.clone(),
        };
        let conditioning = Conditioning {
            control: Some(&control),
            ..Conditioning::text(&text)
        };
        let error = unet
            .forward(&x, 1.0, &conditioning, Pass::PLAIN)
            .unwrap_err();
        assert!(
            error.to_string().contains("0 residuals for 6 skips"),
            "{error}"
        );
    }

    #[test]
    fn e8_half_stored_weights_compute_as_their_widened_values() {
        let x = random(0.0, &[2, 4, 6, 10]);
        for dtype in [DType::F16, DType::BF16] {
            let [stored, widened] = [false, true].map(|widened| {
                let unet = unet(Scattered { dtype, widened });
                predict(&unet, &x, None, Pass::PLAIN)
            });
            assert_eq!(stored.dtype(), DType::F32);
            let diff = difference(&stored, &widened);
            assert!(diff < 1e-5, "{dtype:?}: {diff}");
        }
    }

    #[test]
    fn e9_latents_of_every_size_come_back_in_their_size() {
        let unet = unet(Scattered::in_f32());
        for (height, width) in [(1, 1), (1, 7), (3, 5), (9, 2)] {
            let x = random(0.0, &[1, 4, height, width]);
            let out = predict(&unet, &x, None, Pass::PLAIN);
            assert_eq!(out.dims(), x.dims());
        }
    }
}
