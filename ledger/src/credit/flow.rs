//! Maximum flow in integers over a small graph, one sink after another.
//!
//! Augments along shortest paths in the order the arcs were added, so equal graphs give equal
//! flows. What one sink got, no later one takes away: only the ways it comes by may change.

use std::collections::VecDeque;

/// Most paths searched in one graph; after that what is left is not found, which only lends less.
const PATHS_MAX: usize = 4_096;

/// More than any sum of amounts.
pub(super) const PLENTY: i128 = 1 << 100;

#[derive(Debug, Clone, Copy)]
struct Arc {
    to: usize,
    left: i128,
}

/// A graph with what still fits along each arc; arc `i ^ 1` is arc `i` turned round.
#[derive(Debug, Default)]
pub(super) struct Flow {
    arcs: Vec<Arc>,
    leaving: Vec<Vec<usize>>,
    paths: usize,
}

impl Flow {
    /// Adds a node and returns its number.
    pub(super) fn node(&mut self) -> usize {
        self.leaving.push(Vec::new());
        self.leaving.len() - 1
    }

    /// Adds an arc and returns its number.
    pub(super) fn arc(&mut self, from: usize, to: usize, capacity: i128) -> usize {
        let number = self.arcs.len();
        self.arcs.push(Arc { to, left: capacity });
        self.arcs.push(Arc { to: from, left: 0 });
        self.leaving[from].push(number);
        self.leaving[to].push(number + 1);
        number
    }

    /// Returns how much more fits along an arc.
    pub(super) fn left(&self, arc: usize) -> i128 {
        self.arcs[arc].left
    }

    /// Sets how much more fits along an arc.
    pub(super) fn set_left(&mut self, arc: usize, left: i128) {
        self.arcs[arc].left = left;
    }

    /// Returns what flows along an arc.
    pub(super) fn along(&self, arc: usize) -> i128 {
        self.arcs[arc ^ 1].left
    }

    /// Sends up to `want` from source to sink and returns how much arrived.
    pub(super) fn send(&mut self, source: usize, sink: usize, want: i128) -> i128 {
        let mut sent = 0;
        while sent < want && self.paths < PATHS_MAX {
            self.paths += 1;
            let Some(path) = self.path(source, sink) else {
                break;
            };
            let narrowest = path.iter().map(|arc| self.arcs[*arc].left).min();
            let part = narrowest.unwrap_or(0).min(want - sent);
            for arc in path {
                self.arcs[arc].left -= part;
                self.arcs[arc ^ 1].left += part;
            }
            sent += part;
        }
        sent
    }

    /// Returns the arcs of a shortest path along which something fits.
    fn path(&self, source: usize, sink: usize) -> Option<Vec<usize>> {
        let mut came_by: Vec<Option<usize>> = vec![None; self.leaving.len()];
        let mut queue = VecDeque::from([source]);
        while let Some(node) = queue.pop_front() {
            for &number in &self.leaving[node] {
                let arc = self.arcs[number];
                if arc.left > 0 && arc.to != source && came_by[arc.to].is_none() {
                    came_by[arc.to] = Some(number);
                    if arc.to == sink {
                        return Some(self.back(&came_by, source, sink));
                    }
                    queue.push_back(arc.to);
                }
            }
        }
        None
    }

    fn back(&self, came_by: &[Option<usize>], source: usize, sink: usize) -> Vec<usize> {
        let mut path = Vec::new();
        let mut node = sink;
        while node != source {
            let Some(arc) = came_by[node] else { break };
            path.push(arc);
            node = self.arcs[arc ^ 1].to;
        }
        path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l64_a_later_sink_may_move_an_earlier_one_but_takes_nothing_from_it() {
        let mut flow = Flow::default();
        let [source, left, right, first, second] = [(); 5].map(|()| flow.node());
        flow.arc(source, left, 10);
        let by_right = flow.arc(source, right, 10);
        for (from, to) in [(left, first), (right, first), (left, second)] {
            flow.arc(from, to, 10);
        }
        assert_eq!(flow.send(source, first, 10), 10);
        assert_eq!(flow.along(by_right), 0, "the first way is by the left");
        assert_eq!(flow.send(source, second, 25), 10);
        assert_eq!(flow.along(by_right), 10, "the first moved over");
        assert_eq!(flow.send(source, second, 25), 0);
    }
}
