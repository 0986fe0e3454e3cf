//! A running node: opens the rooms, puts the switchboard between them, serves the control API.
//!
//! Decides nothing. The order matters: lock, key, store, ledger and blobs before the network, so
//! that nobody is answered by a node that does not know its own past.

use std::sync::Arc;

use hearth_dispatch::{Config as DispatchConfig, Dispatcher, Engine, WorkerPolicy};
use hearth_gateway::Access;
use hearth_protocol::capacity::Accepting;
use hearth_protocol::limits;
use hearth_protocol::sign::NodeKey;
use tokio::net::TcpListener;
use tokio::sync::{broadcast, mpsc, watch};

use crate::blobs::{Blobs, BlobsConfig, BlobsError, BlobsEvents};
use crate::builtin::{self, BuiltinError};
use crate::client::{AccessError, ApiAccess};
use crate::config::Config;
use crate::control::ControlDesk;
use crate::engine::choice::Wish;
use crate::engine::{self, EngineConfig};
use crate::home::{Home, HomeLock, LockError};
use crate::identity::{self, IdentityError};
use crate::meter::Meter;
use crate::store::{Store, StoreError};
use crate::switchboard::{Desk, Facts, Inbox, Opening, OpeningError, Rooms, Switchboard};
use crate::{chance, clock, device};

/// Notices a slow watcher may fall behind before it is told to look again.
const NOTICES: usize = 256;

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Somebody else uses the home.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The key.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Blobs.
    #[error(transparent)]
    Blobs(#[from] BlobsError),
    /// What the home remembers of its commons could not be taken up.
    #[error(transparent)]
    Opening(#[from] OpeningError),
    /// The control API's address.
    #[error("the control API cannot listen on {addr}")]
    Listen {
        /// The address asked for.
        addr: std::net::SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The files that tell where the control API is.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// A model inside the binary cannot be used.
    #[error("the built-in model cannot be used; --set models.built_in=false does without it")]
    Builtin(#[from] BuiltinError),
    /// This process does not know its own binary.
    #[error("the engine's binary cannot be found")]
    Program(#[source] std::io::Error),
    /// No thread for the switchboard.
    #[error("no thread could be started")]
    Thread(#[source] std::io::Error),
}

/// A node that runs.
#[derive(Debug)]
pub struct Daemon {
    access: ApiAccess,
    home: Home,
    desk: Desk,
    ended: watch::Receiver<bool>,
    server: tokio::task::JoinHandle<()>,
    _lock: HomeLock,
}

/// Starts a node on a home.
///
/// # Errors
/// [`StartError`] names the room that did not open.
pub async fn start(home: &Home, config: &Config) -> Result<Daemon, StartError> {
    let started = clock::now();
    let lock = HomeLock::acquire(home)?;
    let key = identity::load_or_create(home)?;
    let store = Store::open(&home.store_dir())?;
    let charter = store.charter()?;
    let blobs = BlobsConfig {
        seed: key.seed(),
        commons: charter.as_ref().map(|charter| charter.trusted().id()),
        dir: home.blobs_dir(),
        job_dir: home.job_blobs_dir(),
        bind: config.blobs_listen,
    };
    let (blobs, blob_events) = Blobs::open(blobs).await?;
    let builtin = if config.built_in {
        builtin::place(&home.builtin_dir(), &blobs).await?
    } else {
        Vec::new()
    };
    let (asks, ask_queue) = mpsc::channel(limits::ROOM_QUEUE_MAX);
    let desk = Desk::new(key.id(), asks);
    let (notices, _) = broadcast::channel(NOTICES);
    let (rooms, inbox) = connect(
        home,
        config,
        &blobs,
        blob_events,
        notices.clone(),
        ask_queue,
    )?;
    let opening = Opening {
        facts: Facts {
            key: key.clone(),
            home: home.clone(),
            config: config.clone(),
            device: device::describe(),
            engine: None,
            meter: Meter::find(),
            started,
        },
        store,
        charter,
        builtin,
        dispatcher: dispatcher(&key, config),
    };
    let board = Switchboard::open(opening, rooms, &inbox).await?;
    let (access, server) =
        serve(home, config, ControlDesk::new(desk.clone(), blobs, notices)).await?;
    let ended = spawn(board, inbox)?;
    tracing::info!(node = key.id().short(), url = access.url, "ready");
    Ok(Daemon {
        access,
        home: home.clone(),
        desk,
        ended,
        server,
        _lock: lock,
    })
}

fn connect(
    home: &Home,
    config: &Config,
    blobs: &Blobs,
    events: BlobsEvents,
    notices: broadcast::Sender<hearth_protocol::snapshot::Notice>,
    asks: mpsc::Receiver<crate::switchboard::Ask>,
) -> Result<(Rooms, Inbox), StartError> {
    let (network_sender, network) = mpsc::channel(limits::ROOM_QUEUE_MAX);
    let (engine_sender, engine_reports) = mpsc::channel(limits::ROOM_QUEUE_MAX);
    let (answers, answer_queue) = mpsc::channel(limits::ROOM_QUEUE_MAX);
    let engine = EngineConfig {
        wish: Wish::of(config).map_err(StartError::Program)?,
        dir: home.engine_dir(),
        threads: config.worker.threads,
    };
    let engine = engine::supervise(engine, engine_sender);
    let rooms = Rooms {
        blobs: blobs.clone(),
        network: None,
        engine,
        notices,
        answers,
    };
    let inbox = Inbox {
        network,
        network_sender,
        door: events.door,
        served: events.served,
        engine: engine_reports,
        answers: answer_queue,
        asks,
    };
    Ok((rooms, inbox))
}

fn dispatcher(key: &NodeKey, config: &Config) -> Dispatcher {
    let accepting = if config.worker.enabled {
        Accepting::Yes
    } else {
        Accepting::Never
    };
    let worker = WorkerPolicy {
        engine: Engine::Present,
        accepting,
        price_percent: config.worker.price_percent,
        pixels_max: config.worker.pixels_max,
        evaluations_max: config.worker.steps_max,
        queue_max: limits::QUEUE_MAX,
        speeds: Vec::new(),
    };
    Dispatcher::new(DispatchConfig {
        me: key.id(),
        seed: chance::bytes(),
        worker,
    })
}

async fn serve(
    home: &Home,
    config: &Config,
    control: ControlDesk,
) -> Result<(ApiAccess, tokio::task::JoinHandle<()>), StartError> {
    let addr = config.control_listen;
    let listen = |source| StartError::Listen { addr, source };
    let listener = TcpListener::bind(addr).await.map_err(listen)?;
    let addr = listener.local_addr().map_err(listen)?;
    let token = data_encoding::HEXLOWER.encode(&chance::bytes());
    let access = ApiAccess {
        url: format!("http://{addr}"),
        token: token.clone(),
    };
    let router = hearth_gateway::router(Arc::new(control), Access { token, addr });
    let server = tokio::spawn(async move {
        if let Err(error) = hearth_gateway::serve(listener, router).await {
            tracing::error!(%error, "the control API ended");
        }
    });
    access.publish(home)?;
    Ok((access, server))
}

/// Gives the switchboard a thread of its own: it syncs files, and nobody else should wait for that.
fn spawn(board: Switchboard, inbox: Inbox) -> Result<watch::Receiver<bool>, StartError> {
    let (ended, watched) = watch::channel(false);
    let runtime = tokio::runtime::Handle::current();
    std::thread::Builder::new()
        .name("switchboard".to_owned())
        .spawn(move || {
            runtime.block_on(board.run(inbox));
            ended.send_replace(true);
        })
        .map_err(StartError::Thread)?;
    Ok(watched)
}

impl Daemon {
    /// Returns where the control API is.
    pub const fn access(&self) -> &ApiAccess {
        &self.access
    }

    /// Waits until the node has ended by a command or a fault.
    pub async fn stopped(&mut self) {
        // A dropped sender is a switchboard that died: ended as well.
        let _died = self.ended.wait_for(|ended| *ended).await;
    }

    /// Ends the node gracefully.
    pub async fn shutdown(mut self) {
        if !*self.ended.borrow() {
            let command = hearth_protocol::control::Command::Shutdown;
            if let Err(problem) = self.desk.command(command).await {
                tracing::debug!(%problem, "the node was ending already");
            }
        }
        self.stopped().await;
        self.server.abort();
        ApiAccess::withdraw(&self.home);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_whose_worker_is_off_never_computes_for_others() {
        let mut config = Config::default();
        config.worker.enabled = false;
        let key = NodeKey::from_seed(&[1; 32]);
        assert_eq!(dispatcher(&key, &config).accepting(), Accepting::Never);
    }
}
