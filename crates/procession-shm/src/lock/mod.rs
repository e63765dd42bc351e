//! A lock whose owner's death is noticed, and the futex that it needs.

pub mod half_word;
pub mod raw_lock;
