//! A 32-bit futex inside a 64-bit word.
//!
//! # Safety
//! Both views are atomic, and `procession-sys` compiles for little-endian machines only
//! (x86-64 and aarch64).

#![allow(
    unsafe_code,
    reason = "a futex is half of a 64-bit word; loom has none"
)]

use procession_sys::primitive::{AtomicU64, Half};

/// Returns the low half of a word as a futex.
#[cfg(not(loom))]
pub fn low_half(word: &AtomicU64) -> &Half {
    let pointer = std::ptr::from_ref(word).cast::<Half>();
    // SAFETY: the first four bytes of a live, aligned u64; both views are atomic.
    unsafe { &*pointer }
}

/// Returns the whole word: loom has no halves, and its futex compares the low half.
#[cfg(loom)]
pub fn low_half(word: &AtomicU64) -> &Half {
    word
}
