//! Commands of the person, answered at once from what the switchboard owns.

use std::collections::BTreeSet;

use hearth_dispatch::{Event, Place as DispatchPlace, Submission};
use hearth_protocol::control::{
    AuditReply, Command, GenerateRequest, Place, Problem, ProblemKind, Reply,
};
use hearth_protocol::entry::{Body, DisputeCode, TransferReason, Verdict};
use hearth_protocol::id::{CardId, JobId, NodeId, Salt};
use hearth_protocol::job::{JobSpec, Latents, LoraUse};
use hearth_protocol::limits;
use hearth_protocol::snapshot::TrustLevel;
use hearth_protocol::unit::{Balance, Millikudos};

use super::ask::{Ask, CardDraft, SourceReply};
use super::commons::{Founding, alone};
use super::errand::Source;
use super::jobs::Wishes;
use super::view::hex;
use super::{Flow, Inbox, Switchboard};
use crate::clock::now;
use crate::network::{NetworkCommand, Topic};
use crate::store::Table;

fn usage(what: impl Into<String>) -> Problem {
    Problem::new(ProblemKind::Usage, what)
}

fn refused(what: impl Into<String>) -> Problem {
    Problem::new(ProblemKind::Failed, what)
}

fn done(what: impl Into<String>) -> Reply {
    Reply::Done { what: what.into() }
}

impl Switchboard {
    /// Takes a question up.
    pub(super) async fn on_ask(&mut self, ask: Ask, inbox: &Inbox) -> Flow {
        match ask {
            Ask::Command(command, reply) => {
                return self.answer_command(*command, reply, inbox).await;
            }
            Ask::Snapshot(reply) => drop(reply.send(self.snapshot())),
            Ask::Enter(charter, invite, past, reply) => {
                drop(reply.send(self.enter(*charter, invite.map(|invite| *invite), past)));
            }
            Ask::Entered(members, reply) => {
                let result = self.go_on(&members, inbox.network_sender.clone()).await;
                let shown = result.and_then(|()| self.commons_reply());
                drop(reply.send(shown.map(|shown| Reply::Commons(Box::new(shown)))));
            }
            Ask::TurnedAway(reply) => {
                self.turned_away();
                let _hung_up = reply.send(());
            }
            Ask::Publish(draft, reply) => drop(reply.send(self.publish_card(*draft))),
            Ask::Source(name, reply) => drop(reply.send(self.source(&name))),
            Ask::Fetched(card, reply) => {
                self.card_is_here(card);
                let _hung_up = reply.send(());
            }
        }
        Flow::On
    }

    async fn answer_command(
        &mut self,
        command: Command,
        reply: tokio::sync::oneshot::Sender<Result<Reply, Problem>>,
        inbox: &Inbox,
    ) -> Flow {
        let ends = matches!(command, Command::Shutdown | Command::CommonsLeave);
        let result = match command {
            Command::CommonsCreate {
                name,
                purpose,
                admission,
                member_line,
                rules,
            } => {
                let founding = Founding {
                    name,
                    purpose,
                    admission,
                    member_line,
                    rules,
                };
                self.found(founding, inbox.network_sender.clone()).await
            }
            other => self.command_now(other),
        };
        let flow = if ends && result.is_ok() {
            Flow::End
        } else {
            Flow::On
        };
        self.settle();
        // Whoever asked may have hung up; what was done stays done.
        let _hung_up = reply.send(result);
        flow
    }

    fn command_now(&mut self, command: Command) -> Result<Reply, Problem> {
        match command {
            Command::Status => Ok(Reply::Status(Box::new(self.status()))),
            Command::Doctor => Ok(Reply::Doctor {
                checks: self.checks(),
            }),
            Command::Shutdown => Ok(done("the node is stopping")),
            Command::CommonsInvite { uses, life } => self.invite(uses, life),
            Command::CommonsLeave => self.leave(),
            Command::CommonsShow => Ok(Reply::Commons(Box::new(self.commons_reply()?))),
            Command::PeersList
            | Command::PeersShow { .. }
            | Command::PeersAdd { .. }
            | Command::PeersTrust { .. }
            | Command::PeersBlock { .. }
            | Command::PeersName { .. } => self.peers_command(command),
            Command::ModelRm { .. }
            | Command::ModelList
            | Command::ModelShow { .. }
            | Command::ModelPin { .. }
            | Command::ModelUnpin { .. } => self.model_command(command),
            Command::Generate(request) => self.generate(*request),
            Command::JobsList
            | Command::JobsShow { .. }
            | Command::JobsCancel { .. }
            | Command::JobsDispute { .. } => self.jobs_command(command),
            Command::LedgerBalance
            | Command::LedgerEntries { .. }
            | Command::LedgerWhy { .. }
            | Command::LedgerAudit
            | Command::LedgerGive { .. } => self.ledger_command(command),
            Command::WorkerPause => {
                self.dispatch(Event::Pause);
                self.advertise_soon();
                Ok(done("paused: what runs is finished, nothing new is taken"))
            }
            Command::WorkerResume => {
                self.dispatch(Event::Unpause);
                self.advertise_soon();
                Ok(done("taking jobs again"))
            }
            Command::CommonsCreate { .. }
            | Command::CommonsJoin { .. }
            | Command::ModelAdd { .. }
            | Command::ModelFetch { .. } => {
                Err(refused("this command takes time and is not done here"))
            }
        }
    }

    fn members(&self) -> BTreeSet<NodeId> {
        self.ledger
            .as_ref()
            .map(|ledger| ledger.book().members().into_iter().collect())
            .unwrap_or_default()
    }

    /// Finds the member a person means.
    pub(super) fn peer(&self, name: &str) -> Result<NodeId, Problem> {
        if self.ledger.is_none() {
            return Err(alone());
        }
        if name == self.facts.config.nickname || name == "me" {
            return Ok(self.me);
        }
        self.peers.find(name, &self.members()).map_err(|error| {
            refused(error.to_string()).hint("'hearth peers list' shows who there is")
        })
    }

    fn peers_command(&mut self, command: Command) -> Result<Reply, Problem> {
        match command {
            Command::PeersShow { peer } => {
                Ok(Reply::Peer(Box::new(self.peer_view(&self.peer(&peer)?))))
            }
            Command::PeersAdd { peer, addr } => self.add_peer(peer, addr),
            Command::PeersTrust { peer, limit, level } => self.trust(&peer, limit, level),
            Command::PeersBlock { peer } => self.block(&peer),
            Command::PeersName { peer, name } => self.name_peer(&peer, name),
            _ if self.ledger.is_none() => Err(alone()),
            _ => Ok(Reply::Peers {
                peers: self.peer_views(),
            }),
        }
    }

    fn add_peer(&mut self, peer: NodeId, addr: String) -> Result<Reply, Problem> {
        if self.ledger.is_none() {
            return Err(alone());
        }
        if !addr.starts_with('/') || addr.len() > limits::ADDR_LEN_MAX {
            return Err(usage(format!("'{}' is not a multiaddress", super::peers::plain(&addr)))
                .hint("it looks like /ip4/192.0.2.7/udp/47470/quic-v1; 'hearth status' on that node prints its own"));
        }
        let mut addrs = self.peers.addrs(&peer).cloned().unwrap_or_default();
        addrs.network.retain(|known| *known != addr);
        addrs.network.insert(0, addr);
        addrs.network.truncate(limits::ADDRS_MAX);
        self.locate(peer, addrs);
        self.stored("noting an address", |board| board.store.flush());
        Ok(done(format!(
            "will look for {} there",
            self.peers.name(&peer)
        )))
    }

    fn trust(
        &mut self,
        peer: &str,
        limit: Option<Millikudos>,
        level: TrustLevel,
    ) -> Result<Reply, Problem> {
        let node = self.peer(peer)?;
        if node == self.me {
            return Err(usage("one cannot give oneself credit"));
        }
        if let Some(limit) = limit {
            self.write(&Body::Trust { peer: node, limit })
                .map_err(|cause| refused("the line could not be written").cause(cause))?;
        }
        self.judge_peer(node, level);
        let line = self.ledger.as_ref().map_or(Millikudos::ZERO, |ledger| {
            ledger.book().line(&self.me, &node)
        });
        Ok(done(format!(
            "{} may owe this node up to {line} kudos",
            self.peers.name(&node)
        )))
    }

    fn judge_peer(&mut self, node: NodeId, level: TrustLevel) {
        let note = self.peers.note(node, |note| note.level = level);
        self.stored("noting a judgement", |board| {
            board.store.put(Table::Peers, node.as_bytes(), &note)?;
            board.store.flush()
        });
        if level == TrustLevel::Blocked {
            self.pulse.allowed.remove(&node);
            self.rooms.blobs.disallow(node);
            self.command(NetworkCommand::Disallow(node));
        } else {
            self.let_connect(node);
        }
    }

    fn block(&mut self, peer: &str) -> Result<Reply, Problem> {
        let node = self.peer(peer)?;
        if node == self.me {
            return Err(usage("one cannot block oneself"));
        }
        self.judge_peer(node, TrustLevel::Blocked);
        Ok(done(format!(
            "blocked {}; 'hearth peers trust' lifts it",
            self.peers.name(&node)
        )))
    }

    fn name_peer(&mut self, peer: &str, name: String) -> Result<Reply, Problem> {
        let node = self.peer(peer)?;
        if name.len() > limits::NAME_LEN_MAX || name != super::peers::plain(&name) {
            return Err(usage(
                "a petname is at most 128 bytes without control characters",
            ));
        }
        let note = self.peers.note(node, |note| note.name = name);
        self.stored("noting a petname", |board| {
            board.store.put(Table::Peers, node.as_bytes(), &note)?;
            board.store.flush()
        });
        Ok(done(format!(
            "{} is called {} here",
            node.short(),
            self.peers.name(&node)
        )))
    }

    /// Finds the card a person means.
    pub(super) fn model(&self, name: &str) -> Result<CardId, Problem> {
        self.shelf.find(name).map_err(|error| {
            refused(error.to_string()).hint(
                "'hearth model list' shows what there is; 'hearth model add PATH' adds a file",
            )
        })
    }

    fn model_command(&mut self, command: Command) -> Result<Reply, Problem> {
        match command {
            Command::ModelShow { model } => self.show_model(self.model(&model)?),
            Command::ModelPin { model } => self.pin(&model, true),
            Command::ModelUnpin { model } => self.pin(&model, false),
            Command::ModelRm { model } => self.remove_model(&model),
            _ => {
                let models = self
                    .shelf
                    .cards()
                    .filter_map(|(id, _)| self.card_view(id))
                    .collect();
                Ok(Reply::Models { models })
            }
        }
    }

    fn show_model(&self, id: CardId) -> Result<Reply, Problem> {
        let view = self
            .card_view(&id)
            .ok_or_else(|| refused("the card is gone"))?;
        Ok(Reply::Model(Box::new(view)))
    }

    fn pin(&mut self, model: &str, pinned: bool) -> Result<Reply, Problem> {
        let id = self.model(model)?;
        let mut note = self.shelf.note(&id);
        note.pinned = pinned;
        self.keep_note(id, note);
        self.stored("noting a pin", |board| board.store.flush());
        let title = self
            .card_view(&id)
            .map(|view| view.title)
            .unwrap_or_default();
        let verb = if pinned {
            "kept and served"
        } else {
            "no longer pinned"
        };
        Ok(done(format!("{title} is {verb}")))
    }

    fn remove_model(&mut self, model: &str) -> Result<Reply, Problem> {
        let id = self.model(model)?;
        let files = self
            .shelf
            .card(&id)
            .map(|card| card.trusted().files.clone())
            .unwrap_or_default();
        self.keep_note(id, crate::store::ShelfNote::default());
        self.stored("noting a removal", |board| board.store.flush());
        let shared: BTreeSet<_> = self
            .shelf
            .complete()
            .iter()
            .filter_map(|other| self.shelf.card(other))
            .flat_map(|card| card.trusted().files.iter().map(|file| file.blob))
            .collect();
        for file in files
            .into_iter()
            .filter(|file| !shared.contains(&file.blob))
        {
            let blobs = self.rooms.blobs.clone();
            tokio::spawn(async move {
                if let Err(error) = blobs.unpin(file.blob).await {
                    tracing::warn!(%error, "a blob could not be given up");
                }
            });
        }
        self.tell_shelf();
        let title = self
            .card_view(&id)
            .map(|view| view.title)
            .unwrap_or_default();
        Ok(done(format!(
            "{title} is no longer served from here; files of your own stay where they are"
        )))
    }

    fn publish_card(
        &mut self,
        draft: CardDraft,
    ) -> Result<hearth_protocol::snapshot::CardView, Problem> {
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
            let card = hearth_protocol::sign::Signed::sign(card, &self.facts.key);
            let id = card.trusted().id();
            let bytes = hearth_protocol::wire::Message::to_bytes(&card);
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

    fn source(&self, name: &str) -> Result<SourceReply, Problem> {
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

    fn generate(&mut self, request: GenerateRequest) -> Result<Reply, Problem> {
        if request.count == 0 || request.count > limits::COUNT_MAX {
            return Err(usage(format!(
                "between 1 and {} pictures can be asked at once",
                limits::COUNT_MAX
            )));
        }
        let specs = self.specs(&request)?;
        let place = self.place(&request.place)?;
        if request.dry_run {
            return Ok(self.estimate(&specs, place));
        }
        let mut jobs = Vec::new();
        for (index, spec) in specs.into_iter().enumerate() {
            let salt = Salt::from_bytes(crate::chance::bytes());
            let job = spec.job_id(&salt);
            self.jobs.wish(job, wishes(&request, &spec, job, index));
            let sizes = spec
                .cards()
                .iter()
                .filter_map(|id| Some((*id, self.shelf.card(id)?.trusted().size())))
                .collect();
            let family = self.family(&spec);
            let (max, timeout) = (request.max, request.timeout);
            let submission = Submission {
                job,
                salt,
                spec,
                family,
                place,
                max,
                timeout,
                sizes,
            };
            self.dispatch(Event::Submit(Box::new(submission)));
            self.carry_out();
            jobs.push(job);
        }
        Ok(Reply::Submitted { jobs })
    }

    fn family(&self, spec: &JobSpec) -> hearth_protocol::job::Family {
        let card = self.shelf.card(&spec.checkpoint);
        card.map_or(hearth_protocol::job::Family::Sd15, |card| {
            card.trusted().family
        })
    }

    fn specs(&self, request: &GenerateRequest) -> Result<Vec<JobSpec>, Problem> {
        let checkpoint = self.checkpoint(request.model.as_deref())?;
        let mut loras = Vec::new();
        for ask in &request.loras {
            let card = self.model(&ask.model)?;
            loras.push(LoraUse {
                card,
                unet: ask.weight,
                text: ask.weight,
            });
        }
        let (width, height) = request.size.unwrap_or((512, 512));
        let first = request.seed.unwrap_or_else(drawn_seed);
        let spec = |index: u32| JobSpec {
            version: 1,
            checkpoint,
            loras: loras.clone(),
            prompt: request.prompt.clone(),
            negative: request.negative.clone(),
            width,
            height,
            steps: request.steps,
            guidance: request.guidance,
            sampler: request.sampler,
            schedule: request.schedule,
            seed: first.wrapping_add(u64::from(index)),
            rng: request.rng,
            compat: request.compat,
            latents: if request.save_steps.is_some() {
                Latents::EveryStep
            } else {
                Latents::Dropped
            },
        };
        let specs: Vec<JobSpec> = (0..request.count).map(spec).collect();
        for spec in &specs {
            spec.check().map_err(|error| usage(error.to_string()))?;
        }
        Ok(specs)
    }

    fn checkpoint(&self, name: Option<&str>) -> Result<CardId, Problem> {
        if let Some(name) = name {
            return self.model(name);
        }
        let checkpoint = |(id, card): (&CardId, &hearth_protocol::card::Card)| {
            (card.kind == hearth_protocol::card::CardKind::Checkpoint).then_some(*id)
        };
        let known: Vec<CardId> = self.shelf.cards().filter_map(checkpoint).collect();
        match known.as_slice() {
            [one] => Ok(*one),
            [] => {
                Err(refused("no checkpoint is known here").hint("add one: hearth model add PATH"))
            }
            _ => Err(usage("several checkpoints are known")
                .hint("name one with --model; 'hearth model list' shows them")),
        }
    }

    fn place(&self, place: &Place) -> Result<DispatchPlace, Problem> {
        Ok(match place {
            Place::Any => DispatchPlace::Anywhere,
            Place::Local => DispatchPlace::Local,
            Place::Peer(name) => {
                let node = self.peer(name)?;
                if node == self.me {
                    DispatchPlace::Local
                } else {
                    DispatchPlace::Peer(node)
                }
            }
        })
    }

    fn jobs_command(&mut self, command: Command) -> Result<Reply, Problem> {
        match command {
            Command::JobsShow { job } => Ok(Reply::Job(Box::new(self.job_named(&job)?))),
            Command::JobsCancel { job } => {
                let view = self.job_named(&job)?;
                if view.over {
                    return Err(refused(format!("job {} is over", view.job.short())));
                }
                self.dispatch(Event::Cancel { job: view.job });
                Ok(done(format!("cancelling job {}", view.job.short())))
            }
            Command::JobsDispute { job, code } => self.dispute(&job, code),
            _ => Ok(Reply::Jobs {
                jobs: self.job_views(),
            }),
        }
    }

    fn job_named(&self, name: &str) -> Result<hearth_protocol::snapshot::JobView, Problem> {
        let lower = name.to_lowercase();
        let mut fits = self.job_views();
        fits.retain(|view| lower.len() >= 4 && view.job.to_string().starts_with(&lower));
        match fits.len() {
            1 => Ok(fits.remove(0)),
            0 => Err(refused(format!("no job '{}'", super::peers::plain(name)))
                .hint("'hearth jobs list' shows them; four digits of an id are enough")),
            count => Err(refused(format!(
                "'{}' fits {count} jobs",
                super::peers::plain(name)
            ))),
        }
    }

    fn dispute(&mut self, name: &str, code: DisputeCode) -> Result<Reply, Problem> {
        let job: JobId = self.job_named(name)?.job;
        let receipt = self.jobs.over(&job).and_then(|over| over.receipt);
        let Some(receipt) = receipt else {
            return Err(refused(format!(
                "job {} has no receipt to dispute",
                job.short()
            )));
        };
        let entry = self
            .write(&Body::Ack {
                receipt,
                verdict: Verdict::Disputed(code),
            })
            .map_err(|cause| refused("the dispute could not be written").cause(cause))?;
        let what = format!(
            "disputed receipt {}: its credit cannot be used until you accept it",
            receipt.short()
        );
        Ok(Reply::Wrote {
            entry: entry.hash(),
            what,
        })
    }

    fn ledger_command(&mut self, command: Command) -> Result<Reply, Problem> {
        let Some(ledger) = &self.ledger else {
            return Err(alone());
        };
        match command {
            Command::LedgerEntries { author, limit } => {
                let author = author.map(|author| self.peer(&author)).transpose()?;
                let limit = usize::try_from(limit).unwrap_or(usize::MAX).min(10_000);
                Ok(Reply::Entries {
                    entries: self.entries(author, limit),
                })
            }
            Command::LedgerWhy { peer } => {
                let node = peer.map_or(Ok(self.me), |peer| self.peer(&peer))?;
                let lines = self.why_lines(&node);
                let (balance, pending) =
                    (ledger.book().balance(&node), ledger.book().pending(&node));
                Ok(Reply::Why {
                    node,
                    balance,
                    pending,
                    lines,
                })
            }
            Command::LedgerAudit => Ok(Reply::Audit(self.audit())),
            Command::LedgerGive { peer, amount } => self.give(&peer, amount),
            _ => Ok(Reply::Balances {
                node: self.me,
                balances: self.balances(),
                digest: hex(&ledger.book().digest()),
            }),
        }
    }

    fn audit(&self) -> AuditReply {
        let Some(ledger) = &self.ledger else {
            return AuditReply {
                ok: false,
                entries: 0,
                chains: 0,
                sum: Balance::ZERO,
                digest: String::new(),
                findings: vec!["no ledger".into()],
            };
        };
        let report = hearth_ledger::audit(ledger.book());
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        AuditReply {
            ok: report.is_clean(),
            entries: count(report.entries),
            chains: count(report.chains),
            sum: ledger
                .book()
                .balances()
                .into_iter()
                .map(|(_, balance)| balance)
                .sum(),
            digest: hex(&report.digest),
            findings: report.findings.iter().map(ToString::to_string).collect(),
        }
    }

    /// A gift may lead as far below zero as the commons lets a member owe, and no further.
    fn give(&mut self, peer: &str, amount: Millikudos) -> Result<Reply, Problem> {
        let to = self.peer(peer)?;
        let Some(ledger) = &self.ledger else {
            return Err(alone());
        };
        if to == self.me {
            return Err(usage("one cannot give to oneself"));
        }
        if amount == Millikudos::ZERO {
            return Err(usage("a gift of nothing changes nothing"));
        }
        let book = ledger.book();
        let left = book
            .spendable(&self.me)
            .plus(book.charter().member_line)
            .minus(amount);
        if left < Balance::ZERO {
            let spendable = book.spendable(&self.me);
            return Err(
                Problem::new(ProblemKind::Credit, format!("cannot give {amount} kudos")).cause(
                    format!(
                        "{spendable} kudos are spendable and a member may owe {}",
                        book.charter().member_line
                    ),
                ),
            );
        }
        let entry = self
            .write(&Body::Transfer {
                to,
                amount,
                reason: TransferReason::Gift,
            })
            .map_err(|cause| refused("the gift could not be written").cause(cause))?;
        let what = format!("gave {amount} kudos to {}", self.peers.name(&to));
        Ok(Reply::Wrote {
            entry: entry.hash(),
            what,
        })
    }
}

fn drawn_seed() -> u64 {
    let bytes = crate::chance::bytes();
    // 32 bits, as people are used to: they read and type seeds.
    u64::from(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

fn wishes(request: &GenerateRequest, spec: &JobSpec, job: JobId, index: usize) -> Wishes {
    let numbered = |dir: &String| format!("{dir}/hearth-{}-{index:03}.png", job.short());
    let out = request.out.as_ref().map(|out| {
        let is_folder = request.count > 1 || std::path::Path::new(out).is_dir();
        if is_folder {
            numbered(out)
        } else {
            out.clone()
        }
    });
    let steps = request.save_steps.as_ref().map(|dir| {
        if request.count > 1 {
            format!("{dir}/{index:03}")
        } else {
            dir.clone()
        }
    });
    Wishes {
        out,
        steps,
        seed: spec.seed,
        size: (spec.width, spec.height),
        sampling: spec.steps,
    }
}
