//! Whether a holder lives, for a caller that asks often because it only tries.
//!
//! Asking the system takes tens of microseconds, while a failed attempt to take a lock
//! takes a few nanoseconds; so this asks the system about one object only once in a few
//! milliseconds. A death that reclaim has found is known at once.

use std::cell::Cell;
use std::time::{Duration, Instant};

use procession_shm::{Object, Stamp};

/// How long an answer is believed: as long as the first slice of a parked waiter.
const BELIEVED: Duration = Duration::from_millis(4);

thread_local! {
    /// Which object this thread asked about last, and when.
    static LAST: Cell<Option<(u64, Instant)>> = const { Cell::new(None) };
}

/// Tells whether `holder` may be taken to live; if not, the caller asks.
pub(crate) fn seen_alive(object: &Object, holder: Stamp) -> bool {
    let state = object.family().member(holder).state();
    !state.is_past(holder) && asked_lately(object)
}

/// Tells whether the system was asked about an object lately; if not, notes
/// that it is asked now.
pub(crate) fn asked_lately(object: &Object) -> bool {
    let (serial, now) = (object.handle().serial, Instant::now());
    let lately = matches!(LAST.get(), Some((last, at)) if last == serial && now - at < BELIEVED);
    if !lately {
        LAST.set(Some((serial, now)));
    }
    lately
}
