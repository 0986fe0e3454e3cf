//! Lines of a balance added up: by what they are, and by whom they are with.

use std::collections::BTreeMap;

use hearth_protocol::id::NodeId;
use hearth_protocol::unit::Balance;

use crate::why::{Line, LineKind, LineState};

/// What lines add up to. All figures but the balance are at least zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sums {
    /// Work done for others.
    pub earned: Balance,
    /// Work others did.
    pub paid: Balance,
    /// Transfers from others.
    pub received: Balance,
    /// Transfers to others.
    pub given: Balance,
    /// The part of what was earned that is not accepted.
    pub pending: Balance,
    /// The part of what is pending that is disputed.
    pub disputed: Balance,
    /// How many lines.
    pub lines: usize,
}

impl Sums {
    /// Adds lines up.
    pub fn of<'a>(lines: impl IntoIterator<Item = &'a Line>) -> Self {
        let mut sums = Self::default();
        for line in lines {
            sums.add(line);
        }
        sums
    }

    fn add(&mut self, line: &Line) {
        let size = Balance::from_mk(line.amount.mk().saturating_abs());
        let plus = |sum: &mut Balance| *sum = [*sum, size].into_iter().sum();
        match line.kind {
            LineKind::Earned => {
                plus(&mut self.earned);
                match line.state {
                    LineState::Settled => {}
                    LineState::Pending => plus(&mut self.pending),
                    LineState::Disputed(_) => {
                        plus(&mut self.pending);
                        plus(&mut self.disputed);
                    }
                }
            }
            LineKind::Paid => plus(&mut self.paid),
            LineKind::Received => plus(&mut self.received),
            LineKind::Given => plus(&mut self.given),
        }
        self.lines += 1;
    }

    /// Returns what came in less what went out.
    pub fn balance(&self) -> Balance {
        Balance::from_mk(self.earned.mk() + self.received.mk() - self.paid.mk() - self.given.mk())
    }
}

/// Adds lines up for each other side.
pub fn pairs(lines: &[Line]) -> BTreeMap<NodeId, Sums> {
    let mut pairs: BTreeMap<NodeId, Sums> = BTreeMap::new();
    for line in lines {
        pairs.entry(line.counterparty).or_default().add(line);
    }
    pairs
}
