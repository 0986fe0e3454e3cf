//! The inverse of the beta distribution, for the `beta` schedule (Lee et al. 2024, "Beta Sampling is
//! All You Need").

/// Both shape parameters: the curve is symmetric.
const SHAPE: f64 = 0.6;

/// Returns where the distribution Beta(0.6, 0.6) has collected a share `p`, in 0..=1.
pub(super) fn quantile(p: f64) -> f64 {
    if p > 0.5 {
        return 1.0 - quantile(1.0 - p);
    }
    if p <= 0.0 {
        return 0.0;
    }
    let (mut low, mut high) = (0.0, 0.5);
    // Halving an interval of doubles below one half ends long before this.
    for _ in 0..1100 {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            break;
        }
        if share(middle) < p {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

/// The regularised incomplete beta function for `x` up to one half, by its power series.
fn share(x: f64) -> f64 {
    // I_x(a, a) = x^a / B(a, a) * sum over n of (1 - a)_n x^n / (n! (a + n)).
    let log_complete = 2.0 * libm::lgamma(SHAPE) - libm::lgamma(2.0 * SHAPE);
    let mut sum = 0.0;
    let mut term = 1.0;
    for n in 0..80_u32 {
        let n = f64::from(n);
        sum += term / (SHAPE + n);
        term *= (1.0 - SHAPE + n) * x / (n + 1.0);
        if term < 1e-18 {
            break;
        }
    }
    libm::exp(SHAPE * libm::log(x) - log_complete) * sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_scipys() {
        // scipy.stats.beta.ppf(p, 0.6, 0.6)
        let known = [
            (0.0, 0.0),
            (0.001, 1.855_873_851_745_199e-5),
            (0.1, 0.039_584_405_588_780_83),
            (1.0 / 3.0, 0.275_413_290_777_623_4),
            (0.5, 0.5),
            (0.9, 0.960_415_594_411_219_2),
            (1.0, 1.0),
        ];
        for (p, want) in known {
            assert!((quantile(p) - want).abs() < 1e-12, "{p}: {}", quantile(p));
        }
    }
}
