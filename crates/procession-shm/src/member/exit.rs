//! The word of the reap handshake between a member's keeper and its parent.
//!
//! The module `process::reap` of the engine describes the protocol, and has both sides.

use crate::lock::half_word::low_half;
use procession_sys::primitive::{AtomicU64, Half, Ordering, futex_wake};

/// Set once the wait status below it is known.
const RECORDED: u64 = 0x1_0000;
/// Set once the parent knows of the exit.
const SEEN: u64 = 0x2_0000;
/// Set while the keeper leaves the process unreaped, as a zombie.
const KEPT: u64 = 0x4_0000;
/// Set while the parent waits for the exit: then it uses the pid for nothing else.
const AWAITED: u64 = 0x8_0000;

/// Holds a generation (high half), four flags, and the wait status (16 bits).
///
/// Each call names the generation of the member that it means; if the slot has another
/// generation by now, a call changes nothing.
#[repr(transparent)]
#[derive(Debug)]
pub struct ExitWord(AtomicU64);

impl ExitWord {
    /// Empties the word for the slot's next member.
    pub fn renew(&self, generation: u32) {
        self.0.store(u64::from(generation) << 32, Ordering::Relaxed);
    }

    /// Records a wait status, if there is none; tells whether it did.
    pub fn record(&self, generation: u32, wait_status: u32) -> bool {
        let told = RECORDED | u64::from(wait_status & 0xffff);
        self.change(generation, |word| {
            (word & RECORDED == 0).then_some(word | told)
        })
        .is_some()
    }

    /// Records a wait status on behalf of the keeper, which then leaves the process unreaped
    /// until the parent knows of the exit. Returns false if the parent knows of it already,
    /// waits for it, or has given the slot back.
    pub fn keep(&self, generation: u32, wait_status: u32) -> bool {
        let told = RECORDED | u64::from(wait_status & 0xffff) | KEPT;
        self.change(generation, |word| {
            (word & (SEEN | AWAITED) == 0).then_some(word | told)
        })
        .is_some()
    }

    /// Notes that the parent waits for the exit, or does so no more.
    pub fn set_awaited(&self, generation: u32, is_awaited: bool) {
        let change = |word| match is_awaited {
            true => word | AWAITED,
            false => word & !AWAITED,
        };
        // Nobody waits for this.
        let _ = self.update(generation, |word| Some(change(word)));
    }

    /// Tells whether the parent waits for the exit.
    pub fn is_awaited(&self, generation: u32) -> bool {
        self.load(generation)
            .is_some_and(|word| word & AWAITED != 0)
    }

    /// Notes that the parent knows of the exit; tells whether the parent has to notify the
    /// keeper, because the process is still unreaped.
    pub fn see(&self, generation: u32, wait_status: u32) -> bool {
        let told = RECORDED | u64::from(wait_status & 0xffff);
        self.change(generation, |word| match word & RECORDED {
            0 => Some(word | told | SEEN),
            _ => Some(word | SEEN),
        })
        .is_some_and(|before| before & (KEPT | SEEN) == KEPT)
    }

    /// Notes that the keeper has reaped the process.
    pub fn reaped(&self, generation: u32) {
        self.change(generation, |word| Some(word & !KEPT));
    }

    /// Returns the wait status, once recorded.
    pub fn status(&self, generation: u32) -> Option<u32> {
        let word = self.load(generation)?;
        (word & RECORDED != 0).then_some((word & 0xffff) as u32)
    }

    /// Tells whether the parent knows of the exit, or has given the slot back since.
    pub fn is_seen(&self, generation: u32) -> bool {
        self.load(generation).is_none_or(|word| word & SEEN != 0)
    }

    /// Returns the value of the [futex](Self::futex) while the keeper leaves the process
    /// unreaped, for waiting until it is reaped.
    pub fn kept(&self, generation: u32) -> Option<u32> {
        let word = self.load(generation)?;
        (word & KEPT != 0).then_some(word as u32)
    }

    /// Returns the value of the [futex](Self::futex) while no status is recorded, for waiting
    /// until one is.
    pub fn unrecorded(&self, generation: u32) -> Option<u32> {
        let word = self.load(generation)?;
        (word & RECORDED == 0).then_some(word as u32)
    }

    /// Returns the futex that is woken after each change, except
    /// [`set_awaited`](Self::set_awaited).
    pub fn futex(&self) -> &Half {
        low_half(&self.0)
    }

    fn load(&self, generation: u32) -> Option<u64> {
        let word = self.0.load(Ordering::Acquire);
        ((word >> 32) as u32 == generation).then_some(word)
    }

    /// Changes the word and wakes all who wait on it; returns the word as it was before.
    fn change(&self, generation: u32, change: impl Fn(u64) -> Option<u64>) -> Option<u64> {
        let before = self.update(generation, change)?;
        futex_wake(self.futex(), u32::MAX);
        Some(before)
    }

    fn update(&self, generation: u32, change: impl Fn(u64) -> Option<u64>) -> Option<u64> {
        // Release pairs with the Acquire in `load`.
        let updated = self
            .0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| {
                match (word >> 32) as u32 == generation {
                    true => change(word),
                    false => None,
                }
            });
        updated.ok()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn exit() -> ExitWord {
        ExitWord(AtomicU64::new(3 << 32))
    }

    #[test]
    fn a_call_for_another_generation_changes_nothing() {
        let exit = exit();
        assert!(!exit.record(2, 7) && !exit.keep(2, 7) && !exit.see(2, 7));
        assert!(exit.is_seen(2) && exit.kept(2).is_none());
        assert_eq!((exit.status(2), exit.status(3)), (None, None));
    }

    #[test]
    fn a_status_is_recorded_once() {
        let exit = exit();
        assert!(exit.record(3, 7) && !exit.record(3, 8));
        assert_eq!(exit.status(3), Some(7));
        assert!(!exit.see(3, 8));
        assert_eq!(exit.status(3), Some(7));
    }

    #[test]
    fn a_process_is_kept_until_its_end_is_seen_and_it_is_reaped() {
        let exit = exit();
        assert!(exit.keep(3, 7));
        assert_eq!((exit.status(3), exit.is_seen(3)), (Some(7), false));
        assert!(exit.see(3, 7) && exit.is_seen(3) && exit.kept(3).is_some());
        assert!(!exit.see(3, 7), "the keeper has been told");
        exit.reaped(3);
        assert!(exit.kept(3).is_none());
    }

    #[test]
    fn a_process_whose_parent_waits_is_not_kept() {
        let exit = exit();
        exit.set_awaited(3, true);
        assert!(exit.is_awaited(3) && !exit.is_awaited(2));
        assert!(!exit.keep(3, 7) && exit.unrecorded(3).is_some());
        exit.set_awaited(3, false);
        assert!(exit.keep(3, 7) && exit.unrecorded(3).is_none());
    }

    #[test]
    fn a_process_whose_end_was_seen_is_not_kept() {
        let exit = exit();
        assert!(!exit.see(3, 7));
        assert_eq!(exit.status(3), Some(7));
        assert!(!exit.keep(3, 7));
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use loom::sync::Arc;
    use loom::sync::atomic::AtomicBool;
    use loom::thread;

    use super::*;
    use procession_sys::primitive::futex_wait;
    use procession_sys::wait::time::Deadline;

    /// In every order of the keeper's and the parent's steps, an ended process is reaped
    /// after the parent knows of its exit, and the parent learns that it was reaped.
    #[test]
    fn an_ended_process_is_reaped_once_its_parent_knows() {
        reaped_once_the_parent_knows(false);
    }

    /// The same if the parent waits for a while.
    #[test]
    fn an_ended_process_is_reaped_once_its_parent_knows_or_while_it_waits() {
        reaped_once_the_parent_knows(true);
    }

    fn reaped_once_the_parent_knows(waits: bool) {
        loom::model(move || {
            let exit = Arc::new(ExitWord(AtomicU64::new(3 << 32)));
            let bell = Arc::new(AtomicBool::new(false));
            let parent = {
                let (exit, bell) = (exit.clone(), bell.clone());
                thread::spawn(move || {
                    if waits {
                        exit.set_awaited(3, true);
                        exit.set_awaited(3, false);
                    }
                    if exit.see(3, 7) {
                        bell.store(true, Ordering::Release);
                    }
                    while let Some(word) = exit.kept(3) {
                        futex_wait(exit.futex(), word, Deadline::NEVER);
                    }
                })
            };
            if exit.keep(3, 7) {
                while !bell.load(Ordering::Acquire) {
                    thread::yield_now();
                }
                assert!(exit.is_seen(3));
                exit.reaped(3);
            } else {
                assert!(waits || exit.is_seen(3));
                exit.record(3, 7);
            }
            parent.join().unwrap();
            assert!(exit.is_seen(3));
            assert_eq!(exit.status(3), Some(7));
        });
    }
}
