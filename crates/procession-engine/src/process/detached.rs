//! Children that nobody holds any more, which the next start or dropped child reaps.
//!
//! This is the registry of children, one of the engine's few globals. Every start and
//! every dropped child looks through it. A child that ends after the last of these
//! stays a zombie until this process ends.

use std::sync::{Arc, OnceLock};

use procession_sys::fork_safe::atfork;
use procession_sys::fork_safe::mutex::ForkMutex;

/// A child that may be left here.
pub(crate) trait Detached: Send + Sync {
    /// Tells whether it is a child of this process, and not of a process that this one is a
    /// forked copy of.
    fn is_ours(&self) -> bool;

    /// If it has ended, gives back all that it had; tells whether it has ended.
    fn finish(&self) -> bool;
}

static DETACHED: ForkMutex<Vec<Arc<dyn Detached>>> = ForkMutex::new(Vec::new());

/// Keeps a child that was dropped until it has ended.
pub(crate) fn add(process: Arc<dyn Detached>) {
    if process.finish() {
        return;
    }
    static HANDLERS: OnceLock<()> = OnceLock::new();
    HANDLERS.get_or_init(|| {
        // Without the handlers, a fork in the middle of a change could leave the copy's
        // list locked; they are missing only where the system had no memory for them.
        let _ = atfork::register(before_fork, after_fork_in_parent, after_fork_in_child);
    });
    DETACHED.lock().push(process);
}

/// Reaps those detached children that have ended.
pub(crate) fn sweep() {
    // Taken out first, since finishing takes other locks, and time.
    let mut children = std::mem::take(&mut *DETACHED.lock());
    if children.is_empty() {
        return;
    }
    children.retain(|process| process.is_ours() && !process.finish());
    DETACHED.lock().append(&mut children);
}

extern "C" fn before_fork() {
    DETACHED.hold();
}

extern "C" fn after_fork_in_parent() {
    DETACHED.free_after_fork();
}

extern "C" fn after_fork_in_child() {
    DETACHED.free_after_fork();
    // They are the parent's children; here they are only descriptors.
    let copies = std::mem::take(&mut *DETACHED.lock());
    drop(copies);
}
