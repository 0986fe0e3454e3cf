//! A Brownian path over noise levels, equal to torchsde's `BrownianTree` as k-diffusion uses it.
//!
//! The path is fixed by the seed alone: its increment over the whole span is one draw, and an interval
//! is halved by a draw from a seed derived from its place in the tree (a Brownian bridge), down to a
//! millionth. So steps may ask in any order, and nothing needs saving.

use hearth_protocol::job::{Compat, Rng};
use rayon::iter::{IntoParallelIterator, ParallelExtend, ParallelIterator};

use super::seed_sequence::first_word;
use super::{Generator, Recipe};

/// The path of one picture.
#[derive(Clone, Debug)]
pub(crate) struct Brownian {
    recipe: Recipe,
    root: Node,
    /// The increment over the whole span.
    whole: Vec<f32>,
    /// Draws of the last question, by the interval they halve: the next one shares half of them.
    draws: Vec<(Node, Vec<f32>)>,
}

/// An interval of the tree.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Node {
    start: f64,
    end: f64,
    depth: u64,
    place: u64,
}

impl Node {
    fn middle(&self) -> f64 {
        round(0.5 * (self.end + self.start))
    }

    fn left(&self) -> Self {
        Self {
            end: self.middle(),
            depth: self.depth + 1,
            place: self.place.wrapping_mul(2),
            ..*self
        }
    }

    fn right(&self) -> Self {
        Self {
            start: self.middle(),
            depth: self.depth + 1,
            place: self.place.wrapping_mul(2).wrapping_add(1),
            ..*self
        }
    }

    /// Whether a question covers part of the node only. One of a millionth cannot be halved.
    fn is_halved(&self, (start, end): (f64, f64)) -> bool {
        let middle = self.middle();
        (start > self.start || end < self.end) && middle > self.start && middle < self.end
    }

    /// Collects the nodes that a question halves.
    fn halved(self, (start, end): (f64, f64), nodes: &mut Vec<Self>) {
        if !self.is_halved((start, end)) {
            return;
        }
        nodes.push(self);
        let middle = self.middle();
        if start < middle {
            self.left().halved((start, end.min(middle)), nodes);
        }
        if end > middle {
            self.right().halved((start.max(middle), end), nodes);
        }
    }

    /// The increment over the left half: its share of the whole's, and noise (a Brownian bridge).
    fn left_increment(&self, whole: &[f32], noise: &[f32]) -> Vec<f32> {
        let (left, right) = (self.middle() - self.start, self.end - self.middle());
        let share = 1.0 / (self.end - self.start);
        let spread = narrow((left * right * share).sqrt());
        let (left, share) = (narrow(left), narrow(share));
        let pairs = whole.iter().zip(noise);
        pairs
            .map(|(whole, noise)| left * whole * share + spread * noise)
            .collect()
    }
}

impl Brownian {
    /// Lays a path over the levels from `span.0` to `span.1`.
    pub(super) fn new(recipe: Recipe, (low, high): (f64, f64)) -> Self {
        let (low, high) = (single(low), single(high));
        let root = Node {
            start: round(low),
            end: round(high),
            depth: 0,
            place: 0,
        };
        let scale = narrow((high - low).max(0.0).sqrt());
        let mut whole = draw(&recipe, first_word(recipe.own_seed(), &[]));
        whole.iter_mut().for_each(|value| *value *= scale);
        Self {
            recipe,
            root,
            whole,
            draws: Vec::new(),
        }
    }

    /// Returns unit noise for the way between two levels: the path's increment over its length's root.
    pub(super) fn between(&mut self, from: f64, to: f64) -> Vec<f32> {
        let (from, to) = (single(from), single(to));
        let (low, high) = (from.min(to), from.max(to));
        let inside = |t: f64| round(t.clamp(self.root.start, self.root.end));
        let query = (inside(low), inside(high));
        if query.0 >= query.1 {
            return vec![0.0; self.whole.len()];
        }
        self.prepare(query);
        let mut increment = self.increment(self.root, self.whole.clone(), query);
        // The path rises with the level; a sampler goes down it.
        let length = narrow(high - low).sqrt() * if from < to { 1.0 } else { -1.0 };
        increment.iter_mut().for_each(|value| *value /= length);
        increment
    }

    /// Draws what a question needs and the last one did not, on all cores: a draw depends on its place
    /// in the tree alone.
    fn prepare(&mut self, query: (f64, f64)) {
        let mut nodes = Vec::new();
        self.root.halved(query, &mut nodes);
        let mut known = std::mem::take(&mut self.draws);
        let (kept, missing): (Vec<Node>, Vec<Node>) = nodes
            .into_iter()
            .partition(|node| known.iter().any(|(other, _)| other == node));
        known.retain(|(node, _)| kept.contains(node));
        let recipe = &self.recipe;
        known.par_extend(missing.into_par_iter().map(|node| {
            let seed = first_word(recipe.own_seed(), &[node.place, node.depth]);
            (node, draw(recipe, seed))
        }));
        self.draws = known;
    }

    /// The increment over part of a node, whose own is `whole`.
    fn increment(&self, node: Node, whole: Vec<f32>, (start, end): (f64, f64)) -> Vec<f32> {
        let drawn = self.draws.iter().find(|(known, _)| *known == node);
        let Some((_, noise)) = drawn.filter(|_| node.is_halved((start, end))) else {
            return whole;
        };
        let middle = node.middle();
        let left = node.left_increment(&whole, noise);
        if end <= middle {
            return self.increment(node.left(), left, (start, end));
        }
        let right: Vec<f32> = whole.iter().zip(&left).map(|(w, l)| w - l).collect();
        if start >= middle {
            return self.increment(node.right(), right, (start, end));
        }
        let mut sum = self.increment(node.left(), left, (start, middle));
        let rest = self.increment(node.right(), right, (middle, end));
        sum.iter_mut().zip(&rest).for_each(|(a, b)| *a += b);
        sum
    }
}

/// One draw from a derived seed. `ComfyUI` lays its paths on the CPU whatever the device.
fn draw(recipe: &Recipe, seed: u32) -> Vec<f32> {
    let rng = match recipe.compat {
        Compat::Comfy => Rng::TorchCpu,
        Compat::A1111 | Compat::Diffusers => recipe.rng,
    };
    recipe.draw(&mut Generator::new(rng, u64::from(seed)))
}

/// Rounds to a millionth as Python does: exactly, ties to even.
fn round(t: f64) -> f64 {
    format!("{t:.6}").parse().unwrap_or(t)
}

/// A level as the single-precision tensor that torch passes on.
fn single(t: f64) -> f64 {
    f64::from(narrow(t))
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "torch computes in single precision here"
)]
fn narrow(x: f64) -> f32 {
    x as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(seed: u64) -> Brownian {
        let recipe = Recipe::new(Rng::TorchCpu, Compat::A1111, seed, [4, 8, 8]);
        Brownian::new(recipe, (0.029_167_5, 14.614_643))
    }

    #[test]
    fn e35_the_order_of_questions_does_not_change_the_path() {
        let mut forwards = path(7);
        let pairs = [
            (14.614_643, 9.1),
            (9.1, 3.3),
            (3.3, 0.7),
            (0.7, 0.029_167_5),
        ];
        let first: Vec<_> = pairs.map(|(a, b)| forwards.between(a, b)).into();
        let mut backwards = path(7);
        for (pair, want) in pairs.iter().zip(&first).rev() {
            assert_eq!(&backwards.between(pair.0, pair.1), want);
        }
    }

    #[test]
    fn e35_increments_add_up() {
        let mut path = path(1);
        let whole = path.between(9.0, 1.0);
        let parts = [path.between(9.0, 4.0), path.between(4.0, 1.0)];
        for (i, whole) in whole.iter().enumerate() {
            let sum = parts[0][i] * 5_f32.sqrt() + parts[1][i] * 3_f32.sqrt();
            assert!((whole * 8_f32.sqrt() - sum).abs() < 1e-5);
        }
    }

    #[test]
    fn e35_rounding_is_pythons() {
        assert_eq!(round(0.007_812_5), 0.007_812);
        assert_eq!(round(7.321_905_5), 7.321_905);
        assert_eq!(round(0.000_000_5), 0.0);
    }

    #[test]
    fn e35_levels_outside_the_span_are_its_ends() {
        let mut path = path(3);
        assert!(path.between(20.0, 0.0).iter().all(|v| v.is_finite()));
        assert!(path.between(0.001, 0.002).iter().all(|v| *v == 0.0));
        assert!(path.between(2.0, 2.0).iter().all(|v| *v == 0.0));
    }
}
