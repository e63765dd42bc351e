//! Deadlines on the monotonic clock.

use std::time::{Duration, Instant};

/// Says until when a wait may last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deadline {
    /// Ends at this moment.
    At(Instant),
    /// Never ends.
    Never,
}

impl Deadline {
    /// Waits for ever.
    pub const NEVER: Self = Self::Never;

    /// Returns a deadline that has already passed: the call only tries.
    #[must_use]
    pub fn now() -> Self {
        Self::At(Instant::now())
    }

    /// Returns the deadline `wait` from now; one too far to represent is never.
    #[must_use]
    pub fn after(wait: Duration) -> Self {
        Instant::now()
            .checked_add(wait)
            .map_or(Self::Never, Self::At)
    }

    /// Returns the deadline of a timeout as callers give it: `None` is never.
    #[must_use]
    pub fn from_timeout(timeout: Option<Duration>) -> Self {
        timeout.map_or(Self::Never, Self::after)
    }

    /// Returns the time that is left, `None` where there is no end.
    #[must_use]
    pub fn remaining(self) -> Option<Duration> {
        match self {
            Self::Never => None,
            Self::At(end) => Some(end.saturating_duration_since(Instant::now())),
        }
    }

    /// Tells whether the deadline has passed.
    #[inline]
    #[must_use]
    pub fn has_passed(self) -> bool {
        self.remaining() == Some(Duration::ZERO)
    }

    /// Returns the earlier of this deadline and `wait` from now.
    #[must_use]
    pub fn within(self, wait: Duration) -> Self {
        self.min(Self::after(wait))
    }
}

/// Returns the time of the monotonic clock in nanoseconds, which all processes of a machine share
/// (unless some are in a time namespace of their own). Not zero.
#[must_use]
pub fn monotonic_nanos() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    (now.tv_sec as u64)
        .wrapping_mul(1_000_000_000)
        .wrapping_add(now.tv_nsec as u64)
        .max(1)
}
