//! What a node says it can do, gossiped and signed; expires after 90 s. Never holds a prompt.

use serde::{Deserialize, Serialize};

use crate::id::{CardId, CommonsId, NodeId};
use crate::job::Family;
use crate::sign::{Domain, Signable};
use crate::unit::{ByteCount, Timestamp};

/// A capacity advert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Capacity {
    /// The commons it is for.
    pub commons: CommonsId,
    /// Who speaks.
    pub node: NodeId,
    /// When; the newest counts.
    pub time: Timestamp,
    /// What the node calls itself; others may give it a petname.
    pub nickname: String,
    /// Version of its software.
    pub software: String,
    /// What computes.
    pub device: Device,
    /// Whether it takes jobs of others.
    pub accepting: Accepting,
    /// Jobs waiting or running.
    pub queue: u32,
    /// Percent of the table price it asks.
    pub price_percent: u16,
    /// Measured speed for each family it has run.
    pub speeds: Vec<Speed>,
    /// Checkpoints loaded right now.
    pub warm: Vec<CardId>,
    /// Cards whose files it has whole and serves.
    pub cards: Vec<CardId>,
    /// Where it can be reached.
    pub addrs: NodeAddrs,
}

impl Signable for Capacity {
    const DOMAIN: Domain = Domain::Capacity;

    fn signer(&self) -> NodeId {
        self.node
    }
}

/// What computes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// Its kind.
    pub kind: DeviceKind,
    /// Its name.
    pub name: String,
    /// Memory that models may use.
    pub memory: ByteCount,
    /// Threads or streaming processors.
    pub units: u32,
}

/// A kind of device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceKind {
    /// Processor cores.
    Cpu,
    /// An NVIDIA GPU.
    Cuda,
    /// An Apple GPU.
    Metal,
}

/// Whether a node takes jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Accepting {
    /// Yes.
    Yes,
    /// Its owner paused it.
    Paused,
    /// It never computes for others.
    Never,
}

/// How fast a node was for a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Speed {
    /// The family.
    pub family: Family,
    /// Millikudos of work per second, measured.
    pub mk_per_s: u64,
}

/// Addresses of a node on both networks.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeAddrs {
    /// Multiaddresses for gossip, sync and jobs, without the peer part.
    pub network: Vec<String>,
    /// `host:port` for blobs and the join door.
    pub blobs: Vec<String>,
}
