//! What the kinds of object do when a member dies and when they are destroyed.
//!
//! The arena buries members and destroys objects without knowing what a queue
//! or a lock is; the crate's root tells it, in one table (`crate::hooks_of`).

use crate::arena::object::View;
use crate::arena::stamp::Stamp;

/// What an object is. The numbers go into its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum ObjectKind {
    /// `sync::Lock`
    Lock = 1,
    /// `sync::RLock`
    RLock,
    /// `sync::Semaphore`
    Semaphore,
    /// `sync::Condition`
    Condition,
    /// `sync::Event`
    Event,
    /// `sync::Barrier`
    Barrier,
    /// `channel::Queue`
    Queue,
    /// `channel::Pipe`
    Pipe,
    /// Plain shared bytes: values and arrays.
    Array,
    /// `pool::Pool`
    Pool,
    /// `start::Spares`
    Spares,
    /// An end of a `channel::link`
    Link,
    /// `channel::Line`
    Line,
}

impl ObjectKind {
    /// Reads a kind back from a header.
    #[must_use]
    pub fn from_raw(raw: u32) -> Option<Self> {
        Some(match raw {
            1 => Self::Lock,
            2 => Self::RLock,
            3 => Self::Semaphore,
            4 => Self::Condition,
            5 => Self::Event,
            6 => Self::Barrier,
            7 => Self::Queue,
            8 => Self::Pipe,
            9 => Self::Array,
            10 => Self::Pool,
            11 => Self::Spares,
            12 => Self::Link,
            13 => Self::Line,
            _ => return None,
        })
    }

    /// Returns the word for it in messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Lock => "lock",
            Self::RLock => "re-entrant lock",
            Self::Semaphore => "semaphore",
            Self::Condition => "condition",
            Self::Event => "event",
            Self::Barrier => "barrier",
            Self::Queue => "queue",
            Self::Pipe => "pipe",
            Self::Array => "array",
            Self::Pool => "pool",
            Self::Spares => "spares",
            Self::Link => "end of a pipe",
            Self::Line => "line",
        }
    }
}

/// What one kind of object does at the two ends.
#[derive(Clone, Copy, Debug)]
pub struct Hooks {
    /// Sets right what a dead member left in mid-change and returns what it
    /// held. Runs in whoever buries; may run twice.
    pub on_death: fn(View<'_>, Stamp),
    /// Frees what the object owns besides its own block. Runs once nobody is
    /// attached; if its runner dies in it, it runs again from the start.
    pub on_destroy: fn(View<'_>),
}

/// For kinds that hold nothing.
pub const NOTHING: Hooks = Hooks {
    on_death: |_, _| {},
    on_destroy: |_| {},
};
