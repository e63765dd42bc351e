//! A value of this process that is set once, and for which nobody waits.
//!
//! With `OnceLock` of the standard library, a thread that finds another one at work on the first
//! value waits until it is there. A child that was forked in that moment has no other thread, and
//! would wait for ever. Here each thread that finds no value makes one, and the first one that is
//! stored is kept; so what makes a value may run several times, and must do nothing else.
//!
//! # Safety
//! The pointer is null, or leads to a value that lives until the cell is dropped, which nobody
//! refers to any more by then, or for ever.

#![expect(unsafe_code, reason = "a value behind an atomic pointer")]

use std::marker::PhantomData;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

/// Holds a value once there is one.
#[derive(Debug)]
pub struct ForkOnce<T> {
    value: AtomicPtr<T>,
    /// It owns the value, and hands it from thread to thread.
    owned: PhantomData<*mut T>,
}

// SAFETY: the value goes with the cell.
unsafe impl<T: Send> Send for ForkOnce<T> {}

// SAFETY: threads share the value, and one may drop what another has made.
unsafe impl<T: Send + Sync> Sync for ForkOnce<T> {}

impl<T> ForkOnce<T> {
    /// Makes an empty cell.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            value: AtomicPtr::new(ptr::null_mut()),
            owned: PhantomData,
        }
    }

    /// Returns the value, if there is one.
    #[inline]
    pub fn get(&self) -> Option<&T> {
        // Acquire pairs with the Release in `first_of`.
        let value = self.value.load(Ordering::Acquire);
        // SAFETY: the value lives as long as the cell.
        unsafe { value.as_ref() }
    }

    /// Returns the value; if there is none yet, stores what `make` returns, unless another thread
    /// is first.
    pub fn get_or_init(&self, make: impl FnOnce() -> T) -> &T {
        match self.get() {
            Some(value) => value,
            None => self.first_of(make()).0,
        }
    }

    /// Stores the value.
    ///
    /// # Errors
    /// Returns it if there was one already.
    pub fn set(&self, value: T) -> Result<(), T> {
        match self.first_of(value).1 {
            None => Ok(()),
            Some(late) => Err(late),
        }
    }

    /// Stores the value unless there is one; returns the stored one, and the value that came too
    /// late.
    fn first_of(&self, value: T) -> (&T, Option<T>) {
        let new = Box::into_raw(Box::new(value));
        // Release publishes the value; Acquire sees the one that another thread has published.
        match self.value.compare_exchange(
            ptr::null_mut(),
            new,
            Ordering::Release,
            Ordering::Acquire,
        ) {
            // SAFETY: it is stored, and lives as long as the cell.
            Ok(_) => (unsafe { &*new }, None),
            Err(before) => {
                // SAFETY: it is this thread's: nobody else has seen it.
                let late = unsafe { Box::from_raw(new) };
                // SAFETY: the stored one lives as long as the cell.
                (unsafe { &*before }, Some(*late))
            }
        }
    }

    /// Empties the cell, in the child of a fork. The value is never dropped, so that references to
    /// it stay valid.
    pub fn forget(&self) {
        self.value.store(ptr::null_mut(), Ordering::Release);
    }
}

impl<T> Default for ForkOnce<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Drop for ForkOnce<T> {
    fn drop(&mut self) {
        let value = *self.value.get_mut();
        if !value.is_null() {
            // SAFETY: nobody refers to it any more.
            drop(unsafe { Box::from_raw(value) });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicU32;

    use super::*;
    use crate::testing::{WATCHDOG, child};

    #[test]
    fn child_forked_in_the_middle_of_the_first_call_makes_its_own_value() {
        let once = ForkOnce::new();
        let value = *once.get_or_init(|| {
            let (process, _release) = child(|_| *once.get_or_init(|| 7));
            assert!(process.wait(WATCHDOG()).unwrap(), "the child hangs");
            process.reap().unwrap().unwrap().code()
        });
        assert_eq!(value, 7);
    }

    #[test]
    fn late_value_is_given_back() {
        let once = ForkOnce::new();
        assert_eq!(once.get(), None);
        assert_eq!(once.set("first"), Ok(()));
        assert_eq!(once.set("late"), Err("late"));
        assert_eq!(once.get_or_init(|| "later"), &"first");
        once.forget();
        assert_eq!(once.get_or_init(|| "new"), &"new");
    }

    #[test]
    fn each_value_is_dropped_once() {
        struct Counted(Arc<AtomicU32>);
        impl Drop for Counted {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let drops = Arc::new(AtomicU32::new(0));
        let once = ForkOnce::new();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| once.get_or_init(|| Counted(Arc::clone(&drops))));
            }
        });
        let late = drops.load(Ordering::Relaxed);
        drop(once);
        assert_eq!(drops.load(Ordering::Relaxed), late + 1);
    }
}
