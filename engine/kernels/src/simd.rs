//! Sixteen `f32` lanes on any processor, and the run-time choice of the instructions behind them.
//!
//! A kernel is written once over [`Simd`] and compiled three times: for AVX-512, for AVX2 with FMA, and
//! for whatever the target always has (NEON on ARM). [`dispatch`] picks the best one the processor
//! reports. The first two do the same operations in the same order on the same sixteen lanes, so
//! their results are equal to the bit.

#![expect(
    unsafe_code,
    reason = "vector instructions and raw loads; each block says why it is sound"
)]

mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

pub(crate) use portable::Portable;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Avx2, Avx512};

/// Lanes of a vector.
pub(crate) const LANES: usize = 16;

/// Vector instructions. A value of an implementing type proves that the processor has them.
pub(crate) trait Simd: Copy + Send + Sync {
    /// Sixteen `f32`.
    type V: Copy;
    /// Whether 24 vectors fit the registers, or only six.
    const WIDE: bool;

    fn splat(self, x: f32) -> Self::V;
    /// # Safety
    /// `from` must be valid for reading sixteen values.
    unsafe fn read(self, from: *const f32) -> Self::V;
    /// # Safety
    /// `to` must be valid for writing sixteen values.
    unsafe fn write(self, to: *mut f32, v: Self::V);
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a * b + c`.
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// `c - a * b`.
    fn fnma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// Rounds to the nearest integer, ties to even.
    fn round(self, a: Self::V) -> Self::V;
    /// `a * 2^n` for integers `n` in -126..=127.
    fn scale(self, a: Self::V, n: Self::V) -> Self::V;
    /// Widens sixteen IEEE halves.
    /// # Safety
    /// `from` must be valid for reading sixteen values.
    unsafe fn read_f16(self, from: *const u16) -> Self::V;
    /// Widens sixteen brain floats.
    /// # Safety
    /// `from` must be valid for reading sixteen values.
    unsafe fn read_bf16(self, from: *const u16) -> Self::V;

    #[inline(always)]
    fn load(self, from: &[f32; LANES]) -> Self::V {
        // SAFETY: the array holds sixteen values.
        unsafe { self.read(from.as_ptr()) }
    }

    #[inline(always)]
    fn store(self, to: &mut [f32; LANES], v: Self::V) {
        // SAFETY: the array holds sixteen values.
        unsafe { self.write(to.as_mut_ptr(), v) }
    }

    #[inline(always)]
    fn array(self, v: Self::V) -> [f32; LANES] {
        let mut out = [0.0; LANES];
        self.store(&mut out, v);
        out
    }
}

/// Work to be compiled for each instruction set.
pub(crate) trait Kernel {
    type Out;
    /// Must be `#[inline(always)]`, or the vectors go through memory.
    fn run<S: Simd>(self, s: S) -> Self::Out;
}

/// Runs a kernel with the best instructions this processor has.
#[inline]
pub(crate) fn dispatch<K: Kernel>(kernel: K) -> K::Out {
    #[cfg(target_arch = "x86_64")]
    {
        if let Some(s) = Avx512::detect().filter(|_| wide_allowed()) {
            // SAFETY: `detect` has seen every feature the function enables.
            return unsafe { x86::run_avx512(kernel, s) };
        }
        if let Some(s) = Avx2::detect() {
            // SAFETY: as above.
            return unsafe { x86::run_avx2(kernel, s) };
        }
    }
    kernel.run(Portable)
}

/// Whether tests leave AVX-512 to be used.
#[inline]
fn wide_allowed() -> bool {
    #[cfg(test)]
    return !tests::NARROW.load(std::sync::atomic::Ordering::Relaxed);
    #[cfg(not(test))]
    true
}

/// A function of up to three vectors. Not a closure: those cannot be told to be inlined, and one that is
/// not leaves the instruction set behind.
pub(crate) trait Lanewise: Copy {
    /// Must be `#[inline(always)]`.
    fn of<S: Simd>(self, s: S, x: S::V, a: S::V, b: S::V) -> S::V;
}

/// Writes `f` of every sixteen values of `x`, `a` and `b`, the last ones padded with zeros.
///
/// # Safety
/// `to` must be valid for as many values as `x` has.
#[inline(always)]
pub(crate) unsafe fn map<S: Simd, F: Lanewise>(
    s: S,
    to: *mut f32,
    x: &[f32],
    [a, b]: [&[f32]; 2],
    f: F,
) {
    assert!(
        a.len() == x.len() && b.len() == x.len(),
        "operands are as long"
    );
    let (whole, rest) = x.as_chunks::<LANES>();
    let (whole_a, rest_a) = a.as_chunks::<LANES>();
    let (whole_b, rest_b) = b.as_chunks::<LANES>();
    for (i, ((x, a), b)) in whole.iter().zip(whole_a).zip(whole_b).enumerate() {
        let v = f.of(s, s.load(x), s.load(a), s.load(b));
        // SAFETY: the caller has room for all of `x`.
        unsafe { s.write(to.add(i * LANES), v) };
    }
    if !rest.is_empty() {
        let (x, a, b) = (
            part(s, rest, 0.0),
            part(s, rest_a, 0.0),
            part(s, rest_b, 0.0),
        );
        let got = s.array(f.of(s, x, a, b));
        // SAFETY: as above.
        unsafe {
            let to = to.add(whole.len() * LANES);
            to.copy_from_nonoverlapping(got.as_ptr(), rest.len());
        }
    }
}

/// Loads fewer than sixteen values, `fill` behind them.
#[inline(always)]
pub(crate) fn part<S: Simd>(s: S, values: &[f32], fill: f32) -> S::V {
    let mut padded = [fill; LANES];
    padded[..values.len()].copy_from_slice(values);
    s.load(&padded)
}

/// Adds up the lanes in a fixed order.
#[inline(always)]
pub(crate) fn sum<S: Simd>(s: S, v: S::V) -> f32 {
    let mut lanes = s.array(v);
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
    }
    lanes[0]
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    /// Keeps every test from AVX-512 while it is set, which no result may show.
    pub(crate) static NARROW: AtomicBool = AtomicBool::new(false);

    /// Runs a kernel with every instruction set this processor has.
    pub(crate) fn each<K: Kernel + Clone>(kernel: &K) -> Vec<(&'static str, K::Out)> {
        let mut out = vec![("portable", kernel.clone().run(Portable))];
        #[cfg(target_arch = "x86_64")]
        {
            if let Some(s) = Avx2::detect() {
                // SAFETY: the features were detected.
                out.push(("avx2", unsafe { x86::run_avx2(kernel.clone(), s) }));
            }
            if let Some(s) = Avx512::detect() {
                // SAFETY: the features were detected.
                out.push(("avx512", unsafe { x86::run_avx512(kernel.clone(), s) }));
            }
        }
        out
    }

    #[derive(Clone)]
    struct Halves;

    impl Kernel for Halves {
        type Out = Vec<u32>;
        #[inline(always)]
        fn run<S: Simd>(self, s: S) -> Vec<u32> {
            let mut out = Vec::new();
            let all: Vec<u16> = (0..=u16::MAX).collect();
            for bits in all.as_chunks::<LANES>().0 {
                // SAFETY: the array holds sixteen values.
                let (half, brain) =
                    unsafe { (s.read_f16(bits.as_ptr()), s.read_bf16(bits.as_ptr())) };
                for v in s.array(half).into_iter().chain(s.array(brain)) {
                    // Any NaN will do.
                    let v = if v.is_nan() { f32::NAN } else { v };
                    out.push(v.to_bits());
                }
            }
            out
        }
    }

    #[test]
    fn every_half_and_brain_float_widens_alike_everywhere() {
        let results = each(&Halves);
        for (name, got) in &results {
            assert_eq!(got, &results[0].1, "{name}");
        }
        // One and a half, as halves and as brain floats.
        let at = |bits: usize| bits / LANES * 2 * LANES + bits % LANES;
        assert_eq!(f32::from_bits(results[0].1[at(0x3e00)]), 1.5);
        assert_eq!(f32::from_bits(results[0].1[at(0x3fc0) + LANES]), 1.5);
        assert_eq!(f32::from_bits(results[0].1[at(0x0001)]), 2_f32.powi(-24));
    }
}
