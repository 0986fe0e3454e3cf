//! Plain arrays, which the compiler turns into whatever vectors the target always has.

use super::{LANES, Simd};

/// No instructions beyond the target's own.
#[derive(Clone, Copy)]
pub(crate) struct Portable;

#[inline(always)]
fn zip(a: [f32; LANES], b: [f32; LANES], f: impl Fn(f32, f32) -> f32) -> [f32; LANES] {
    std::array::from_fn(|i| f(a[i], b[i]))
}

/// `a * b + c`, fused where that is one instruction and not a library call.
#[inline(always)]
fn fused(a: f32, b: f32, c: f32) -> f32 {
    if cfg!(any(target_arch = "aarch64", target_feature = "fma")) {
        a.mul_add(b, c)
    } else {
        a * b + c
    }
}

impl Simd for Portable {
    type V = [f32; LANES];
    const WIDE: bool = false;

    #[inline(always)]
    fn splat(self, x: f32) -> Self::V {
        [x; LANES]
    }
    #[inline(always)]
    unsafe fn read(self, from: *const f32) -> Self::V {
        // SAFETY: the caller says sixteen values are there; no alignment is assumed.
        unsafe { from.cast::<Self::V>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn write(self, to: *mut f32, v: Self::V) {
        // SAFETY: the caller says there is room for sixteen values; no alignment is assumed.
        unsafe { to.cast::<Self::V>().write_unaligned(v) }
    }
    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| a * b)
    }
    #[inline(always)]
    fn div(self, a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| a / b)
    }
    #[inline(always)]
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        std::array::from_fn(|i| fused(a[i], b[i], c[i]))
    }
    #[inline(always)]
    fn fnma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        std::array::from_fn(|i| fused(-a[i], b[i], c[i]))
    }
    #[inline(always)]
    fn min(self, a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    fn max(self, a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    fn round(self, a: Self::V) -> Self::V {
        // 1.5 * 2^23: adding it leaves no room for a fraction. Larger values never get here.
        const ROUND: f32 = 12_582_912.0;
        a.map(|x| (x + ROUND) - ROUND)
    }
    #[inline(always)]
    fn scale(self, a: Self::V, n: Self::V) -> Self::V {
        const ROUND: f32 = 12_582_912.0;
        zip(a, n, |a, n| {
            f32::from_bits(a.to_bits().wrapping_add((n + ROUND).to_bits() << 23))
        })
    }
    #[inline(always)]
    unsafe fn read_f16(self, from: *const u16) -> Self::V {
        // SAFETY: the caller says sixteen values are there.
        let bits = unsafe { from.cast::<[u16; LANES]>().read_unaligned() };
        bits.map(widen_f16)
    }
    #[inline(always)]
    unsafe fn read_bf16(self, from: *const u16) -> Self::V {
        // SAFETY: the caller says sixteen values are there.
        let bits = unsafe { from.cast::<[u16; LANES]>().read_unaligned() };
        bits.map(|bits| f32::from_bits(u32::from(bits) << 16))
    }
}

/// Returns an IEEE half as `f32`, exactly, subnormals, infinities and NaN included.
#[inline(always)]
fn widen_f16(bits: u16) -> f32 {
    let (sign, rest) = (u32::from(bits & 0x8000) << 16, u32::from(bits & 0x7fff));
    let magnitude = if rest >= 0x7c00 {
        f32::from_bits(0x7f80_0000 | (rest << 13))
    } else {
        // Shifted into place the exponent is 112 too small, subnormals included.
        f32::from_bits(rest << 13) * f32::from_bits((127 + 112) << 23)
    };
    f32::from_bits(magnitude.to_bits() | sign)
}
