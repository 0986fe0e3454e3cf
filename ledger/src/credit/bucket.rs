//! The newcomers' bucket: what they together may owe beyond what anybody answers for.
//!
//! It is shared, so the number of identities somebody makes does not matter. It counts what was lent
//! in the same 30 days its size is taken from: an old loss stays its debtor's, and no longer keeps
//! other newcomers out.

use std::collections::BTreeMap;

use hearth_protocol::id::NodeId;
use hearth_protocol::unit::{Millikudos, Millis};

use super::{Question, amount};

/// How far back work and loans count: the present day and the thirty before it.
const SPAN: Millis = Millis::from_secs(30 * 86_400);
/// The least size: one picture of 512x512 pixels.
const LEAST: i128 = 10_000;

/// Returns the size of the bucket.
// L67
pub fn bucket(question: &Question<'_>, percent: u8) -> Millikudos {
    amount(size(question, percent))
}

fn size(question: &Question<'_>, percent: u8) -> i128 {
    let since = question.now.minus(SPAN);
    let earned = question.book.earned_since(&question.me, since).mk();
    share(earned, percent)
}

/// Returns the same share of all the work that was ever accepted from the provider: what it is
/// ready to write off.
// L66
pub(super) fn of_all_time(question: &Question<'_>, percent: u8) -> i128 {
    share(question.book.earned(&question.me).mk(), percent)
}

fn share(earned: i128, percent: u8) -> i128 {
    if percent == 0 {
        return 0;
    }
    (earned.max(0) * i128::from(percent) / 100).max(LEAST)
}

/// Returns what is left beside the loans of others that nobody answers for.
// L67
pub(super) fn left(
    question: &Question<'_>,
    percent: u8,
    stranded: &BTreeMap<NodeId, i128>,
) -> i128 {
    let since = question.now.minus(SPAN);
    let used: i128 = stranded
        .iter()
        .map(|(node, mk)| {
            let charged = question.book.charged_since(&question.me, node, since);
            let recent = charged.mk() + question.held(node) + question.running(node);
            recent.min(*mk).max(0)
        })
        .sum();
    (size(question, percent) - used).max(0)
}
