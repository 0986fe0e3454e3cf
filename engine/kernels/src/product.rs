//! The matrix product under linear layers and direct convolutions: rows of channels times panels.
//!
//! A task takes a block of rows and some panels. For a block of inputs that fits the first cache it
//! multiplies six rows by 64 outputs at a time in registers; sums go through a small block of their own
//! and are finished (bias, gate, residual) when a panel is done. Each output is summed by one task,
//! inputs in order, so neither the number of threads nor the other rows can change it.
//!
//! Rows are addressed one by one, tap by tap, so a convolution needs no unfolded copy of its input.

#![expect(
    unsafe_code,
    reason = "the innermost loops use raw pointers; each block says why it is sound"
)]

use std::cell::RefCell;
use std::ops::Range;

use rayon::prelude::*;

use crate::panel::{PANEL, Panels};
use crate::shared::Shared;
use crate::simd::{Kernel, LANES, Simd, dispatch};

/// Inputs multiplied at once: 128 of a panel are 32 KiB.
const DEPTH: usize = 128;
/// Rows a task works on.
const ROWS: usize = 96;
/// Rows multiplied at once.
pub(crate) const TILE: usize = 6;

/// Where rows begin that lie outside the picture.
pub(crate) const NOWHERE: usize = usize::MAX;

/// What the rows are.
pub(crate) trait Rows: Sync {
    /// Appends where, in the input, each of `rows` of picture `image` begins as seen from `tap`.
    fn starts(&self, image: usize, tap: usize, rows: Range<usize>, to: &mut Vec<usize>);
}

/// What happens to the sums before they become the result.
#[derive(Clone, Copy, Default)]
pub(crate) struct Finish<'a> {
    /// `[1 or images, outer]`.
    pub(crate) bias: Option<&'a [f32]>,
    /// Added in the end; laid out as the result.
    pub(crate) residual: Option<&'a [f32]>,
    /// Multiplies the first half of each panel by the GELU of the second.
    pub(crate) gated: bool,
}

/// A product to be computed: `images * rows` rows of `width` results.
pub(crate) struct Product<'a, R> {
    pub(crate) x: &'a [f32],
    pub(crate) rows: R,
    pub(crate) images: usize,
    pub(crate) rows_per_image: usize,
    pub(crate) panels: &'a Panels,
    pub(crate) finish: Finish<'a>,
}

impl<R: Rows> Product<'_, R> {
    /// Returns how many values a row of the result has.
    pub(crate) fn width(&self) -> usize {
        self.panels.outer / if self.finish.gated { 2 } else { 1 }
    }

    /// Writes every value of `out`, `[images, rows, width]`.
    pub(crate) fn run(&self, out: Shared<'_>) {
        let blocks = self.rows_per_image.div_ceil(ROWS);
        let jobs = self.images * blocks;
        // Few rows: the panels are split as well, so that every thread has some.
        let wanted = 4 * rayon::current_num_threads();
        let panels = self.panels.count();
        let groups = wanted.div_ceil(jobs.max(1)).clamp(1, panels.max(1));
        let per_group = panels.div_ceil(groups);
        (0..jobs * groups).into_par_iter().for_each(|i| {
            let (job, group) = (i % jobs, i / jobs);
            let first = job % blocks * ROWS;
            dispatch(Task {
                product: self,
                out,
                image: job / blocks,
                rows: first..(first + ROWS).min(self.rows_per_image),
                panels: group * per_group..((group + 1) * per_group).min(panels),
            });
        });
    }
}

struct Task<'a, 'b, R> {
    product: &'a Product<'a, R>,
    out: Shared<'b>,
    image: usize,
    rows: Range<usize>,
    panels: Range<usize>,
}

#[derive(Default)]
struct Scratch {
    starts: Vec<usize>,
    sums: Vec<f32>,
    widened: Vec<f32>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

static ZEROS: [f32; DEPTH] = [0.0; DEPTH];

impl<R: Rows> Kernel for Task<'_, '_, R> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        // Taken out, not borrowed: nothing here yields, but nothing here need rely on it.
        let mut scratch = SCRATCH.take();
        scratch.sums.resize(ROWS * PANEL, 0.0);
        scratch.widened.resize(DEPTH * PANEL, 0.0);
        scratch.starts.clear();
        let Product { panels, rows, .. } = self.product;
        for tap in 0..panels.taps {
            rows.starts(self.image, tap, self.rows.clone(), &mut scratch.starts);
        }
        self.check(&scratch.starts);
        for panel in self.panels.clone() {
            self.sum(s, panel, &mut scratch);
            self.finish(s, panel, &scratch.sums);
        }
        SCRATCH.set(scratch);
    }
}

impl<R: Rows> Task<'_, '_, R> {
    fn check(&self, starts: &[usize]) {
        let (x, panels) = (self.product.x, self.product.panels);
        assert_eq!(
            starts.len(),
            self.rows.len() * panels.taps,
            "a start for each row and tap"
        );
        let inside = |start: &usize| {
            *start == NOWHERE
                || start
                    .checked_add(panels.inner)
                    .is_some_and(|end| end <= x.len())
        };
        assert!(starts.iter().all(inside), "rows lie inside the input");
    }

    /// Leaves the sums of a panel in `scratch.sums`, 64 a row.
    #[inline(always)]
    fn sum<S: Simd>(&self, s: S, panel: usize, scratch: &mut Scratch) {
        let panels = self.product.panels;
        let (count, width) = (self.rows.len(), panels.width(panel));
        let Scratch {
            starts,
            sums,
            widened,
        } = scratch;
        for first in (0..panels.inner).step_by(DEPTH) {
            let inputs = first..(first + DEPTH).min(panels.inner);
            for tap in 0..panels.taps {
                let (w, step) = panels.block(s, panel, tap, inputs.clone(), widened);
                let starts = &starts[tap * count..][..count];
                for (tile, starts) in starts.chunks(TILE).enumerate() {
                    let row = |start: usize| match start {
                        NOWHERE => ZEROS.as_ptr(),
                        // SAFETY: `check` found `inner` values there, and `first` is less.
                        start => unsafe { self.product.x.as_ptr().add(start + first) },
                    };
                    let rows = std::array::from_fn(|i| row(starts[i.min(starts.len() - 1)]));
                    let sums = &mut sums[tile * TILE * PANEL..][..starts.len() * PANEL];
                    let fresh = first == 0 && tap == 0;
                    // SAFETY: each row has `inputs` values (`check`, or DEPTH zeros); `block` gave
                    // `width` weights for each of them, `step` apart.
                    unsafe { multiply(s, &rows, (w, step), inputs.len(), width, sums, fresh) };
                }
            }
        }
    }

    /// Turns the sums of a panel into results.
    #[inline(always)]
    fn finish<S: Simd>(&self, s: S, panel: usize, sums: &[f32]) {
        let Product {
            panels,
            finish,
            rows_per_image,
            ..
        } = self.product;
        let stride = self.product.width();
        let lanes = (panels.outer - panel * PANEL).min(PANEL);
        let bias = padded_bias(finish.bias, panels.outer, self.image, panel);
        let (first, count) = if finish.gated {
            (panel * PANEL / 2, PANEL / 2)
        } else {
            (panel * PANEL, lanes)
        };
        for (row, sums) in self.rows.clone().zip(sums.as_chunks::<PANEL>().0) {
            let at = (self.image * rows_per_image + row) * stride + first;
            let mut values = [0.0; PANEL];
            add(s, &mut values, sums, &bias);
            if finish.gated {
                gate(s, &mut values);
            }
            if let Some(residual) = finish.residual {
                let residual = &residual[at..at + count];
                values.iter_mut().zip(residual).for_each(|(v, r)| *v += r);
            }
            let to = self.out.place(at, count);
            // SAFETY: `place` checked the bounds; no other task has these rows and panels.
            unsafe { to.copy_from_nonoverlapping(values.as_ptr(), count) };
        }
    }
}

/// Returns a panel's part of a picture's bias, with zeros behind the last output.
pub(crate) fn padded_bias(
    bias: Option<&[f32]>,
    outer: usize,
    image: usize,
    panel: usize,
) -> [f32; PANEL] {
    let mut padded = [0.0; PANEL];
    if let Some(bias) = bias {
        let lanes = (outer - panel * PANEL).min(PANEL);
        let row = image * outer % bias.len();
        padded[..lanes].copy_from_slice(&bias[row + panel * PANEL..][..lanes]);
    }
    padded
}

#[inline(always)]
fn add<S: Simd>(s: S, to: &mut [f32; PANEL], a: &[f32; PANEL], b: &[f32; PANEL]) {
    let (to, a, b) = (to.as_chunks_mut().0, a.as_chunks().0, b.as_chunks().0);
    for ((to, a), b) in to.iter_mut().zip(a).zip(b) {
        s.store(to, s.add(s.load(a), s.load(b)));
    }
}

/// Replaces the first half by its product with the GELU of the second.
#[inline(always)]
fn gate<S: Simd>(s: S, values: &mut [f32; PANEL]) {
    let (value, gate) = values.split_at_mut(PANEL / 2);
    let (value, gate) = (
        value.as_chunks_mut::<LANES>().0,
        gate.as_chunks::<LANES>().0,
    );
    for (value, gate) in value.iter_mut().zip(gate) {
        let product = s.mul(s.load(value), crate::float::gelu(s, s.load(gate)));
        s.store(value, product);
    }
}

/// Adds `depth` inputs of up to six rows times `width` outputs to `sums` (64 a row), or puts them there.
///
/// # Safety
/// Each of `rows` must be valid for `depth` values, and `weights` for `width` values at each of `depth`
/// steps.
#[inline(always)]
pub(crate) unsafe fn multiply<S: Simd>(
    s: S,
    rows: &[*const f32; TILE],
    weights: (*const f32, usize),
    depth: usize,
    width: usize,
    sums: &mut [f32],
    fresh: bool,
) {
    let count = sums.len() / PANEL;
    assert!(
        count <= TILE && sums.len() == count * PANEL && width <= PANEL,
        "sums are whole rows of a tile"
    );
    let sums = sums.as_mut_ptr();
    macro_rules! tile {
        ($rows:literal, $vectors:literal, $at:expr) => {
            // SAFETY: rows and weights as the caller says; the sums hold `count` rows of 64, and
            // `$at + 16 * $vectors` is at most `width`.
            unsafe {
                let weights = (weights.0.add($at), weights.1);
                tile::<S, $rows, $vectors>(s, rows, weights, depth, sums.add($at), fresh)
            }
        };
    }
    macro_rules! strips {
        ($vectors:literal, $range:expr) => {
            for at in $range.step_by($vectors * LANES) {
                match count {
                    6 => tile!(6, $vectors, at),
                    5 => tile!(5, $vectors, at),
                    4 => tile!(4, $vectors, at),
                    3 => tile!(3, $vectors, at),
                    2 => tile!(2, $vectors, at),
                    1 => tile!(1, $vectors, at),
                    _ => {}
                }
            }
        };
    }
    if S::WIDE && width == PANEL {
        strips!(4, 0..PANEL);
    } else {
        strips!(1, 0..width);
    }
}

/// As [`multiply`], for exactly `R` rows and `V` vectors of outputs, all sums in registers.
#[inline(always)]
unsafe fn tile<S: Simd, const R: usize, const V: usize>(
    s: S,
    rows: &[*const f32; TILE],
    (weights, step): (*const f32, usize),
    depth: usize,
    sums: *mut f32,
    fresh: bool,
) {
    let mut acc = [[s.splat(0.0); V]; R];
    if !fresh {
        for (r, acc) in acc.iter_mut().enumerate() {
            for (v, acc) in acc.iter_mut().enumerate() {
                // SAFETY: the caller says that the sums hold R rows of 64.
                *acc = unsafe { s.read(sums.add(r * PANEL + v * LANES)) };
            }
        }
    }
    for i in 0..depth {
        let mut w = [s.splat(0.0); V];
        for (v, w) in w.iter_mut().enumerate() {
            // SAFETY: the caller says that V vectors of weights are at each step.
            *w = unsafe { s.read(weights.add(i * step + v * LANES)) };
        }
        for (row, acc) in rows.iter().zip(&mut acc) {
            // SAFETY: the caller says that each row has `depth` values.
            let x = s.splat(unsafe { *row.add(i) });
            for (acc, w) in acc.iter_mut().zip(&w) {
                *acc = s.fma(x, *w, *acc);
            }
        }
    }
    for (r, acc) in acc.iter().enumerate() {
        for (v, acc) in acc.iter().enumerate() {
            // SAFETY: the caller says that the sums hold R rows of 64.
            unsafe { s.write(sums.add(r * PANEL + v * LANES), *acc) };
        }
    }
}
