//! Waiting for the first of several things.
//!
//! Each thing is waited for by a descriptor; a queue or an event has a doorbell for
//! that, as `README.md` beside this file tells. A ring only says "look"; the object's
//! own state decides. The process that should have rung may have been killed just
//! before, so objects with bells are looked at now and then in any case.

use std::os::fd::{AsFd, BorrowedFd};

use crate::channel::Queue;
use crate::family;
use crate::sync::{Event, ReadableFd};
use procession_shm::Family;
use procession_sys::error::Result;
use procession_sys::wait::poll::{PollFd, PollFlags, poll};
use procession_sys::wait::time::Deadline;
use procession_sys::wait::wait_slices::WaitSlices;

/// A thing to wait for.
#[derive(Clone, Copy, Debug)]
pub enum Waitable<'a> {
    /// Ready when it can be read, or its other end is gone; a process's pidfd
    /// when that has ended.
    Fd(BorrowedFd<'a>),
    /// Ready when there is something to get, or it is closed.
    Queue(&'a Queue),
    /// Ready while it is set.
    Event(&'a Event),
}

/// Blocks until at least one of `things` is ready or the deadline passes. Returns the indices of
/// all that are ready, in order; there is none if the deadline has passed.
///
/// # Errors
/// `Interrupted` when a signal arrived first; `Limit` when no descriptor is
/// left, or too many processes wait for one queue in this way.
pub fn wait(things: &[Waitable<'_>], deadline: Deadline) -> Result<Vec<usize>> {
    let family = family()?;
    let by: Vec<By<'_>> = things.iter().map(Waitable::by).collect::<Result<_>>()?;
    let mut fds: Vec<_> = by.iter().map(|by| PollFd::new(by, PollFlags::IN)).collect();
    let bells = by.iter().any(|by| matches!(by, By::Bell(_)));
    let mut slices = WaitSlices::for_change();
    loop {
        let end = if bells {
            slices.end(deadline)
        } else {
            deadline
        };
        poll(&mut fds, end)?;
        let ready: Vec<_> = (0..things.len())
            .filter(|&place| things[place].is_ready(!fds[place].revents().is_empty(), family))
            .collect();
        if !ready.is_empty() || deadline.has_passed() {
            return Ok(ready);
        }
        slices.grow();
    }
}

impl Waitable<'_> {
    fn by(&self) -> Result<By<'_>> {
        Ok(match self {
            Self::Fd(fd) => By::Fd(*fd),
            Self::Queue(queue) => By::Bell(queue.bell()?),
            Self::Event(event) => By::Bell(event.bell()?),
        })
    }

    /// Tells whether the thing is ready, given whether its descriptor says so. Silences
    /// a bell that rang for an item that is gone by now.
    fn is_ready(&self, rung: bool, family: &Family) -> bool {
        match self {
            Self::Fd(_) => rung,
            // `is_set` silences the bell, too.
            Self::Event(event) => event.is_set(),
            Self::Queue(queue) => {
                let ready = !queue.is_empty() || queue.is_closed();
                if !ready && rung {
                    queue.quieten(family, false);
                }
                ready
            }
        }
    }
}

/// The descriptor by which a thing is waited for.
enum By<'a> {
    Fd(BorrowedFd<'a>),
    Bell(ReadableFd),
}

impl AsFd for By<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Fd(fd) => *fd,
            Self::Bell(bell) => bell.as_fd(),
        }
    }
}
