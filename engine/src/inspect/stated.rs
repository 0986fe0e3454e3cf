//! What a file says of itself: bounded, without control characters, and believed for display only.

use std::collections::BTreeMap;
use std::path::Path;

use hearth_protocol::card::CardKind;
use hearth_protocol::job::Family;
use hearth_protocol::limits;
use serde_json::Value;

use super::{ModelFacts, ModelFile};
use crate::tensor_file::TensorHeader;

/// Most trigger words taken from a file.
const TRIGGERS_MAX: usize = 8;

/// Returns the facts of a model in one file, with what its metadata says.
pub(super) fn facts(
    path: &Path,
    header: &TensorHeader,
    kind: CardKind,
    family: Family,
) -> ModelFacts {
    let stem = name(path.file_stem());
    let says = |key: &str, otherwise: &str, max| {
        let stated = header.metadata.get(key).map(|text| text.trim());
        bounded(
            stated.filter(|text| !text.is_empty()).unwrap_or(otherwise),
            max,
        )
    };
    ModelFacts {
        kind,
        family,
        title: says("modelspec.title", &stem, limits::NAME_LEN_MAX),
        triggers: triggers(header),
        description: says("modelspec.description", "", limits::TEXT_LEN_MAX),
        licence: says("modelspec.license", "", limits::NAME_LEN_MAX),
        dtype: dtype(header),
        files: vec![ModelFile {
            name: name(path.file_name()),
            path: path.to_path_buf(),
        }],
        network: None,
        variant: None,
        settings: None,
    }
}

fn name(part: Option<&std::ffi::OsStr>) -> String {
    part.unwrap_or_default().to_string_lossy().into_owned()
}

/// Returns the stated trigger phrase, or else the most frequent tags of the training set.
fn triggers(header: &TensorHeader) -> Vec<String> {
    if let Some(phrase) = header.metadata.get("modelspec.trigger_phrase") {
        let words = phrase
            .split(',')
            .map(str::trim)
            .filter(|word| !word.is_empty());
        return words
            .take(TRIGGERS_MAX)
            .map(|w| bounded(w, limits::NAME_LEN_MAX))
            .collect();
    }
    let Some(Ok(Value::Object(folders))) = header
        .metadata
        .get("ss_tag_frequency")
        .map(|json| serde_json::from_str(json))
    else {
        return Vec::new();
    };
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for tags in folders.values().filter_map(Value::as_object) {
        for (tag, count) in tags {
            let total = counts
                .entry(bounded(tag.trim(), limits::NAME_LEN_MAX))
                .or_default();
            *total = total.saturating_add(count.as_u64().unwrap_or(0));
        }
    }
    let mut by_count: Vec<_> = counts.into_iter().collect();
    by_count.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    by_count
        .into_iter()
        .map(|(tag, _)| tag)
        .take(TRIGGERS_MAX)
        .collect()
}

/// Returns the element type of most tensors.
pub(super) fn dtype(header: &TensorHeader) -> &'static str {
    let mut counts = BTreeMap::new();
    for entry in header.tensors.values() {
        *counts.entry(entry.dtype).or_insert(0_usize) += 1;
    }
    counts
        .into_iter()
        .max_by_key(|(_, count)| *count)
        .map_or("none", |(dtype, _)| dtype.label())
}

/// Returns at most `max` bytes of a text, cut between characters, without control characters.
pub(super) fn bounded(text: &str, max: usize) -> String {
    let mut out = String::new();
    for c in text.chars().filter(|c| !c.is_control()) {
        if out.len() + c.len_utf8() > max {
            break;
        }
        out.push(c);
    }
    out
}
