//! Specs and tests name each other's rules.

use hearth_tests::rule;

use super::report;

#[test]
fn every_rule_of_the_specs_is_carried_by_a_test() {
    let stated = rule::stated();
    assert!(!stated.is_empty(), "the specs state rules");
    let proved = rule::proved(&stated);
    let bare = stated.iter().filter(|(id, _)| !proved.contains_key(*id));
    report(
        "Write a test that names the rule in its function's name or in a comment, or take the rule \
         out of the spec.",
        bare.map(|(id, spec)| format!("{spec}: {id}")).collect(),
    );
}

#[test]
fn every_rule_that_a_test_names_is_in_the_specs() {
    let stated = rule::stated();
    let proved = rule::proved(&stated);
    let unknown = proved.iter().filter(|(id, _)| !stated.contains_key(*id));
    report(
        "State the rule in its spec, or correct the name in the test.",
        unknown.map(|(id, test)| format!("{test}: {id}")).collect(),
    );
}
