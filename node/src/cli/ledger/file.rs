//! The form of an exported ledger: JSON lines, specified in `specs/ledger.md` (L70).
//!
//! The signed bytes in each line are what counts; the fields beside them are for people and are held
//! against the bytes when a file is read. Reading takes one bounded line at a time.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use anyhow::{Context, bail};
use hearth_ledger::{Book, Standing};
use hearth_protocol::charter::Charter;
use hearth_protocol::codec;
use hearth_protocol::control::{EntryKind, Verbatim};
use hearth_protocol::entry::{Body, Entry, VERSION};
use hearth_protocol::id::{CommonsId, EntryHash, NodeId};
use hearth_protocol::limits;
use hearth_protocol::sign::Signed;
use hearth_protocol::unit::Timestamp;
use hearth_protocol::wire::ForkProof;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Version of the form.
pub(super) const SCHEMA: u64 = 1;

/// One line.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Line {
    /// The first.
    Header(Box<HeaderLine>),
    /// One for each fork proof.
    Fork(ForkLine),
    /// One for each entry, chain by chain, each in order.
    Entry(Box<EntryLine>),
    /// The last.
    End(EndLine),
}

/// What the file is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct HeaderLine {
    pub(super) schema: u64,
    pub(super) commons: CommonsId,
    pub(super) name: String,
    /// The node that made it.
    pub(super) node: NodeId,
    pub(super) exported: Timestamp,
    /// Entries dated earlier were left out.
    pub(super) since: Option<Timestamp>,
    /// The signed charter.
    pub(super) charter: Verbatim,
}

/// One entry.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct EntryLine {
    pub(super) hash: EntryHash,
    pub(super) author: NodeId,
    pub(super) seq: u64,
    pub(super) time: Timestamp,
    pub(super) kind: EntryKind,
    /// 0 when it has an effect, 1 when it waits, else the reason's number.
    pub(super) code: u16,
    /// The code in words.
    pub(super) state: String,
    /// What it says; nothing for a version the exporting node did not know.
    pub(super) body: Option<Body>,
    /// The signed entry.
    pub(super) bytes: Verbatim,
}

/// One fork proof.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct ForkLine {
    pub(super) author: NodeId,
    pub(super) seq: u64,
    /// The proof.
    pub(super) bytes: Verbatim,
}

/// What a whole file adds up to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct EndLine {
    pub(super) entries: u64,
    pub(super) forks: u64,
    /// Digest of the state, of all entries, those left out included.
    pub(super) digest: String,
}

/// Returns an entry's standing as a number and in words.
pub(super) fn standing(book: &Book, hash: &EntryHash) -> (u16, String) {
    match book.standing(hash) {
        Some(Standing::Effective) => (0, "effective".to_owned()),
        Some(Standing::Waiting(wait)) => (1, format!("waiting: {wait}")),
        Some(Standing::Without(reason)) => (reason.code(), format!("no effect: {reason}")),
        None => (1, "unknown".to_owned()),
    }
}

impl EntryLine {
    /// Writes a stored entry down.
    pub(super) fn of(book: &Book, entry: &Entry) -> Self {
        let header = entry.header.trusted();
        let hash = header.hash();
        let body = body(entry);
        let (code, state) = standing(book, &hash);
        Self {
            hash,
            author: header.author,
            seq: header.seq.get(),
            time: header.time,
            kind: body.as_ref().map_or(EntryKind::Opaque, EntryKind::of),
            code,
            state,
            body,
            bytes: Verbatim(codec::encode(entry)),
        }
    }

    /// Reads the entry out of the bytes, and holds the fields beside them against it.
    pub(super) fn entry(&self) -> Result<Entry, String> {
        let entry: Entry = codec::decode(&self.bytes.0, limits::ENTRY_LEN_MAX)
            .map_err(|error| format!("the bytes are no entry: {error}"))?;
        let header = entry.header.trusted();
        let body = body(&entry);
        let kind = body.as_ref().map_or(EntryKind::Opaque, EntryKind::of);
        let differs = [
            ("hash", self.hash != header.hash()),
            ("author", self.author != header.author),
            ("place", self.seq != header.seq.get()),
            ("date", self.time != header.time),
            ("kind", self.kind != kind),
            ("body", self.body != body),
        ];
        match differs.into_iter().find(|(_, differs)| *differs) {
            Some((what, _)) => Err(format!(
                "the {what} shown is not the {what} that was signed"
            )),
            None => Ok(entry),
        }
    }
}

fn body(entry: &Entry) -> Option<Body> {
    if entry.header.trusted().version == VERSION {
        entry.decode_body().ok()
    } else {
        None
    }
}

impl ForkLine {
    /// Writes a proof down.
    pub(super) fn of(proof: &ForkProof) -> Self {
        let header = proof.left.trusted();
        Self {
            author: header.author,
            seq: header.seq.get(),
            bytes: Verbatim(codec::encode(proof)),
        }
    }

    /// Reads the proof out of the bytes, and holds the fields beside them against it.
    pub(super) fn proof(&self) -> Result<ForkProof, String> {
        let proof: ForkProof = codec::decode(&self.bytes.0, hearth_ledger::fork::PROOF_LEN_MAX)
            .map_err(|error| format!("the bytes are no fork proof: {error}"))?;
        let header = proof.left.trusted();
        if self.author != header.author || self.seq != header.seq.get() {
            return Err("the author or place shown is not that of the proof".to_owned());
        }
        Ok(proof)
    }
}

/// Reads a file line by line.
pub(super) struct Lines<R> {
    from: R,
    number: u64,
}

impl Lines<BufReader<File>> {
    /// Opens a file.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        Ok(Self::new(BufReader::new(file)))
    }
}

impl<R: BufRead> Lines<R> {
    pub(super) const fn new(from: R) -> Self {
        Self { from, number: 0 }
    }

    /// Returns the number of the last line read, from 1.
    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    /// Reads the next line: `None` at the end, what is wrong where it is no line of this form.
    pub(super) fn next(&mut self) -> anyhow::Result<Option<Result<Line, String>>> {
        let Some(text) = self.text()? else {
            return Ok(None);
        };
        let line = text.and_then(|text| {
            serde_json::from_slice::<Line>(&text).map_err(|error| {
                if error.is_eof() {
                    "the line is cut off".to_owned()
                } else {
                    // The line's own number is told; serde counts from the line's beginning.
                    let told = error.to_string();
                    let cause = told.split(" at line ").next().unwrap_or_default();
                    format!("not a line of an export: {cause}")
                }
            })
        });
        Ok(Some(line))
    }

    fn text(&mut self) -> anyhow::Result<Option<Result<Vec<u8>, String>>> {
        let most = u64::try_from(limits::LEDGER_LINE_LEN_MAX).unwrap_or(u64::MAX);
        let mut text = Vec::new();
        let got = self
            .from
            .by_ref()
            .take(most)
            .read_until(b'\n', &mut text)
            .with_context(|| format!("cannot read line {}", self.number + 1))?;
        if got == 0 {
            return Ok(None);
        }
        self.number += 1;
        if text.last() != Some(&b'\n') && got == limits::LEDGER_LINE_LEN_MAX {
            bail!(
                "line {}: longer than {most} bytes, which no line of an export is",
                self.number
            );
        }
        Ok(Some(Ok(text)))
    }

    /// Reads the first line and checks that the file can be read at all.
    pub(super) fn header(&mut self) -> anyhow::Result<(HeaderLine, Signed<Charter>)> {
        let no_export = "line 1: this is no export of a hearth ledger";
        let Some(Ok(text)) = self.text()? else {
            bail!("line 1: the file is empty");
        };
        let Ok(value) = serde_json::from_slice::<Value>(&text) else {
            bail!("{no_export}");
        };
        match (value["type"].as_str(), value["schema"].as_u64()) {
            (Some("header"), Some(SCHEMA)) => {}
            (Some("header"), Some(schema)) => {
                bail!("line 1: the file has schema {schema}; this version of hearth reads {SCHEMA}")
            }
            _ => bail!("{no_export}"),
        }
        let Line::Header(header) = serde_json::from_value(value).context("line 1")? else {
            bail!("{no_export}");
        };
        let charter: Signed<Charter> = codec::decode(&header.charter.0, limits::CHARTER_LEN_MAX)
            .context("line 1: the charter cannot be read")?;
        let trusted = charter
            .verify()
            .context("line 1: the charter is not signed by its founder")?;
        if trusted.id() != header.commons {
            bail!("line 1: the charter is that of another commons");
        }
        Ok((*header, charter))
    }
}
