//! The map in `ARCHITECTURE.md` shows every room.

use std::collections::BTreeSet;
use std::fs;

use hearth_tests::{source::Source, tree};

use super::report;

fn map() -> String {
    let path = tree::root().join("ARCHITECTURE.md");
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn every_folder_is_on_the_map() {
    let map = map();
    let sources = Source::all();
    let mut folders: BTreeSet<String> = tree::rooms().into_iter().collect();
    for source in sources.iter().filter(|source| !source.is_test()) {
        // `node/src/cli/demo/stage.rs` lies in the room `node/src/cli`.
        let parts: Vec<_> = source.name.split('/').collect();
        if let [room, "src", folder, _, ..] = parts.as_slice() {
            folders.insert(format!("{room}/src/{folder}"));
        }
    }
    let missing = folders.into_iter().filter(|folder| {
        !map.contains(&format!("`{folder}/`")) && !map.contains(&format!("`{folder}`"))
    });
    report(
        "Give the folder a line in ARCHITECTURE.md: its path in backticks and what lives there.",
        missing.collect(),
    );
}

#[test]
fn the_map_fits_a_sitting() {
    let lines = map().lines().count();
    assert!(
        lines <= 200,
        "ARCHITECTURE.md has {lines} lines; keep it within 200: details belong to specs/ and module docs"
    );
}
