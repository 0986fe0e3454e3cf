//! The names on the wire: topics, channels and protocols, each carrying the id of the commons.

use hearth_protocol::id::CommonsId;
use libp2p::StreamProtocol;
use libp2p::gossipsub::{IdentTopic, TopicHash};

/// What gossip is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Topic {
    /// Entries of members' chains.
    Ledger,
    /// Capacity adverts.
    Capacity,
    /// New cards.
    Cards,
}

impl Topic {
    /// Every topic; a node listens to all of them.
    pub(crate) const ALL: [Self; 3] = [Self::Ledger, Self::Capacity, Self::Cards];

    fn word(self) -> &'static str {
        match self {
            Self::Ledger => "ledger",
            Self::Capacity => "capacity",
            Self::Cards => "cards",
        }
    }
}

/// A long-lived ordered stream of frames between two members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Channel {
    /// Entries and cards that gossip missed.
    Sync,
    /// Quotes, orders, progress and receipts.
    Job,
}

impl Channel {
    /// Every channel.
    pub(crate) const ALL: [Self; 2] = [Self::Sync, Self::Job];
}

/// The names of one commons on the wire.
#[derive(Debug, Clone)]
pub(super) struct Names {
    /// What members call their protocol family when they greet each other.
    pub(super) family: String,
    /// Kademlia among members.
    pub(super) routing: StreamProtocol,
    sync: StreamProtocol,
    job: StreamProtocol,
    topics: [(Topic, IdentTopic, TopicHash); 3],
}

impl Names {
    pub(super) fn new(commons: &CommonsId) -> Self {
        let protocol = |suffix: &str| {
            StreamProtocol::try_from_owned(format!("/hearth/{commons}/{suffix}"))
                .expect("the name starts with a slash")
        };
        Self {
            family: format!("/hearth/{commons}/1"),
            routing: protocol("kad/1"),
            sync: protocol("sync/1"),
            job: protocol("job/1"),
            topics: Topic::ALL.map(|topic| {
                let ident = IdentTopic::new(format!("/hearth/{commons}/{}/1", topic.word()));
                let name = ident.hash();
                (topic, ident, name)
            }),
        }
    }

    pub(super) fn protocol(&self, channel: Channel) -> &StreamProtocol {
        match channel {
            Channel::Sync => &self.sync,
            Channel::Job => &self.job,
        }
    }

    /// Returns a topic as gossipsub subscribes to it.
    pub(super) fn ident(&self, topic: Topic) -> &IdentTopic {
        let [(_, ledger, _), (_, capacity, _), (_, cards, _)] = &self.topics;
        match topic {
            Topic::Ledger => ledger,
            Topic::Capacity => capacity,
            Topic::Cards => cards,
        }
    }

    /// Returns the topic of a name, or nothing for a name of somebody else.
    pub(super) fn topic(&self, name: &TopicHash) -> Option<Topic> {
        self.topics
            .iter()
            .find(|(_, _, known)| known == name)
            .map(|(topic, _, _)| *topic)
    }
}
