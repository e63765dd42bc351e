//! A mutex for this process's own tables that survives `fork`.
//!
//! A thread of the parent may hold a std mutex at the instant of a fork, and
//! the child would then find it locked for ever. This one can be taken by the
//! handler that runs before a fork and set free on both sides of it.
//!
//! # Safety
//! The value is only reached through a guard, or by the one thread that
//! exists in a child right after a fork.

#![expect(unsafe_code, reason = "interior mutability guarded by a lock word")]

use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::wait::futex::{self, Scope};
use crate::wait::time::Deadline;

const FREE: u32 = 0;
const HELD: u32 = 1;
const CONTENDED: u32 = 2;

/// Guards a value against other threads, and against a fork in mid-change.
#[derive(Debug, Default)]
pub struct ForkMutex<T> {
    word: AtomicU32,
    value: UnsafeCell<T>,
}

// SAFETY: the lock word lets one thread at a time reach the value.
unsafe impl<T: Send> Sync for ForkMutex<T> {}

impl<T> ForkMutex<T> {
    /// Makes a free mutex around `value`.
    pub const fn new(value: T) -> Self {
        Self {
            word: AtomicU32::new(FREE),
            value: UnsafeCell::new(value),
        }
    }

    /// Blocks until the mutex is free and takes it.
    pub fn lock(&self) -> ForkGuard<'_, T> {
        self.hold();
        ForkGuard { mutex: self }
    }

    /// Takes the mutex for the duration of a fork; `free_after_fork` undoes it.
    pub fn hold(&self) {
        // Acquire pairs with the Release in `free_after_fork`.
        if self
            .word
            .compare_exchange(FREE, HELD, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
        {
            return;
        }
        while self.word.swap(CONTENDED, Ordering::Acquire) != FREE {
            futex::wait(&self.word, CONTENDED, Deadline::NEVER, Scope::Private);
        }
    }

    /// Frees what `hold` took, in the parent and in the child of the fork.
    pub fn free_after_fork(&self) {
        // Release pairs with the Acquire in `hold`.
        if self.word.swap(FREE, Ordering::Release) == CONTENDED {
            futex::wake(&self.word, 1, Scope::Private);
        }
    }

    /// Makes it free and gives it a new value, in the child of a fork that did not take
    /// the mutex first. The old value may be half changed, and is not dropped.
    ///
    /// # Safety
    /// No other thread uses it, as right after a fork.
    pub unsafe fn renew(&self, value: T) {
        // SAFETY: nobody else reaches the value, the caller says.
        unsafe { self.value.get().write(value) };
        self.word.store(FREE, Ordering::Relaxed);
    }
}

/// Holds a [`ForkMutex`] until dropped.
#[derive(Debug)]
pub struct ForkGuard<'a, T> {
    mutex: &'a ForkMutex<T>,
}

impl<T> ForkGuard<'_, T> {
    /// Leaves the mutex taken, as [`ForkMutex::hold`] does.
    pub fn hold(self) {
        std::mem::forget(self);
    }
}

impl<T> Deref for ForkGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the guard proves that this thread holds the lock.
        unsafe { &*self.mutex.value.get() }
    }
}

impl<T> DerefMut for ForkGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the guard proves that this thread alone holds the lock.
        unsafe { &mut *self.mutex.value.get() }
    }
}

impl<T> Drop for ForkGuard<'_, T> {
    fn drop(&mut self) {
        self.mutex.free_after_fork();
    }
}
