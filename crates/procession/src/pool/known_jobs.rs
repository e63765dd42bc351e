//! The jobs that a worker has tasks of: what calls their functions, and what their tasks keep.

use std::any::Any;
use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};

use procession_engine::pool::{TakenTask, Worker};
use serde::{Deserialize, Serialize};

use crate::codec;
use crate::error::Result;
use crate::function::{Entry, EntryRef, JobInput};

/// Comes first in a job's prologue; the context follows, if its tasks keep something.
#[derive(Debug, Serialize, Deserialize)]
pub struct Prologue {
    pub entry: EntryRef,
    /// Whether its tasks keep something in the worker.
    pub is_stateful: bool,
}

/// How many jobs have their state kept: as many maps may have their tasks mixed.
const STATES: usize = 4;

/// What a worker has learnt of jobs.
#[derive(Debug, Default)]
pub struct KnownJobs {
    /// The one of `plain` that was asked for last: most tasks are of the same job as the task
    /// before.
    latest: Option<(u64, Entry)>,
    /// What keeps nothing: there are as many as functions.
    plain: HashMap<u64, Entry>,
    /// The latest jobs that keep something.
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
    /// Returns what calls the function of a task's job, and what its tasks have in common.
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
                let entry = prologue.entry.resolve()?;
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
