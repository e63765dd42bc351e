//! Hooks by which a start makes spares give way to the process that is wanted.
//!
//! The keeper of spares registers them here, so that `launch` need not know
//! [`standby`](crate::standby).

use procession_sys::error::{ErrorKind, Result};
use procession_sys::fork_safe::once::ForkOnce;

/// The hooks of a keeper of spares.
pub(crate) struct Surplus {
    /// Ends the thread that boots spares, until the next start.
    pub pause: fn(),
    /// Ends all spares; tells whether that made room.
    pub make_room: fn() -> bool,
}

static SURPLUS: ForkOnce<Surplus> = ForkOnce::new();

/// Registers the hooks, before there is any spare.
pub(crate) fn announce(surplus: Surplus) {
    // A second call has the same hooks.
    SURPLUS.get_or_init(|| surplus);
}

/// Ends the thread that boots spares, until the next start.
pub(super) fn pause() {
    if let Some(surplus) = SURPLUS.get() {
        (surplus.pause)();
    }
}

/// Starts a process by `start`. If the limit of processes is reached, ends the spares of this
/// process and calls `start` again.
///
/// # Errors
/// What `start` says.
pub fn in_room<T>(mut start: impl FnMut() -> Result<T>) -> Result<T> {
    let makes_room = || SURPLUS.get().is_some_and(|surplus| (surplus.make_room)());
    match start() {
        Err(error) if error.kind() == ErrorKind::Limit && makes_room() => start(),
        started => started,
    }
}
