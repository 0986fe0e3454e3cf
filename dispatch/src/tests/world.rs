//! A world: dispatchers, one ledger everybody sees at once, and a pretend daemon for each.

use std::collections::BTreeMap;

use hearth_protocol::capacity::{Accepting, Capacity, Device, DeviceKind, NodeAddrs, Speed};
use hearth_protocol::charter::{Caps, PriceTable, Windows};
use hearth_protocol::credit::{Decision, PolicyName, Taken};
use hearth_protocol::entry::{Body, Energy, Verdict};
use hearth_protocol::id::{BlobHash, CardId, CommonsId, EntryHash, JobId, NodeId, Salt};
use hearth_protocol::job::{Family, JobSpec, OutputRef, Timings};
use hearth_protocol::unit::{ByteCount, Millikudos, Millis, Timestamp};
use hearth_protocol::wire::JobMessage;

use crate::*;

pub(super) const CHECKPOINT: CardId = CardId::from_bytes([0xC0; 32]);
pub(super) const LORA: CardId = CardId::from_bytes([0x10; 32]);
const START: u64 = 1_000_000_000;

pub(super) fn node(n: u8) -> NodeId {
    NodeId::from_bytes([n; 32])
}

/// The one ledger of a world.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) orders: BTreeMap<EntryHash, HeldOrder>,
    pub(super) order_list: Vec<EntryHash>,
    pub(super) acks: BTreeMap<EntryHash, Verdict>,
    pub(super) receipts: Vec<(EntryHash, EntryHash, Millikudos)>,
    pub(super) thanks: Vec<(NodeId, NodeId, Millikudos)>,
    pub(super) room: Option<Millikudos>,
    pub(super) rooms: BTreeMap<NodeId, Millikudos>,
    pub(super) blocked: Vec<NodeId>,
    written: u64,
}

impl Ledger {
    fn write(&mut self, now: Timestamp, author: NodeId, body: Body) -> Result<EntryHash, String> {
        self.written += 1;
        let hash = EntryHash::from_bytes(*BlobHash::of(&self.written.to_le_bytes()).as_bytes());
        match body {
            Body::Order {
                provider,
                job,
                max,
                deadline,
            } => {
                let state = HoldState::Held;
                let job = job.into();
                let requester = author;
                let order = HeldOrder {
                    requester,
                    provider,
                    job,
                    max,
                    deadline,
                    state,
                };
                self.orders.insert(hash, order);
                self.order_list.push(hash);
            }
            Body::Receipt {
                order,
                amount,
                result,
                ..
            } => {
                let held = self.orders.get_mut(&order).ok_or("no such order")?;
                let good = held.provider == author && amount <= held.max && now <= held.deadline;
                if !good || matches!(held.state, HoldState::Settled { .. }) {
                    return Err("not effective".to_owned());
                }
                held.state = HoldState::Settled {
                    receipt: hash,
                    amount,
                    result,
                };
                self.receipts.push((order, hash, amount));
            }
            Body::Void { order, .. } => {
                let held = self.orders.get_mut(&order).ok_or("no such order")?;
                if held.state == HoldState::Held && held.provider == author {
                    held.state = HoldState::VoidedByProvider;
                } else if held.state == HoldState::Held && now > held.deadline {
                    held.state = HoldState::VoidedByRequester;
                } else {
                    return Err("not open".to_owned());
                }
            }
            Body::Ack { receipt, verdict } => {
                self.acks.insert(receipt, verdict);
            }
            Body::Transfer { to, amount, .. } => self.thanks.push((author, to, amount)),
            Body::Join { .. }
            | Body::Trust { .. }
            | Body::Leave
            | Body::Audit { .. }
            | Body::PairNet(_)
            | Body::Amend { .. }
            | Body::Heal { .. } => {}
        }
        Ok(hash)
    }

    /// Receipts of a job that no ack disputes.
    pub(super) fn undisputed(&self, job: JobId) -> usize {
        self.receipts
            .iter()
            .filter(|(order, receipt, _)| {
                self.orders[order].job == job
                    && !matches!(self.acks.get(receipt), Some(Verdict::Disputed(_)))
            })
            .count()
    }
}

struct View<'a>(&'a Ledger, NodeId);

impl LedgerView for View<'_> {
    fn order(&self, order: &EntryHash) -> Option<HeldOrder> {
        self.0.orders.get(order).copied()
    }
    fn orders_of(&self, job: &JobId) -> Vec<EntryHash> {
        let mine = |hash: &&EntryHash| {
            let held = self.0.orders[*hash];
            held.job == *job && held.requester == self.1
        };
        self.0.order_list.iter().filter(mine).copied().collect()
    }
    fn credit(&self, requester: &NodeId, ask: Millikudos, taken: &Taken, _: Timestamp) -> Decision {
        let taking = taken.get(requester).copied().unwrap_or_default();
        let used = taking.held.get() + taking.running.get();
        let left = self.room(requester).get();
        Decision {
            granted: used + ask.get() <= left,
            bar: None,
            held: taking.held,
            running: taking.running,
            line: self.line(requester),
            room: Millikudos::saturating(left.saturating_sub(used)),
            short: Millikudos::saturating((used + ask.get()).saturating_sub(left)),
            ..Decision::of_nobody(PolicyName::Friends, ask)
        }
    }
    fn room(&self, requester: &NodeId) -> Millikudos {
        let line = self.line(requester).get();
        let owed: u64 = self
            .0
            .receipts
            .iter()
            .filter(|(order, ..)| {
                let held = self.0.orders[order];
                held.provider == self.1 && held.requester == *requester
            })
            .map(|(.., amount)| amount.get())
            .sum();
        Millikudos::saturating(line.saturating_sub(owed))
    }
    fn line(&self, requester: &NodeId) -> Millikudos {
        let own = self.0.rooms.get(requester).copied().or(self.0.room);
        own.unwrap_or(Millikudos::saturating(10_000_000))
    }
    fn is_member(&self, node: &NodeId) -> bool {
        *node != super::world::node(99)
    }
    fn is_blocked(&self, node: &NodeId) -> bool {
        self.0.blocked.contains(node)
    }
    fn is_trusted(&self, _: &NodeId) -> bool {
        false
    }
    fn seeding_paid(&self, seeder: &NodeId, _: Timestamp) -> Millikudos {
        let mine = self.0.thanks.iter();
        let mine = mine.filter(|(from, to, _)| *from == self.1 && to == seeder);
        Millikudos::saturating(mine.map(|(.., amount)| amount.get()).sum())
    }
    fn prices(&self) -> PriceTable {
        PriceTable::DEFAULT
    }
    fn windows(&self) -> Windows {
        Windows::DEFAULT
    }
    fn caps(&self) -> Caps {
        Caps::DEFAULT
    }
}

/// What a node's engine does with a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EngineDoes {
    Work,
    Fail,
    Die,
}

/// One node with its pretend daemon.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) dispatcher: Dispatcher,
    pub(super) policy: WorkerPolicy,
    pub(super) alive: bool,
    pub(super) engine: EngineDoes,
    pub(super) engine_ms: u64,
    pub(super) shelf: BTreeMap<CardId, ShelfCard>,
    pub(super) fault: Option<OutputsFault>,
    pub(super) jobs: BTreeMap<JobId, JobRecord>,
    pub(super) work: BTreeMap<EntryHash, WorkRecord>,
    pub(super) runs: Vec<JobId>,
    pub(super) log: Vec<String>,
    pub(super) messages: Vec<JobMessage>,
    pub(super) most_effects: usize,
    running: BTreeMap<CallId, JobId>,
}

/// Everything.
#[derive(Debug)]
pub(super) struct World {
    pub(super) now: Timestamp,
    pub(super) nodes: BTreeMap<NodeId, Node>,
    pub(super) ledger: Ledger,
    pub(super) links_down: Vec<(NodeId, NodeId)>,
    queue: BTreeMap<(Timestamp, u64), (NodeId, Event)>,
    seq: u64,
    salts: u32,
}

impl World {
    /// Workers of the given speeds in mk/s (0 for a node that only asks), all connected, all with
    /// both cards.
    pub(super) fn new(speeds: &[u64]) -> Self {
        let mut world = Self {
            now: Timestamp::from_millis(START),
            nodes: BTreeMap::new(),
            ledger: Ledger::default(),
            links_down: Vec::new(),
            queue: BTreeMap::new(),
            seq: 0,
            salts: 0,
        };
        for (n, speed) in speeds.iter().enumerate() {
            world.add(node(u8::try_from(n).unwrap()), *speed);
        }
        world.meet();
        world
    }

    fn add(&mut self, id: NodeId, speed: u64) {
        let mut policy = if speed == 0 {
            WorkerPolicy::none()
        } else {
            WorkerPolicy::open()
        };
        policy.speeds = vec![Speed {
            family: Family::Sd15,
            mk_per_s: speed,
        }];
        let card = ShelfCard {
            size: ByteCount::new(4 << 20),
            missing: ByteCount::default(),
            family: Family::Sd15,
        };
        let shelf = BTreeMap::from([(CHECKPOINT, card), (LORA, card)]);
        let made = Node {
            dispatcher: dispatcher(id, &policy, 0),
            engine_ms: 4_000_000_u64.checked_div(speed).unwrap_or(1_000),
            policy,
            alive: true,
            engine: EngineDoes::Work,
            shelf,
            fault: None,
            jobs: BTreeMap::new(),
            work: BTreeMap::new(),
            runs: Vec::new(),
            log: Vec::new(),
            messages: Vec::new(),
            most_effects: 0,
            running: BTreeMap::new(),
        };
        self.nodes.insert(id, made);
    }

    /// Connects everybody, with fresh adverts and shelves.
    pub(super) fn meet(&mut self) {
        let ids: Vec<NodeId> = self.nodes.keys().copied().collect();
        for id in &ids {
            let cards = self.nodes[id].shelf.clone();
            self.tell(*id, Event::Shelf { cards });
            for peer in ids.iter().filter(|peer| *peer != id) {
                if self.is_up(id, peer) {
                    self.tell(*id, Event::PeerConnected { peer: *peer });
                }
            }
        }
        self.advertise();
    }

    pub(super) fn advertise(&mut self) {
        let ids: Vec<NodeId> = self.nodes.keys().copied().collect();
        for id in &ids {
            let advert = self.advert(*id);
            for peer in ids.iter().filter(|peer| *peer != id) {
                if self.is_up(id, peer) {
                    self.tell(*peer, Event::Advert(Box::new(advert.clone())));
                }
            }
        }
    }

    fn advert(&self, id: NodeId) -> Capacity {
        let node = &self.nodes[&id];
        let whole = node.shelf.iter();
        let whole = whole.filter(|(_, card)| card.missing == ByteCount::default());
        Capacity {
            commons: CommonsId::from_bytes([1; 32]),
            node: id,
            time: self.now,
            nickname: String::new(),
            software: String::new(),
            device: Device {
                kind: DeviceKind::Cpu,
                name: String::new(),
                memory: ByteCount::new(1 << 30),
                units: 1,
            },
            accepting: node.dispatcher.accepting(),
            queue: u32::try_from(node.dispatcher.queue_len()).unwrap(),
            price_percent: node.policy.price_percent,
            speeds: node.dispatcher.speeds().to_vec(),
            warm: node.dispatcher.warm().to_vec(),
            cards: whole.map(|(id, _)| *id).collect(),
            addrs: NodeAddrs::default(),
        }
    }

    pub(super) fn is_up(&self, a: &NodeId, b: &NodeId) -> bool {
        let cut = self.links_down.contains(&(*a, *b)) || self.links_down.contains(&(*b, *a));
        self.nodes[a].alive && self.nodes.get(b).is_some_and(|node| node.alive) && !cut
    }

    pub(super) fn node(&mut self, n: u8) -> &mut Node {
        self.nodes.get_mut(&node(n)).unwrap()
    }

    /// Kills a node: everything not stored is gone, everybody sees it leave.
    pub(super) fn kill(&mut self, n: u8) {
        let id = node(n);
        self.node(n).alive = false;
        self.queue.retain(|_, (to, _)| *to != id);
        self.part(id);
    }

    fn part(&mut self, id: NodeId) {
        let others: Vec<NodeId> = self.nodes.keys().copied().filter(|o| *o != id).collect();
        for other in others {
            self.tell(other, Event::PeerDisconnected { peer: id });
        }
    }

    /// Starts a killed node again from what it stored.
    pub(super) fn revive(&mut self, n: u8, keep_prompts: bool) {
        let id = node(n);
        self.salts += 1;
        let start = u8::try_from(self.salts % 251).unwrap();
        let node = self.node(n);
        node.dispatcher = dispatcher(id, &node.policy.clone(), start + 1);
        node.alive = true;
        node.running.clear();
        let mut jobs: Vec<JobRecord> = node.jobs.values().cloned().collect();
        if !keep_prompts {
            jobs.iter_mut().for_each(|job| job.spec = None);
        }
        let work = node.work.values().cloned().collect();
        self.tell(id, Event::Restore { jobs, work });
        self.meet();
    }

    pub(super) fn cut(&mut self, a: u8, b: u8) {
        self.links_down.push((node(a), node(b)));
        self.tell(node(a), Event::PeerDisconnected { peer: node(b) });
        self.tell(node(b), Event::PeerDisconnected { peer: node(a) });
    }

    pub(super) fn mend(&mut self) {
        self.links_down.clear();
        self.meet();
    }

    pub(super) fn submission(&mut self) -> Submission {
        self.salts += 1;
        let salt = BlobHash::of(&self.salts.to_le_bytes());
        let salt = Salt::from_bytes(*salt.as_bytes());
        let spec = spec();
        let size = ByteCount::new(4 << 20);
        Submission {
            job: spec.job_id(&salt),
            salt,
            spec,
            family: Family::Sd15,
            place: Place::Anywhere,
            max: None,
            timeout: None,
            sizes: BTreeMap::from([(CHECKPOINT, size), (LORA, size)]),
        }
    }

    pub(super) fn submit(&mut self, n: u8) -> JobId {
        let submission = self.submission();
        self.submit_this(n, submission)
    }

    pub(super) fn submit_this(&mut self, n: u8, submission: Submission) -> JobId {
        let job = submission.job;
        self.tell(node(n), Event::Submit(Box::new(submission)));
        job
    }

    pub(super) fn state(&self, n: u8, job: JobId) -> &JobState {
        self.nodes[&node(n)].dispatcher.job(&job).unwrap().state()
    }

    /// Gives a node an event now and does what follows at once.
    pub(super) fn tell(&mut self, id: NodeId, event: Event) {
        if !self.nodes[&id].alive {
            return;
        }
        let now = self.now;
        let node = self.nodes.get_mut(&id).unwrap();
        node.dispatcher.handle(now, event, &View(&self.ledger, id));
        self.drain(id);
    }

    fn later(&mut self, ms: u64, id: NodeId, event: Event) {
        self.seq += 1;
        let at = self.now.plus(Millis::new(ms));
        self.queue.insert((at, self.seq), (id, event));
    }

    fn drain(&mut self, id: NodeId) {
        let node = self.nodes.get_mut(&id).unwrap();
        node.most_effects = node.most_effects.max(node.dispatcher.effects_waiting());
        while let Some(effect) = self.nodes.get_mut(&id).unwrap().dispatcher.poll_effect() {
            self.carry_out(id, effect);
        }
    }

    #[expect(clippy::too_many_lines, reason = "a flat table of effects")]
    fn carry_out(&mut self, id: NodeId, effect: Effect) {
        match effect {
            Effect::Send { to, message } => {
                if self.is_up(&id, &to) {
                    self.nodes
                        .get_mut(&to)
                        .unwrap()
                        .messages
                        .push((*message).clone());
                    self.later(5, to, Event::Message { from: id, message });
                }
            }
            Effect::Sign { call, body } => match self.ledger.write(self.now, id, body) {
                Ok(entry) => {
                    self.later(2, id, Event::Signed { call, entry });
                    let ids: Vec<NodeId> = self.nodes.keys().copied().collect();
                    for other in ids {
                        self.later(3, other, Event::LedgerChanged);
                    }
                }
                Err(cause) => self.later(2, id, Event::NotSigned { call, cause }),
            },
            Effect::PersistJob(record) => {
                let node = self.nodes.get_mut(&id).unwrap();
                node.jobs.insert(record.job, *record);
            }
            Effect::PersistWork(record) => {
                let node = self.nodes.get_mut(&id).unwrap();
                node.work.insert(record.order, *record);
            }
            Effect::ForgetWork { order } => {
                self.nodes.get_mut(&id).unwrap().work.remove(&order);
            }
            Effect::FetchOutputs { call, worker, .. } => {
                let fault = self.nodes[&id].fault;
                let event = match fault {
                    Some(fault) => Event::OutputsFailed { call, fault },
                    None if self.is_up(&id, &worker) => Event::OutputsSaved { call },
                    None => Event::OutputsFailed {
                        call,
                        fault: OutputsFault::Unreachable,
                    },
                };
                self.later(20, id, event);
            }
            Effect::FetchCards { call, cards, .. } => {
                let shelf = &self.nodes[&id].shelf;
                let missing = cards.iter().find(|card| {
                    shelf
                        .get(card)
                        .is_none_or(|card| card.missing != ByteCount::default())
                });
                let Some(card) = missing.copied() else {
                    let (bytes_from, took) = (BTreeMap::new(), Millis::ZERO);
                    return self.later(
                        1,
                        id,
                        Event::CardsReady {
                            call,
                            bytes_from,
                            took,
                        },
                    );
                };
                let seeder = self.nodes.iter().find(|(peer, node)| {
                    **peer != id
                        && node.shelf[&card].missing == ByteCount::default()
                        && self.is_up(&id, peer)
                });
                let event = match seeder {
                    Some((seeder, _)) => Event::CardsReady {
                        call,
                        bytes_from: BTreeMap::from([(*seeder, shelf[&card].missing)]),
                        took: Millis::new(50),
                    },
                    None => Event::CardsFailed {
                        call,
                        card,
                        cause: "nobody has it".to_owned(),
                    },
                };
                self.later(50, id, event);
            }
            Effect::RunEngine { call, job, .. } => self.run_engine(id, call, job),
            Effect::CancelEngine { call } => {
                self.queue.retain(|_, (to, event)| {
                    !(*to == id
                        && matches!(event, Event::EngineDone { call: at, .. } if *at == call))
                });
                let event = Event::EngineFailed {
                    call,
                    evaluations: 7,
                    energy: Energy::default(),
                    end: EngineEnd::Cancelled,
                };
                self.later(10, id, event);
            }
            Effect::StoreOutputs { call, job, .. } => {
                let outputs = vec![OutputRef {
                    name: "image.png".to_owned(),
                    blob: BlobHash::of(job.as_bytes()),
                    size: ByteCount::new(1000),
                }];
                self.later(5, id, Event::OutputsStored { call, outputs });
            }
            Effect::Ignored { why, .. } => {
                self.nodes.get_mut(&id).unwrap().log.push(why.to_string());
            }
            Effect::DropOutputs { .. } => {
                self.nodes
                    .get_mut(&id)
                    .unwrap()
                    .log
                    .push("dropped outputs".to_owned());
            }
            Effect::StopFetch { .. } | Effect::Progressed { .. } | Effect::CapacityChanged => {}
        }
    }

    fn run_engine(&mut self, id: NodeId, call: CallId, job: JobId) {
        let node = self.nodes.get_mut(&id).unwrap();
        node.runs.push(job);
        node.running.insert(call, job);
        let (does, ms) = (node.engine, node.engine_ms);
        let failed = |end| Event::EngineFailed {
            call,
            evaluations: 3,
            energy: Energy::default(),
            end,
        };
        let event = match does {
            EngineDoes::Work => Event::EngineDone {
                call,
                evaluations: 20,
                timings: Timings {
                    denoise: Millis::new(ms),
                    ..Timings::default()
                },
                energy: Energy::default(),
                warnings: Vec::new(),
            },
            EngineDoes::Fail => failed(EngineEnd::Refused("no such layer".to_owned())),
            EngineDoes::Die => failed(EngineEnd::Died),
        };
        self.later(ms, id, event);
    }

    /// Lets time pass: events and timeouts in order.
    pub(super) fn run(&mut self, ms: u64) {
        let end = self.now.plus(Millis::new(ms));
        let mut steps = 0;
        loop {
            steps += 1;
            assert!(steps < 200_000, "the world does not come to rest");
            let event = self.queue.first_key_value().map(|(key, _)| *key);
            let timers = self.nodes.iter().filter(|(_, node)| node.alive);
            let timer = timers
                .filter_map(|(id, node)| node.dispatcher.poll_timeout().map(|(at, _)| (at, *id)))
                .min();
            match (event, timer) {
                (Some(key), timer) if key.0 <= end && timer.is_none_or(|t| key.0 <= t.0) => {
                    self.now = self.now.max(key.0);
                    let (id, event) = self.queue.remove(&key).unwrap();
                    self.tell(id, event);
                }
                (_, Some((at, id))) if at <= end => {
                    self.now = self.now.max(at);
                    let (now, ledger) = (self.now, &self.ledger);
                    let node = self.nodes.get_mut(&id).unwrap();
                    node.dispatcher.handle_timeout(now, &View(ledger, id));
                    self.drain(id);
                }
                _ => break,
            }
        }
        self.now = end;
    }

    /// Lets time pass with adverts every 30 s, as a daemon sends them.
    pub(super) fn live(&mut self, ms: u64) {
        for _ in 0..ms.div_ceil(30_000) {
            self.run(30_000);
            self.advertise();
        }
    }

    pub(super) fn runs(&self) -> usize {
        self.nodes.values().map(|node| node.runs.len()).sum()
    }
}

fn dispatcher(me: NodeId, worker: &WorkerPolicy, start: u8) -> Dispatcher {
    let mut seed = *me.as_bytes();
    seed[0] ^= start;
    seed[1] = start;
    Dispatcher::new(Config {
        me,
        seed,
        worker: worker.clone(),
    })
}

pub(super) fn spec() -> JobSpec {
    JobSpec {
        seed: 7,
        ..JobSpec::plain(CHECKPOINT, "a lighthouse")
    }
}

pub(super) const fn paused() -> Accepting {
    Accepting::Paused
}
