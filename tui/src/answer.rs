//! What the node's answers look like: a note for the small ones, a window for the others.

use hearth_protocol::control::{AuditReply, Problem, Reply, WhyLine};
use hearth_protocol::id::NodeId;
use hearth_protocol::unit::{Balance, Timestamp};

use crate::feed::Feed;
use crate::sheet::Sheet;
use crate::text;
use crate::theme::Tone;

/// What to show.
#[derive(Debug)]
pub(crate) enum Answer {
    Note(Tone, String),
    Sheet(Sheet),
}

pub(crate) fn answer(feed: &Feed, now: Timestamp, result: Result<Reply, Problem>) -> Answer {
    match result {
        Err(problem) => Answer::Sheet(problem_sheet(&problem)),
        Ok(Reply::Done { what } | Reply::Wrote { what, .. }) => {
            Answer::Note(Tone::Ok, text::clean(&what))
        }
        Ok(Reply::Why {
            node,
            balance,
            pending,
            lines,
            next,
            ..
        }) => {
            let mut sheet = why_sheet(feed, now, node, (balance, pending), &lines);
            if next.is_some() {
                sheet.fact("...", "there are more lines: 'hearth ledger why' shows all");
            }
            Answer::Sheet(sheet)
        }
        Ok(Reply::Audit(audit)) => Answer::Sheet(audit_sheet(&audit)),
        Ok(
            Reply::Status(_)
            | Reply::Doctor { .. }
            | Reply::Commons(_)
            | Reply::Ticket { .. }
            | Reply::Peers { .. }
            | Reply::Peer(_)
            | Reply::Models { .. }
            | Reply::Model(_)
            | Reply::Fetched { .. }
            | Reply::Submitted { .. }
            | Reply::Estimate { .. }
            | Reply::Jobs { .. }
            | Reply::Job(_)
            | Reply::Balances { .. }
            | Reply::Entries { .. }
            | Reply::Account(_)
            | Reply::Entry(_)
            | Reply::Export(_)
            | Reply::Imported(_)
            | Reply::Credit(_)
            | Reply::Fork(_)
            | Reply::Bounties { .. }
            | Reply::Bounty(_),
        ) => Answer::Note(Tone::Ok, "done".into()),
    }
}

fn problem_sheet(problem: &Problem) -> Sheet {
    let mut sheet = Sheet::new("It did not work");
    sheet.text(Tone::Error, &problem.what);
    for cause in &problem.causes {
        sheet.fact("cause", cause);
    }
    if let Some(hint) = &problem.hint {
        sheet.gap();
        sheet.fact("hint", hint);
    }
    sheet
}

fn why_sheet(
    feed: &Feed,
    now: Timestamp,
    node: NodeId,
    (balance, pending): (Balance, Balance),
    lines: &[WhyLine],
) -> Sheet {
    let whose = feed.name(node);
    let mut sheet = Sheet::new(&format!("Why {whose}: {balance} kudos"));
    for line in lines {
        let sign = if line.amount.mk() < 0 { "" } else { "+" };
        sheet.fact(
            &format!("{sign}{}", line.amount),
            &format!(
                "{} {} with {}, {} ({})",
                line.state,
                line.kind,
                feed.name(line.peer),
                text::ago(now, line.time),
                line.entry.short()
            ),
        );
    }
    sheet.gap();
    sheet.fact(&balance.to_string(), "balance: the sum of these lines");
    sheet.fact(&pending.to_string(), "of it pending: not yet spendable");
    sheet
}

fn audit_sheet(audit: &AuditReply) -> Sheet {
    let mut sheet = Sheet::new("Audit");
    if audit.ok {
        sheet.text(Tone::Ok, "✓ everything holds");
    } else {
        sheet.text(Tone::Error, "✗ something does not hold");
    }
    for finding in &audit.findings {
        sheet.text(Tone::Warn, &format!("· {finding}"));
    }
    for unchecked in &audit.unchecked {
        sheet.text(Tone::Muted, &format!("· not checked: {unchecked}"));
    }
    sheet.gap();
    sheet.fact("entries", &audit.entries.to_string());
    sheet.fact("chains", &audit.chains.to_string());
    sheet.fact("sum", &format!("{} (0 when all is well)", audit.sum));
    sheet.fact("digest", &audit.digest);
    sheet
}
