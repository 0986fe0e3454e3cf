//! The crate table of `ARCHITECTURE.md`, held against manifests and sources.

use hearth_tests::manifest::Manifest;
use hearth_tests::source::Source;

use super::report;

/// Each crate and the crates of ours it may use. Siblings do not see each other.
const TABLE: [(&str, &[&str]); 9] = [
    ("protocol", &[]),
    ("ledger", &["hearth-protocol"]),
    ("dispatch", &["hearth-ledger", "hearth-protocol"]),
    ("engine", &["hearth-kernels", "hearth-protocol"]),
    ("engine/kernels", &[]),
    ("gateway", &["hearth-protocol"]),
    ("tui", &["hearth-protocol"]),
    (
        "node",
        &[
            "hearth-dispatch",
            "hearth-engine",
            "hearth-gateway",
            "hearth-ledger",
            "hearth-protocol",
            "hearth-tui",
        ],
    ),
    ("tests", &[]),
];

/// Libraries that are known in one place, so that each can be replaced there.
const WALLS: [(&str, &[&str]); 15] = [
    ("libp2p", &["node/src/network"]),
    ("iroh", &["node/src/blobs"]),
    ("noq_proto", &["node/src/blobs/endpoint.rs"]),
    ("sled", &["ledger/src/journal", "node/src/store.rs"]),
    ("serde_cbor", &["protocol/src/codec.rs"]),
    ("candle", &["engine/"]),
    ("gemm", &["engine/kernels"]),
    ("tokenizers", &["engine/src/tokenizer.rs"]),
    ("image_webp", &["engine/src/picture"]),
    ("jpeg_encoder", &["engine/src/picture"]),
    ("zune", &["engine/src/picture"]),
    ("axum", &["gateway/"]),
    ("ratatui", &["tui/"]),
    (
        "clap",
        &["node/src/cli", "node/src/main.rs", "node/src/config"],
    ),
    ("anyhow", &["node/src/cli", "node/src/main.rs"]),
];

/// What a pure crate never names: clocks, chance, the world, and maps without an order.
const IMPURE: [&str; 14] = [
    "Instant",
    "SystemTime",
    "HashMap",
    "HashSet",
    "getrandom",
    "rand",
    "tokio",
    "fs",
    "net",
    "env",
    "thread",
    "process",
    "io",
    "os",
];

#[test]
fn crates_depend_only_on_what_the_table_allows() {
    let mut findings = Vec::new();
    for (room, allowed) in TABLE {
        let manifest = Manifest::read(room);
        let ours = manifest
            .dependencies
            .iter()
            .filter(|name| name.starts_with("hearth-"));
        for name in ours.filter(|name| !allowed.contains(&name.as_str())) {
            findings.push(format!("{room}/Cargo.toml depends on {name}"));
        }
        for name in manifest
            .dev_dependencies
            .iter()
            .filter(|name| *name == "hearth-tests")
        {
            findings.push(format!("{room}/Cargo.toml depends on {name}"));
        }
    }
    report(
        "Move the code to the crate that may see both, or hand it in as an argument or a trait; \
         the table is in ARCHITECTURE.md.",
        findings,
    );
}

#[test]
fn every_library_is_named_in_its_own_place_only() {
    let mut findings = Vec::new();
    for source in Source::all() {
        if matches!(source.room(), "tests" | "fuzz") {
            continue;
        }
        for (library, places) in WALLS {
            let inside = places.iter().any(|place| source.name.starts_with(place));
            let is_it = |word: &str| {
                word == library
                    || word
                        .strip_prefix(library)
                        .is_some_and(|rest| rest.starts_with('_'))
            };
            if !inside && source.uses(is_it) {
                findings.push(format!(
                    "{} names {library}; only {places:?} may",
                    source.name
                ));
            }
        }
    }
    report(
        "Ask the room that owns the library for what you need, in a type of ours: a library known \
         in one place can be replaced there.",
        findings,
    );
}

#[test]
fn pure_crates_know_no_clock_no_chance_and_no_world() {
    let mut findings = Vec::new();
    for source in Source::all() {
        let pure = matches!(source.room(), "protocol" | "ledger" | "dispatch")
            && !source.name.starts_with("ledger/src/journal");
        // A bench looks at the clock and at files; it is not shipped.
        if !pure || source.is_test() || source.name.contains("/benches/") {
            continue;
        }
        for path in std_paths(source.shipped()) {
            if let Some(word) = IMPURE.into_iter().find(|word| path == *word) {
                findings.push(format!("{} names {word}", source.name));
            }
        }
    }
    report(
        "Time is an argument (`Timestamp`), randomness a seed, maps are ordered (`BTreeMap`), and \
         files and sockets belong to the node.",
        findings,
    );
}

/// Returns the words of every path that starts at `std`, and of everything imported.
fn std_paths(code: &str) -> Vec<&str> {
    let is_path = |statement: &&str| statement.contains("std::") || statement.contains("use ");
    let always = [
        "Instant",
        "SystemTime",
        "HashMap",
        "HashSet",
        "getrandom",
        "tokio",
    ];
    let everywhere = hearth_tests::source::words(code).filter(move |word| always.contains(word));
    let paths = code.split(';').filter(is_path).flat_map(|statement| {
        let from = statement.find("std::").unwrap_or(statement.len());
        let tail = &statement[from..];
        let group = tail.strip_prefix("std::{");
        let end = match group {
            Some(_) => tail.len(),
            None => tail
                .find(|c: char| !(c.is_alphanumeric() || "_:".contains(c)))
                .unwrap_or(tail.len()),
        };
        hearth_tests::source::words(&tail[..end])
    });
    everywhere.chain(paths).collect()
}
