//! `exp`, `erf` and the activations made of them, sixteen `f32` at a time and without branches.
//!
//! Accurate to a few units in the last place over the range the models use; the tests hold them
//! against `libm`. NaN stays NaN. Not for noise or noise schedules, which must agree with other
//! programs and use `libm` itself.

use std::f32::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, LOG2_E};

use crate::simd::Simd;

/// Evaluates a polynomial, highest coefficient first.
#[inline(always)]
fn polynomial<S: Simd, const N: usize>(s: S, x: S::V, coefficients: [f32; N]) -> S::V {
    let mut p = s.splat(coefficients[0]);
    for c in &coefficients[1..] {
        p = s.fma(p, x, s.splat(*c));
    }
    p
}

/// Limits `x` to `low..=high`; the operands' order keeps NaN.
#[inline(always)]
fn clamp<S: Simd>(s: S, x: S::V, low: f32, high: f32) -> S::V {
    s.min(s.splat(high), s.max(s.splat(low), x))
}

/// Returns e^x. Saturates below -87 and above 88 instead of reaching 0 or infinity.
#[inline(always)]
pub(crate) fn exp<S: Simd>(s: S, x: S::V) -> S::V {
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    // Cephes' expf on [-ln 2 / 2, ln 2 / 2].
    const P: [f32; 6] = [
        1.987_569_1e-4,
        1.398_2e-3,
        8.333_452e-3,
        4.166_579_6e-2,
        1.666_666_5e-1,
        0.5,
    ];
    let x = clamp(s, x, -87.0, 88.0);
    let n = s.round(s.mul(x, s.splat(LOG2_E)));
    let r = s.fnma(n, s.splat(LN_2_HIGH), x);
    let r = s.fnma(n, s.splat(LN_2_LOW), r);
    let p = s.fma(polynomial(s, r, P), s.mul(r, r), s.add(r, s.splat(1.0)));
    s.scale(p, n)
}

/// Returns 2^x for x up to 127; 2^-125 below -125, where results would stop being normal numbers.
#[inline(always)]
pub(crate) fn exp2<S: Simd>(s: S, x: S::V) -> S::V {
    // Cephes' exp2f on [-1/2, 1/2].
    const P: [f32; 7] = [
        1.535_336_2e-4,
        1.339_887_4e-3,
        9.618_437e-3,
        5.550_332_5e-2,
        2.402_264_8e-1,
        6.931_472e-1,
        1.0,
    ];
    let x = s.max(s.splat(-125.0), x);
    let n = s.round(x);
    s.scale(polynomial(s, s.sub(x, n), P), n)
}

/// Returns the error function of x.
#[inline(always)]
pub(crate) fn erf<S: Simd>(s: S, x: S::V) -> S::V {
    // Rational approximation in x^2; beyond the bound erf rounds to 1.
    const P: [f32; 5] = [
        2.290_506_5e-4,
        3.408_291e-3,
        5.095_569_5e-2,
        1.852_083_2e-1,
        FRAC_2_SQRT_PI,
    ];
    const Q: [f32; 7] = [
        -1.179_160_3e-7,
        2.354_796_6e-5,
        1.017_962_5e-3,
        1.407_047e-2,
        1.109_850_5e-1,
        4.974_692_5e-1,
        1.0,
    ];
    let x = clamp(s, x, -3.832_507, 3.832_507);
    let square = s.mul(x, x);
    let p = s.mul(x, polynomial(s, square, P));
    s.div(p, polynomial(s, square, Q))
}

/// Returns x times the logistic function of x.
#[inline(always)]
pub(crate) fn silu<S: Simd>(s: S, x: S::V) -> S::V {
    let e = exp(s, s.sub(s.splat(0.0), x));
    s.div(x, s.add(s.splat(1.0), e))
}

/// Returns the exact (error function) GELU of x, not its tanh approximation.
#[inline(always)]
pub(crate) fn gelu<S: Simd>(s: S, x: S::V) -> S::V {
    let half = s.mul(x, s.splat(0.5));
    s.fma(half, erf(s, s.mul(x, s.splat(FRAC_1_SQRT_2))), half)
}

/// Returns the sigmoid approximation of GELU that CLIP-L was trained with.
#[inline(always)]
pub(crate) fn quick_gelu<S: Simd>(s: S, x: S::V) -> S::V {
    s.div(x, s.add(s.splat(1.0), exp(s, s.mul(x, s.splat(-1.702)))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::tests::each;
    use crate::simd::{Kernel, Lanewise, map};

    #[derive(Clone, Copy)]
    enum Function {
        Exp,
        Exp2,
        Erf,
        Silu,
        Gelu,
        QuickGelu,
    }

    impl Lanewise for Function {
        #[inline(always)]
        fn of<S: Simd>(self, s: S, x: S::V, _: S::V, _: S::V) -> S::V {
            match self {
                Self::Exp => exp(s, x),
                Self::Exp2 => exp2(s, x),
                Self::Erf => erf(s, x),
                Self::Silu => silu(s, x),
                Self::Gelu => gelu(s, x),
                Self::QuickGelu => quick_gelu(s, x),
            }
        }
    }

    #[derive(Clone)]
    struct Table<'a>(Function, &'a [f32]);

    impl Kernel for Table<'_> {
        type Out = Vec<f32>;
        #[inline(always)]
        fn run<S: Simd>(self, s: S) -> Vec<f32> {
            let mut out = vec![0.0; self.1.len()];
            // SAFETY: `out` is as long.
            #[expect(unsafe_code, reason = "writes through a pointer")]
            unsafe {
                map(s, out.as_mut_ptr(), self.1, [self.1; 2], self.0);
            }
            out
        }
    }

    fn check(function: Function, reference: fn(f64) -> f64, relative: bool, bound: f64) {
        let x: Vec<f32> = (-80_000..=80_000).map(|i| i as f32 / 1000.0).collect();
        for (name, got) in each(&Table(function, &x)) {
            let error = |(x, got): (&f32, f32)| {
                let want = reference(f64::from(*x));
                (f64::from(got) - want).abs() / if relative { want } else { 1.0 }
            };
            let worst = x.iter().zip(got).map(error).fold(0.0, f64::max);
            assert!(worst < bound, "{name}: {worst:e}");
        }
    }

    #[test]
    fn exp_and_erf_agree_with_libm_to_a_few_units_in_the_last_place() {
        check(Function::Exp, libm::exp, true, 3e-7);
        check(Function::Exp2, libm::exp2, true, 3e-7);
        check(Function::Erf, libm::erf, false, 4e-7);
    }

    #[test]
    fn activations_agree_with_their_formulas() {
        check(Function::Silu, |x| x / (1.0 + libm::exp(-x)), false, 5e-6);
        let gelu = |x: f64| 0.5 * x * (1.0 + libm::erf(x * std::f64::consts::FRAC_1_SQRT_2));
        check(Function::Gelu, gelu, false, 2e-5);
        check(
            Function::QuickGelu,
            |x| x / (1.0 + libm::exp(-1.702 * x)),
            false,
            5e-6,
        );
    }

    #[test]
    fn activations_stay_finite_far_out_and_keep_nan() {
        let x = [-1e30_f32, -1e3, 0.0, 1e3, 1e30, f32::NAN];
        for function in [Function::Silu, Function::Gelu, Function::QuickGelu] {
            for (name, got) in each(&Table(function, &x)) {
                assert!(got[..5].iter().all(|v| v.is_finite()), "{name}: {got:?}");
                assert!(got[5].is_nan(), "{name} hides a NaN");
            }
        }
    }

    #[test]
    fn e64_both_vector_instruction_sets_agree_to_the_bit() {
        let x: Vec<f32> = (-5000..5000).map(|i| i as f32 / 70.0).collect();
        for function in [
            Function::Exp,
            Function::Exp2,
            Function::Gelu,
            Function::Silu,
        ] {
            let results = each(&Table(function, &x));
            if let [_, (_, avx2), (_, avx512)] = results.as_slice() {
                assert_eq!(avx2, avx512);
            }
        }
    }
}
