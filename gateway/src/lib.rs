//! The control API: JSON over HTTP for the people and programs of this machine.
//!
//! [`router`] turns a [`Control`] into routes that `node` binds to a loopback socket; the contract is
//! `specs/control.md`. Every request passes the [`gate`] first. Nothing here decides anything about
//! jobs, kudos or peers, no state is kept between requests, and there are no CORS headers: a web
//! page has no business here.

mod answer;
mod gate;
mod routes;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};
use futures::future::BoxFuture;
use hearth_protocol::control::{Command, Problem, Reply};
use hearth_protocol::snapshot::{Notice, Snapshot};
use tokio::sync::{Semaphore, broadcast};

pub use answer::{Outcome, Version, status_of};

/// Most bytes a command may have: two prompts at their limit, escaped, and room to spare.
pub const COMMAND_LEN_MAX: usize = 64 * 1024;
/// Most commands under way at a time; a long `model fetch` counts while it lasts.
pub const COMMANDS_MAX: usize = 64;
/// Most open event streams.
pub const STREAMS_MAX: usize = 32;
/// How long a command's bytes may take to arrive.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a quiet event stream says that it is alive.
pub const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// What the gateway needs of a node.
pub trait Control: Send + Sync + 'static {
    /// Starts a command; the future ends with its answer.
    ///
    /// It runs to its end even when whoever asked has gone.
    fn execute(&self, command: Command) -> BoxFuture<'static, Result<Reply, Problem>>;

    /// Takes a snapshot; `None` when the node is ending.
    fn snapshot(&self) -> BoxFuture<'static, Option<Arc<Snapshot>>>;

    /// Subscribes to notices from now on. The streams end when the sender is dropped.
    fn notices(&self) -> broadcast::Receiver<Notice>;
}

/// Who may come in.
#[derive(Clone)]
pub struct Access {
    /// The secret of the token file. An empty one lets nobody in.
    pub token: String,
    /// Where the socket is bound: its port must appear in `Host`.
    pub addr: SocketAddr,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access")
            .field("addr", &self.addr)
            .finish_non_exhaustive()
    }
}

/// What the routes share.
pub(crate) struct Desk {
    control: Arc<dyn Control>,
    commands: Arc<Semaphore>,
    streams: Arc<Semaphore>,
}

/// Builds the routes, all of them behind the gate.
pub fn router(control: Arc<dyn Control>, access: Access) -> Router {
    let desk = Arc::new(Desk {
        control,
        commands: Arc::new(Semaphore::new(COMMANDS_MAX)),
        streams: Arc::new(Semaphore::new(STREAMS_MAX)),
    });
    let gate = Arc::new(gate::Gate::new(&access));
    Router::new()
        .route("/v1/command", post(routes::command))
        .route("/v1/snapshot", get(routes::snapshot))
        .route("/v1/events", get(routes::events))
        .route("/v1/version", get(routes::version))
        .fallback(routes::unknown)
        .method_not_allowed_fallback(routes::wrong_method)
        .layer(from_fn_with_state(gate, gate::check))
        .layer(from_fn(answer::private))
        .with_state(desk)
}

/// Serves the routes on a bound socket until the task is aborted.
///
/// # Errors
/// When the socket fails.
pub async fn serve(listener: tokio::net::TcpListener, router: Router) -> std::io::Result<()> {
    axum::serve(listener, router).await
}
