//! The hooks of each kind of object: for a member's death, and for the object's
//! destruction.
//!
//! This crate reclaims members and destroys objects without knowing what a queue or a lock is. A
//! process that founds or joins a family tells it in a [`Schema`] what to call for each kind.

use crate::member::stamp::Stamp;
use crate::object::shared::View;

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
    /// The table of spares of `standby`
    Spares,
    /// An end of a `channel::duplex`
    Duplex,
    /// `channel::rpc`
    Rpc,
    /// The rings of a trace.
    Trace,
    /// What a pool shows to viewers outside of the family.
    PoolSummary,
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
            12 => Self::Duplex,
            13 => Self::Rpc,
            14 => Self::Trace,
            15 => Self::PoolSummary,
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
            Self::Spares => "set of standby processes",
            Self::Duplex => "end of a pipe",
            Self::Rpc => "request channel of a manager",
            Self::Trace => "trace",
            Self::PoolSummary => "summary of a pool",
        }
    }
}

/// Tells this crate what lies in a family's memory; the crate above makes it.
#[derive(Clone, Copy, Debug)]
pub struct Schema {
    /// Which build reads and writes the memory. All members of a family must run the same build,
    /// because they read one another's structures.
    pub build: u64,
    /// What to call for each kind; for a kind that is not listed nothing is called.
    pub hooks: &'static [Hooks],
    /// What to call around forks of a member, in this order: a thread that holds one of these tables
    /// may take a later one.
    pub forks: &'static [ForkHooks],
}

/// Keeps a table of the crate above sound when a thread of a member forks.
#[derive(Clone, Copy, Debug)]
pub struct ForkHooks {
    /// Holds the table, so that no other thread is changing it; called before anything of the
    /// family is held.
    pub before: fn(),
    /// Frees it in the parent, also when the fork has failed; the family's tables are free again.
    pub in_parent: fn(),
    /// Frees it in the child, and forgets what is the parent's; the child is a member by then,
    /// unless it could not join.
    pub in_child: fn(),
}

/// What to call for the objects of one kind; `body.rs` makes it of a
/// [`SharedBody`](crate::SharedBody).
#[derive(Clone, Copy, Debug)]
pub struct Hooks {
    pub(crate) kind: ObjectKind,
    pub(crate) recover: fn(View<'_>, Stamp),
    pub(crate) destroy: fn(View<'_>),
}
