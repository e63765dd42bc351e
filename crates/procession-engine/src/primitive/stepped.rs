//! The real atomics, each write of which is a step at which a process may be killed.

use std::ops::Deref;
use std::sync::atomic;

pub use std::sync::atomic::{Ordering, fence};

use crate::os::futex::{self, Scope, Woken};
use crate::os::steps::step;
use crate::os::time::Deadline;

macro_rules! stepped {
    ($name:ident, $real:ident, $value:ty) => {
        /// A word that several processes write.
        #[derive(Debug, Default)]
        #[repr(transparent)]
        pub struct $name(atomic::$real);

        impl $name {
            /// Makes a word.
            pub const fn new(value: $value) -> Self {
                Self(atomic::$real::new(value))
            }
        }

        /// Reads change nothing: they are the real word's.
        impl Deref for $name {
            type Target = atomic::$real;

            fn deref(&self) -> &atomic::$real {
                &self.0
            }
        }

        #[expect(missing_docs, reason = "as the real ones")]
        impl $name {
            pub fn store(&self, value: $value, order: Ordering) {
                step();
                self.0.store(value, order);
            }

            pub fn compare_exchange(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                step();
                self.0.compare_exchange(current, new, success, failure)
            }

            pub fn compare_exchange_weak(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                step();
                self.0.compare_exchange_weak(current, new, success, failure)
            }

            pub fn fetch_update(
                &self,
                set: Ordering,
                fetch: Ordering,
                change: impl FnMut($value) -> Option<$value>,
            ) -> Result<$value, $value> {
                step();
                self.0.fetch_update(set, fetch, change)
            }
        }

        stepped!($name, $value: swap, fetch_add, fetch_sub, fetch_or, fetch_and, fetch_max, fetch_min);
    };
    ($name:ident, $value:ty: $($operation:ident),*) => {
        #[expect(missing_docs, reason = "as the real ones")]
        impl $name {
            $(pub fn $operation(&self, value: $value, order: Ordering) -> $value {
                step();
                self.0.$operation(value, order)
            })*
        }
    };
}

stepped!(AtomicU32, AtomicU32, u32);
stepped!(AtomicU64, AtomicU64, u64);

/// The half of an [`AtomicU64`] on which processes park.
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
pub fn relax() {
    std::hint::spin_loop();
}
