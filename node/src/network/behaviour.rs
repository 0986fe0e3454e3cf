//! The libp2p behaviours of a member, their settings, and the swarm around them.
//!
//! Settings follow two aims: a peer's worst costs a known bound, and an idle node costs next to
//! nothing (pings, routing jobs and windows are sparse and small).

use std::collections::HashSet;
use std::time::Duration;

use libp2p::allow_block_list::{self, AllowedPeers};
use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::gossipsub::{
    self, MessageAuthenticity, MessageId, PeerScoreParams, PeerScoreThresholds, TopicScoreParams,
    ValidationMode, WhitelistSubscriptionFilter,
};
use libp2p::identity::Keypair;
use libp2p::kad::store::{MemoryStore, MemoryStoreConfig};
use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{StreamProtocol, Swarm, SwarmBuilder, identify, kad, mdns, noise, ping, tcp, yamux};

use super::topic::{Names, Topic};
use super::{NetworkConfig, NetworkError};

/// Connections one member may hold. Two, so that a simultaneous dial of both sides has a survivor;
/// `driver.rs` then closes the surplus one.
const CONNECTIONS_PER_PEER_MAX: u32 = 2;
/// Connections in all: enough for a large commons, far below the limit of open files.
const CONNECTIONS_MAX: u32 = 512;
/// Handshakes at a time in each direction: strangers can occupy the incoming ones only.
const HANDSHAKES_MAX: u32 = 64;
/// Streams at a time on a TCP connection: two channels, gossip and routing, both ways, with room.
const STREAMS_MAX: usize = 64;
/// How long an idle connection stays: members stay connected.
const IDLE_CONNECTION: Duration = Duration::from_secs(365 * 24 * 3600);
/// Period of pings; a member whose ping is lost is disconnected.
const PING_PERIOD: Duration = Duration::from_secs(45);
/// Patience for a ping.
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// Silence after which a QUIC connection is dead, in milliseconds, and how often it is broken.
const QUIC_SILENCE_MAX_MS: u32 = 24_000;
const QUIC_KEEP_ALIVE: Duration = Duration::from_secs(8);
/// QUIC receive windows in bytes: pictures travel by iroh, frames here are small.
const QUIC_STREAM_WINDOW: u32 = 1024 * 1024;
const QUIC_CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;
/// Bytes around a gossip payload: topic, author, sequence number and signature.
const GOSSIP_OVERHEAD: usize = 1024;
/// Heartbeats (seconds) a message waits for its verdict before it is forgotten.
const GOSSIP_HISTORY: usize = 12;
/// Period of routing table refreshes.
const ROUTING_REFRESH: Duration = Duration::from_secs(15 * 60);

/// Everything a member speaks. The allow list is first: the others see members only.
#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    pub(super) allowed: allow_block_list::Behaviour<AllowedPeers>,
    pub(super) limits: connection_limits::Behaviour,
    pub(super) gossip: Gossip,
    pub(super) identify: identify::Behaviour,
    pub(super) ping: ping::Behaviour,
    pub(super) routing: kad::Behaviour<MemoryStore>,
    pub(super) local: Toggle<mdns::tokio::Behaviour>,
    pub(super) streams: libp2p_stream::Behaviour,
}

/// Gossip among members about our own topics only.
pub(super) type Gossip =
    gossipsub::Behaviour<gossipsub::IdentityTransform, WhitelistSubscriptionFilter>;

impl Behaviour {
    pub(super) fn new(
        keypair: &Keypair,
        names: &Names,
        config: &NetworkConfig,
    ) -> Result<Self, NetworkError> {
        let me = keypair.public().to_peer_id();
        let identify = identify::Config::new(names.family.clone(), keypair.public())
            .with_agent_version(config.agent.clone())
            .with_interval(Duration::from_secs(3600))
            .with_push_listen_addr_updates(true)
            .with_cache_size(0);
        let ping = ping::Config::new()
            .with_interval(PING_PERIOD)
            .with_timeout(PING_TIMEOUT);
        let mdns = config
            .mdns
            .then(|| mdns::tokio::Behaviour::new(mdns::Config::default(), me))
            .transpose()
            .map_err(NetworkError::Mdns)?;
        Ok(Self {
            allowed: allow_block_list::Behaviour::default(),
            limits: connection_limits::Behaviour::new(
                ConnectionLimits::default()
                    .with_max_pending_incoming(Some(HANDSHAKES_MAX))
                    .with_max_pending_outgoing(Some(HANDSHAKES_MAX))
                    .with_max_established_per_peer(Some(CONNECTIONS_PER_PEER_MAX))
                    .with_max_established(Some(CONNECTIONS_MAX)),
            ),
            gossip: gossip(keypair, names, config.gossip_len_max)?,
            identify: identify::Behaviour::new(identify),
            ping: ping::Behaviour::new(ping),
            routing: routing(me, names.routing.clone()),
            local: Toggle::from(mdns),
            streams: libp2p_stream::Behaviour::new(),
        })
    }
}

/// Builds the swarm: TCP with noise and yamux, and QUIC.
pub(super) fn swarm(
    keypair: Keypair,
    behaviour: Behaviour,
) -> Result<Swarm<Behaviour>, NetworkError> {
    let muxer = || {
        let mut config = yamux::Config::default();
        config.set_max_num_streams(STREAMS_MAX);
        config
    };
    let swarm = SwarmBuilder::with_existing_identity(keypair)
        .with_tokio()
        .with_tcp(
            tcp::Config::default().nodelay(true),
            noise::Config::new,
            muxer,
        )
        .map_err(NetworkError::Noise)?
        .with_quic_config(|mut config| {
            config.max_idle_timeout = QUIC_SILENCE_MAX_MS;
            config.keep_alive_interval = QUIC_KEEP_ALIVE;
            config.max_stream_data = QUIC_STREAM_WINDOW;
            config.max_connection_data = QUIC_CONNECTION_WINDOW;
            config.max_concurrent_stream_limit = 64;
            config
        })
        .with_behaviour(|_| behaviour)
        .unwrap_or_else(|never| match never {})
        .with_swarm_config(|config| {
            config
                .with_idle_connection_timeout(IDLE_CONNECTION)
                .with_smart_dial()
        })
        .build();
    Ok(swarm)
}

fn gossip(keypair: &Keypair, names: &Names, len_max: usize) -> Result<Gossip, NetworkError> {
    let refused = |reason: &'static str| NetworkError::Gossip { reason };
    let config = gossipsub::ConfigBuilder::default()
        .validation_mode(ValidationMode::Strict)
        .validate_messages()
        .max_transmit_size(len_max.saturating_add(GOSSIP_OVERHEAD))
        .message_id_fn(|message| message_id(message.topic.as_str(), &message.data))
        .heartbeat_interval(Duration::from_secs(1))
        .history_length(GOSSIP_HISTORY)
        .history_gossip(3)
        .flood_publish(true)
        .connection_handler_queue_len(512)
        .build()
        .map_err(|_| refused("the settings contradict each other"))?;
    let topics: HashSet<_> = Topic::ALL
        .iter()
        .map(|topic| names.ident(*topic).hash())
        .collect();
    let mut gossip = Gossip::new_with_subscription_filter(
        MessageAuthenticity::Signed(keypair.clone()),
        config,
        WhitelistSubscriptionFilter(topics.clone()),
    )
    .map_err(refused)?;
    let params = PeerScoreParams {
        topics: topics
            .into_iter()
            .map(|topic| (topic, topic_score()))
            .collect(),
        // Members behind one router are a household, not an attack.
        ip_colocation_factor_weight: 0.0,
        ..PeerScoreParams::default()
    };
    let thresholds = PeerScoreThresholds {
        gossip_threshold: -40.0,
        publish_threshold: -80.0,
        graylist_threshold: -160.0,
        accept_px_threshold: 1_000.0,
        opportunistic_graft_threshold: 1.0,
    };
    gossip
        .with_peer_score(params, thresholds)
        .map_err(|_| refused("the peer scores are refused"))?;
    for topic in Topic::ALL {
        gossip
            .subscribe(names.ident(topic))
            .map_err(|_| refused("the topic is not on the own list"))?;
    }
    Ok(gossip)
}

/// Scores a member on one topic: four invalid messages in half an hour silence it, silence itself
/// costs nothing (topics here are quiet), and good deeds cannot pay for bad ones.
fn topic_score() -> TopicScoreParams {
    TopicScoreParams {
        topic_weight: 1.0,
        time_in_mesh_weight: 0.01,
        time_in_mesh_quantum: Duration::from_secs(60),
        time_in_mesh_cap: 100.0,
        first_message_deliveries_weight: 0.1,
        first_message_deliveries_cap: 20.0,
        mesh_message_deliveries_weight: 0.0,
        mesh_failure_penalty_weight: 0.0,
        invalid_message_deliveries_weight: -10.0,
        invalid_message_deliveries_decay: gossipsub::score_parameter_decay(Duration::from_secs(
            1800,
        )),
        ..TopicScoreParams::default()
    }
}

/// Names a message by what it says, so a copy from another path or publisher is recognised.
fn message_id(topic: &str, bytes: &[u8]) -> MessageId {
    let mut hasher = blake3::Hasher::new();
    // The topics of one commons differ in length or in a letter before the payload begins.
    hasher.update(topic.as_bytes()).update(&[0]).update(bytes);
    MessageId::new(hasher.finalize().as_bytes())
}

/// Kademlia finds members' addresses; it stores no records.
fn routing(me: libp2p::PeerId, protocol: StreamProtocol) -> kad::Behaviour<MemoryStore> {
    let store = MemoryStoreConfig {
        max_records: 1,
        max_provided_keys: 1,
        max_providers_per_key: 1,
        max_value_bytes: 1,
    };
    let mut config = kad::Config::new(protocol);
    config
        .set_record_filtering(kad::StoreInserts::FilterBoth)
        .set_record_ttl(None)
        .set_replication_interval(None)
        .set_publication_interval(None)
        .set_provider_publication_interval(None)
        .set_caching(kad::Caching::Disabled)
        .set_periodic_bootstrap_interval(Some(ROUTING_REFRESH))
        .set_query_timeout(Duration::from_secs(20));
    let mut routing = kad::Behaviour::with_config(me, MemoryStore::with_config(me, store), config);
    routing.set_mode(Some(kad::Mode::Server));
    routing
}
