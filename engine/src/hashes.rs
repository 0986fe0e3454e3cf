//! Every hash people quote of a model file, from one pass over it.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use hearth_protocol::id::{BlobHash, Sha256 as Sha256Id};
use sha2::{Digest, Sha256};
use thiserror::Error;

/// Bytes read at once.
const BLOCK: usize = 1 << 20;

/// Where the window of `AutoV1` begins and ends.
const AUTO_V1: (u64, u64) = (0x10_0000, 0x11_0000);

/// The hashes of one file, under the names of A1111 and Civitai.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileHashes {
    /// BLAKE3 of the whole file: its blob, and Civitai's `BLAKE3`.
    pub blake3: BlobHash,
    /// SHA-256 of the whole file.
    pub sha256: Sha256Id,
    /// SHA-256 of a safetensors file behind its header; its first 12 digits are `AutoV3`.
    pub autov3: Option<Sha256Id>,
    /// First 8 hex digits of SHA-256 over the 64 KiB at 1 MiB, for files that reach that far.
    pub autov1: Option<String>,
    /// CRC-32 of the whole file.
    pub crc32: u32,
    /// Bytes.
    pub size: u64,
}

impl FileHashes {
    /// Returns `AutoV2`: the first 10 hex digits of the SHA-256.
    pub fn autov2(&self) -> String {
        self.sha256.to_string().chars().take(10).collect()
    }

    /// Returns `AutoV3`: 12 hex digits that survive a change of metadata.
    pub fn autov3(&self) -> Option<String> {
        self.autov3
            .map(|hash| hash.to_string().chars().take(12).collect())
    }
}

/// Why a file could not be hashed.
#[derive(Debug, Error)]
#[error("cannot read {path}")]
pub struct HashError {
    /// The file.
    pub path: PathBuf,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

/// Hashes a file in one streaming pass.
pub fn hash_file(path: &Path) -> Result<FileHashes, HashError> {
    let safetensors = path
        .extension()
        .is_some_and(|e| e.eq_ignore_ascii_case("safetensors"));
    File::open(path)
        .and_then(|file| hash(file, safetensors))
        .map_err(|source| HashError {
            path: path.to_path_buf(),
            source,
        })
}

fn hash(mut file: impl Read, safetensors: bool) -> io::Result<FileHashes> {
    let mut hashers = Hashers::new(safetensors);
    let mut block = vec![0; BLOCK];
    loop {
        // Full blocks but for the last, so that the header's length lies in the first.
        let mut len = 0;
        while len < BLOCK {
            match file.read(&mut block[len..]) {
                Ok(0) => break,
                Ok(n) => len += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if len == 0 {
            return Ok(hashers.finish());
        }
        hashers.update(&block[..len]);
    }
}

struct Hashers {
    blake3: blake3::Hasher,
    sha256: Sha256,
    window: Sha256,
    crc32: crc32fast::Hasher,
    data: Option<DataHasher>,
    size: u64,
}

/// Hashes what lies behind a safetensors header, once its length is known.
struct DataHasher {
    start: Option<u64>,
    sha256: Sha256,
}

impl Hashers {
    fn new(safetensors: bool) -> Self {
        Self {
            blake3: blake3::Hasher::new(),
            sha256: Sha256::new(),
            window: Sha256::new(),
            crc32: crc32fast::Hasher::new(),
            data: safetensors.then(|| DataHasher {
                start: None,
                sha256: Sha256::new(),
            }),
            size: 0,
        }
    }

    fn update(&mut self, block: &[u8]) {
        let at = self.size;
        if let Some(data) = &mut self.data {
            if at == 0
                && let Some(length) = block.first_chunk()
            {
                data.start = u64::from_le_bytes(*length).checked_add(8);
            }
            let start = data.start.unwrap_or(u64::MAX);
            data.sha256.update(overlap(block, at, (start, u64::MAX)));
        }
        self.window.update(overlap(block, at, AUTO_V1));
        let (blake3, sha256, crc32) = (&mut self.blake3, &mut self.sha256, &mut self.crc32);
        rayon::join(
            || sha256.update(block),
            || {
                blake3.update(block);
                crc32.update(block);
            },
        );
        self.size += block.len() as u64;
    }

    fn finish(self) -> FileHashes {
        let size = self.size;
        let sha256 = |hasher: Sha256| Sha256Id::from_bytes(hasher.finalize().into());
        let reaches = |start: Option<u64>| start.is_some_and(|start| start <= size);
        let window = sha256(self.window).to_string();
        FileHashes {
            blake3: BlobHash::from_bytes(*self.blake3.finalize().as_bytes()),
            sha256: sha256(self.sha256),
            autov3: self
                .data
                .filter(|d| reaches(d.start))
                .map(|d| sha256(d.sha256)),
            autov1: (size >= AUTO_V1.1).then(|| window.chars().take(8).collect()),
            crc32: self.crc32.finalize(),
            size,
        }
    }
}

/// Returns the part of a block at offset `at` that lies in a range of the file.
fn overlap(block: &[u8], at: u64, (from, to): (u64, u64)) -> &[u8] {
    let place = |offset: u64| {
        let within = offset.saturating_sub(at).min(block.len() as u64);
        usize::try_from(within).expect("at most the block's length")
    };
    &block[place(from)..place(to)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        Sha256Id::from_bytes(Sha256::digest(bytes).into()).to_string()
    }

    #[test]
    fn one_pass_gives_what_separate_passes_give() {
        let mut file = 5_u64.to_le_bytes().to_vec();
        file.extend((0..3_000_000_u32).map(|i| u8::try_from(i % 251).unwrap()));
        let hashes = hash(file.as_slice(), true).unwrap();
        assert_eq!(hashes.blake3.as_bytes(), blake3::hash(&file).as_bytes());
        assert_eq!(hashes.sha256.to_string(), hex(&file));
        assert_eq!(hashes.autov2(), hex(&file)[..10]);
        assert_eq!(hashes.autov3().unwrap(), hex(&file[13..])[..12]);
        assert_eq!(
            hashes.autov1.unwrap(),
            hex(&file[0x10_0000..0x11_0000])[..8]
        );
        assert_eq!(hashes.crc32, crc32fast::hash(&file));
        assert_eq!(hashes.size, file.len() as u64);
    }

    #[test]
    fn short_or_lying_file_has_no_partial_hashes() {
        let hashes = hash(u64::MAX.to_le_bytes().as_slice(), true).unwrap();
        assert_eq!((hashes.autov3, hashes.autov1), (None, None));
        assert_eq!(hash([].as_slice(), false).unwrap().size, 0);
    }
}
