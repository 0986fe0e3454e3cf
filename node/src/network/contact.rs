//! Who may be dialled, where, and when next.
//!
//! A pure schedule: time is an argument and the jitter comes from the ids, so the same calls give
//! the same answers. It dials nobody itself. Waiting times double from half a second to a minute.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use hearth_protocol::id::NodeId;
use libp2p::multiaddr::{Multiaddr, Protocol};

/// Addresses kept of one member that it told itself, that were given, or that worked.
pub(super) const ADDRS_MAX: usize = 16;
/// Addresses kept of one member that others told.
const HEARSAY_MAX: usize = 4;
/// First waiting time after a failure.
const WAIT_FIRST: Duration = Duration::from_millis(500);
/// Longest waiting time.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// Head start of the member with the lower id, so that two that meet dial once.
const HEAD_START: Duration = Duration::from_millis(300);
/// Dials under way at a time.
const DIALS_MAX: usize = 16;
/// Members connected beyond which nobody is dialled unasked: gossip needs a dozen, a small commons
/// is all connected, a large one must not cost a connection a member.
const PEERS_WANTED: usize = 64;

/// What a member's line of the schedule says.
#[derive(Debug)]
struct Contact {
    allowed: bool,
    /// Best first.
    addrs: Vec<Multiaddr>,
    /// What others say, newest first; never in place of the former.
    hearsay: Vec<Multiaddr>,
    failures: u32,
    state: State,
    /// Whether somebody waits for this member, so that the number of peers does not matter.
    wanted: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting { until: Instant },
    Dialling,
    Connected,
}

/// The schedule of all members.
#[derive(Debug)]
pub(super) struct Contacts {
    me: NodeId,
    contacts: BTreeMap<NodeId, Contact>,
    /// Allowed members that wait, by time; in exactly one of the two queues.
    queue: BTreeSet<(Instant, NodeId)>,
    wanted: BTreeSet<(Instant, NodeId)>,
    dialling: usize,
    connected: usize,
}

impl Contacts {
    pub(super) fn new(me: NodeId) -> Self {
        Self {
            me,
            contacts: BTreeMap::new(),
            queue: BTreeSet::new(),
            wanted: BTreeSet::new(),
            dialling: 0,
            connected: 0,
        }
    }

    pub(super) fn is_allowed(&self, peer: &NodeId) -> bool {
        self.contacts
            .get(peer)
            .is_some_and(|contact| contact.allowed)
    }

    /// Lets a member be dialled, soon. Returns whether it was not allowed before.
    pub(super) fn allow(&mut self, now: Instant, peer: NodeId) -> bool {
        let mut is_new = false;
        self.update(now, peer, |contact| {
            is_new = !contact.allowed;
            contact.allowed = true;
        });
        if is_new {
            self.hurry(now, peer);
        }
        is_new
    }

    /// Drops a member and all that is known of it.
    pub(super) fn disallow(&mut self, peer: &NodeId) {
        if let Some(contact) = self.contacts.remove(peer) {
            self.unlist(*peer, &contact);
        }
    }

    /// Puts addresses in front that were given or that the member told itself; a new one makes the
    /// next dial immediate. Returns whether any was new.
    pub(super) fn remember(&mut self, now: Instant, peer: NodeId, addrs: &[Multiaddr]) -> bool {
        let mut is_new = false;
        self.update(now, peer, |contact| {
            for addr in addrs.iter().take(ADDRS_MAX).rev() {
                is_new |= promote(&mut contact.addrs, addr);
            }
            contact.addrs.truncate(ADDRS_MAX);
            if is_new {
                contact.failures = 0;
            }
        });
        if is_new {
            self.hurry(now, peer);
        }
        is_new
    }

    /// Notes an address that others told of a member; a new one makes the next dial immediate.
    pub(super) fn hear(&mut self, now: Instant, peer: &NodeId, addr: &Multiaddr) {
        let is_news = self.contacts.get(peer).is_some_and(|contact| {
            contact.allowed && !contact.addrs.contains(addr) && !contact.hearsay.contains(addr)
        });
        if is_news {
            self.update(now, *peer, |contact| {
                promote(&mut contact.hearsay, addr);
                contact.hearsay.truncate(HEARSAY_MAX);
            });
            self.hurry(now, *peer);
        }
    }

    /// Returns the addresses of a member, hearsay left out.
    pub(super) fn addrs(&self, peer: &NodeId) -> &[Multiaddr] {
        self.contacts
            .get(peer)
            .map_or(&[], |contact| &contact.addrs)
    }

    /// Drops the addresses of a member.
    pub(super) fn forget(&mut self, now: Instant, peer: &NodeId) {
        if self.is_allowed(peer) {
            self.update(now, *peer, |contact| {
                contact.addrs.clear();
                contact.hearsay.clear();
                contact.wanted = false;
            });
        } else {
            self.disallow(peer);
        }
    }

    /// Notes that somebody waits for a member that is not connected.
    pub(super) fn want(&mut self, now: Instant, peer: &NodeId) {
        if self.is_allowed(peer) {
            self.update(now, *peer, |contact| {
                contact.wanted = contact.state != State::Connected;
            });
        }
    }

    /// Notes a connection, and the address when it was dialled and so works.
    pub(super) fn connected(&mut self, now: Instant, peer: &NodeId, dialled: Option<Multiaddr>) {
        if self.is_allowed(peer) {
            self.update(now, *peer, |contact| {
                contact.state = State::Connected;
                contact.wanted = false;
                if let Some(addr) = dialled {
                    promote(&mut contact.addrs, &addr);
                    contact.addrs.truncate(ADDRS_MAX);
                }
            });
        }
    }

    /// Notes that a connected member proved to be one: the next failure is a first one.
    pub(super) fn greeted(&mut self, now: Instant, peer: &NodeId) {
        if self.is_allowed(peer) {
            self.update(now, *peer, |contact| contact.failures = 0);
        }
    }

    /// Notes that a dial failed or the last connection closed. Returns the failures so far, or
    /// nothing when the member waits already: routing dials on its own, and its failures are no
    /// reason to wait longer.
    pub(super) fn failed(&mut self, now: Instant, peer: &NodeId) -> Option<u32> {
        let contact = self.contacts.get(peer).filter(|contact| contact.allowed)?;
        if matches!(contact.state, State::Waiting { .. }) {
            return None;
        }
        let failures = contact.failures.saturating_add(1);
        let until = now + wait(&self.me, peer, failures);
        self.update(now, *peer, |contact| {
            contact.failures = failures;
            contact.wanted = false;
            contact.state = State::Waiting { until };
        });
        Some(failures)
    }

    /// Returns who is to be dialled now, with addresses, and notes it as done.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<(NodeId, Vec<Multiaddr>)> {
        let (until, peer) = self.next_due()?;
        if until > now {
            return None;
        }
        self.update(now, peer, |contact| contact.state = State::Dialling);
        let contact = self.contacts.get(&peer)?;
        let addrs = contact.addrs.iter().chain(&contact.hearsay);
        Some((peer, addrs.cloned().collect()))
    }

    /// Returns when somebody is next to be dialled, or nothing while every dial is taken.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.next_due().map(|(until, _)| until)
    }

    fn next_due(&self) -> Option<(Instant, NodeId)> {
        if self.dialling >= DIALS_MAX {
            return None;
        }
        let wanted = self.wanted.first();
        let others = self.queue.first().filter(|_| self.connected < PEERS_WANTED);
        wanted.into_iter().chain(others).min().copied()
    }

    /// Changes a line, made on the way when there is none, and keeps queues and counts in step.
    fn update(&mut self, now: Instant, peer: NodeId, change: impl FnOnce(&mut Contact)) {
        let mut contact = self.contacts.remove(&peer).unwrap_or_else(|| Contact {
            allowed: false,
            addrs: Vec::new(),
            hearsay: Vec::new(),
            failures: 0,
            state: State::Waiting { until: now },
            wanted: false,
        });
        self.unlist(peer, &contact);
        change(&mut contact);
        self.list(peer, &contact);
        self.contacts.insert(peer, contact);
    }

    fn list(&mut self, peer: NodeId, contact: &Contact) {
        if !contact.allowed {
            return;
        }
        match contact.state {
            State::Waiting { until } if contact.wanted => {
                self.wanted.insert((until, peer));
            }
            State::Waiting { until } => {
                self.queue.insert((until, peer));
            }
            State::Dialling => self.dialling += 1,
            State::Connected => self.connected += 1,
        }
    }

    fn unlist(&mut self, peer: NodeId, contact: &Contact) {
        if !contact.allowed {
            return;
        }
        match contact.state {
            State::Waiting { until } => {
                self.wanted.remove(&(until, peer));
                self.queue.remove(&(until, peer));
            }
            State::Dialling => self.dialling -= 1,
            State::Connected => self.connected -= 1,
        }
    }

    /// Brings the next dial forward to now, or to just after the other side's own dial.
    fn hurry(&mut self, now: Instant, peer: NodeId) {
        let is_first = self.me < peer;
        let soon = if is_first { now } else { now + HEAD_START };
        self.update(now, peer, |contact| {
            if matches!(contact.state, State::Waiting { .. }) {
                contact.state = State::Waiting { until: soon };
            }
        });
    }
}

/// Puts an address first. Returns whether it was not there.
fn promote(addrs: &mut Vec<Multiaddr>, addr: &Multiaddr) -> bool {
    let before = addrs.len();
    addrs.retain(|known| known != addr);
    let is_new = addrs.len() == before;
    addrs.insert(0, addr.clone());
    is_new
}

/// Returns the waiting time after so many failures: doubled each time, between half and all of it.
fn wait(me: &NodeId, peer: &NodeId, failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let full = WAIT_FIRST.saturating_mul(1 << doublings).min(WAIT_MAX);
    let mut hasher = blake3::Hasher::new();
    hasher
        .update(me.as_bytes())
        .update(peer.as_bytes())
        .update(&failures.to_le_bytes());
    let dice = u32::from(hasher.finalize().as_bytes()[0]);
    full / 2 + (full / 2) * dice / 255
}

/// Parses a member's address, without any trailing `/p2p`. Only what we can dial passes: an IP
/// that is set, and TCP or QUIC.
pub(super) fn parse_addr(text: &str) -> Option<Multiaddr> {
    text.parse().ok().and_then(dialable)
}

/// Strips a trailing `/p2p` and returns the address when we can dial it.
pub(super) fn dialable(mut addr: Multiaddr) -> Option<Multiaddr> {
    if let Some(Protocol::P2p(_)) = addr.iter().last() {
        addr.pop();
    }
    let mut parts = addr.iter();
    let host = parts.next()?;
    let is_set = matches!(host, Protocol::Ip4(ip) if !ip.is_unspecified())
        || matches!(host, Protocol::Ip6(ip) if !ip.is_unspecified());
    let is_known = match (parts.next()?, parts.next(), parts.next()) {
        (Protocol::Tcp(port), None, None) => port != 0,
        (Protocol::Udp(port), Some(Protocol::QuicV1), None) => port != 0,
        _ => false,
    };
    (is_set && is_known).then_some(addr)
}
