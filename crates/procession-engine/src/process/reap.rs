//! Reaping children that another process has forked: the handshake of a keeper and a parent.
//!
//! # Protocol
//! The *keeper* of a child, a fork server, has forked it and has to reap it. The *parent* has
//! asked for it and uses its pid: until the parent knows that the child has ended, a signal
//! that it sends to the pid must not reach another process. So the keeper leaves an ended
//! child a zombie until the parent *has seen* the end. The word `exit` in the member table
//! ([`ExitWord`]) decides; it holds the generation, the wait status, and whether the status is
//! *recorded*, the end *seen*, the zombie *kept*, the end *awaited*. Each change is one
//! compare-exchange, and fails when the slot is of another generation.
//!
//! | | keeper, when the child has ended | parent, when it learns of the end |
//! |--|--|--|
//! | 1 | reads the status without reaping | takes the recorded status, or asks the kernel |
//! | 2 | sets recorded and kept, unless seen or awaited | sets seen, and recorded if it was not |
//! | 3 | seen or awaited: reaps, and records; else notes the child | kept before: rings the keeper's bell |
//! | 4 | after each event: reaps those seen, clears kept | in `join`: waits for that, 20 ms at the most |
//!
//! One of the two second steps is the first. If it is the keeper's, the parent rings, and
//! the keeper, which has noted the child before it listens again, looks at the word. If it
//! is the parent's, the keeper reaps at once, and nobody rings.
//!
//! *The parent is waiting* (in `join`) when the child ends: it has set *awaited* for as long
//! as it waits, and the keeper reaps at once. A start followed by its join costs no ring, and
//! afterwards the pid is nobody's, as it would be after `waitpid`. Of several threads that
//! wait, the first to go on clears the flag; then there may be a zombie, and a ring.
//!
//! *The keeper is busy, or stopped, when a child ends.* The parent sees the end on the child's
//! descriptor. If the status is not recorded some microseconds later (a fork may delay the
//! keeper by a millisecond), it reads the status from the kernel: /proc has that of a process
//! that nobody has reaped. By the time the keeper comes to record the status, the child's slot
//! may be another member's; then its change fails.
//!
//! *The parent dies.* The keeper watches it from the first of its children on that ended
//! unseen, reaps them all when it ends, and gives back their slots. Whether a descriptor is
//! the parent's is told by the member table, asked after it was opened. Where the parent
//! cannot be watched, its children are reaped at once.
//!
//! *The parent never looks*: then its zombies stay as those of its own forks would, but no
//! more than 128, which is far below the limits of processes and descriptors; the oldest is
//! reaped for the next. *It cannot ring* (another network namespace, no memory): its zombie
//! is reaped at the keeper's next event. *The keeper dies*: init reaps, and the parent learns
//! from the kernel how the child ended.
//!
//! [`ExitWord`]: procession_shm::member::exit::ExitWord

use std::collections::VecDeque;
use std::time::Duration;

use procession_shm::member::exit::ExitWord;
use procession_shm::{Family, Stamp};
use procession_sys::error::{Error, ErrorKind, Result};
use procession_sys::primitive::{Ordering, futex_wait};
use procession_sys::process::exit_status::ExitStatus;
use procession_sys::process::pidfd::PidFd;
use procession_sys::wait::adaptive_spin::spin_for_wakeup;
use procession_sys::wait::doorbell;
use procession_sys::wait::epoll::Epoll;
use procession_sys::wait::futex::Woken;
use procession_sys::wait::time::Deadline;
use procession_sys::wait::wait_slices::WaitSlices;

/// What a process's end is said to be when nobody can know it (as CPython does).
pub const UNKNOWN: ExitStatus = ExitStatus::from_code(255);

/// The number of the doorbell of a keeper that reaps for others.
pub(crate) const KEEPER_BELL: u32 = 0;

/// How long a caller that has waited for an end waits for the keeper to reap, so that
/// the pid is nobody's when it goes on.
const LAST_RITES: Duration = Duration::from_millis(20);

/// A child that a keeper reaps, as its parent sees it.
pub(crate) struct KeptChild<'a> {
    pub family: &'a Family,
    pub stamp: Stamp,
    pub keeper: Stamp,
    pub pidfd: &'a PidFd,
}

impl<'a> KeptChild<'a> {
    fn word(&self) -> (&'a ExitWord, u32) {
        let member = self.family.member(self.stamp);
        (&member.exit, self.stamp.generation())
    }

    /// Tells the keeper that it need not keep a zombie, as long as the result is held.
    pub(crate) fn awaited(&self) -> Awaited<'a> {
        let (exit, generation) = self.word();
        exit.set_awaited(generation, true);
        Awaited(exit, generation)
    }

    /// Finds out how the child ended that has ended, and tells the keeper that the parent
    /// knows; `None` at the deadline.
    ///
    /// # Errors
    /// `Interrupted` when a signal arrived first.
    pub(crate) fn learn_exit(&self, deadline: Deadline) -> Result<Option<ExitStatus>> {
        let told = self.hear_of_exit(deadline)?;
        if let Some(status) = told {
            let (exit, generation) = self.word();
            if exit.see(generation, status.to_wait_status() as u32) {
                // Without memory to ring with, it looks at its next event.
                let _ = doorbell::ring(self.family.id(), self.keeper.raw(), KEEPER_BELL);
            }
        }
        Ok(told)
    }

    /// Waits for a keeper that has left the process unreaped for us.
    pub(crate) fn wait_until_reaped(&self) {
        let (exit, generation) = self.word();
        let deadline = Deadline::after(LAST_RITES);
        while let Some(word) = exit.kept(generation) {
            if futex_wait(exit.futex(), word, deadline) != Woken::Changed {
                return;
            }
        }
    }

    fn recorded(&self) -> Option<ExitStatus> {
        let (exit, generation) = self.word();
        let word = exit.status(generation)?;
        Some(ExitStatus::from_wait_status(i32::try_from(word).ok()?))
    }

    /// Waits until the keeper has recorded the end, or is gone itself.
    fn hear_of_exit(&self, deadline: Deadline) -> Result<Option<ExitStatus>> {
        let (exit, generation) = self.word();
        // The keeper of a child that has ended was woken at the same instant as we were.
        spin_for_wakeup(|| self.recorded().is_some());
        if let Some(status) = self.recorded() {
            return Ok(Some(status));
        }
        // The keeper may be in the middle of a fork; the kernel knows, too.
        if let Some(status) = self.pidfd.exit_info() {
            return Ok(Some(status));
        }
        loop {
            let slice = WaitSlices::for_answer().end(deadline);
            let word = exit.unrecorded(generation).unwrap_or_default();
            let woken = futex_wait(exit.futex(), word, slice);
            if let Some(status) = self.recorded() {
                return Ok(Some(status));
            }
            if self.family.is_dead(self.keeper) {
                // It may have recorded the end right before its own.
                let status = self.recorded().or_else(|| self.pidfd.exit_info());
                return Ok(Some(status.unwrap_or(UNKNOWN)));
            }
            if woken == Woken::Interrupted {
                return Err(Error::new(
                    ErrorKind::Interrupted,
                    format!(
                        "a signal arrived during the wait for process {}",
                        self.pidfd.pid()
                    ),
                ));
            }
            if deadline.has_passed() {
                return Ok(None);
            }
        }
    }
}

/// Says for as long as it lives that the parent waits for a child's end.
pub(crate) struct Awaited<'a>(&'a ExitWord, u32);

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        self.0.set_awaited(self.1, false);
    }
}

/// The most zombies; each holds a process id, and a descriptor of the keeper.
const MOST: usize = 128;

/// The keys of parents in the set of descriptors begin here; a parent's stamp is added.
pub(crate) const PARENT_KEY: u64 = 2 << 32;

/// The keeper's zombies, and their parents.
#[derive(Debug, Default)]
pub(crate) struct Zombies {
    ended: VecDeque<Ended>,
    /// Parents of children that have ended; each is kept until it ends itself.
    parents: Vec<(Stamp, PidFd)>,
}

#[derive(Debug)]
struct Ended {
    stamp: Stamp,
    parent: Stamp,
    pidfd: PidFd,
}

impl Zombies {
    /// Records the exit of an ended child, and leaves it unreaped until its parent has seen the
    /// end; returns the child if it is to be reaped now.
    pub(crate) fn keep(
        &mut self,
        family: &Family,
        set: &Epoll,
        stamp: Stamp,
        pidfd: PidFd,
        status: ExitStatus,
    ) -> Option<PidFd> {
        let member = family.member(stamp);
        let parent = Stamp::from_raw(member.parent.load(Ordering::Relaxed));
        if member.exit.is_awaited(stamp.generation()) || !self.watch(family, set, parent) {
            return Some(pidfd);
        }
        let told = status.to_wait_status() as u32;
        if !member.exit.keep(stamp.generation(), told) {
            return Some(pidfd);
        }
        if self.ended.len() == MOST
            && let Some(oldest) = self.ended.pop_front()
        {
            oldest.reap(family);
        }
        self.ended.push_back(Ended {
            stamp,
            parent,
            pidfd,
        });
        None
    }

    /// Watches a parent, so that the keeper notices its end; false if the parent has ended or
    /// is this keeper, or no descriptor is left.
    fn watch(&mut self, family: &Family, set: &Epoll, parent: Stamp) -> bool {
        if self.parents.iter().any(|(stamp, _)| *stamp == parent) {
            return true;
        }
        let pid = family.member(parent).pid();
        let Ok(pidfd) = PidFd::open(pid) else {
            return false;
        };
        // The kernel may have reused the pid before it was opened; then the parent is dead,
        // which is checked below.
        let key = PARENT_KEY + u64::from(parent.raw());
        let added = pidfd.fd().and_then(|fd| set.add(fd, key));
        if parent == family.me() || family.is_dead(parent) || added.is_err() {
            return false;
        }
        self.parents.push((parent, pidfd));
        true
    }

    /// Reaps the children whose end was seen by their parents.
    pub(crate) fn reap_seen(&mut self, family: &Family) {
        self.ended.retain(|child| {
            let is_seen = family
                .member(child.stamp)
                .exit
                .is_seen(child.stamp.generation());
            if is_seen {
                child.reap(family);
            }
            !is_seen
        });
    }

    /// Reaps the children of a parent that has ended, and gives their slots back.
    pub(crate) fn parent_ended(&mut self, family: &Family, parent: Stamp, set: &Epoll) {
        self.parents.retain(|(stamp, pidfd)| {
            if *stamp == parent {
                let _ = set.remove(pidfd.unverified());
            }
            *stamp != parent
        });
        self.ended.retain(|child| {
            if child.parent == parent {
                child.reap(family);
                family.release_member(child.stamp);
            }
            child.parent != parent
        });
    }
}

impl Ended {
    fn reap(&self, family: &Family) {
        let _ = self.pidfd.reap();
        family
            .member(self.stamp)
            .exit
            .reaped(self.stamp.generation());
    }
}
