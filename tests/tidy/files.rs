//! Sizes, names and first lines of files.

use hearth_tests::source::Source;
use hearth_tests::tree;

use super::report;

/// Longest file, its tests not counted.
const LINES_MAX: usize = 500;

/// File names that say nothing about their content.
const VAGUE: [&str; 8] = [
    "utils.rs",
    "util.rs",
    "common.rs",
    "helpers.rs",
    "types.rs",
    "manager.rs",
    "misc.rs",
    "mod.rs",
];

#[test]
fn files_stay_short() {
    let sources = Source::all();
    let long = sources
        .iter()
        .filter(|source| !source.is_test())
        .filter_map(|source| {
            let lines = source.shipped().lines().count();
            (lines > LINES_MAX).then(|| format!("{}: {lines} lines", source.name))
        });
    report(
        &format!(
            "Split by noun, at most {LINES_MAX} lines each: `foo.rs` keeps the door, `foo/` gets the rooms."
        ),
        long.collect(),
    );
}

#[test]
fn files_are_named_after_what_they_define() {
    let files = tree::files(&["rs"]);
    let vague = files.iter().map(|path| tree::name(path)).filter(|name| {
        VAGUE
            .iter()
            .any(|vague| name.rsplit('/').next() == Some(vague))
    });
    report(
        "Name the file by the noun it defines; a module with children is `foo.rs` beside `foo/`.",
        vague.collect(),
    );
}

#[test]
fn every_module_says_what_it_is_for() {
    let sources = Source::all();
    let silent = sources
        .iter()
        // Test modules speak by the names of their tests.
        .filter(|source| !source.is_test() || source.name.ends_with("/main.rs"))
        .filter(|source| !source.text.starts_with("//!"))
        .map(|source| source.name.clone());
    report(
        "Begin the file with `//!`: what it is for, what it deliberately does not do.",
        silent.collect(),
    );
}
