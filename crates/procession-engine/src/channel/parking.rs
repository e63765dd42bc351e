//! Parking until somebody else changes something, without lost wake-ups.
//!
//! # The word
//! The low twelve bits count the threads that have announced a park; the rest is an
//! epoch. A process that changes something calls [`Parking::wake`], which makes no
//! system call while the count is zero.
//!
//! # The races it must survive
//! - *The change comes between look and park.* A waiter registers, then looks
//!   once more, then parks; a waker changes, then reads the count. With a
//!   sequentially consistent fence in the middle of both, one sees the other.
//! - *A waiter dies.* Its registration stays: the count is one too high until
//!   a wake-up takes it, which cost one system call for nothing.
//! - *A waiter gives up while it is being woken.* A wake-up takes one off the
//!   count and raises the epoch, in one step. A waiter that leaves takes
//!   itself off only if the epoch is still that of its registration: then
//!   nothing has been taken off since. So the count is never too low.
//! - *The woken waiter dies* before it acts on the wake-up. No other waiter gets that
//!   wake-up; but the others park in slices, and reclaim wakes one.

use procession_sys::primitive::{AtomicU32, Ordering, fence, futex_wait, futex_wake};
use procession_sys::wait::futex::Woken;
use procession_sys::wait::time::Deadline;
use procession_sys::wait::wait_slices::WaitSlices;

const COUNT: u32 = (1 << 12) - 1;
const ONE_EPOCH: u32 = 1 << 12;

/// Parks threads of any process.
#[derive(Debug)]
#[repr(transparent)]
#[cfg_attr(all(test, loom), derive(Default))]
pub struct Parking {
    word: AtomicU32,
}

/// Proves a registration: the epoch at which it was made.
#[derive(Clone, Copy, Debug)]
pub struct Ticket {
    epoch: u32,
}

/// Says why a park ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parked {
    /// The change may have come; the registration is used up.
    Look,
    /// The deadline passed; the registration is withdrawn.
    TimedOut,
    /// A signal arrived; the registration is withdrawn.
    Interrupted,
}

impl Parking {
    /// Announces that this thread is about to park; it must look once more
    /// before it does, and then either park or leave.
    pub fn register(&self) -> Ticket {
        let update = |word: u32| Some(if word & COUNT < COUNT { word + 1 } else { word });
        let word = self
            .word
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, update)
            .unwrap_or_else(|word| word);
        // SeqCst: registration before look; pairs with the fence in `wake`.
        fence(Ordering::SeqCst);
        Ticket {
            epoch: word & !COUNT,
        }
    }

    /// Withdraws a registration, if no wake-up has used it up.
    pub fn leave(&self, ticket: Ticket) {
        let update =
            |word: u32| (word & !COUNT == ticket.epoch && word & COUNT > 0).then(|| word - 1);
        // Fails when a wake-up has used the registration up; then there is nothing left
        // to withdraw.
        let _ = self
            .word
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, update);
    }

    /// Parks until woken, the deadline, or `look` says in one of the slices
    /// that there is something to do.
    pub fn park(&self, ticket: Ticket, deadline: Deadline, look: impl Fn() -> bool) -> Parked {
        let mut slices = WaitSlices::for_change();
        loop {
            let word = self.word.load(Ordering::Relaxed);
            if word & !COUNT != ticket.epoch {
                return Parked::Look;
            }
            match futex_wait(&self.word, word, slices.end(deadline)) {
                Woken::Changed => {}
                Woken::Interrupted => {
                    self.leave(ticket);
                    return Parked::Interrupted;
                }
                Woken::TimedOut => {
                    slices.grow();
                    if look() {
                        self.leave(ticket);
                        return Parked::Look;
                    }
                    if deadline.has_passed() {
                        self.leave(ticket);
                        return Parked::TimedOut;
                    }
                }
            }
        }
    }

    /// Wakes up to `count` of those that registered; the caller has just made
    /// the change they wait for.
    pub fn wake(&self, count: u32) {
        // SeqCst: change before count; pairs with the fence in `register`.
        fence(Ordering::SeqCst);
        let mut word = self.word.load(Ordering::Relaxed);
        while word & COUNT != 0 {
            let woken = count.min(word & COUNT);
            let next = (word - woken).wrapping_add(ONE_EPOCH);
            // Relaxed: the epoch carries nothing but itself.
            match self
                .word
                .compare_exchange_weak(word, next, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => {
                    futex_wake(&self.word, woken);
                    return;
                }
                Err(now) => word = now,
            }
        }
    }

    /// Wakes all that registered.
    pub fn wake_all(&self) {
        self.wake(COUNT);
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use loom::sync::Arc;
    use loom::thread;

    use super::*;
    use procession_sys::primitive::AtomicU64;

    #[test]
    fn loom_no_item_is_slept_through() {
        loom::model(|| {
            let shared = Arc::new((
                AtomicU64::new(0),
                Parking {
                    word: AtomicU32::new(0),
                },
            ));
            let theirs = Arc::clone(&shared);
            let waiter = thread::spawn(move || {
                let (items, parking) = &*theirs;
                loop {
                    if items.load(Ordering::Acquire) == 1 {
                        return;
                    }
                    let ticket = parking.register();
                    if items.load(Ordering::Acquire) == 1 {
                        parking.leave(ticket);
                        return;
                    }
                    parking.park(ticket, Deadline::NEVER, || false);
                }
            });
            shared.0.store(1, Ordering::Release);
            shared.1.wake(1);
            waiter.join().unwrap();
        });
    }
}
