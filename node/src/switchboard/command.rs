//! Commands of the person, answered at once from what the switchboard owns.

mod bounty;
mod credit;
mod fork;
mod generate;
mod ledger;
mod models;
mod peers;

use hearth_dispatch::Event;
use hearth_protocol::control::{Command, Problem, ProblemKind, Reply};
use hearth_protocol::entry::{Body, DisputeCode, Verdict};
use hearth_protocol::id::JobId;
use hearth_protocol::job::Start;

use super::ask::Ask;
use super::commons::Founding;
use super::{Flow, Inbox, Switchboard};

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
            Ask::Generate(request, start, reply) => {
                let result = self.generate(&request, &start);
                self.settle();
                drop(reply.send(result));
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
            Ask::Fetched(card, bytes_from, reply) => {
                self.card_is_here(card);
                self.thank_for_fetch(card, &bytes_from);
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
        let result = if let Command::CommonsCreate {
            name,
            purpose,
            admission,
            member_line,
            rules,
        } = command
        {
            let founding = Founding {
                name,
                purpose,
                admission,
                member_line,
                rules,
            };
            self.found(founding, inbox.network_sender.clone()).await
        } else {
            self.command_now(command)
        };
        let result = result.map_err(|problem| self.hint_at_healing(problem));
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
            Command::PeersList => self.list_peers(),
            Command::PeersShow { peer } => self.show_peer(&peer),
            Command::PeersAdd { peer, addr } => self.add_peer(peer, addr),
            Command::PeersTrust { peer, limit, level } => self.trust(&peer, limit, level),
            Command::PeersBlock { peer } => self.block(&peer),
            Command::PeersName { peer, name } => self.name_peer(&peer, name),
            Command::ModelList => Ok(Reply::Models {
                models: self.card_views(),
            }),
            Command::ModelShow { model } => self.show_model(self.model(&model)?),
            Command::ModelPin { model } => self.pin(&model),
            Command::ModelUnpin { model } => self.unpin(&model),
            Command::ModelRm { model } => self.remove_model(&model),
            // Its files come through `Ask::Generate`; without any it may come as it is.
            Command::Generate(request) => self.generate(&request, &Start::Noise),
            Command::JobsList => Ok(Reply::Jobs {
                jobs: self.job_views(),
            }),
            Command::JobsShow { job } => Ok(Reply::Job(Box::new(self.job_named(&job)?))),
            Command::JobsCancel { job } => self.cancel(&job),
            Command::JobsDispute { job, code } => self.dispute(&job, code),
            Command::LedgerBalance => self.show_balances(),
            Command::LedgerAccount { peer } => self.show_account(peer.as_deref()),
            Command::LedgerEntries(request) => self.show_entries(&request),
            Command::LedgerEntry { entry } => self.show_entry(&entry),
            Command::LedgerWhy(request) => self.explain(&request),
            Command::LedgerAudit => self.audit(),
            Command::LedgerExport { after } => self.export(after),
            Command::LedgerRebuild => self.rebuild_ledger(),
            Command::LedgerImport { entries, forks } => self.import(&entries, &forks),
            Command::LedgerGive { peer, amount } => self.give(&peer, amount),
            Command::LedgerFork => self.show_fork(),
            Command::LedgerHeal { reason } => self.heal(reason),
            Command::Bounty(command) => self.bounty(command),
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
            Command::CreditShow { peer } => self.show_credit(peer.as_deref()),
            Command::CreditSet { terms } => self.set_credit(terms),
            Command::CommonsCreate { .. }
            | Command::CommonsJoin { .. }
            | Command::ModelAdd { .. }
            | Command::ModelFetch { .. } => {
                Err(refused("this command takes time and is not done here"))
            }
        }
    }

    fn cancel(&mut self, name: &str) -> Result<Reply, Problem> {
        let view = self.job_named(name)?;
        if view.over {
            return Err(refused(format!("job {} is over", view.job.short())));
        }
        self.dispatch(Event::Cancel { job: view.job });
        Ok(done(format!("cancelling job {}", view.job.short())))
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
}
