//! Textual inversions, known by the few tensors they are.

use hearth_protocol::job::Family;

use crate::tensor_file::TensorHeader;

/// Returns the family whose text encoder takes a file's vectors, if it is an embedding: `clip_l` with
/// `clip_g`, `emb_params`, or one tensor named after its token.
pub(super) fn family(header: &TensorHeader) -> Option<Family> {
    let width = |name: &str| match header.tensors.get(name)?.shape.as_slice() {
        [width] | [_, width] => Some(*width),
        _ => None,
    };
    if let (Some(768), Some(1280)) = (width("clip_l"), width("clip_g")) {
        return Some(Family::Sdxl);
    }
    let alone = (header.tensors.len() == 1).then(|| header.tensors.keys().next());
    let width = width("emb_params").or_else(|| width(alone??));
    match width? {
        768 => Some(Family::Sd15),
        1024 => Some(Family::Sd2),
        _ => None,
    }
}
