//! Nothing: the twin of `steps.rs` in builds without the feature `steps`.

/// Is called before each step.
#[inline(always)]
pub const fn step() {}
