//! The table of bounds in `specs/wire.md`, held against `protocol::limits`.

use std::fs;

use hearth_tests::tree;

use super::report;

#[test]
fn every_bound_is_in_the_wire_spec_with_its_value() {
    let read = |name: &str| {
        fs::read_to_string(tree::root().join(name))
            .unwrap_or_else(|error| panic!("{name}: {error}"))
    };
    let (source, spec) = (read("protocol/src/limits.rs"), read("specs/wire.md"));
    let bounds: Vec<(&str, &str)> = source.lines().filter_map(bound).collect();
    assert!(bounds.len() > 20, "the bounds are read");
    let row = |(name, value): &(&str, &str)| format!("| `{name}` | `{value}` |");
    let mut findings: Vec<String> = bounds
        .iter()
        .map(row)
        .filter(|row| !spec.contains(row))
        .map(|row| format!("missing: {row}"))
        .collect();
    let stale = spec
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let stale = stale.filter(|name| name.contains('_') && name.chars().all(|c| !c.is_lowercase()));
    let stale = stale.filter(|name| !bounds.iter().any(|(known, _)| known == name));
    findings.extend(stale.map(|name| format!("no such bound: {name}")));
    report(
        "Correct the table at the end of specs/wire.md; the value is copied as it is written.",
        findings,
    );
}

fn bound(line: &str) -> Option<(&str, &str)> {
    let (name, rest) = line.strip_prefix("pub const ")?.split_once(':')?;
    let (_, value) = rest.split_once(" = ")?;
    Some((name, value.strip_suffix(';')?))
}
