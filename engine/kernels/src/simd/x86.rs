//! AVX-512, and AVX2 with FMA and F16C as two halves of the same sixteen lanes.

use std::arch::x86_64::*;

use super::{Kernel, Simd};

/// Proof of AVX-512 F, BW, DQ, VL.
#[derive(Clone, Copy)]
pub(crate) struct Avx512(());

/// Proof of AVX2, FMA and F16C.
#[derive(Clone, Copy)]
pub(crate) struct Avx2(());

impl Avx512 {
    #[inline]
    pub(crate) fn detect() -> Option<Self> {
        let has = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && Avx2::detect().is_some();
        has.then_some(Self(()))
    }
}

impl Avx2 {
    #[inline]
    pub(crate) fn detect() -> Option<Self> {
        let has = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c");
        has.then_some(Self(()))
    }
}

/// # Safety
/// The processor must have the features of [`Avx512`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
pub(super) fn run_avx512<K: Kernel>(kernel: K, s: Avx512) -> K::Out {
    kernel.run(s)
}

/// # Safety
/// The processor must have the features of [`Avx2`].
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn run_avx2<K: Kernel>(kernel: K, s: Avx2) -> K::Out {
    kernel.run(s)
}

/// Defines a method as one AVX-512 intrinsic.
macro_rules! wide {
    ($name:ident($($arg:ident),*) => $intrinsic:ident($($call:tt)*)) => {
        #[inline(always)]
        fn $name(self, $($arg: Self::V),*) -> Self::V {
            // SAFETY: `self` proves that the processor has the instruction.
            unsafe { $intrinsic($($call)*) }
        }
    };
}

impl Simd for Avx512 {
    type V = __m512;
    const WIDE: bool = true;

    wide!(add(a, b) => _mm512_add_ps(a, b));
    wide!(sub(a, b) => _mm512_sub_ps(a, b));
    wide!(mul(a, b) => _mm512_mul_ps(a, b));
    wide!(div(a, b) => _mm512_div_ps(a, b));
    wide!(fma(a, b, c) => _mm512_fmadd_ps(a, b, c));
    wide!(fnma(a, b, c) => _mm512_fnmadd_ps(a, b, c));
    wide!(min(a, b) => _mm512_min_ps(a, b));
    wide!(max(a, b) => _mm512_max_ps(a, b));
    wide!(scale(a, n) => _mm512_scalef_ps(a, n));

    #[inline(always)]
    fn round(self, a: Self::V) -> Self::V {
        // SAFETY: `self` proves that the processor has the instruction.
        unsafe { _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a) }
    }
    #[inline(always)]
    fn splat(self, x: f32) -> Self::V {
        // SAFETY: `self` proves that the processor has the instruction.
        unsafe { _mm512_set1_ps(x) }
    }
    #[inline(always)]
    unsafe fn read(self, from: *const f32) -> Self::V {
        // SAFETY: `self` proves the instruction, the caller the sixteen values.
        unsafe { _mm512_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn write(self, to: *mut f32, v: Self::V) {
        // SAFETY: `self` proves the instruction, the caller the room.
        unsafe { _mm512_storeu_ps(to, v) }
    }
    #[inline(always)]
    unsafe fn read_f16(self, from: *const u16) -> Self::V {
        // SAFETY: `self` proves the instructions, the caller the sixteen values.
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(from.cast())) }
    }
    #[inline(always)]
    unsafe fn read_bf16(self, from: *const u16) -> Self::V {
        // SAFETY: `self` proves the instructions, the caller the sixteen values.
        unsafe {
            let bits = _mm512_cvtepu16_epi32(_mm256_loadu_si256(from.cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(bits))
        }
    }
}

/// Defines a method as one AVX intrinsic on each half.
macro_rules! halves {
    ($name:ident($($arg:ident),*) => $intrinsic:ident) => {
        #[inline(always)]
        fn $name(self, $($arg: Self::V),*) -> Self::V {
            // SAFETY: `self` proves that the processor has the instruction.
            unsafe { [$intrinsic($($arg[0]),*), $intrinsic($($arg[1]),*)] }
        }
    };
}

/// `a * 2^n`, by adding to the exponents.
#[inline]
#[target_feature(enable = "avx2")]
fn scale_half(a: __m256, n: __m256) -> __m256 {
    let exponent = _mm256_slli_epi32::<23>(_mm256_cvtps_epi32(n));
    _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(a), exponent))
}

#[inline]
#[target_feature(enable = "avx2")]
fn widen_brain(bits: __m128i) -> __m256 {
    _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(bits)))
}

impl Simd for Avx2 {
    type V = [__m256; 2];
    const WIDE: bool = false;

    halves!(add(a, b) => _mm256_add_ps);
    halves!(sub(a, b) => _mm256_sub_ps);
    halves!(mul(a, b) => _mm256_mul_ps);
    halves!(div(a, b) => _mm256_div_ps);
    halves!(fma(a, b, c) => _mm256_fmadd_ps);
    halves!(fnma(a, b, c) => _mm256_fnmadd_ps);
    halves!(min(a, b) => _mm256_min_ps);
    halves!(max(a, b) => _mm256_max_ps);

    #[inline(always)]
    fn round(self, a: Self::V) -> Self::V {
        // SAFETY: `self` proves that the processor has the instruction.
        unsafe {
            [
                _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a[0]),
                _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a[1]),
            ]
        }
    }
    #[inline(always)]
    fn scale(self, a: Self::V, n: Self::V) -> Self::V {
        // SAFETY: `self` proves that the processor has the instructions.
        unsafe { [scale_half(a[0], n[0]), scale_half(a[1], n[1])] }
    }
    #[inline(always)]
    fn splat(self, x: f32) -> Self::V {
        // SAFETY: `self` proves that the processor has the instruction.
        unsafe { [_mm256_set1_ps(x); 2] }
    }
    #[inline(always)]
    unsafe fn read(self, from: *const f32) -> Self::V {
        // SAFETY: `self` proves the instruction, the caller the sixteen values.
        unsafe { [_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(8))] }
    }
    #[inline(always)]
    unsafe fn write(self, to: *mut f32, v: Self::V) {
        // SAFETY: `self` proves the instruction, the caller the room.
        unsafe {
            _mm256_storeu_ps(to, v[0]);
            _mm256_storeu_ps(to.add(8), v[1]);
        }
    }
    #[inline(always)]
    unsafe fn read_f16(self, from: *const u16) -> Self::V {
        // SAFETY: `self` proves the instructions, the caller the sixteen values.
        unsafe {
            [
                _mm256_cvtph_ps(_mm_loadu_si128(from.cast())),
                _mm256_cvtph_ps(_mm_loadu_si128(from.add(8).cast())),
            ]
        }
    }
    #[inline(always)]
    unsafe fn read_bf16(self, from: *const u16) -> Self::V {
        // SAFETY: `self` proves the instructions, the caller the sixteen values.
        unsafe {
            [
                widen_brain(_mm_loadu_si128(from.cast())),
                widen_brain(_mm_loadu_si128(from.add(8).cast())),
            ]
        }
    }
}
