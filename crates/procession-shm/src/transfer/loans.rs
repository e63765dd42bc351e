//! Handles that are on their way in a message.
//!
//! # Protocol
//! A handle in a message keeps its object alive, and reading the message ends that. So a
//! writer says where the handles go ([`Loans`]), and a reader says what keeps the objects
//! alive ([`HandleSource`]). There are three ways:
//!
//! - *Listed.* Who will read the message is not known, or may die before: messages of queues
//!   and pipes, what processes are started with, the outcomes of processes and tasks. The
//!   message rides in a block that lists its handles (`carrier.rs`). Whoever attaches takes
//!   the handle off the list, and freeing the block releases what is still on the list; a
//!   block always has an owner whose death frees it.
//! - *Kept.* The writer knows how long the message can be read: the tasks and jobs of a pool,
//!   which several workers may read one after the other, and the arguments of a forked
//!   process, which has a copy of all attachments. The writer keeps the [`Loans`] for as long,
//!   and nothing in shared memory changes.
//! - *Untracked.* The message leaves the family's sight: bytes that a program has pickled
//!   itself, and sockets of strangers. A count in the object's header keeps the object alive
//!   until somebody attaches; if nobody does, until the family ends.
//!
//! While a message is written, and until it is sent, the writer's own attachments, which the
//! [`Loans`] hold, keep the objects alive.

use crate::alloc::block::Block;
use crate::family::Family;
use crate::object::shared::{Handle, Object, View};
use crate::transfer::carrier::{self, LoanList};
use procession_sys::error::Result;

/// The objects whose handles are in a message, each as often as its handle is.
///
/// They live as long as this does. If the message is not sent, or was kept, dropping this is
/// all there is to do.
// As large as a pointer: each task of a pool has them, and hardly any has an object.
#[derive(Debug, Default)]
#[expect(clippy::box_collection, reason = "it is to be small while it is empty")]
pub struct Loans(Option<Box<Vec<Object>>>);

/// What keeps the objects alive whose handles are in a message that is being read.
#[derive(Debug)]
pub struct HandleSource(pub(super) Source);

#[derive(Clone, Copy, Debug)]
pub(super) enum Source {
    Untracked,
    Kept,
    Listed(LoanList<'static>),
}

impl HandleSource {
    /// Counts in the objects' headers: attaching uses one up.
    pub const UNTRACKED: Self = Self(Source::Untracked);

    /// Somebody who is attached, for as long as the message may be read.
    pub const KEPT: Self = Self(Source::Kept);

    /// Stops keeping an object for a handle of the message; the caller is attached to it.
    pub(crate) fn release(&self, object: View<'_>, handle: Handle) {
        match self.0 {
            Source::Kept => {}
            Source::Listed(list) if list.take(handle) => {}
            Source::Listed(_) | Source::Untracked => object.use_lend_up(),
        }
    }
}

/// Runs `read`, which reads the message in a block and attaches to objects of it.
///
/// Handles to which `read` does not attach are sent on untracked, as the caller may have
/// kept their bytes for later. If `read` fails, freeing the block gives them back instead.
///
/// # Errors
/// Those of `read`.
pub fn reading<T, E>(
    block: &Block,
    read: impl FnOnce(&HandleSource) -> std::result::Result<T, E>,
) -> std::result::Result<T, E> {
    let result = reading_part(block, read);
    if result.is_ok() {
        untrack(block);
    }
    result
}

/// Runs `read`, which reads a part of the message in a block, or keeps the block. Handles to
/// which `read` does not attach stay on the block's list.
pub fn reading_part<T>(block: &Block, read: impl FnOnce(&HandleSource) -> T) -> T {
    match list_of(block) {
        Some(list) => read(&HandleSource(Source::Listed(list))),
        None => read(&HandleSource::UNTRACKED),
    }
}

/// Stops tracking the handles in a block of which a copy is sent: if the copy is never read,
/// the objects stay alive until the family ends.
pub fn untrack(block: &Block) {
    if let Some(list) = list_of(block) {
        list.untrack();
    }
}

fn list_of(block: &Block) -> Option<LoanList<'static>> {
    Family::existing().and_then(|family| LoanList::of(family, block))
}

impl Loans {
    /// Tells whether there is no handle.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.objects().is_empty()
    }

    /// Returns how many bytes a block needs for a message of `len` bytes and the loans.
    #[must_use]
    pub fn room(&self, len: u64) -> u64 {
        match self.objects().len() {
            0 => len,
            count => carrier::room(len, count),
        }
    }

    /// Makes a message of the parts, which have `len` bytes together, in a block that carries
    /// the loans.
    ///
    /// # Errors
    /// `OutOfMemory` when the arena is full.
    pub fn into_message(self, family: &Family, parts: &[&[u8]], len: usize) -> Result<Block> {
        let block = Block::of(family, parts, self.room(len as u64))?;
        self.attach_to_message(block, len as u64)
    }

    /// Adds the loans to the block of a message of `len` bytes; copies the message to a
    /// larger block if it has no room for them.
    ///
    /// # Errors
    /// `OutOfMemory` when there is no larger block.
    pub fn attach_to_message(self, block: Block, len: u64) -> Result<Block> {
        if self.is_empty() {
            return Ok(block);
        }
        let objects = self.objects();
        let block = carrier::with_room(block, len, objects.len())?;
        let list = LoanList::begin(Family::current()?, &block);
        for object in objects {
            object.view().list();
            list.add(object.handle());
        }
        Ok(block)
    }

    /// Sends the handles without tracking them: if the message is never read, the objects
    /// stay alive until the family ends.
    pub fn send_untracked(self) {
        for object in self.objects() {
            object.view().count_lend();
        }
    }

    /// Adds the loans of another part of the same message.
    pub fn append(&mut self, more: Self) {
        if let Some(mut more) = more.0 {
            self.0.get_or_insert_default().append(&mut more);
        }
    }

    /// Adds an object whose handle is in the message.
    pub(crate) fn add(&mut self, object: &Object) {
        self.0.get_or_insert_default().push(object.clone());
    }

    fn objects(&self) -> &[Object] {
        self.0.as_deref().map_or(&[], Vec::as_slice)
    }
}
