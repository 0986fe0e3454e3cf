//! A whole copy of the running node's ledger, fetched page by page.

use anyhow::Context;
use hearth_ledger::{Book, Rebuild};
use hearth_protocol::charter::Charter;
use hearth_protocol::codec;
use hearth_protocol::control::{Command, ExportPage, Reply};
use hearth_protocol::entry::Entry;
use hearth_protocol::id::{EntryHash, NodeId};
use hearth_protocol::limits;
use hearth_protocol::sign::Signed;
use hearth_protocol::unit::Timestamp;
use hearth_protocol::wire::ForkProof;

use crate::cli::session::{Session, other};

/// What a node keeps of its commons, at one moment.
///
/// Entries that arrive while pages are read may or may not be in it. Every chain is in it from its
/// beginning, so it is a state that some node could have had.
#[derive(Debug)]
pub(super) struct Copy {
    pub(super) charter: Signed<Charter>,
    pub(super) node: NodeId,
    pub(super) time: Timestamp,
    pub(super) book: Book,
}

/// Fetches everything.
pub(super) fn fetch(session: &Session) -> anyhow::Result<Copy> {
    let first = page(None, session)?;
    let charter = first
        .charter
        .as_ref()
        .map(|charter| codec::decode::<Signed<Charter>>(&charter.0, limits::CHARTER_LEN_MAX));
    let Some(Ok(charter)) = charter else {
        return other();
    };
    let mut rebuild = Rebuild::new(&charter).context("the charter is not signed by its founder")?;
    let (node, time) = (first.node, first.time);
    let mut page_now = first;
    loop {
        take_in(&mut rebuild, &page_now)?;
        match page_now.next {
            Some(next) => page_now = page(Some(next), session)?,
            None => break,
        }
    }
    Ok(Copy {
        charter,
        node,
        time,
        book: rebuild.finish(),
    })
}

fn page(after: Option<EntryHash>, session: &Session) -> anyhow::Result<ExportPage> {
    let Reply::Export(page) = session.ask(Command::LedgerExport { after })? else {
        return other();
    };
    Ok(*page)
}

fn take_in(rebuild: &mut Rebuild, page: &ExportPage) -> anyhow::Result<()> {
    for bytes in &page.forks {
        let proof: ForkProof = codec::decode(&bytes.0, hearth_ledger::fork::PROOF_LEN_MAX)
            .context("the node sent a fork proof that cannot be read")?;
        rebuild
            .insert_fork(&proof)
            .context("the node sent a fork proof that proves nothing")?;
    }
    for bytes in &page.entries {
        let entry: Entry = codec::decode(&bytes.0, limits::ENTRY_LEN_MAX)
            .context("the node sent an entry that cannot be read")?;
        let hash = entry.hash();
        rebuild
            .restore(entry)
            .with_context(|| format!("the node sent entry {} out of order", hash.short()))?;
    }
    Ok(())
}
