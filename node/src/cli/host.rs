//! A node to talk to: the running one, or one inside this process for as long as it is needed.
//!
//! Both are spoken to over the control API. Of two processes that begin at once one gets the
//! home's lock; the other waits for it to be ready and attaches.

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;
use hearth_protocol::control::Command;
use tokio::sync::oneshot;

use super::session::{LogTo, Session};
use crate::client::{ApiAccess, Client};
use crate::config::Config;
use crate::daemon;
use crate::home::{Home, HomeLock, LockError};

const POLL: Duration = Duration::from_millis(20);
/// How long a node that has the lock may take to be ready, or to end.
const OTHER_MAX: Duration = Duration::from_secs(10);

/// A node and how it lives.
#[derive(Debug)]
pub(super) enum Host {
    /// It runs by itself.
    Attached(Client),
    /// It runs on a thread of this process.
    Inside(Inside),
}

/// A node inside this process.
#[derive(Debug)]
pub(super) struct Inside {
    client: Client,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Host {
    /// Finds a node or starts one.
    pub(super) fn reach(session: &Session) -> anyhow::Result<Self> {
        let begun = Instant::now();
        let mut logging = false;
        loop {
            if let Some(client) = running(session) {
                return Ok(Self::Attached(client));
            }
            match HomeLock::acquire(&session.home) {
                Ok(lock) => {
                    drop(lock);
                    let config = session.settings()?.config;
                    if !logging {
                        session.begin_log(&config.log_level, LogTo::File)?;
                        logging = true;
                    }
                    match Inside::start(session.home.clone(), config) {
                        Ok(inside) => return Ok(Self::Inside(inside)),
                        Err(error) if !is_held(&session.home) => return Err(error),
                        // Another process was quicker.
                        Err(_) => {}
                    }
                }
                Err(LockError::Held { .. }) if begun.elapsed() < OTHER_MAX => {}
                Err(error) => {
                    return Err(error).context("the node of this home does not answer");
                }
            }
            std::thread::sleep(POLL);
        }
    }

    /// Returns the way to ask it.
    pub(super) const fn client(&self) -> &Client {
        match self {
            Self::Attached(client) => client,
            Self::Inside(inside) => &inside.client,
        }
    }

    /// Whether it ends with this process.
    pub(super) const fn is_inside(&self) -> bool {
        match self {
            Self::Attached(_) => false,
            Self::Inside(_) => true,
        }
    }

    /// Ends a node that lives in this process; leaves another alone.
    pub(super) fn finish(self) {
        if let Self::Inside(inside) = self {
            // The node may have ended by itself; then nobody listens.
            let _ = inside.stop.send(());
            let _ = inside.thread.join();
        }
    }
}

fn running(session: &Session) -> Option<Client> {
    let client = session.client().ok()?;
    client.execute(Command::Status).is_ok().then_some(client)
}

fn is_held(home: &Home) -> bool {
    matches!(HomeLock::acquire(home), Err(LockError::Held { .. }))
}

impl Inside {
    fn start(home: Home, config: Config) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .thread_name("hearth")
            .build()
            .context("cannot start threads")?;
        let (ready, started) = oneshot::channel();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("node".to_owned())
            .spawn(move || {
                runtime.block_on(live(&home, &config, ready, stopped));
                runtime.shutdown_background();
            })
            .context("cannot start threads")?;
        let access = started.blocking_recv().context("the node ended early")??;
        Ok(Self {
            client: Client::new(access),
            stop,
            thread,
        })
    }
}

async fn live(
    home: &Home,
    config: &Config,
    ready: oneshot::Sender<anyhow::Result<ApiAccess>>,
    stop: oneshot::Receiver<()>,
) {
    let mut daemon = match daemon::start(home, config).await {
        Ok(daemon) => daemon,
        Err(error) => {
            // The receiver waits for exactly this.
            let _ = ready.send(Err(error).context("the node cannot start"));
            return;
        }
    };
    let _ = ready.send(Ok(daemon.access().clone()));
    tokio::select! {
        () = daemon.stopped() => {}
        // A dropped sender means that the command is over as well.
        _ = stop => {}
    }
    daemon.shutdown().await;
}
