//! Who may speak: `Host`, then `Origin`, then the bearer token.
//!
//! A web page can make a browser send requests here, directly or by pointing a name of its own at
//! the loopback address (DNS rebinding). `Host` and `Origin` stop both even if the token leaks into
//! a page; the token stops other users of the machine.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::uri::{Authority, Scheme};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::Response;
use hearth_protocol::control::{Problem, ProblemKind};

use crate::Access;
use crate::answer::refuse;

/// What a request is measured against. It holds a hash of the token, never the token.
pub(crate) struct Gate {
    token: Option<blake3::Hash>,
    addr: SocketAddr,
}

/// Why a request stays outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Denial {
    Host,
    Origin,
    NoToken,
    WrongToken,
}

impl Gate {
    pub(crate) fn new(access: &Access) -> Self {
        let token = access.token.trim();
        Self {
            token: (!token.is_empty()).then(|| blake3::hash(token.as_bytes())),
            addr: access.addr,
        }
    }

    fn admit(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Denial> {
        if !self.host_is_ours(uri, headers) {
            return Err(Denial::Host);
        }
        if headers.contains_key(header::ORIGIN) && !origin_is_local(headers) {
            return Err(Denial::Origin);
        }
        let given = bearer(headers).ok_or(Denial::NoToken)?;
        // Equality of blake3 hashes takes the same time wherever they differ.
        if self.token == Some(blake3::hash(given.as_bytes())) {
            Ok(())
        } else {
            Err(Denial::WrongToken)
        }
    }

    fn host_is_ours(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        let named = only(headers, &header::HOST)
            .and_then(|host| host.parse::<Authority>().ok())
            .is_some_and(|host| self.is_ours(&host));
        named && uri.authority().is_none_or(|host| self.is_ours(host))
    }

    fn is_ours(&self, host: &Authority) -> bool {
        let port = host.port_u16().unwrap_or(80);
        let plain = !host.as_str().contains('@');
        plain
            && port == self.addr.port()
            && (is_loopback(host.host()) || ip(host.host()) == Some(self.addr.ip()))
    }
}

fn ip(host: &str) -> Option<IpAddr> {
    let bare = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(host);
    bare.parse().ok()
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || ip(host).is_some_and(|ip| ip.is_loopback())
}

fn origin_is_local(headers: &HeaderMap) -> bool {
    let origin = only(headers, &header::ORIGIN).and_then(|origin| origin.parse::<Uri>().ok());
    origin.is_some_and(|origin| {
        let web = origin.scheme() == Some(&Scheme::HTTP) || origin.scheme() == Some(&Scheme::HTTPS);
        web && origin.host().is_some_and(is_loopback)
    })
}

/// Returns a header that must appear exactly once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    if values.next().is_some() {
        return None;
    }
    value.to_str().ok()
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = only(headers, &header::AUTHORIZATION)?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// Lets a request through or answers 401 or 403.
pub(crate) async fn check(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    match gate.admit(request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(denial) => {
            tracing::debug!(?denial, "control request refused");
            turn_away(denial, gate.addr)
        }
    }
}

fn turn_away(denial: Denial, addr: SocketAddr) -> Response {
    let usage = |what: &str| Problem::new(ProblemKind::Usage, what);
    match denial {
        Denial::Host => refuse(
            StatusCode::FORBIDDEN,
            usage("the Host header does not name this machine's loopback address")
                .hint(format!("use http://{addr}")),
        ),
        Denial::Origin => refuse(
            StatusCode::FORBIDDEN,
            usage("requests of web pages from elsewhere are refused"),
        ),
        Denial::NoToken | Denial::WrongToken => {
            let what = if denial == Denial::NoToken {
                "no bearer token"
            } else {
                "the bearer token is wrong"
            };
            let mut response = refuse(
                StatusCode::UNAUTHORIZED,
                usage(what).hint("send 'Authorization: Bearer TOKEN' with the node's token file"),
            );
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            response
        }
    }
}
