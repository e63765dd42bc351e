//! The end of a process's start, common to all start methods.

use procession_shm::member::table::BOOTED;
use procession_shm::{Family, Stamp};
use procession_sys::error::{Error, ErrorKind, Result};
use procession_sys::primitive::Ordering;
use procession_sys::process::lifeline::Lifeline;

/// Marks the start of this process as finished; from now on it runs its payload. The
/// processor that the start used is free again, so spares may be booted.
pub fn booted() {
    if let Some(family) = Family::existing() {
        let member = family.member(family.me());
        member.flags.fetch_or(BOOTED, Ordering::Relaxed);
    }
}

/// Keeps a lifeline until the process ends.
pub(crate) fn hold_for_life(lifeline: Lifeline) {
    std::mem::forget(lifeline);
}

/// Returns the process id of the member that this process must not outlive.
///
/// # Errors
/// `Stale` when that member has ended and another has its slot, whose end would be taken for it.
pub(crate) fn pid_to_end_with(family: &Family, parent: Stamp) -> Result<u32> {
    let member = family.member(parent);
    let pid = member.pid();
    // Read after the id: if the generation is still the parent's, so was the id.
    if member.generation() == parent.generation() {
        return Ok(pid);
    }
    let message = format!("member {parent}, which has asked for this process, has ended");
    Err(Error::new(ErrorKind::Stale, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_the_place_of_a_dead_parent_is_not_taken_for_it() {
        let family = crate::family().unwrap();
        let me = family.me();
        let pid = pid_to_end_with(family, me).unwrap();
        assert_eq!(pid, std::process::id());
        let before = Stamp::new(me.slot(), me.generation().wrapping_sub(1));
        let error = pid_to_end_with(family, before).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Stale);
    }
}
