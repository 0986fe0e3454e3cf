//! `exp` and `erf` for `f32` as branch-free polynomials, so that loops over them vectorise.
//!
//! Accurate to a few units in the last place over the range the models use; the tests hold them
//! against `libm`. Not for noise or noise schedules, which must agree with other programs and
//! use `libm` itself.

/// Returns e^x. Saturates below -87 and above 88 instead of reaching 0 or infinity.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    // 1.5 * 2^23: adding it leaves the rounded integer in the low bits of the mantissa.
    const ROUND: f32 = 12_582_912.0;
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let x = x.clamp(-87.0, 88.0);
    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = x - n * LN_2_HIGH - n * LN_2_LOW;
    // Cephes' expf polynomial on [-ln 2 / 2, ln 2 / 2].
    let mut p = 1.987_569_1e-4;
    p = p * r + 1.398_2e-3;
    p = p * r + 8.333_452e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 1.666_666_5e-1;
    p = p * r + 0.5;
    p = p * r * r + r + 1.0;
    f32::from_bits(p.to_bits().wrapping_add(rounded.to_bits() << 23))
}

/// Returns the error function of x.
#[inline(always)]
pub fn erf(x: f32) -> f32 {
    // Rational approximation in x^2; beyond the bound erf rounds to 1.
    let x = x.clamp(-3.832_507, 3.832_507);
    let s = x * x;
    let mut p = 2.290_506_5e-4;
    p = p * s + 3.408_291e-3;
    p = p * s + 5.095_569_5e-2;
    p = p * s + 1.852_083_2e-1;
    p = p * s + std::f32::consts::FRAC_2_SQRT_PI;
    let mut q = -1.179_160_3e-7;
    q = q * s + 2.354_796_6e-5;
    q = q * s + 1.017_962_5e-3;
    q = q * s + 1.407_047_e-2;
    q = q * s + 1.109_850_5e-1;
    q = q * s + 4.974_692_5e-1;
    q = q * s + 1.0;
    x * p / q
}

/// Returns x times the logistic function of x.
#[inline(always)]
pub fn silu(x: f32) -> f32 {
    x / (1.0 + exp(-x))
}

/// Returns the exact (error function) GELU of x, not its tanh approximation.
#[inline(always)]
pub fn gelu(x: f32) -> f32 {
    0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2))
}

/// Returns the sigmoid approximation of GELU that CLIP-L was trained with.
#[inline(always)]
pub fn quick_gelu(x: f32) -> f32 {
    x / (1.0 + exp(-1.702 * x))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worst(f: fn(f32) -> f32, reference: fn(f64) -> f64, relative: bool) -> f64 {
        (-80_000..=80_000)
            .map(|i| {
                let x = i as f32 / 1000.0;
                let (got, want) = (f64::from(f(x)), reference(f64::from(x)));
                (got - want).abs() / if relative { want } else { 1.0 }
            })
            .fold(0.0, f64::max)
    }

    #[test]
    fn exp_agrees_with_libm_to_a_few_units_in_the_last_place() {
        let worst = worst(exp, libm::exp, true);
        assert!(worst < 3e-7, "{worst:e}");
    }

    #[test]
    fn erf_agrees_with_libm() {
        let worst = worst(erf, libm::erf, false);
        assert!(worst < 4e-7, "{worst:e}");
    }

    #[test]
    fn activations_stay_finite_far_out() {
        for x in [-1e30_f32, -1e3, 0.0, 1e3, 1e30] {
            assert!(silu(x).is_finite() && gelu(x).is_finite() && quick_gelu(x).is_finite());
        }
    }
}
