//! Prompts to the tensors that condition a network, step by step.
//!
//! [`Conditioner::condition`] reads all texts of a stage, encodes each window once, whichever texts
//! it is in, weighs it, and brings all texts to one length so that they can be evaluated together.
//! Windows stay known, so that the next stage or the next alternation costs only what is new.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use candle_core::Tensor;
use hearth_protocol::job::Compat;

use super::encoder::Encoder;
use super::weigh::weigh;
use super::{
    EmbeddingNames, Piece, Prompt, PromptError, Reading, STAGE_WINDOWS_MAX, Span, Stage, Window,
    runs, windows,
};
use crate::tokenizer::PromptTokenizer;
use crate::warning::Warning;

/// Most windows that stay encoded: with SDXL's vectors about 160 MB.
const CACHE_WINDOWS_MAX: usize = 256;

/// How texts become tensors.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Conventions {
    /// Whose weights and windows.
    pub(crate) compat: Compat,
    /// What an empty negative prompt is.
    pub(crate) empty_negative: EmptyNegative,
}

/// What an empty negative prompt is to a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EmptyNegative {
    /// A text like any other.
    Encoded,
    /// Zeros (`force_zeros_for_empty_prompt` of SDXL); `ComfyUI` encodes all the same.
    Zeros,
}

/// What the network hears of one text.
#[derive(Clone, Debug)]
pub(crate) struct Condition {
    /// `[1, positions, channels]`: windows one behind the other, encoders side by side.
    pub(crate) context: Tensor,
    /// `[1, channels]`: of the last encoder, for the first window.
    pub(crate) pooled: Option<Tensor>,
}

/// What the network hears over a stage.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    positives: Vec<(f64, Track)>,
    negative: Track,
    compat: Compat,
    /// What a person should know about the prompts.
    pub(crate) warnings: Vec<Warning>,
}

/// Conditions in order, each with the last step it holds for.
type Track = Vec<(u32, Condition)>;

impl Script {
    /// Returns the conditions of an evaluation, counted from 0, with the weights that compose them.
    pub(crate) fn at(&self, evaluation: u32) -> Vec<(f64, &Condition)> {
        let positives = self.positives.iter();
        positives
            .filter_map(|(weight, track)| Some((*weight, at(track, evaluation)?)))
            .collect()
    }

    /// Returns the negative condition of an evaluation.
    pub(crate) fn negative_at(&self, evaluation: u32) -> Option<&Condition> {
        at(&self.negative, evaluation)
    }
}

impl Script {
    /// Returns everything to evaluate at once at an evaluation, counted from 0: the negative first,
    /// unless guidance leaves it no weight.
    pub(crate) fn batch(&self, evaluation: u32, guidance: f64) -> candle_core::Result<Batch> {
        let (factors, mut conditions): (Vec<_>, Vec<_>) = self
            .at(evaluation)
            .into_iter()
            .map(|(weight, condition)| (weight * guidance, condition))
            .unzip();
        // diffusers has no guidance at 1 and below; A1111 goes from one to the other.
        let alone = match self.compat {
            Compat::A1111 => factors == [1.0],
            Compat::Comfy | Compat::Diffusers => guidance <= 1.0,
        };
        let negative = self.negative_at(evaluation).filter(|_| !alone);
        conditions.splice(0..0, negative);
        let contexts: Vec<_> = conditions.iter().map(|c| &c.context).collect();
        let pooled: Option<Vec<_>> = conditions.iter().map(|c| c.pooled.as_ref()).collect();
        Ok(Batch {
            context: Tensor::cat(&contexts, 0)?,
            pooled: pooled.map(|pooled| Tensor::cat(&pooled, 0)).transpose()?,
            factors: negative.map(|_| factors),
        })
    }
}

/// What the network hears at one evaluation, in rows.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    /// `[rows, positions, channels]`.
    pub(crate) context: Tensor,
    /// `[rows, channels]`, of models that have one.
    pub(crate) pooled: Option<Tensor>,
    /// Guidance of each row behind the first; nothing if there is only one row to follow.
    factors: Option<Vec<f64>>,
}

impl Batch {
    /// Returns what lies between this and another: vectors blended evenly, weights kept. Where one has
    /// more positions, the other's last window is repeated; where `AND` gives them other rows, the
    /// nearer one is taken.
    pub(crate) fn towards(self, other: &Self, amount: f64) -> candle_core::Result<Self> {
        if self.rows() != other.rows() {
            return Ok(if amount < 0.5 { self } else { other.clone() });
        }
        let blend = |a: &Tensor, b: &Tensor| (a * (1.0 - amount))? + (b * amount)?;
        let positions = self.context.dim(1)?.max(other.context.dim(1)?);
        let context = blend(
            &lengthened(&self.context, positions)?,
            &lengthened(&other.context, positions)?,
        )?;
        let pooled = match (&self.pooled, &other.pooled) {
            (Some(a), Some(b)) => Some(blend(a, b)?),
            (None, _) | (_, None) => None,
        };
        Ok(Self {
            context,
            pooled,
            ..self
        })
    }

    /// Returns how many rows there are.
    pub(crate) fn rows(&self) -> usize {
        self.factors.as_ref().map_or(1, |factors| factors.len() + 1)
    }

    /// Composes the network's outputs for all rows to the one to follow, `[1, ...]`: composable
    /// diffusion's `uncond + sum(weight (cond - uncond)) guidance` (Liu et al. 2022).
    pub(crate) fn compose(&self, outputs: &Tensor) -> candle_core::Result<Tensor> {
        let Some(factors) = &self.factors else {
            return Ok(outputs.clone());
        };
        let negative = outputs.narrow(0, 0, 1)?;
        let mut sum = negative.clone();
        for (row, factor) in factors.iter().enumerate() {
            let positive = outputs.narrow(0, row + 1, 1)?;
            sum = (sum + ((positive - &negative)? * *factor)?)?;
        }
        Ok(sum)
    }
}

/// Repeats the last window of `[rows, positions, channels]` until there are enough positions; attention
/// hardly notices what is there twice.
fn lengthened(context: &Tensor, positions: usize) -> candle_core::Result<Tensor> {
    let mut context = context.clone();
    while context.dim(1)? < positions {
        let have = context.dim(1)?;
        let more = have.min(positions - have);
        let last = context.narrow(1, have - more, more)?;
        context = Tensor::cat(&[&context, &last], 1)?;
    }
    Ok(context)
}

/// A1111, the one with schedules, compares evaluations counted from 0 with ends counted from 1: the
/// first text holds for one more than it says, and everything after it begins one later.
fn at(track: &Track, evaluation: u32) -> Option<&Condition> {
    let found = track.iter().find(|(until, _)| evaluation <= *until);
    found
        .or_else(|| track.last())
        .map(|(_, condition)| condition)
}

/// Reads prompts with the encoders of a model.
#[derive(Debug)]
pub(crate) struct Conditioner<'a> {
    tokenizer: &'a PromptTokenizer,
    embeddings: &'a EmbeddingNames,
    encoders: Vec<Encoder<'a>>,
    conventions: Conventions,
    cache: Cache,
}

/// A window as every encoder hears it: `[1, positions, channels]`, `[1, channels]`.
type Heard = Vec<(Tensor, Option<Tensor>)>;

/// Windows heard lately, the oldest first in `order`.
#[derive(Debug, Default)]
struct Cache {
    heard: BTreeMap<Vec<Piece>, Heard>,
    order: VecDeque<Vec<Piece>>,
}

impl<'a> Conditioner<'a> {
    pub(crate) fn new(
        tokenizer: &'a PromptTokenizer,
        embeddings: &'a EmbeddingNames,
        encoders: Vec<Encoder<'a>>,
        conventions: Conventions,
    ) -> Self {
        Self {
            tokenizer,
            embeddings,
            encoders,
            conventions,
            cache: Cache::default(),
        }
    }

    /// Returns what the network hears over a stage.
    ///
    /// # Errors
    /// [`PromptError::Windows`] before anything is encoded, [`PromptError::Compute`].
    pub(crate) fn condition(
        &mut self,
        positive: &Prompt,
        negative: &Prompt,
        stage: Stage,
    ) -> Result<Script, PromptError> {
        let spans = |prompt: &Prompt| {
            let parts = prompt.subprompts.iter();
            let parts = parts.map(|part| (part.weight, part.schedule.texts(stage)));
            parts.collect::<Vec<_>>()
        };
        let (positive, negative) = (spans(positive), spans(negative));
        let readings = self.read(
            positive
                .iter()
                .chain(&negative)
                .flat_map(|(_, spans)| spans),
        )?;
        let conditions = self.encode(&readings)?;
        let track = |spans: &[Span]| -> Track {
            let found = spans.iter().filter_map(|span| {
                let condition = conditions.get(&*span.text)?;
                Some((span.until, condition.clone()))
            });
            found.collect()
        };
        let negative: Vec<_> = negative.into_iter().flat_map(|(_, spans)| spans).collect();
        let mut against = track(&negative);
        if self.zeros(&negative) {
            for (_, condition) in &mut against {
                condition.context = condition.context.zeros_like()?;
                condition.pooled = condition
                    .pooled
                    .as_ref()
                    .map(Tensor::zeros_like)
                    .transpose()?;
            }
        }
        Ok(Script {
            positives: positive
                .iter()
                .map(|(weight, spans)| (*weight, track(spans)))
                .collect(),
            negative: against,
            compat: self.conventions.compat,
            warnings: warnings(readings.values()),
        })
    }

    fn zeros(&self, negative: &[Span]) -> bool {
        self.conventions.empty_negative == EmptyNegative::Zeros
            && self.conventions.compat != Compat::Comfy
            && negative.iter().all(|span| span.text.is_empty())
    }

    /// Reads every text once.
    fn read<'s>(
        &self,
        spans: impl Iterator<Item = &'s Span>,
    ) -> Result<BTreeMap<Arc<str>, Reading>, PromptError> {
        let compat = self.conventions.compat;
        let mut readings = BTreeMap::new();
        for Span { text, .. } in spans {
            if !readings.contains_key(text) {
                let runs = runs(text, compat);
                let reading = windows(&runs, self.tokenizer, self.embeddings, compat)?;
                readings.insert(Arc::clone(text), reading);
            }
        }
        Ok(readings)
    }

    /// Encodes texts, all to one length.
    fn encode(
        &mut self,
        readings: &BTreeMap<Arc<str>, Reading>,
    ) -> Result<BTreeMap<Arc<str>, Condition>, PromptError> {
        let lengths: BTreeSet<_> = readings.values().map(|r| r.windows.len()).collect();
        let length = Length::of(&lengths, self.conventions.compat);
        let (count, max) = (readings.len() * length.windows, STAGE_WINDOWS_MAX);
        if count > max {
            return Err(PromptError::Windows { count, max });
        }
        let mut conditions = BTreeMap::new();
        for (text, reading) in readings {
            let windows = length.fill(&reading.windows);
            self.hear(&windows)?;
            conditions.insert(Arc::clone(text), self.join(&windows)?);
            self.cache.trim();
        }
        Ok(conditions)
    }

    /// Encodes the windows that are not known yet, and the one that says nothing where weights
    /// need it.
    fn hear(&mut self, windows: &[Window]) -> Result<(), PromptError> {
        let empty = Window::default();
        let weighed = windows
            .iter()
            .any(|window| window.weights.iter().any(|weight| *weight != 1.0));
        let empty = (weighed && self.conventions.compat == Compat::Comfy).then_some(&empty);
        let unknown: BTreeSet<_> = windows
            .iter()
            .chain(empty)
            .map(|window| &window.pieces)
            .filter(|pieces| !self.cache.heard.contains_key(*pieces))
            .collect();
        let unknown: Vec<_> = unknown.into_iter().cloned().collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let mut heard: Vec<Heard> = vec![Vec::new(); unknown.len()];
        for Encoder { encoder, frame } in &self.encoders {
            let framed: Vec<_> = unknown
                .iter()
                .map(|pieces| frame.around(pieces, Piece::Token))
                .collect();
            let encoded = encoder.encode(&framed)?;
            for (i, heard) in heard.iter_mut().enumerate() {
                let pooled = encoded.pooled.as_ref().map(|pooled| pooled.narrow(0, i, 1));
                heard.push((encoded.hidden.narrow(0, i, 1)?, pooled.transpose()?));
            }
        }
        for (pieces, heard) in unknown.into_iter().zip(heard) {
            self.cache.order.push_back(pieces.clone());
            self.cache.heard.insert(pieces, heard);
        }
        Ok(())
    }

    /// Weighs known windows and joins them to what the network hears of a text.
    fn join(&self, windows: &[Window]) -> candle_core::Result<Condition> {
        let known = |pieces: &[Piece]| {
            let missing = || candle_core::Error::msg("a window was not encoded");
            self.cache.heard.get(pieces).ok_or_else(missing)
        };
        let empty = self.cache.heard.get([].as_slice());
        let mut contexts = Vec::with_capacity(windows.len());
        for window in windows {
            let mut sides = Vec::with_capacity(self.encoders.len());
            for (i, (hidden, _)) in known(&window.pieces)?.iter().enumerate() {
                let weights = self.encoders[i].frame.around(&window.weights, |_| 1.0);
                let empty = empty.map(|empty| &empty[i].0);
                sides.push(weigh(hidden, &weights, self.conventions.compat, empty)?);
            }
            contexts.push(Tensor::cat(&sides, 2)?);
        }
        let first = windows.first().map(|window| known(&window.pieces));
        let pooled = first.transpose()?.and_then(|heard| heard.last()?.1.clone());
        Ok(Condition {
            context: Tensor::cat(&contexts, 1)?,
            pooled,
        })
    }
}

impl Cache {
    fn trim(&mut self) {
        while self.order.len() > CACHE_WINDOWS_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.heard.remove(&oldest);
            }
        }
    }
}

/// How texts of several lengths become one length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Length {
    windows: usize,
    filling: Filling,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Filling {
    /// With windows that say nothing.
    Empty,
    /// With themselves, which attention does not notice.
    Again,
}

/// How often `ComfyUI` repeats the shortest text at most.
const REPEATS_MAX: usize = 4;

impl Length {
    fn of(lengths: &BTreeSet<usize>, compat: Compat) -> Self {
        let longest = lengths.last().copied().unwrap_or(1);
        let shortest = lengths.first().copied().unwrap_or(1).max(1);
        let bound = shortest * REPEATS_MAX;
        let common = (1..=REPEATS_MAX)
            .map(|n| n * longest)
            .find(|n| *n <= bound && lengths.iter().all(|length| n % length == 0));
        match (compat, common) {
            (Compat::Comfy, Some(windows)) => Self {
                windows,
                filling: Filling::Again,
            },
            _ => Self {
                windows: longest,
                filling: Filling::Empty,
            },
        }
    }

    fn fill(self, windows: &[Window]) -> Vec<Window> {
        match self.filling {
            Filling::Empty => {
                let mut windows = windows.to_vec();
                windows.resize(self.windows, Window::default());
                windows
            }
            Filling::Again => windows.iter().cycle().take(self.windows).cloned().collect(),
        }
    }
}

fn warnings<'r>(readings: impl Iterator<Item = &'r Reading>) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let mut missing = BTreeSet::new();
    for reading in readings {
        if reading.dropped > 0 {
            let dropped = reading.dropped;
            warnings.push(Warning::PromptCut { dropped });
        }
        missing.extend(reading.missing.iter().cloned());
    }
    if !missing.is_empty() {
        let names = missing.into_iter().collect();
        warnings.push(Warning::MissingEmbeddings { names });
    }
    warnings
}
#[cfg(test)]
mod tests;
