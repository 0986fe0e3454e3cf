//! Reading changes that depend on the weight they change: IA3's factors and OFT's rotations.

use super::{Fault, Reader, widths};
use crate::adapter::delta::{Axis, Delta, Rotation};
use crate::adapter::key::Role;

/// Largest block of outputs rotated together; turning costs its square for each weight.
const OFT_BLOCK_MAX: usize = 1024;

impl Reader<'_> {
    pub(super) fn ia3(&mut self) -> Result<Delta, Fault> {
        let kernel: usize = self.module.shape[1..].iter().skip(1).product();
        let inputs = self.inner() / kernel.max(1);
        if self.has([Role::Ia3]) {
            // PEFT: [out, 1] for outputs, [1, in] for the inputs of feed-forward layers; of a convolution both
            // are [1, n, 1, 1], for outputs where either would fit. 1 changes nothing.
            let shape = self.shape(Role::Ia3).to_vec();
            let axis = match shape.as_slice() {
                [n, rest @ ..] if *n == self.outer() && rest.iter().all(|d| *d == 1) => {
                    Axis::Outputs
                }
                [1, n, 1, 1] if *n == self.outer() => Axis::Outputs,
                [1, n, rest @ ..] if *n == inputs && rest.iter().all(|d| *d == 1) => Axis::Inputs,
                shape => return Err(Fault::Shape(widths(shape))),
            };
            let mut factors = self.take(Role::Ia3)?.values;
            factors.iter_mut().for_each(|factor| *factor -= 1.0);
            if axis == Axis::Outputs {
                self.scaled_bias = Some(factors.clone());
            }
            return Ok(Delta::Scaled(axis, factors));
        }
        let on_input = self.number(Role::OnInput)?.unwrap_or(0.0) != 0.0;
        let (axis, expected) = if on_input {
            (Axis::Inputs, inputs)
        } else {
            (Axis::Outputs, self.outer())
        };
        if self.elements(Role::Weight) != expected {
            return Err(Fault::Shape(widths(self.shape(Role::Weight))));
        }
        Ok(Delta::Scaled(axis, self.take(Role::Weight)?.values))
    }

    /// Returns nothing for the four-dimensional blocks of butterfly OFT.
    pub(super) fn rotation(&mut self) -> Result<Option<Delta>, Fault> {
        let [blocks, size, width] = *self.shape(Role::OftBlocks) else {
            return Ok(None);
        };
        if size != width || size == 0 || size > OFT_BLOCK_MAX {
            return Err(Fault::Malformed(
                "its blocks are not square or absurdly large",
            ));
        }
        if blocks.checked_mul(size) != Some(self.outer()) {
            return Err(Fault::Shape([blocks.saturating_mul(size), 0]));
        }
        if ![0, self.outer()].contains(&self.elements(Role::Rescale)) {
            return Err(Fault::Malformed("its factors are not one for each output"));
        }
        let values = self.take(Role::OftBlocks)?.values;
        let rescale = self.take_optional(Role::Rescale)?.map(|taken| taken.values);
        let constraint = self.number(Role::Alpha)?.unwrap_or(0.0) * self.outer() as f64;
        let rotation = Rotation::new(&values, size, constraint, rescale);
        Ok(Some(Delta::Rotation(rotation)))
    }
}
