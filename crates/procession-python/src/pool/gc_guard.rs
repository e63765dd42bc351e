//! Tells an object that was made from one that is still being made.

use std::sync::atomic::{AtomicBool, Ordering};

/// Guards what the garbage collector looks at.
///
/// CPython 3.11 gives an object that has a `__dict__` that dict when it has already
/// told the collector of the object, and before PyO3 has written a word of it.
/// Making the dict may start a collection. By then the object is all zeros.
pub struct GcGuard(AtomicBool);

impl Default for GcGuard {
    fn default() -> Self {
        Self(AtomicBool::new(true))
    }
}

impl GcGuard {
    /// Tells whether the object that this is a part of was written.
    pub fn is_made(&self) -> bool {
        // Relaxed: the thread that wrote it is this one, or has handed the object out since.
        self.0.load(Ordering::Relaxed)
    }
}
