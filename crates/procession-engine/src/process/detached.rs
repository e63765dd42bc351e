//! Children that nobody holds any more, which the next start or dropped child reaps.
//!
//! This is the registry of children, one of the engine's few globals. Every start and
//! every dropped child looks through it. A child that ends after the last of these
//! stays a zombie until this process ends.

use std::sync::Arc;

use procession_shm::ForkHooks;
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

/// Keeps the list sound around forks.
pub(crate) const FORKS: ForkHooks = ForkHooks {
    before: || DETACHED.hold(),
    in_parent: || DETACHED.free_after_fork(),
    in_child: forget,
};

/// Forgets the children of the parent, which are only descriptors here.
fn forget() {
    DETACHED.free_after_fork();
    let copies = std::mem::take(&mut *DETACHED.lock());
    drop(copies);
}
