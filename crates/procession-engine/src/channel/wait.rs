//! Waiting for the first of several things.

use std::os::fd::{AsFd as _, BorrowedFd};

use crate::arena::Family;
use crate::channel::Queue;
use crate::error::Result;
use crate::os::poll::{PollFd, PollFlags, poll};
use crate::os::time::Deadline;

/// A thing to wait for.
#[derive(Clone, Copy, Debug)]
pub enum Waitable<'a> {
    /// Ready when it can be read, or its other end is gone; a process's pidfd
    /// when that has ended.
    Fd(BorrowedFd<'a>),
    /// Ready when there is something to get, or it is closed.
    Queue(&'a Queue),
}

/// Blocks until at least one of `things` is ready or the deadline passes;
/// returns the places of all that are ready, in order, none if the time is up.
///
/// # Errors
/// `Interrupted` when a signal arrived first; `Limit` when no descriptor is
/// left, or too many processes wait for one queue in this way.
pub fn wait(things: &[Waitable<'_>], deadline: Deadline) -> Result<Vec<usize>> {
    let family = Family::get()?;
    let bells: Vec<_> = things
        .iter()
        .map(|thing| match thing {
            Waitable::Fd(_) => Ok(None),
            Waitable::Queue(queue) => queue.readable_fd().map(Some),
        })
        .collect::<Result<_>>()?;
    let mut fds: Vec<_> = things
        .iter()
        .zip(&bells)
        .map(|(thing, bell)| {
            let fd = match (thing, bell) {
                (Waitable::Fd(fd), _) => *fd,
                (Waitable::Queue(_), bell) => bell.as_ref().expect("queues have bells").as_fd(),
            };
            PollFd::from_borrowed_fd(fd, PollFlags::IN)
        })
        .collect();
    loop {
        poll(&mut fds, deadline)?;
        let ready: Vec<_> = things
            .iter()
            .zip(&fds)
            .enumerate()
            .filter(|(_, (thing, fd))| !fd.revents().is_empty() && is_ready(thing, family))
            .map(|(place, _)| place)
            .collect();
        if !ready.is_empty() || deadline.has_passed() {
            return Ok(ready);
        }
    }
}

/// Tells whether what a descriptor promised is so: a bell may ring for an item
/// that somebody else took, and is silenced then.
fn is_ready(thing: &Waitable<'_>, family: &Family) -> bool {
    match thing {
        Waitable::Fd(_) => true,
        Waitable::Queue(queue) => {
            let ready = !queue.is_empty() || queue.is_closed();
            if !ready {
                queue.quieten(family, false);
            }
            ready
        }
    }
}
