//! Takes connections in and hands each to the service its protocol name asks for.

use std::{net::IpAddr, sync::Arc, time::Duration};

use iroh::endpoint::{Connection, Incoming, IncomingAddr};
use tokio::{sync::Semaphore, time::timeout};
use tracing::debug;

use super::{
    Shared, door,
    endpoint::{CODE_PERMISSION, Service, loopback_config, node_id},
    jobs, provide,
};

/// Handshakes in progress at a time, strangers' included; more are refused at once.
const HANDSHAKES_MAX: usize = 64;
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Accepts connections until the endpoint closes.
pub(super) async fn run(shared: Arc<Shared>) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    while let Some(incoming) = shared.endpoint.accept().await {
        let Ok(permit) = handshakes.clone().try_acquire_owned() else {
            incoming.refuse();
            continue;
        };
        let shared = shared.clone();
        tokio::spawn(async move {
            let source = source_ip(&incoming);
            let connection = timeout(HANDSHAKE_TIMEOUT, handshake(&shared, incoming, source)).await;
            drop(permit);
            if let Ok(Some(connection)) = connection {
                serve(&shared, connection, source).await;
            }
        });
    }
}

async fn handshake(
    shared: &Shared,
    incoming: Incoming,
    source: Option<IpAddr>,
) -> Option<Connection> {
    let accepting = if source.is_some_and(|source| source.is_loopback()) {
        let config = loopback_config(&shared.endpoint, shared.commons().as_ref());
        incoming.accept_with(config)
    } else {
        incoming.accept()
    };
    accepting.ok()?.await.ok()
}

fn source_ip(incoming: &Incoming) -> Option<IpAddr> {
    if let IncomingAddr::Ip(addr) = incoming.remote_addr() {
        Some(addr.ip())
    } else {
        None
    }
}

async fn serve(shared: &Arc<Shared>, connection: Connection, source: Option<IpAddr>) {
    let peer = node_id(connection.remote_id());
    let service = shared
        .commons()
        .and_then(|commons| Service::of(connection.alpn(), &commons));
    debug!(%peer, ?service, "peer connected");
    match service {
        Some(Service::Blobs) => provide::serve(shared, connection, peer).await,
        Some(Service::JobBlobs) => jobs::serve(shared, connection, peer).await,
        Some(Service::Join) => door::serve(shared, connection, peer, source).await,
        None => connection.close(CODE_PERMISSION, b"permission"),
    }
}
