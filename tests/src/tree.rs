//! The files of the repository, as they lie in the working tree.
//!
//! Build output and hidden folders are left out; nothing asks git, so an unpacked archive is as
//! good as a clone.

use std::fs;
use std::path::{Path, PathBuf};

/// Folders that hold nothing written by hand.
const SKIPPED: [&str; 4] = ["target", "corpus", "artifacts", "coverage"];

/// Returns the folder of the workspace.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("this package lies in a folder of the workspace")
}

/// Returns a path below the root with forward slashes, for messages and comparisons.
pub fn name(path: &Path) -> String {
    let below = path.strip_prefix(root()).unwrap_or(path);
    let parts: Vec<_> = below.iter().map(|part| part.to_string_lossy()).collect();
    parts.join("/")
}

/// Returns all files whose extension is one of those named, sorted.
///
/// # Panics
/// When the working tree cannot be read.
pub fn files(extensions: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    walk(root(), &mut |path| {
        let extension = path.extension().and_then(|extension| extension.to_str());
        if extension.is_some_and(|extension| extensions.contains(&extension)) {
            found.push(path.to_owned());
        }
    });
    found.sort();
    found
}

/// Returns the folders directly below the root, sorted by name.
///
/// # Panics
/// When the working tree cannot be read.
pub fn rooms() -> Vec<String> {
    let mut rooms: Vec<String> = entries(root())
        .into_iter()
        .filter(|path| path.is_dir() && !is_skipped(path))
        .map(|path| name(&path))
        .collect();
    rooms.sort();
    rooms
}

fn walk(dir: &Path, visit: &mut dyn FnMut(&Path)) {
    for path in entries(dir) {
        if is_skipped(&path) {
            continue;
        }
        if path.is_dir() {
            walk(&path, visit);
        } else {
            visit(&path);
        }
    }
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let listing = fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    listing.flatten().map(|entry| entry.path()).collect()
}

fn is_skipped(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with('.') || SKIPPED.contains(&name.as_ref())
}
