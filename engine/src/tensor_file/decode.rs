//! Little-endian floats of several widths to `f32` and back, and whether they are finite.

use super::Dtype;

/// Converts bytes to as many values.
pub(super) type Decoder = fn(&[u8], &mut [f32]);

/// Returns how to decode weights of a type, or nothing if it does not hold weights.
pub(super) fn decoder(dtype: Dtype) -> Option<Decoder> {
    match dtype {
        Dtype::F32 => Some(|bytes, values| each(bytes, values, f32::from_le_bytes)),
        Dtype::F16 => Some(|bytes, values| {
            each(bytes, values, |b| f16_to_f32(u16::from_le_bytes(b)));
        }),
        Dtype::Bf16 => Some(|bytes, values| {
            each(bytes, values, |b| widen(u16::from_le_bytes(b)));
        }),
        Dtype::F64 => Some(|bytes, values| {
            each(bytes, values, |b| narrow(f64::from_le_bytes(b)));
        }),
        Dtype::F8E4m3 => Some(|bytes, values| {
            each(bytes, values, |[b]| E4M3[usize::from(b)]);
        }),
        Dtype::F8E5m2 => Some(|bytes, values| {
            // The upper byte of an IEEE half.
            each(bytes, values, |[b]| f16_to_f32(u16::from(b) << 8));
        }),
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

fn each<const N: usize>(bytes: &[u8], values: &mut [f32], decode: impl Fn([u8; N]) -> f32) {
    let (elements, rest) = bytes.as_chunks::<N>();
    assert!(
        rest.is_empty() && elements.len() == values.len(),
        "as many values as elements"
    );
    for (value, bytes) in values.iter_mut().zip(elements) {
        *value = decode(*bytes);
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "rounding to f32 is the point"
)]
fn narrow(value: f64) -> f32 {
    value as f32
}

fn widen(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

/// Returns the value of an IEEE half, without branches: the exponent is moved by a multiplication, which
/// also normalises subnormals, and infinity and NaN are patched.
fn f16_to_f32(half: u16) -> f32 {
    let magnitude = u32::from(half & 0x7fff);
    let sign = u32::from(half & 0x8000) << 16;
    let moved = f32::from_bits(magnitude << 13) * f32::from_bits((254 - 15) << 23);
    let special = if magnitude >= 0x7c00 { 0x7f80_0000 } else { 0 };
    f32::from_bits(moved.to_bits() | special | sign)
}

/// Eight-bit floats with four bits of exponent: no infinity, and one NaN of each sign.
static E4M3: [f32; 256] = {
    let mut table = [0.0; 256];
    let mut bits = 0_u32;
    while bits < 256 {
        let (exponent, mantissa) = (bits >> 3 & 15, bits & 7);
        let magnitude = match (exponent, mantissa) {
            (15, 7) => f32::NAN,
            (0, _) => mantissa as f32 / 512.0,
            (_, _) => f32::from_bits((exponent + 120) << 23 | mantissa << 20),
        };
        table[bits as usize] = if bits < 128 { magnitude } else { -magnitude };
        bits += 1;
    }
    table
};

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

    #[test]
    fn halves_widen_to_their_exact_values() {
        let cases = [
            (0x0000, 0.0),
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x7bff, 65504.0),
            (0x0001, 2.0_f32.powi(-24)),
            (0x0400, 2.0_f32.powi(-14)),
            (0x7c00, f32::INFINITY),
            (0xfc00, f32::NEG_INFINITY),
        ];
        for (half, value) in cases {
            assert_eq!(f16_to_f32(half), value, "{half:04x}");
        }
        assert!(f16_to_f32(0x7e00).is_nan());
    }

    #[test]
    fn every_float_width_decodes_one_and_a_half() {
        let cases: [(Dtype, &[u8]); 6] = [
            (Dtype::F32, &1.5_f32.to_le_bytes()),
            (Dtype::F64, &1.5_f64.to_le_bytes()),
            (Dtype::F16, &[0x00, 0x3e]),
            (Dtype::Bf16, &[0xc0, 0x3f]),
            (Dtype::F8E4m3, &[0x3c]),
            (Dtype::F8E5m2, &[0x3e]),
        ];
        for (dtype, bytes) in cases {
            let mut values = [0.0];
            decoder(dtype).unwrap()(bytes, &mut values);
            assert_eq!(values, [1.5], "{dtype:?}");
        }
    }

    #[test]
    fn eight_bit_floats_have_their_published_extremes() {
        let mut values = [0.0; 5];
        decoder(Dtype::F8E4m3).unwrap()(&[0x7e, 0x01, 0xb8, 0x08, 0x7f], &mut values);
        assert_eq!(values[..4], [448.0, 2_f32.powi(-9), -1.0, 2_f32.powi(-6)]);
        assert!(values[4].is_nan());
        decoder(Dtype::F8E5m2).unwrap()(&[0x7b, 0x01, 0xbc, 0x04, 0x7c], &mut values);
        assert_eq!(
            values[..4],
            [57344.0, 2_f32.powi(-16), -1.0, 2_f32.powi(-14)]
        );
        assert_eq!(values[4], f32::INFINITY);
    }

    #[test]
    fn what_is_written_reads_back_to_the_nearest() {
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
        let mut read = [0.0];
        decoder(dtype).unwrap()(&bits.to_le_bytes()[..dtype.width()], &mut read);
        read[0]
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
