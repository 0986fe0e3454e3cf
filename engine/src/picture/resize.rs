//! Resizing as Pillow does it: separable filters that widen when a picture shrinks, in fixed point,
//! the row pass first, each pass rounded to bytes. Results equal Pillow's to the byte.

use rayon::prelude::*;

use super::format::{DecodeError, check_size};
use super::raster::{Picture, index};

/// Bits behind the point of a weight.
const PRECISION: u32 = 32 - 8 - 2;

/// How pixels between pixels are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    /// The pixel itself.
    Nearest,
    /// A triangle over two pixels.
    Bilinear,
    /// A cubic over four pixels, with `a = -0.5`.
    Bicubic,
    /// A windowed sinc over six pixels.
    Lanczos3,
}

impl Filter {
    /// Half the width of the filter, in source pixels.
    fn support(self) -> f64 {
        match self {
            Self::Nearest => 0.0,
            Self::Bilinear => 1.0,
            Self::Bicubic => 2.0,
            Self::Lanczos3 => 3.0,
        }
    }

    fn weight(self, x: f64) -> f64 {
        let x = x.abs();
        match self {
            Self::Bilinear => (1.0 - x).max(0.0),
            Self::Bicubic if x < 1.0 => (1.5 * x - 2.5) * x * x + 1.0,
            Self::Bicubic if x < 2.0 => ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0,
            Self::Lanczos3 if x < 3.0 => sinc(x) * sinc(x / 3.0),
            Self::Nearest | Self::Bicubic | Self::Lanczos3 => 0.0,
        }
    }
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 {
        return 1.0;
    }
    let x = x * std::f64::consts::PI;
    libm::sin(x) / x
}

/// Returns the picture at another size, whatever its proportions.
///
/// # Errors
/// [`DecodeError::Size`] when a side is out of range.
pub fn resize(
    picture: &Picture,
    width: u32,
    height: u32,
    filter: Filter,
) -> Result<Picture, DecodeError> {
    check_size(width, height)?;
    let from = (index(picture.width()), index(picture.height()));
    let to = (index(width), index(height));
    let rgb = resample::<3>(picture.rgb(), from, to, filter);
    Picture::new(width, height, rgb)
}

/// Resizes rows of single bytes.
pub(super) fn resize_plane(
    values: &[u8],
    from: (usize, usize),
    to: (usize, usize),
    filter: Filter,
) -> Vec<u8> {
    resample::<1>(values, from, to, filter)
}

/// Resizes rows of `N` bytes a pixel.
fn resample<const N: usize>(
    bytes: &[u8],
    from: (usize, usize),
    to: (usize, usize),
    filter: Filter,
) -> Vec<u8> {
    if from == to {
        return bytes.to_vec();
    }
    let across = taps(from.0, to.0, filter);
    let down = taps(from.1, to.1, filter);
    // Only rows that the second pass reads.
    let first = down.iter().map(|tap| tap.start).min().unwrap_or(0);
    let end = down.iter().map(Tap::end).max().unwrap_or(0);
    let kept = &bytes[N * from.0 * first..N * from.0 * end];
    let mut rows = vec![0; N * to.0 * (end - first)];
    if from.0 == to.0 {
        rows.copy_from_slice(kept);
    } else {
        rows.par_chunks_exact_mut(N * to.0)
            .zip(kept.par_chunks_exact(N * from.0))
            .for_each(|(to, row)| {
                for (pixel, tap) in to.chunks_exact_mut(N).zip(&across) {
                    pixel.copy_from_slice(&tap.pixel::<N>(row));
                }
            });
    }
    if from.1 == to.1 {
        return rows;
    }
    let stride = N * to.0;
    let mut resized = vec![0; stride * to.1];
    resized
        .par_chunks_exact_mut(stride)
        .zip(&down)
        .for_each(|(to, tap)| tap.rows(&rows[(tap.start - first) * stride..], to));
    resized
}

/// What one place of the result is made of: source pixels from `start` on, with their weights.
struct Tap {
    start: usize,
    weights: Vec<i32>,
}

impl Tap {
    fn end(&self) -> usize {
        self.start + self.weights.len()
    }

    fn pixel<const N: usize>(&self, row: &[u8]) -> [u8; N] {
        let mut sums = [1_i32 << (PRECISION - 1); N];
        let pixels = row[N * self.start..N * self.end()].chunks_exact(N);
        for (pixel, weight) in pixels.zip(&self.weights) {
            for (sum, value) in sums.iter_mut().zip(pixel) {
                *sum += i32::from(*value) * weight;
            }
        }
        sums.map(clip)
    }

    /// Weighs whole rows, the first of which `rows` begins with.
    fn rows(&self, rows: &[u8], to: &mut [u8]) {
        let mut sums = vec![1_i32 << (PRECISION - 1); to.len()];
        for (row, weight) in rows.chunks_exact(to.len()).zip(&self.weights) {
            for (sum, value) in sums.iter_mut().zip(row) {
                *sum += i32::from(*value) * weight;
            }
        }
        for (to, sum) in to.iter_mut().zip(sums) {
            *to = clip(sum);
        }
    }
}

fn clip(sum: i32) -> u8 {
    (sum >> PRECISION).clamp(0, 255).to_le_bytes()[0]
}

/// Returns what each place of a side is made of.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "sides are small, positions are clamped to them and weights are a few units at most"
)]
fn taps(from: usize, to: usize, filter: Filter) -> Vec<Tap> {
    if filter == Filter::Nearest {
        return nearest(from, to);
    }
    let scale = from as f64 / to as f64;
    let widening = scale.max(1.0);
    let support = filter.support() * widening;
    let tap = |i: usize| {
        let center = (i as f64 + 0.5) * scale;
        let start = (center - support + 0.5).max(0.0) as usize;
        let end = ((center + support + 0.5) as usize).min(from);
        let weight = |x: usize| filter.weight((x as f64 - center + 0.5) / widening);
        let weights: Vec<f64> = (start..end).map(weight).collect();
        let sum: f64 = weights.iter().sum();
        let fixed = |weight: f64| (weight / sum * f64::from(1 << PRECISION)).round() as i32;
        Tap {
            start,
            weights: weights.into_iter().map(fixed).collect(),
        }
    };
    (0..to).map(tap).collect()
}

/// Walks in equal steps, as Pillow does: on a tie between two pixels the sum's rounding decides.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "positions are between zero and a side"
)]
fn nearest(from: usize, to: usize) -> Vec<Tap> {
    let step = from as f64 / to as f64;
    let positions = std::iter::successors(Some(0.5 * step), |position| Some(position + step));
    let tap = |position: f64| Tap {
        start: (position as usize).min(from - 1),
        weights: vec![1 << PRECISION],
    };
    positions.take(to).map(tap).collect()
}
