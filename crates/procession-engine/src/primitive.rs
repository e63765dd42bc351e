//! Atomics and parking: the only place that swaps the real ones for loom's, or for
//! those at which a process may be killed.
//!
//! Protocols that loom checks (those with `loom_tests`) use these and nothing else
//! of the machine.

#[cfg(loom)]
pub use imp::end_slices;
pub use imp::{AtomicU32, AtomicU64, Half, Ordering, fence, futex_wait, futex_wake, relax};

#[cfg(all(not(loom), feature = "steps"))]
#[path = "primitive/stepped.rs"]
mod imp;

#[cfg(all(not(loom), not(feature = "steps")))]
mod imp {
    pub use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

    /// The half of an [`AtomicU64`] on which processes park.
    pub type Half = AtomicU32;

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

    use std::sync::atomic::AtomicBool;

    use loom::sync::{Condvar, Mutex};

    use crate::os::futex::Woken;
    use crate::os::time::Deadline;

    /// The word of which the low half is parked on.
    pub type Half = AtomicU64;

    /// What can be parked on.
    pub trait Futex {
        /// Returns the value, or its low half.
        fn value(&self) -> u32;
    }

    impl Futex for AtomicU32 {
        fn value(&self) -> u32 {
            self.load(Ordering::SeqCst)
        }
    }

    impl Futex for AtomicU64 {
        fn value(&self) -> u32 {
            self.load(Ordering::SeqCst) as u32
        }
    }

    loom::lazy_static! {
        // Who is parked: on which word, as the how manieth.
        static ref PARKED: (Mutex<Parked>, Condvar) = (Mutex::new(Parked::default()), Condvar::new());
        static ref SLICES_END: AtomicBool = AtomicBool::new(false);
    }

    #[derive(Default)]
    struct Parked {
        line: Vec<(usize, u64)>,
        tickets: u64,
    }

    /// Parks as the real one does, and is woken in the order of parking.
    ///
    /// Time never passes in a model, so a lost wake-up shows as a deadlock;
    /// after [`end_slices`] it always has passed, and nobody parks.
    pub fn futex_wait<F: Futex>(word: &F, expected: u32, deadline: Deadline) -> Woken {
        if deadline.has_passed() {
            return Woken::TimedOut;
        }
        if deadline != Deadline::NEVER && SLICES_END.load(Ordering::Relaxed) {
            loom::thread::yield_now();
            return Woken::TimedOut;
        }
        let mut parked = PARKED.0.lock().expect("no model panics while it parks");
        if word.value() == expected {
            parked.tickets += 1;
            let mine = (std::ptr::from_ref(word).addr(), parked.tickets);
            parked.line.push(mine);
            while parked.line.contains(&mine) {
                parked = PARKED
                    .1
                    .wait(parked)
                    .expect("no model panics while it parks");
            }
        }
        Woken::Changed
    }

    /// Wakes the `count` that have been parked on the word for longest.
    pub fn futex_wake<F: Futex>(word: &F, count: u32) {
        let mut parked = PARKED.0.lock().expect("no model panics while it parks");
        let mut left = count;
        parked.line.retain(|&(address, _)| {
            let woken = left > 0 && address == std::ptr::from_ref(word).addr();
            left -= u32::from(woken);
            !woken
        });
        PARKED.1.notify_all();
        drop(parked);
    }

    /// Lets all waits with a deadline end at once, for the rest of this run of
    /// the model.
    pub fn end_slices() {
        SLICES_END.store(true, Ordering::Relaxed);
    }

    /// Lets the model run another thread.
    pub fn relax() {
        loom::thread::yield_now();
    }
}
