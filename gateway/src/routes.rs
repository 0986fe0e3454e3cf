//! The four routes. Each translates between HTTP and [`Control`](crate::Control), no more.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt};
use hearth_protocol::control::{Command, Problem, ProblemKind};
use hearth_protocol::snapshot::Notice;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::wrappers::errors::BroadcastStreamRecvError;

use crate::answer::{Outcome, Version, refuse};
use crate::{BODY_TIMEOUT, COMMAND_LEN_MAX, Desk, KEEP_ALIVE};

type Shared = State<Arc<Desk>>;

/// `POST /v1/command`.
pub(crate) async fn command(State(desk): Shared, body: Body) -> Response {
    let Ok(permit) = Arc::clone(&desk.commands).try_acquire_owned() else {
        return busy("too many commands are under way");
    };
    let command = match read(body).await {
        Ok(bytes) => match serde_json::from_slice::<Command>(&bytes) {
            Ok(command) => command,
            Err(error) => return malformed(&error),
        },
        Err(response) => return response,
    };
    let answer = desk.control.execute(command);
    // In a task of its own, so that a caller who hangs up does not leave a command half done.
    let outcome = tokio::spawn(async move {
        let outcome = answer.await;
        drop(permit);
        outcome
    });
    match outcome.await {
        Ok(Ok(reply)) => Outcome::Ok(reply).into_response(),
        Ok(Err(problem)) => Outcome::Problem(problem).into_response(),
        Err(error) => {
            tracing::error!(%error, "a command ended without an answer");
            refuse(
                StatusCode::INTERNAL_SERVER_ERROR,
                Problem::new(ProblemKind::Failed, "the command ended without an answer")
                    .hint("see the node's log"),
            )
        }
    }
}

async fn read(body: Body) -> Result<Bytes, Response> {
    match timeout(BODY_TIMEOUT, to_bytes(body, COMMAND_LEN_MAX)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) => Err(refuse(
            StatusCode::PAYLOAD_TOO_LARGE,
            Problem::new(
                ProblemKind::Usage,
                format!(
                    "the command did not arrive whole; at most {COMMAND_LEN_MAX} bytes are read"
                ),
            )
            .because(&error),
        )),
        Err(_elapsed) => Err(refuse(
            StatusCode::REQUEST_TIMEOUT,
            Problem::new(ProblemKind::Timeout, "the command took too long to arrive"),
        )),
    }
}

fn malformed(error: &serde_json::Error) -> Response {
    Outcome::Problem(
        Problem::new(ProblemKind::Usage, "the body is not a command")
            .cause(error.to_string())
            .hint("send one JSON command such as \"status\""),
    )
    .into_response()
}

/// `GET /v1/snapshot`.
pub(crate) async fn snapshot(State(desk): Shared) -> Response {
    match desk.control.snapshot().await {
        Some(snapshot) => Json(snapshot.as_ref()).into_response(),
        None => refuse(
            StatusCode::SERVICE_UNAVAILABLE,
            Problem::new(ProblemKind::Failed, "the node is ending"),
        ),
    }
}

/// `GET /v1/events`: every notice from now on.
///
/// The subscription stands before the headers are sent, so a snapshot read after them misses nothing.
pub(crate) async fn events(State(desk): Shared) -> Response {
    let Ok(permit) = Arc::clone(&desk.streams).try_acquire_owned() else {
        return busy("too many event streams are open");
    };
    let notices = BroadcastStream::new(desk.control.notices());
    Sse::new(translate(notices, permit))
        .keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
        .into_response()
}

fn translate(
    notices: BroadcastStream<Notice>,
    permit: OwnedSemaphorePermit,
) -> impl Stream<Item = Result<Event, Infallible>> {
    notices.map(move |notice| {
        let _held_while_open = &permit;
        let notice = match notice {
            Ok(notice) => notice,
            // What was missed is in the snapshot.
            Err(BroadcastStreamRecvError::Lagged(_)) => Notice::Changed,
        };
        Ok(Event::default().data(text(&notice)))
    })
}

fn text(notice: &Notice) -> String {
    serde_json::to_string(notice).expect("notices have string keys and no failing fields")
}

/// `GET /v1/version`.
pub(crate) async fn version() -> Json<Version> {
    Json(Version::current())
}

/// Anything else.
pub(crate) async fn unknown(uri: Uri) -> Response {
    let path: String = uri.path().chars().take(128).collect();
    refuse(
        StatusCode::NOT_FOUND,
        Problem::new(ProblemKind::Usage, format!("there is nothing at {path}"))
            .hint("the routes are /v1/command, /v1/snapshot, /v1/events and /v1/version"),
    )
}

/// A route asked for in another way.
pub(crate) async fn wrong_method() -> Response {
    refuse(
        StatusCode::METHOD_NOT_ALLOWED,
        Problem::new(ProblemKind::Usage, "this route does not know that method")
            .hint("POST /v1/command; GET everything else"),
    )
}

fn busy(what: &str) -> Response {
    refuse(
        StatusCode::SERVICE_UNAVAILABLE,
        Problem::new(ProblemKind::Failed, what).hint("try again shortly"),
    )
}
