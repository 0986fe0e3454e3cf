//! What the node shows of itself, made when somebody asks.

pub(super) mod entries;
pub(super) mod statement;

use std::sync::Arc;

use hearth_ledger::{Book, Ledger};
use hearth_protocol::id::{CardId, NodeId};
use hearth_protocol::limits;
use hearth_protocol::snapshot::{
    BalanceView, CardView, ChainView, CommonsView, DropCount, FileView, JobSide, JobView, PeerView,
    Snapshot, StatusView,
};
use hearth_protocol::unit::{Balance, Millikudos};

use super::Switchboard;
use super::peers::plain;
use crate::clock::now;

/// Entries a snapshot shows.
const ENTRIES_SHOWN: usize = 200;
/// Members a snapshot shows.
const PEERS_SHOWN: usize = 500;

impl Switchboard {
    /// Returns everything the dashboard draws.
    pub(super) fn snapshot(&self) -> Arc<Snapshot> {
        Arc::new(Snapshot {
            time: now(),
            status: self.status(),
            peers: self.peer_views().into_iter().take(PEERS_SHOWN).collect(),
            jobs: self.job_views(),
            cards: self.card_views(),
            transfers: self.transfers.values().cloned().collect(),
            balances: self.balances(),
            entries: self.newest_entries(ENTRIES_SHOWN),
            log: crate::log::recent(),
        })
    }

    pub(super) fn book(&self) -> Option<&Book> {
        self.ledger.as_ref().map(Ledger::book)
    }

    /// Returns the node's state.
    pub(super) fn status(&self) -> StatusView {
        let book = self.book();
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let jobs = self.dispatcher.jobs().filter(|job| !job.is_over()).count();
        let work = self.dispatcher.work().filter(|work| work.is_open()).count();
        let listening = &self.pulse.listening;
        StatusView {
            node: self.me,
            nickname: self.facts.config.nickname.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            started: self.facts.started,
            home: self.facts.home.root().to_string_lossy().into_owned(),
            commons: self.charter.as_ref().map(|charter| CommonsView {
                id: charter.trusted().id(),
                name: plain(&charter.trusted().name),
                members: count(book.map_or(0, |book| book.members().len())),
            }),
            device: self.facts.device.clone(),
            accepting: self.dispatcher.accepting(),
            connected: count(self.peers.connected().count()),
            jobs_open: count(jobs),
            work_open: count(work),
            balance: book.map_or(Balance::ZERO, |book| book.balance(&self.me)),
            pending: book.map_or(Balance::ZERO, |book| book.pending(&self.me)),
            digest: book.map(|book| hex(&book.digest())),
            entries: book.map_or(0, |book| u64::try_from(book.len()).unwrap_or(u64::MAX)),
            memory: crate::device::memory_used(),
            energy_j: millijoules(self.pulse.energy_mj),
            listening: listening
                .network
                .iter()
                .chain(&listening.blobs)
                .cloned()
                .collect(),
            dropped: self
                .pulse
                .dropped
                .iter()
                .map(|(reason, count)| DropCount {
                    reason: reason.clone(),
                    count: *count,
                })
                .collect(),
            alerts: self.alerts(),
        }
    }

    /// Returns members: oneself, connected ones, the others.
    pub(super) fn peer_views(&self) -> Vec<PeerView> {
        let members = self.book().map_or_else(Vec::new, Book::members);
        let mut views: Vec<PeerView> = members.iter().map(|node| self.peer_view(node)).collect();
        views.sort_by_key(|view| (!view.me, !view.connected, view.name.clone(), view.node));
        views
    }

    /// Returns one member as shown.
    pub(super) fn peer_view(&self, node: &NodeId) -> PeerView {
        let me = *node == self.me;
        let own = me
            .then(|| self.book().map(|_| self.own_advert(now())))
            .flatten();
        let capacity = own
            .as_ref()
            .map(hearth_protocol::sign::Signed::trusted)
            .or_else(|| self.peers.capacity(node, now()));
        let book = self.book();
        let exposure = book.map_or(0, |book| book.exposure(&self.me, node).mk());
        let addrs = if me {
            Some(&self.pulse.listening)
        } else {
            self.peers.addrs(node)
        };
        PeerView {
            node: *node,
            name: self.name_of(node),
            me,
            connected: me || self.peers.is_connected(node),
            trust: self.peers.level(node),
            line: book.map_or(Millikudos::ZERO, |book| book.line(&self.me, node)),
            exposure: Millikudos::saturating(u64::try_from(exposure.max(0)).unwrap_or(u64::MAX)),
            balance: book.map_or(Balance::ZERO, |book| book.balance(node)),
            device: capacity.map(|capacity| capacity.device.clone()),
            accepting: capacity.map(|capacity| capacity.accepting),
            queue: capacity.map_or(0, |capacity| capacity.queue),
            price_percent: capacity.map_or(100, |capacity| capacity.price_percent),
            mk_per_s: capacity
                .and_then(|capacity| capacity.speeds.first())
                .map_or(0, |speed| speed.mk_per_s),
            cards: capacity.map_or_else(Vec::new, |capacity| capacity.cards.clone()),
            addrs: addrs.map_or_else(Vec::new, |addrs| {
                addrs.network.iter().chain(&addrs.blobs).cloned().collect()
            }),
            seen: self.peers.last_advert(node).map(|advert| advert.time),
            chain: book.map_or_else(ChainView::default, |book| {
                Self::chain_view(book, &self.me, node)
            }),
        }
    }

    /// Returns what this node calls a member, itself included.
    pub(super) fn name_of(&self, node: &NodeId) -> String {
        if *node == self.me {
            self.own_name()
        } else {
            self.peers.name(node)
        }
    }

    fn own_name(&self) -> String {
        let name = &self.facts.config.nickname;
        if name.is_empty() {
            self.me.short()
        } else {
            name.clone()
        }
    }

    /// Returns jobs of this node and work for others, newest first.
    pub(super) fn job_views(&self) -> Vec<JobView> {
        let shown = self.dispatcher.job_views(now());
        let (own, work): (Vec<JobView>, Vec<JobView>) = shown
            .into_iter()
            .partition(|view| view.side == JobSide::Requester);
        // A job that has just ended is shown by dispatch until its end is noted here.
        let open = own
            .iter()
            .filter(|view| self.jobs.over(&view.job).is_none())
            .filter_map(|view| self.own_job_view(view.job));
        let over = self.jobs.all_over().map(|over| over.view.clone());
        let mut views: Vec<JobView> = open.chain(over).chain(work).collect();
        views.sort_by_key(|view| std::cmp::Reverse((view.submitted, view.job)));
        views.truncate(limits::JOBS_SHOWN_MAX);
        views
    }

    /// Returns every card as shown.
    pub(super) fn card_views(&self) -> Vec<CardView> {
        self.shelf
            .cards()
            .filter_map(|(id, _)| self.card_view(id))
            .collect()
    }

    /// Returns a card as shown.
    pub(super) fn card_view(&self, id: &CardId) -> Option<CardView> {
        let card = self.shelf.card(id)?.trusted();
        let note = self.shelf.note(id);
        let mut seeders = self.peers.seeders(id);
        if note.complete {
            seeders.insert(0, self.me);
        }
        let file = |file: &hearth_protocol::card::CardFile| {
            let sha256 = file.sha256.to_string();
            FileView {
                name: plain(&file.name),
                size: file.size,
                blake3: file.blob.to_string(),
                autov2: sha256.chars().take(10).collect(),
                sha256,
                autov3: file
                    .autov3
                    .map(|hash| hash.to_string().chars().take(12).collect()),
            }
        };
        Some(CardView {
            card: *id,
            title: plain(&card.title),
            kind: card.kind,
            family: card.family,
            publisher: card.publisher,
            published: card.published,
            size: card.size(),
            have: self.shelf.have(id),
            pinned: note.pinned,
            seeders,
            triggers: card.triggers.iter().map(|trigger| plain(trigger)).collect(),
            licence: plain(&card.licence),
            description: card
                .description
                .chars()
                .filter(|c| !c.is_control() || *c == '\n')
                .collect(),
            files: card.files.iter().map(file).collect(),
        })
    }

    /// Returns everybody's balance.
    pub(super) fn balances(&self) -> Vec<BalanceView> {
        let Some(book) = self.book() else {
            return Vec::new();
        };
        let view = |node: NodeId| BalanceView {
            node,
            balance: book.balance(&node),
            pending: book.pending(&node),
        };
        let mut nodes: std::collections::BTreeSet<NodeId> = book.members().into_iter().collect();
        nodes.extend(book.balances().into_iter().map(|(node, _)| node));
        nodes.into_iter().map(view).collect()
    }
}

/// Returns bytes as lowercase hex.
pub(super) fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

fn millijoules(energy: u64) -> f64 {
    let whole = u32::try_from(energy / 1000).unwrap_or(u32::MAX);
    let rest = u32::try_from(energy % 1000).unwrap_or(0);
    f64::from(whole) + f64::from(rest) / 1000.0
}
