//! Times, spans and names in the words of people.

use std::collections::BTreeMap;

use hearth_protocol::id::NodeId;
use hearth_protocol::snapshot::PeerView;
use hearth_protocol::unit::{Millis, Timestamp};

/// Returns `12 s ago`, `3 min ago`, `in 7 days`.
pub(super) fn when(time: Timestamp, now: Timestamp) -> String {
    let past = now.since(time);
    if past > Millis::ZERO {
        format!("{} ago", rough(past))
    } else {
        match time.since(now) {
            Millis::ZERO => "now".to_owned(),
            ahead => format!("in {}", rough(ahead)),
        }
    }
}

fn rough(span: Millis) -> String {
    const UNITS: [(u64, &str); 4] = [
        (86_400_000, "days"),
        (3_600_000, "h"),
        (60_000, "min"),
        (1_000, "s"),
    ];
    let ms = span.get();
    UNITS
        .into_iter()
        .find(|(unit, _)| ms >= 2 * unit)
        .map_or_else(
            || format!("{ms} ms"),
            |(unit, name)| format!("{} {name}", ms / unit),
        )
}

/// Returns `850 ms` or `12.3 s`.
pub(super) fn span(span: Millis) -> String {
    let ms = span.get();
    if ms < 1_000 {
        format!("{ms} ms")
    } else {
        format!("{}.{} s", ms / 1_000, ms % 1_000 / 100)
    }
}

/// Reads `90s`, `45min` or `45m`, `12h`, `7d`.
pub(super) fn parse_span(text: &str) -> Result<Millis, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let seconds = match unit.trim() {
        "s" | "" => 1,
        "m" | "min" => 60,
        "h" => 3_600,
        "d" | "days" | "day" => 86_400,
        _ => 0,
    };
    match number.parse::<u64>() {
        Ok(number) if seconds > 0 && number > 0 => {
            Ok(Millis::from_secs(number.saturating_mul(seconds)))
        }
        Ok(_) | Err(_) => Err("expected a span such as 90s, 45min, 12h or 7d".to_owned()),
    }
}

/// Names of members as this node's owner knows them.
#[derive(Debug, Clone, Default)]
pub(super) struct Names(BTreeMap<NodeId, String>);

impl Names {
    /// Collects the names.
    pub(super) fn of(peers: &[PeerView]) -> Self {
        peers
            .iter()
            .map(|peer| (peer.node, peer.name.as_str()))
            .collect()
    }

    /// Returns a member's name, or its short id.
    pub(super) fn name(&self, node: &NodeId) -> String {
        self.0.get(node).cloned().unwrap_or_else(|| node.short())
    }
}

impl<'a> FromIterator<(NodeId, &'a str)> for Names {
    fn from_iter<I: IntoIterator<Item = (NodeId, &'a str)>>(names: I) -> Self {
        let names = names.into_iter();
        Self(names.map(|(node, name)| (node, printable(name))).collect())
    }
}

/// Returns peer-supplied text on one line, without control characters.
pub(super) fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// Returns at most so many characters, with an ellipsis where text was cut.
pub(super) fn clip(text: &str, chars: usize) -> String {
    let text = printable(text);
    if text.chars().count() <= chars {
        text
    } else {
        let mut clipped: String = text.chars().take(chars.saturating_sub(1)).collect();
        clipped.push('…');
        clipped
    }
}
