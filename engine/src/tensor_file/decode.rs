//! Little-endian floats of several widths to `f32`.

use super::Dtype;

/// Appends the values of some bytes, a whole number of elements.
pub(super) type Decoder = fn(&[u8], &mut Vec<f32>);

/// Returns how to decode weights of a type, or nothing if it does not hold weights.
pub(super) fn decoder(dtype: Dtype) -> Option<Decoder> {
    match dtype {
        Dtype::F32 => Some(f32s),
        Dtype::F16 => Some(f16s),
        Dtype::Bf16 => Some(bf16s),
        Dtype::F64 => Some(f64s),
        Dtype::Bool
        | Dtype::U8
        | Dtype::I8
        | Dtype::F8E4m3
        | Dtype::F8E5m2
        | Dtype::I16
        | Dtype::U16
        | Dtype::I32
        | Dtype::U32
        | Dtype::I64
        | Dtype::U64 => None,
    }
}

fn f32s(bytes: &[u8], values: &mut Vec<f32>) {
    values.extend(elements(bytes).map(f32::from_le_bytes));
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "rounding to f32 is the point"
)]
fn f64s(bytes: &[u8], values: &mut Vec<f32>) {
    values.extend(elements(bytes).map(|b| f64::from_le_bytes(b) as f32));
}

fn bf16s(bytes: &[u8], values: &mut Vec<f32>) {
    let widen = |b| f32::from_bits(u32::from(u16::from_le_bytes(b)) << 16);
    values.extend(elements(bytes).map(widen));
}

fn f16s(bytes: &[u8], values: &mut Vec<f32>) {
    values.extend(elements(bytes).map(|b| f16_to_f32(u16::from_le_bytes(b))));
}

fn elements<const N: usize>(bytes: &[u8]) -> impl Iterator<Item = [u8; N]> + '_ {
    bytes
        .chunks_exact(N)
        .map(|chunk| chunk.try_into().expect("chunks have that length"))
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
        let cases: [(Dtype, &[u8]); 4] = [
            (Dtype::F32, &1.5_f32.to_le_bytes()),
            (Dtype::F64, &1.5_f64.to_le_bytes()),
            (Dtype::F16, &[0x00, 0x3e]),
            (Dtype::Bf16, &[0xc0, 0x3f]),
        ];
        for (dtype, bytes) in cases {
            let mut values = Vec::new();
            decoder(dtype).unwrap()(bytes, &mut values);
            assert_eq!(values, [1.5], "{dtype:?}");
        }
    }
}
