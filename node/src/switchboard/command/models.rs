//! Commands about models: what is kept, pinned, given up, published.

use std::collections::BTreeSet;

use hearth_protocol::card::Card;
use hearth_protocol::control::{Problem, Reply};
use hearth_protocol::id::CardId;
use hearth_protocol::sign::Signed;
use hearth_protocol::snapshot::CardView;
use hearth_protocol::wire::Message;

use super::{done, refused, usage};
use crate::clock::now;
use crate::network::Topic;
use crate::store::ShelfNote;
use crate::switchboard::Switchboard;
use crate::switchboard::ask::{CardDraft, SourceReply};
use crate::switchboard::errand::Source;

impl Switchboard {
    /// Finds the card a person means.
    pub(in crate::switchboard) fn model(&self, name: &str) -> Result<CardId, Problem> {
        self.shelf.find(name).map_err(|error| {
            refused(error.to_string()).hint(
                "'hearth model list' shows what there is; 'hearth model add PATH' adds a file",
            )
        })
    }

    pub(super) fn show_model(&self, id: CardId) -> Result<Reply, Problem> {
        let view = self
            .card_view(&id)
            .ok_or_else(|| refused("the card is gone"))?;
        Ok(Reply::Model(Box::new(view)))
    }

    pub(super) fn pin(&mut self, model: &str) -> Result<Reply, Problem> {
        let id = self.model(model)?;
        let mut note = self.shelf.note(&id);
        note.pinned = true;
        self.keep_note(id, note);
        self.stored("noting a pin", |board| board.store.flush());
        Ok(done(format!("{} is kept and served", self.title(&id))))
    }

    pub(in crate::switchboard) fn title(&self, id: &CardId) -> String {
        self.card_view(id)
            .map_or_else(|| id.short(), |view| view.title)
    }

    /// Gives a model's blobs up; files of the person's own are referenced and stay where they are.
    pub(super) fn give_up(&mut self, id: CardId) {
        let files = self
            .shelf
            .card(&id)
            .map(|card| card.trusted().files.clone())
            .unwrap_or_default();
        self.keep_note(id, ShelfNote::default());
        self.stored("noting a removal", |board| board.store.flush());
        let shared: BTreeSet<_> = self
            .shelf
            .complete()
            .iter()
            .filter_map(|other| self.shelf.card(other))
            .flat_map(|card| card.trusted().files.iter().map(|file| file.blob))
            .collect();
        let blobs = self.rooms.blobs.clone();
        tokio::spawn(async move {
            for file in files.iter().filter(|file| !shared.contains(&file.blob)) {
                if let Err(error) = blobs.unpin(file.blob).await {
                    tracing::warn!(%error, "a blob could not be given up");
                }
            }
            blobs.collect_garbage().await;
        });
        self.tell_shelf();
    }

    pub(super) fn unpin(&mut self, model: &str) -> Result<Reply, Problem> {
        let id = self.model(model)?;
        if !self.shelf.note(&id).pinned {
            return Ok(done(format!("{} was not pinned", self.title(&id))));
        }
        self.give_up(id);
        Ok(done(format!("{} is no longer kept here", self.title(&id))))
    }

    pub(super) fn remove_model(&mut self, model: &str) -> Result<Reply, Problem> {
        let id = self.model(model)?;
        self.give_up(id);
        let title = self.title(&id);
        Ok(done(format!(
            "{title} is no longer served from here; files of your own stay where they are"
        )))
    }

    pub(in crate::switchboard) fn publish_card(
        &mut self,
        draft: CardDraft,
    ) -> Result<CardView, Problem> {
        let mut card = draft.card;
        card.publisher = self.me;
        card.published = now();
        // The same files under the same title are the same card, whoever published it first.
        let same = self.shelf.cards().find(|(_, known)| {
            known.title == card.title
                && known.files == card.files
                && known.triggers == card.triggers
        });
        let id = if let Some((id, _)) = same {
            *id
        } else {
            let card = Signed::sign(card, &self.facts.key);
            let id = card.trusted().id();
            let bytes = card.to_bytes();
            Signed::<Card>::from_bytes(&bytes).map_err(|error| {
                usage("the card is too long for others to take").because(&error)
            })?;
            if !self.on_card(None, card) {
                return Err(refused("the card could not be kept")
                    .hint("see the log: 'hearth paths' says where"));
            }
            self.publish(Topic::Cards, bytes);
            id
        };
        let mut note = self.shelf.note(&id);
        note.pinned = true;
        self.keep_note(id, note);
        self.card_is_here(id);
        self.stored("noting a model", |board| board.store.flush());
        self.card_view(&id)
            .ok_or_else(|| refused("the card is gone"))
    }

    pub(in crate::switchboard) fn source(&self, name: &str) -> Result<SourceReply, Problem> {
        let id = self.model(name)?;
        let card = self
            .shelf
            .card(&id)
            .ok_or_else(|| refused("the card is gone"))?
            .trusted()
            .clone();
        let source = Source {
            id,
            card,
            seeders: self.peers.seeders(&id),
        };
        Ok(SourceReply {
            source,
            answers: self.rooms.answers.clone(),
        })
    }
}
