//! What may be wrong with this node, and what a job would cost before anybody is asked.

use std::path::Path;

use hearth_dispatch::Place;
use hearth_protocol::capacity::Accepting;
use hearth_protocol::charter::PriceTable;
use hearth_protocol::control::{Check, Health, Reply};
use hearth_protocol::id::{CardId, NodeId};
use hearth_protocol::job::JobSpec;
use hearth_protocol::unit::{ByteCount, Millikudos};

use super::Switchboard;
use crate::clock::now;

/// Below this, imports and ledger may soon fail.
const DISK_LOW: u64 = 1 << 30;

fn check(name: &str, health: Health, found: impl Into<String>, hint: Option<&str>) -> Check {
    Check {
        name: name.into(),
        health,
        found: found.into(),
        hint: hint.map(str::to_owned),
    }
}

impl Switchboard {
    /// Looks at everything that often goes wrong.
    pub(super) fn checks(&self) -> Vec<Check> {
        vec![
            self.check_commons(),
            self.check_members(),
            self.check_addresses(),
            self.check_ledger(),
            self.check_chains(),
            check_disk(self.facts.home.root()),
            self.check_models(),
            self.check_worker(),
            self.check_engine(),
        ]
    }

    fn check_commons(&self) -> Check {
        match &self.charter {
            Some(charter) => check(
                "commons",
                Health::Ok,
                format!("in '{}'", charter.trusted().name),
                None,
            ),
            None => check(
                "commons",
                Health::Warning,
                "in no commons: only local jobs",
                Some("hearth commons create NAME, or hearth commons join TICKET"),
            ),
        }
    }

    fn check_members(&self) -> Check {
        let connected = self.peers.connected().count();
        let members = self
            .ledger
            .as_ref()
            .map_or(0, |ledger| ledger.book().members().len());
        let found = format!(
            "{connected} of {} other members connected",
            members.saturating_sub(1)
        );
        if connected > 0 || members < 2 {
            return check("members", Health::Ok, found, None);
        }
        let hint = "are they running? tell this node where one is: hearth peers add ID ADDRESS";
        check("members", Health::Warning, found, Some(hint))
    }

    fn check_addresses(&self) -> Check {
        let addrs = &self.pulse.listening;
        let all: Vec<&String> = addrs.network.iter().chain(&addrs.blobs).collect();
        let found = if all.is_empty() {
            "listening nowhere".to_owned()
        } else {
            format!("{} addresses", all.len())
        };
        let loopback = all
            .iter()
            .all(|addr| addr.contains("127.0.0.1") || addr.contains("::1"));
        if self.ledger.is_some() && loopback {
            let hint = "others cannot reach a loopback address: set network.listen and blobs.listen to 0.0.0.0:PORT";
            return check(
                "addresses",
                Health::Warning,
                format!("{found}, loopback only"),
                Some(hint),
            );
        }
        check("addresses", Health::Ok, found, None)
    }

    fn check_ledger(&self) -> Check {
        let Some(ledger) = &self.ledger else {
            return check("ledger", Health::Ok, "none yet", None);
        };
        let report = hearth_ledger::audit(ledger.book());
        if ledger.is_degraded() {
            let hint = "free some disk space; the node writes what waits as soon as it can";
            return check("ledger", Health::Broken, "the disk is behind", Some(hint));
        }
        if report.is_clean() {
            return check(
                "ledger",
                Health::Ok,
                format!("{} entries, audit ok", report.entries),
                None,
            );
        }
        let found = report
            .findings
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("; ");
        check(
            "ledger",
            Health::Broken,
            found,
            Some("hearth ledger audit says more"),
        )
    }

    fn check_models(&self) -> Check {
        let (here, known) = (self.shelf.complete().len(), self.shelf.cards().count());
        let found = format!("{known} cards known, {here} of them here");
        let hint = (known == 0).then_some("hearth model add PATH");
        check(
            "models",
            if known == 0 {
                Health::Warning
            } else {
                Health::Ok
            },
            found,
            hint,
        )
    }

    fn check_worker(&self) -> Check {
        match self.dispatcher.accepting() {
            Accepting::Yes => check("worker", Health::Ok, "takes jobs", None),
            Accepting::Paused => check(
                "worker",
                Health::Warning,
                "paused",
                Some("hearth worker resume"),
            ),
            Accepting::Never => check("worker", Health::Ok, "never computes for others", None),
        }
    }

    fn check_engine(&self) -> Check {
        let Some(choice) = &self.facts.engine else {
            return check("engine", Health::Ok, "being looked for", None);
        };
        match &choice.passed_over {
            None => check("engine", Health::Ok, choice.to_string(), None),
            Some(reason) => {
                let hint =
                    "mend what it names, or name another program: worker.engine, --engine PATH";
                let found = format!("{choice}; {reason}");
                check("engine", Health::Warning, found, Some(hint))
            }
        }
    }

    /// Says what some jobs would cost at most, and who could do them.
    pub(super) fn estimate(&self, specs: &[JobSpec], place: Place) -> Reply {
        let prices = self
            .charter
            .as_ref()
            .map_or(PriceTable::DEFAULT, |charter| charter.trusted().prices);
        let Some(first) = specs.first() else {
            return Reply::Estimate {
                kudos_mk: Millikudos::ZERO,
                workers: Vec::new(),
                obstacle: None,
            };
        };
        let workers = self.workers(place);
        let local = workers.iter().all(|worker| *worker == self.me) && !workers.is_empty();
        let each = if local { 0 } else { self.most(first, &prices) };
        let count = u64::try_from(specs.len()).unwrap_or(u64::MAX);
        let obstacle = self.obstacle(first, &workers, place);
        Reply::Estimate {
            kudos_mk: Millikudos::saturating(each.saturating_mul(count)),
            workers,
            obstacle,
        }
    }

    /// The table price with everything cold and everything to be fetched.
    fn most(&self, spec: &JobSpec, prices: &PriceTable) -> u64 {
        let factor = self
            .shelf
            .card(&spec.checkpoint)
            .map_or(1, |card| card.trusted().family.factor());
        let size = spec
            .cards()
            .iter()
            .filter_map(|id| Some(self.shelf.card(id)?.trusted().size()))
            .fold(ByteCount::default(), ByteCount::plus);
        let loras = u64::try_from(spec.loras.len()).unwrap_or(u64::MAX);
        prices
            .work(spec.evaluations(), spec.width, spec.height, factor)
            .get()
            .saturating_add(prices.cold_load.get())
            .saturating_add(prices.lora.get().saturating_mul(loras))
            .saturating_add(prices.fetch(size).get())
    }

    fn workers(&self, place: Place) -> Vec<NodeId> {
        let takes = |node: &NodeId| {
            let capacity = self.peers.capacity(node, now());
            capacity.is_some_and(|capacity| capacity.accepting == Accepting::Yes)
        };
        match place {
            Place::Local => vec![self.me],
            Place::Peer(node) => Some(node).filter(takes).into_iter().collect(),
            Place::Anywhere => {
                let own = self.facts.config.worker.enabled.then_some(self.me);
                self.peers
                    .connected()
                    .filter(|node| takes(node))
                    .copied()
                    .chain(own)
                    .collect()
            }
        }
    }

    fn obstacle(&self, spec: &JobSpec, workers: &[NodeId], place: Place) -> Option<String> {
        if workers.is_empty() {
            return Some("no connected member takes jobs".into());
        }
        let local = matches!(place, Place::Local);
        let missing = |id: &CardId| {
            let here = self.shelf.note(id).complete;
            if local {
                !here
            } else {
                !here && self.peers.seeders(id).is_empty()
            }
        };
        let card = spec.cards().into_iter().find(missing)?;
        let title = self
            .card_view(&card)
            .map_or_else(|| card.short(), |view| view.title);
        Some(format!("nobody who is connected has '{title}'"))
    }
}

fn check_disk(home: &Path) -> Check {
    match fs4::available_space(home) {
        Ok(free) if free < DISK_LOW => {
            let found = format!("{} free", ByteCount::new(free));
            check(
                "disk",
                Health::Warning,
                found,
                Some("free some space: the ledger must be able to grow"),
            )
        }
        Ok(free) => check(
            "disk",
            Health::Ok,
            format!("{} free", ByteCount::new(free)),
            None,
        ),
        Err(error) => check(
            "disk",
            Health::Warning,
            format!("cannot be measured: {error}"),
            None,
        ),
    }
}
