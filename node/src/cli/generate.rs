//! `hearth generate`: ask for pictures, watch them come, say where they are.
//!
//! Speaks to the running node, or to one inside this process when none runs.

mod ask;
mod follow;
mod outcome;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use hearth_protocol::control::{Command, LoraAsk, Place, Problem, ProblemKind, Reply};
use hearth_protocol::id::NodeId;
use hearth_protocol::job::{Compat, Micro, NoiseSchedule, Rng, Sampler};
use hearth_protocol::limits;
use hearth_protocol::unit::Millikudos;

use self::follow::Follower;
use super::exit::Interrupted;
use super::host::Host;
use super::progress::Bar;
use super::session::{Session, other};

/// How long a node inside this process stays for its entries to be written and gossiped.
const LINGER_MAX: Duration = Duration::from_secs(5);

/// A picture to draw.
#[derive(Debug, Args)]
#[command(before_help = "\
Examples:
  hearth generate \"a red kite over hills\"
  hearth generate \"a kite, kitestyle\" --lora kites:0.8 --size 512x768 --seed 7
  hearth generate \"a kite\" --count 4 --out kites/ --max-kudos 5
  hearth generate \"a kite\" --dry-run

REF is a card id, a title, any hash of a file, or a path.
")]
pub(super) struct GenerateArgs {
    /// What to draw
    prompt: String,
    /// What to stay away from
    #[arg(long, default_value = "", value_name = "TEXT")]
    negative: String,
    /// The checkpoint; the only one known by default
    #[arg(long, value_name = "REF")]
    model: Option<String>,
    #[arg(
        long = "lora",
        value_name = "REF[:W]",
        value_parser = ask::lora,
        help = "A LoRA, with its weight behind a colon (can be repeated)"
    )]
    pub(super) loras: Vec<LoraAsk>,
    /// Width and height in pixels; the model's own by default
    #[arg(long, value_name = "WxH", value_parser = ask::size)]
    pub(super) size: Option<(u32, u32)>,
    /// Sampling steps; the model's own by default
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(limits::STEPS_MAX)))]
    steps: Option<u32>,
    /// Guidance scale; the model's own by default
    #[arg(long, visible_alias = "guidance", value_name = "F")]
    cfg: Option<Micro>,
    /// How each step is taken; the model's own by default
    #[arg(long, value_name = "NAME")]
    sampler: Option<Sampler>,
    /// Where the steps are; the model's own by default
    #[arg(long, value_name = "NAME")]
    schedule: Option<NoiseSchedule>,
    /// Noise seed; drawn by default. Picture i of several uses seed + i
    #[arg(long, value_name = "N")]
    pub(super) seed: Option<u64>,
    /// Most kudos for each picture
    #[arg(long, value_name = "K")]
    pub(super) max_kudos: Option<Millikudos>,
    /// Give up after so many seconds
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u64).range(1..))]
    timeout: Option<u64>,
    /// Which generator turns the seed into noise: torch-cpu, nv
    #[arg(long, default_value = "torch-cpu", value_name = "RNG")]
    rng: Rng,
    /// Whose conventions to follow: a1111, comfy, diffusers
    #[arg(long, default_value = "a1111", value_name = "WHOSE")]
    compat: Compat,
    /// How many pictures
    #[arg(long, short = 'n', default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(limits::COUNT_MAX)))]
    count: u32,
    /// Where it may run: any, local, or a peer
    #[arg(long = "where", default_value = "any", value_name = "WHERE", value_parser = ask::place)]
    pub(super) place: Place,
    /// Save every step's latent to this folder
    #[arg(long, value_name = "DIR")]
    save_steps: Option<PathBuf>,
    /// The picture's file, or a folder
    #[arg(long, short, value_name = "FILE|DIR")]
    out: Option<PathBuf>,
    /// Only say what it would cost and who would do it
    #[arg(long)]
    dry_run: bool,
}

pub(super) fn run(args: GenerateArgs, session: &Session) -> anyhow::Result<()> {
    let request = ask::request(args)?;
    let host = {
        let waiting = Bar::spinner(&session.printer, "reaching the node");
        let host = Host::reach(session);
        waiting.clear();
        host?
    };
    let outcome = if request.dry_run {
        let reply = host.client().execute(Command::Generate(Box::new(request)));
        reply
            .map_err(anyhow::Error::new)
            .and_then(|reply| estimate(&reply, session))
    } else {
        Follower::submit(request, host.client().clone(), session).and_then(Follower::follow)
    };
    if let Err(error) = &outcome
        && error.downcast_ref() == Some(&Interrupted::AtOnce)
    {
        return outcome;
    }
    if host.is_inside() {
        follow::settle(host.client(), LINGER_MAX);
    }
    host.finish();
    outcome
}

fn estimate(reply: &Reply, session: &Session) -> anyhow::Result<()> {
    session.reply_json(reply)?;
    let Reply::Estimate {
        kudos_mk,
        workers,
        obstacle,
    } = reply
    else {
        return other();
    };
    if let Some(obstacle) = obstacle {
        bail!(Problem::new(ProblemKind::Failed, "nobody could do it now").cause(obstacle.clone()));
    }
    let who: Vec<String> = workers.iter().map(NodeId::short).collect();
    session
        .printer
        .line(format!("at most {kudos_mk} kudos, by {}", who.join(", ")))
        .context("cannot print the estimate")
}
