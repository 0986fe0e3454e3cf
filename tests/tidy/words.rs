//! Words that may not stay in the repository.

use std::fs;

use hearth_tests::source::Source;
use hearth_tests::tree;

use super::report;

/// Marks of unfinished work, in code and in comments.
const UNFINISHED: [&str; 7] = [
    "todo!",
    "unimplemented!",
    "dbg!",
    "TODO",
    "FIXME",
    "XXX",
    "#[ignore",
];

/// Words of code that the glossary replaces.
const REPLACED: [(&str, &str); 5] = [
    ("Scheduler", "`NoiseSchedule` or `Sampler`"),
    ("Wallet", "`Account`"),
    ("Invoice", "`Receipt`"),
    ("Reputation", "`Standing`"),
    (
        "unbounded_channel",
        "a bounded channel: a peer can fill the other kind",
    ),
];

#[test]
fn nothing_is_left_unfinished() {
    let mut findings = Vec::new();
    for source in Source::all() {
        if source.name == "tests/tidy/words.rs" {
            continue;
        }
        for (number, line) in source.text.lines().enumerate() {
            let marks = UNFINISHED.iter().filter(|mark| line.contains(**mark));
            findings.extend(marks.map(|mark| format!("{}:{}: {mark}", source.name, number + 1)));
        }
    }
    report(
        "Finish it, or open an issue and delete the mark. A slow test is made fast or moves to \
         `tests/it`; none is skipped.",
        findings,
    );
}

#[test]
fn words_mean_one_thing() {
    let mut findings = Vec::new();
    for source in Source::all()
        .iter()
        .filter(|source| !source.name.starts_with("tests/tidy/"))
    {
        for (word, instead) in REPLACED {
            if source.uses(|used| used == word) {
                findings.push(format!("{}: `{word}`; write {instead}", source.name));
            }
        }
    }
    report("The words are in specs/glossary.md.", findings);
}

#[test]
fn no_file_remembers_the_machine_it_was_written_on() {
    let root = format!("{}/", tree::root().display());
    // A checkout in a folder such as `/src` says nothing about a machine.
    if root.matches('/').count() < 3 {
        return;
    }
    let texts = tree::files(&["rs", "md", "toml", "txt", "py", "json", "sh"]);
    let found = texts.iter().filter(|path| {
        fs::read(path).is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(&root))
    });
    report(
        "Write paths relative to the repository, or ask `CARGO_MANIFEST_DIR`.",
        found.map(|path| tree::name(path)).collect(),
    );
}
