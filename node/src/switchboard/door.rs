//! The join door: what a stranger may ask, answered from ledger and charter.

use hearth_ledger::{Insertion, NoEffect, Standing, Wait};
use hearth_protocol::entry::{Body, Entry};
use hearth_protocol::id::{CommonsId, NodeId};
use hearth_protocol::limits;
use hearth_protocol::snapshot::TrustLevel;
use hearth_protocol::ticket::MemberAddrs;
use hearth_protocol::unit::{Millis, Seq};
use hearth_protocol::wire::{DoorRefusal, DoorReply, DoorRequest, Message};

use super::Switchboard;
use crate::blobs::DoorCall;
use crate::clock::now;

/// Entries of a returning member's chain in one answer: they fit the door's bound.
const CHAIN_PAGE: usize = 24;
/// Members named in a welcome, the answering one included.
const WELCOME_MEMBERS: usize = 8;

impl Switchboard {
    /// Answers a stranger; unreadable questions get no answer.
    pub(super) fn on_door(&mut self, call: DoorCall) {
        let reply = match DoorRequest::from_bytes(&call.request) {
            Ok(DoorRequest::Charter { commons }) => self.show_charter(commons),
            Ok(DoorRequest::Chain { commons, from }) => self.show_chain(call.peer, commons, from),
            Ok(DoorRequest::Join { entry, addrs }) => self.let_in(call.peer, *entry, addrs),
            Err(error) => return self.drop_message(Some(&call.peer), "door", &error),
        };
        if let DoorReply::Refused(refusal) = &reply {
            tracing::info!(peer = call.peer.short(), %refusal, "refused at the door");
        }
        // A stranger that hung up is no concern of ours.
        let _hung_up = call.reply.send(reply.to_bytes());
    }

    fn show_charter(&self, commons: CommonsId) -> DoorReply {
        match &self.charter {
            Some(charter) if charter.trusted().id() == commons => {
                DoorReply::Charter(Box::new(charter.clone()))
            }
            Some(_) | None => DoorReply::Refused(DoorRefusal::OtherCommons),
        }
    }

    /// A person who restored a key on another machine gets its own chain back, so that it goes on
    /// after it instead of forking.
    fn show_chain(&self, peer: NodeId, commons: CommonsId, from: Seq) -> DoorReply {
        match &self.ledger {
            Some(ledger) if ledger.book().commons() == commons => {
                let entries = ledger.book().suffix(&peer, from, CHAIN_PAGE);
                DoorReply::Chain { entries }
            }
            Some(_) | None => DoorReply::Refused(DoorRefusal::OtherCommons),
        }
    }

    fn let_in(&mut self, peer: NodeId, entry: Entry, addrs: MemberAddrs) -> DoorReply {
        match self.admit(peer, entry, addrs) {
            Ok(members) => DoorReply::Welcome { members },
            Err(refusal) => DoorReply::Refused(refusal),
        }
    }

    fn admit(
        &mut self,
        peer: NodeId,
        entry: Entry,
        addrs: MemberAddrs,
    ) -> Result<Vec<MemberAddrs>, DoorRefusal> {
        if self.peers.level(&peer) == TrustLevel::Blocked {
            return Err(DoorRefusal::Blocked);
        }
        let header = *entry.header.trusted();
        if header.author != peer || addrs.node != peer {
            return Err(DoorRefusal::EntryBad);
        }
        let join = matches!(entry.decode_body(), Ok(Body::Join { .. }));
        let ledger = self.ledger.as_mut().ok_or(DoorRefusal::OtherCommons)?;
        if header.commons != ledger.book().commons() {
            return Err(DoorRefusal::OtherCommons);
        }
        if !join {
            return Err(DoorRefusal::EntryBad);
        }
        let skew = ledger.book().charter().windows.skew;
        let apart = now()
            .since(header.time)
            .get()
            .max(header.time.since(now()).get());
        // A member that comes back shows the entry it joined with long ago.
        let is_known = ledger.book().contains(&header.hash());
        if !is_known && Millis::new(apart) > skew {
            return Err(DoorRefusal::ClockSkew);
        }
        if is_known && !ledger.book().is_member(&peer) {
            return Err(DoorRefusal::Left);
        }
        if !is_known && ledger.book().members().len() >= limits::MEMBERS_MAX {
            return Err(DoorRefusal::Full);
        }
        // Looked at first, so that a stranger whose join has no effect costs no disk.
        let standing = ledger
            .book()
            .preview_join(&entry)
            .map_err(|_| DoorRefusal::EntryBad)?;
        if let Some(refusal) = refusal(standing) {
            return Err(refusal);
        }
        let received = ledger
            .receive(vec![entry.clone()], now())
            .map_err(|_| DoorRefusal::Storage)?;
        if received.unsaved.is_some() {
            return Err(DoorRefusal::Storage);
        }
        let kept =
            |outcome: &Insertion| matches!(outcome, Insertion::Added { .. } | Insertion::Known);
        if !received.outcomes.iter().all(kept) {
            return Err(DoorRefusal::EntryBad);
        }
        tracing::info!(peer = peer.short(), "a new member joined");
        self.outbox.push(entry);
        self.locate(peer, addrs.addrs);
        self.after_entries();
        Ok(self.welcome(&peer))
    }

    fn welcome(&self, joiner: &NodeId) -> Vec<MemberAddrs> {
        let me = MemberAddrs {
            node: self.me,
            addrs: self.pulse.listening.clone(),
        };
        let others = self
            .peers
            .connected()
            .filter(|node| *node != joiner)
            .filter_map(|node| {
                Some(MemberAddrs {
                    node: *node,
                    addrs: self.peers.addrs(node)?.clone(),
                })
            });
        std::iter::once(me)
            .chain(others)
            .take(WELCOME_MEMBERS)
            .collect()
    }
}

fn refusal(standing: Standing) -> Option<DoorRefusal> {
    match standing {
        Standing::Effective => None,
        Standing::Waiting(
            Wait::Issuer | Wait::Target | Wait::Counterparty | Wait::Mirror | Wait::Branches,
        ) => Some(DoorRefusal::InviteBad),
        Standing::Without(reason) => Some(match reason {
            NoEffect::InviteNeeded => DoorRefusal::InviteNeeded,
            NoEffect::InviteExpired => DoorRefusal::InviteExpired,
            NoEffect::InviteUsedUp => DoorRefusal::InviteUsedUp,
            NoEffect::InviteIssuer | NoEffect::InviteSignature | NoEffect::InviteProof => {
                DoorRefusal::InviteBad
            }
            NoEffect::NotMember
            | NoEffect::Frozen
            | NoEffect::PastFork
            | NoEffect::Oneself
            | NoEffect::Left
            | NoEffect::Superseded
            | NoEffect::WrongTarget
            | NoEffect::TargetWithout
            | NoEffect::NotParty
            | NoEffect::NotFirstWord
            | NoEffect::AboveMax
            | NoEffect::BeforeOrder
            | NoEffect::AfterDeadline
            | NoEffect::TooEarly
            | NoEffect::Settled
            | NoEffect::Party
            | NoEffect::Closed
            | NoEffect::Sums
            | NoEffect::Open
            | NoEffect::Places
            | NoEffect::NotFounder
            | NoEffect::NoFork => DoorRefusal::EntryBad,
        }),
    }
}
