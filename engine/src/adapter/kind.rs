//! Which kind of adapter a file is, by the endings of its keys.

use std::collections::BTreeSet;

use super::key::{Role, is_telling, split};
use crate::tensor_file::TensorHeader;

/// How an adapter changes weights; the most particular kind in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AdapterKind {
    /// Low-rank products.
    Lora,
    /// Low-rank products with a Tucker core.
    LoCon,
    /// Products of two low-rank products.
    LoHa,
    /// Kronecker products.
    LoKr,
    /// Any of these with magnitudes.
    Dora,
    /// Factors of outputs or inputs.
    Ia3,
    /// Rotations.
    Oft,
    /// Whole differences.
    Full,
    /// A kind that is not applied: `GLoRA`, butterfly OFT.
    Unsupported(&'static str),
}

impl AdapterKind {
    /// Returns the name people know.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Lora => "LoRA",
            Self::LoCon => "LoCon",
            Self::LoHa => "LoHa",
            Self::LoKr => "LoKr",
            Self::Dora => "DoRA",
            Self::Ia3 => "IA3",
            Self::Oft => "OFT",
            Self::Full => "full difference",
            Self::Unsupported(name) => name,
        }
    }
}

/// Returns the kind of adapter a file is, or nothing if it is none.
pub(crate) fn recognise(header: &TensorHeader) -> Option<AdapterKind> {
    // Kinds whose endings are not read at all.
    const UNSUPPORTED: [(&str, &str); 4] = [
        (".a1.weight", "GLoRA"),
        (".oft_diag", "BOFT"),
        (".oft_R", "PEFT's OFT"),
        (".boft_R", "BOFT"),
    ];
    let roles: BTreeSet<Role> = header
        .tensors
        .keys()
        .filter_map(|key| split(key).map(|(_, role)| role))
        .filter(|role| is_telling(*role))
        .collect();
    let has = |role: Role| roles.contains(&role);
    let butterfly = header
        .tensors
        .iter()
        .any(|(key, entry)| key.ends_with(".oft_blocks") && entry.shape.len() == 4);
    Some(if has(Role::DoraScale) || has(Role::Magnitude) {
        AdapterKind::Dora
    } else if has(Role::LokrW1) || has(Role::LokrW1A) {
        AdapterKind::LoKr
    } else if has(Role::HadaW1A) {
        AdapterKind::LoHa
    } else if has(Role::Mid) {
        AdapterKind::LoCon
    } else if has(Role::Up) || has(Role::Down) {
        AdapterKind::Lora
    } else if has(Role::Ia3) || has(Role::OnInput) {
        AdapterKind::Ia3
    } else if butterfly {
        AdapterKind::Unsupported("BOFT")
    } else if has(Role::OftBlocks) {
        AdapterKind::Oft
    } else if has(Role::Diff) || has(Role::NormWeight) {
        AdapterKind::Full
    } else {
        let ends = |ending: &str| header.tensors.keys().any(|key| key.ends_with(ending));
        let (_, name) = UNSUPPORTED.into_iter().find(|(ending, _)| ends(ending))?;
        AdapterKind::Unsupported(name)
    })
}
