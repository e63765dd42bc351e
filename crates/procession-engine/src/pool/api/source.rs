//! Where a pool gets the tasks of a long job from, as workers need them.

use crate::pool::api::pool_end::PoolEnd;
use crate::pool::api::task::Task;

/// Makes tasks as the workers need them, so that a long job is neither held in
/// memory nor made before the first task runs.
pub trait Source<T>: Send {
    /// Appends up to `most` tasks. The leader calls it without holding any lock of the pool;
    /// no two threads call it at once.
    fn fill(&mut self, tasks: &mut Vec<Task<T>>, most: usize) -> SourceStatus;

    /// Gives up the tasks that it has made and not handed over: the source is about to be
    /// dropped, and they fail like all others. Is called before [`end`](Self::end) and
    /// [`cancel`](Self::cancel).
    fn give_up(&mut self) -> Vec<Task<T>> {
        Vec::new()
    }

    /// Is called when the pool has ended before the source was used up.
    fn end(self: Box<Self>, end: &PoolEnd);

    /// Returns the priority of its tasks.
    fn priority(&self) -> i32 {
        0
    }

    /// Tells whether the source is to be dropped at the next
    /// [`cancel`](crate::pool::Pool::cancel).
    fn is_cancelled(&self) -> bool {
        false
    }

    /// Tells whether the call whose tasks these are was cancelled. The pool asks when it has taken
    /// tasks out of the source, and before it has queued them: a cancel that comes in between finds
    /// them in neither place.
    fn is_call_cancelled(&self) -> bool {
        self.is_cancelled()
    }

    /// Is called in place of [`end`](Self::end) when the source is dropped because it was
    /// cancelled.
    fn cancel(self: Box<Self>) {}
}

/// Says what a source has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceStatus {
    /// It may have more tasks: ask again when workers need some.
    More,
    /// It has no tasks for now: ask again after
    /// [`resume_sources`](crate::pool::Pool::resume_sources).
    Later,
    /// It will have no more tasks: drop it.
    Done,
}
