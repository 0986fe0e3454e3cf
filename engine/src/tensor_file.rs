//! Safetensors files: a header checked to the last byte, and tensors read as `f32` on all cores.
//!
//! Files come from strangers, so nothing in the header is believed: lengths and offsets must describe
//! exactly the file at hand, without holes or overlaps, and weights must be finite numbers. Nothing is
//! memory-mapped: reading at a position into a buffer that stays in the cache is as fast, needs no
//! `unsafe`, and a file that shrinks meanwhile gives an error, not a fault. `tensor_file::writer` is the
//! other direction.

mod decode;
mod header;
mod position;
mod writer;

pub use header::{Dtype, HeaderError};
pub(crate) use header::{TensorEntry, TensorHeader};
pub(crate) use writer::{OwnedTensor, write, write_as};

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use thiserror::Error;

use decode::{Buffer, Decoder};

/// Elements a task reads and converts at once; bytes and values together stay in a core's cache.
const CHUNK: usize = 64 * 1024;

/// Why a tensor file cannot be used.
#[derive(Debug, Error)]
pub enum TensorFileError {
    /// The file cannot be opened or read.
    #[error("cannot read {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file is not a sound safetensors file.
    #[error("{path} is not a sound safetensors file")]
    Header {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: HeaderError,
    },
    /// A tensor holds integers or an unusual float where weights are needed.
    #[error(
        "tensor {tensor} of {path} is {dtype:?}; weights are read from F64, F32, F16, BF16, F8_E4M3 or F8_E5M2"
    )]
    NotWeights {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// What it holds.
        dtype: Dtype,
    },
    /// A weight is infinite or not a number.
    #[error(
        "tensor {tensor} of {path} has values that are infinite or not numbers; the model was damaged when it was made: get another version of it"
    )]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
    },
}

/// An open safetensors file.
#[derive(Debug)]
pub(crate) struct TensorFile {
    path: PathBuf,
    file: File,
    header: TensorHeader,
}

impl TensorFile {
    /// Opens a file and checks its whole header.
    pub(crate) fn open(path: &Path) -> Result<Self, TensorFileError> {
        let io = |source| TensorFileError::Io {
            path: path.to_path_buf(),
            source,
        };
        let mut file = File::open(path).map_err(io)?;
        let size = file.metadata().map_err(io)?.len();
        let header = TensorHeader::read(&mut file, size).map_err(|error| match error {
            header::ReadError::Io(source) => io(source),
            header::ReadError::Header(source) => TensorFileError::Header {
                path: path.to_path_buf(),
                source,
            },
        })?;
        Ok(Self {
            path: path.to_path_buf(),
            file,
            header,
        })
    }

    /// Returns the path the file was opened by.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the checked header.
    pub(crate) fn header(&self) -> &TensorHeader {
        &self.header
    }

    /// Checks that a tensor holds floats that [`Self::read`] converts.
    pub(crate) fn check_readable(
        &self,
        name: &str,
        entry: &TensorEntry,
    ) -> Result<(), TensorFileError> {
        self.decoder(name, entry).map(|_| ())
    }

    fn decoder(&self, name: &str, entry: &TensorEntry) -> Result<Decoder, TensorFileError> {
        decode::decoder(entry.dtype).ok_or_else(|| TensorFileError::NotWeights {
            path: self.path.clone(),
            tensor: name.to_owned(),
            dtype: entry.dtype,
        })
    }

    /// Reads one tensor's values, converted to `f32`.
    pub(crate) fn read(
        &self,
        name: &str,
        entry: &TensorEntry,
    ) -> Result<Vec<f32>, TensorFileError> {
        self.read_elements(name, entry, 0..entry.elements())
    }

    /// Reads the first number of a tensor, which may also be stored as an integer or a truth value.
    pub(crate) fn read_number(
        &self,
        name: &str,
        entry: &TensorEntry,
    ) -> Result<f64, TensorFileError> {
        if decode::decoder(entry.dtype).is_some() {
            let values = self.read_elements(name, entry, 0..1)?;
            return Ok(values.first().copied().map_or(0.0, f64::from));
        }
        let mut bytes = [0; 8];
        let place = &mut bytes[..entry.dtype.width()];
        let read = position::read_exact_at(&self.file, place, self.position(entry, 0));
        self.finish(name, read.map(|()| true))?;
        Ok(decode::integer(entry.dtype, bytes))
    }

    /// Reads some of a tensor's values.
    pub(crate) fn read_elements(
        &self,
        name: &str,
        entry: &TensorEntry,
        elements: Range<usize>,
    ) -> Result<Vec<f32>, TensorFileError> {
        let decoder = self.decoder(name, entry)?;
        let mut values = vec![0.0; elements.len()];
        let width = entry.dtype.width();
        let start = self.position(entry, elements.start);
        let chunks = values.par_chunks_mut(CHUNK).enumerate();
        let finite = chunks.map_init(Buffer::new, |buffer, (i, values)| {
            let at = start + (i * CHUNK * width) as u64;
            match decoder {
                Decoder::Nothing(bytes) => {
                    position::read_exact_at(&self.file, bytes(values), at)?;
                }
                Decoder::From(decode) => {
                    let bytes = buffer.bytes(values.len() * width);
                    position::read_exact_at(&self.file, bytes, at)?;
                    decode(bytes, values);
                }
            }
            Ok(decode::finite(values))
        });
        self.finish(name, finite.try_reduce(|| true, |a, b| Ok(a && b)))?;
        Ok(values)
    }

    /// Reads some of a tensor's values as they are stored, little endian; of halves only finite ones.
    pub(crate) fn read_stored(
        &self,
        name: &str,
        entry: &TensorEntry,
        elements: Range<usize>,
    ) -> Result<Vec<u8>, TensorFileError> {
        let width = entry.dtype.width();
        let mut bytes = vec![0; elements.len() * width];
        let start = self.position(entry, elements.start);
        let chunks = bytes.par_chunks_mut(CHUNK * width).enumerate();
        let finite = chunks.map(|(i, bytes)| {
            position::read_exact_at(&self.file, bytes, start + (i * CHUNK * width) as u64)?;
            Ok(decode::finite_halves(entry.dtype, bytes))
        });
        self.finish(name, finite.try_reduce(|| true, |a, b| Ok(a && b)))?;
        Ok(bytes)
    }

    /// Returns where a tensor's bytes begin in the file.
    #[cfg(test)]
    pub(crate) fn position_of(&self, entry: &TensorEntry) -> u64 {
        self.position(entry, 0)
    }

    fn position(&self, entry: &TensorEntry, element: usize) -> u64 {
        self.header.data_start + entry.start + (element * entry.dtype.width()) as u64
    }

    fn finish(&self, name: &str, finite: io::Result<bool>) -> Result<(), TensorFileError> {
        match finite {
            Ok(true) => Ok(()),
            Ok(false) => Err(TensorFileError::NotFinite {
                path: self.path.clone(),
                tensor: name.to_owned(),
            }),
            Err(source) => Err(TensorFileError::Io {
                path: self.path.clone(),
                source,
            }),
        }
    }
}
