//! Commands about members: names, lines, judgements, addresses.

use std::collections::BTreeSet;

use hearth_protocol::control::{Problem, Reply};
use hearth_protocol::entry::Body;
use hearth_protocol::id::NodeId;
use hearth_protocol::limits;
use hearth_protocol::snapshot::TrustLevel;
use hearth_protocol::unit::Millikudos;

use super::{done, refused, usage};
use crate::network::NetworkCommand;
use crate::store::Table;
use crate::switchboard::Switchboard;
use crate::switchboard::commons::alone;
use crate::switchboard::peers::plain;

impl Switchboard {
    pub(super) fn list_peers(&self) -> Result<Reply, Problem> {
        if self.ledger.is_none() {
            return Err(alone());
        }
        Ok(Reply::Peers {
            peers: self.peer_views(),
        })
    }

    pub(super) fn show_peer(&self, peer: &str) -> Result<Reply, Problem> {
        Ok(Reply::Peer(Box::new(self.peer_view(&self.peer(peer)?))))
    }

    pub(super) fn members(&self) -> BTreeSet<NodeId> {
        self.ledger
            .as_ref()
            .map(|ledger| ledger.book().members().into_iter().collect())
            .unwrap_or_default()
    }

    /// Finds the member a person means.
    pub(in crate::switchboard) fn peer(&self, name: &str) -> Result<NodeId, Problem> {
        if self.ledger.is_none() {
            return Err(alone());
        }
        if name == self.facts.config.nickname || name == "me" {
            return Ok(self.me);
        }
        self.peers.find(name, &self.members()).map_err(|error| {
            refused(error.to_string()).hint("'hearth peers list' shows who there is")
        })
    }

    pub(super) fn add_peer(&mut self, peer: NodeId, addr: String) -> Result<Reply, Problem> {
        if self.ledger.is_none() {
            return Err(alone());
        }
        if !addr.starts_with('/') || addr.len() > limits::ADDR_LEN_MAX {
            return Err(usage(format!("'{}' is not a multiaddress", plain(&addr)))
                .hint("it looks like /ip4/192.0.2.7/udp/47470/quic-v1; 'hearth status' on that node prints its own"));
        }
        let mut addrs = self.peers.addrs(&peer).cloned().unwrap_or_default();
        addrs.network.retain(|known| *known != addr);
        addrs.network.insert(0, addr);
        addrs.network.truncate(limits::ADDRS_MAX);
        self.locate(peer, addrs);
        self.stored("noting an address", |board| board.store.flush());
        Ok(done(format!(
            "will look for {} there",
            self.peers.name(&peer)
        )))
    }

    pub(super) fn trust(
        &mut self,
        peer: &str,
        limit: Option<Millikudos>,
        level: TrustLevel,
    ) -> Result<Reply, Problem> {
        let node = self.peer(peer)?;
        if node == self.me {
            return Err(usage("one cannot give oneself credit"));
        }
        if let Some(limit) = limit {
            self.write(&Body::Trust { peer: node, limit })
                .map_err(|cause| refused("the line could not be written").cause(cause))?;
        }
        self.judge_peer(node, level);
        let line = self.ledger.as_ref().map_or(Millikudos::ZERO, |ledger| {
            ledger.book().line(&self.me, &node)
        });
        Ok(done(format!(
            "{} may owe this node up to {line} kudos",
            self.peers.name(&node)
        )))
    }

    pub(super) fn judge_peer(&mut self, node: NodeId, level: TrustLevel) {
        let note = self.peers.note(node, |note| note.level = level);
        self.stored("noting a judgement", |board| {
            board.store.put(Table::Peers, node.as_bytes(), &note)?;
            board.store.flush()
        });
        if level == TrustLevel::Blocked {
            self.pulse.allowed.remove(&node);
            self.rooms.blobs.disallow(node);
            self.command(NetworkCommand::Disallow(node));
        } else {
            self.let_connect(node);
        }
    }

    pub(super) fn block(&mut self, peer: &str) -> Result<Reply, Problem> {
        let node = self.peer(peer)?;
        if node == self.me {
            return Err(usage("one cannot block oneself"));
        }
        self.judge_peer(node, TrustLevel::Blocked);
        Ok(done(format!(
            "blocked {}; 'hearth peers trust' lifts it",
            self.peers.name(&node)
        )))
    }

    pub(super) fn name_peer(&mut self, peer: &str, name: String) -> Result<Reply, Problem> {
        let node = self.peer(peer)?;
        if name.len() > limits::NAME_LEN_MAX || name != plain(&name) {
            return Err(usage(
                "a petname is at most 128 bytes without control characters",
            ));
        }
        let note = self.peers.note(node, |note| note.name = name);
        self.stored("noting a petname", |board| {
            board.store.put(Table::Peers, node.as_bytes(), &note)?;
            board.store.flush()
        });
        Ok(done(format!(
            "{} is called {} here",
            node.short(),
            self.peers.name(&node)
        )))
    }
}
