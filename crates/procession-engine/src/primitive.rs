//! Atomics and parking: the only place that swaps the real ones for loom's.
//!
//! Protocols that loom checks (`arena/raw_lock.rs`, `pool/ring.rs`) use these
//! and nothing else of the machine.

pub use imp::{AtomicU32, AtomicU64, Ordering, fence, futex_wait, futex_wake, relax};

#[cfg(not(loom))]
mod imp {
    pub use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

    use crate::os::futex::{self, Scope, Woken};
    use crate::os::time::Deadline;

    /// Parks while `word` holds `expected`; any process may wake it.
    pub fn futex_wait(word: &AtomicU32, expected: u32, deadline: Deadline) -> Woken {
        futex::wait(word, expected, deadline, Scope::Shared)
    }

    /// Wakes up to `count` threads, of any process, that are parked on `word`.
    pub fn futex_wake(word: &AtomicU32, count: u32) {
        futex::wake(word, count, Scope::Shared);
    }

    /// Tells the processor that this is a spin loop.
    pub fn relax() {
        std::hint::spin_loop();
    }
}

#[cfg(loom)]
mod imp {
    pub use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

    use loom::sync::{Condvar, Mutex};

    use crate::os::futex::Woken;
    use crate::os::time::Deadline;

    loom::lazy_static! {
        // One parking place for all words: a wake-up wakes everybody, and
        // each looks at its word again, as a futex allows.
        static ref PLACE: (Mutex<()>, Condvar) = (Mutex::new(()), Condvar::new());
    }

    /// Parks as the real one does; time never passes in a model, so a lost
    /// wake-up shows as a deadlock.
    pub fn futex_wait(word: &AtomicU32, expected: u32, deadline: Deadline) -> Woken {
        if deadline.has_passed() {
            return Woken::TimedOut;
        }
        let place = PLACE.0.lock().expect("no model panics while it parks");
        if word.load(Ordering::SeqCst) == expected {
            drop(PLACE.1.wait(place).expect("no model panics while it parks"));
        }
        Woken::Changed
    }

    /// Wakes everybody who is parked.
    pub fn futex_wake(_word: &AtomicU32, _count: u32) {
        let place = PLACE.0.lock().expect("no model panics while it parks");
        PLACE.1.notify_all();
        drop(place);
    }

    /// Lets the model run another thread.
    pub fn relax() {
        loom::thread::yield_now();
    }
}
