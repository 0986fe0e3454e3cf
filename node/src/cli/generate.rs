//! `hearth generate`: ask for pictures, watch them come, say where they are.
//!
//! Speaks to the running node, or to one inside this process when none runs.

pub(super) mod ask;
mod follow;
mod like;
mod outcome;
mod picture;
mod start;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use hearth_protocol::control::{Command, GenerateRequest, Problem, ProblemKind, Reply};
use hearth_protocol::id::NodeId;
use hearth_protocol::limits;

use self::follow::Follower;
pub(super) use self::picture::PictureArgs;
use self::start::StartArgs;
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
  hearth generate \"a stone bridge\" --image bridge.jpg --strength 0.6
  hearth generate \"a round window\" --image wall.png --mask hole.png --only-masked
  hearth generate \"a kite\" --save-steps steps/ && hearth generate --from-step steps/step_007.safetensors \"a dragon\"
  hearth generate --like friend.png --seed 8
  hearth generate \"a kite\" --count 4 --out kites/ --max-kudos 5
  hearth generate \"a kite\" --dry-run

REF is a card id, a title, any hash of a file, or a path. Prompts are AUTOMATIC1111's: (word:1.2), [from:to:0.5],
[a|b], BREAK, AND, <lora:name:0.8>.
")]
pub(super) struct GenerateArgs {
    /// What to draw
    #[arg(required_unless_present_any = ["from_step", "like"])]
    prompt: Option<String>,
    #[command(flatten)]
    pub(super) picture: PictureArgs,
    #[command(flatten)]
    start: StartArgs,
    /// How many pictures
    #[arg(long, short = 'n', default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(limits::COUNT_MAX)))]
    count: u32,
    /// Save every step's latents and picture to this folder; --from-step goes on from one
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
    draw(ask::request(args, session)?, session)
}

/// Has a request done by the running node, or by one inside this process when none runs.
pub(super) fn draw(request: GenerateRequest, session: &Session) -> anyhow::Result<()> {
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
