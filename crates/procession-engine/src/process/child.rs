//! A child process, from its start to its end.
//!
//! A child is reaped by the process that forked it: by us, or by a keeper that
//! did it for us (`reap.rs`). Either way the end itself is noticed on the
//! child's own descriptor.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use crate::family;
use crate::process::detached::{self, Detached};
use crate::process::payload::Payload;
use crate::process::reap::{KeptChild, UNKNOWN};
use crate::process::state::State;
use crate::process::tree;
use crate::trace;
use procession_shm::member::table::Member;
use procession_shm::{Family, Stamp};
use procession_sys::error::{Error, ErrorKind, Result};
use procession_sys::fork_safe::mutex::ForkMutex;
use procession_sys::primitive::{Ordering, futex_wake};
use procession_sys::process::exit_status::ExitStatus;
use procession_sys::process::pidfd::PidFd;
use procession_sys::wait::time::Deadline;

/// How long a look that does not wait gives the keeper to record an end that this
/// process has already seen.
const GRACE: Duration = Duration::from_secs(1);

/// Holds a process that this one has asked for.
///
/// Dropping it lets the process run on; it is still reaped when it ends. In a forked
/// copy of the parent it is another process's child: the copy can look at it and send
/// it signals, but not wait for it.
#[derive(Debug)]
pub struct Child(Arc<ChildRecord>);

/// Everything that is known of a child; it lives on in the list of detached children.
#[derive(Debug)]
pub(crate) struct ChildRecord {
    stamp: Stamp,
    /// The process that may wait for it, and gives its slot back.
    parent: Stamp,
    /// The process that reaps it: `parent` itself, or a server.
    keeper: Stamp,
    pidfd: PidFd,
    status: ForkMutex<Option<ExitStatus>>,
}

impl Child {
    /// Takes charge of a child that this process has started in slot `stamp`
    /// and will reap.
    pub(crate) fn own(family: &Family, stamp: Stamp, pidfd: PidFd) -> Self {
        Self::kept_by(family, stamp, pidfd, family.me())
    }

    /// Takes charge of a child that `keeper` will reap.
    pub(crate) fn kept_by(family: &Family, stamp: Stamp, pidfd: PidFd, keeper: Stamp) -> Self {
        Self(Arc::new(ChildRecord {
            stamp,
            parent: family.me(),
            keeper,
            pidfd,
            status: ForkMutex::new(None),
        }))
    }

    /// Returns the process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.0.pidfd.pid()
    }

    /// Returns the child's name in the family.
    #[must_use]
    pub fn stamp(&self) -> Stamp {
        self.0.stamp
    }

    /// Returns a descriptor that is readable once the process has ended, unless
    /// the program has closed it.
    #[must_use]
    pub fn sentinel(&self) -> BorrowedFd<'_> {
        self.0.pidfd.unverified()
    }

    /// As [`sentinel`](Self::sentinel), but opens another descriptor if the program has
    /// closed that one.
    ///
    /// # Errors
    /// `Dead` when the program has closed it, and the process has ended and been
    /// reaped; `Limit` when no descriptor is left.
    pub fn watch(&self) -> Result<BorrowedFd<'_>> {
        self.0.pidfd.fd()
    }

    /// Tells whether the [`sentinel`](Self::sentinel) is open still.
    #[must_use]
    pub fn is_watched(&self) -> bool {
        self.0.pidfd.is_intact()
    }

    /// Tells whether the process has ended.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.0.pidfd.is_dead()
    }

    /// Tells whether this process is the one that may wait for the child.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.0.is_ours()
    }

    /// Tells whether the system knows it as a child of this process, running or not
    /// reaped yet.
    pub(crate) fn is_reapable(&self) -> bool {
        self.0.pidfd.is_child()
    }

    /// Returns how the process ended, or `None` if it still runs.
    ///
    /// # Errors
    /// `NotOwner` in a forked copy of the parent.
    pub fn try_wait(&self) -> Result<Option<ExitStatus>> {
        self.0.try_wait()
    }

    /// Blocks until the process has ended; returns how.
    ///
    /// # Errors
    /// `TimedOut` when it still runs at the deadline, `Interrupted` when a signal arrived first, `NotOwner` in a forked copy
    /// of the parent.
    pub fn wait(&self, deadline: Deadline) -> Result<ExitStatus> {
        self.0.wait(deadline)?.ok_or_else(|| {
            let message = format!("process {} still runs at the deadline", self.pid());
            Error::new(ErrorKind::TimedOut, message)
        })
    }

    /// Sends a signal; tells whether the process was still there to get it.
    ///
    /// # Errors
    /// When there is no such signal, or the process is another user's by now.
    pub fn signal(&self, number: i32) -> Result<bool> {
        self.0.pidfd.send_signal(number)
    }

    /// Sends the process SIGINT, as Ctrl-C does.
    ///
    /// # Errors
    /// When the process is another user's by now.
    pub fn interrupt(&self) -> Result<bool> {
        self.signal(INTERRUPT)
    }

    /// Asks the process to end by SIGTERM; it may catch that.
    ///
    /// # Errors
    /// When the process is another user's by now.
    pub fn terminate(&self) -> Result<bool> {
        self.signal(TERMINATE)
    }

    /// Ends the process at once by SIGKILL.
    ///
    /// # Errors
    /// When the process is another user's by now.
    pub fn kill(&self) -> Result<bool> {
        self.signal(KILL)
    }

    /// Sends a signal to the process and to all that it has started, directly or
    /// not; tells whether the process was still there to get it.
    ///
    /// Descendants whose own parent had ended before are not found.
    ///
    /// # Errors
    /// When the process is another user's by now.
    pub fn signal_tree(&self, number: i32) -> Result<bool> {
        tree::signal(&self.0.pidfd, self.0.stamp, number)
    }

    /// As [`Child::terminate`], for the process and all that it has started.
    ///
    /// # Errors
    /// As [`Child::signal_tree`].
    pub fn terminate_tree(&self) -> Result<bool> {
        self.signal_tree(TERMINATE)
    }

    /// As [`Child::kill`], for the process and all that it has started.
    ///
    /// # Errors
    /// As [`Child::signal_tree`].
    pub fn kill_tree(&self) -> Result<bool> {
        self.signal_tree(KILL)
    }

    /// Raises the process's stop flag, which it may look at or wait for.
    pub fn request_stop(&self) {
        if let Some(member) = Family::existing().and_then(|family| self.0.member(family)) {
            // Release pairs with the Acquire of `me::wait_stop`.
            member.stop.store(1, Ordering::Release);
            futex_wake(&member.stop, u32::MAX);
        }
    }

    /// Tells what the process is doing now.
    ///
    /// # Errors
    /// Those of [`Child::try_wait`]; but a forked copy of the parent may ask.
    pub fn state(&self) -> Result<State> {
        if self.is_ours() {
            if let Some(status) = self.try_wait()? {
                return Ok(State::Terminated(status));
            }
        } else if self.0.pidfd.is_dead() {
            return Ok(State::Terminated(
                self.0.pidfd.exit_info().unwrap_or(UNKNOWN),
            ));
        }
        let family = family()?;
        Ok(State::of_running(self.pid(), self.0.member(family)))
    }

    /// Returns what the process published as its outcome, the first time this
    /// is called after the end.
    ///
    /// # Errors
    /// `NotOwner` in a forked copy of the parent.
    pub fn take_outcome(&self) -> Result<Option<Payload>> {
        if self.try_wait()?.is_none() {
            return Ok(None);
        }
        Ok(self.0.take_outcome(family()?))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.is_ours() {
            detached::add(Arc::<ChildRecord>::clone(&self.0));
        }
    }
}

impl Detached for ChildRecord {
    fn is_ours(&self) -> bool {
        Family::existing().is_some_and(|family| family.me() == self.parent)
    }

    /// Gives the slot back, and the outcome, which nobody will ask for.
    fn finish(&self) -> bool {
        let Ok(Some(_)) = self.try_wait() else {
            return false;
        };
        if let Some(family) = Family::existing() {
            drop(self.take_outcome(family));
            family.release_member(self.stamp);
        }
        true
    }
}

impl ChildRecord {
    fn must_be_ours(&self) -> Result<&'static Family> {
        let family = family()?;
        if family.me() == self.parent {
            return Ok(family);
        }
        Err(Error::new(
            ErrorKind::NotOwner,
            format!(
                "process {} is not a child of this process, but of the one this was forked from",
                self.pidfd.pid()
            ),
        ))
    }

    fn try_wait(&self) -> Result<Option<ExitStatus>> {
        let family = self.must_be_ours()?;
        if let Some(status) = *self.status.lock() {
            return Ok(Some(status));
        }
        if !self.pidfd.is_dead() {
            return Ok(None);
        }
        match self.learn_exit(family, Deadline::after(GRACE)) {
            // A look does not wait, so no signal interrupts it.
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(None),
            result => result,
        }
    }

    fn wait(&self, deadline: Deadline) -> Result<Option<ExitStatus>> {
        let family = self.must_be_ours()?;
        if let Some(status) = *self.status.lock() {
            return Ok(Some(status));
        }
        let kept = self.kept(family);
        let awaited = kept.as_ref().map(KeptChild::awaited);
        if !self.pidfd.wait(deadline)? {
            return Ok(None);
        }
        drop(awaited);
        let told = self.learn_exit(family, deadline.max(Deadline::after(GRACE)))?;
        if let (Some(_), Some(kept)) = (told, kept) {
            kept.wait_until_reaped();
        }
        Ok(told)
    }

    /// Finds out how a process has ended, after its end.
    fn learn_exit(&self, family: &Family, deadline: Deadline) -> Result<Option<ExitStatus>> {
        let Some(kept) = self.kept(family) else {
            // The lock keeps two threads from reaping: one would find nobody.
            let mut known = self.status.lock();
            let is_news = known.is_none();
            if is_news {
                *known = self.reap(family)?;
            }
            let told = *known;
            drop(known);
            if is_news {
                self.tell_trace(family, told);
            }
            return Ok(told);
        };
        let told = kept.learn_exit(deadline)?;
        if let Some(status) = told {
            family.reclaim(self.stamp);
            *self.status.lock() = Some(status);
        }
        self.tell_trace(family, told);
        Ok(told)
    }

    fn tell_trace(&self, family: &Family, status: Option<ExitStatus>) {
        if let Some(status) = status
            && family.is_traced()
        {
            trace::process_ended(self.stamp, self.pidfd.pid(), status.code());
        }
    }

    /// Returns what a keeper and this process do about the end, if there is a keeper.
    fn kept<'a>(&'a self, family: &'a Family) -> Option<KeptChild<'a>> {
        (self.keeper != self.parent).then_some(KeptChild {
            family,
            stamp: self.stamp,
            keeper: self.keeper,
            pidfd: &self.pidfd,
        })
    }

    fn reap(&self, family: &Family) -> Result<Option<ExitStatus>> {
        let status = match self.pidfd.reap() {
            Ok(None) => return Ok(None),
            Ok(Some(status)) => status,
            // The program waited for any child, or ignores SIGCHLD.
            Err(error) if error.kind() == ErrorKind::Invalid => {
                self.pidfd.exit_info().unwrap_or(UNKNOWN)
            }
            Err(error) => return Err(error),
        };
        family.reclaim(self.stamp);
        Ok(Some(status))
    }

    /// Returns the entry in the member table while it is this process's.
    fn member<'f>(&self, family: &'f Family) -> Option<&'f Member> {
        let member = family.member(self.stamp);
        (member.generation() == self.stamp.generation()).then_some(member)
    }

    fn take_outcome(&self, family: &Family) -> Option<Payload> {
        let member = self.member(family)?;
        // Acquire pairs with the Release in `me::publish_outcome`.
        let offset = member.outcome.swap(0, Ordering::Acquire);
        if offset == 0 {
            return None;
        }
        let len = member.outcome_len.load(Ordering::Relaxed);
        // Reclaim has made the block ours.
        Payload::claim((offset, len)).ok()
    }
}

const INTERRUPT: i32 = 2;
/// The number of SIGTERM.
pub const TERMINATE: i32 = 15;
/// The number of SIGKILL.
pub const KILL: i32 = 9;
