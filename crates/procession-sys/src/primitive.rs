//! Atomics and parking: the only place that swaps the real ones for loom's, or for
//! those at which a process may be killed.
//!
//! Protocols that loom checks (those with `loom_tests`) use these and nothing else
//! of the machine.

#[cfg(not(any(loom, feature = "steps")))]
pub use std::sync::atomic::{AtomicU32, AtomicU64};

#[cfg(any(loom, feature = "steps"))]
mod stepped;
#[cfg(any(loom, feature = "steps"))]
pub use stepped::{AtomicU32, AtomicU64};

#[cfg(not(loom))]
pub use real::{Half, Ordering, fence, futex_wait, futex_wake, relax};

#[cfg(loom)]
pub mod model;
#[cfg(loom)]
pub use loom::sync::atomic::{Ordering, fence};
#[cfg(loom)]
pub use model::{Half, futex_wait, futex_wake, relax};

#[cfg(not(loom))]
mod real {
    pub use std::sync::atomic::{Ordering, fence};

    use crate::primitive::AtomicU32;
    use crate::steps::step;
    use crate::wait::futex::{self, Scope, Woken};
    use crate::wait::time::Deadline;

    /// The half of an [`AtomicU64`](super::AtomicU64) on which processes park.
    pub type Half = AtomicU32;

    /// Parks while `word` holds `expected`; any process may wake it.
    pub fn futex_wait(word: &AtomicU32, expected: u32, deadline: Deadline) -> Woken {
        step();
        futex::wait(word, expected, deadline, Scope::Shared)
    }

    /// Wakes up to `count` threads, of any process, that are parked on `word`.
    pub fn futex_wake(word: &AtomicU32, count: u32) {
        step();
        futex::wake(word, count, Scope::Shared);
    }

    /// Tells the processor that this is a spin loop.
    #[inline]
    pub fn relax() {
        std::hint::spin_loop();
    }
}
