//! Blurs of single planes: a true Gaussian for masks, three box blurs for wide ones.

use rayon::prelude::*;

/// Returns rows as columns.
pub(super) fn transposed<T: Copy>(plane: &[T], width: usize, height: usize) -> Vec<T> {
    let column = |x: usize| (0..height).map(move |y| plane[y * width + x]);
    (0..width).flat_map(column).collect()
}

/// Returns a value as a byte, rounded half to even.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to a byte; NaN becomes 0"
)]
pub(super) fn byte(value: f32) -> u8 {
    value.round_ties_even().clamp(0.0, 255.0) as u8
}

/// Applies a filter to every row, then to every column. It is given a row and where the result goes.
fn separable(
    plane: &[f32],
    width: usize,
    height: usize,
    filter: impl Fn(&[f32], &mut [f32]) + Sync,
) -> Vec<f32> {
    let pass = |plane: &[f32], len: usize| {
        let mut filtered = vec![0.0; plane.len()];
        let rows = plane.par_chunks_exact(len);
        filtered
            .par_chunks_exact_mut(len)
            .zip(rows)
            .for_each(|(to, row)| filter(row, to));
        filtered
    };
    let across = pass(plane, width);
    let down = pass(&transposed(&across, width, height), height);
    transposed(&down, height, width)
}

/// Blurs with a Gaussian of standard deviation `sigma`, cut at `floor(2.5 sigma + 0.5)` places and
/// mirrored at the borders without repeating the outermost place: `OpenCV`'s `GaussianBlur` with the
/// kernel size that A1111 asks it for.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a radius of at most a picture's side"
)]
pub(super) fn gaussian(plane: &[f32], width: usize, height: usize, sigma: f32) -> Vec<f32> {
    let radius = (2.5 * sigma + 0.5).max(0.0) as usize;
    let radius = radius.min(width.max(height));
    if radius == 0 {
        return plane.to_vec();
    }
    let weights = weights(radius, sigma);
    separable(plane, width, height, |row, to| {
        let places = 0..row.len() + 2 * radius;
        let padded: Vec<f32> = places
            .map(|i| row[mirrored(i, radius, row.len())])
            .collect();
        for (to, near) in to.iter_mut().zip(padded.windows(weights.len())) {
            *to = near
                .iter()
                .zip(&weights)
                .map(|(value, weight)| value * weight)
                .sum();
        }
    })
}

fn weights(radius: usize, sigma: f32) -> Vec<f32> {
    let weight = |k: usize| {
        let distance = k.abs_diff(radius) as f32 / sigma;
        libm::expf(-0.5 * distance * distance)
    };
    let weights: Vec<f32> = (0..=2 * radius).map(weight).collect();
    let sum: f32 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / sum).collect()
}

/// Returns the place `i - radius` of a row, mirrored into it as often as it takes.
fn mirrored(i: usize, radius: usize, len: usize) -> usize {
    if len == 1 {
        return 0;
    }
    let period = 2 * (len - 1);
    // A multiple of the period keeps the subtraction above zero.
    let at = (i + period * radius.div_ceil(period) - radius) % period;
    at.min(period - at)
}

/// Blurs like a Gaussian of standard deviation `sigma` by three box blurs whose outermost places
/// count in part (Gwosdek and others, 2011), as Pillow's `GaussianBlur`. The borders are
/// continued. The cost does not depend on `sigma`.
pub(super) fn boxes(plane: &[f32], width: usize, height: usize, sigma: f32) -> Vec<f32> {
    let radius = box_radius(sigma);
    separable(plane, width, height, |row, to| {
        let mut between = vec![0.0; row.len()];
        box_row(row, radius, to);
        box_row(to, radius, &mut between);
        box_row(&between, radius, to);
    })
}

/// Returns the radius of three boxes that together have a Gaussian's variance.
fn box_radius(sigma: f32) -> f32 {
    let variance = sigma * sigma / 3.0;
    let whole = ((12.0 * variance + 1.0).sqrt() - 1.0) / 2.0;
    let whole = whole.floor();
    let part = (2.0 * whole + 1.0) * (whole * (whole + 1.0) - 3.0 * variance)
        / (6.0 * (variance - (whole + 1.0) * (whole + 1.0)));
    whole + part
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a radius of at most a few hundred places"
)]
fn box_row(row: &[f32], radius: f32, to: &mut [f32]) {
    let whole = radius.floor();
    let part = f64::from(radius - whole);
    let reach = whole as usize;
    let edge = reach + 1;
    // The borders are continued as far as a box reaches.
    let mut padded = vec![row[0]; edge];
    padded.extend(row);
    padded.resize(row.len() + 2 * edge, row[row.len() - 1]);
    // f64: a running sum over a whole row would drift in f32.
    let mut sum: f64 = padded[1..2 * edge].iter().copied().map(f64::from).sum();
    let area = f64::from(2.0 * radius + 1.0);
    let near = padded.iter().zip(&padded[1..]).zip(&padded[2 * edge..]);
    for (to, ((before, first), after)) in to.iter_mut().zip(near) {
        let (before, first, after) = (f64::from(*before), f64::from(*first), f64::from(*after));
        *to = ((sum + part * (before + after)) / area) as f32;
        sum += after - first;
    }
}
