//! `hearth ledger verify`: an exported file, checked without a node, a home or trust in who made it.
//!
//! Every line is held against its own bytes, every entry is checked in full, the state is computed
//! anew, and both what each line claims and what the last line says must come out. A file made with
//! `--since` lacks the beginnings of chains: then it is said what could not be checked.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::path::Path;

use anyhow::bail;
use hearth_ledger::{Book, Fault, Fragment, Rebuild, Report, Unchecked, review, verify_fork_proof};
use hearth_protocol::entry::Entry;
use hearth_protocol::id::{CommonsId, EntryHash, NodeId};
use hearth_protocol::snapshot::BalanceView;
use hearth_protocol::unit::Balance;
use serde::Serialize;

use super::calendar::stamp;
use super::file::{EndLine, EntryLine, ForkLine, HeaderLine, Line, Lines, standing};
use super::words::{counted, kudos};
use crate::cli::printer::Role;
use crate::cli::session::Session;
use crate::cli::table::Table;
use crate::cli::wording::printable;

/// Findings that are shown; the others are counted.
const SHOWN_MAX: usize = 50;

/// Something wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct FileFinding {
    pub(super) line: u64,
    pub(super) what: String,
}

/// What is known of a file that was read to its end.
#[derive(Debug, Serialize)]
pub(super) struct Verdict {
    pub(super) ok: bool,
    commons: CommonsId,
    name: String,
    node: NodeId,
    exported: hearth_protocol::unit::Timestamp,
    since: Option<hearth_protocol::unit::Timestamp>,
    pub(super) entries: u64,
    chains: u64,
    members: Option<u64>,
    forks: u64,
    sum: Option<Balance>,
    digest: Option<String>,
    pub(super) balances: Vec<BalanceView>,
    /// All that were found.
    findings_count: usize,
    /// The first of them.
    pub(super) findings: Vec<FileFinding>,
    pub(super) unchecked: Vec<String>,
}

pub(super) fn run(path: &Path, session: &Session) -> anyhow::Result<()> {
    let verdict = verify(&mut Lines::open(path)?)?;
    session.printer.json(&verdict)?;
    if !session.printer.is_json() {
        show(&verdict, session)?;
    }
    if !verdict.ok {
        bail!(
            "{} does not hold: {} found",
            path.display(),
            counted(verdict.findings_count, "thing", "things")
        );
    }
    Ok(())
}

fn show(verdict: &Verdict, session: &Session) -> anyhow::Result<()> {
    let printer = &session.printer;
    for FileFinding { line, what } in &verdict.findings {
        let text = format!("line {line}: {}", printable(what));
        printer.line(printer.paint(Role::Bad, text))?;
    }
    let more = verdict.findings_count - verdict.findings.len();
    if more > 0 {
        printer.line(format!("and {more} more"))?;
    }
    for what in &verdict.unchecked {
        printer.line(printer.paint(Role::Warning, format!("not checked: {what}")))?;
    }
    let mut facts = vec![
        (
            "commons",
            format!("{} ({})", printable(&verdict.name), verdict.commons.short()),
        ),
        (
            "exported",
            format!(
                "{} UTC by {}",
                stamp(verdict.exported),
                verdict.node.short()
            ),
        ),
        (
            "entries",
            format!("{} in {} chains", verdict.entries, verdict.chains),
        ),
        ("forks", verdict.forks.to_string()),
    ];
    if let Some(since) = verdict.since {
        facts.push(("since", format!("{} UTC", stamp(since))));
    }
    if let Some(members) = verdict.members {
        facts.push(("members", members.to_string()));
    }
    if let Some(sum) = verdict.sum {
        facts.push(("sum", kudos(sum)));
    }
    if let Some(digest) = &verdict.digest {
        facts.push(("digest", digest.clone()));
    }
    for (name, value) in facts {
        printer.line(format!("{name:<8}  {value}"))?;
    }
    if !verdict.balances.is_empty() {
        let mut table = Table::new(&["MEMBER", ">KUDOS", ">PENDING"]);
        for line in &verdict.balances {
            table.row([line.node.short(), kudos(line.balance), kudos(line.pending)]);
        }
        printer.table(&table)?;
    }
    match (verdict.ok, verdict.unchecked.is_empty()) {
        (false, _) => Ok(()),
        (true, true) => printer.line(printer.paint(Role::Good, "all holds")),
        (true, false) => printer.line(printer.paint(Role::Good, "all that could be checked holds")),
    }
}

/// Checks a file.
///
/// # Errors
/// When it cannot be read, or its first line says nothing to go on with.
pub(super) fn verify<R: BufRead>(lines: &mut Lines<R>) -> anyhow::Result<Verdict> {
    let (header, charter) = lines.header()?;
    let mut building = if header.since.is_none() {
        Building::Whole(Box::new(Rebuild::new(&charter)?))
    } else {
        Building::Part(Fragment::new(&charter)?)
    };
    let mut check = Check {
        header,
        findings: Vec::new(),
        claims: Vec::new(),
        loose: BTreeMap::new(),
        entries: 0,
        forks: 0,
        end: None,
    };
    while let Some(line) = lines.next()? {
        let number = lines.number();
        match line {
            Ok(line) => check.take(&mut building, number, line),
            Err(what) => check.find(number, what),
        }
    }
    check.finish(lines.number());
    Ok(match building {
        Building::Whole(rebuild) => check.whole(&rebuild.finish(), lines.number()),
        Building::Part(fragment) => check.part(&fragment),
    })
}

/// What the entries make.
enum Building {
    Whole(Box<Rebuild>),
    Part(Fragment),
}

/// What a file is held against.
struct Check {
    header: HeaderLine,
    findings: Vec<FileFinding>,
    /// What each line says its entry does.
    claims: Vec<(u64, EntryHash, u16)>,
    /// Chains that break: at which line, and how many entries follow.
    loose: BTreeMap<NodeId, (u64, EntryHash, u64)>,
    entries: u64,
    forks: u64,
    end: Option<(u64, EndLine)>,
}

impl Check {
    fn find(&mut self, line: u64, what: impl Into<String>) {
        let what = what.into();
        self.findings.push(FileFinding { line, what });
    }

    fn take(&mut self, building: &mut Building, number: u64, line: Line) {
        if self.end.is_some() {
            return self.find(number, "something follows the last line");
        }
        match line {
            Line::Header(_) => self.find(number, "a second header"),
            Line::Entry(line) => match line.entry() {
                Ok(entry) => self.take_entry(building, number, &line, entry),
                Err(what) => self.find(number, what),
            },
            Line::Fork(line) => self.take_fork(building, number, &line),
            Line::End(end) => self.end = Some((number, end)),
        }
    }

    fn take_entry(&mut self, building: &mut Building, number: u64, line: &EntryLine, entry: Entry) {
        self.entries += 1;
        let taken = match building {
            Building::Whole(rebuild) => rebuild.insert(entry),
            Building::Part(fragment) => fragment.insert(&entry),
        };
        match taken {
            Ok(hash) => self.claims.push((number, hash, line.code)),
            Err(Fault::Loose) => {
                let first = self
                    .loose
                    .entry(line.author)
                    .or_insert((number, line.hash, 0));
                first.2 += 1;
            }
            Err(fault @ (Fault::Invalid(_) | Fault::Twice)) => {
                self.find(number, format!("entry {}: {fault}", line.hash.short()));
            }
        }
    }

    fn take_fork(&mut self, building: &mut Building, number: u64, line: &ForkLine) {
        self.forks += 1;
        let commons = self.header.commons;
        let taken = line.proof().and_then(|proof| match building {
            Building::Whole(rebuild) => match rebuild.insert_fork(&proof) {
                Ok(_) => Ok(()),
                Err(error) => Err(error.to_string()),
            },
            Building::Part(_) => {
                verify_fork_proof(&proof, commons).map_err(|error| error.to_string())
            }
        });
        if let Err(what) = taken {
            self.find(number, what);
        }
    }

    /// Says what breaks chains, and whether all lines are there.
    fn finish(&mut self, last: u64) {
        for (number, hash, count) in std::mem::take(&mut self.loose).into_values() {
            let those = match count {
                1 => "it".to_owned(),
                2 => "it and the one after it".to_owned(),
                count => format!("it and {} after it in its chain", count - 1),
            };
            let what = format!(
                "entry {}: the entry before it is missing or bad; {those} could not be checked",
                hash.short()
            );
            self.find(number, what);
        }
        self.check_end(last);
    }

    fn check_end(&mut self, last: u64) {
        let Some((number, end)) = self.end.clone() else {
            return self.find(last, "the file ends without its last line: it was cut off");
        };
        let counts = [
            ("entries", end.entries, self.entries),
            ("fork proofs", end.forks, self.forks),
        ];
        for (what, said, read) in counts {
            if said != read {
                self.find(
                    number,
                    format!("{said} {what} were written and {read} are here: lines are missing, doubled or bad"),
                );
            }
        }
    }

    /// Holds the state that all entries give against what the file says of it.
    fn whole(mut self, book: &Book, last: u64) -> Verdict {
        let report = review(book);
        let end = self.end.as_ref().map_or(last, |(number, _)| *number);
        for finding in &report.findings {
            self.find(end, finding.to_string());
        }
        let digest = data_encoding::HEXLOWER.encode(&report.digest);
        if let Some((number, line)) = self.end.clone() {
            if line.digest != digest {
                self.find(
                    number,
                    format!(
                        "the entries give digest {digest}, the file says {}",
                        line.digest
                    ),
                );
            }
        } else {
            // Without its end a file may lack entries on which a claim rests.
            self.claims.clear();
        }
        if self.findings.is_empty() {
            for (number, hash, code) in std::mem::take(&mut self.claims) {
                let (found, state) = standing(book, &hash);
                if code != found {
                    let what =
                        format!("entry {} is {state}; the line says otherwise", hash.short());
                    self.find(number, what);
                }
            }
        }
        let mut verdict = self.verdict();
        let view = |(node, balance): (NodeId, Balance)| BalanceView {
            node,
            balance,
            pending: book.pending(&node),
        };
        verdict.balances = book.balances().into_iter().map(view).collect();
        tell(&mut verdict, &report);
        verdict.digest = Some(digest);
        verdict
    }

    fn part(self, fragment: &Fragment) -> Verdict {
        let mut verdict = self.verdict();
        verdict.chains = count(fragment.chains());
        let unchecked = fragment.unchecked();
        verdict.unchecked = unchecked.iter().map(Unchecked::to_string).collect();
        verdict.unchecked.push(
            "balances, digest and what entries do: that takes an export without --since".to_owned(),
        );
        verdict
    }

    fn verdict(self) -> Verdict {
        let mut findings = self.findings;
        findings.sort_by_key(|finding| finding.line);
        let findings_count = findings.len();
        findings.truncate(SHOWN_MAX);
        Verdict {
            ok: findings.is_empty(),
            commons: self.header.commons,
            name: self.header.name,
            node: self.header.node,
            exported: self.header.exported,
            since: self.header.since,
            entries: self.entries,
            chains: 0,
            members: None,
            forks: self.forks,
            sum: None,
            digest: None,
            balances: Vec::new(),
            findings_count,
            findings,
            unchecked: Vec::new(),
        }
    }
}

fn tell(verdict: &mut Verdict, report: &Report) {
    verdict.chains = count(report.chains);
    verdict.members = Some(count(report.members));
    verdict.sum = Some(report.sum);
    verdict.unchecked = report.unchecked.iter().map(Unchecked::to_string).collect();
}

fn count(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
