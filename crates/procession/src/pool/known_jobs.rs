//! The jobs that a worker has had tasks of: the wrappers of their functions, and the states of
//! their tasks.

use std::any::Any;
use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};

use procession_engine::pool::{TakenTask, Worker};

use crate::codec::{self, tuple_form};
#[cfg(feature = "tasks")]
use crate::distributed::{TaskName, name_of};
use crate::error::Result;
use crate::function::{Entry, EntryRef, JobInput};
#[cfg(feature = "tasks")]
use crate::program::image;

/// Comes first in a job's prologue. If the job's tasks keep a state, the bytes of its context
/// follow.
#[derive(Debug)]
pub struct Prologue {
    pub entry: EntryRef,
    /// Whether the job's tasks keep a state in the worker.
    pub is_stateful: bool,
    /// The name of the function, if another build of the program may run it.
    #[cfg(feature = "tasks")]
    pub name: Option<TaskName>,
}

tuple_form!(Prologue { entry, is_stateful } and with (feature = "tasks") name);

impl Prologue {
    pub fn new(entry: EntryRef) -> Self {
        Self {
            entry,
            is_stateful: false,
            #[cfg(feature = "tasks")]
            name: name_of(entry),
        }
    }

    /// Of tasks that keep a state: they run in the same build alone.
    pub fn stateful(entry: EntryRef) -> Self {
        Self {
            entry,
            is_stateful: true,
            #[cfg(feature = "tasks")]
            name: None,
        }
    }

    /// Returns the build of the program that its function needs; `None` if the function has a name,
    /// by which others find it.
    pub fn build(&self) -> Option<u64> {
        #[cfg(feature = "tasks")]
        if self.name.is_some() {
            return None;
        }
        Some(self.entry.build())
    }

    fn resolve(&self) -> Result<Entry> {
        #[cfg(feature = "tasks")]
        if let Some(name) = &self.name
            && self.entry.build() != image().build
        {
            return name.resolve();
        }
        self.entry.resolve()
    }
}

/// How many states are kept: the tasks of as many maps may be mixed without a state being made
/// anew.
const STATES: usize = 4;

/// The jobs that a worker knows.
#[derive(Debug, Default)]
pub struct KnownJobs {
    /// The one of `plain` that was asked for last: most tasks are of the same job as the task
    /// before.
    latest: Option<(u64, Entry)>,
    /// Jobs without a state: there is one for each function.
    plain: HashMap<u64, Entry>,
    /// The latest jobs with a state.
    stateful: VecDeque<StatefulJob>,
}

#[derive(Debug)]
struct StatefulJob {
    id: u64,
    entry: Entry,
    /// Where the context begins in the prologue.
    context_at: usize,
    state: RefCell<Option<Box<dyn Any>>>,
}

impl KnownJobs {
    /// Returns the wrapper of a job's function, and what the job's tasks have in common.
    pub fn find<'a>(
        &'a mut self,
        worker: &'a Worker,
        task: &TakenTask,
    ) -> Result<(Entry, Option<JobInput<'a>>)> {
        if let Some((id, entry)) = self.latest
            && Some(id) == task.job()
        {
            return Ok((entry, None));
        }
        let known = task.job().and_then(|id| Some((id, *self.plain.get(&id)?)));
        if let Some((_, entry)) = known {
            self.latest = known;
            return Ok((entry, None));
        }
        let bytes = worker.prologue(task);
        let place = self
            .stateful
            .iter()
            .position(|job| Some(job.id) == task.job());
        let job = match place {
            Some(place) => &self.stateful[place],
            None => {
                let (prologue, context) = codec::decode_first::<Prologue>(bytes, "a function")?;
                let entry = prologue.resolve()?;
                let Some(id) = task.job().filter(|_| prologue.is_stateful) else {
                    if let Some(id) = task.job() {
                        self.plain.insert(id, entry);
                    }
                    return Ok((entry, None));
                };
                self.stateful.truncate(STATES - 1);
                self.stateful.push_front(StatefulJob {
                    id,
                    entry,
                    context_at: bytes.len() - context.len(),
                    state: RefCell::default(),
                });
                &self.stateful[0]
            }
        };
        let input = JobInput {
            context: bytes.get(job.context_at..).unwrap_or_default(),
            state: &job.state,
        };
        Ok((job.entry, Some(input)))
    }
}
