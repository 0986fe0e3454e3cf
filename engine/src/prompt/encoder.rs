//! Text encoders as the conditioner sees them.

use std::sync::Arc;

use candle_core::{Error, Result};

use super::Piece;
use crate::clip::{self, ClipText, Encoded, Layer};
use crate::tokenizer::Frame;

/// What encodes windows.
pub(super) trait TextEncoder: std::fmt::Debug {
    /// Encodes windows that are begun, ended and padded, each for itself.
    fn encode(&self, windows: &[Vec<Piece>]) -> Result<Encoded>;
}

/// An encoder and what it wants around a window. SDXL has two with one vocabulary.
#[derive(Debug)]
pub(crate) struct Encoder<'a> {
    pub(super) encoder: Box<dyn TextEncoder + 'a>,
    pub(super) frame: Frame,
}

impl<'a> Encoder<'a> {
    pub(crate) fn new(encoder: ClipEncoder<'a>, frame: Frame) -> Self {
        let encoder = Box::new(encoder);
        Self { encoder, frame }
    }
}

/// CLIP at one of its layers, with the textual inversions made for it.
#[derive(Debug)]
pub(crate) struct ClipEncoder<'a> {
    pub(crate) clip: &'a ClipText,
    /// Whose state the network hears: clip skip.
    pub(crate) layer: Layer,
    /// The vectors of each embedding, in the order of [`super::EmbeddingNames`].
    pub(crate) embeddings: &'a [Vec<Arc<[f32]>>],
}

impl ClipEncoder<'_> {
    fn piece(&self, piece: &Piece) -> Result<clip::Piece> {
        match piece {
            Piece::Token(id) => Ok(clip::Piece::Token(*id)),
            Piece::Embedding { index, row } => {
                let vector = self.embeddings.get(*index).and_then(|rows| rows.get(*row));
                let none = || Error::msg(format!("embedding {index} has no vector {row} here"));
                vector.cloned().map(clip::Piece::Vector).ok_or_else(none)
            }
        }
    }
}

impl TextEncoder for ClipEncoder<'_> {
    fn encode(&self, windows: &[Vec<Piece>]) -> Result<Encoded> {
        let resolved = windows
            .iter()
            .map(|window| window.iter().map(|piece| self.piece(piece)).collect())
            .collect::<Result<Vec<Vec<_>>>>()?;
        self.clip.encode(&resolved, self.layer)
    }
}
