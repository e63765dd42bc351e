//! A futex inside a word of twice its size.
//!
//! # Safety
//! Both views are atomic, and `os` makes sure of a little-endian machine.

#![expect(unsafe_code, reason = "a futex is half of a 64-bit word")]

use crate::primitive::{AtomicU32, AtomicU64};

/// Returns the low half of a word as a futex.
pub fn low_half(word: &AtomicU64) -> &AtomicU32 {
    let pointer = std::ptr::from_ref(word).cast::<AtomicU32>();
    // SAFETY: the first four bytes of a live, aligned u64; both views are atomic.
    unsafe { &*pointer }
}
