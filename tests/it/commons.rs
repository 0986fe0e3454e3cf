//! Several nodes that form a commons on loopback.

use std::collections::BTreeMap;
use std::path::Path;

use hearth_protocol::control::{Command, EntriesRequest, Reply};
use hearth_protocol::id::NodeId;
use hearth_protocol::snapshot::LedgerView;
use tempfile::TempDir;

use crate::node::Node;
use crate::patience::{LATER, SOON, eventually};
use crate::weights;

/// Settings of a node that only asks.
pub(crate) const ASKS: &[(&str, &str)] = &[("worker.enabled", "false")];
/// Settings of a node that computes on one thread.
pub(crate) const WORKS: &[(&str, &str)] = &[("worker.enabled", "true"), ("worker.threads", "1")];

/// One node's name with its settings.
pub(crate) type Part<'a> = (&'a str, &'a [(&'a str, &'a str)]);

/// Nodes in one commons. The first founded it.
pub(crate) struct Commons {
    pub(crate) nodes: Vec<Node>,
    dir: TempDir,
}

impl Commons {
    /// Starts nodes, founds an invite-only commons with the first, and lets the others in.
    pub(crate) fn of(parts: &[Part<'_>]) -> Self {
        Self::with_line(parts, "1000")
    }

    /// As [`of`](Self::of), with so many kudos that members let each other owe.
    pub(crate) fn with_line(parts: &[Part<'_>], line: &str) -> Self {
        let mut dir = tempfile::tempdir().expect("a temporary folder");
        // For whoever wants to read the logs of a story that passed.
        dir.disable_cleanup(std::env::var_os("IT_KEEP").is_some());
        let start = |(name, settings): &Part<'_>| Node::start(dir.path(), name, settings);
        let nodes: Vec<Node> = parts.iter().map(start).collect();
        let commons = Self { nodes, dir };
        let founder = &commons.nodes[0];
        founder.json(&["commons", "create", "Story", "--member-line", line]);
        let uses = parts.len().to_string();
        let ticket = founder.json(&["commons", "invite", "--uses", &uses]);
        let ticket = ticket["ticket"].as_str().expect("a ticket");
        for node in &commons.nodes[1..] {
            node.json(&["commons", "join", ticket]);
        }
        commons.meet();
        commons
    }

    /// Returns a folder beside the homes.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Returns a node by its name.
    pub(crate) fn node(&self, name: &str) -> &Node {
        let found = self.nodes.iter().find(|node| node.name == name);
        found.unwrap_or_else(|| panic!("a node called {name}"))
    }

    /// Returns a node by its name, to be killed or restarted.
    pub(crate) fn node_mut(&mut self, name: &str) -> &mut Node {
        let found = self.nodes.iter_mut().find(|node| node.name == name);
        found.unwrap_or_else(|| panic!("a node called {name}"))
    }

    /// Returns a node by its id.
    pub(crate) fn name_of(&self, id: NodeId) -> String {
        let found = self.nodes.iter().find(|node| node.id() == id);
        found.expect("a node of this commons").name.clone()
    }

    /// Waits until everybody is connected to everybody and has said what it can do.
    pub(crate) fn meet(&self) {
        let all = self.nodes.len();
        for node in &self.nodes {
            eventually(
                &format!("{} is connected to {}", node.name, all - 1),
                LATER,
                || {
                    let peers = node.peers();
                    let met = |peer: &&hearth_protocol::snapshot::PeerView| {
                        peer.connected && peer.accepting.is_some()
                    };
                    (peers.iter().filter(met).count() == all).then_some(())
                },
            );
        }
    }

    /// Shares the tiny checkpoint from one node and waits until everybody knows it is served.
    pub(crate) fn share_checkpoint(&self, at: &str) -> String {
        let path = weights::checkpoint(self.dir());
        self.share(at, &path)
    }

    /// Shares a model from one node; returns its card once everybody knows that it is served.
    pub(crate) fn share(&self, at: &str, path: &Path) -> String {
        let seeder = self.node(at);
        let model = seeder.json(&["model", "add", &path.display().to_string()]);
        let card = model["card"].as_str().expect("a card").to_owned();
        for node in &self.nodes {
            eventually(&format!("{} knows who has it", node.name), SOON, || {
                let snapshot = node.snapshot();
                let known = snapshot
                    .cards
                    .iter()
                    .find(|known| known.card.to_string() == card)?;
                known.seeders.contains(&seeder.id()).then_some(())
            });
        }
        card
    }

    /// Waits until every ledger shows the same digest, audits each, and returns the balances.
    pub(crate) fn agree(&self) -> BTreeMap<String, i128> {
        eventually("every ledger shows one digest", SOON, || {
            let digests: Vec<_> = self.nodes.iter().map(|node| node.status().digest).collect();
            digests
                .windows(2)
                .all(|pair| pair[0] == pair[1])
                .then_some(())
        });
        for node in &self.nodes {
            match node.ask(&Command::LedgerAudit) {
                Ok(Reply::Audit(audit)) => assert!(audit.ok, "{}: {audit:?}", node.name),
                other => panic!("an audit: {other:?}"),
            }
            assert!(
                !node.log().contains("chain forked"),
                "{} saw no fork",
                node.name
            );
        }
        let balances = balances(&self.nodes[0]);
        assert_eq!(balances.values().sum::<i128>(), 0, "kudos are conserved");
        let name = |(id, mk)| (self.name_of(id), mk);
        balances.into_iter().map(name).collect()
    }
}

/// Returns everybody's millikudos as one node sees them.
pub(crate) fn balances(node: &Node) -> BTreeMap<NodeId, i128> {
    match node.ask(&Command::LedgerBalance) {
        Ok(Reply::Balances { balances, .. }) => {
            let line =
                |view: hearth_protocol::snapshot::BalanceView| (view.node, view.balance.mk());
            balances.into_iter().map(line).collect()
        }
        other => panic!("balances: {other:?}"),
    }
}

/// Returns all entries one node keeps, newest first, page by page.
pub(crate) fn entries(node: &Node, author: Option<NodeId>) -> Vec<LedgerView> {
    let author = author.map(|author| author.to_string());
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let request = EntriesRequest {
            author: author.clone(),
            limit: 1_000,
            after,
            ..EntriesRequest::default()
        };
        match node.ask(&Command::LedgerEntries(Box::new(request))) {
            Ok(Reply::Entries { entries, next }) => {
                all.extend(entries);
                after = next;
            }
            other => panic!("entries: {other:?}"),
        }
        if after.is_none() {
            return all;
        }
    }
}

/// Returns how many entries of a kind one node keeps.
pub(crate) fn count(node: &Node, kind: &str) -> usize {
    entries(node, None)
        .iter()
        .filter(|entry| entry.kind == kind)
        .count()
}
