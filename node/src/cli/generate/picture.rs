//! The flags that decide a picture, shared by every command that draws.

use clap::Args;
use hearth_protocol::control::{GenerateRequest, LoraAsk, Place};
use hearth_protocol::job::{
    Compat, Hires, ImageFormat, Micro, NoiseSchedule, Penultimate, Rng, Sampler, Tiling, Upscaler,
    Variation,
};
use hearth_protocol::limits;
use hearth_protocol::unit::{Millikudos, Millis};

use super::ask;

/// How a picture is drawn. What is not given is as the model likes it.
#[derive(Debug, Args)]
#[command(next_help_heading = "Picture")]
pub(in crate::cli) struct PictureArgs {
    /// What to stay away from
    #[arg(long, value_name = "TEXT")]
    negative: Option<String>,
    /// The checkpoint; the built-in Kindling by default
    #[arg(long, value_name = "REF")]
    model: Option<String>,
    /// An autoencoder instead of the checkpoint's own
    #[arg(long, value_name = "REF")]
    vae: Option<String>,
    #[arg(
        long = "lora",
        value_name = "REF[:W[:TE]]",
        value_parser = ask::lora,
        help = "An adapter, with its weight behind a colon, and one for the text encoders (can be repeated)"
    )]
    pub(in crate::cli) loras: Vec<LoraAsk>,
    #[arg(
        long = "embedding",
        value_name = "REF",
        help = "A textual inversion to have at hand (can be repeated); those a prompt names are found alone"
    )]
    embeddings: Vec<String>,
    /// Width and height in pixels
    #[arg(long, value_name = "WxH", value_parser = ask::size)]
    pub(in crate::cli) size: Option<(u32, u32)>,
    /// Sampling steps
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(limits::STEPS_MAX)))]
    steps: Option<u32>,
    /// Guidance scale
    #[arg(long, visible_alias = "guidance", value_name = "F")]
    cfg: Option<Micro>,
    /// How each step is taken: euler, ddim, ... (all: 'hearth help samplers')
    #[arg(long, value_name = "NAME")]
    sampler: Option<Sampler>,
    /// Where the steps are: normal, karras, ... ('hearth help samplers' lists them)
    #[arg(long, value_name = "NAME")]
    schedule: Option<NoiseSchedule>,
    /// Plan one step more and leave its end out, as DPM2 likes it
    #[arg(long)]
    discard_penultimate: bool,
    /// Text encoder layers to go back; 1 is the last
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(limits::CLIP_SKIP_MAX)))]
    clip_skip: Option<u32>,
    /// Noise seed; drawn by default. Picture i of several uses seed + i
    #[arg(long, value_name = "N")]
    pub(in crate::cli) seed: Option<u64>,
    /// A second seed, and how much of its noise is mixed in
    #[arg(long, value_name = "SEED:F", value_parser = ask::variation)]
    variation: Option<Variation>,
    /// Added to the seed for the noise of the steps (ENSD)
    #[arg(long, value_name = "N")]
    eta_seed_delta: Option<u32>,
    /// Which generator turns the seed into noise: torch-cpu, nv
    #[arg(long, value_name = "RNG")]
    rng: Option<Rng>,
    /// Whose conventions to follow: a1111, comfy, diffusers
    #[arg(long, value_name = "WHOSE")]
    compat: Option<Compat>,
    /// Let left meet right and top meet bottom
    #[arg(long)]
    seamless: bool,
    /// Draw again at this size, or so many times larger
    #[arg(long, value_name = "WxH|F", value_parser = ask::scale)]
    hires: Option<ask::Scale>,
    /// Steps of the second pass; the first's by default
    #[arg(long, value_name = "N", requires = "hires", default_value_t = 0)]
    hires_steps: u32,
    /// How much the second pass redoes
    #[arg(long, value_name = "F", requires = "hires", default_value = "0.7")]
    hires_strength: Micro,
    /// How the first picture is enlarged: latent, latent-bicubic, latent-nearest, lanczos
    #[arg(long, value_name = "HOW", requires = "hires", default_value = "latent")]
    upscaler: Upscaler,
    /// What the picture is written as: png, webp, jpeg; by the name of --out by default
    #[arg(long, value_name = "FORMAT")]
    format: Option<ImageFormat>,
    /// Most kudos for each picture
    #[arg(long, value_name = "K")]
    pub(in crate::cli) max_kudos: Option<Millikudos>,
    /// Give up after so many seconds
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u64).range(1..))]
    timeout: Option<u64>,
    /// Where it may run: any, local, or a peer
    #[arg(long = "where", value_name = "WHERE", value_parser = ask::place)]
    pub(in crate::cli) place: Option<Place>,
}

impl PictureArgs {
    /// Puts what was given over what a request has.
    pub(in crate::cli) fn apply(self, request: &mut GenerateRequest) -> anyhow::Result<()> {
        set(&mut request.negative, self.negative);
        set_some(&mut request.model, self.model.map(|it| ask::reference(&it)));
        set_some(&mut request.vae, self.vae.map(|it| ask::reference(&it)));
        if !self.loras.is_empty() {
            request.loras = self.loras;
        }
        let embeddings = self.embeddings.iter().map(|it| ask::reference(it));
        request.embeddings.extend(embeddings);
        set_some(&mut request.size, self.size);
        set_some(&mut request.steps, self.steps);
        set_some(&mut request.guidance, self.cfg);
        set_some(&mut request.sampler, self.sampler);
        set_some(&mut request.schedule, self.schedule);
        if self.discard_penultimate {
            request.penultimate = Penultimate::Discarded;
        }
        set_some(&mut request.clip_skip, self.clip_skip);
        set_some(&mut request.seed, self.seed);
        set_some(&mut request.variation, self.variation);
        set(&mut request.eta_seed_delta, self.eta_seed_delta);
        set(&mut request.rng, self.rng);
        set(&mut request.compat, self.compat);
        if self.seamless {
            request.tiling = Tiling::Seamless;
        }
        if let Some(scale) = self.hires {
            let (width, height) = scale.of(request.size)?;
            request.hires = Some(Hires {
                width,
                height,
                steps: self.hires_steps,
                strength: self.hires_strength,
                upscaler: self.upscaler,
            });
        }
        set_some(&mut request.format, self.format);
        set_some(&mut request.max, self.max_kudos);
        set_some(&mut request.timeout, self.timeout.map(Millis::from_secs));
        set(&mut request.place, self.place);
        Ok(())
    }
}

fn set<T>(place: &mut T, given: Option<T>) {
    if let Some(given) = given {
        *place = given;
    }
}

fn set_some<T>(place: &mut Option<T>, given: Option<T>) {
    if given.is_some() {
        *place = given;
    }
}
