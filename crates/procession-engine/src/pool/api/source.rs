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

    /// Tells whether the call that its tasks are of was cancelled. It may have been, between
    /// the moment in which the source gave up its last task and the one in which that is among
    /// the pool's, where a cancel would find it.
    fn is_call_cancelled(&self) -> bool {
        self.is_cancelled()
    }

    /// Is called when the source was dropped for that reason.
    fn cancel(self: Box<Self>) {}
}

/// Says what a source has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceStatus {
    /// More, perhaps; ask again when workers need it.
    More,
    /// Nothing for now; ask again after
    /// [`resume_sources`](crate::pool::Pool::resume_sources).
    Later,
    /// Nothing; drop the source.
    Done,
}
