//! Three by three convolution of stride one by Winograd's minimal filtering, F(4x4, 3x3).
//!
//! A tile of 4x4 outputs sees 6x6 inputs. Both the inputs and the 3x3 weights are transformed to 36
//! points where the convolution is a product point by point, four times fewer multiplications
//! than directly. Interpolation points 0, ±2/3, ±3/2, ∞ keep rounding as small as that of a direct sum; the
//! usual ±1, ±2 lose a digit (Barabasz et al., "Error analysis and improving the accuracy of Winograd
//! convolution for deep neural networks", 2020).
//!
//! Weights are transformed block by block when they are needed, for they would take four times the memory.
//! Channels lie innermost, so that every step works on sixteen of them at once.

#![expect(
    unsafe_code,
    reason = "tiles and sums are shared between tasks; each block says why it is sound"
)]

use std::cell::RefCell;
use std::ops::Range;

use rayon::prelude::*;

use crate::geometry::Axis;
use crate::panel::{PANEL, Panels, Store, Stored};
use crate::product::{Finish, TILE, multiply, padded_bias};
use crate::shared::{Fresh, Shared};
use crate::simd::{Kernel, LANES, Simd, dispatch};

/// Rows and columns of outputs in a tile.
const SIDE: usize = 4;
/// Rows and columns of inputs a tile sees.
const SEEN: usize = SIDE + 2;
/// Points of a transformed tile.
const POINTS: usize = SEEN * SEEN;
/// Tiles a task works on.
const TILES: usize = 48;
/// Values between one point's part of a scratch and the next: without them all 36 share one set of the cache.
const GAP: usize = LANES;
/// From one point's weights to the next's, and from one point's sums to the next's.
const WEIGHTS: usize = DEPTH * PANEL + GAP;
const SUMS: usize = TILES * PANEL + GAP;
/// Channels transformed at once: their weights for a panel take 576 KiB.
const DEPTH: usize = 64;
/// Most values of transformed input kept at once: 32 MiB.
const CHUNK: usize = 8 * 1024 * 1024;

/// The interpolation points are 0, ±A, ±B and infinity; A * B = 1.
const A: f32 = 2.0 / 3.0;
const B: f32 = 3.0 / 2.0;
const A2: f32 = A * A;
const B2: f32 = B * B;

/// A convolution whose pictures lie channels innermost.
pub(super) struct Winograd<'a> {
    pub(super) x: &'a [f32],
    /// Height, width and channels of the input.
    pub(super) input: (usize, usize, usize),
    pub(super) axes: (Axis, Axis),
    pub(super) images: usize,
    /// Height and width of the output.
    pub(super) output: (usize, usize),
    pub(super) panels: &'a Panels,
    pub(super) finish: Finish<'a>,
}

impl Winograd<'_> {
    /// Writes every value of `out`, `[images, height, width, channels]`.
    pub(super) fn run(&self, out: Shared<'_>) {
        let channels = self.input.2;
        assert!(
            channels.is_multiple_of(LANES) && self.panels.outer.is_multiple_of(LANES),
            "channels come in whole vectors"
        );
        assert_eq!(
            (self.panels.inner, self.panels.taps),
            (channels, 9),
            "the weights fit the input"
        );
        let (height, width, _) = self.input;
        assert_eq!(
            self.x.len(),
            self.images * height * width * channels,
            "the input has its size"
        );
        let tiles = self.images * self.tiles_per_image();
        let per_tile = POINTS * channels;
        let per_chunk = (CHUNK / (per_tile * TILES)).max(1) * TILES;
        let len = per_chunk.min(tiles) * per_tile;
        let mut transformed = Fresh::new(len);
        for first in (0..tiles).step_by(per_chunk) {
            let chunk = first..(first + per_chunk).min(tiles);
            let points = transformed.share(len);
            self.transform_chunk(chunk.clone(), points);
            self.multiply_chunk(chunk, points, out);
        }
    }

    fn tiles_per_image(&self) -> usize {
        self.output.0.div_ceil(SIDE) * self.output.1.div_ceil(SIDE)
    }

    /// Transforms the tiles of a chunk: `[block of tiles, block of channels, point, tile, channel]`.
    fn transform_chunk(&self, tiles: Range<usize>, to: Shared<'_>) {
        let channels = self.input.2;
        tiles
            .clone()
            .into_par_iter()
            .with_min_len(4)
            .for_each(|tile| {
                let at = tile - tiles.start;
                let block = at / TILES * TILES;
                dispatch(TransformInput {
                    whole: self,
                    tile,
                    to,
                    start: block * POINTS * channels,
                    place: at - block,
                    count: (tiles.len() - block).min(TILES),
                });
            });
    }

    fn multiply_chunk(&self, tiles: Range<usize>, from: Shared<'_>, out: Shared<'_>) {
        let channels = self.input.2;
        let blocks = tiles.len().div_ceil(TILES);
        let panels = self.panels.count();
        (0..blocks * panels).into_par_iter().for_each(|i| {
            let (block, panel) = (i / panels, i % panels);
            let first = tiles.start + block * TILES;
            let count = (tiles.end - first).min(TILES);
            let len = POINTS * count * channels;
            let start = from.place(block * TILES * POINTS * channels, len);
            // SAFETY: `transform_chunk` wrote all of them and has ended; from here they are only read.
            let points = unsafe { std::slice::from_raw_parts(start, len) };
            dispatch(MultiplyBlock {
                whole: self,
                points,
                first,
                count,
                panel,
                out,
            });
        });
    }

    /// Returns picture, first row and first column of a tile's outputs.
    fn place(&self, tile: usize) -> (usize, usize, usize) {
        let across = self.output.1.div_ceil(SIDE);
        let image = tile / self.tiles_per_image();
        let tile = tile % self.tiles_per_image();
        (image, tile / across * SIDE, tile % across * SIDE)
    }
}

struct TransformInput<'a, 'b> {
    whole: &'a Winograd<'a>,
    tile: usize,
    to: Shared<'b>,
    /// Where the tile's block begins.
    start: usize,
    /// The tile's place in the block, and the tiles in it.
    place: usize,
    count: usize,
}

impl Kernel for TransformInput<'_, '_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (height, width, channels) = self.whole.input;
        let (image, top, left) = self.whole.place(self.tile);
        let (rows, columns) = &self.whole.axes;
        let starts: [Option<usize>; POINTS] = std::array::from_fn(|p| {
            let row = rows.source(top + p / SEEN)?;
            let column = columns.source(left + p % SEEN)?;
            Some(((image * height + row) * width + column) * channels)
        });
        for first in (0..channels).step_by(DEPTH) {
            let depth = (channels - first).min(DEPTH);
            let block = self.start + first * POINTS * self.count;
            for c in (0..depth).step_by(LANES) {
                let mut pixels = [s.splat(0.0); POINTS];
                for (pixel, start) in pixels.iter_mut().zip(&starts) {
                    if let Some(start) = start {
                        *pixel = s.load(&self.whole.x[start + first + c..].as_chunks().0[0]);
                    }
                }
                let points = input_tile(s, pixels);
                for (p, v) in points.into_iter().enumerate() {
                    let at = block + (p * self.count + self.place) * depth + c;
                    let to = self.to.place(at, LANES);
                    // SAFETY: `place` checked the bounds; the place belongs to this tile alone.
                    unsafe { s.write(to, v) };
                }
            }
        }
    }
}

/// Transforms the columns, then the rows, of 6x6 inputs.
#[inline(always)]
fn input_tile<S: Simd>(s: S, mut v: [S::V; POINTS]) -> [S::V; POINTS] {
    for x in 0..SEEN {
        let at = |y: usize| y * SEEN + x;
        let column = input_points(
            s,
            [v[at(0)], v[at(1)], v[at(2)], v[at(3)], v[at(4)], v[at(5)]],
        );
        for (y, value) in column.into_iter().enumerate() {
            v[at(y)] = value;
        }
    }
    for row in v.as_chunks_mut::<SEEN>().0 {
        *row = input_points(s, *row);
    }
    v
}

/// Evaluates six inputs at the points, up to the factors [`weight_points`] holds.
#[inline(always)]
fn input_points<S: Simd>(s: S, d: [S::V; SEEN]) -> [S::V; SEEN] {
    let (a, b, a2, b2) = (s.splat(A), s.splat(B), s.splat(A2), s.splat(B2));
    let sum = s.splat(A2 + B2);
    let (even_a, odd_a) = (s.fnma(b2, d[2], d[4]), s.fnma(b2, d[1], d[3]));
    let (even_b, odd_b) = (s.fnma(a2, d[2], d[4]), s.fnma(a2, d[1], d[3]));
    [
        s.fnma(sum, d[2], s.add(d[0], d[4])),
        s.fma(a, odd_a, even_a),
        s.fnma(a, odd_a, even_a),
        s.fma(b, odd_b, even_b),
        s.fnma(b, odd_b, even_b),
        s.fnma(sum, d[3], s.add(d[1], d[5])),
    ]
}

/// Evaluates three weights at the points.
#[inline(always)]
fn weight_points<S: Simd>(s: S, g: [S::V; 3]) -> [S::V; SEEN] {
    const FA: f32 = 1.0 / (2.0 * A2 * (A2 - B2));
    const FB: f32 = 1.0 / (2.0 * B2 * (B2 - A2));
    let even_a = s.fma(s.splat(FA * A2), g[2], s.mul(s.splat(FA), g[0]));
    let even_b = s.fma(s.splat(FB * B2), g[2], s.mul(s.splat(FB), g[0]));
    let (odd_a, odd_b) = (s.splat(FA * A), s.splat(FB * B));
    [
        g[0],
        s.fma(odd_a, g[1], even_a),
        s.fnma(odd_a, g[1], even_a),
        s.fma(odd_b, g[1], even_b),
        s.fnma(odd_b, g[1], even_b),
        g[2],
    ]
}

/// Interpolates four outputs from six points.
#[inline(always)]
fn outputs<S: Simd>(s: S, m: [S::V; SEEN]) -> [S::V; SIDE] {
    let (sum_a, difference_a) = (s.add(m[1], m[2]), s.sub(m[1], m[2]));
    let (sum_b, difference_b) = (s.add(m[3], m[4]), s.sub(m[3], m[4]));
    [
        s.add(m[0], s.add(sum_a, sum_b)),
        s.fma(s.splat(B), difference_b, s.mul(s.splat(A), difference_a)),
        s.fma(s.splat(B2), sum_b, s.mul(s.splat(A2), sum_a)),
        s.fma(
            s.splat(B2 * B),
            difference_b,
            s.fma(s.splat(A2 * A), difference_a, m[5]),
        ),
    ]
}

/// A block of tiles times a panel.
struct MultiplyBlock<'a, 'b> {
    whole: &'a Winograd<'a>,
    points: &'a [f32],
    first: usize,
    count: usize,
    panel: usize,
    out: Shared<'b>,
}

#[derive(Default)]
struct Scratch {
    /// `[point, channel, output]`.
    weights: Vec<f32>,
    /// `[point, tile, output]`.
    sums: Vec<f32>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl Kernel for MultiplyBlock<'_, '_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let mut scratch = SCRATCH.take();
        scratch.weights.resize(POINTS * WEIGHTS, 0.0);
        scratch.sums.resize(POINTS * SUMS, 0.0);
        let channels = self.whole.input.2;
        for first in (0..channels).step_by(DEPTH) {
            let depth = (channels - first).min(DEPTH);
            match self.whole.panels.store() {
                Store::F32(v) => self.weights(s, v, first..first + depth, &mut scratch.weights),
                Store::F16(v) => self.weights(s, v, first..first + depth, &mut scratch.weights),
                Store::Bf16(v) => self.weights(s, v, first..first + depth, &mut scratch.weights),
            }
            self.sum(s, first, depth, &mut scratch);
        }
        for tile in 0..self.count {
            self.finish(s, tile, &scratch.sums);
        }
        SCRATCH.set(scratch);
    }
}

impl MultiplyBlock<'_, '_> {
    /// Transforms the panel's weights for some channels.
    #[inline(always)]
    fn weights<S: Simd, T: Stored>(
        &self,
        s: S,
        values: &[T],
        channels: Range<usize>,
        to: &mut [f32],
    ) {
        let panels = self.whole.panels;
        let width = panels.width(self.panel);
        let from = &values[panels.start(self.panel)..];
        for (i, channel) in channels.enumerate() {
            let from = &from[channel * 9 * width..][..9 * width];
            for lane in (0..width).step_by(LANES) {
                let mut taps = [s.splat(0.0); 9];
                for (t, tap) in taps.iter_mut().enumerate() {
                    *tap = T::read(s, &from[t * width + lane..].as_chunks().0[0]);
                }
                let columns = [
                    weight_points(s, [taps[0], taps[3], taps[6]]),
                    weight_points(s, [taps[1], taps[4], taps[7]]),
                    weight_points(s, [taps[2], taps[5], taps[8]]),
                ];
                let [left, middle, right] = columns;
                for (y, ((a, b), c)) in left.into_iter().zip(middle).zip(right).enumerate() {
                    let row = weight_points(s, [a, b, c]);
                    for (x, v) in row.into_iter().enumerate() {
                        let at = (y * SEEN + x) * WEIGHTS + i * PANEL + lane;
                        s.store(&mut to[at..].as_chunks_mut().0[0], v);
                    }
                }
            }
        }
    }

    /// Adds the products of some channels to the sums, or puts them there if they are the first.
    #[inline(always)]
    fn sum<S: Simd>(&self, s: S, first: usize, depth: usize, scratch: &mut Scratch) {
        let width = self.whole.panels.width(self.panel);
        let points = &self.points[first * POINTS * self.count..][..POINTS * self.count * depth];
        for p in 0..POINTS {
            let weights = &scratch.weights[p * WEIGHTS..][..depth * PANEL];
            let points = &points[p * self.count * depth..][..self.count * depth];
            let sums = &mut scratch.sums[p * SUMS..][..self.count * PANEL];
            let tiles = points
                .chunks(TILE * depth)
                .zip(sums.chunks_mut(TILE * PANEL));
            for (points, sums) in tiles {
                let last = points.len() / depth - 1;
                let rows = std::array::from_fn(|i| points[i.min(last) * depth..].as_ptr());
                // SAFETY: each row holds `depth` values; so many rows of 64 weights follow `weights`.
                unsafe {
                    multiply(
                        s,
                        &rows,
                        (weights.as_ptr(), PANEL),
                        depth,
                        width,
                        sums,
                        first == 0,
                    );
                }
            }
        }
    }

    /// Turns a tile's sums into its outputs.
    #[inline(always)]
    fn finish<S: Simd>(&self, s: S, tile: usize, sums: &[f32]) {
        let Winograd {
            panels,
            finish,
            output: (height, width),
            ..
        } = self.whole;
        let (image, top, left) = self.whole.place(self.first + tile);
        let bias = padded_bias(finish.bias, panels.outer, image, self.panel);
        for lane in (0..panels.width(self.panel)).step_by(LANES) {
            let mut columns = [[s.splat(0.0); SIDE]; SEEN];
            for (x, column) in columns.iter_mut().enumerate() {
                let mut points = [s.splat(0.0); SEEN];
                for (y, point) in points.iter_mut().enumerate() {
                    let at = (y * SEEN + x) * SUMS + tile * PANEL + lane;
                    *point = s.load(&sums[at..].as_chunks().0[0]);
                }
                *column = outputs(s, points);
            }
            let bias = s.load(&bias[lane..].as_chunks().0[0]);
            for y in 0..SIDE.min(height - top) {
                let [a, b, c, d, e, f] = columns;
                let row = outputs(s, [a[y], b[y], c[y], d[y], e[y], f[y]]);
                for (x, v) in row.into_iter().enumerate().take(width - left) {
                    let pixel = (image * height + top + y) * width + left + x;
                    let at = pixel * panels.outer + self.panel * PANEL + lane;
                    let mut v = s.add(v, bias);
                    if let Some(residual) = finish.residual {
                        v = s.add(v, s.load(&residual[at..].as_chunks().0[0]));
                    }
                    let to = self.out.place(at, LANES);
                    // SAFETY: `place` checked the bounds; no other task has this tile and panel.
                    unsafe { s.write(to, v) };
                }
            }
        }
    }
}
