//! The message that a thread is writing, and the one that it is reading.
//!
//! A face turns values into bytes by code that calls back into the types of its user, and has
//! no argument for a [`Loans`] or a [`HandleSource`]. It keeps a context for each of its
//! threads, in a variable of its own; nothing below the faces does.
//!
//! # Safety
//! The loans of a message lie on the stack of [`TransferContext::collect`], and the context points
//! to them only while `collect` runs. (If the context owned them, the thread's variable would have
//! to be dropped, and each message would cost a tenth of a short task more.)

#![expect(unsafe_code, reason = "a pointer to what lies on the stack")]

use std::cell::Cell;
use std::ptr::NonNull;

use crate::transfer::loans::{HandleSource, Loans, Source};

/// Knows which message a thread is writing, and which it is reading.
#[derive(Debug)]
pub struct TransferContext {
    /// The loans of the message that is being written; `None` outside of
    /// [`collect`](Self::collect).
    lent: Cell<Option<NonNull<Loans>>>,
    source: Cell<Source>,
}

impl TransferContext {
    /// Makes a context in which no message is written or read.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "made in constants only")]
    pub const fn new() -> Self {
        Self {
            lent: Cell::new(None),
            source: Cell::new(Source::Untracked),
        }
    }

    /// Runs `write`, which writes a message; returns its result, and the loans of the message.
    pub fn collect<T>(&self, write: impl FnOnce() -> T) -> (T, Loans) {
        let mut lent = Loans::default();
        let here = Some(NonNull::from(&mut lent));
        let outer = Restore(&self.lent, self.lent.replace(here));
        let done = write();
        drop(outer);
        (done, lent)
    }

    /// Has `lend` add to the loans of the message that is being written. Outside of
    /// [`collect`](Self::collect) the handles are untracked.
    pub fn lend<T>(&self, lend: impl FnOnce(&mut Loans) -> T) -> T {
        let mut loans = Loans::default();
        let handle = lend(&mut loans);
        match self.lent.get() {
            // SAFETY: it lies on the stack of a `collect` of this thread, which takes the
            // pointer away before it uses it again; nothing is called meanwhile.
            Some(mut lent) => unsafe { lent.as_mut() }.append(loans),
            None => loans.send_untracked(),
        }
        handle
    }

    /// Runs `read`, which reads a message whose objects `source` keeps alive.
    pub fn read<T>(&self, source: &HandleSource, read: impl FnOnce() -> T) -> T {
        let _outer = Restore(&self.source, self.source.replace(source.0));
        read()
    }

    /// Runs `attach` with the source that keeps the objects of the message alive that is being
    /// read.
    pub fn attach<T>(&self, attach: impl FnOnce(&HandleSource) -> T) -> T {
        attach(&HandleSource(self.source.get()))
    }
}

/// Restores what is known of an outer message on drop, also if the inner one panics.
struct Restore<'a, T: Copy>(&'a Cell<T>, T);

impl<T: Copy> Drop for Restore<'_, T> {
    fn drop(&mut self) {
        self.0.set(self.1);
    }
}
