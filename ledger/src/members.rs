//! Who is a member: the joins that have an effect, and who left.
//!
//! Membership grows from the founder along invites, so it is computed from the root: two nodes
//! that invite each other let nobody in. A fork does not undo a join, or debts would vanish with
//! a second join at seq 0.

use std::collections::{BTreeMap, BTreeSet};

use hearth_protocol::charter::{Admission, Charter};
use hearth_protocol::codec;
use hearth_protocol::entry::InviteUse;
use hearth_protocol::id::{CommonsId, EntryHash, NodeId};
use hearth_protocol::sign::{self, Domain};
use hearth_protocol::unit::{Seq, Timestamp};

use crate::standing::{NoEffect, Standing, Wait};

type InviteId = [u8; 32];

/// What a join rests on, as far as it can be told from the join alone.
#[derive(Debug, Clone, Copy)]
enum Ground {
    Free,
    Invited(InviteId),
    None(NoEffect),
}

#[derive(Debug, Clone)]
struct Uses {
    issuer: NodeId,
    allowed: usize,
    joins: BTreeSet<(Timestamp, EntryHash)>,
}

impl Uses {
    /// Returns the joins that count: the first by (date, hash).
    fn winners(&self) -> impl Iterator<Item = &EntryHash> {
        self.joins.iter().take(self.allowed).map(|(_, hash)| hash)
    }
}

#[derive(Debug, Clone, Copy)]
struct Join {
    author: NodeId,
    ground: Ground,
}

/// The joins and leaves of one commons.
#[derive(Debug, Clone, Default)]
pub(crate) struct Members {
    joins: BTreeMap<EntryHash, Join>,
    invites: BTreeMap<InviteId, Uses>,
    by_issuer: BTreeMap<NodeId, BTreeSet<InviteId>>,
    joined: BTreeSet<NodeId>,
    leaves: BTreeMap<NodeId, BTreeSet<Seq>>,
}

/// Checks an invite and its proof for one joiner.
fn check_invite(
    used: &InviteUse,
    author: &NodeId,
    time: Timestamp,
    charter: &Charter,
    commons: CommonsId,
) -> Result<(), NoEffect> {
    let invite = used.invite.trusted();
    let by_founder_only = charter.admission == Admission::InvitedByFounder;
    if invite.commons != commons || (by_founder_only && invite.issuer != charter.founder) {
        return Err(NoEffect::InviteIssuer);
    }
    let key = invite.key.as_bytes();
    used.invite
        .verify()
        .map_err(|_| NoEffect::InviteSignature)?;
    sign::verify(key, Domain::InviteProof, author.as_bytes(), &used.proof)
        .map_err(|_| NoEffect::InviteProof)?;
    if time > invite.expires {
        return Err(NoEffect::InviteExpired);
    }
    Ok(())
}

/// Says what a join rests on.
fn ground(
    invite: Option<&InviteUse>,
    author: &NodeId,
    time: Timestamp,
    charter: &Charter,
    commons: CommonsId,
) -> Ground {
    if charter.admission == Admission::Open || *author == charter.founder {
        return Ground::Free;
    }
    let Some(used) = invite else {
        return Ground::None(NoEffect::InviteNeeded);
    };
    match check_invite(used, author, time, charter, commons) {
        Ok(()) => Ground::Invited(invite_id(used)),
        Err(reason) => Ground::None(reason),
    }
}

fn invite_id(used: &InviteUse) -> InviteId {
    *blake3::hash(&codec::encode(used.invite.trusted())).as_bytes()
}

/// A join to be judged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Joining<'a> {
    pub(crate) hash: EntryHash,
    pub(crate) author: NodeId,
    pub(crate) time: Timestamp,
    pub(crate) invite: Option<&'a InviteUse>,
}

impl Members {
    /// Returns whether the node's join has an effect, whether or not it left later.
    pub(crate) fn has_joined(&self, node: &NodeId) -> bool {
        self.joined.contains(node)
    }

    pub(crate) fn joined(&self) -> impl Iterator<Item = &NodeId> {
        self.joined.iter()
    }

    /// Returns the place of the node's first leave.
    pub(crate) fn left(&self, node: &NodeId) -> Option<Seq> {
        self.leaves.get(node)?.first().copied()
    }

    pub(crate) fn add_leave(&mut self, author: NodeId, seq: Seq) {
        self.leaves.entry(author).or_default().insert(seq);
    }

    /// Takes a join in; returns whose membership changed.
    pub(crate) fn add_join(
        &mut self,
        joining: &Joining<'_>,
        charter: &Charter,
        commons: CommonsId,
    ) -> BTreeSet<NodeId> {
        let Joining {
            hash,
            author,
            time,
            invite,
        } = *joining;
        let ground = ground(invite, &author, time, charter, commons);
        self.joins.insert(hash, Join { author, ground });
        match (ground, invite) {
            (Ground::Free, _) => self.admit(author),
            (Ground::Invited(id), Some(used)) => {
                let invite = used.invite.trusted();
                self.by_issuer.entry(invite.issuer).or_default().insert(id);
                let uses = self.invites.entry(id).or_insert_with(|| Uses {
                    issuer: invite.issuer,
                    allowed: usize::try_from(invite.uses).unwrap_or(usize::MAX),
                    joins: BTreeSet::new(),
                });
                uses.joins.insert((time, hash));
                if uses.joins.len() > uses.allowed {
                    self.recompute()
                } else if self.joined.contains(&invite.issuer) {
                    self.admit(author)
                } else {
                    BTreeSet::new()
                }
            }
            (Ground::Invited(_) | Ground::None(_), _) => BTreeSet::new(),
        }
    }

    /// Adds a member and whoever its invites let in.
    fn admit(&mut self, author: NodeId) -> BTreeSet<NodeId> {
        let mut added = BTreeSet::new();
        let mut waiting = vec![author];
        while let Some(node) = waiting.pop() {
            if !self.joined.insert(node) {
                continue;
            }
            added.insert(node);
            for id in self.by_issuer.get(&node).into_iter().flatten() {
                let winners = self.invites.get(id).into_iter().flat_map(Uses::winners);
                waiting.extend(winners.filter_map(|hash| Some(self.joins.get(hash)?.author)));
            }
        }
        added
    }

    /// Computes membership from the root, because a use of an invite changed hands.
    fn recompute(&mut self) -> BTreeSet<NodeId> {
        let before = std::mem::take(&mut self.joined);
        let free: Vec<NodeId> = self
            .joins
            .values()
            .filter(|join| matches!(join.ground, Ground::Free))
            .map(|join| join.author)
            .collect();
        for author in free {
            self.admit(author);
        }
        before.symmetric_difference(&self.joined).copied().collect()
    }

    /// Says what a stored join does.
    pub(crate) fn standing(&self, hash: &EntryHash) -> Standing {
        let Some(join) = self.joins.get(hash) else {
            return Standing::Without(NoEffect::NotMember);
        };
        match join.ground {
            Ground::Free => Standing::Effective,
            Ground::None(reason) => Standing::Without(reason),
            Ground::Invited(id) => match self.invites.get(&id) {
                Some(uses) if !uses.winners().any(|winner| winner == hash) => {
                    Standing::Without(NoEffect::InviteUsedUp)
                }
                Some(uses) if self.joined.contains(&uses.issuer) => Standing::Effective,
                Some(_) | None => Standing::Waiting(Wait::Issuer),
            },
        }
    }

    /// Says what a join would do if it arrived now.
    pub(crate) fn preview(
        &self,
        joining: &Joining<'_>,
        charter: &Charter,
        commons: CommonsId,
    ) -> Standing {
        let Joining {
            hash,
            author,
            time,
            invite,
        } = *joining;
        if self.joins.contains_key(&hash) {
            return self.standing(&hash);
        }
        match (ground(invite, &author, time, charter, commons), invite) {
            (Ground::None(reason), _) => Standing::Without(reason),
            (Ground::Invited(id), Some(used)) => {
                let invite = used.invite.trusted();
                let allowed = usize::try_from(invite.uses).unwrap_or(usize::MAX);
                let earlier = self.invites.get(&id).map_or(0, |uses| {
                    uses.joins.range(..(time, hash)).take(allowed).count()
                });
                if earlier >= allowed {
                    Standing::Without(NoEffect::InviteUsedUp)
                } else if self.joined.contains(&invite.issuer) {
                    Standing::Effective
                } else {
                    Standing::Waiting(Wait::Issuer)
                }
            }
            (Ground::Free | Ground::Invited(_), _) => Standing::Effective,
        }
    }
}
