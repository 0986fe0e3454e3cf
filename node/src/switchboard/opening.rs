//! Takes up where the last process stopped: charter, ledger, cards, jobs, work.

use std::collections::BTreeMap;

use hearth_dispatch::{Dispatcher, Event, JobRecord, WorkRecord, WorkStage};
use hearth_ledger::{Ledger, OpenError};
use hearth_protocol::card::Card;
use hearth_protocol::charter::Charter;
use hearth_protocol::control::Problem;
use hearth_protocol::id::JobId;
use hearth_protocol::job::OutputRef;
use hearth_protocol::sign::Signed;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::asking::Asking;
use super::jobs::{JobDesk, OverJob, StoredJob, Wishes};
use super::peers::PeerBook;
use super::shelf::Shelf;
use super::{Facts, Inbox, Pulse, Rooms, Switchboard};
use crate::specs::Specs;
use crate::store::{Store, StoreError, Table};

/// What a switchboard is made of.
pub(crate) struct Opening {
    /// Facts that hold while the process runs.
    pub(crate) facts: Facts,
    /// The store.
    pub(crate) store: Store,
    /// The commons this home is in.
    pub(crate) charter: Option<Signed<Charter>>,
    /// Cards of models that lie here from the start.
    pub(crate) builtin: Vec<Signed<Card>>,
    /// A dispatcher that knows nobody yet.
    pub(crate) dispatcher: Dispatcher,
}

/// Why the past could not be taken up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpeningError {
    /// The ledger.
    #[error("the ledger cannot be opened")]
    Ledger(#[from] OpenError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The folder of job specs.
    #[error("the folder of job specs cannot be used")]
    Specs(#[source] std::io::Error),
    /// The network.
    #[error("the commons cannot be entered again")]
    Network(#[source] Problem),
}

impl Switchboard {
    /// Opens ledger and notes, and the network when the home is in a commons.
    pub(crate) async fn open(
        opening: Opening,
        rooms: Rooms,
        inbox: &Inbox,
    ) -> Result<Self, OpeningError> {
        let Opening {
            facts,
            store,
            charter,
            builtin,
            dispatcher,
        } = opening;
        let specs = Specs::open(&facts.home.specs_dir()).map_err(OpeningError::Specs)?;
        let ledger = match &charter {
            Some(charter) => {
                let charter = charter.trusted().clone();
                let dir = facts.home.ledger_dir().join(charter.id().to_string());
                Some(Ledger::open(&dir, charter, facts.key.clone())?)
            }
            None => None,
        };
        let (records, wishes) = open_jobs(&store, &specs)?;
        let over: Vec<OverJob> = values(&store, Table::Reports)?;
        let work: Vec<WorkRecord> = values(&store, Table::Work)?;
        let mut pulse = Pulse::default();
        let listening = rooms.blobs.addrs();
        pulse.listening.blobs = listening.iter().map(ToString::to_string).collect();
        let mut board = Self {
            me: facts.key.id(),
            peers: PeerBook::new(store.peers()?, store.addrs()?),
            terms: store.terms()?,
            shelf: Shelf::new(store.cards()?, store.shelf()?),
            jobs: JobDesk::new(wishes, over),
            facts,
            store,
            specs,
            charter,
            ledger,
            bounties: None,
            dispatcher,
            transfers: BTreeMap::new(),
            fetches: BTreeMap::new(),
            runs: BTreeMap::new(),
            storing: BTreeMap::new(),
            outputs: BTreeMap::new(),
            rooms,
            asking: Asking::default(),
            outbox: Vec::new(),
            fresh: false,
            pulse,
        };
        board.put_builtin(builtin);
        board.check_shelf().await;
        board.tell_shelf();
        board.open_outputs(&work);
        board.dispatch(Event::Restore {
            jobs: records,
            work,
        });
        board
            .go_on(&[], inbox.network_sender.clone())
            .await
            .map_err(OpeningError::Network)?;
        Ok(board)
    }

    /// A file that was moved away while the node was off is no longer served.
    async fn check_shelf(&mut self) {
        for id in self.shelf.complete() {
            let Some(card) = self.shelf.card(&id).map(|card| card.trusted().clone()) else {
                continue;
            };
            let mut whole = true;
            for file in &card.files {
                whole &= super::errand::is_here(&self.rooms.blobs, file).await;
            }
            if !whole {
                tracing::warn!(
                    title = card.title,
                    "a model's files are gone: no longer served"
                );
                let mut note = self.shelf.note(&id);
                note.complete = false;
                self.keep_note(id, note);
            }
        }
    }

    /// Opens delivered outputs to their requesters again.
    fn open_outputs(&mut self, work: &[WorkRecord]) {
        for record in work {
            let outputs: &[OutputRef] = match &record.stage {
                WorkStage::Stored(deliverable) => &deliverable.outputs,
                WorkStage::Delivered(done) => &done.outputs,
                WorkStage::Accepted | WorkStage::Received | WorkStage::Failed(_) => &[],
            };
            for output in outputs {
                self.rooms.blobs.grant(output.blob, record.requester);
            }
            if !outputs.is_empty() {
                let hashes = outputs.iter().map(|output| output.blob).collect();
                self.outputs.insert(record.order, hashes);
            }
        }
    }
}

impl Switchboard {
    /// Puts cards on the shelf whose files are here; they are not kept in the store, as they come again.
    fn put_builtin(&mut self, cards: Vec<Signed<Card>>) {
        for card in cards {
            let id = card.trusted().id();
            self.shelf.add(card);
            let mut note = self.shelf.note(&id);
            note.complete = true;
            note.pinned = true;
            self.shelf.set_note(id, note);
        }
    }
}

fn values<T: Serialize + DeserializeOwned>(
    store: &Store,
    table: Table,
) -> Result<Vec<T>, StoreError> {
    let all = store.all(table)?.into_iter();
    Ok(all.map(|(_, value)| value).collect())
}

type OpenJobs = (Vec<JobRecord>, BTreeMap<JobId, Wishes>);

fn open_jobs(store: &Store, specs: &Specs) -> Result<OpenJobs, StoreError> {
    let mut records = Vec::new();
    let mut wishes = BTreeMap::new();
    for (_, stored) in store.all::<StoredJob>(Table::Jobs)? {
        let StoredJob {
            mut record,
            wishes: wish,
        } = stored;
        record.spec = specs.load(&record.job).map(Box::new);
        wishes.insert(record.job, wish);
        records.push(record);
    }
    Ok((records, wishes))
}
