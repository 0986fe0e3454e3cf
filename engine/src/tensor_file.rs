//! Safetensors files: a header checked to the last byte, and tensors read as `f32`.
//!
//! Files come from strangers, so nothing in the header is believed: lengths and offsets must describe
//! exactly the file at hand, without holes or overlaps. Nothing is memory-mapped; a file that
//! shrinks while it is read gives an error, not a fault. `tensor_file::writer` is the other direction.

mod decode;
mod header;
mod writer;

pub use header::{Dtype, HeaderError};
pub(crate) use header::{TensorEntry, TensorHeader};
pub(crate) use writer::{OwnedTensor, write};

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use thiserror::Error;

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
    #[error("tensor {tensor} of {path} is {dtype:?}; weights are read from F32, F16, BF16 or F64")]
    NotWeights {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// What it holds.
        dtype: Dtype,
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

    fn decoder(&self, name: &str, entry: &TensorEntry) -> Result<decode::Decoder, TensorFileError> {
        decode::decoder(entry.dtype).ok_or_else(|| TensorFileError::NotWeights {
            path: self.path.clone(),
            tensor: name.to_owned(),
            dtype: entry.dtype,
        })
    }

    /// Reads one tensor's values, converted to `f32`.
    pub(crate) fn read(
        &mut self,
        name: &str,
        entry: &TensorEntry,
    ) -> Result<Vec<f32>, TensorFileError> {
        let decoder = self.decoder(name, entry)?;
        self.read_with(entry, decoder)
            .map_err(|source| TensorFileError::Io {
                path: self.path.clone(),
                source,
            })
    }

    fn read_with(&mut self, entry: &TensorEntry, decoder: decode::Decoder) -> io::Result<Vec<f32>> {
        self.file
            .seek(SeekFrom::Start(self.header.data_start + entry.start))?;
        let mut left = entry.end - entry.start;
        let mut values = Vec::with_capacity(entry.elements());
        let mut buffer = vec![0_u8; usize::try_from(left.min(1 << 20)).unwrap_or(1 << 20)];
        while left > 0 {
            let len = buffer
                .len()
                .min(usize::try_from(left).unwrap_or(usize::MAX));
            self.file.read_exact(&mut buffer[..len])?;
            decoder(&buffer[..len], &mut values);
            left -= len as u64;
        }
        Ok(values)
    }
}
