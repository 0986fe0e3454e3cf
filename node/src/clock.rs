//! The one place that reads the date.

use std::time::{SystemTime, UNIX_EPOCH};

use hearth_protocol::unit::Timestamp;

/// Returns the present date; the origin on a clock set before 1970.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
