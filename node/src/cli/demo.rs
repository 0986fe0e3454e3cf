//! `hearth demo`: a whole commons on this machine, with real processes and nothing pretended.
//!
//! A requester, a worker and a seeder run as three nodes on loopback. [`stage`] is the play,
//! [`story`] tells it, [`actor`] is one node's process. Ends with 0 only if every step held.

mod actor;
mod stage;
mod story;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, bail};
use clap::Args;

use self::stage::Stage;
use self::story::Story;
use super::exit::Interrupted;
use super::interrupt;
use super::session::Session;

/// What is drawn when nobody says what.
const PROMPT: &str = "emberglow, a red kite over green hills";

/// How to show it.
#[derive(Debug, Args)]
#[command(before_help = "\
Examples:
  hearth demo
  hearth demo \"a lighthouse at night\" --dir /tmp/commons
")]
pub(super) struct DemoArgs {
    /// What to draw
    #[arg(default_value = PROMPT)]
    prompt: String,
    /// Keep everything in this folder, which must be new or empty
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Keep the nodes' folder
    #[arg(long)]
    keep: bool,
}

pub(super) fn run(args: &DemoArgs, session: &Session) -> anyhow::Result<()> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&interrupted);
    interrupt::listen(move || flag.store(true, Ordering::Relaxed))
        .context("cannot listen for Ctrl-C")?;
    let folder = Folder::choose(args)?;
    let mut story = Story::new(&session.printer);
    let mut stage = Stage::new(folder.dir.clone(), folder.picture.clone(), &interrupted);
    let played = stage.play(&args.prompt, &mut story);
    if let Err(error) = played {
        story.clear();
        if interrupted.load(Ordering::Relaxed) {
            return Err(Interrupted::Gracefully.into());
        }
        for line in stage.tail() {
            session.printer.note(line);
        }
        return Err(error.context(format!("step '{}' did not hold", story.current())));
    }
    stage.finish();
    story.end(&stage, folder.kept())
}

/// Where the nodes live, and for how long.
struct Folder {
    dir: PathBuf,
    picture: PathBuf,
    temporary: Option<tempfile::TempDir>,
}

impl Folder {
    fn choose(args: &DemoArgs) -> anyhow::Result<Self> {
        if let Some(dir) = &args.dir {
            let dir = std::path::absolute(dir)?;
            std::fs::create_dir_all(&dir)
                .with_context(|| format!("cannot create {}", dir.display()))?;
            let mut entries = std::fs::read_dir(&dir)
                .with_context(|| format!("cannot read {}", dir.display()))?;
            if entries.next().is_some() {
                bail!("{} is not empty; name a new folder", dir.display());
            }
            return Ok(Self {
                picture: dir.join("hearth-demo.png"),
                dir,
                temporary: None,
            });
        }
        let mut temporary = tempfile::Builder::new()
            .prefix("hearth-demo-")
            .tempdir()
            .context("cannot create a folder for the nodes")?;
        temporary.disable_cleanup(args.keep);
        Ok(Self {
            dir: temporary.path().to_owned(),
            picture: std::path::absolute("hearth-demo.png")?,
            temporary: (!args.keep).then_some(temporary),
        })
    }

    /// Returns the folder if it outlives the command.
    fn kept(&self) -> Option<&PathBuf> {
        self.temporary.is_none().then_some(&self.dir)
    }
}
