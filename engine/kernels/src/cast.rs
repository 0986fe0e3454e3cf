//! Half, brain and eight-bit floats to `f32`, on all threads and as fast as memory gives them.

use half::{bf16, f16};
use rayon::prelude::*;

use crate::panel::Stored;
use crate::simd::{Kernel, LANES, Simd, dispatch};

/// Values a task widens at once.
const CHUNK: usize = 64 * 1024;

/// Widens IEEE halves.
///
/// # Panics
/// If the slices differ in length.
pub fn f16_to_f32(from: &[f16], to: &mut [f32]) {
    widen(from, to);
}

/// Widens brain floats.
///
/// # Panics
/// If the slices differ in length.
pub fn bf16_to_f32(from: &[bf16], to: &mut [f32]) {
    widen(from, to);
}

/// Widens eight-bit floats with four bits of exponent and no infinity (`F8_E4M3` in safetensors).
///
/// # Panics
/// If the slices differ in length.
pub fn f8e4m3_to_f32(from: &[u8], to: &mut [f32]) {
    look_up(from, to, &table(e4m3));
}

/// Widens eight-bit floats with five bits of exponent (`F8_E5M2` in safetensors).
///
/// # Panics
/// If the slices differ in length.
pub fn f8e5m2_to_f32(from: &[u8], to: &mut [f32]) {
    // The upper byte of an IEEE half.
    look_up(
        from,
        to,
        &table(|bits| f16::from_bits(u16::from(bits) << 8).to_f32()),
    );
}

fn widen<T: Stored>(from: &[T], to: &mut [f32]) {
    assert_eq!(from.len(), to.len(), "one result for each value");
    let chunks = to.par_chunks_mut(CHUNK).zip(from.par_chunks(CHUNK));
    chunks.for_each(|(to, from)| dispatch(Widen(from, to)));
}

struct Widen<'a, T>(&'a [T], &'a mut [f32]);

impl<T: Stored> Kernel for Widen<'_, T> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (from, rest) = self.0.as_chunks::<LANES>();
        let (to, rest_to) = self.1.as_chunks_mut::<LANES>();
        for (to, from) in to.iter_mut().zip(from) {
            s.store(to, T::read(s, from));
        }
        let mut padded = [T::default(); LANES];
        padded[..rest.len()].copy_from_slice(rest);
        rest_to.copy_from_slice(&s.array(T::read(s, &padded))[..rest.len()]);
    }
}

fn look_up(from: &[u8], to: &mut [f32], table: &[f32; 256]) {
    assert_eq!(from.len(), to.len(), "one result for each value");
    let chunks = to.par_chunks_mut(CHUNK).zip(from.par_chunks(CHUNK));
    chunks.for_each(|(to, from)| {
        for (to, from) in to.iter_mut().zip(from) {
            *to = table[usize::from(*from)];
        }
    });
}

fn table(f: impl Fn(u8) -> f32) -> [f32; 256] {
    let mut table = [0.0; 256];
    for (bits, value) in (0..=u8::MAX).zip(&mut table) {
        *value = f(bits);
    }
    table
}

fn e4m3(bits: u8) -> f32 {
    let (exponent, mantissa) = (bits >> 3 & 15, f32::from(bits & 7));
    let magnitude = match (exponent, bits & 7) {
        (15, 7) => f32::NAN,
        (0, _) => mantissa / 8.0 * 2_f32.powi(-6),
        (_, _) => (1.0 + mantissa / 8.0) * 2_f32.powi(i32::from(exponent) - 7),
    };
    if bits & 0x80 == 0 {
        magnitude
    } else {
        -magnitude
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_widens_as_the_half_crate_has_it() {
        let halves: Vec<f16> = (0..=u16::MAX).map(f16::from_bits).collect();
        let mut got = vec![0.0; halves.len()];
        f16_to_f32(&halves, &mut got);
        let same =
            |want: f32, got: f32| want.to_bits() == got.to_bits() || want.is_nan() && got.is_nan();
        assert!(
            halves
                .iter()
                .zip(&got)
                .all(|(h, got)| same(h.to_f32(), *got))
        );
        let brains: Vec<bf16> = (0..=u16::MAX).map(bf16::from_bits).collect();
        bf16_to_f32(&brains[..65_530], &mut got[..65_530]);
        assert!(
            brains[..65_530]
                .iter()
                .zip(&got)
                .all(|(b, got)| same(b.to_f32(), *got))
        );
    }

    #[test]
    fn eight_bit_floats_have_their_published_extremes() {
        let mut got = [0.0; 6];
        f8e4m3_to_f32(&[0x7e, 0x01, 0x38, 0xb8, 0x08, 0x7f], &mut got);
        assert_eq!(got[..5], [448.0, 2_f32.powi(-9), 1.0, -1.0, 2_f32.powi(-6)]);
        assert!(got[5].is_nan());
        f8e5m2_to_f32(&[0x7b, 0x01, 0x3c, 0xbc, 0x04, 0x7c], &mut got);
        let smallest = (2_f32.powi(-16), 2_f32.powi(-14));
        assert_eq!(
            got,
            [57344.0, smallest.0, 1.0, -1.0, smallest.1, f32::INFINITY]
        );
    }
}
