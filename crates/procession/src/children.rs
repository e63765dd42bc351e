//! The children of this process.
//!
//! # Safety
//! A copy by fork has one thread when it begins its list anew.

#![expect(
    unsafe_code,
    reason = "a list that another thread may have been changing"
)]

use std::sync::{Arc, Weak};

use procession_engine::process as engine;
use procession_engine::sys::fork_safe::mutex::ForkMutex;

/// Everything about a started process that does not depend on its result's type.
#[derive(Debug)]
pub struct Started {
    pub engine: engine::Child,
    pub name: String,
    pub daemon: bool,
}

/// Children of this process that somebody still holds.
static CHILDREN: ForkMutex<Vec<Weak<Started>>> = ForkMutex::new(Vec::new());

/// A child that has not ended.
///
/// # Examples
///
/// ```
/// use procession::{Event, Process, active_children};
///
/// # procession::init();
/// let go = Event::new()?;
/// let process = Process::new(|go: Event| go.wait().is_ok()).name("Ada").daemon(true);
/// let started = process.args(go.clone()).start()?;
/// let active = active_children();
/// let child = active.iter().find(|child| child.name == "Ada").expect("it waits");
/// assert!(child.pid == started.pid() && child.daemon);
/// go.set();
/// started.join()?;
/// # Ok::<(), procession::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ActiveChild {
    /// The child's name.
    pub name: String,
    /// The child's id.
    pub pid: u32,
    /// Whether it ends with this process.
    pub daemon: bool,
}

/// Returns this process's children that have not ended, workers of pools
/// excepted.
///
/// # Examples
///
/// ```
/// # use procession::{Event, Process, active_children};
/// # procession::init();
/// let go = Event::new()?;
/// let process = Process::new(|go: Event| go.wait().is_ok()).name("Ada");
/// let child = process.args(go.clone()).start()?;
/// assert!(active_children().iter().any(|child| child.name == "Ada"));
/// go.set();
/// child.wait()?;
/// assert!(!active_children().iter().any(|child| child.name == "Ada"));
/// # Ok::<(), procession::Error>(())
/// ```
#[must_use]
pub fn active_children() -> Vec<ActiveChild> {
    children()
        .iter()
        .filter(|child| matches!(child.engine.try_wait(), Ok(None)))
        .map(|child| ActiveChild {
            name: child.name.clone(),
            pid: child.engine.pid(),
            daemon: child.daemon,
        })
        .collect()
}

/// Adds a child to the list that [`active_children`] looks at.
pub fn remember(child: &Arc<Started>) {
    let mut children = CHILDREN.lock();
    children.retain(|known| known.strong_count() > 0);
    children.push(Arc::downgrade(child));
}

fn children() -> Vec<Arc<Started>> {
    let children = CHILDREN.lock();
    children.iter().filter_map(Weak::upgrade).collect()
}

/// Forgets, in a copy by fork, the children of its original.
///
/// # Safety
/// This is the only thread, right after the fork.
pub unsafe fn forget_children() {
    // SAFETY: no other thread uses the list, the caller says.
    unsafe { CHILDREN.renew(Vec::new()) };
}
