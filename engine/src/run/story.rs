//! What a picture says of itself: A1111's text and the exact spec.

use hearth_protocol::engine::Assets;
use hearth_protocol::job::JobSpec;
use serde_json::json;

use crate::picture::{Story, settings_of};

/// Version of the `hearth` text.
const VERSION: u32 = 2;

/// Returns the texts of a job's picture.
pub(super) fn story(spec: &JobSpec, assets: &Assets) -> Story {
    Story {
        parameters: settings_of(spec, assets).infotext(),
        hearth: json!({"version": VERSION, "spec": spec}).to_string(),
    }
}
