//! A message that a task of an event loop sends, as far as there is room.

use std::os::fd::BorrowedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use procession_engine::ErrorKind;
use procession_engine::channel::pipe::sending::{Sending, Unsent};
use procession_engine::channel::{PipeShared, SendWait};
use procession_engine::shm::Block;
use procession_engine::sys::wait::time::Deadline;
use pyo3::prelude::*;

use crate::error::{broken_pipe, to_python};

/// A message that a task sends, as far as there is room.
#[pyclass(frozen, module = "procession._procession")]
pub struct Outgoing {
    bytes: Vec<u8>,
    progress: Mutex<Progress>,
}

/// How much of it has left.
enum Progress {
    /// Nothing has left. The message may lie in a block instead of in the bytes.
    New(Option<(Block, usize)>),
    Begun(Unsent),
    Done,
}

impl Outgoing {
    /// Makes a message of bytes, or of a block that it lies in.
    pub fn new(bytes: Vec<u8>, block: Option<(Block, usize)>) -> Self {
        Self {
            bytes,
            progress: Mutex::new(Progress::New(block)),
        }
    }

    /// Sends as much as can be sent without a wait; tells whether that was all.
    pub fn send_now(&self, fd: BorrowedFd<'_>, track: Option<&PipeShared>) -> PyResult<bool> {
        let mut progress = self.progress();
        let parts: [&[u8]; 1] = [&self.bytes];
        let mut sending = match (std::mem::replace(&mut *progress, Progress::Done), track) {
            (Progress::New(Some((block, len))), Some(track)) => {
                Sending::carrying(fd, track, block, len)
            }
            (Progress::New(_), _) => Sending::new(fd, track, &parts),
            (Progress::Begun(unsent), _) => Sending::going_on(fd, track, &parts, unsent),
            (Progress::Done, _) => return Ok(true),
        };
        loop {
            match sending.go_on(Deadline::now()) {
                Ok(()) => return Ok(true),
                // There is room for more: try again.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::TimedOut => {
                    *progress = Progress::Begun(sending.into_unsent());
                    return Ok(false);
                }
                Err(error) if error.kind() == ErrorKind::Closed => return Err(broken_pipe()),
                Err(error) => return Err(to_python(error)),
            }
        }
    }

    /// Returns what the rest waits for, if there is one.
    pub fn waits_for(&self) -> Option<SendWait> {
        match &*self.progress() {
            Progress::Begun(unsent) => Some(unsent.waits_for()),
            Progress::New(_) | Progress::Done => None,
        }
    }

    /// Gives up the rest of the message, by the end that it was to leave by, if that end is open.
    pub fn give_up(&self, fd: Option<BorrowedFd<'_>>, track: Option<&PipeShared>) {
        let progress = std::mem::replace(&mut *self.progress(), Progress::Done);
        if let Progress::Begun(unsent) = progress {
            unsent.give_up(fd, track);
        }
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
