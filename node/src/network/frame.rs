//! Frames on a stream: a little-endian `u32` length, then that many bytes.
//!
//! The receiver of a stream first writes one byte, [`READY`]: libp2p drops an incoming stream
//! without a word when nobody takes it in time, and this byte tells the sender that somebody did.

use std::io;

use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// What the receiver writes once, before it reads the first frame.
pub(super) const READY: u8 = 1;

/// Bytes reserved before any byte of a frame has come.
const RESERVE_LEN: usize = 16 * 1024;

/// Why no frame was read.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameError {
    /// The announced length is over the limit; nothing was allocated for it.
    #[error("frame of {len} bytes, at most {len_max} allowed")]
    TooLong {
        /// Announced.
        len: u32,
        /// Allowed.
        len_max: usize,
    },
    /// The stream broke.
    #[error("reading a frame")]
    Io(#[from] io::Error),
}

/// Reads one frame.
///
/// # Errors
/// [`FrameError::TooLong`] before reading the body; [`FrameError::Io`] also for a clean end.
pub(super) async fn read<R: AsyncRead + Unpin>(
    stream: &mut R,
    len_max: usize,
) -> Result<Vec<u8>, FrameError> {
    let mut prefix = [0; 4];
    stream.read_exact(&mut prefix).await?;
    let len = u32::from_le_bytes(prefix);
    let Some(wanted) = usize::try_from(len)
        .ok()
        .filter(|wanted| *wanted <= len_max)
    else {
        return Err(FrameError::TooLong { len, len_max });
    };
    let mut bytes = Vec::with_capacity(wanted.min(RESERVE_LEN));
    stream.take(u64::from(len)).read_to_end(&mut bytes).await?;
    if bytes.len() < wanted {
        return Err(FrameError::Io(io::ErrorKind::UnexpectedEof.into()));
    }
    Ok(bytes)
}

/// Writes one frame without flushing it.
///
/// # Errors
/// When the stream breaks, or the frame does not fit a `u32`.
pub(super) async fn write<W: AsyncWrite + Unpin>(stream: &mut W, bytes: &[u8]) -> io::Result<()> {
    let len = u32::try_from(bytes.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    // One write: prefix and body then share a packet.
    let mut packet = Vec::with_capacity(4 + bytes.len());
    packet.extend_from_slice(&len.to_le_bytes());
    packet.extend_from_slice(bytes);
    stream.write_all(&packet).await
}
