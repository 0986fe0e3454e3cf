//! What goes back: one JSON object for every request, problems included.
//!
//! [`Outcome`] is public so that clients decode with the type the gateway encodes with.

use axum::Json;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hearth_protocol::control::{Problem, ProblemKind, Reply, SCHEMA};
use serde::{Deserialize, Serialize};

/// The body of every answer to a command, and of every refusal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Outcome {
    /// It was done.
    Ok(Reply),
    /// It was not.
    Problem(Problem),
}

impl From<Outcome> for Result<Reply, Problem> {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Ok(reply) => Ok(reply),
            Outcome::Problem(problem) => Err(problem),
        }
    }
}

/// The body of `GET /v1/version`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// `hearth`.
    pub name: String,
    /// Version of the software.
    pub version: String,
    /// Version of the control types.
    pub schema: u32,
}

impl Version {
    pub(crate) fn current() -> Self {
        Self {
            name: "hearth".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            schema: SCHEMA,
        }
    }
}

/// Returns the HTTP status that a kind of problem travels under.
pub const fn status_of(kind: ProblemKind) -> StatusCode {
    match kind {
        ProblemKind::Usage => StatusCode::BAD_REQUEST,
        ProblemKind::Credit => StatusCode::PAYMENT_REQUIRED,
        ProblemKind::Failed => StatusCode::CONFLICT,
        ProblemKind::Timeout => StatusCode::GATEWAY_TIMEOUT,
    }
}

impl IntoResponse for Outcome {
    fn into_response(self) -> Response {
        let status = match &self {
            Self::Ok(_) => StatusCode::OK,
            Self::Problem(problem) => status_of(problem.kind),
        };
        (status, Json(self)).into_response()
    }
}

/// Answers with a problem of the gateway's own.
pub(crate) fn refuse(status: StatusCode, problem: Problem) -> Response {
    (status, Json(Outcome::Problem(problem))).into_response()
}

/// Keeps answers out of caches and content sniffing.
pub(crate) async fn private(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    response
}
