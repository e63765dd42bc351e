//! Handles that are on their way in a message.
//!
//! A handle in a message keeps its object alive by a count in the object's header. If
//! the message is lost, somebody has to give that back:
//!
//! - The message of a queue or a pipe, and what a process or a task brings home, list
//!   what was lent with them (`carried.rs`).
//! - Of what a process is started with it is known for whom it is: that process is
//!   attached before it exists, as by a fork, so that its burial gives back what it
//!   never came to use. A fork is attached in any case.
//! - What a pool sends to its workers, several of which may have to read it one after
//!   the other, is lent to nobody: the pool's process stays attached until it knows how
//!   the task ended, and whoever reads it uses no lend up ([`visiting`]).
//! - Of all other messages nobody does.
//!
//! Until it is sent, and for as long as it is being written, the writer's own
//! attachment keeps the object alive.

use std::cell::{Cell, RefCell};

use crate::arena::block::Block;
use crate::arena::carried::{self, List};
use crate::arena::family::Family;
use crate::arena::object::{Handle, Object};
use crate::arena::stamp::Stamp;
use crate::error::Result;

thread_local! {
    /// What was lent since somebody began to collect it.
    static LENT: RefCell<Option<Vec<Object>>> = const { RefCell::new(None) };

    /// The message that is being read.
    static READING: Cell<Reading> = const { Cell::new(Reading::Lent) };

    /// What a fork has of what it was started with, until it reads that.
    static HELD: RefCell<Vec<Object>> = const { RefCell::new(Vec::new()) };
}

/// A message, by what keeps alive what its handles name.
#[derive(Clone, Copy)]
enum Reading {
    /// Lends, of which nobody has a list.
    Lent,
    /// Lends that this list has.
    Listed(List<'static>),
    /// The sender.
    Kept,
}

/// The objects whose handles stand in a message, each as often as it stands there.
///
/// They live as long as this does. Dropping it is all there is to do if the message is
/// not sent, or was for [`visiting`].
#[derive(Debug, Default)]
pub struct Loans(Vec<Object>);

/// Runs `work`, which writes a message, and collects what it lends.
pub fn collect<T>(work: impl FnOnce() -> T) -> (T, Loans) {
    let outer = LENT.replace(Some(Vec::new()));
    let done = work();
    let lent = LENT.replace(outer).unwrap_or_default();
    (done, Loans(lent))
}

/// Collects an object that is being lent; tells whether somebody does collect.
pub(super) fn note(object: &Object) -> bool {
    LENT.with_borrow_mut(|lent| {
        if let Some(lent) = lent {
            lent.push(object.clone());
        }
        lent.is_some()
    })
}

/// Runs `read`, which reads the message in a block. What it attaches to is its own; if
/// it fails, the rest is given back with the block.
///
/// # Errors
/// Those of `read`.
pub fn reading<T, E>(
    block: &Block,
    read: impl FnOnce() -> std::result::Result<T, E>,
) -> std::result::Result<T, E> {
    let list = Family::existing().and_then(|family| List::of(family, block));
    let Some(list) = list else {
        return read();
    };
    let _outer = Outer(READING.replace(Reading::Listed(list)));
    let result = read();
    if result.is_ok() {
        list.leave();
    }
    result
}

/// Runs `read`, which reads a message whose sender keeps its [`Loans`] until it knows
/// that nobody reads it any more.
pub fn visiting<T>(read: impl FnOnce() -> T) -> T {
    let _outer = Outer(READING.replace(Reading::Kept));
    read()
}

/// Leaves what a block carries to whoever reads a copy of its bytes, and gives nothing
/// back if nobody does.
pub fn leave(block: &Block) {
    let list = Family::existing().and_then(|family| List::of(family, block));
    if let Some(list) = list {
        list.leave();
    }
}

/// Puts an outer message back, also if reading the inner one panics.
struct Outer(Reading);

impl Drop for Outer {
    fn drop(&mut self) {
        READING.set(self.0);
    }
}

/// Tells whether the sender of the message that is being read keeps alive what it names.
pub(super) fn is_kept() -> bool {
    matches!(READING.get(), Reading::Kept)
}

/// Takes a handle, to whose object the caller is attached, off the list of the message
/// that is being read; tells whether it was on it.
pub(super) fn take_off_list(handle: Handle) -> bool {
    match READING.get() {
        Reading::Listed(list) => list.take(handle),
        Reading::Lent | Reading::Kept => false,
    }
}

/// Tells, once for each time that it was lent, whether an object is kept for being
/// attached to.
pub(super) fn is_held(handle: &Handle) -> bool {
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

    /// Makes a message of the parts, `len` bytes together, in a block that carries the
    /// loans.
    ///
    /// # Errors
    /// `OutOfMemory` when the arena is full.
    pub fn ride_with(self, parts: &[&[u8]], len: usize) -> Result<Block> {
        let block = Block::of(parts, carried::room(len as u64, self.0.len()))?;
        self.ride(block, len as u64)
    }

    /// Has the block of a message of `len` bytes carry the loans, or a larger one that
    /// it is copied to.
    ///
    /// # Errors
    /// `OutOfMemory` when there is no larger one.
    pub fn ride(self, block: Block, len: u64) -> Result<Block> {
        if self.0.is_empty() {
            return Ok(block);
        }
        let block = carried::with_room(block, len, self.0.len())?;
        let list = List::begin(Family::get()?, &block);
        for object in &self.0 {
            object.view().list();
            list.add(object.handle());
        }
        Ok(block)
    }

    /// Keeps the objects for a forked process, which calls this before it reads what it
    /// was started with.
    pub fn hold(self) {
        HELD.set(self.0);
    }

    /// Leaves the handles to a message that is about to be sent, to whomever, and gives
    /// nothing back if it is lost. If it is
    /// part of a larger one, they are collected with those of that.
    pub fn leave(self) {
        for object in self.0 {
            let _ = object.lend();
        }
    }

    /// Adds those of another part of the same message.
    pub fn append(&mut self, mut more: Self) {
        self.0.append(&mut more.0);
    }

    /// Attaches a member that is about to start, and will find the handles in what it
    /// is started with.
    pub(crate) fn hand_to(self, member: Stamp) -> Handed {
        for object in &self.0 {
            object.promise_to(member);
        }
        Handed {
            objects: self.0,
            member,
        }
    }
}

/// What was handed to a member, until it is sure that its burial will give it back.
#[derive(Debug)]
#[must_use = "what is handed to a member that is buried already would stay for ever"]
pub(crate) struct Handed {
    objects: Vec<Object>,
    member: Stamp,
}

impl Handed {
    /// Takes all back if the member was buried before: nobody will do it again.
    pub(crate) fn settle(self, family: &Family) {
        if !family.member(self.member).standing().is_past(self.member) {
            return;
        }
        // Waits for whoever is at it.
        family.bury(self.member);
        for object in &self.objects {
            object.view().clear_cells(self.member);
        }
    }
}
