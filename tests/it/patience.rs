//! Waiting, always for something and never for ever.
//!
//! Also the turnstile that keeps heavy stories from running at the same time: on two cores they
//! would only slow each other down until a bound is passed.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often is looked.
const LOOK: Duration = Duration::from_millis(15);
/// Long enough for anything that needs no computing.
pub(crate) const SOON: Duration = Duration::from_secs(30);
/// Long enough for a picture, or for a peer to be found again.
pub(crate) const LATER: Duration = Duration::from_secs(120);

static HEAVY: Mutex<()> = Mutex::new(());

/// Holds the turnstile until dropped.
pub(crate) fn heavy() -> MutexGuard<'static, ()> {
    HEAVY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Looks until there is something, and fails saying what was expected.
pub(crate) fn eventually<T>(what: &str, most: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < most, "not within {most:?}: {what}");
        std::thread::sleep(LOOK);
    }
}
