//! `hearth jobs`: what is under way and what became of it.

use clap::{Subcommand, ValueEnum};
use hearth_protocol::control::{Command, Reply};
use hearth_protocol::entry::DisputeCode;
use hearth_protocol::job::Phase;
use hearth_protocol::snapshot::{JobSide, JobView};

use super::printer::Role;
use super::session::{Session, other};
use super::table::Table;
use super::wording::{clip, printable, span, when};
use crate::clock::now;

/// What to do with jobs. JOB is a job id or the beginning of one.
#[derive(Debug, Subcommand)]
pub(super) enum JobsVerb {
    /// List jobs, newest first
    List,
    /// Show one job
    Show {
        /// Job id, or its beginning
        job: String,
    },
    /// Cancel a job; what was computed is paid
    Cancel {
        /// Job id, or its beginning
        job: String,
    },
    /// Dispute a job's receipt
    Dispute {
        /// Job id, or its beginning
        job: String,
        /// What is wrong
        #[arg(long, value_enum)]
        code: CodeArg,
    },
}

/// What is wrong with a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum CodeArg {
    /// It never arrived
    Missing,
    /// Its bytes are not what the receipt says
    Corrupt,
    /// It is not what was asked
    Wrong,
    /// It costs more than agreed
    Overcharged,
}

impl From<CodeArg> for DisputeCode {
    fn from(code: CodeArg) -> Self {
        match code {
            CodeArg::Missing => Self::Missing,
            CodeArg::Corrupt => Self::Corrupt,
            CodeArg::Wrong => Self::Wrong,
            CodeArg::Overcharged => Self::Overcharged,
        }
    }
}

pub(super) fn run(verb: JobsVerb, session: &Session) -> anyhow::Result<()> {
    match verb {
        JobsVerb::List => list(session),
        JobsVerb::Show { job } => show(job, session),
        JobsVerb::Cancel { job } => session.ask_done(Command::JobsCancel { job }),
        JobsVerb::Dispute { job, code } => session.ask_done(Command::JobsDispute {
            job,
            code: code.into(),
        }),
    }
}

fn list(session: &Session) -> anyhow::Result<()> {
    let reply = session.ask(Command::JobsList)?;
    session.reply_json(&reply)?;
    let Reply::Jobs { jobs } = reply else {
        return other();
    };
    let mut table = Table::new(&[
        "JOB", "SIDE", "STATE", "PEER", "SIZE", ">STEPS", ">KUDOS", "ASKED", "WHAT",
    ]);
    let now = now();
    for job in &jobs {
        let what = job.note.as_ref().or(job.prompt.as_ref());
        table.row([
            job.job.short(),
            side(job.side).to_owned(),
            state(job),
            peer(job),
            format!("{}x{}", job.size.0, job.size.1),
            job.steps.to_string(),
            job.kudos.to_string(),
            when(job.submitted, now),
            what.map_or_else(String::new, |what| clip(what, 40)),
        ]);
    }
    if jobs.is_empty() {
        session
            .printer
            .note("no jobs yet; 'hearth generate \"...\"' asks for a picture");
    }
    session.printer.table(&table)
}

fn peer(job: &JobView) -> String {
    job.peer.map_or_else(|| "-".to_owned(), |peer| peer.short())
}

const fn side(side: JobSide) -> &'static str {
    match side {
        JobSide::Requester => "asked",
        JobSide::Worker => "works",
    }
}

fn state(job: &JobView) -> String {
    match (&job.phase, job.over) {
        (Some(phase), false) => phase_words(phase),
        (Some(_) | None, _) => job.state.clone(),
    }
}

/// Returns a phase in words.
pub(super) fn phase_words(phase: &Phase) -> String {
    match phase {
        Phase::Queued { ahead } => format!("queued, {ahead} ahead"),
        Phase::Fetching {
            card, have, total, ..
        } => format!("fetching {} ({have} of {total})", card.short()),
        Phase::Loading => "loading the model".to_owned(),
        Phase::Encoding => "reading the prompt".to_owned(),
        Phase::Denoising { step, steps } => format!("step {step} of {steps}"),
        Phase::Decoding => "decoding".to_owned(),
        Phase::Delivering => "delivering".to_owned(),
    }
}

fn show(job: String, session: &Session) -> anyhow::Result<()> {
    let reply = session.ask(Command::JobsShow { job })?;
    session.reply_json(&reply)?;
    let Reply::Job(job) = reply else {
        return other();
    };
    let printer = &session.printer;
    printer.line(printer.paint(Role::Strong, job.job.to_string()))?;
    let mut facts = vec![
        ("side", side(job.side).to_owned()),
        ("state", state(&job)),
        ("peer", peer(&job)),
        (
            "picture",
            format!("{}x{}, {} steps", job.size.0, job.size.1, job.steps),
        ),
        ("asked", when(job.submitted, now())),
        ("age", span(job.age)),
        ("kudos", job.kudos.to_string()),
    ];
    if let Some(prompt) = &job.prompt {
        facts.push(("prompt", prompt.clone()));
    }
    if let Some(note) = &job.note {
        facts.push(("note", note.clone()));
    }
    if let Some(report) = &job.report {
        facts.push(("path", report.image.path.clone()));
        facts.push(("seed", report.image.seed.to_string()));
        facts.push(("blake3", report.image.blake3.to_string()));
        facts.push(("worker", report.worker.short()));
        facts.push(("computed", span(report.timings.compute())));
        facts.push(("total", span(report.total)));
        for warning in &report.warnings {
            facts.push(("warning", warning.clone()));
        }
    }
    for (name, value) in facts {
        printer.line(format!("  {name:<8}  {}", printable(&value)))?;
    }
    Ok(())
}
