//! The play: every step asks real nodes over their control API and checks what they answer.

mod order;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use hearth_engine::kindling;
use hearth_protocol::charter::Admission;
use hearth_protocol::control::{Command, Reply};
use hearth_protocol::id::CardId;
use hearth_protocol::unit::{Balance, Millikudos, Millis};

use super::actor::{Actor, Part};
use super::story::Story;
use crate::cli::exit::Interrupted;
use crate::cli::session::other;

const POLL: Duration = Duration::from_millis(20);
const STEP_MAX: Duration = Duration::from_secs(30);

/// The nodes and what came of them.
pub(super) struct Stage<'a> {
    dir: PathBuf,
    picture: PathBuf,
    interrupted: &'a AtomicBool,
    actors: Vec<Actor>,
    balances: BTreeMap<Part, Balance>,
    digests: BTreeMap<Part, String>,
    audits: BTreeMap<Part, String>,
}

/// The two cards of the play.
#[derive(Debug, Clone, Copy)]
struct Cards {
    checkpoint: CardId,
    lora: CardId,
}

impl<'a> Stage<'a> {
    pub(super) const fn new(dir: PathBuf, picture: PathBuf, interrupted: &'a AtomicBool) -> Self {
        Self {
            dir,
            picture,
            interrupted,
            actors: Vec::new(),
            balances: BTreeMap::new(),
            digests: BTreeMap::new(),
            audits: BTreeMap::new(),
        }
    }

    /// Plays it to the end, or to the first step that does not hold.
    pub(super) fn play(&mut self, prompt: &str, story: &mut Story) -> anyhow::Result<()> {
        let (checkpoint, lora) = self.write_models(story)?;
        self.start(story)?;
        let ticket = self.found(story)?;
        self.join(&ticket, story)?;
        let cards = self.import(&checkpoint, &lora, story)?;
        self.meet(cards, story)?;
        self.order(prompt, cards, story)?;
        self.settle(story)?;
        self.agree(story)?;
        self.audit(story)
    }

    fn write_models(&self, story: &mut Story) -> anyhow::Result<(PathBuf, PathBuf)> {
        story.begin("models", "writing out the models in the binary");
        let dir = self.dir.join("models");
        std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let write = |name: &str, bytes: &[u8]| {
            let path = dir.join(name);
            std::fs::write(&path, bytes)
                .with_context(|| format!("cannot write {}", path.display()))?;
            anyhow::Ok(path)
        };
        let checkpoint = write("kindling.safetensors", kindling::WEIGHTS)?;
        let lora = write("emberglow.safetensors", kindling::LORA)?;
        story.held("wrote out Kindling, the small model in the binary, and a LoRA for it")?;
        Ok((checkpoint, lora))
    }

    fn start(&mut self, story: &mut Story) -> anyhow::Result<()> {
        story.begin("start", "starting three nodes");
        for part in Part::ALL {
            self.actors.push(Actor::start(part, &self.dir)?);
        }
        self.wait("the nodes are ready", |stage| {
            let mut all = true;
            for actor in &mut stage.actors {
                all &= actor.is_ready()?;
            }
            Ok(all.then_some(()))
        })?;
        let ids: Vec<String> = self
            .actors
            .iter()
            .map(|actor| format!("{} {}", actor.part().name(), actor.node().short()))
            .collect();
        story.held(&format!("three nodes are up: {}", ids.join(", ")))
    }

    fn found(&self, story: &mut Story) -> anyhow::Result<String> {
        story.begin("found", "founding a commons");
        let seeder = self.actor(Part::Seeder);
        let reply = seeder.ask(Command::CommonsCreate {
            name: "Demo commons".to_owned(),
            purpose: "To show the way of a job".to_owned(),
            admission: Admission::InvitedByFounder,
            member_line: Millikudos::saturating(1_000_000),
            rules: String::new(),
        })?;
        let Reply::Commons(commons) = reply else {
            return other();
        };
        let reply = seeder.ask(Command::CommonsInvite {
            uses: 2,
            life: Millis::from_secs(3_600),
        })?;
        let Reply::Ticket { ticket, .. } = reply else {
            return other();
        };
        story.held(&format!(
            "the seeder founded an invite-only commons ({}) and made a ticket for two",
            commons.id.short()
        ))?;
        Ok(ticket)
    }

    fn join(&mut self, ticket: &str, story: &mut Story) -> anyhow::Result<()> {
        story.begin("join", "joining by ticket");
        for part in [Part::Requester, Part::Worker] {
            let reply = self.actor(part).ask(Command::CommonsJoin {
                ticket: ticket.to_owned(),
            })?;
            let Reply::Commons(_) = reply else {
                return other();
            };
        }
        self.wait("everybody sees three members, connected", |stage| {
            for actor in &stage.actors {
                let Reply::Commons(commons) = actor.ask(Command::CommonsShow)? else {
                    return other();
                };
                if commons.members != 3 || commons.connected < 2 {
                    return Ok(None);
                }
            }
            Ok(Some(()))
        })?;
        story.held("requester and worker joined by ticket; all three are connected")
    }

    fn import(&self, checkpoint: &Path, lora: &Path, story: &mut Story) -> anyhow::Result<Cards> {
        story.begin("import", "importing at the seeder");
        let add = |path: &Path, title: &str, triggers: &[&str]| {
            let reply = self.actor(Part::Seeder).ask(Command::ModelAdd {
                path: path.display().to_string(),
                title: Some(title.to_owned()),
                triggers: triggers.iter().map(|&word| word.to_owned()).collect(),
                licence: Some(kindling::LICENCE.to_owned()),
                description: None,
            })?;
            let Reply::Model(card) = reply else {
                return other();
            };
            Ok(card)
        };
        let checkpoint = add(checkpoint, kindling::TITLE, &[])?;
        let lora = add(lora, kindling::LORA_TITLE, &[kindling::LORA_TITLE])?;
        story.held(&format!(
            "the seeder shares both where they lie: checkpoint {} ({}), LoRA {} ({})",
            checkpoint.card.short(),
            checkpoint.size,
            lora.card.short(),
            lora.size
        ))?;
        Ok(Cards {
            checkpoint: checkpoint.card,
            lora: lora.card,
        })
    }

    fn meet(&mut self, cards: Cards, story: &mut Story) -> anyhow::Result<()> {
        story.begin("meet", "waiting for cards and adverts");
        let worker = self.actor(Part::Worker).node();
        self.wait(
            "requester and worker know the cards and each other",
            |stage| {
                for part in [Part::Requester, Part::Worker] {
                    let Reply::Models { models } = stage.actor(part).ask(Command::ModelList)?
                    else {
                        return other();
                    };
                    for card in [cards.checkpoint, cards.lora] {
                        if !models
                            .iter()
                            .any(|model| model.card == card && !model.seeders.is_empty())
                        {
                            return Ok(None);
                        }
                    }
                }
                let Reply::Peers { peers } =
                    stage.actor(Part::Requester).ask(Command::PeersList)?
                else {
                    return other();
                };
                let ready = peers
                    .iter()
                    .any(|peer| peer.node == worker && peer.connected && peer.device.is_some());
                Ok(ready.then_some(()))
            },
        )?;
        story.held("cards and capacity adverts reached everybody")
    }

    fn settle(&mut self, story: &mut Story) -> anyhow::Result<()> {
        story.begin("settle", "settling");
        self.wait("the requester paid", |stage| {
            let (own, _) = stage.balance(Part::Requester, Part::Requester)?;
            Ok((own < Balance::ZERO).then_some(()))
        })?;
        story.held("the requester accepted the receipt: the work is paid")?;
        story.begin("pay", "paying the seeder");
        let paid = self.wait("the seeder is paid", |stage| {
            let (own, _) = stage.balance(Part::Seeder, Part::Seeder)?;
            Ok((own > Balance::ZERO).then_some(own))
        })?;
        story.held(&format!(
            "the worker paid the seeder {paid} kudos for the bytes it served"
        ))
    }

    fn agree(&mut self, story: &mut Story) -> anyhow::Result<()> {
        story.begin("agree", "comparing ledgers");
        self.wait("the three ledgers show one digest", |stage| {
            for part in Part::ALL {
                let (balance, digest) = stage.balance(part, part)?;
                stage.balances.insert(part, balance);
                stage.digests.insert(part, digest);
            }
            let first = &stage.digests[&Part::Requester];
            let one = stage.digests.values().all(|digest| digest == first);
            let sum: Balance = stage.balances.values().copied().sum();
            Ok((one && sum == Balance::ZERO).then_some(()))
        })?;
        let digest: String = self.digests[&Part::Requester].chars().take(16).collect();
        story.held(&format!("three ledgers, one digest: {digest}"))
    }

    fn audit(&mut self, story: &mut Story) -> anyhow::Result<()> {
        story.begin("audit", "auditing");
        let mut checked = 0;
        for part in Part::ALL {
            let Reply::Audit(audit) = self.actor(part).ask(Command::LedgerAudit)? else {
                return other();
            };
            if !audit.ok || audit.sum != Balance::ZERO || audit.digest != self.digests[&part] {
                bail!(
                    "the {}'s audit found: {}",
                    part.name(),
                    audit.findings.join("; ")
                );
            }
            checked += audit.entries;
            self.audits.insert(part, "ok".to_owned());
        }
        story.held(&format!(
            "three audits from the signed bytes, {checked} entries in all: all holds"
        ))
    }

    /// Returns a member's balance and the digest, as one node sees them.
    fn balance(&self, at: Part, of: Part) -> anyhow::Result<(Balance, String)> {
        let whose = self.actor(of).node();
        let Reply::Balances {
            balances, digest, ..
        } = self.actor(at).ask(Command::LedgerBalance)?
        else {
            return other();
        };
        let balance = balances
            .iter()
            .find(|line| line.node == whose)
            .map_or(Balance::ZERO, |line| line.balance);
        Ok((balance, digest))
    }

    fn wait<T>(
        &mut self,
        what: &str,
        mut look: impl FnMut(&mut Self) -> anyhow::Result<Option<T>>,
    ) -> anyhow::Result<T> {
        let begun = Instant::now();
        loop {
            self.check()?;
            if let Some(found) = look(self)? {
                return Ok(found);
            }
            if begun.elapsed() > STEP_MAX {
                bail!("waited {} s until {what}", STEP_MAX.as_secs());
            }
            std::thread::sleep(POLL);
        }
    }

    /// Fails when a person interrupted or a node ended by itself.
    fn check(&mut self) -> anyhow::Result<()> {
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(Interrupted::Gracefully.into());
        }
        self.actors.iter_mut().try_for_each(Actor::check_alive)
    }

    fn actor(&self, part: Part) -> &Actor {
        self.actors
            .iter()
            .find(|actor| actor.part() == part)
            .expect("all parts were started")
    }

    /// Ends all nodes in an orderly way.
    pub(super) fn finish(&mut self) {
        for actor in &self.actors {
            actor.ask_to_end();
        }
        for actor in &mut self.actors {
            actor.end();
        }
        self.actors.clear();
    }

    /// Returns the last lines of every node's log.
    pub(super) fn tail(&self) -> Vec<String> {
        self.actors.iter().flat_map(Actor::tail).collect()
    }

    pub(super) fn picture(&self) -> &Path {
        &self.picture
    }

    pub(super) const fn balances(&self) -> &BTreeMap<Part, Balance> {
        &self.balances
    }

    pub(super) const fn digests(&self) -> &BTreeMap<Part, String> {
        &self.digests
    }

    pub(super) const fn audits(&self) -> &BTreeMap<Part, String> {
        &self.audits
    }
}
