//! One module's tensors in an adapter's file to a [`Change`], every shape checked before anything is read.

mod kronecker;
mod low_rank;
mod relative;

use std::collections::BTreeMap;

use super::delta::{Axis, BiasDelta, Change, Delta, Magnitude, rounded};
use super::key::Role;
use super::scaling::PeftScale;
use crate::modules::{Bias, Module};
use crate::tensor_file::{TensorEntry, TensorFile, TensorFileError};

/// Largest rank read; a linear layer of a UNet has at most 10,240 outputs, and trained ranks stay under 1,024.
const RANK_MAX: usize = 8192;

/// A module's keys by what they are to it.
pub(super) type Keys = BTreeMap<Role, (String, TensorEntry)>;

/// Why a module's tensors make no change.
#[derive(Debug)]
pub(super) enum Fault {
    File(TensorFileError),
    /// Sound, but for a layer of these outputs and inputs (0: cannot be told).
    Shape([usize; 2]),
    /// A lie or damage, in words.
    Malformed(&'static str),
    /// A value is infinite or no number.
    NotFinite(String),
}

impl From<TensorFileError> for Fault {
    fn from(error: TensorFileError) -> Self {
        Self::File(error)
    }
}

/// Builds a module's change from the keys it knows what to do with and takes those out of `keys`; those
/// left are of no use. Returns nothing if no kind is complete.
pub(super) fn change(
    file: &mut TensorFile,
    module: &Module,
    keys: &mut Keys,
    peft: Option<&PeftScale>,
) -> Result<Option<Change>, Fault> {
    let mut reader = Reader {
        file,
        module,
        keys,
        scaled_bias: None,
    };
    let weight = reader.weight(peft)?;
    let magnitude = match weight {
        Some(_) => reader.magnitude()?,
        None => None,
    };
    let bias = reader.bias(weight.as_ref())?;
    if weight.is_none() && bias.is_none() {
        return Ok(None);
    }
    Ok(Some(Change {
        weight,
        magnitude,
        bias,
    }))
}

/// A tensor that was taken from the file.
struct Taken {
    shape: Vec<usize>,
    values: Vec<f32>,
}

struct Reader<'a> {
    file: &'a mut TensorFile,
    module: &'a Module,
    keys: &'a mut Keys,
    /// What PEFT's IA3 does to the bias along with the outputs.
    scaled_bias: Option<Vec<f32>>,
}

impl Reader<'_> {
    fn outer(&self) -> usize {
        self.module.shape[0]
    }

    fn inner(&self) -> usize {
        self.module.shape[1..].iter().product()
    }

    fn has<const N: usize>(&self, roles: [Role; N]) -> bool {
        roles.iter().all(|role| self.keys.contains_key(role))
    }

    fn shape(&self, role: Role) -> &[usize] {
        self.keys.get(&role).map_or(&[], |(_, entry)| &entry.shape)
    }

    fn elements(&self, role: Role) -> usize {
        self.keys
            .get(&role)
            .map_or(0, |(_, entry)| entry.elements())
    }

    /// Reads a tensor whose shape was checked and takes its key.
    fn take(&mut self, role: Role) -> Result<Taken, Fault> {
        let Some((name, entry)) = self.keys.remove(&role) else {
            return Err(Fault::Malformed(
                "a tensor that belongs to the others is missing",
            ));
        };
        let values = match self.file.read(&name, &entry) {
            Err(TensorFileError::NotFinite { tensor, .. }) => return Err(Fault::NotFinite(tensor)),
            read => read?,
        };
        let shape = entry.shape;
        Ok(Taken { shape, values })
    }

    fn take_optional(&mut self, role: Role) -> Result<Option<Taken>, Fault> {
        if self.has([role]) {
            self.take(role).map(Some)
        } else {
            Ok(None)
        }
    }

    /// Takes a single number.
    fn number(&mut self, role: Role) -> Result<Option<f64>, Fault> {
        if self.elements(role) != 1 {
            return Ok(None);
        }
        let Some((name, entry)) = self.keys.remove(&role) else {
            return Ok(None);
        };
        Ok(Some(self.file.read_number(&name, &entry)?))
    }

    fn weight(&mut self, peft: Option<&PeftScale>) -> Result<Option<(Delta, f32)>, Fault> {
        use Role::{Diff, Down, Ia3, LokrW1, LokrW1A, LokrW1B, LokrW2, LokrW2A, LokrW2B};
        use Role::{
            HadaW1A, HadaW1B, HadaW2A, HadaW2B, NormWeight, OftBlocks, OnInput, Up, Weight,
        };
        let left = self.has([LokrW1]) || self.has([LokrW1A, LokrW1B]);
        let right = self.has([LokrW2]) || self.has([LokrW2A, LokrW2B]);
        let (delta, rank) = if self.has([Up, Down]) {
            let (product, rank) = self.lora()?;
            (Delta::LowRank(product), Some(rank))
        } else if self.has([HadaW1A, HadaW1B, HadaW2A, HadaW2B]) {
            let (a, rank) = self.hada(HadaW1A, HadaW1B, Role::HadaT1)?;
            let (b, _) = self.hada(HadaW2A, HadaW2B, Role::HadaT2)?;
            (Delta::Hadamard(a, b), Some(rank))
        } else if left && right {
            let (product, rank) = self.lokr()?;
            (Delta::Kronecker(product), rank)
        } else if self.has([Diff]) {
            return Ok(Some((self.dense(Diff)?, 1.0)));
        } else if self.has([NormWeight]) {
            return Ok(Some((self.dense(NormWeight)?, 1.0)));
        } else if self.has([Weight, OnInput]) || self.has([Ia3]) {
            return Ok(Some((self.ia3()?, 1.0)));
        } else if self.has([OftBlocks]) {
            return Ok(self.rotation()?.map(|rotation| (rotation, 1.0)));
        } else {
            return Ok(None);
        };
        let alpha = self.number(Role::Alpha)?;
        let peft = peft.map(|peft| peft.scale(&self.module.path, rank));
        let scale = match (alpha, peft) {
            // Undecomposed Kronecker factors carry an alpha that means nothing.
            (Some(alpha), _) => rank.map_or(1.0, |rank| alpha / rank as f64),
            (None, Some(scale)) => scale,
            (None, None) => 1.0,
        };
        let scale = rounded(scale);
        if !scale.is_finite() {
            return Err(Fault::Malformed("its alpha is not a usable number"));
        }
        Ok(Some((delta, scale)))
    }

    fn agrees(&self, outer: usize, inner: usize) -> Result<(), Fault> {
        if (outer, inner) == (self.outer(), self.inner()) {
            Ok(())
        } else {
            let kernel: usize = self.module.shape[1..].iter().skip(1).product();
            Err(Fault::Shape([outer, inner / kernel.max(1)]))
        }
    }

    fn dense(&mut self, role: Role) -> Result<Delta, Fault> {
        let [outer, rest @ ..] = self.shape(role) else {
            return Err(Fault::Malformed("a difference without dimensions"));
        };
        self.agrees(*outer, rest.iter().product())?;
        Ok(Delta::Dense(self.take(role)?.values))
    }

    fn magnitude(&mut self) -> Result<Option<Magnitude>, Fault> {
        let (outer, rank) = (self.outer(), self.module.shape.len());
        let kernel: usize = self.module.shape[1..].iter().skip(1).product();
        let inputs = self.inner() / kernel.max(1);
        let (role, axis, expected) = if self.has([Role::Magnitude]) {
            (Role::Magnitude, Axis::Outputs, outer)
        } else if self.has([Role::DoraScale]) {
            let shape = self.shape(Role::DoraScale);
            // [1, in, 1, 1] for inputs, [out, 1, 1, 1] or [out] for outputs.
            match shape {
                [1, n, ..] if *n > 1 && rank > 1 => (Role::DoraScale, Axis::Inputs, inputs),
                _ => (Role::DoraScale, Axis::Outputs, outer),
            }
        } else {
            return Ok(None);
        };
        if self.elements(role) != expected {
            return Err(Fault::Shape(widths(self.shape(role))));
        }
        let values = self.take(role)?.values;
        Ok(Some(Magnitude { axis, values }))
    }

    fn bias(&mut self, weight: Option<&(Delta, f32)>) -> Result<Option<BiasDelta>, Fault> {
        if self.module.bias == Bias::Absent {
            return Ok(None);
        }
        if let Some(factors) = self.scaled_bias.take() {
            return Ok(Some(BiasDelta::Scaled(factors)));
        }
        let role = [Role::DiffBias, Role::NormBias, Role::UpBias]
            .into_iter()
            .find(|role| self.has([*role]));
        let Some(role) = role else {
            return Ok(None);
        };
        if self.elements(role) != self.outer() {
            return Err(Fault::Shape([self.elements(role), 0]));
        }
        let mut values = self.take(role)?.values;
        if let (Role::UpBias, Some((_, scale))) = (role, weight) {
            values.iter_mut().for_each(|value| *value *= scale);
        }
        Ok(Some(BiasDelta::Added(values)))
    }
}

/// Returns a matrix' rows and columns, both at least one.
fn matrix(shape: &[usize]) -> Result<[usize; 2], Fault> {
    match *shape {
        [rows, columns] if rows > 0 && columns > 0 => Ok([rows, columns]),
        _ => Err(Fault::Malformed("a factor is no matrix")),
    }
}

/// Returns the first two dimensions, zero where there are fewer.
fn widths(shape: &[usize]) -> [usize; 2] {
    [0, 1].map(|i| shape.get(i).copied().unwrap_or(0))
}

/// Returns the columns of a matrix of `rows` as rows.
fn transposed(values: &[f32], rows: usize) -> Vec<f32> {
    let columns = values.len() / rows;
    (0..columns)
        .flat_map(|c| (0..rows).map(move |r| values[r * columns + c]))
        .collect()
}
