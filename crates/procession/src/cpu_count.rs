//! How many processors there are for the program.

use std::num::NonZeroUsize;

/// Returns how many processors this process may use: the least of those that
/// are online, those its affinity allows and its control group's quota.
///
/// # Examples
///
/// ```
/// let pool = procession::Pool::builder().workers(procession::cpu_count().get());
/// ```
#[must_use]
pub fn cpu_count() -> NonZeroUsize {
    NonZeroUsize::new(procession_engine::sys::limits::cpu::usable_cpus())
        .unwrap_or(NonZeroUsize::MIN)
}
