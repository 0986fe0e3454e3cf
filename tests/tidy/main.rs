//! Holds the house to its own plan: who depends on whom, how long files are, which words and
//! names may appear where, and that every rule of the specs has its test.
//!
//! Each failure says what to do. Nothing here runs the product.

mod crates;
mod files;
mod limits;
mod map;
mod rules;
mod words;

/// Fails with all findings at once, so that one run shows the whole list.
fn report(what_to_do: &str, findings: Vec<String>) {
    assert!(
        findings.is_empty(),
        "{} found.\n  {}\n{what_to_do}",
        findings.len(),
        findings.join("\n  ")
    );
}
