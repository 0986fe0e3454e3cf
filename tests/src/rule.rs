//! The numbered rules of the specs, and the tests that name them.
//!
//! A rule begins a line of a spec in bold: `**J4. Refusals.** ...` or `- **L-fork** ...`. A test
//! names it in its function's name (`j4_a_blocked_requester_is_refused`) or in a comment
//! (`// L-fork`). A letter belongs to the spec that uses it first.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crate::source::Source;
use crate::tree;

/// Returns every rule with the spec it stands in.
///
/// # Panics
/// When the specs cannot be read, or two rules share a name.
pub fn stated() -> BTreeMap<String, String> {
    let mut rules = BTreeMap::new();
    for path in tree::files(&["md"]) {
        let name = tree::name(&path);
        let is_spec = name.starts_with("specs/") && name.matches('/').count() == 1;
        if !is_spec {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        for rule in text.lines().filter_map(stated_in) {
            let twice = rules.insert(rule.clone(), name.clone());
            assert!(
                twice.is_none(),
                "{name}: the rule {rule} is stated twice; number it anew"
            );
        }
    }
    rules
}

fn stated_in(line: &str) -> Option<String> {
    let bold = line
        .trim_start()
        .trim_start_matches("- ")
        .strip_prefix("**")?;
    let end = bold.find(['.', '*', ' ', ':'])?;
    Some(bold[..end].to_owned()).filter(|id| is_rule(id))
}

/// Returns whether a text has the shape of a rule's name: `J4` or `L-fork`.
fn is_rule(text: &str) -> bool {
    let mut letters = text.chars();
    let letter = letters
        .next()
        .is_some_and(|letter| letter.is_ascii_uppercase());
    let rest = letters.as_str();
    let number = !rest.is_empty() && rest.len() <= 2 && rest.bytes().all(|b| b.is_ascii_digit());
    let word = rest
        .strip_prefix('-')
        .is_some_and(|word| word.len() > 2 && word.bytes().all(|byte| byte.is_ascii_lowercase()));
    letter && (number || word)
}

/// Returns the rules that tests of the product name, each with one file that does.
///
/// Only names of a kind that `stated` has count: `F16` and `C-like` are no rules.
pub fn proved(stated: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let kinds: BTreeSet<_> = stated.keys().map(|id| kind(id)).collect();
    let mut rules = BTreeMap::new();
    // The tests of the house quote rules as examples.
    let house = |source: &&Source| {
        source.name.starts_with("tests/tidy/") || source.name.starts_with("tests/src/")
    };
    for source in Source::all().iter().filter(|source| !house(source)) {
        for rule in source.tests().lines().flat_map(named_in) {
            if kinds.contains(&kind(&rule)) {
                rules.entry(rule).or_insert_with(|| source.name.clone());
            }
        }
    }
    rules
}

/// Returns a rule's letter, and whether a word follows it.
fn kind(id: &str) -> (Option<char>, bool) {
    (id.chars().next(), id.contains('-'))
}

fn named_in(line: &str) -> Vec<String> {
    let line = line.trim_start();
    let function = line.trim_start_matches("async ").strip_prefix("fn ");
    let by_name = function
        .and_then(|name| name.split('_').next())
        .map(str::to_uppercase);
    let comment = line.find("//").map_or("", |at| &line[at..]);
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '-';
    let by_comment = comment.split(|letter| !is_part(letter)).map(str::to_owned);
    by_comment.chain(by_name).filter(|id| is_rule(id)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_found_where_specs_state_them() {
        assert_eq!(
            stated_in("**J4. Refusals.** Checked in this order"),
            Some("J4".into())
        );
        assert_eq!(stated_in("- **L-fork** Two headers"), Some("L-fork".into()));
        assert_eq!(stated_in("- **L12** An order"), Some("L12".into()));
        assert_eq!(stated_in("**Note.** Nothing"), None);
        assert_eq!(stated_in("as J4 says"), None);
    }

    #[test]
    fn rules_are_found_where_tests_name_them() {
        assert_eq!(named_in("    async fn b3_only_members() {"), ["B3"]);
        assert_eq!(
            named_in("    // W2, W3 and L-fork: all of them."),
            ["W2", "W3", "L-fork"]
        );
        assert!(named_in("let q8 = F16; fn").is_empty());
    }
}
