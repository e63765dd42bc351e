//! The engine: who carries tasks to nodes, and their answers back.

use std::fmt;
use std::sync::Arc;

use crate::distributed::answer::Answer;
use crate::distributed::envelope::{RunningTasks, TaskEnvelope};
use crate::distributed::node_info::NodeInfo;
use crate::distributed::outstanding::Outstanding;
use crate::error::Result;

/// Carries the tasks of a pool to nodes, and their answers back: what [`Pool::on`] takes.
///
/// An engine places nothing and runs nothing by itself. On each node the same program runs as a
/// [`Node`], whose worker processes run the tasks; so deaths, limits and cancels are the same as
/// in a pool of this machine. The engine says in addition when a node is gone.
///
/// The crate `procession-nats` has one over NATS JetStream.
///
/// [`Pool::on`]: crate::Pool::on
/// [`Node`]: crate::distributed::Node
///
/// # Examples
///
/// An engine whose one node is this process.
///
/// ```
/// use std::sync::OnceLock;
/// use procession::distributed::{Answers, Engine, Node, NodeInfo, RunningTasks, TaskEnvelope};
/// use procession::{Pool, Result};
///
/// #[derive(Default)]
/// struct Here(OnceLock<Node>);
///
/// impl Engine for Here {
///     fn open(&self, answers: Answers) -> Result<()> {
///         let workers = Pool::builder().workers(2);
///         let node = Node::start(workers, move |id, answer| {
///             answers.give(id, answer);
///         })?;
///         _ = self.0.set(node);
///         Ok(())
///     }
///
///     fn ship(&self, task: TaskEnvelope) -> Result<()> {
///         self.0.get().expect("it is open").run(task.id, task)
///     }
///
///     fn cancel(&self, tasks: &[u64], running: RunningTasks) -> Result<()> {
///         self.0.get().expect("it is open").cancel(tasks, running).map(drop)
///     }
///
///     fn nodes(&self) -> Result<Vec<NodeInfo>> {
///         Ok(vec![NodeInfo::of_this_program("here", 2)])
///     }
///
///     fn close(&self) {}
/// }
///
/// # procession::init();
/// let pool = Pool::on(Here::default())?;
/// assert_eq!(pool.map(|n: u64| n * n, 1..=4)?, [1, 4, 9, 16]);
/// # Ok::<(), procession::Error>(())
/// ```
pub trait Engine: Send + Sync + 'static {
    /// Begins to carry. Each task that is shipped later gets one answer through `answers`, from
    /// any thread. It is called once, before all else.
    ///
    /// # Errors
    /// [`unavailable`](crate::distributed::unavailable), if there is nobody to carry.
    fn open(&self, answers: Answers) -> Result<()>;

    /// Takes a task, and returns without waiting for any node: the pool bounds how many are out.
    ///
    /// # Errors
    /// If it cannot take it; then the task gets no answer.
    fn ship(&self, task: TaskEnvelope) -> Result<()>;

    /// Cancels tasks: those that have not begun never will, and of those that run `running` tells.
    /// Each of them still gets its answer, [`Answer::Cancelled`] or another that was faster.
    ///
    /// # Errors
    /// If nodes cannot be told.
    fn cancel(&self, tasks: &[u64], running: RunningTasks) -> Result<()>;

    /// Asks which nodes there are, those of other builds of the program among them.
    ///
    /// # Errors
    /// If they cannot be asked.
    fn nodes(&self) -> Result<Vec<NodeInfo>>;

    /// Lets go of everything: no task is out any more, or nobody wants its answer.
    fn close(&self);
}

/// Takes the answers of an engine. All clones are the same.
#[derive(Clone)]
pub struct Answers {
    pub(super) outstanding: Arc<Outstanding>,
}

impl Answers {
    /// Hands in the answer of a task. If the task has one already, this one is dropped: an engine
    /// that tells a thing twice does no harm. Tells whether it was wanted.
    #[expect(clippy::must_use_candidate, reason = "hardly anybody needs to know")]
    pub fn give(&self, task: u64, answer: Answer) -> bool {
        self.outstanding.answer(task, answer)
    }

    /// Fails all tasks that are out, and all calls from now on: the engine is gone for good.
    pub fn fail(&self, why: &str) {
        self.outstanding.fail(why);
    }
}

impl fmt::Debug for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answers").finish_non_exhaustive()
    }
}
