//! The message that a thread is writing, and the one that it is reading.
//!
//! A face turns values into bytes by code that calls back into the types of its user, and has
//! no argument for a [`Loans`] or a [`HandleSource`]. It keeps a context for each of its
//! threads, in a variable of its own; nothing below the faces does.

use std::cell::{Cell, RefCell};

use crate::transfer::loans::{HandleSource, Loans, Source};

/// Knows which message is being written, and which is being read.
#[derive(Debug)]
pub struct TransferContext {
    /// What the message that is being written has handles of; `None` outside of
    /// [`collect`](Self::collect).
    lent: RefCell<Option<Loans>>,
    source: Cell<Source>,
}

impl TransferContext {
    /// Makes a context in which no message is written or read.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "made in constants only")]
    pub const fn new() -> Self {
        Self {
            lent: RefCell::new(None),
            source: Cell::new(Source::Untracked),
        }
    }

    /// Runs `write`, which writes a message; returns what the message has handles of, too.
    pub fn collect<T>(&self, write: impl FnOnce() -> T) -> (T, Loans) {
        let outer = self.lent.replace(Some(Loans::default()));
        let done = write();
        let lent = self.lent.replace(outer).unwrap_or_default();
        (done, lent)
    }

    /// Has `lend` add to what the message that is being written has handles of. Outside of
    /// [`collect`](Self::collect) its handles are untracked.
    pub fn lend<T>(&self, lend: impl FnOnce(&mut Loans) -> T) -> T {
        let mut loans = Loans::default();
        let handle = lend(&mut loans);
        match &mut *self.lent.borrow_mut() {
            Some(lent) => lent.append(loans),
            None => loans.send_untracked(),
        }
        handle
    }

    /// Runs `read`, which reads a message whose objects `source` keeps alive.
    pub fn read<T>(&self, source: &HandleSource, read: impl FnOnce() -> T) -> T {
        let _outer = Outer(&self.source, self.source.replace(source.0));
        read()
    }

    /// Runs `attach` with what keeps the objects of the message alive that is being read.
    pub fn attach<T>(&self, attach: impl FnOnce(&HandleSource) -> T) -> T {
        attach(&HandleSource(self.source.get()))
    }
}

/// Restores the source of an outer message on drop, also if reading the inner one panics.
struct Outer<'a>(&'a Cell<Source>, Source);

impl Drop for Outer<'_> {
    fn drop(&mut self) {
        self.0.set(self.1);
    }
}
