//! Mixing two noises so that the mixture is noise of the same strength: along a great circle.

/// Above this cosine two directions count as one, and a straight line serves.
const PARALLEL: f64 = 0.9995;

/// Walks from one noise to another, `part` of the way: the whole tensors as two vectors.
pub(super) fn slerp(from: &[f32], to: &[f32], part: f64) -> Vec<f32> {
    let cosine = cosine(from.iter().zip(to));
    let weights = if cosine.abs() > PARALLEL {
        (1.0 - part, part)
    } else {
        on_circle(cosine, part)
    };
    mix(from, to, weights)
}

/// Mixes a variation into latents' noise as A1111 does: every column of every channel is a vector of
/// its own, and nearly equal noises are weighted the other way round.
pub(super) fn variation(
    first: &[f32],
    other: &[f32],
    strength: f64,
    [channels, height, width]: [usize; 3],
) -> Vec<f32> {
    let column = |channel: usize, x: usize| {
        let start = channel * height * width + x;
        (0..height).map(move |y| start + y * width)
    };
    let columns = || (0..channels).flat_map(|channel| (0..width).map(move |x| (channel, x)));
    let cosines: Vec<f64> = columns()
        .map(|(channel, x)| cosine(column(channel, x).map(|i| (&first[i], &other[i]))))
        .collect();
    if cosines.iter().sum::<f64>() > PARALLEL * cosines.len() as f64 {
        return mix(first, other, (strength, 1.0 - strength));
    }
    let mut mixed = first.to_vec();
    for ((channel, x), cosine) in columns().zip(cosines) {
        let (from, to) = on_circle(cosine, strength);
        for i in column(channel, x) {
            mixed[i] = weighted(first[i], other[i], (from, to));
        }
    }
    mixed
}

/// The weights of two unit vectors of this cosine, `part` of the way from one to the other.
fn on_circle(cosine: f64, part: f64) -> (f64, f64) {
    if cosine.abs() > 1.0 - 1e-9 {
        return (1.0 - part, part);
    }
    let angle = libm::acos(cosine);
    let sine = libm::sin(angle);
    (
        libm::sin((1.0 - part) * angle) / sine,
        libm::sin(part * angle) / sine,
    )
}

fn cosine<'a>(pairs: impl Iterator<Item = (&'a f32, &'a f32)>) -> f64 {
    let (mut dot, mut from, mut to) = (0.0, 0.0, 0.0);
    for (a, b) in pairs {
        let (a, b) = (f64::from(*a), f64::from(*b));
        dot += a * b;
        from += a * a;
        to += b * b;
    }
    let norms = from.sqrt() * to.sqrt();
    if norms > 0.0 { dot / norms } else { 0.0 }
}

fn mix(from: &[f32], to: &[f32], weights: (f64, f64)) -> Vec<f32> {
    let pairs = from.iter().zip(to);
    pairs.map(|(a, b)| weighted(*a, *b, weights)).collect()
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "noise is in single precision"
)]
fn weighted(a: f32, b: f32, (from, to): (f64, f64)) -> f32 {
    (from * f64::from(a) + to * f64::from(b)) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::normal;
    use hearth_protocol::job::Rng;

    fn norm(values: &[f32]) -> f32 {
        values.iter().map(|v| v * v).sum::<f32>().sqrt()
    }

    #[test]
    fn e38_a_walk_keeps_the_strength_of_noise() {
        let (a, b) = (
            normal(Rng::TorchCpu, 1, 4096),
            normal(Rng::TorchCpu, 2, 4096),
        );
        assert_eq!(slerp(&a, &b, 0.0), a);
        assert_eq!(slerp(&a, &b, 1.0), b);
        let half = norm(&slerp(&a, &b, 0.5));
        assert!((half - 64.0).abs() < 1.5, "{half}");
        let straight = slerp(&a, &a, 0.3);
        assert!(straight.iter().zip(&a).all(|(x, y)| (x - y).abs() < 1e-6));
    }
}
