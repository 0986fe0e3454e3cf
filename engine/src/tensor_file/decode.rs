//! Little-endian floats of several widths to `f32` and back, and whether they are finite.

use half::slice::HalfBitsSliceExt;
use hearth_kernels::cast;

use super::Dtype;

/// How the bytes of a file become values. Machines here are little endian, as the format is.
#[derive(Clone, Copy)]
pub(super) enum Decoder {
    /// They are values: where they go, as bytes.
    Nothing(fn(&mut [f32]) -> &mut [u8]),
    /// Converts bytes of a [`Buffer`] to as many values.
    From(fn(&[u8], &mut [f32])),
}

/// Bytes aligned as all element types want them.
#[derive(Debug)]
pub(super) struct Buffer(Vec<u64>);

impl Buffer {
    pub(super) fn new() -> Self {
        Self(Vec::new())
    }

    /// Returns room for so many bytes.
    pub(super) fn bytes(&mut self, len: usize) -> &mut [u8] {
        self.0.resize(len.div_ceil(8), 0);
        &mut bytemuck::cast_slice_mut(&mut self.0)[..len]
    }
}

/// Returns how to decode weights of a type, or nothing if it does not hold weights.
pub(super) fn decoder(dtype: Dtype) -> Option<Decoder> {
    match dtype {
        Dtype::F32 => Some(Decoder::Nothing(|values| bytemuck::cast_slice_mut(values))),
        Dtype::F16 => Some(Decoder::From(|bytes, values| {
            let halves: &[u16] = bytemuck::cast_slice(bytes);
            cast::f16_to_f32(halves.reinterpret_cast(), values);
        })),
        Dtype::Bf16 => Some(Decoder::From(|bytes, values| {
            let halves: &[u16] = bytemuck::cast_slice(bytes);
            cast::bf16_to_f32(halves.reinterpret_cast(), values);
        })),
        Dtype::F64 => Some(Decoder::From(|bytes, values| {
            let doubles: &[f64] = bytemuck::cast_slice(bytes);
            let pairs = values.iter_mut().zip(doubles);
            pairs.for_each(|(value, double)| *value = narrow(*double));
        })),
        Dtype::F8E4m3 => Some(Decoder::From(cast::f8e4m3_to_f32)),
        Dtype::F8E5m2 => Some(Decoder::From(cast::f8e5m2_to_f32)),
        Dtype::Bool
        | Dtype::U8
        | Dtype::I8
        | Dtype::I16
        | Dtype::U16
        | Dtype::I32
        | Dtype::U32
        | Dtype::I64
        | Dtype::U64 => None,
    }
}

/// Returns an integer or truth value, which lies in the first bytes.
pub(super) fn integer(dtype: Dtype, bytes: [u8; 8]) -> f64 {
    let unused = 64 - 8 * dtype.width();
    match dtype {
        Dtype::I8 | Dtype::I16 | Dtype::I32 | Dtype::I64 => {
            // Shifted up and down again, the sign fills what was not there.
            ((i64::from_le_bytes(bytes) << unused) >> unused) as f64
        }
        Dtype::Bool
        | Dtype::U8
        | Dtype::U16
        | Dtype::U32
        | Dtype::U64
        | Dtype::F64
        | Dtype::F32
        | Dtype::F16
        | Dtype::Bf16
        | Dtype::F8E4m3
        | Dtype::F8E5m2 => u64::from_le_bytes(bytes) as f64,
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "rounding to f32 is the point"
)]
fn narrow(value: f64) -> f32 {
    value as f32
}

/// Returns whether all values are numbers. Written to be vectorised: no early end.
pub(super) fn finite(values: &[f32]) -> bool {
    const EXPONENT: u32 = 0x7f80_0000;
    let strange = |value: &f32| u32::from(value.to_bits() & EXPONENT == EXPONENT);
    values.iter().fold(0, |found, value| found | strange(value)) == 0
}

/// Returns whether all halves, of either kind, are numbers; other types are not looked at.
pub(super) fn finite_halves(dtype: Dtype, bytes: &[u8]) -> bool {
    let exponent = if dtype == Dtype::F16 {
        0x7c00
    } else if dtype == Dtype::Bf16 {
        0x7f80
    } else {
        return true;
    };
    let halves = bytes.as_chunks::<2>().0;
    let strange = |half: &[u8; 2]| u16::from(u16::from_le_bytes(*half) & exponent == exponent);
    halves.iter().fold(0, |found, half| found | strange(half)) == 0
}

/// Turns a value into bits, in the low bytes of a type's width.
pub(super) type Encoder = fn(f32) -> u32;

/// Returns how to write weights in a type, to the nearest even, or nothing if that is not done.
pub(super) fn encoder(dtype: Dtype) -> Option<Encoder> {
    match dtype {
        Dtype::F32 => Some(f32::to_bits),
        Dtype::Bf16 => Some(|value| {
            let bits = value.to_bits();
            (bits + 0x7fff + (bits >> 16 & 1)) >> 16
        }),
        Dtype::F16 => Some(|value| round_to(value, 10, 15)),
        Dtype::F8E5m2 => Some(|value| round_to(value, 2, 15)),
        Dtype::F8E4m3 => Some(|value| round_to(value, 3, 7)),
        Dtype::F64
        | Dtype::Bool
        | Dtype::U8
        | Dtype::I8
        | Dtype::I16
        | Dtype::U16
        | Dtype::I32
        | Dtype::U32
        | Dtype::I64
        | Dtype::U64 => None,
    }
}

/// Returns the bits of a smaller float of so many bits of mantissa and such a bias. Magnitudes are
/// assumed to be within its range.
fn round_to(value: f32, mantissa: u32, bias: i32) -> u32 {
    let sign = value.to_bits() >> 31;
    // Below the smallest exponent the spacing stays what it is there.
    let exponent = (value.abs().to_bits() >> 23).cast_signed() - 127;
    let spacing = exponent.max(1 - bias) - mantissa.cast_signed();
    let steps = f64::from(value.abs()) * 2_f64.powi(-spacing);
    let steps = steps.round_ties_even();
    // Adding carries into the exponent where the mantissa overflows.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a whole number below 2^(mantissa + 2)"
    )]
    let steps = steps as u32;
    let exponent = (exponent.max(1 - bias) + bias - 1).cast_unsigned();
    let width = if bias == 7 { 4 } else { 5 };
    sign << (mantissa + width) | ((exponent << mantissa) + steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode<const N: usize>(dtype: Dtype, from: &[u8]) -> [f32; N] {
        let mut values = [0.0; N];
        match decoder(dtype).unwrap() {
            Decoder::Nothing(bytes) => bytes(&mut values).copy_from_slice(from),
            Decoder::From(decode) => {
                let mut buffer = Buffer::new();
                buffer.bytes(from.len()).copy_from_slice(from);
                decode(buffer.bytes(from.len()), &mut values);
            }
        }
        values
    }

    #[test]
    fn e12_every_float_width_decodes_one_and_a_half() {
        let cases: [(Dtype, &[u8]); 6] = [
            (Dtype::F32, &1.5_f32.to_le_bytes()),
            (Dtype::F64, &1.5_f64.to_le_bytes()),
            (Dtype::F16, &[0x00, 0x3e]),
            (Dtype::Bf16, &[0xc0, 0x3f]),
            (Dtype::F8E4m3, &[0x3c]),
            (Dtype::F8E5m2, &[0x3e]),
        ];
        for (dtype, bytes) in cases {
            assert_eq!(decode(dtype, bytes), [1.5], "{dtype:?}");
        }
    }

    #[test]
    fn e12_extremes_decode_exactly() {
        let halves = [0x7bff_u16, 0x0001, 0x0400, 0xfc00].map(u16::to_le_bytes);
        let values = decode(Dtype::F16, halves.as_flattened());
        let (least, smallest) = (2_f32.powi(-24), 2_f32.powi(-14));
        assert_eq!(values, [65504.0, least, smallest, f32::NEG_INFINITY]);
        let values = decode(Dtype::F8E4m3, &[0x7e, 0x01, 0xb8, 0x08]);
        assert_eq!(values, [448.0, 2_f32.powi(-9), -1.0, 2_f32.powi(-6)]);
        let [nan] = decode(Dtype::F8E4m3, &[0x7f]);
        assert!(nan.is_nan());
        let values = decode(Dtype::F8E5m2, &[0x7b, 0x01, 0x7c]);
        assert_eq!(values, [57344.0, 2_f32.powi(-16), f32::INFINITY]);
    }

    #[test]
    fn e12_what_is_written_reads_back_to_the_nearest() {
        let bounds = [
            (Dtype::F32, 0.0),
            (Dtype::F16, 2_f32.powi(-11)),
            (Dtype::Bf16, 2_f32.powi(-8)),
            (Dtype::F8E4m3, 2_f32.powi(-4)),
            (Dtype::F8E5m2, 2_f32.powi(-3)),
        ];
        for (dtype, relative) in bounds {
            let encode = encoder(dtype).unwrap();
            for i in 0..2000_u16 {
                let value = (f32::from(i) - 1000.0) * 0.0131;
                let read = back(dtype, encode(value));
                let bound = relative * value.abs().max(2_f32.powi(-6));
                assert!((read - value).abs() <= bound, "{dtype:?} {value} {read}");
                // What is representable stays as it is.
                assert_eq!(encode(read), encode(value), "{dtype:?} {value}");
            }
        }
        assert_eq!(encoder(Dtype::F16).unwrap()(65504.0), 0x7bff);
        assert_eq!(encoder(Dtype::F16).unwrap()(2_f32.powi(-24)), 1);
        assert_eq!(encoder(Dtype::F8E4m3).unwrap()(1.9999), 0x40, "carried");
    }

    fn back(dtype: Dtype, bits: u32) -> f32 {
        let [value] = decode(dtype, &bits.to_le_bytes()[..dtype.width()]);
        value
    }

    #[test]
    fn strange_values_are_found_wherever_they_are() {
        for strange in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut values = vec![f32::MAX; 1000];
            assert!(finite(&values));
            values[997] = strange;
            assert!(!finite(&values), "{strange}");
        }
        assert!(finite_halves(Dtype::F16, &[0xff, 0x7b]));
        assert!(!finite_halves(Dtype::F16, &[0xff, 0x7b, 0x00, 0x7c]));
        assert!(!finite_halves(Dtype::Bf16, &[0xc0, 0xff]));
    }
}
