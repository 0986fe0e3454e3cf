//! `hearth up` and `hearth stop`: the node's life as a process.

use std::fs::OpenOptions;
use std::process::{Command as Process, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use hearth_protocol::control::{Command, Reply};
use serde_json::json;

use super::exit::Interrupted;
use super::interrupt::Signals;
use super::printer::Role;
use super::session::{LogTo, Session, other};
use crate::client::{ApiAccess, Client};
use crate::config::Config;
use crate::daemon;
use crate::home::{HomeLock, LockError};
use crate::identity;

const POLL: Duration = Duration::from_millis(20);
const START_MAX: Duration = Duration::from_secs(30);
const STOP_MAX: Duration = Duration::from_secs(30);

/// How to run the node.
#[derive(Debug, Args)]
#[command(before_help = "\
Examples:
  hearth up                               run here until Ctrl-C
  hearth up --detach                      run in the background; 'hearth stop' ends it
  hearth up --set worker.enabled=false    ask others, work for nobody
")]
pub(super) struct UpArgs {
    /// Run in the background
    #[arg(long)]
    detach: bool,
    /// What the node calls itself
    #[arg(long, value_name = "NAME")]
    nickname: Option<String>,
}

pub(super) fn up(args: &UpArgs, session: &Session) -> anyhow::Result<()> {
    let mut session = session.clone();
    if let Some(nickname) = &args.nickname {
        session.set("nickname", nickname);
    }
    let config = session.settings()?.config;
    if args.detach {
        return detach(&session);
    }
    session.begin_log(&config.log_level, LogTo::FileAndStderr)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("hearth")
        .build()
        .context("cannot start threads")?;
    let ended = runtime.block_on(serve(&session, &config));
    runtime.shutdown_background();
    ended
}

async fn serve(session: &Session, config: &Config) -> anyhow::Result<()> {
    let mut signals = Signals::new().context("cannot listen for Ctrl-C")?;
    let mut daemon = tokio::select! {
        daemon = daemon::start(&session.home, config) => daemon.context("the node cannot start")?,
        () = signals.next() => return Err(Interrupted::AtOnce.into()),
    };
    announce(session, daemon.access())?;
    tokio::select! {
        () = daemon.stopped() => {}
        () = signals.next() => {
            session.printer.note("stopping; Ctrl-C again ends at once");
        }
    }
    tokio::select! {
        () = daemon.shutdown() => Ok(()),
        () = signals.next() => Err(Interrupted::AtOnce.into()),
    }
}

/// Prints the one line that says that the node is ready.
fn announce(session: &Session, access: &ApiAccess) -> anyhow::Result<()> {
    let Some(key) = identity::load(&session.home)? else {
        bail!("the node has no key");
    };
    let home = session.home.root().display();
    session.printer.json(&json!({
        "ready": true,
        "node": key.id(),
        "url": access.url,
        "home": home.to_string(),
    }))?;
    let ready = session.printer.paint(Role::Good, "ready");
    session
        .printer
        .line(format!("{ready} {} {}", key.id(), access.url))
}

fn detach(session: &Session) -> anyhow::Result<()> {
    drop(HomeLock::acquire(&session.home)?);
    let log = session.home.log_file();
    let errors = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&log)
        .with_context(|| format!("cannot write {}", log.display()))?;
    let program = std::env::current_exe().context("cannot find this program")?;
    let mut process = Process::new(program);
    process
        .args(session.node_flags())
        .args(["--quiet", "up"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(errors);
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut process, 0);
    let mut child = process.spawn().context("cannot start the node")?;
    let begun = Instant::now();
    loop {
        if let Ok(client) = session.client()
            && client.execute(Command::Status).is_ok()
        {
            announce(session, client.access())?;
            session
                .printer
                .note("'hearth stop' ends it; 'hearth paths' says where its log is");
            return Ok(());
        }
        if let Some(status) = child.try_wait().context("cannot watch the node")? {
            bail!("the node ended ({status}); see {}", log.display());
        }
        if begun.elapsed() > START_MAX {
            bail!("the node is not ready yet; see {}", log.display());
        }
        std::thread::sleep(POLL);
    }
}

pub(super) fn stop(session: &Session) -> anyhow::Result<()> {
    let client: Client = session.client()?;
    let reply = client.execute(Command::Shutdown)?;
    let Reply::Done { .. } = reply else {
        return other();
    };
    let begun = Instant::now();
    loop {
        match HomeLock::acquire(&session.home) {
            Ok(lock) => {
                drop(lock);
                session.printer.json(&json!({ "what": "stopped" }))?;
                return session.printer.line("stopped");
            }
            Err(LockError::Held { .. }) if begun.elapsed() < STOP_MAX => {
                std::thread::sleep(POLL);
            }
            Err(error) => return Err(error).context("the node is still ending"),
        }
    }
}
