//! A futex inside a word of twice its size.
//!
//! # Safety
//! Both views are atomic, and `os` makes sure of a little-endian machine.

#![allow(
    unsafe_code,
    reason = "a futex is half of a 64-bit word; loom has none"
)]

use crate::primitive::{AtomicU64, Half};

/// Returns the low half of a word as a futex.
#[cfg(not(loom))]
pub fn low_half(word: &AtomicU64) -> &Half {
    let pointer = std::ptr::from_ref(word).cast::<Half>();
    // SAFETY: the first four bytes of a live, aligned u64; both views are atomic.
    unsafe { &*pointer }
}

/// Returns the word: loom has no halves, and parks on its low half.
#[cfg(loom)]
pub fn low_half(word: &AtomicU64) -> &Half {
    word
}
