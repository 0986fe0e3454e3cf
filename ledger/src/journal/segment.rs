//! Segments: append-only files of checksummed records. The format is in `specs/ledger.md`.
//!
//! A file starts with a header that names its commons and its set; records follow. What a crash
//! leaves half-written at the end is cut off when the set is opened; damage in the middle, which
//! no crash makes, is stepped over and reported, so that one bad sector loses one record.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use hearth_protocol::id::CommonsId;
use hearth_protocol::limits;

use super::JournalError;

/// Length at which a new segment is begun; short in tests, so that they have several.
pub const SEGMENT_LEN_MAX: u64 = if cfg!(test) { 4_096 } else { 16 * 1024 * 1024 };
const FILE_MAGIC: [u8; 8] = *b"HEARTHSG";
const FORMAT: u8 = 1;
const HEADER_LEN: usize = 8 + 4 + 32 + 4;
const PREFIX_LEN: usize = 4 + 4 + 4;
const PAYLOAD_LEN_MAX: usize = limits::ENTRY_LEN_MAX;

/// Which chain a segment holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Set {
    Own,
    Others,
}

impl Set {
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Own => 0,
            Self::Others => 1,
        }
    }

    const fn stem(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Others => "others",
        }
    }
}

/// What a record's payload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Entry,
    Proof,
}

impl Kind {
    const fn magic(self) -> [u8; 4] {
        match self {
            Self::Entry => *b"HRe1",
            Self::Proof => *b"HRf1",
        }
    }

    fn of(magic: &[u8]) -> Option<Self> {
        [Self::Entry, Self::Proof]
            .into_iter()
            .find(|kind| kind.magic() == magic)
    }
}

/// Where a record starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) set: Set,
    pub(crate) segment: u32,
    pub(crate) offset: u64,
}

/// A record read back.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) at: Position,
    pub(crate) kind: Kind,
    pub(crate) payload: Vec<u8>,
}

/// What opening found besides good records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Bytes of half-written records cut off at the ends of the sets.
    pub torn_bytes: u64,
    /// Bytes of damage stepped over inside segments.
    pub damaged_bytes: u64,
}

fn crc(parts: &[&[u8]]) -> [u8; 4] {
    let mut hasher = crc32fast::Hasher::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().to_le_bytes()
}

fn header(set: Set, commons: CommonsId) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_LEN);
    bytes.extend(FILE_MAGIC);
    bytes.extend([FORMAT, set.code(), 0, 0]);
    bytes.extend(commons.as_bytes());
    let crc = crc(&[&bytes]);
    bytes.extend(crc);
    bytes
}

/// Appends one record to a buffer.
pub(crate) fn encode(kind: Kind, payload: &[u8], into: &mut Vec<u8>) {
    assert!(
        payload.len() <= PAYLOAD_LEN_MAX,
        "checked entries are within their bound"
    );
    let len = u32::try_from(payload.len()).expect("the bound fits 32 bits");
    let len = len.to_le_bytes();
    into.extend(kind.magic());
    into.extend(len);
    into.extend(crc(&[&kind.magic(), &len, payload]));
    into.extend(payload);
}

/// Reads the record at the start of `bytes`, if a whole and sound one stands there.
fn decode(bytes: &[u8]) -> Option<(Kind, &[u8])> {
    let kind = Kind::of(bytes.get(..4)?)?;
    let len = bytes.get(4..8)?;
    let sum = bytes.get(8..PREFIX_LEN)?;
    let payload_len = usize::try_from(u32::from_le_bytes(len.try_into().ok()?)).ok()?;
    if payload_len > PAYLOAD_LEN_MAX {
        return None;
    }
    let payload = bytes.get(PREFIX_LEN..PREFIX_LEN + payload_len)?;
    (crc(&[&kind.magic(), len, payload]) == sum).then_some((kind, payload))
}

/// What is in one segment's bytes.
struct Scan<'a> {
    records: Vec<(usize, Kind, &'a [u8])>,
    good_len: usize,
    damaged: usize,
}

/// Finds all sound records; `good_len` is where the last one ends.
fn scan(bytes: &[u8], from: usize) -> Scan<'_> {
    let mut scan = Scan {
        records: Vec::new(),
        good_len: from.min(bytes.len()),
        damaged: 0,
    };
    let mut at = scan.good_len;
    while at < bytes.len() {
        if let Some((kind, payload)) = decode(&bytes[at..]) {
            scan.damaged += at - scan.good_len;
            scan.records.push((at, kind, payload));
            at += PREFIX_LEN + payload.len();
            scan.good_len = at;
        } else {
            at += 1;
        }
    }
    scan
}

/// One set of segments, open for appending.
#[derive(Debug)]
pub(crate) struct Segments {
    dir: PathBuf,
    set: Set,
    commons: CommonsId,
    segment: u32,
    file: File,
    len: u64,
    is_dirty: bool,
    is_broken: bool,
    /// Bytes after which writing fails, for tests of a full disk.
    #[cfg(test)]
    pub(crate) fault: Option<usize>,
}

fn io_error(path: &Path) -> impl Fn(io::Error) -> JournalError {
    move |source| JournalError::Io {
        path: path.to_path_buf(),
        source,
    }
}

/// Makes the names in a folder durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), JournalError> {
    let sync = || File::open(dir)?.sync_all();
    sync().map_err(io_error(dir))
}

fn segment_path(dir: &Path, set: Set, segment: u32) -> PathBuf {
    dir.join(format!("{}-{segment:08}.seg", set.stem()))
}

/// Returns the numbers of a set's segments in order.
fn segment_numbers(dir: &Path, set: Set) -> Result<Vec<u32>, JournalError> {
    let mut numbers = Vec::new();
    for item in fs::read_dir(dir).map_err(io_error(dir))? {
        let name = item.map_err(io_error(dir))?.file_name();
        let number: Option<u32> = name.to_str().and_then(|name| {
            let name = name.strip_prefix(set.stem())?.strip_prefix('-')?;
            name.strip_suffix(".seg")?.parse().ok()
        });
        numbers.extend(number);
    }
    numbers.sort_unstable();
    Ok(numbers)
}

fn create(dir: &Path, set: Set, segment: u32, commons: CommonsId) -> Result<File, JournalError> {
    let path = segment_path(dir, set, segment);
    let make = || {
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .read(true)
            .write(true)
            .open(&path)?;
        file.write_all(&header(set, commons))?;
        file.sync_all()?;
        Ok(file)
    };
    let file = make().map_err(io_error(&path))?;
    sync_dir(dir)?;
    Ok(file)
}

impl Segments {
    /// Opens a set, hands every sound record to `each` in order, and cuts off a torn end.
    pub(crate) fn open(
        dir: &Path,
        set: Set,
        commons: CommonsId,
        recovery: &mut Recovery,
        each: &mut dyn FnMut(Record),
    ) -> Result<Self, JournalError> {
        let numbers = segment_numbers(dir, set)?;
        let last = numbers.last().copied().unwrap_or(0);
        let mut end = None;
        for segment in numbers {
            let path = segment_path(dir, set, segment);
            let bytes = fs::read(&path).map_err(io_error(&path))?;
            let good = read_segment(&bytes, &path, set, segment, commons, each, recovery)?;
            let torn = bytes.len() - good;
            if segment == last {
                recovery.torn_bytes += u64::try_from(torn).unwrap_or(u64::MAX);
                end = Some((good, torn));
            } else {
                recovery.damaged_bytes += u64::try_from(torn).unwrap_or(u64::MAX);
            }
        }
        let path = segment_path(dir, set, last);
        let (file, len) = match end {
            Some((good, torn)) if good >= HEADER_LEN => {
                let open = || {
                    let file = OpenOptions::new().read(true).write(true).open(&path)?;
                    if torn > 0 {
                        file.set_len(u64::try_from(good).unwrap_or(u64::MAX))?;
                        file.sync_all()?;
                    }
                    Ok(file)
                };
                (open().map_err(io_error(&path))?, good)
            }
            Some(_) | None => (create(dir, set, last, commons)?, HEADER_LEN),
        };
        Ok(Self {
            dir: dir.to_path_buf(),
            set,
            commons,
            segment: last,
            file,
            len: u64::try_from(len).unwrap_or(u64::MAX),
            is_dirty: false,
            is_broken: false,
            #[cfg(test)]
            fault: None,
        })
    }

    /// Returns where the next record will start.
    pub(crate) const fn end(&self) -> Position {
        Position {
            set: self.set,
            segment: self.segment,
            offset: self.len,
        }
    }

    fn path(&self) -> PathBuf {
        segment_path(&self.dir, self.set, self.segment)
    }

    /// Appends encoded records as one write; on failure the segment is as before. Returns where
    /// they start. They are durable after [`sync`](Self::sync).
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<Position, JournalError> {
        if self.is_broken {
            self.repair()?;
        }
        let added = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let is_empty = self.len == u64::try_from(HEADER_LEN).unwrap_or(u64::MAX);
        if !is_empty && self.len.saturating_add(added) > SEGMENT_LEN_MAX {
            self.sync()?;
            let next = self.segment + 1;
            self.file = create(&self.dir, self.set, next, self.commons)?;
            self.segment = next;
            self.len = u64::try_from(HEADER_LEN).unwrap_or(u64::MAX);
        }
        let at = self.end();
        self.is_dirty = true;
        if let Err(source) = self.write(bytes) {
            self.is_broken = true;
            // A second failure leaves the mark, and the next append tries again.
            self.repair().ok();
            let path = self.path();
            return Err(JournalError::Io { path, source });
        }
        self.len += added;
        Ok(at)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(self.len))?;
        #[cfg(test)]
        if let Some(room) = self.fault
            && bytes.len() > room
        {
            self.file.write_all(&bytes[..room])?;
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        self.file.write_all(bytes)
    }

    /// Opens the file anew and cuts it to its acknowledged length.
    fn repair(&mut self) -> Result<(), JournalError> {
        let path = self.path();
        let open = || {
            let file = OpenOptions::new().read(true).write(true).open(&path)?;
            file.set_len(self.len)?;
            file.sync_all()?;
            Ok(file)
        };
        self.file = open().map_err(io_error(&path))?;
        self.is_broken = false;
        Ok(())
    }

    /// Takes back everything from a position on, when what was appended there must not count.
    pub(crate) fn take_back(&mut self, to: Position) {
        if to.segment == self.segment {
            self.len = to.offset;
            self.is_broken = true;
            self.repair().ok();
        }
    }

    /// Makes everything appended durable.
    pub(crate) fn sync(&mut self) -> Result<(), JournalError> {
        if self.is_dirty {
            self.file.sync_data().map_err(io_error(&self.path()))?;
            self.is_dirty = false;
        }
        Ok(())
    }
}

/// Reads one segment's bytes; returns where its last sound record ends.
fn read_segment(
    bytes: &[u8],
    path: &Path,
    set: Set,
    segment: u32,
    commons: CommonsId,
    each: &mut dyn FnMut(Record),
    recovery: &mut Recovery,
) -> Result<usize, JournalError> {
    let expected = header(set, commons);
    let is_header_whole = bytes.starts_with(&expected);
    if !is_header_whole && bytes.starts_with(&FILE_MAGIC) && bytes.len() >= HEADER_LEN {
        let sum = crc(&[&bytes[..HEADER_LEN - 4]]);
        if bytes[HEADER_LEN - 4..HEADER_LEN] == sum {
            let path = path.to_path_buf();
            return Err(JournalError::Foreign { path });
        }
    }
    let found = scan(bytes, HEADER_LEN);
    recovery.damaged_bytes += u64::try_from(found.damaged).unwrap_or(u64::MAX);
    hand_out(&found, set, segment, each);
    if found.records.is_empty() && !is_header_whole {
        return Ok(0);
    }
    Ok(found.good_len)
}

/// Hands every sound record of a set to `each`, changing nothing.
pub(crate) fn each_record(
    dir: &Path,
    set: Set,
    each: &mut dyn FnMut(Record),
) -> Result<(), JournalError> {
    for segment in segment_numbers(dir, set)? {
        let path = segment_path(dir, set, segment);
        let bytes = fs::read(&path).map_err(io_error(&path))?;
        hand_out(&scan(&bytes, HEADER_LEN), set, segment, each);
    }
    Ok(())
}

fn hand_out(found: &Scan<'_>, set: Set, segment: u32, each: &mut dyn FnMut(Record)) {
    for (offset, kind, payload) in &found.records {
        let offset = u64::try_from(*offset).unwrap_or(u64::MAX);
        each(Record {
            at: Position {
                set,
                segment,
                offset,
            },
            kind: *kind,
            payload: payload.to_vec(),
        });
    }
}

/// Reads one record; `None` when no sound one stands there.
pub(crate) fn read(dir: &Path, at: Position) -> Result<Option<(Kind, Vec<u8>)>, JournalError> {
    let path = segment_path(dir, at.set, at.segment);
    let load = || {
        let mut file = File::open(&path)?;
        file.seek(SeekFrom::Start(at.offset))?;
        let mut bytes = Vec::new();
        let len_max = u64::try_from(PREFIX_LEN + PAYLOAD_LEN_MAX).unwrap_or(u64::MAX);
        file.take(len_max).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = load().map_err(io_error(&path))?;
    Ok(decode(&bytes).map(|(kind, payload)| (kind, payload.to_vec())))
}
