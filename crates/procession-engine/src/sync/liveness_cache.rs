//! Whether a holder lives, for those who ask often: a caller that only tries.
//!
//! To ask the system takes tens of microseconds, to fail to take a lock a few
//! nanoseconds; so the system is asked about one object once in a few
//! milliseconds. What reclaim has found out is known at once.

use std::cell::Cell;
use std::time::{Duration, Instant};

use procession_shm::{Object, Stamp};

/// How long an answer is believed; the first slice of a parked waiter is no
/// longer either.
const BELIEVED: Duration = Duration::from_millis(4);

thread_local! {
    /// Which object this thread asked about last, and when.
    static LAST: Cell<Option<(u64, Instant)>> = const { Cell::new(None) };
}

/// Tells whether `holder` may be taken to live; if not, the caller asks.
pub(crate) fn seen_alive(object: &Object, holder: Stamp) -> bool {
    let standing = object.family().member(holder).state();
    !standing.is_past(holder) && asked_lately(object)
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
