//! What the network tells the daemon: one closed list.
//!
//! For one peer the order is `Connected`, then its frames and subscriptions, then `ChannelClosed`
//! for each channel that was open, then `Disconnected`. Gossip may come at any moment.

use hearth_protocol::id::NodeId;

use super::topic::{Channel, Topic};

/// Names one received gossip message and the member it came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct GossipId {
    /// BLAKE3 of topic and payload.
    pub(super) hash: [u8; 32],
    /// The member who forwarded it; a rejection counts against it.
    pub(super) relay: NodeId,
}

/// What is done with a gossip message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Valid: forward it.
    Accept,
    /// Useless but nobody's fault: do not forward it.
    Ignore,
    /// Invalid: do not forward it, and count it against those who sent it.
    Reject,
}

/// Something that happened on the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NetworkEvent {
    /// The addresses in use changed; all of them, as multiaddrs without `/p2p`.
    Listening {
        /// Every address.
        addrs: Vec<String>,
    },
    /// A member is connected and speaks this commons.
    Connected {
        /// Who.
        peer: NodeId,
        /// Where it is, as seen from here.
        addr: String,
    },
    /// The last connection to a member closed.
    Disconnected {
        /// Who.
        peer: NodeId,
        /// Why, for people; at most 200 bytes.
        reason: String,
    },
    /// A connected member told where it listens, worth keeping for the next start.
    Learned {
        /// Who.
        peer: NodeId,
        /// Its addresses, at most sixteen.
        addrs: Vec<String>,
    },
    /// A gossip message that waits for a [`Verdict`].
    Gossip {
        /// Names it in the verdict.
        id: GossipId,
        /// The connected member it came from.
        relay: NodeId,
        /// Who published and signed it, perhaps not connected, perhaps no member any more.
        author: NodeId,
        /// Where it was published.
        topic: Topic,
        /// The payload.
        bytes: Vec<u8>,
    },
    /// A connected member listens to a topic.
    Subscribed {
        /// Who.
        peer: NodeId,
        /// To what.
        topic: Topic,
    },
    /// One frame from a connected member; frames of a channel come in order.
    Frame {
        /// From whom.
        peer: NodeId,
        /// On which channel.
        channel: Channel,
        /// The frame.
        bytes: Vec<u8>,
    },
    /// A channel broke in either direction: frames on the way may be lost, later ones start anew.
    ChannelClosed {
        /// With whom.
        peer: NodeId,
        /// Which.
        channel: Channel,
    },
    /// A frame was refused at once: not connected, too many waiting, or too long.
    Undelivered {
        /// For whom.
        peer: NodeId,
        /// On which channel.
        channel: Channel,
        /// Its length.
        bytes_len: usize,
    },
    /// A member with known addresses could not be reached; it will be tried again.
    DialFailed {
        /// Who.
        peer: NodeId,
        /// Why, for people; at most 200 bytes.
        reason: String,
    },
    /// Something was thrown away, to be counted.
    Dropped {
        /// Whose, where it is known.
        peer: Option<NodeId>,
        /// What, in a few fixed words.
        what: &'static str,
    },
}
