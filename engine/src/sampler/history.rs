//! What a sampler remembers from one step to the next: with the latents and the noise's state, all it
//! takes to go on from a step in another process.

use candle_core::Tensor;
use thiserror::Error;

/// Steps back that any sampler looks, and the names their tensors are saved under.
const NAMES: [&str; 3] = ["history.0", "history.1", "history.2"];
const SAMPLE: &str = "history.sample";

/// Earlier predictions, the latest first, and for some samplers the latents before the last step.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    past: Vec<Tensor>,
    sample: Option<Tensor>,
}

/// What is wrong with a saved history.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum HistoryError {
    #[error("a saved step has a tensor {name}: no sampler leaves one")]
    Unknown { name: String },
    #[error("tensor {name} of a saved step is missing, though later ones are there")]
    Gap { name: &'static str },
    #[error("tensor {name} of a saved step has shape {found:?}; its latents have {expected:?}")]
    Shape {
        name: String,
        found: Vec<usize>,
        expected: Vec<usize>,
    },
}

impl History {
    /// Takes a saved history apart again; `shape` is that of the latents beside it.
    ///
    /// # Errors
    /// [`HistoryError`] says which tensor does not fit.
    pub(crate) fn from_saved(
        tensors: impl IntoIterator<Item = (String, Tensor)>,
        shape: &[usize],
    ) -> Result<Self, HistoryError> {
        let mut past = [None, None, None];
        let mut sample = None;
        for (name, tensor) in tensors {
            if tensor.dims() != shape {
                let (found, expected) = (tensor.dims().to_vec(), shape.to_vec());
                return Err(HistoryError::Shape {
                    name,
                    found,
                    expected,
                });
            }
            match NAMES.iter().position(|known| *known == name) {
                Some(i) => past[i] = Some(tensor),
                None if name == SAMPLE => sample = Some(tensor),
                None => return Err(HistoryError::Unknown { name }),
            }
        }
        let count = past.iter().flatten().count();
        if let Some(i) = past[..count].iter().position(Option::is_none) {
            return Err(HistoryError::Gap { name: NAMES[i] });
        }
        let past = past.into_iter().flatten().collect();
        Ok(Self { past, sample })
    }

    /// The tensors to save, each with its name.
    pub(crate) fn named(&self) -> impl Iterator<Item = (&'static str, &Tensor)> {
        let past = NAMES.into_iter().zip(&self.past);
        past.chain(self.sample.iter().map(|tensor| (SAMPLE, tensor)))
    }

    /// Earlier predictions, the latest first.
    pub(super) fn past(&self) -> &[Tensor] {
        &self.past
    }

    /// The latents before the last step.
    pub(super) fn sample(&self) -> Option<&Tensor> {
        self.sample.as_ref()
    }

    /// Remembers a prediction, and forgets all but the latest `kept`.
    pub(super) fn push(&mut self, prediction: Tensor, kept: usize) {
        self.past.insert(0, prediction);
        self.past.truncate(kept.min(NAMES.len()));
    }

    /// Remembers the latents a step began with.
    pub(super) fn keep_sample(&mut self, latents: Tensor) {
        self.sample = Some(latents);
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;

    fn tensor(count: usize) -> Tensor {
        Tensor::zeros(count, DType::F32, &Device::Cpu).unwrap()
    }

    #[test]
    fn e37_a_saved_history_comes_back() {
        let mut history = History::default();
        history.push(tensor(3), 2);
        history.push(tensor(3), 2);
        history.push(tensor(3), 2);
        history.keep_sample(tensor(3));
        let saved: Vec<_> = history
            .named()
            .map(|(name, tensor)| (name.to_owned(), tensor.clone()))
            .collect();
        let names: Vec<_> = saved.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["history.0", "history.1", "history.sample"]);
        let back = History::from_saved(saved, &[3]).unwrap();
        assert_eq!((back.past.len(), back.sample.is_some()), (2, true));
    }

    #[test]
    fn e37_a_history_that_does_not_fit_is_refused() {
        let check = |name: &str, count| {
            History::from_saved([(name.to_owned(), tensor(count))], &[3]).unwrap_err()
        };
        assert!(matches!(check("history.0", 4), HistoryError::Shape { .. }));
        assert!(matches!(
            check("history.3", 3),
            HistoryError::Unknown { .. }
        ));
        assert_eq!(
            check("history.1", 3),
            HistoryError::Gap { name: "history.0" }
        );
    }
}
