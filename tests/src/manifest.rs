//! What a crate's manifest says it depends on.

use std::collections::BTreeSet;
use std::fs;

use crate::tree;

/// The dependencies of one crate.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// The crate's folder.
    pub room: String,
    /// Packages that go into the product.
    pub dependencies: BTreeSet<String>,
    /// Packages of its tests alone.
    pub dev_dependencies: BTreeSet<String>,
}

impl Manifest {
    /// Reads the manifest in a folder.
    ///
    /// # Panics
    /// When it is not there or is not TOML.
    pub fn read(room: &str) -> Self {
        let path = tree::root().join(room).join("Cargo.toml");
        let text =
            fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let table: toml::Table = text
            .parse()
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut dependencies = keys(&table, "dependencies");
        dependencies.extend(keys(&table, "build-dependencies"));
        if let Some(targets) = table.get("target").and_then(toml::Value::as_table) {
            for target in targets.values().filter_map(toml::Value::as_table) {
                dependencies.extend(keys(target, "dependencies"));
            }
        }
        Self {
            room: room.to_owned(),
            dependencies,
            dev_dependencies: keys(&table, "dev-dependencies"),
        }
    }
}

fn keys(table: &toml::Table, section: &str) -> BTreeSet<String> {
    let section = table.get(section).and_then(toml::Value::as_table);
    section
        .map(|section| section.keys().cloned().collect())
        .unwrap_or_default()
}
