//! The ledger as JSON lines: what was signed, and what it says.

use hearth_protocol::codec;
use hearth_protocol::control::Verbatim;
use hearth_protocol::unit::Timestamp;

use super::{Copy, Sink};
use crate::cli::ledger::file::{EndLine, EntryLine, ForkLine, HeaderLine, Line, SCHEMA};

/// Writes everything, or what is dated at or after `since`.
pub(in crate::cli::ledger) fn write(
    copy: &Copy,
    since: Option<Timestamp>,
    sink: Sink<'_>,
) -> anyhow::Result<()> {
    let book = &copy.book;
    let mut push = |line: &Line| sink(&format!("{}\n", serde_json::to_string(line)?));
    push(&Line::Header(Box::new(HeaderLine {
        schema: SCHEMA,
        commons: book.commons(),
        name: book.charter().name.clone(),
        node: copy.node,
        exported: copy.time,
        since,
        charter: Verbatim(codec::encode(&copy.charter)),
    })))?;
    let (mut entries, mut forks) = (0, 0);
    // First, as in an audit: how far proofs reach must not depend on when entries showed them.
    for proof in book.proofs() {
        push(&Line::Fork(ForkLine::of(proof)))?;
        forks += 1;
    }
    for entry in book.entries() {
        if since.is_none_or(|since| entry.header.trusted().time >= since) {
            push(&Line::Entry(Box::new(EntryLine::of(book, entry))))?;
            entries += 1;
        }
    }
    push(&Line::End(EndLine {
        entries,
        forks,
        digest: data_encoding::HEXLOWER.encode(&book.digest()),
    }))
}
