//! A Rust source file: which part of it is code, which is comment, which is test.
//!
//! A scanner, not a parser: it knows strings, characters and comments, and that is enough to ask
//! which names a file uses.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use crate::tree;

/// One file, read.
#[derive(Debug, Clone)]
pub struct Source {
    /// Path below the root, with forward slashes.
    pub name: String,
    /// Everything in it.
    pub text: String,
    /// The text with comments and the content of strings blanked out.
    pub code: String,
}

impl Source {
    /// Reads one file.
    ///
    /// # Panics
    /// When it cannot be read or is not UTF-8.
    pub fn read(path: &Path) -> Self {
        let text =
            fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let code = blank(&text);
        Self {
            name: tree::name(path),
            text,
            code,
        }
    }

    /// Returns every Rust file of the repository, read once.
    pub fn all() -> &'static [Self] {
        static ALL: OnceLock<Vec<Source>> = OnceLock::new();
        ALL.get_or_init(|| {
            tree::files(&["rs"])
                .iter()
                .map(|path| Self::read(path))
                .collect()
        })
    }

    /// Returns the crate's folder.
    pub fn room(&self) -> &str {
        self.name.split('/').next().unwrap_or_default()
    }

    /// Returns whether the whole file is a test.
    pub fn is_test(&self) -> bool {
        let below = self.name.split('/').skip(1);
        self.room() == "tests"
            || below
                .into_iter()
                .any(|part| part == "tests" || part == "tests.rs")
    }

    /// Returns the code before the tests that end the file.
    pub fn shipped(&self) -> &str {
        let tests = "#[cfg(test)]\nmod tests {";
        &self.code[..self.code.find(tests).unwrap_or(self.code.len())]
    }

    /// Returns the text of the tests in this file: all of it, its tail, or nothing.
    pub fn tests(&self) -> &str {
        if self.is_test() {
            return &self.text;
        }
        self.text.get(self.shipped().len()..).unwrap_or_default()
    }

    /// Returns whether shipped code or tests use an identifier that `is_it`.
    pub fn uses(&self, is_it: impl Fn(&str) -> bool) -> bool {
        words(&self.code).any(is_it)
    }
}

/// Returns the identifiers of a text, in order.
pub fn words(text: &str) -> impl Iterator<Item = &str> {
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '_';
    text.split(move |letter| !is_part(letter))
        .filter(|word| !word.is_empty())
}

/// Blanks comments and the content of strings; every byte keeps its place.
fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = skipped_end(bytes, at);
        if end == at {
            at += 1;
            continue;
        }
        for byte in &mut code[at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end;
    }
    String::from_utf8(code).expect("blanking replaces whole strings and comments")
}

/// Returns where the comment, string or character that begins at `at` ends, or `at` for code.
fn skipped_end(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    let after_word = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
    if rest.starts_with(b"//") {
        return at
            + rest
                .iter()
                .position(|byte| *byte == b'\n')
                .unwrap_or(rest.len());
    }
    if rest.starts_with(b"/*") {
        return find(bytes, at + 2, b"*/");
    }
    if rest[0] == b'r' && !after_word {
        let hashes = rest[1..].iter().take_while(|byte| **byte == b'#').count();
        if rest.get(1 + hashes) == Some(&b'"') {
            let close = [b"\"".as_slice(), &b"#".repeat(hashes)].concat();
            return find(bytes, at + 2 + hashes, &close);
        }
    }
    if rest[0] == b'"' {
        return quoted_end(bytes, at + 1);
    }
    if rest[0] == b'\'' {
        return character_end(bytes, at);
    }
    at
}

fn find(bytes: &[u8], from: usize, what: &[u8]) -> usize {
    let tail = bytes.get(from..).unwrap_or_default();
    let place = tail.windows(what.len()).position(|window| window == what);
    place.map_or(bytes.len(), |place| from + place + what.len())
}

fn quoted_end(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// Tells a character from a lifetime.
fn character_end(bytes: &[u8], at: usize) -> usize {
    if bytes.get(at + 1) == Some(&b'\\') {
        return find(bytes, at + 3, b"'");
    }
    let letter = std::str::from_utf8(&bytes[at + 1..bytes.len().min(at + 5)]);
    let valid = letter.map_or_else(|error| error.valid_up_to(), str::len);
    let first = std::str::from_utf8(&bytes[at + 1..at + 1 + valid])
        .unwrap_or_default()
        .chars()
        .next();
    let close = at + 1 + first.map_or(0, char::len_utf8);
    if bytes.get(close) == Some(&b'\'') {
        close + 1
    } else {
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identifiers(text: &str) -> Vec<String> {
        words(&blank(text)).map(str::to_owned).collect()
    }

    #[test]
    fn comments_strings_and_characters_are_no_code() {
        assert_eq!(identifiers("a // b\nc /* d\n e */ f"), ["a", "c", "f"]);
        assert_eq!(identifiers(r#"a("b \" c") d"#), ["a", "d"]);
        assert_eq!(identifiers("a(r#\"b \" c\"#) d"), ["a", "d"]);
        assert_eq!(
            identifiers("a('\"') b('\\'') c('\u{e9}') d"),
            ["a", "b", "c", "d"]
        );
        assert_eq!(
            identifiers("fn a<'b>(c: &'b str)"),
            ["fn", "a", "b", "c", "b", "str"]
        );
    }
}
