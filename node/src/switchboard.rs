//! Routes: events of the rooms go to ledger and dispatch, their effects go back to the rooms.
//!
//! One thread owns book, dispatcher and store, so nothing is shared and nothing is locked. Events
//! come through bounded queues; after a handful of them everything that must be durable is, and
//! only then anything leaves. Holds no rule: those are in `hearth-ledger` and `hearth-dispatch`.
//! Start at [`Switchboard::run`].

mod ask;
mod asking;
mod bounties;
mod carry;
mod command;
mod commons;
mod doctor;
mod door;
pub(crate) mod errand;
mod fork;
mod gossip;
mod jobs;
mod lens;
mod opening;
mod peers;
mod shelf;
mod sync;
mod thanks;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hearth_dispatch::{CallId, Dispatcher, Event};
use hearth_ledger::{Bounties, Ledger};
use hearth_protocol::capacity::{Device, NodeAddrs};
use hearth_protocol::charter::Charter;
use hearth_protocol::credit::PolicyTerms;
use hearth_protocol::entry::Entry;
use hearth_protocol::id::{BlobHash, CardId, EntryHash, NodeId};
use hearth_protocol::sign::{NodeKey, Signed};
use hearth_protocol::snapshot::{Notice, TransferView};
use hearth_protocol::unit::{Millis, Timestamp};
use tokio::sync::{broadcast, mpsc};
use tokio::task::AbortHandle;

pub(crate) use ask::{Ask, CardDraft, Desk, SourceReply};
use asking::Asking;
use carry::Run;
use errand::{Answer, Answers};
use jobs::JobDesk;
use lens::Lens;
pub(crate) use opening::{Opening, OpeningError};
use peers::PeerBook;
use shelf::Shelf;

use crate::blobs::{Blobs, DoorCall, Served};
use crate::clock::now;
use crate::config::Config;
use crate::engine::{Choice, EngineHandle, EngineReport};
use crate::home::Home;
use crate::meter::Meter;
use crate::network::{NetworkEvent, NetworkHandle};
use crate::specs::Specs;
use crate::store::Store;

/// Events taken up before effects are carried out: one sync serves them all.
const GROUP_MAX: usize = 64;
/// How often one random member is asked for its heads.
const SYNC_PERIOD: Millis = Millis::from_secs(45);
/// Small changes of capacity wait this long for others.
const ADVERT_DELAY: Millis = Millis::new(250);
/// What members tell of themselves (addresses, cards) is on disk after this long at the latest.
const FLUSH_DELAY: Millis = Millis::new(250);

/// What the switchboard talks to.
pub(crate) struct Rooms {
    /// Blobs and the join door.
    pub(crate) blobs: Blobs,
    /// Members; only in a commons.
    pub(crate) network: Option<NetworkHandle>,
    /// The engine process.
    pub(crate) engine: EngineHandle,
    /// Who watches.
    pub(crate) notices: broadcast::Sender<Notice>,
    /// Where errands answer.
    pub(crate) answers: Answers,
}

/// What talks to the switchboard.
pub(crate) struct Inbox {
    /// Members.
    pub(crate) network: mpsc::Receiver<NetworkEvent>,
    /// Handed to the network when a commons is entered.
    pub(crate) network_sender: mpsc::Sender<NetworkEvent>,
    /// Strangers.
    pub(crate) door: mpsc::Receiver<DoorCall>,
    /// Uploads.
    pub(crate) served: mpsc::Receiver<Served>,
    /// The engine process.
    pub(crate) engine: mpsc::Receiver<EngineReport>,
    /// Errands.
    pub(crate) answers: mpsc::Receiver<Answer>,
    /// The person.
    pub(crate) asks: mpsc::Receiver<Ask>,
}

/// Facts that hold while the process runs.
pub(crate) struct Facts {
    /// The key.
    pub(crate) key: NodeKey,
    /// The home.
    pub(crate) home: Home,
    /// The configuration.
    pub(crate) config: Config,
    /// What computes.
    pub(crate) device: Device,
    /// Which program does, and why; nothing until that is known.
    pub(crate) engine: Option<Choice>,
    /// What measures the energy it takes.
    pub(crate) meter: Option<Meter>,
    /// When the process started.
    pub(crate) started: Timestamp,
}

/// What is being counted and waited for.
#[derive(Debug, Default)]
struct Pulse {
    advert_due: Option<Timestamp>,
    sync_due: Timestamp,
    flush_due: Option<Timestamp>,
    dropped: BTreeMap<String, u64>,
    listening: NodeAddrs,
    energy_mj: u64,
    allowed: BTreeSet<NodeId>,
    turn: u64,
}

/// The single owner.
pub(crate) struct Switchboard {
    me: NodeId,
    facts: Facts,
    store: Store,
    specs: Specs,
    charter: Option<Signed<Charter>>,
    ledger: Option<Ledger>,
    bounties: Option<Bounties>,
    dispatcher: Dispatcher,
    peers: PeerBook,
    /// How the owner lends.
    terms: PolicyTerms,
    shelf: Shelf,
    jobs: JobDesk,
    transfers: BTreeMap<CardId, TransferView>,
    fetches: BTreeMap<CallId, (Option<CardId>, AbortHandle)>,
    runs: BTreeMap<CallId, Run>,
    storing: BTreeMap<CallId, EntryHash>,
    outputs: BTreeMap<EntryHash, Vec<BlobHash>>,
    rooms: Rooms,
    asking: Asking,
    outbox: Vec<Entry>,
    /// Whether the ledger just opened holds nothing older than this process.
    fresh: bool,
    pulse: Pulse,
}

enum Input {
    Network(NetworkEvent),
    Door(DoorCall),
    Served(Served),
    Engine(EngineReport),
    Answer(Answer),
    Ask(Ask),
    Timer,
}

/// Whether to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    On,
    End,
}

impl Switchboard {
    /// Routes until a person ends it, then closes the rooms.
    pub(crate) async fn run(mut self, mut inbox: Inbox) {
        self.ask_own_head(&mut inbox).await;
        self.settle();
        loop {
            let input = self.next(&mut inbox).await;
            let mut flow = self.take(input, &inbox).await;
            for _ in 0..GROUP_MAX {
                let Some(input) = inbox.ready() else { break };
                if self.take(input, &inbox).await == Flow::End {
                    flow = Flow::End;
                }
            }
            self.settle();
            if flow == Flow::End {
                break;
            }
        }
        self.close().await;
    }

    async fn next(&self, inbox: &mut Inbox) -> Input {
        let wake = self.wake().since(now());
        tokio::select! {
            Some(ask) = inbox.asks.recv() => Input::Ask(ask),
            Some(event) = inbox.network.recv() => Input::Network(event),
            Some(report) = inbox.engine.recv() => Input::Engine(report),
            Some(answer) = inbox.answers.recv() => Input::Answer(answer),
            Some(call) = inbox.door.recv() => Input::Door(call),
            Some(served) = inbox.served.recv() => Input::Served(served),
            () = tokio::time::sleep(Duration::from_millis(wake.get())) => Input::Timer,
        }
    }

    fn wake(&self) -> Timestamp {
        let dispatch = self.dispatcher.poll_timeout().map(|(at, _)| at);
        let sync = self.ledger.as_ref().map(|_| self.pulse.sync_due);
        let idle = now().plus(Millis::from_secs(3_600));
        let pulse = [self.pulse.advert_due, self.pulse.flush_due];
        [dispatch, sync, self.held_due()]
            .into_iter()
            .chain(pulse)
            .flatten()
            .min()
            .unwrap_or(idle)
    }

    async fn take(&mut self, input: Input, inbox: &Inbox) -> Flow {
        match input {
            Input::Network(event) => self.on_network(event),
            Input::Door(call) => self.on_door(call),
            Input::Served(served) => Self::on_served(served),
            Input::Engine(report) => self.on_engine(report),
            Input::Answer(answer) => self.on_answer(answer),
            Input::Ask(ask) => return self.on_ask(ask, inbox).await,
            Input::Timer => {}
        }
        Flow::On
    }

    /// Does what is due, carries out every effect, and lets out what may leave.
    fn settle(&mut self) {
        let now = now();
        self.release_held();
        if self
            .dispatcher
            .poll_timeout()
            .is_some_and(|(at, _)| at <= now)
        {
            let lens = Lens {
                me: self.me,
                book: self.ledger.as_ref().map(Ledger::book),
                peers: &self.peers,
                terms: self.terms,
            };
            self.dispatcher.handle_timeout(now, &lens);
        }
        self.carry_out();
        if self.ledger.is_some() && self.pulse.sync_due <= now {
            self.sync_with_somebody(now);
        }
        if self.pulse.advert_due.is_some_and(|due| due <= now) {
            self.advertise(now);
        }
        if self.pulse.flush_due.is_some_and(|due| due <= now) {
            self.pulse.flush_due = None;
            self.stored("syncing what was learned", |board| board.store.flush());
        }
        self.publish_entries();
    }

    /// Has what was just noted of others on disk soon: nobody waits for it, but a node that is
    /// killed must know where its commons is.
    fn flush_soon(&mut self) {
        self.pulse
            .flush_due
            .get_or_insert_with(|| now().plus(FLUSH_DELAY));
    }

    /// Tells dispatch something and lets it decide.
    fn dispatch(&mut self, event: Event) {
        let lens = Lens {
            me: self.me,
            book: self.ledger.as_ref().map(Ledger::book),
            peers: &self.peers,
            terms: self.terms,
        };
        self.dispatcher.handle(now(), event, &lens);
    }

    /// Returns the ledger as dispatch sees it.
    fn lens(&self) -> Lens<'_> {
        Lens {
            me: self.me,
            book: self.ledger.as_ref().map(Ledger::book),
            peers: &self.peers,
            terms: self.terms,
        }
    }

    fn on_served(served: Served) {
        tracing::debug!(
            peer = served.peer.short(),
            blob = served.hash.short(),
            bytes = served.bytes,
            "served a blob"
        );
    }

    /// Counts and traces something of a peer that was not taken.
    fn drop_message(&mut self, peer: Option<&NodeId>, reason: &str, error: &dyn std::fmt::Display) {
        *self.pulse.dropped.entry(reason.to_owned()).or_default() += 1;
        let peer = peer.map_or_else(|| "unknown".to_owned(), |peer| self.peers.name(peer));
        tracing::warn!(peer, reason, %error, "dropped a message");
    }

    /// Says that something changed, to whoever watches.
    fn notice(&self, notice: Notice) {
        // Nobody watching is the normal case.
        let _nobody = self.rooms.notices.send(notice);
    }

    async fn close(self) {
        if let Err(error) = self.store.flush() {
            tracing::error!(%error, "the store could not be flushed at the end");
        }
        if let Some(network) = self.rooms.network {
            network.shutdown().await;
        }
        self.rooms.blobs.close().await;
        drop(self.ledger);
    }
}

impl Inbox {
    fn ready(&mut self) -> Option<Input> {
        let asks = self.asks.try_recv().map(Input::Ask);
        asks.or_else(|_| self.network.try_recv().map(Input::Network))
            .or_else(|_| self.engine.try_recv().map(Input::Engine))
            .or_else(|_| self.answers.try_recv().map(Input::Answer))
            .or_else(|_| self.door.try_recv().map(Input::Door))
            .or_else(|_| self.served.try_recv().map(Input::Served))
            .ok()
    }
}
