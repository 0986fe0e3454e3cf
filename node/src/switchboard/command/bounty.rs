//! Commands about bounties: what a person wants, promises, claims, awards and pays.

use std::cmp::Reverse;

use hearth_ledger::bounty::paid;
use hearth_ledger::{Bounties, Bounty, BountyStage, Ledger, NoteRefusal, Share};
use hearth_protocol::bounty::{BountyAward, BountyClaim, BountyNote, BountyOpen, BountyPledge};
use hearth_protocol::control::{
    BountyCommand, BountyRequest, BountyState, BountyView, ClaimView, ModelRef, PledgeView,
    Problem, Reply,
};
use hearth_protocol::entry::{Body, TransferReason};
use hearth_protocol::id::{BlobHash, BountyId, NodeId};
use hearth_protocol::limits;
use hearth_protocol::unit::{Balance, Millikudos, Timestamp};

use super::{done, refused, usage};
use crate::clock::now;
use crate::switchboard::Switchboard;
use crate::switchboard::bounties::NoteError;
use crate::switchboard::commons::alone;
use crate::switchboard::peers::plain;

/// Digits of an id that name a bounty at least.
const DIGITS_MIN: usize = 4;

impl Switchboard {
    /// Does what a person asks about bounties.
    pub(super) fn bounty(&mut self, command: BountyCommand) -> Result<Reply, Problem> {
        match command {
            BountyCommand::Open(request) => self.open_bounty(*request),
            BountyCommand::List { all } => self.list_bounties(all),
            BountyCommand::Show { bounty } => self.show_bounty(&self.bounty_named(&bounty)?),
            BountyCommand::Back { bounty, amount } => self.back_bounty(&bounty, amount),
            BountyCommand::Claim {
                bounty,
                text,
                model,
                blob,
            } => self.claim_bounty(&bounty, text, model.as_ref(), blob),
            BountyCommand::Award {
                bounty,
                peer,
                amount,
            } => self.award_bounty(&bounty, &peer, amount),
        }
    }

    fn board(&self) -> Result<&Bounties, Problem> {
        self.bounties.as_ref().ok_or_else(alone)
    }

    fn shares(&self) -> Vec<Share> {
        let book = self.ledger.as_ref().map(Ledger::book);
        book.map_or_else(Vec::new, |book| book.bounty_shares())
    }

    /// Finds the one bounty a person means.
    fn bounty_named(&self, name: &str) -> Result<BountyId, Problem> {
        let lower = name.to_lowercase();
        let is_meant =
            |id: &BountyId| lower.len() >= DIGITS_MIN && id.to_string().starts_with(&lower);
        let mut fits = self.board()?.ids();
        fits.retain(is_meant);
        match fits.as_slice() {
            [one] => Ok(*one),
            [] => Err(refused(format!("no bounty '{}'", plain(name))).hint(
                "'hearth ledger bounty list --all' shows them; four digits of an id are enough",
            )),
            several => {
                let ids: Vec<String> = several.iter().map(BountyId::short).collect();
                Err(
                    refused(format!("'{}' fits {} bounties", plain(name), several.len()))
                        .cause(format!("they are {}", ids.join(", ")))
                        .hint("give more digits"),
                )
            }
        }
    }

    fn bounty_of(&self, id: &BountyId) -> Result<Bounty<'_>, Problem> {
        let found = self.board()?.get(id);
        found.ok_or_else(|| refused(format!("bounty {} was forgotten", id.short())))
    }

    fn open_bounty(&mut self, request: BountyRequest) -> Result<Reply, Problem> {
        let commons = self.ledger.as_ref().ok_or_else(alone)?.book().commons();
        if request.title.len() > limits::NAME_LEN_MAX || request.title != plain(&request.title) {
            let most = limits::NAME_LEN_MAX;
            return Err(usage(format!(
                "a title has at most {most} bytes and no control characters"
            ))
            .hint("--text has room for more"));
        }
        check_text(&request.text)?;
        if let Some(amount) = request.pledge {
            self.must_afford(amount, "pledge")?;
        }
        let created = now();
        let note = BountyNote::Open(BountyOpen {
            commons,
            author: self.me,
            title: request.title,
            text: request.text,
            until: created.plus(request.life),
            created,
        });
        let bounty = note.bounty();
        self.say(note, "the bounty could not be opened")?;
        if let Some(amount) = request.pledge.filter(|amount| amount.get() > 0) {
            self.pledge(bounty, amount)?;
        }
        self.show_bounty(&bounty)
    }

    fn say(&mut self, note: BountyNote, what: &str) -> Result<(), Problem> {
        match self.say_of_bounty(note) {
            Ok(_) => Ok(()),
            Err(error) => Err(unsaid(what, &error)),
        }
    }

    fn pledge(&mut self, bounty: BountyId, amount: Millikudos) -> Result<(), Problem> {
        let note = BountyNote::Pledge(BountyPledge {
            bounty,
            author: self.me,
            amount,
            created: now(),
        });
        self.say(note, "the pledge could not be made")
    }

    fn back_bounty(&mut self, name: &str, amount: Millikudos) -> Result<Reply, Problem> {
        let id = self.bounty_named(name)?;
        if amount == Millikudos::ZERO {
            return Err(usage("a pledge of nothing promises nothing"));
        }
        let bounty = self.bounty_of(&id)?;
        must_be_open(&bounty)?;
        let mut pledges = bounty.pledges.iter();
        let said = pledges.find(|pledge| pledge.author == self.me);
        if let Some(said) = said.filter(|said| said.amount >= amount) {
            let what = format!("this node pledged {} kudos already", said.amount);
            return Err(
                refused(what).cause("a pledge names the whole sum: it can be raised, not lowered")
            );
        }
        self.must_afford(amount, "pledge")?;
        self.pledge(id, amount)?;
        self.show_bounty(&id)
    }

    fn claim_bounty(
        &mut self,
        name: &str,
        text: String,
        model: Option<&ModelRef>,
        blob: Option<BlobHash>,
    ) -> Result<Reply, Problem> {
        let id = self.bounty_named(name)?;
        check_text(&text)?;
        let blob = match model {
            Some(model) => {
                let card = self.model(model)?;
                let files = self.shelf.card(&card).map(|card| &card.trusted().files);
                files.and_then(|files| files.first()).map(|file| file.blob)
            }
            None => blob,
        };
        let bounty = self.bounty_of(&id)?;
        must_be_open(&bounty)?;
        if bounty.open.author == self.me {
            return Err(refused("this node opened that bounty itself")
                .cause(NoteRefusal::Oneself.to_string()));
        }
        let note = BountyNote::Claim(BountyClaim {
            bounty: id,
            author: self.me,
            text,
            blob,
            created: now(),
        });
        self.say(note, "the claim could not be made")?;
        self.show_bounty(&id)
    }

    /// By the opener: its word and what it pledged. By a backer: what it pledged, to who was awarded.
    fn award_bounty(
        &mut self,
        name: &str,
        peer: &str,
        amount: Option<Millikudos>,
    ) -> Result<Reply, Problem> {
        let id = self.bounty_named(name)?;
        let to = self.peer(peer)?;
        let bounty = self.bounty_of(&id)?;
        let is_opener = bounty.open.author == self.me;
        let is_awarded = bounty.is_awarded_to(&to);
        self.must_be_payable(&bounty, &to)?;
        let shares = self.shares();
        let amount = amount.unwrap_or_else(|| bounty.due(&self.me, &shares));
        if amount == Millikudos::ZERO && (!is_opener || is_awarded) {
            return Err(self.nothing_due(&id, &shares));
        }
        self.must_afford(amount, "pay")?;
        self.must_be_writing()?;
        if is_opener && !is_awarded {
            let note = BountyNote::Award(BountyAward {
                bounty: id,
                author: self.me,
                claimant: to,
                created: now(),
            });
            self.say(note, "the award could not be made")?;
        }
        let name = self.peers.name(&to);
        if amount == Millikudos::ZERO {
            return Ok(done(format!("awarded bounty {} to {name}", id.short())));
        }
        let reason = TransferReason::Bounty { id };
        let entry = self
            .write(&Body::Transfer { to, amount, reason })
            .map_err(|cause| refused("the share could not be written").cause(cause))?;
        Ok(Reply::Wrote {
            entry: entry.hash(),
            what: format!("paid {amount} kudos to {name} for bounty {}", id.short()),
        })
    }

    fn must_be_payable(&self, bounty: &Bounty<'_>, to: &NodeId) -> Result<(), Problem> {
        let (id, name) = (bounty.id.short(), self.peers.name(to));
        if *to == self.me {
            return Err(usage("one cannot pay oneself"));
        }
        if !bounty.claims.iter().any(|claim| claim.author == *to) {
            return Err(refused(format!("{name} has not claimed bounty {id}"))
                .hint(format!("'hearth ledger bounty show {id}' lists who has")));
        }
        if bounty.open.author != self.me && !bounty.is_awarded_to(to) {
            let opener = self.peers.name(&bounty.open.author);
            return Err(refused(format!("bounty {id} is not awarded to {name}"))
                .cause(format!("only {opener}, who opened it, awards it"))
                .hint("backers pay once it is; 'hearth ledger give' needs no award"));
        }
        Ok(())
    }

    /// An award must not be told when its payment cannot be written.
    fn must_be_writing(&self) -> Result<(), Problem> {
        let is_forked = |ledger: &Ledger| ledger.book().is_forked(&self.me);
        if self.ledger.as_ref().is_some_and(is_forked) {
            let cause = hearth_ledger::WriteError::Forked.to_string();
            return Err(refused("the share could not be written").cause(cause));
        }
        Ok(())
    }

    fn nothing_due(&self, id: &BountyId, shares: &[Share]) -> Problem {
        let paid = paid(shares, id, &self.me);
        let hint = "name an amount to pay all the same: hearth ledger bounty award ID MEMBER KUDOS";
        if paid > Balance::ZERO {
            refused(format!("this node has paid what it pledged: {paid} kudos")).hint(hint)
        } else {
            refused("this node pledged nothing for that bounty").hint(hint)
        }
    }

    fn list_bounties(&self, all: bool) -> Result<Reply, Problem> {
        let board = self.board()?;
        let (shares, at) = (self.shares(), now());
        let is_live = |stage| match stage {
            BountyStage::Open | BountyStage::Awarded => true,
            BountyStage::Over | BountyStage::Paid => all,
        };
        let ids = board.ids();
        let found = ids.iter().filter_map(|id| board.get(id));
        let shown = found.filter(|bounty| is_live(bounty.stage(&shares, at)));
        let mut bounties: Vec<BountyView> = shown
            .map(|bounty| self.bounty_view(&bounty, &shares, at))
            .collect();
        bounties.sort_by_key(|view| (Reverse(view.opened), view.bounty));
        Ok(Reply::Bounties { bounties })
    }

    fn show_bounty(&self, id: &BountyId) -> Result<Reply, Problem> {
        let view = self.bounty_view(&self.bounty_of(id)?, &self.shares(), now());
        Ok(Reply::Bounty(Box::new(view)))
    }

    fn bounty_view(&self, bounty: &Bounty<'_>, shares: &[Share], at: Timestamp) -> BountyView {
        let open = bounty.open;
        let ours = || shares.iter().filter(|share| share.bounty == bounty.id);
        let sum = |amounts: &mut dyn Iterator<Item = Millikudos>| {
            amounts.fold(Balance::ZERO, Balance::plus)
        };
        let claims = bounty.claims.iter().map(|claim| ClaimView {
            node: claim.author,
            name: self.name_of(&claim.author),
            time: claim.created,
            text: lines(&claim.text),
            blob: claim.blob,
            model: claim.blob.and_then(|blob| self.title_of(&blob)),
            awarded: bounty.is_awarded_to(&claim.author),
            received: sum(&mut ours()
                .filter(|share| share.to == claim.author)
                .map(|share| share.amount)),
        });
        BountyView {
            bounty: bounty.id,
            title: plain(&open.title),
            text: lines(&open.text),
            opener: open.author,
            opener_name: self.name_of(&open.author),
            own: open.author == self.me,
            opened: open.created,
            until: open.until,
            state: state(bounty.stage(shares, at)),
            pledged: bounty.pledged(),
            paid: sum(&mut ours().map(|share| share.amount)),
            due: bounty.due(&self.me, shares),
            pledges: self.pledge_views(bounty, shares),
            claims: claims.collect(),
        }
    }

    fn pledge_views(&self, bounty: &Bounty<'_>, shares: &[Share]) -> Vec<PledgeView> {
        let view = |node: NodeId, amount| PledgeView {
            node,
            name: self.name_of(&node),
            amount,
            paid: paid(shares, &bounty.id, &node),
        };
        let mut views: Vec<PledgeView> = bounty
            .pledges
            .iter()
            .map(|pledge| view(pledge.author, pledge.amount))
            .collect();
        for share in shares.iter().filter(|share| share.bounty == bounty.id) {
            if views.iter().all(|view| view.node != share.from) {
                views.push(view(share.from, Millikudos::ZERO));
            }
        }
        views
    }

    fn title_of(&self, blob: &BlobHash) -> Option<String> {
        let mut cards = self.shelf.cards();
        let (_, card) = cards.find(|(_, card)| card.files.iter().any(|file| file.blob == *blob))?;
        Some(plain(&card.title))
    }
}

fn check_text(text: &str) -> Result<(), Problem> {
    let most = limits::BOUNTY_TEXT_LEN_MAX;
    if text.len() > most {
        let got = text.len();
        return Err(usage(format!(
            "a text of {got} bytes, where {most} are allowed"
        )));
    }
    Ok(())
}

fn must_be_open(bounty: &Bounty<'_>) -> Result<(), Problem> {
    if now() > bounty.open.until {
        return Err(refused(format!("bounty {} is over", bounty.id.short()))
            .cause("pledges and claims count until its end")
            .hint("what was pledged can still be paid to who was awarded"));
    }
    Ok(())
}

fn unsaid(what: &str, error: &NoteError) -> Problem {
    let problem = match error {
        NoteError::Refused(NoteRefusal::Life | NoteRefusal::Empty) => usage(what),
        NoteError::Refused(_) | NoteError::Known | NoteError::Early | NoteError::Store(_) => {
            refused(what)
        }
    };
    let problem = problem.because(error);
    match error {
        NoteError::Refused(NoteRefusal::AuthorFull | NoteRefusal::Full) => {
            problem.hint("bounties are forgotten 30 days after their end, and make room")
        }
        NoteError::Refused(_) | NoteError::Known | NoteError::Early | NoteError::Store(_) => {
            problem
        }
    }
}

const fn state(stage: BountyStage) -> BountyState {
    match stage {
        BountyStage::Open => BountyState::Open,
        BountyStage::Over => BountyState::Over,
        BountyStage::Awarded => BountyState::Awarded,
        BountyStage::Paid => BountyState::Paid,
    }
}

/// Text of others on several lines, without what could move a terminal's cursor.
fn lines(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control() || *c == '\n')
        .collect()
}
