//! The real atomics, or loom's, each write of which is a step at which a process, or
//! a model's thread, may be killed.

use std::ops::Deref;
#[cfg(not(loom))]
use std::sync::atomic;

#[cfg(loom)]
use loom::sync::atomic;

use crate::primitive::Ordering;
#[cfg(loom)]
use crate::primitive::model::step;
#[cfg(not(loom))]
use crate::steps::step;

macro_rules! stepped {
    ($name:ident, $real:ident, $value:ty) => {
        /// A word that several processes write.
        #[derive(Debug, Default)]
        #[repr(transparent)]
        pub struct $name(atomic::$real);

        impl $name {
            /// Makes a word.
            #[cfg(not(loom))]
            pub const fn new(value: $value) -> Self {
                Self(atomic::$real::new(value))
            }

            /// Makes a word; loom's is entered in the books of its model.
            #[cfg(loom)]
            pub fn new(value: $value) -> Self {
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

        stepped!($name, $value; compare_exchange, compare_exchange_weak);
        stepped!($name, $value: swap, fetch_add, fetch_sub, fetch_or, fetch_and, fetch_max, fetch_min);
    };
    ($name:ident, $value:ty; $($exchange:ident),*) => {
        #[expect(missing_docs, reason = "as the real ones")]
        impl $name {
            $(pub fn $exchange(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                step();
                self.0.$exchange(current, new, success, failure)
            })*
        }
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
