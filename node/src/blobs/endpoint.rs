//! The iroh endpoint: one socket, no relay, no discovery, no port mapping; addresses come from the node.
//!
//! Also the protocol names, and the translation between our ids and iroh's.

use std::{net::SocketAddr, sync::Arc};

use hearth_protocol::id::{CommonsId, NodeId};
use iroh::{
    Endpoint, EndpointAddr, EndpointId, RelayMode, SecretKey, TransportAddr,
    address_lookup::MemoryLookup,
    endpoint::{
        Connection, NetReportConfig, PortmapperConfig, QuicTransportConfig,
        QuicTransportConfigBuilder, ServerConfig, VarInt, presets,
    },
};
use noq_proto::congestion::Bbr3Config;

use super::provider::ProviderError;

/// Streams one peer may have open on a connection: enough for several range requests.
const STREAMS_MAX: u32 = 32;

/// The peer may not have what it asked for. Same code as iroh-blobs uses.
pub(super) const CODE_PERMISSION: VarInt = VarInt::from_u32(1);
/// Not now: too many at once. Same code as iroh-blobs uses.
pub(super) const CODE_BUSY: VarInt = VarInt::from_u32(2);

/// A protocol of a commons.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Service {
    Blobs,
    JobBlobs,
    Join,
}

impl Service {
    const ALL: [Self; 3] = [Self::Blobs, Self::JobBlobs, Self::Join];

    /// The protocol name, which carries the commons id so that two commons never mix.
    pub(super) fn alpn(self, commons: &CommonsId) -> Vec<u8> {
        let name = match self {
            Self::Blobs => "blobs",
            Self::JobBlobs => "job-blobs",
            Self::Join => "join",
        };
        let commons = data_encoding::HEXLOWER.encode(commons.as_bytes());
        format!("hearth/{commons}/{name}/1").into_bytes()
    }

    /// The service a connection was opened for.
    pub(super) fn of(alpn: &[u8], commons: &CommonsId) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|service| service.alpn(commons) == alpn)
    }
}

/// The protocol names to answer to; none before a commons is known.
pub(super) fn alpns(commons: Option<&CommonsId>) -> Vec<Vec<u8>> {
    commons.map_or_else(Vec::new, |commons| {
        Service::ALL
            .iter()
            .map(|service| service.alpn(commons))
            .collect()
    })
}

/// Binds the endpoint to `addr` and nothing else.
pub(super) async fn bind(
    seed: [u8; 32],
    addr: SocketAddr,
    commons: Option<&CommonsId>,
    lookup: &MemoryLookup,
) -> Result<Endpoint, Box<dyn std::error::Error + Send + Sync>> {
    // BBR3 holds its rate on lossy long links, where the default Cubic falls to a tenth.
    let transport = transport()
        .congestion_controller_factory(Arc::new(Bbr3Config::default()))
        .build();
    let endpoint = Endpoint::builder(presets::Minimal)
        .secret_key(SecretKey::from_bytes(&seed))
        .relay_mode(RelayMode::Disabled)
        .clear_address_lookup()
        .address_lookup(lookup.clone())
        .portmapper_config(PortmapperConfig::Disabled)
        .net_report_config(NetReportConfig::minimal())
        .transport_config(transport)
        .alpns(alpns(commons))
        .clear_ip_transports()
        .bind_addr(addr)?
        .bind()
        .await?;
    Ok(endpoint)
}

fn transport() -> QuicTransportConfigBuilder {
    QuicTransportConfig::builder()
        .max_concurrent_bidi_streams(VarInt::from_u32(STREAMS_MAX))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
}

/// How to serve peers on this machine: nothing gets lost there and Cubic takes a third less CPU.
pub(super) fn loopback_config(
    endpoint: &Endpoint,
    commons: Option<&CommonsId>,
) -> Arc<ServerConfig> {
    let config = endpoint.create_server_config_builder(alpns(commons));
    Arc::new(config.set_transport_config(transport().build()).build())
}

/// The bound address, or for an unspecified one those of the local interfaces.
pub(super) fn addrs(endpoint: &Endpoint) -> Vec<SocketAddr> {
    let bound = endpoint.bound_sockets();
    let (any, mut addrs): (Vec<_>, Vec<_>) = bound
        .into_iter()
        .partition(|addr| addr.ip().is_unspecified());
    if !any.is_empty() {
        addrs.extend(endpoint.addr().ip_addrs().copied());
        addrs.sort_unstable();
        addrs.dedup();
    }
    addrs
}

/// Our name of an iroh id.
pub(super) fn node_id(id: EndpointId) -> NodeId {
    NodeId::from_bytes(*id.as_bytes())
}

/// A peer with addresses as iroh wants it; `None` when the id is no valid key.
pub(super) fn addr_of(peer: &NodeId, addrs: &[SocketAddr]) -> Option<EndpointAddr> {
    let id = EndpointId::from_bytes(peer.as_bytes()).ok()?;
    Some(EndpointAddr::from_parts(
        id,
        addrs.iter().copied().map(TransportAddr::Ip),
    ))
}

/// Connects to a peer at its remembered addresses.
pub(super) async fn connect(
    endpoint: &Endpoint,
    commons: &CommonsId,
    service: Service,
    peer: &NodeId,
) -> Result<Connection, ProviderError> {
    let addr = addr_of(peer, &[]).ok_or(ProviderError::BadId)?;
    // Ends by itself after ten seconds without an answer.
    endpoint
        .connect(addr, &service.alpn(commons))
        .await
        .map_err(|_| ProviderError::Unreachable)
}
