//! Handles that are on their way in a message.
//!
//! A handle in a message keeps its object alive by a count in the object's header. If
//! the message is lost, the count has to be lowered. How, depends on the message:
//!
//! - Messages of queues and pipes, and the outcomes of processes and tasks, list their
//!   handles; freeing the block of the message lowers the counts (`carrier.rs`).
//! - The reader of what a process is started with is known: the process itself. It is
//!   attached to the objects before it exists, so that its reclaim detaches it from those
//!   that it never used. (A forked process is attached to all objects of its parent in any
//!   case.)
//! - The tasks of a pool may be read by several workers, one after the other, so their
//!   handles are not counted: the pool's process stays attached until it knows how the task
//!   ended, and a worker that attaches lowers no count ([`reading_untracked`]).
//! - For all other messages nothing lowers the count: if such a message is lost, the objects
//!   stay alive until the family ends.
//!
//! While a message is written, and until it is sent, the writer's own attachment keeps the
//! object alive.

use std::cell::{Cell, RefCell};

use crate::alloc::block::Block;
use crate::family::Family;
use crate::member::stamp::Stamp;
use crate::object::shared::{Handle, Object};
use crate::transfer::carrier::{self, LoanList};
use procession_sys::error::Result;

thread_local! {
    /// The objects lent by this thread since [`collect`] began; `None` outside of it.
    static LENT: RefCell<Option<Vec<Object>>> = const { RefCell::new(None) };

    /// The message that is being read.
    static READING: Cell<Reading> = const { Cell::new(Reading::Lent) };

    /// In a forked process: the objects of the message that it was started with, until it
    /// has read that.
    static HELD: RefCell<Vec<Object>> = const { RefCell::new(Vec::new()) };
}

/// What keeps the objects alive whose handles are in the message that is being read.
#[derive(Clone, Copy)]
enum Reading {
    /// The counts in the objects' headers; no list of the handles exists.
    Lent,
    /// Entries of this list.
    Listed(LoanList<'static>),
    /// The sender's attachments.
    Untracked,
}

/// The objects whose handles are in a message, each as often as its handle is.
///
/// They live as long as this does. If the message is not sent, or was read by
/// [`reading_untracked`], dropping this is all there is to do.
#[derive(Debug, Default)]
pub struct Loans(Vec<Object>);

/// Runs `work`, which writes a message, and collects the objects that it lends.
pub fn collect<T>(work: impl FnOnce() -> T) -> (T, Loans) {
    let outer = LENT.replace(Some(Vec::new()));
    let done = work();
    let lent = LENT.replace(outer).unwrap_or_default();
    (done, Loans(lent))
}

/// Adds an object that is being lent to those of [`collect`]; tells whether `collect` runs.
pub(crate) fn note(object: &Object) -> bool {
    LENT.with_borrow_mut(|lent| {
        if let Some(lent) = lent {
            lent.push(object.clone());
        }
        lent.is_some()
    })
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
    read: impl FnOnce() -> std::result::Result<T, E>,
) -> std::result::Result<T, E> {
    let list = Family::existing().and_then(|family| LoanList::of(family, block));
    let Some(list) = list else {
        return read();
    };
    let _outer = Outer(READING.replace(Reading::Listed(list)));
    let result = read();
    if result.is_ok() {
        list.untrack();
    }
    result
}

/// Runs `read`, which reads a message whose sender keeps its [`Loans`] until nobody can
/// read the message any more.
pub fn reading_untracked<T>(read: impl FnOnce() -> T) -> T {
    let _outer = Outer(READING.replace(Reading::Untracked));
    read()
}

/// Stops tracking the handles in a block of which a copy is sent: if the copy is never read,
/// the objects stay alive until the family ends.
pub fn send_untracked(block: &Block) {
    let list = Family::existing().and_then(|family| LoanList::of(family, block));
    if let Some(list) = list {
        list.untrack();
    }
}

/// Restores the state of an outer message on drop, also if reading the inner one panics.
struct Outer(Reading);

impl Drop for Outer {
    fn drop(&mut self) {
        READING.set(self.0);
    }
}

/// Tells whether the sender of the message that is being read keeps its objects alive.
pub(crate) fn is_kept() -> bool {
    matches!(READING.get(), Reading::Untracked)
}

/// Takes a handle off the list of the message that is being read; tells whether the list
/// had it. The caller is attached to the object.
pub(crate) fn take_off_list(handle: Handle) -> bool {
    match READING.get() {
        Reading::Listed(list) => list.take(handle),
        Reading::Lent | Reading::Untracked => false,
    }
}

/// Releases one hold (see [`Loans::hold`]) on an object; tells whether there was one.
pub(crate) fn is_held(handle: &Handle) -> bool {
    let held = HELD.with_borrow_mut(|held| {
        let place = held.iter().position(|object| object.handle() == *handle)?;
        Some(held.swap_remove(place))
    });
    held.is_some()
}

impl Loans {
    /// Tells whether there is no handle.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Makes a message of the parts, which have `len` bytes together, in a block that carries
    /// the loans.
    ///
    /// # Errors
    /// `OutOfMemory` when the arena is full.
    pub fn into_message(self, family: &Family, parts: &[&[u8]], len: usize) -> Result<Block> {
        let block = Block::of(family, parts, carrier::room(len as u64, self.0.len()))?;
        self.attach_to_message(block, len as u64)
    }

    /// Adds the loans to the block of a message of `len` bytes; copies the message to a
    /// larger block if it has no room for them.
    ///
    /// # Errors
    /// `OutOfMemory` when there is no larger block.
    pub fn attach_to_message(self, block: Block, len: u64) -> Result<Block> {
        if self.0.is_empty() {
            return Ok(block);
        }
        let block = carrier::with_room(block, len, self.0.len())?;
        let list = LoanList::begin(Family::current()?, &block);
        for object in &self.0 {
            object.view().list();
            list.add(object.handle());
        }
        Ok(block)
    }

    /// Holds the objects in a forked process, which calls this before it reads the message
    /// that it was started with.
    pub fn hold(self) {
        HELD.set(self.0);
    }

    /// Sends the handles without tracking them: if the message is never read, the objects
    /// stay alive until the family ends. Inside [`collect`], which writes a larger message,
    /// the handles are collected with those of that message instead.
    pub fn send_untracked(self) {
        for object in self.0 {
            let _ = object.lend();
        }
    }

    /// Adds the loans of another part of the same message.
    pub fn append(&mut self, mut more: Self) {
        self.0.append(&mut more.0);
    }

    /// Attaches a member that is about to start to the objects: their handles are in the
    /// message that the member is started with.
    pub fn hand_to(self, member: Stamp) -> Handed {
        for object in &self.0 {
            object.promise_to(member);
        }
        Handed {
            objects: self.0,
            member,
        }
    }
}

/// The objects that a starting member was attached to, until it is certain that the
/// member's reclaim will detach it again.
#[derive(Debug)]
#[must_use = "if the member is reclaimed already, nothing else detaches it from the objects"]
pub struct Handed {
    objects: Vec<Object>,
    member: Stamp,
}

impl Handed {
    /// Detaches the member if it was reclaimed already: its reclaim may have missed the new
    /// attachments, and nobody will reclaim it again.
    pub fn settle(self, family: &Family) {
        if !family.member(self.member).state().is_past(self.member) {
            return;
        }
        // Waits for another member that may still be reclaiming it.
        family.reclaim(self.member);
        for object in &self.objects {
            object.view().clear_cells(self.member);
        }
    }
}
