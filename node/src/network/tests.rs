//! The network among a few nodes of one process, over loopback; and the pure parts alone.

mod contacts;
mod frames;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use hearth_protocol::id::{CommonsId, NodeId};
use libp2p::PeerId;
use libp2p::multiaddr::Multiaddr;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::contact::{ADDRS_MAX, Contacts, dialable, parse_addr};
use super::frame::{self, FrameError};
use super::{
    Channel, GossipId, NetworkCommand, NetworkConfig, NetworkEvent, NetworkHandle, Topic, Verdict,
    identity, start,
};

const PATIENCE: Duration = Duration::from_secs(30);
/// How long something that must not happen is waited for.
const QUIET: Duration = Duration::from_millis(600);
const FRAME_LEN_MAX: usize = 4096;

/// A running network, its events and those not asked for yet.
struct Node {
    id: NodeId,
    handle: NetworkHandle,
    events: mpsc::Receiver<NetworkEvent>,
    seen: Vec<NetworkEvent>,
}

fn config(seed: u8) -> NetworkConfig {
    NetworkConfig {
        seed: [seed; 32],
        commons: CommonsId::from_bytes([7; 32]),
        listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))],
        mdns: false,
        frame_len_max: FRAME_LEN_MAX,
        gossip_len_max: 4096,
        agent: "hearth/test".to_owned(),
    }
}

fn id_of(seed: u8) -> NodeId {
    identity::node_id_of_key(&identity::keypair(&mut [seed; 32]).unwrap())
}

impl Node {
    fn start(config: NetworkConfig) -> Self {
        let id = id_of(config.seed[0]);
        let (sender, events) = mpsc::channel(8);
        let handle = start(config, sender).unwrap();
        Self {
            id,
            handle,
            events,
            seen: Vec::new(),
        }
    }

    fn tell(&self, command: NetworkCommand) {
        self.handle.command(command).unwrap();
    }

    /// Waits for an event that `pick` takes; keeps the others for later questions.
    async fn until<T>(&mut self, what: &str, pick: impl Fn(&NetworkEvent) -> Option<T>) -> T {
        if let Some(index) = self.seen.iter().position(|event| pick(event).is_some()) {
            return pick(&self.seen.remove(index)).unwrap();
        }
        let found = timeout(PATIENCE, async {
            loop {
                let event = self.events.recv().await.expect("the network runs");
                match pick(&event) {
                    Some(found) => return found,
                    None => self.seen.push(event),
                }
            }
        });
        let found = found.await;
        found.unwrap_or_else(|_| panic!("{what} in time; seen: {:?}", self.seen))
    }

    async fn never(&mut self, what: &str, pick: impl Fn(&NetworkEvent) -> bool) {
        let _ = timeout(QUIET, async {
            while let Some(event) = self.events.recv().await {
                self.seen.push(event);
            }
        })
        .await;
        assert!(
            !self.seen.iter().any(pick),
            "{what} never; seen: {:?}",
            self.seen
        );
    }

    async fn connected(&mut self, to: &NodeId) -> String {
        self.until("a member connects", |event| {
            let NetworkEvent::Connected { peer, addr } = event else {
                return None;
            };
            (peer == to).then(|| addr.clone())
        })
        .await
    }

    async fn disconnected(&mut self, from: &NodeId) {
        let gone = |event: &NetworkEvent| {
            matches!(event, NetworkEvent::Disconnected { peer, .. } if peer == from).then_some(())
        };
        self.until("a member disconnects", gone).await;
    }

    async fn frame(&mut self, wanted: Channel) -> Vec<u8> {
        self.until("a frame comes", |event| {
            let NetworkEvent::Frame { channel, bytes, .. } = event else {
                return None;
            };
            (*channel == wanted).then(|| bytes.clone())
        })
        .await
    }

    async fn gossip(&mut self) -> (GossipId, NodeId, NodeId, Topic, Vec<u8>) {
        self.until("gossip comes", |event| {
            let NetworkEvent::Gossip {
                id,
                relay,
                author,
                topic,
                bytes,
            } = event
            else {
                return None;
            };
            Some((*id, *relay, *author, *topic, bytes.clone()))
        })
        .await
    }

    async fn subscribed(&mut self, to: &NodeId, wanted: Topic) {
        let subscribed = |event: &NetworkEvent| {
            (*event
                == NetworkEvent::Subscribed {
                    peer: *to,
                    topic: wanted,
                })
            .then_some(())
        };
        self.until("a member subscribes", subscribed).await;
    }
}

/// Lets `one` dial `other` at those of its addresses that contain `kind`.
async fn connect(one: &mut Node, other: &mut Node, kind: &str) {
    let addrs = other.handle.listening().await;
    let addrs: Vec<String> = addrs
        .into_iter()
        .filter(|addr| addr.contains(kind))
        .collect();
    assert!(!addrs.is_empty(), "a node listens on {kind}");
    other.tell(NetworkCommand::Allow(one.id));
    one.tell(NetworkCommand::Allow(other.id));
    one.tell(NetworkCommand::Remember {
        peer: other.id,
        addrs,
    });
    let addr = one.connected(&other.id).await;
    assert!(
        addr.contains(kind),
        "the connection at {addr} is over {kind}"
    );
    other.connected(&one.id).await;
}

fn send(peer: NodeId, channel: Channel, bytes: Vec<u8>) -> NetworkCommand {
    NetworkCommand::Send {
        peer,
        channel,
        bytes,
    }
}

#[test]
fn node_ids_and_peer_ids_convert_into_each_other() {
    // I1
    let node = id_of(1);
    let peer = identity::peer_id(&node).unwrap();
    assert_eq!(identity::node_id(&peer), Some(node));
}

#[test]
fn peer_ids_of_other_keys_are_refused() {
    // I1
    assert_eq!(
        identity::node_id(&PeerId::random()),
        None,
        "random bytes are no key"
    );
    let hashed = [&[0x12, 0x20][..], &[5; 32][..]].concat();
    let peer = PeerId::from_bytes(&hashed).unwrap();
    assert_eq!(identity::node_id(&peer), None, "a hash hides the key");
}

#[tokio::test]
async fn two_members_connect_over_quic() {
    let (mut anna, mut ben) = (Node::start(config(1)), Node::start(config(2)));
    connect(&mut anna, &mut ben, "quic-v1").await;
}

#[tokio::test]
async fn two_members_connect_over_tcp() {
    let (mut anna, mut ben) = (Node::start(config(1)), Node::start(config(2)));
    connect(&mut anna, &mut ben, "tcp").await;
    ben.handle.shutdown().await;
    anna.disconnected(&ben.id).await;
}

#[tokio::test]
async fn members_that_dial_each_other_share_a_link() {
    let (mut anna, mut ben) = (Node::start(config(1)), Node::start(config(2)));
    let (of_anna, of_ben) = (anna.handle.listening().await, ben.handle.listening().await);
    anna.tell(NetworkCommand::Remember {
        peer: ben.id,
        addrs: of_ben,
    });
    ben.tell(NetworkCommand::Remember {
        peer: anna.id,
        addrs: of_anna,
    });
    anna.tell(NetworkCommand::Allow(ben.id));
    ben.tell(NetworkCommand::Allow(anna.id));
    anna.connected(&ben.id).await;
    ben.connected(&anna.id).await;
    let gone = |event: &NetworkEvent| matches!(event, NetworkEvent::Disconnected { .. });
    anna.never("anna loses ben", gone).await;
    ben.never("ben loses anna", gone).await;
    anna.tell(send(ben.id, Channel::Job, b"still here".to_vec()));
    assert_eq!(ben.frame(Channel::Job).await, b"still here");
}

#[tokio::test]
async fn gossip_travels_on_only_after_it_was_accepted() {
    // W7
    let mut anna = Node::start(config(1));
    let mut ben = Node::start(config(2));
    let mut cleo = Node::start(config(3));
    connect(&mut anna, &mut ben, "quic-v1").await;
    connect(&mut cleo, &mut ben, "tcp").await;
    anna.subscribed(&ben.id, Topic::Ledger).await;
    ben.subscribed(&cleo.id, Topic::Ledger).await;
    let publish = |bytes: &[u8]| NetworkCommand::Publish {
        topic: Topic::Ledger,
        bytes: bytes.to_vec(),
    };

    anna.tell(publish(b"lie"));
    let (id, ..) = ben.gossip().await;
    ben.tell(NetworkCommand::Verdict {
        id,
        verdict: Verdict::Reject,
    });
    anna.tell(publish(b"entry"));
    let (id, relay, author, topic, bytes) = ben.gossip().await;
    assert_eq!(
        (relay, author, topic, &bytes[..]),
        (anna.id, anna.id, Topic::Ledger, &b"entry"[..])
    );
    cleo.never("cleo hears gossip", |event| {
        matches!(event, NetworkEvent::Gossip { .. })
    })
    .await;

    ben.tell(NetworkCommand::Verdict {
        id,
        verdict: Verdict::Accept,
    });
    let (_, relay, author, _, bytes) = cleo.gossip().await;
    assert_eq!(
        (relay, author, &bytes[..]),
        (ben.id, anna.id, &b"entry"[..])
    );
}

#[tokio::test]
async fn a_stranger_gets_no_connection() {
    // W5
    let (member, mut stranger) = (&mut Node::start(config(1)), Node::start(config(2)));
    let addrs = member.handle.listening().await;
    stranger.tell(NetworkCommand::Allow(member.id));
    stranger.tell(NetworkCommand::Remember {
        peer: member.id,
        addrs,
    });
    let refused = NetworkEvent::Dropped {
        peer: Some(stranger.id),
        what: "connection of a non-member",
    };
    member
        .until("the stranger is refused", |event| {
            (*event == refused).then_some(())
        })
        .await;
    let failed = |event: &NetworkEvent| matches!(event, NetworkEvent::DialFailed { .. });
    stranger
        .until("the dial fails", |event| failed(event).then_some(()))
        .await;
    stranger.tell(send(member.id, Channel::Job, b"work for me".to_vec()));
    stranger.tell(NetworkCommand::Publish {
        topic: Topic::Cards,
        bytes: b"spam".to_vec(),
    });
    let undelivered = NetworkEvent::Undelivered {
        peer: member.id,
        channel: Channel::Job,
        bytes_len: 11,
    };
    stranger
        .until("the frame is refused", |event| {
            (*event == undelivered).then_some(())
        })
        .await;
    let heard = |event: &NetworkEvent| match event {
        NetworkEvent::Connected { .. }
        | NetworkEvent::Gossip { .. }
        | NetworkEvent::Subscribed { .. }
        | NetworkEvent::Frame { .. } => true,
        NetworkEvent::Listening { .. }
        | NetworkEvent::Disconnected { .. }
        | NetworkEvent::Learned { .. }
        | NetworkEvent::ChannelClosed { .. }
        | NetworkEvent::Undelivered { .. }
        | NetworkEvent::DialFailed { .. }
        | NetworkEvent::Dropped { .. } => false,
    };
    member.never("the member hears a stranger", heard).await;
    stranger.never("the stranger hears a member", heard).await;
}

#[tokio::test]
async fn a_member_that_is_expelled_is_disconnected() {
    // W5
    let (mut anna, mut ben) = (Node::start(config(1)), Node::start(config(2)));
    connect(&mut anna, &mut ben, "quic-v1").await;
    ben.tell(NetworkCommand::Disallow(anna.id));
    ben.disconnected(&anna.id).await;
    anna.disconnected(&ben.id).await;
}

#[tokio::test]
async fn two_commons_do_not_mix() {
    // W4
    let other = NetworkConfig {
        commons: CommonsId::from_bytes([8; 32]),
        ..config(2)
    };
    let (anna, mut ben) = (Node::start(config(1)), Node::start(other));
    let addrs = anna.handle.listening().await;
    anna.tell(NetworkCommand::Allow(ben.id));
    ben.tell(NetworkCommand::Allow(anna.id));
    ben.tell(NetworkCommand::Remember {
        peer: anna.id,
        addrs,
    });
    let other = NetworkEvent::Dropped {
        peer: Some(anna.id),
        what: "peer of another commons",
    };
    ben.until("ben refuses anna", |event| (*event == other).then_some(()))
        .await;
    let connected = |event: &NetworkEvent| matches!(event, NetworkEvent::Connected { .. });
    ben.never("ben connects", connected).await;
}

#[tokio::test]
async fn frames_come_in_order_on_both_channels() {
    // W6
    let (mut anna, mut ben) = (Node::start(config(1)), Node::start(config(2)));
    connect(&mut anna, &mut ben, "tcp").await;
    for number in 0..40_u8 {
        anna.tell(send(ben.id, Channel::Sync, vec![number; 3000]));
        anna.tell(send(ben.id, Channel::Job, vec![number]));
        ben.tell(send(anna.id, Channel::Job, vec![number, number]));
    }
    for number in 0..40_u8 {
        assert_eq!(ben.frame(Channel::Job).await, [number]);
        assert_eq!(anna.frame(Channel::Job).await, [number, number]);
        assert_eq!(ben.frame(Channel::Sync).await, [number; 3000]);
    }
}

#[tokio::test]
async fn a_frame_over_the_limit_closes_the_channel_and_not_the_link() {
    // W6
    let generous = NetworkConfig {
        frame_len_max: 10 * FRAME_LEN_MAX,
        ..config(1)
    };
    let (mut anna, mut ben) = (Node::start(generous), Node::start(config(2)));
    connect(&mut anna, &mut ben, "quic-v1").await;
    anna.tell(send(ben.id, Channel::Sync, vec![0; FRAME_LEN_MAX + 1]));
    let dropped = NetworkEvent::Dropped {
        peer: Some(anna.id),
        what: "frame over the length limit",
    };
    ben.until("the frame is dropped", |event| {
        (*event == dropped).then_some(())
    })
    .await;
    let closed = |peer| {
        move |event: &NetworkEvent| {
            let closed = NetworkEvent::ChannelClosed {
                peer,
                channel: Channel::Sync,
            };
            (*event == closed).then_some(())
        }
    };
    ben.until("ben's side closes", closed(anna.id)).await;
    anna.until("anna learns of it", closed(ben.id)).await;
    anna.tell(send(ben.id, Channel::Sync, b"short".to_vec()));
    assert_eq!(ben.frame(Channel::Sync).await, b"short");
}

#[tokio::test]
async fn frames_too_many_or_too_long_are_refused_at_once() {
    let (mut anna, mut ben) = (Node::start(config(1)), Node::start(config(2)));
    connect(&mut anna, &mut ben, "quic-v1").await;
    let refused = |bytes_len| {
        let event = NetworkEvent::Undelivered {
            peer: ben.id,
            channel: Channel::Job,
            bytes_len,
        };
        move |seen: &NetworkEvent| (*seen == event).then_some(())
    };
    anna.tell(send(ben.id, Channel::Job, vec![0; FRAME_LEN_MAX + 1]));
    anna.until("the long frame is refused", refused(FRAME_LEN_MAX + 1))
        .await;
    // Ben reads no events: his network stops reading, and anna's queue fills.
    timeout(PATIENCE, async {
        loop {
            if anna
                .handle
                .command(send(ben.id, Channel::Job, vec![0; FRAME_LEN_MAX]))
                .is_err()
            {
                tokio::task::yield_now().await;
            }
            while let Ok(event) = anna.events.try_recv() {
                if refused(FRAME_LEN_MAX)(&event).is_some() {
                    return;
                }
            }
        }
    })
    .await
    .expect("a full queue refuses");
}

#[tokio::test]
async fn a_member_that_comes_back_is_dialled_again() {
    let free = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let listen = vec![free.local_addr().unwrap()];
    drop(free);
    let home = || NetworkConfig {
        listen: listen.clone(),
        ..config(2)
    };
    let (mut anna, mut ben) = (Node::start(config(1)), Node::start(home()));
    connect(&mut anna, &mut ben, "tcp").await;
    ben.handle.shutdown().await;
    anna.disconnected(&ben.id).await;
    anna.until("a dial fails meanwhile", |event| {
        matches!(event, NetworkEvent::DialFailed { .. }).then_some(())
    })
    .await;
    let mut ben = Node::start(home());
    ben.tell(NetworkCommand::Allow(anna.id));
    anna.connected(&ben.id).await;
    ben.connected(&anna.id).await;
}

#[tokio::test]
async fn a_stopped_network_says_so() {
    let node = Node::start(config(1));
    drop(node.events);
    // The network notices when it has something to tell.
    node.handle.listening().await;
    let stopped = timeout(PATIENCE, async {
        while node.handle.command(NetworkCommand::Forget(node.id)).is_ok() {
            tokio::task::yield_now().await;
        }
    });
    stopped.await.expect("commands are refused");
    node.handle.shutdown().await;
}
