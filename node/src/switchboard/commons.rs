//! Founding, entering and leaving a commons while the node runs.

use std::time::Duration;

use hearth_ledger::Ledger;
use hearth_protocol::charter::{Admission, Caps, Charter, Invite, PriceTable, Windows};
use hearth_protocol::control::{CommonsReply, Problem, ProblemKind, Reply};
use hearth_protocol::entry::{Body, Entry, InviteUse};
use hearth_protocol::id::NodeId;
use hearth_protocol::limits;
use hearth_protocol::sign::Signed;
use hearth_protocol::ticket::{InviteSecret, MemberAddrs, Ticket, TicketInvite};
use hearth_protocol::unit::{Millikudos, Millis};
use hearth_protocol::wire::{DoorReply, Message};
use tokio::sync::mpsc;

use super::Switchboard;
use super::ask::JoinPaper;
use crate::clock::now;
use crate::network::{self, NetworkConfig, NetworkEvent};

/// How long the network may take to say where it listens.
const LISTEN_MAX: Duration = Duration::from_secs(5);

/// What a founder says.
pub(super) struct Founding {
    pub(super) name: String,
    pub(super) purpose: String,
    pub(super) admission: Admission,
    pub(super) member_line: Millikudos,
    pub(super) rules: String,
}

fn failed(what: &str, error: &(dyn std::error::Error + 'static)) -> Problem {
    Problem::new(ProblemKind::Failed, what).because(error)
}

impl Switchboard {
    /// Founds a commons and enters it.
    pub(super) async fn found(
        &mut self,
        founding: Founding,
        events: mpsc::Sender<NetworkEvent>,
    ) -> Result<Reply, Problem> {
        self.must_be_alone()?;
        if founding.name.trim().is_empty() || founding.name.len() > limits::NAME_LEN_MAX {
            return Err(Problem::new(
                ProblemKind::Usage,
                "a commons needs a name of at most 128 bytes",
            ));
        }
        let charter = Charter {
            version: 1,
            name: founding.name,
            purpose: founding.purpose,
            founder: self.me,
            created: now(),
            admission: founding.admission,
            prices: PriceTable::DEFAULT,
            member_line: founding.member_line,
            caps: Caps::DEFAULT,
            windows: Windows::DEFAULT,
            rules: founding.rules,
        };
        let charter = Signed::sign(charter, &self.facts.key);
        let shown = DoorReply::Charter(Box::new(charter.clone())).to_bytes();
        DoorReply::from_bytes(&shown).map_err(|error| {
            Problem::new(
                ProblemKind::Usage,
                "purpose and rules are too long to be shown at the door",
            )
            .because(&error)
        })?;
        self.open_ledger(charter, None, Vec::new())?;
        self.go_on(&[], events).await?;
        Ok(Reply::Commons(Box::new(self.commons_reply()?)))
    }

    fn must_be_alone(&self) -> Result<(), Problem> {
        let Some(charter) = &self.charter else {
            return Ok(());
        };
        let name = &charter.trusted().name;
        Err(Problem::new(
            ProblemKind::Failed,
            format!("this home is already in the commons '{name}'"),
        )
        .hint("use another home (--home DIR), or 'hearth commons leave' first"))
    }

    /// Opens the ledger of a commons and writes the join entry; returns what the door wants to see.
    pub(super) fn enter(
        &mut self,
        charter: Signed<Charter>,
        invite: Option<InviteUse>,
        past: Vec<Entry>,
    ) -> Result<JoinPaper, Problem> {
        self.must_be_alone()?;
        let entry = self.open_ledger(charter, invite, past)?;
        let addrs = MemberAddrs {
            node: self.me,
            addrs: self.pulse.listening.clone(),
        };
        Ok(JoinPaper { entry, addrs })
    }

    fn open_ledger(
        &mut self,
        charter: Signed<Charter>,
        invite: Option<InviteUse>,
        past: Vec<Entry>,
    ) -> Result<Entry, Problem> {
        let value = charter.trusted().clone();
        let dir = self.facts.home.ledger_dir().join(value.id().to_string());
        let mut ledger = Ledger::open(&dir, value, self.facts.key.clone())
            .map_err(|error| failed("the ledger could not be opened", &error))?;
        self.fresh = ledger.book().head(&self.me).is_none();
        ledger
            .receive(past, now())
            .map_err(|error| failed("this key's own past could not be kept", &error))?;
        if ledger.book().head(&self.me).is_some() && !ledger.book().is_member(&self.me) {
            let what = "this key left this commons for good";
            return Err(
                Problem::new(ProblemKind::Failed, what).hint("another home has another key")
            );
        }
        let entry = match ledger
            .book()
            .suffix(&self.me, hearth_protocol::unit::Seq::FIRST, 1)
            .pop()
        {
            // A member that comes back to a home it left goes on in its own chain.
            Some(entry) => entry,
            None => ledger
                .write(Body::Join { invite }, now())
                .map_err(|error| failed("the join entry could not be written", &error))?,
        };
        self.ledger = Some(ledger);
        self.charter = Some(charter);
        Ok(entry)
    }

    /// Forgets the ledger just opened: the door stayed shut.
    pub(super) fn turned_away(&mut self) {
        let Some(charter) = self.charter.take() else {
            return;
        };
        self.ledger = None;
        if !self.fresh {
            // What this key wrote before stays: it may be all there is of it.
            return;
        }
        let dir = self
            .facts
            .home
            .ledger_dir()
            .join(charter.trusted().id().to_string());
        if let Err(error) = std::fs::remove_dir_all(&dir) {
            tracing::warn!(%error, "the unused ledger could not be removed");
        }
    }

    /// Starts the network of the commons whose ledger is open; if that fails, the node is in none.
    pub(super) async fn go_on(
        &mut self,
        members: &[MemberAddrs],
        events: mpsc::Sender<NetworkEvent>,
    ) -> Result<(), Problem> {
        let result = self.start_network(members, events).await;
        if result.is_err() {
            self.charter = None;
            self.ledger = None;
        }
        result
    }

    async fn start_network(
        &mut self,
        members: &[MemberAddrs],
        events: mpsc::Sender<NetworkEvent>,
    ) -> Result<(), Problem> {
        let Some(charter) = self.charter.clone() else {
            return Ok(());
        };
        let commons = charter.trusted().id();
        let config = NetworkConfig {
            seed: self.facts.key.seed(),
            commons,
            listen: vec![self.facts.config.network.listen],
            mdns: self.facts.config.network.mdns,
            frame_len_max: limits::FRAME_LEN_MAX,
            gossip_len_max: limits::GOSSIP_LEN_MAX,
            agent: format!("hearth/{}", env!("CARGO_PKG_VERSION")),
        };
        let network = network::start(config, events)
            .map_err(|error| failed("the network could not be started", &error))?;
        let listening = tokio::time::timeout(LISTEN_MAX, network.listening())
            .await
            .unwrap_or_default();
        self.store
            .set_charter(Some(&charter))
            .map_err(|error| failed("the commons could not be remembered", &error))?;
        self.rooms.network = Some(network);
        self.rooms.blobs.serve(commons);
        self.open_bounties(commons)
            .map_err(|error| failed("the notes about bounties could not be read", &error))?;
        self.pulse.listening.network = listening.into_iter().take(limits::ADDRS_MAX).collect();
        self.pulse.sync_due = now();
        let me = self.me;
        for member in members.iter().filter(|member| member.node != me) {
            // Who let us in is known to be a member before its chain is here.
            self.let_connect(member.node);
            self.locate(member.node, member.addrs.clone());
        }
        // The ticket is not asked for again: who let us in must be found after a crash, too.
        self.stored("noting members", |board| board.store.flush());
        self.after_entries();
        self.tell_shelf();
        Ok(())
    }

    /// Writes `Leave`; the node ends afterwards.
    pub(super) fn leave(&mut self) -> Result<Reply, Problem> {
        let name = self.commons_reply()?.charter.name;
        self.write(&Body::Leave).map_err(|cause| {
            Problem::new(ProblemKind::Failed, "leaving could not be written").cause(cause)
        })?;
        self.publish_entries();
        self.store
            .set_charter(None)
            .map_err(|error| failed("the commons could not be forgotten", &error))?;
        let what = format!("left '{name}'; its debts and credits stand, and the node has stopped");
        Ok(Reply::Done { what })
    }

    /// Makes a ticket.
    pub(super) fn invite(&self, uses: u32, life: Millis) -> Result<Reply, Problem> {
        let charter = self.commons_reply()?.charter;
        let allowed = match charter.admission {
            Admission::Open | Admission::InvitedByMembers => true,
            Admission::InvitedByFounder => charter.founder == self.me,
        };
        if !allowed {
            return Err(Problem::new(
                ProblemKind::Failed,
                "only the founder may invite to this commons",
            ));
        }
        if uses == 0 {
            return Err(Problem::new(
                ProblemKind::Usage,
                "a ticket needs at least one use",
            ));
        }
        let expires = now().plus(life);
        let secret = InviteSecret::from_seed(crate::chance::bytes());
        let invite = Invite {
            commons: charter.id(),
            issuer: self.me,
            key: secret.public(),
            expires,
            uses,
        };
        let invite = TicketInvite {
            invite: Signed::sign(invite, &self.facts.key),
            secret,
        };
        let ticket = Ticket {
            commons: charter.id(),
            name: charter.name.clone(),
            members: self.ticket_members(),
            invite: (charter.admission != Admission::Open).then_some(invite),
        };
        Ok(Reply::Ticket {
            ticket: ticket.to_string(),
            expires,
            uses,
        })
    }

    /// Oneself and a few connected members.
    fn ticket_members(&self) -> Vec<MemberAddrs> {
        let short = |mut member: MemberAddrs| {
            member.addrs.network.truncate(2);
            member.addrs.blobs.truncate(2);
            member
        };
        let me = MemberAddrs {
            node: self.me,
            addrs: self.pulse.listening.clone(),
        };
        let known = |node: &NodeId| {
            Some(MemberAddrs {
                node: *node,
                addrs: self.peers.addrs(node)?.clone(),
            })
        };
        let others = self.peers.connected().filter_map(known);
        std::iter::once(me)
            .chain(others)
            .take(3)
            .map(short)
            .collect()
    }

    /// Shows the commons.
    pub(super) fn commons_reply(&self) -> Result<CommonsReply, Problem> {
        let (Some(charter), Some(ledger)) = (&self.charter, &self.ledger) else {
            return Err(alone());
        };
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Ok(CommonsReply {
            id: charter.trusted().id(),
            charter: charter.trusted().clone(),
            members: count(ledger.book().members().len()),
            connected: count(self.peers.connected().count()),
        })
    }
}

/// Says that a commons is needed.
pub(super) fn alone() -> Problem {
    Problem::new(ProblemKind::Failed, "this node is in no commons")
        .hint("found one with 'hearth commons create NAME', or enter one with 'hearth commons join TICKET'")
}
