//! What the daemon asks of the network: one closed list.

use hearth_protocol::id::NodeId;

use super::event::{GossipId, Verdict};
use super::topic::{Channel, Topic};

/// An order to the network task. None is answered directly; its outcome is an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NetworkCommand {
    /// This peer is a member: it may connect, and is dialled when an address is known.
    Allow(NodeId),
    /// This peer is no member (any more): its connections close at once.
    Disallow(NodeId),
    /// A member's addresses as multiaddrs without `/p2p`; those that do not parse are dropped.
    Remember {
        /// Whose addresses.
        peer: NodeId,
        /// The addresses, best first; only the first sixteen are kept.
        addrs: Vec<String>,
    },
    /// Drops every address of this peer; a live connection stays.
    Forget(NodeId),
    /// Publishes a payload to the members.
    Publish {
        /// Where to.
        topic: Topic,
        /// The payload, at most the configured gossip length.
        bytes: Vec<u8>,
    },
    /// Says whether a received gossip message is forwarded. Each message needs one within seconds.
    Verdict {
        /// The message, as named in its event.
        id: GossipId,
        /// What to do with it.
        verdict: Verdict,
    },
    /// Sends one frame to a connected member.
    Send {
        /// To whom.
        peer: NodeId,
        /// On which channel.
        channel: Channel,
        /// The frame, at most the configured frame length.
        bytes: Vec<u8>,
    },
}
